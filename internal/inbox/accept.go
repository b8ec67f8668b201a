package inbox

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store/group"
)

type (
	// record is what is known of a record.
	record struct {
		version int64
		at      time.Time
		columns flow.Row
		gone    bool
		changed bool // by this transaction
	}

	// window is an open change window.
	window struct {
		id        int64
		flow, key string
		opened    time.Time
		due, most time.Time
		net       flow.NetChange
		events    int
		lead      int64
		throttled bool
		made      bool // by this transaction
		full      bool // it ends, although it is not due
	}

	// session is one transaction: what it read, and what it will write.
	session struct {
		tx      pgx.Tx
		now     time.Time
		seen    map[string]hash // events by flow and ID: what they say
		unread  map[int64]bool  // rows of event that are still to be decided by their record
		records map[place]*record
		windows map[[2]string]*window // by flow and key
		funnel  *sums
		ended   []*window         // that were full
		again   map[place]*retold // of records with events that are judged again
		nth     int               // events that went into windows
		ids     []int64           // of new rows of event
		places  []int64           // of new rows of change_window
	}
)

// lockFlows holds the flows until the transaction ends: whoever changes their events
// or windows comes one after the other, here and in every process.
//
// The statements that follow look a few hundred rows up by their keys. A plan that was
// made while the tables were small would read them whole for it, and be kept.
func lockFlows(ctx context.Context, tx pgx.Tx, flows ...string) error {
	_, err := tx.Exec(ctx, `
		select set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
		       pg_advisory_xact_lock(hashtextextended(f, 8))
		from (select f from unnest($1::text[]) as f order by f) as f`, flows)
	return err
}

// acceptAll commits deliveries.
func (x *Inbox) acceptAll(ctx context.Context, in []*delivery) ([]group.Reply[flow.Receipt], error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	var replies []group.Reply[flow.Receipt]
	waiting := false
	err := x.store.Tx(ctx, func(tx pgx.Tx) error {
		replies, waiting = make([]group.Reply[flow.Receipt], len(in)), false
		s := session{tx: tx, funnel: newFunnel(x.bucket()), seen: map[string]hash{}, unread: map[int64]bool{}, records: map[place]*record{}, windows: map[[2]string]*window{}}
		for _, d := range in {
			d.reset()
		}
		var taken []*delivery
		if flows := flowsOf(in); len(flows) > 0 {
			if err := lockFlows(ctx, tx, flows...); err != nil {
				return err
			}
			if err := s.read(ctx, in); err != nil {
				return err
			}
			if err := s.reopen(ctx, in); err != nil {
				return err
			}
		}
		for i, d := range in {
			if replies[i].Err = s.recognise(d); replies[i].Err == nil {
				taken = append(taken, d)
			}
		}
		for _, d := range taken {
			for _, n := range d.entries {
				if !n.known {
					s.decide(d, n)
				}
			}
		}
		if err := s.open(ctx, taken); err != nil {
			return err
		}
		for _, d := range taken {
			for _, n := range d.entries {
				s.fold(d, n)
			}
		}
		waiting = len(s.windows) > 0
		if err := s.write(ctx, taken); err != nil {
			return err
		}
		for i, d := range in {
			if replies[i].Err == nil {
				replies[i].Out = d.conclude()
			}
		}
		return nil
	})
	if err == nil && waiting && x.Wake != nil {
		x.Wake()
	}
	return replies, err
}

func flowsOf(in []*delivery) []string {
	var flows []string
	for _, d := range in {
		if len(d.entries) > 0 && !slices.Contains(flows, d.plan.Flow) {
			flows = append(flows, d.plan.Flow)
		}
	}
	return flows
}

// read reads which events are known and what is known of their records, and takes
// numbers for new rows.
func (s *session) read(ctx context.Context, in []*delivery) error {
	var flows []string
	var ids [][]byte
	var placeFlows, sources, names []string
	var learned []int64
	fresh := 0
	for _, d := range in {
		for _, n := range d.entries {
			if n.learned {
				learned = append(learned, n.row)
			} else {
				flows, ids = append(flows, d.plan.Flow), append(ids, n.id[:])
				fresh++
			}
			at := n.place(d.plan.Flow)
			if _, asked := s.records[at]; !asked {
				s.records[at] = nil
				placeFlows, sources, names = append(placeFlows, at.flow), append(sources, at.source), append(names, at.record)
			}
		}
	}
	var batch pgx.Batch
	// After the lock, not when the transaction began: no window becomes due before one
	// that was claimed (marks).
	batch.Queue(`select clock_timestamp()`).QueryRow(func(row pgx.Row) error { return row.Scan(&s.now) })
	batch.Queue(`
		select e.flow, e.event_id, e.sum from unnest($1::text[], $2::bytea[]) as a(flow, id)
		join event e on e.flow = a.flow and e.event_id = a.id`, flows, ids).Query(func(rows pgx.Rows) error {
		var name string
		var id, sum []byte
		_, err := pgx.ForEachRow(rows, []any{&name, &id, &sum}, func() error {
			s.seen[name+"\x00"+string(id)] = hash(sum)
			return nil
		})
		return err
	})
	if len(learned) > 0 {
		batch.Queue(`select id from event where id = any($1) and read_at is not null`, learned).Query(func(rows pgx.Rows) error {
			var id int64
			_, err := pgx.ForEachRow(rows, []any{&id}, func() error { s.unread[id] = true; return nil })
			return err
		})
	}
	batch.Queue(`
		select r.flow, r.source, r.record, r.version, r.at, r.columns, r.gone from unnest($1::text[], $2::text[], $3::text[]) as a(flow, source, record)
		join record r using (flow, source, record)`, placeFlows, sources, names).Query(func(rows pgx.Rows) error {
		var at place
		var r record
		var columns []byte
		_, err := pgx.ForEachRow(rows, []any{&at.flow, &at.source, &at.record, &r.version, &r.at, &columns, &r.gone}, func() error {
			found := r
			if err := decode(columns, &found.columns); err != nil {
				return err
			}
			s.records[at] = &found
			return nil
		})
		return err
	})
	batch.Queue(`select nextval('event_id_seq') from generate_series(1, $1)`, fresh).Query(numbers(&s.ids))
	return s.tx.SendBatch(ctx, &batch).Close()
}

