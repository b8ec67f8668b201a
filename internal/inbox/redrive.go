package inbox

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// retold is what events that are judged again tell of one record.
type retold struct {
	row     flow.Row // after the last of them
	version int64    // the newest of them
	at      time.Time
}

// mostRedriven bounds the events of one redrive.
const mostRedriven = 1000

// Redrive has events that were rejected or are dead judged again, the oldest first,
// under the plan in force: by their own images, and where these lack what the plan
// needs by their record as it is read then. Of what is chosen at most 1,000 are taken
// at once. An event that somebody else decided on meanwhile is left (compare and set);
// so is one of a flow that is gone. by is kept with the event.
//
// One that tells of a state before what is known of its record ends as stale, unless
// what is newer is judged again with it.
func (x *Inbox) Redrive(ctx context.Context, by string, choose flow.TroubleFilter) (flow.Rejudged, error) {
	out := flow.Rejudged{Outcomes: map[string]int{}}
	chosen, err := x.chosen(ctx, choose)
	if err != nil {
		return out, err
	}
	for _, name := range slices.Sorted(maps.Keys(chosen)) {
		plan, judge, err := x.reacting(ctx, name)
		if fault.Is(err, fault.NotFound) {
			out.Left += len(chosen[name])
			continue
		}
		if err != nil {
			return out, err
		}
		d := &delivery{plan: plan, judge: judge, counts: map[string]int64{stageRedriven: int64(len(chosen[name]))}}
		for _, u := range chosen[name] {
			n, err := newEntry(plan, u.Event)
			if err != nil {
				return out, err
			}
			n.row, n.learned, n.again, n.redriven, n.by = u.ID, true, true, 1, by
			d.entries = append(d.entries, n)
		}
		receipt, err := x.commit(ctx, d)
		if err != nil {
			return out, err
		}
		out.Events += receipt.Accepted
		out.Left += receipt.Duplicate
		waiting := receipt.Accepted
		for reason, n := range receipt.Outcomes {
			out.Outcomes[reason] += n
			waiting -= n
		}
		if waiting > 0 {
			out.Outcomes[string(flow.EventWaiting)] += waiting
		}
	}
	return out, nil
}

// chosen reads the events of a choice by their flow.
func (x *Inbox) chosen(ctx context.Context, choose flow.TroubleFilter) (map[string][]Unread, error) {
	list := map[string][]Unread{}
	err := x.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select id, flow, source, record, change, version, at, before, after, sent, origin from event e
			where `+troubled+` order by id limit $4`, choose.Flow, nonNil(choose.Causes), nonNil(choose.Events), mostRedriven)
		if err != nil {
			return err
		}
		var u Unread
		var source string
		var before, after []byte
		_, err = pgx.ForEachRow(rows, []any{&u.ID, &u.Flow, &source, &u.Event.Record, &u.Event.Change, &u.Event.Version, &u.Event.At, &before, &after,
			&u.Event.Sent, &u.Event.Origin}, func() error {
			one := u
			one.Event.Connection, one.Event.Table, _ = strings.Cut(source, ".")
			one.Event.Sent = slices.Clone(u.Event.Sent)
			if err := decode(before, &one.Event.Before); err != nil {
				return err
			}
			list[one.Flow] = append(list[one.Flow], one)
			return decode(after, &list[one.Flow][len(list[one.Flow])-1].Event.After)
		})
		return err
	})
	return list, err
}

// reopen finds which of the rows that a transaction is about are still open, and what
// the events that are judged again tell of each record. It holds them until the end.
func (s *session) reopen(ctx context.Context, in []*delivery) error {
	var ids []int64
	s.again = map[place]*retold{}
	for _, d := range in {
		for _, n := range d.entries {
			if !n.learned {
				continue
			}
			ids = append(ids, n.row)
			if n.again {
				at := n.place(d.plan.Flow)
				if s.again[at] == nil {
					s.again[at] = &retold{}
				}
				s.again[at].version = max(s.again[at].version, n.Version)
				if n.At.After(s.again[at].at) {
					s.again[at].at = n.At
				}
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	rows, err := s.tx.Query(ctx, `
		select id from event where id = any($1) and (read_at is not null or reason in ('rejected', 'dead') and dismissed_at is null)
		order by id for update`, ids)
	if err != nil {
		return err
	}
	open, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	for _, d := range in {
		for _, n := range d.entries {
			_, there := slices.BinarySearch(open, n.row)
			n.gone = n.learned && !there
		}
	}
	return nil
}

// rejudge decides an event anew. Its own first verdict has left its state in what is
// known of its record, so before it is what it says itself, and what an earlier event
// of this transaction came to.
func (s *session) rejudge(d *delivery, n *entry, known *record) {
	told := s.again[n.place(d.plan.Flow)]
	if n.Change == "" {
		n.Change = flow.Updated
	}
	last := n.Occurrence
	last.Version, last.At = max(last.Version, told.version), told.at
	if known != nil && older(known, last) {
		n.was, n.now = known.columns, known.columns
		n.verdict = d.keyed(n, flow.Verdict{Reason: flow.EventStale})
		return
	}
	if told.row != nil || n.Before != nil {
		n.was = flow.Row{}
		maps.Copy(n.was, n.Before)
		maps.Copy(n.was, told.row)
	}
	n.now = flow.Row{}
	if known != nil && (!n.Whole || n.Change == flow.Deleted) {
		maps.Copy(n.now, known.columns)
	}
	if !n.Whole {
		maps.Copy(n.now, n.was)
	}
	maps.Copy(n.now, n.After)
	if n.Change == flow.Deleted {
		n.was = n.now
	}
	n.verdict = d.judge.Judge(n.Occurrence, n.was, n.now)
	if n.verdict.Reason == flow.EventRejected && n.redriven > 0 && lacks(n.now, watched(d.plan, n.Connection, n.Table)) {
		n.Trimmed, n.verdict = true, flow.Verdict{Key: n.verdict.Key} // its record is read first
		return
	}
	told.row = n.now
	s.remember(n, d.plan.Flow, known)
}

// remember keeps what an event that was judged again tells of its record, unless more
// is known.
func (s *session) remember(n *entry, name string, known *record) {
	switch {
	case known == nil:
		known = &record{}
		s.records[n.place(name)] = known
	case older(known, n.Occurrence):
		return
	}
	known.changed = true
	known.version, known.at = max(known.version, n.Version), n.At
	if known.gone = n.Change == flow.Deleted; !known.gone {
		known.columns = n.now
	}
}

func lacks(row flow.Row, columns []string) bool {
	return slices.ContainsFunc(columns, func(c string) bool { _, there := row[c]; return !there })
}
