package flowfile

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"patchbay/internal/calendar"
	"patchbay/internal/flow"
)

type (
	scheduleDoc struct {
		at
		every    span
		phase    span
		cron     texts
		timezone text
		holidays list[text, *text]
		jitter   span
		overlap  word
		catchUp  span
		paused   text
		warnAt   whole
	}

	sourceDoc struct {
		at
		from      tableRef
		where     dict[cel, *cel]
		columns   list[column, *column]
		key       cel
		identity  list[column, *column]
		one       flag
		changed   changedDoc
		onMissing word
		stale     span
		page      whole
		lost      word
		gained    word
	}

	changedDoc struct {
		at
		by      column
		overlap span
		full    span
	}

	guardDoc struct {
		at
		zero  flag
		share whole
	}

	// texts is one text or a list of them.
	texts struct {
		at
		items []*text
	}
)

var (
	overlaps  = words(flow.Overlaps)
	onMissing = words([]flow.OnMissing{flow.Hold, flow.LastGood, flow.Partial})
	drifts    = words([]flow.Drift{flow.DriftStop, flow.DriftIgnore, flow.DriftApprove})
)

func words[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = string(w)
	}
	return out
}

// gatherFields are the sections of a consolidation that other patterns do not have.
func (d *flowDoc) gatherFields() []field {
	return []field{
		{key: "schedule", into: &d.schedule, doc: "When the consolidation starts by itself. Without it only a person starts it."},
		{key: "gather", into: &d.gather, keys: &identifiers, doc: "Name: what is read of one table. In map it is the variable with the rows of a key."},
		{key: "base", into: &d.base, example: "customers", doc: "The source whose keys are the rows of the target; rows of others with another key are counted as unmatched. Without it: the keys of all sources."},
		{key: "guard", into: &d.guard, doc: "Which figures are believable. Those of a run that are not hold its write, and somebody is told."},
		{key: "advise", into: &d.advise, doc: "A model proposes one action for each key, from rows that it is shown; rules do so where it fails."},
	}
}

func (d *scheduleDoc) fields() []field {
	return []field{
		{key: "every", into: &d.every, example: "1h", doc: "An interval from 1s to a year, counted from the Unix epoch, whatever the time zone."},
		{key: "phase", into: &d.phase, example: "5m", doc: "How much later than that; less than every."},
		{key: "cron", into: &d.cron, example: "30 5 * * 1-5", doc: "One cron expression or a list, of five fields (minute, hour, day of month, month, day of week), six with the year behind or seven with the second in front."},
		{key: "timezone", into: &d.timezone, example: "Europe/Berlin", doc: "The IANA zone of cron and holidays; default UTC. A time that a change of clocks leaves out does not come."},
		{key: "holidays", into: &d.holidays, example: []string{"de", "12-24"}, doc: "Days without a slot: 2026-12-24, 12-24 of every year, or a list: " + strings.Join(calendar.Lists(), ", ") + "."},
		{key: "jitter", into: &d.jitter, example: "30s", doc: "Each slot is late by up to so much, never past the next one."},
		{key: "overlap", into: &d.overlap, required: true, missing: CodeOverlap, enum: overlaps, example: "skip", doc: "What becomes of a slot whose time comes while a run is open, by Temporal's names."},
		{key: "catch_up", into: &d.catchUp, required: true, missing: CodeOverlap, example: "10m", doc: "How late a slot may still start that could not start in time; at least 10s. What is later is missed, and a backfill takes it."},
		{key: "paused", into: &d.paused, example: "until the pilot begins", doc: "Why the schedule is paused from the start. Without it, it is not."},
		{key: "warn_at", into: &d.warnAt, min: 1, max: 100, example: 80, doc: "Per cent of the interval after which a run that is not over is told of; default 80."},
	}
}

func (d *sourceDoc) fields() []field {
	return []field{
		{key: "from", into: &d.from, required: true, advice: "CONNECTION.TABLE", example: "sap.orders", doc: "connection.table, as in connections.yaml."},
		{key: "where", into: &d.where, keys: &columnKeys, example: object{"SalesOrganization": `'"1710"'`}, doc: "Column: a constant, as CEL. All must be equal."},
		{key: "select", into: &d.columns, required: true, advice: "[COLUMN, …]", example: []string{"SalesOrder", "SoldToParty"}, doc: "The columns that are read, each by name. No other leaves the system."},
		{key: "key", into: &d.key, required: true, advice: "row.COLUMN", example: "row.SoldToParty", doc: "CEL over row: what rows of all sources are joined by, a text or a number."},
		{key: "identity", into: &d.identity, required: true, advice: "[COLUMN, …]", example: []string{"SalesOrder"}, doc: "Selected columns that tell one row of the source from another. Of two with the same the later one counts, the other is a duplicate."},
		{key: "one", into: &d.one, doc: "true: a key has one row at most, and the variable is that row, or null. Else it is a list."},
		{key: "changed", into: &d.changed, doc: "Only what changed since the last run is read. Without it everything is."},
		{key: "on_missing", into: &d.onMissing, enum: onMissing, example: "last_good", doc: "When the source is down. hold: nothing is written (the default). last_good: what was read last is used, and said to be old. partial: columns that need this source are not written."},
		{key: "stale", into: &d.stale, example: "6h", doc: "last_good: what is older than this is not used. Without it, however old."},
		{key: "page", into: &d.page, min: 1, max: 100_000, example: 1000, doc: "Rows of one page; without it what suits the connector."},
		{key: "lost", into: &d.lost, enum: drifts, example: "stop", doc: "A selected column is not there any more. stop: the source counts as down (the default). ignore: the column is absent. approve: as stop, until a person approves."},
		{key: "gained", into: &d.gained, enum: drifts, example: "ignore", doc: "A column came that connections.yaml does not list. ignore: it is not asked for (the default). stop and approve as under lost."},
	}
}

func (d *changedDoc) fields() []field {
	return []field{
		{key: "by", into: &d.by, required: true, advice: "COLUMN", example: "LastChangeDateTime", doc: "The selected column that grows when a row changes."},
		{key: "overlap", into: &d.overlap, required: true, advice: "5m", example: "5m", doc: "So much is read again, because clocks differ and transactions commit late."},
		{key: "full", into: &d.full, example: "24h", doc: "How often everything is read all the same: no watermark tells of rows that were deleted. Without it only when a person asks."},
	}
}

func (d *guardDoc) fields() []field {
	return []field{
		{key: "zero", into: &d.zero, doc: "true: a source or a target without any row is believable."},
		{key: "share", into: &d.share, min: 1, max: 1000, example: 30, doc: "Per cent that rows may differ from the median of the last runs. Without it any number but none is believable."},
	}
}

func (t *texts) read(r *reader, n *yaml.Node, f field) {
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = n.Content
	}
	for _, n := range nodes {
		v := &text{at: placeOf(n)}
		v.read(r, n, f)
		t.items = append(t.items, v)
	}
}
func (t *texts) schema(field) object {
	one := object{"type": "string", "minLength": 1}
	return object{"oneOf": []object{one, {"type": "array", "items": one, "minItems": 1}}}
}