func numbers(into *[]int64) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var err error
		*into, err = pgx.CollectRows(rows, pgx.RowTo[int64])
		return err
	}
}

// recognise marks what a delivery repeats, of others in this transaction too, and an
// event that somebody else has read and decided meanwhile: a process that stood still
// may have its record in hands. An ID that stands for something else refuses the
// delivery.
func (s *session) recognise(d *delivery) error {
	own := map[string]hash{}
	for _, n := range d.entries {
		if n.learned {
			if n.redriven > 0 {
				n.known = n.gone
				continue
			}
			n.known = !s.unread[n.row]
			delete(s.unread, n.row)
			continue
		}
		at := d.plan.Flow + "\x00" + string(n.id[:])
		sum, there := s.seen[at]
		if !there {
			sum, there = own[at]
		}
		if there && sum != n.sum {
			return fault.New(fault.Conflict, "hook.id_conflict",
				"an event of this delivery has the ID of an earlier one and says something else; give each event an ID of its own", nil)
		}
		n.known = there
		own[at] = n.sum
	}
	maps.Copy(s.seen, own)
	return nil
}

// decide says what becomes of an event, and what is known of its record after it.
func (s *session) decide(d *delivery, n *entry) {
	at := n.place(d.plan.Flow)
	known := s.records[at]
	if n.again && !n.Trimmed {
		s.rejudge(d, n, known)
		return
	}
	if n.Trimmed {
		n.verdict = flow.Verdict{} // its record is read first
		return
	}
	if n.Change == "" { // change tracking does not tell the two apart
		if n.Change = flow.Updated; known == nil || known.gone {
			n.Change = flow.Created
		}
	}
	if n.Unreadable != nil { // it is a dead letter, and stalls no other
		n.verdict = flow.Verdict{Reason: flow.EventDead, Clause: n.Unreadable.Code, Detail: n.Unreadable.Text}
		n.silent = d.baseline
		return
	}
	n.was, n.now = states(d.plan, known, n.Occurrence)
	n.verdict = d.judge.Judge(n.Occurrence, n.was, n.now)
	overrule := func(reason flow.EventReason, clause string) {
		n.verdict = flow.Verdict{Reason: reason, Clause: clause, Key: n.verdict.Key}
	}
	switch {
	case d.baseline && known == nil:
		overrule("", "")
		n.silent = true
	case known != nil && older(known, n.Occurrence):
		overrule(flow.EventStale, "")
		n.silent = d.swept
		return
	case known != nil && n.Version != 0 && n.Version == known.version && !(n.Change == flow.Deleted && !known.gone):
		overrule(flow.EventUnchanged, "version")
		n.silent = d.swept
		return
	case flow.ParseChain(n.Origin).Cuts(d.plan.Flow):
		overrule(flow.EventEcho, "")
	}
	switch n.verdict.Reason {
	case flow.EventUnchanged, flow.EventStale:
		n.silent = n.silent || d.swept // somebody else told of it already
	}
	if known == nil {
		known = &record{}
		s.records[at] = known
	}
	known.changed = true
	known.version = max(known.version, n.Version)
	if n.At.After(known.at) {
		known.at = n.At
	}
	if known.gone = n.Change == flow.Deleted; !known.gone {
		known.columns = n.now
	}
}

// keyed is a verdict that no trigger gave, with the key by which it is found.
func (d *delivery) keyed(n *entry, v flow.Verdict) flow.Verdict {
	if !d.swept {
		v.Key = d.judge.Judge(n.Occurrence, n.was, n.now).Key
	}
	return v
}

// older reports whether an event tells of a state before the one that is known.
func older(r *record, e flow.Occurrence) bool {
	if r.version != 0 && e.Version != 0 {
		return e.Version < r.version
	}
	return e.At.Before(r.at)
}

