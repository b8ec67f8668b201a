package flowfile

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"patchbay/internal/flow"
)

type (
	triggerDoc struct {
		at
		event       text
		source      tableRef
		change      list[word, *word]
		columns     list[column, *column]
		where       cel
		transitions cel
		key         cel
	}

	collapseDoc struct {
		at
		quiet   span
		maxWait span
	}

	throttleDoc struct {
		at
		rate  rate
		burst whole
		per   cel
	}

	expectedDoc struct {
		at
		perDay   whole
		perMonth whole
		lag      span
	}

	sendDoc struct {
		at
		to        text
		template  fileName
		text      fileName
		recipient cel
		subject   text
		repeat    word
	}

	// rate is so many in so long, such as 60/m.
	rate struct {
		at
		count int
		per   time.Duration
		ok    bool
	}

	// fileName is a template beside the flow.
	fileName struct {
		at
		value string
	}
)

var (
	changes    = []string{string(flow.Created), string(flow.Updated), string(flow.Deleted)}
	spikeModes = []string{string(flow.SpikeQueue), string(flow.SpikeDigest), string(flow.SpikeShed)}
)

// eventFields are the sections of an event flow that others do not have.
func (d *flowDoc) eventFields() []field {
	return []field{
		{key: "on", into: &d.on, doc: "What the event flow reacts to; the first trigger that an event passes takes it. Of a service the one business event that starts a run: - event: shipped.v1."},
		{key: "sweep", into: &d.sweep, example: "5m", doc: "How often the source's change tracking is asked for what no delivery told; without it never."},
		{key: "collapse", into: &d.collapse, doc: "A window: events of one key become one run with their net change. Without it each event is a run."},
		{key: "throttle", into: &d.throttle, doc: "How many runs may pass. Those beyond it wait."},
		{key: "expect", into: &d.expect, doc: "What is expected: of an event flow how many events, and spike says what happens past it; of a synchronization how long a change takes."},
		{key: "spike", into: &d.spike, enum: spikeModes, example: spikeModes, doc: "What happens past the expected volume, in this order: queue (it takes longer), digest (one message for each recipient and interval), shed (kept, and not carried out)."},
		{key: "explain", into: &d.explain, enum: []string{"full", "counts"}, example: "full", doc: "full: every event is explained one by one. counts: of those that are refused by what they say themselves only the number for each clause is kept. Default full."},
		{key: "send", into: &d.send, doc: "The message that each run sends."},
		{key: "loop", into: &d.loop, enum: []string{"accepted"}, doc: "accepted: cycles through this flow, of flows that write what others react to, are meant."},
	}
}

func (d *triggerDoc) fields() []field {
	return []field{
		{key: "event", into: &d.event, example: "shipped.v1", doc: "Of a service: the business event, one of accepts, that starts a run. Its fields are the parameters."},
		{key: "source", into: &d.source, required: true, unless: "event", advice: "CONNECTION.TABLE", example: "dataverse.incident", doc: "connection.table, as in connections.yaml."},
		{key: "change", into: &d.change, required: true, unless: "event", advice: "[create, update, delete]", enum: changes, example: []string{"update"}, doc: "Types of change: create, update, delete."},
		{key: "select", into: &d.columns, example: []string{"statuscode"}, doc: "An update counts only if one of these columns really changed. Without it any column counts."},
		{key: "where", into: &d.where, example: "row.msx_customerfacing", doc: "CEL over row, the record after the change (of a deleted one as it was): which records count."},
		{key: "transitions", into: &d.transitions, example: "was.statuscode == 1 && row.statuscode == 5", doc: "CEL over was and row, of an update: which changes count. A change from a value that is not known does not."},
		{key: "key", into: &d.key, required: true, unless: "event", advice: "row.COLUMN", example: "row.incidentid", doc: "CEL over row: the business key, a text or a number. Runs of one key keep their order; a window is of one key."},
	}
}

