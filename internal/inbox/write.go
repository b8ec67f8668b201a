package inbox

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/flow"
	"patchbay/internal/store"
)

// write sends all that the transaction changes in one round.
func (s *session) write(ctx context.Context, taken []*delivery) error {
	var batch pgx.Batch
	if err := s.writeEvents(&batch, taken); err != nil {
		return err
	}
	if err := s.writeRecords(&batch); err != nil {
		return err
	}
	if err := s.writeWindows(&batch); err != nil {
		return err
	}
	s.count(&batch, taken)
	if batch.Len() == 0 {
		return nil
	}
	return s.tx.SendBatch(ctx, &batch).Close()
}

// writeEvents queues new events, and the verdicts of those that had to be read first.
func (s *session) writeEvents(batch *pgx.Batch, taken []*delivery) error {
	var made, read events
	for _, d := range taken {
		for _, n := range d.entries {
			into := &made
			switch {
			case n.known, n.silent:
				continue
			case n.learned:
				into = &read
			}
			if err := into.add(d.plan.Flow, n); err != nil {
				return err
			}
		}
	}
	if len(made.ids) > 0 {
		batch.Queue(`
			insert into event (id, flow, source, event_id, sum, record, key, change, version, at, before, after, sent, origin,
			                   reason, clause, detail, changed, window_id, decided_at, read_at)
			select id, flow, source, event_id, sum, record, key, change, version, at, before::json, after::json,
			       case when sent = '' then null else string_to_array(sent, chr(31)) end, origin, reason, clause, detail,
			       coalesce(string_to_array(nullif(changed, ''), chr(31)), '{}'), nullif(window_id, 0),
			       case when reason <> 'waiting' then now() end, case when trimmed then now() end
			from unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::text[], $7::text[], $8::text[], $9::bigint[],
			            $10::timestamptz[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[],
			            $19::bigint[], $20::bool[])
			as e(id, flow, source, event_id, sum, record, key, change, version, at, before, after, sent, origin, reason, clause, detail, changed,
			     window_id, trimmed)`,
			made.ids, made.flows, made.sources, made.eventIDs, made.sums, made.records, made.keys, made.changes, made.versions, made.ats,
			made.befores, made.afters, made.sents, made.origins, made.reasons, made.clauses, made.details, made.changed, made.windows, made.trimmed)
	}
	if len(read.ids) > 0 {
		batch.Queue(`
			update event set key = e.key, change = e.change, version = e.version, after = e.after::json, reason = e.reason, clause = e.clause, detail = e.detail,
				changed = coalesce(string_to_array(nullif(e.changed, ''), chr(31)), '{}'), window_id = nullif(e.window_id, 0),
				decided_at = case when e.reason <> 'waiting' then now() end, read_at = case when e.trimmed then now() end,
				reads = case when e.trimmed then 0 else reads end, redriven = event.redriven + e.redriven,
				decided_by = case when e.redriven > 0 then e.by else decided_by end
			from unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bigint[],
			            $11::bool[], $12::int[], $13::text[])
			as e(id, key, change, version, after, reason, clause, detail, changed, window_id, trimmed, redriven, by)
			where event.id = e.id`,
			read.ids, read.keys, read.changes, read.versions, read.afters, read.reasons, read.clauses, read.details, read.changed, read.windows,
			read.trimmed, read.redriven, read.bys)
	}
	return nil
}

// events are rows of table event as columns.
type events struct {
	ids                                                             []int64
	flows, sources, records, keys, changes, sents, origins, reasons []string
	clauses, details, changed                                       []string
	eventIDs, sums                                                  [][]byte
	versions, windows                                               []int64
	ats                                                             []time.Time
	befores, afters                                                 []*string
	trimmed                                                         []bool
	redriven                                                        []int32 // 1: by this transaction
	bys                                                             []string
}

func (e *events) add(name string, n *entry) error {
	before, err := document(n.Before)
	if err != nil {
		return err
	}
	after, err := document(n.After)
	if err != nil {
		return err
	}
	reason, window := n.verdict.Reason, int64(0)
	if reason == "" {
		reason = flow.EventWaiting
	}
	if n.window != nil {
		window = n.window.id
	}
	e.ids, e.flows, e.sources = append(e.ids, n.row), append(e.flows, name), append(e.sources, n.source)
	e.eventIDs, e.sums = append(e.eventIDs, n.id[:]), append(e.sums, n.sum[:])
	e.records, e.keys = append(e.records, n.Record), append(e.keys, store.Text(n.verdict.Key))
	e.changes, e.versions, e.ats = append(e.changes, string(n.Change)), append(e.versions, n.Version), append(e.ats, n.At)
	e.befores, e.afters = append(e.befores, before), append(e.afters, after)
	e.sents, e.origins = append(e.sents, joined(n.Sent)), append(e.origins, n.Origin)
	e.reasons, e.clauses = append(e.reasons, string(reason)), append(e.clauses, store.Text(n.verdict.Clause))
	e.details, e.changed = append(e.details, store.Text(n.verdict.Detail)), append(e.changed, joined(n.verdict.Changed))
	e.windows, e.trimmed = append(e.windows, window), append(e.trimmed, n.Trimmed)
	e.redriven, e.bys = append(e.redriven, n.redriven), append(e.bys, store.Text(n.by))
	return nil
}