// states gives the record before and after an event. Before it is what was last seen,
// and what was never seen as the event says. A flow that only counts has not seen all:
// there the event knows better.
func states(plan *flow.Plan, r *record, e flow.Occurrence) (was, now flow.Row) {
	first, then := e.Before, flow.Row(nil)
	if r != nil && !r.gone {
		then = r.columns
	}
	if plan.Reaction.Counts {
		first, then = then, first
	}
	if first != nil || then != nil {
		was = make(flow.Row, len(first)+len(then))
		maps.Copy(was, first)
		maps.Copy(was, then)
	}
	switch {
	case e.Change == flow.Deleted:
		return was, was
	case e.Whole, was == nil:
		return was, e.After
	}
	now = maps.Clone(was)
	maps.Copy(now, e.After)
	return was, now
}

// open reads the open windows of keys that events passed to.
func (s *session) open(ctx context.Context, taken []*delivery) error {
	var flows, keys []string
	passing := 0
	for _, d := range taken {
		for _, n := range d.entries {
			at := [2]string{d.plan.Flow, n.verdict.Key}
			if n.passes() {
				passing++
			}
			if _, asked := s.windows[at]; n.passes() && !asked {
				s.windows[at] = nil
				flows, keys = append(flows, at[0]), append(keys, at[1])
			}
		}
	}
	if len(flows) == 0 {
		return nil
	}
	var batch pgx.Batch
	// The flow as it stands would let the index of what is due seem as good, which has
	// all windows of the flow.
	batch.Queue(`
		select w.id, w.flow, w.key, w.opened_at, w.due_at, w.max_at, w.net, w.events, w.lead, w.throttled
		from unnest($1::text[], $2::text[]) as a(flow, key)
		join change_window w on w.key = a.key and w.flow || '' = a.flow and w.frozen_at is null`, flows, keys).Query(func(rows pgx.Rows) error {
		var w window
		var net []byte
		_, err := pgx.ForEachRow(rows, []any{&w.id, &w.flow, &w.key, &w.opened, &w.due, &w.most, &net, &w.events, &w.lead, &w.throttled}, func() error {
			found := w
			found.net = flow.NetChange{}
			if err := decode(net, &found.net); err != nil {
				return err
			}
			s.windows[[2]string{w.flow, w.key}] = &found
			return nil
		})
		return err
	})
	batch.Queue(`select nextval('change_window_id_seq') from generate_series(1, $1)`, len(flows)+passing/flow.MostOthers).Query(numbers(&s.places))
	return s.tx.SendBatch(ctx, &batch).Close()
}

// place takes the number of a new window.
func (s *session) place() int64 {
	id := s.places[0]
	s.places = s.places[1:]
	return id
}

// passes reports whether an event goes into a window.
func (n *entry) passes() bool { return !n.known && !n.silent && !n.Trimmed && n.verdict.Reason == "" }

// fold numbers an event and puts one that passes into the window of its key.
func (s *session) fold(d *delivery, n *entry) {
	if n.known || n.silent {
		return
	}
	if n.row == 0 {
		n.row, s.ids = s.ids[0], s.ids[1:]
	}
	if !n.passes() {
		return
	}
	r := d.plan.Reaction
	at := [2]string{d.plan.Flow, n.verdict.Key}
	w := s.windows[at]
	if w != nil && w.net.Full() { // it goes first, and the next one of the key begins
		w.full = true
		s.ended = append(s.ended, w)
		w = nil
	}
	if w == nil {
		w = &window{id: s.place(), flow: at[0], key: at[1], opened: s.now, most: s.now.Add(max(r.MaxWait, r.Quiet+time.Millisecond)), made: true}
		s.windows[at] = w
	}
	s.nth++ // what came first is due first, by a microsecond
	w.due = s.now.Add(r.Quiet).Add(time.Duration(s.nth) * time.Microsecond)
	if w.due.After(w.most) {
		w.due = w.most
	}
	w.net = r.Fold(w.net, at[1], n.Occurrence, n.was, n.now)
	w.net.Origin = longest(w.net.Origin, n.Origin)
	w.events++
	w.lead = n.row
	n.window = w
}

// longest keeps the longer chain of causes: what a run writes continues it.
func longest(a, b string) string {
	if strings.Count(b, flow.ChainLink) > strings.Count(a, flow.ChainLink) || a == "" {
		return b
	}
	return a
}

// conclude is the receipt of a delivery.
func (d *delivery) conclude() flow.Receipt {
	out := flow.Receipt{Accepted: d.receipt.Accepted, Outcomes: map[string]int{}}
	maps.Copy(out.Outcomes, d.receipt.Outcomes)
	for _, n := range d.entries {
		switch {
		case n.silent:
			continue
		case n.known:
			out.Duplicate++
			continue
		case n.verdict.Reason != "":
			out.Outcomes[string(n.verdict.Reason)]++
		}
		out.Accepted++
	}
	return out
}