func (d *collapseDoc) fields() []field {
	return []field{
		{key: "quiet", into: &d.quiet, required: true, advice: "2s", example: "2s", doc: "The window of a key ends when nothing came for so long."},
		{key: "max_wait", into: &d.maxWait, example: "5m", doc: "And so long after its first event at the latest; default ten times quiet."},
	}
}

func (d *throttleDoc) fields() []field {
	return []field{
		{key: "rate", into: &d.rate, required: true, advice: "60/m", example: "60/m", doc: "Runs in a time: 10/s, 60/m, 500/h, 1000/d."},
		{key: "burst", into: &d.burst, min: 1, max: 1_000_000, example: 10, doc: "Runs that may pass at once; default as many as rate says."},
		{key: "per", into: &d.per, example: "row.customer_email", doc: "CEL over row, the changed record: each value is throttled by itself. Without it all runs of the flow together."},
	}
}

func (d *expectedDoc) fields() []field {
	return []field{
		{key: "per_day", into: &d.perDay, min: 1, max: 1 << 40, example: 20000, doc: "Events a day."},
		{key: "per_month", into: &d.perMonth, min: 1, max: 1 << 45, example: 400000, doc: "Events a month of 30 days."},
		{key: "lag", into: &d.lag, example: "30s", doc: "Of a synchronization: how long after a change in one region the others have it. Users are told, and somebody is when it takes longer."},
	}
}

func (d *sendDoc) fields() []field {
	return []field{
		{key: "to", into: &d.to, required: true, advice: "CONNECTION", example: "mail", doc: "A connection of connections.yaml that sends messages."},
		{key: "template", into: &d.template, required: true, advice: "NAME.html", example: "case-update.html", doc: "The message: a file beside the flow, html/template (.html) or text/template (.txt) over the net change."},
		{key: "text", into: &d.text, example: "case-update.txt", doc: "The text for readers that show no HTML; made of the HTML where it is left out."},
		{key: "recipient", into: &d.recipient, required: true, advice: "row.COLUMN", example: "row.customer_email", doc: "CEL over row (what read gives; without read the changed record) and key: one address."},
		{key: "subject", into: &d.subject, example: "Your case {{.Row.ticketnumber}}", doc: "A text/template on one line."},
		{key: "repeat", into: &d.repeat, enum: []string{"resend", "ask"}, example: "ask", doc: "A message of which nobody knows whether it was sent: resend sends it again, and the recipient may get it twice; ask (the default) waits for a person."},
	}
}

var rates = regexp.MustCompile(`^([1-9][0-9]{0,8})/([1-9][0-9]{0,3})?(s|m|h|d)$`)

var units = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}

func (v *rate) read(r *reader, n *yaml.Node, f field) {
	m := rates.FindStringSubmatch(n.Value)
	if n.Kind != yaml.ScalarNode || m == nil {
		r.add(placeOf(n), CodeType, fmt.Sprintf("%s is %s where a rate is due", f.name(), what(n)), "write how many in how long: 10/s, 60/m, 500/h")
		return
	}
	v.count, _ = strconv.Atoi(m[1])
	times := 1
	if m[2] != "" {
		times, _ = strconv.Atoi(m[2])
	}
	v.per, v.ok = time.Duration(times)*units[m[3]], true
}
func (v *rate) schema(field) object { return object{"type": "string", "pattern": rates.String()} }

var fileNames = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}\.(html|txt)$`)

func (t *fileName) read(r *reader, n *yaml.Node, f field) {
	v, ok := r.text(n, f)
	if ok && !fileNames.MatchString(v) {
		r.add(placeOf(n), CodeTemplate, fmt.Sprintf("%s is %q, which names no template", f.name(), clip(v)), "write the name of a file beside the flow that ends in .html or .txt")
		return
	}
	t.value = v
}
func (t *fileName) schema(field) object {
	return object{"type": "string", "pattern": fileNames.String()}
}