// document is a row as PostgreSQL takes it; nil for none.
func document(row flow.Row) (*string, error) {
	if row == nil {
		return nil, nil
	}
	body, err := encode(row)
	if err != nil {
		return nil, err
	}
	text := string(body)
	return &text, nil
}

// joined puts names into one text: arrays of arrays would have to be of one size.
func joined(names []string) string {
	out := make([]byte, 0, 16*len(names))
	for i, n := range names {
		if i > 0 {
			out = append(out, 31)
		}
		out = append(out, store.Text(n)...)
	}
	return string(out)
}

func (s *session) writeRecords(batch *pgx.Batch) error {
	var flows, sources, names, columns []string
	var versions []int64
	var ats []time.Time
	var gone []bool
	for at, r := range s.records {
		if r == nil || !r.changed {
			continue
		}
		body, err := encode(r.columns)
		if err != nil {
			return err
		}
		flows, sources, names = append(flows, at.flow), append(sources, at.source), append(names, at.record)
		columns, versions = append(columns, string(body)), append(versions, r.version)
		ats, gone = append(ats, r.at), append(gone, r.gone)
	}
	if len(flows) > 0 {
		batch.Queue(`
			insert into record (flow, source, record, version, at, columns, gone)
			select flow, source, record, version, at, columns::json, gone
			from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::timestamptz[], $6::text[], $7::bool[])
			as r(flow, source, record, version, at, columns, gone)
			on conflict (flow, source, record) do update
			set version = excluded.version, at = excluded.at, columns = excluded.columns, gone = excluded.gone`,
			flows, sources, names, versions, ats, columns, gone)
	}
	return nil
}

func (s *session) writeWindows(batch *pgx.Batch) error {
	var made, kept windows
	for _, w := range append(slices.Clone(s.ended), slices.Collect(maps.Values(s.windows))...) {
		into := &kept
		if w == nil {
			continue
		}
		if w.made {
			into = &made
		}
		net, err := encode(w.net)
		if err != nil {
			return err
		}
		into.ids, into.flows, into.keys = append(into.ids, w.id), append(into.flows, w.flow), append(into.keys, w.key)
		into.opened, into.due, into.most = append(into.opened, w.opened), append(into.due, w.due), append(into.most, w.most)
		into.nets, into.events, into.leads = append(into.nets, string(net)), append(into.events, int32(w.events)), append(into.leads, w.lead)
		into.full = append(into.full, w.full)
	}
	// One that is full counts as frozen by somebody who has ended: it is taken up before
	// any that is due.
	if len(kept.ids) > 0 { // One that a throttle has moved keeps its time.
		batch.Queue(`
			update change_window w set net = k.net::json, events = k.events, lead = k.lead,
				due_at = case when w.throttled then greatest(w.due_at, k.due_at) else k.due_at end,
				frozen_at = case when k.is_full then now() - $7::interval end, outcome = case when k.is_full then 'run' else '' end
			from unnest($1::bigint[], $2::timestamptz[], $3::text[], $4::int[], $5::bigint[], $6::bool[]) as k(id, due_at, net, events, lead, is_full)
			where w.id = k.id`, kept.ids, kept.due, kept.nets, kept.events, kept.leads, kept.full, orphaned)
	}
	if len(made.ids) > 0 {
		batch.Queue(`
			insert into change_window (id, flow, key, opened_at, due_at, max_at, net, events, lead, frozen_at, outcome)
			select id, flow, key, opened_at, due_at, max_at, net::json, events, lead,
			       case when is_full then now() - $11::interval end, case when is_full then 'run' else '' end
			from unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[], $7::text[], $8::int[], $9::bigint[], $10::bool[])
			as w(id, flow, key, opened_at, due_at, max_at, net, events, lead, is_full)`,
			made.ids, made.flows, made.keys, made.opened, made.due, made.most, made.nets, made.events, made.leads, made.full, orphaned)
	}
	return nil
}

// windows are rows of table change_window as columns.
type windows struct {
	ids, leads        []int64
	flows, keys, nets []string
	opened, due, most []time.Time
	events            []int32
	full              []bool
}

// count queues what the funnel counts of deliveries.
func (s *session) count(batch *pgx.Batch, taken []*delivery) {
	for _, d := range taken {
		sums := maps.Clone(d.counts)
		for _, n := range d.entries {
			switch {
			case n.silent, n.known && n.learned:
			case n.known:
				sums[stageDuplicate]++
			case n.verdict.Reason != "":
				sums[stageOf(n.verdict.Reason, n.verdict.Clause)]++
			}
		}
		s.funnel.add(d.plan.Flow, sums)
	}
	s.funnel.queue(batch)
}
