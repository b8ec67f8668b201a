package inbox

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

type (
	// Window is a frozen window on its way to a run. Its key, ID and items are the
	// parameters of it (flow.EventParams).
	Window struct {
		ID    int64
		Flow  string
		Key   string
		Items []flow.NetChange
	}

	// due is a window whose time has come.
	due struct {
		window
		fate  string    // outcome; empty: it stays open
		into  int64     // the window whose message it is part of
		until time.Time // when it is due again, of one that stays open
	}
)

// The outcomes of a window.
const (
	outcomeRun       = "run"
	outcomeUnchanged = "unchanged"
	outcomeShed      = "shed"
	outcomeDigest    = "digest" // its changes are part of another window's message
	outcomeDead      = "dead"
)

// mostDue is how many windows of a flow are frozen in one transaction: as many as a
// batch of events carries.
const mostDue = 200

// orphaned is how long after it was frozen a window has become a run, unless who froze
// it has ended.
const orphaned = 5 * time.Second

// Flows gives the flows with open windows or frozen ones that have not become runs,
// and when the first of each is due: a step of the index for each.
func (x *Inbox) Flows(ctx context.Context) (map[string]time.Time, error) {
	var flows map[string]time.Time
	err := x.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			with recursive f(flow) as (
				select min(flow) from change_window where frozen_at is null
				union all
				select (select min(flow) from change_window where frozen_at is null and change_window.flow > f.flow) from f where f.flow is not null
			), g(flow) as (
				select min(flow) from change_window where frozen_at is not null and entered_at is null
				union all
				select (select min(flow) from change_window where frozen_at is not null and entered_at is null and change_window.flow > g.flow)
				from g where g.flow is not null
			)
			select flow, (select due_at from change_window w where w.flow = f.flow and frozen_at is null order by w.flow, due_at limit 1)
			from f where flow is not null
			union all
			select flow, (select frozen_at + $1::interval from change_window w where w.flow = g.flow and frozen_at is not null and entered_at is null
				order by w.flow, id limit 1)
			from g where flow is not null`, orphaned)
		if err != nil {
			return err
		}
		flows = map[string]time.Time{}
		var name string
		var due *time.Time
		_, err = pgx.ForEachRow(rows, []any{&name, &due}, func() error {
			if first, there := flows[name]; due != nil && (!there || due.Before(first)) {
				flows[name] = *due
			}
			return nil
		})
		return err
	})
	return flows, err
}

// Freeze ends the windows of a flow that are due, at most limit and at most 200, the
// longest due first, and gives those that become runs; Entered says when they are. A
// window without a net change ends as unchanged. One that the throttle holds back
// stays open, and goes on collecting.
func (x *Inbox) Freeze(ctx context.Context, name string, limit int) ([]Window, error) {
	plan, judge, err := x.reacting(ctx, name)
	if f := fault.Of(err); f != nil && f.Class != fault.NotFound {
		return nil, err
	}
	if err != nil { // the flow is gone: what was collected for it cannot be carried out
		return nil, x.abandon(ctx, name, err)
	}
	mode := x.spikes.mode(ctx, x, plan)
	from := x.marks.from(name)
	var ready []Window
	var list []*due
	err = x.store.Tx(ctx, func(tx pgx.Tx) error {
		ready = nil
		if err := lockFlows(ctx, tx, name); err != nil {
			return err
		}
		var err error
		list, err = dueWindows(ctx, tx, name, min(limit, mostDue), from)
		if err != nil || len(list) == 0 {
			return err
		}
		if err := x.decideDue(ctx, tx, plan, judge, mode, list); err != nil {
			return err
		}
		ready = readyOf(list)
		return writeDue(ctx, tx, x.bucket(), plan.Flow, list)
	})
	if err == nil && len(list) > 0 {
		x.marks.move(name, list[len(list)-1].due)
	}
	return ready, err
}

func dueWindows(ctx context.Context, tx pgx.Tx, name string, limit int, from time.Time) ([]*due, error) {
	rows, err := tx.Query(ctx, claimDue, name, limit, from)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (*due, error) {
		d := due{window: window{flow: name}}
		var net []byte
		if err := r.Scan(&d.id, &d.key, &d.opened, &d.due, &d.most, &net, &d.events, &d.lead, &d.throttled); err != nil {
			return nil, err
		}
		return &d, decode(net, &d.net)
	})
}

// claimDue walks the index of open windows from the mark of the last claim: no sort,
// whatever waits, and no step over what was claimed before (marks).
const claimDue = `
	select id, key, opened_at, due_at, max_at, net, events, lead, throttled from change_window
	where flow = $1 and frozen_at is null and due_at >= $3 and due_at <= now() order by flow, due_at limit $2 for update`

// decideDue says what becomes of each window.
func (x *Inbox) decideDue(ctx context.Context, tx pgx.Tx, plan *flow.Plan, judge Judge, mode flow.SpikeMode, list []*due) error {
	var left []*due
	for _, d := range list {
		switch {
		case d.net.Void:
			d.fate = outcomeUnchanged
		case mode == flow.SpikeShed:
			d.fate = outcomeShed
		default:
			left = append(left, d)
		}
	}
	groups := make([]bundle, len(left))
	for i, d := range left {
		groups[i] = bundle{list: []*due{d}}
	}
	if mode == flow.SpikeDigest {
		var err error
		if groups, err = x.digests(ctx, tx, plan, judge, left); err != nil {
			return err
		}
	}
	leads := make([]*due, len(groups))
	for i, g := range groups {
		leads[i] = g.list[0]
	}
	if err := throttle(ctx, tx, plan, judge, leads); err != nil {
		return err
	}
	for _, g := range groups {
		g.together()
	}
	return x.digested(ctx, tx, plan.Flow, groups)
}

// readyOf gives the windows that become runs, with the changes of those that go along.
func readyOf(list []*due) []Window {
	var ready []Window
	at := map[int64]int{}
	for _, d := range list {
		if d.fate == outcomeRun {
			at[d.id] = len(ready)
			ready = append(ready, Window{ID: d.id, Flow: d.flow, Key: d.key, Items: []flow.NetChange{d.net}})
		}
	}
	// In the order in which Frozen gives them: who repeats the step asks for the same run.
	for _, d := range slices.SortedFunc(slices.Values(list), func(a, b *due) int { return cmp.Compare(a.id, b.id) }) {
		if d.fate == outcomeDigest {
			w := &ready[at[d.into]]
			w.Items = append(w.Items, d.net)
		}
	}
	return ready
}

// writeDue freezes windows and moves those that wait.
func writeDue(ctx context.Context, tx pgx.Tx, bucket time.Duration, name string, list []*due) error {
	var ids, into, moved []int64
	var fates []string
	var untils []time.Time
	counts := map[string]int64{}
	for _, d := range list {
		if d.fate == "" {
			moved, untils = append(moved, d.id), append(untils, d.until)
			if !d.throttled {
				counts["throttled"]++
			}
			continue
		}
		ids, fates, into = append(ids, d.id), append(fates, d.fate), append(into, d.into)
		if n := int64(d.events); d.fate == outcomeUnchanged || d.fate == outcomeShed {
			counts[d.fate] += n
		} else if n > 1 {
			counts[string(flow.EventMerged)] += n - 1
		}
		if d.fate == outcomeDigest {
			counts[string(flow.EventMerged)]++
		}
	}
	var batch pgx.Batch
	if len(ids) > 0 {
		batch.Queue(`
			update change_window w set frozen_at = now(), outcome = f.fate, digest_id = nullif(f.goes_with, 0),
				entered_at = case when f.fate <> 'run' then now() end
			from unnest($1::bigint[], $2::text[], $3::bigint[]) as f(id, fate, goes_with) where w.id = f.id`, ids, fates, into)
	}
	if len(moved) > 0 {
		batch.Queue(`
			update change_window w set due_at = f.until, throttled = true
			from unnest($1::bigint[], $2::timestamptz[]) as f(id, until) where w.id = f.id`, moved, untils)
	}
	sums := newFunnel(bucket)
	sums.add(name, counts)
	sums.queue(&batch)
	return tx.SendBatch(ctx, &batch).Close()
}

// Frozen gives windows that were frozen some time ago and have not become runs: who
// froze them has ended meanwhile.
func (x *Inbox) Frozen(ctx context.Context, name string, limit int) ([]Window, error) {
	var list []Window
	err := x.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select w.id, w.flow, w.key, w.net, coalesce((select json_agg(d.net order by d.id) from change_window d where d.digest_id = w.id), '[]')
			from change_window w
			where w.flow = $1 and w.frozen_at < now() - $3::interval and w.entered_at is null order by w.flow, w.id limit $2`, name, limit, orphaned)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (Window, error) {
			var w Window
			var net, others []byte
			if err := r.Scan(&w.ID, &w.Flow, &w.Key, &net, &others); err != nil {
				return w, err
			}
			w.Items = make([]flow.NetChange, 1)
			if err := decode(net, &w.Items[0]); err != nil {
				return w, err
			}
			var more []flow.NetChange
			err := decode(others, &more)
			w.Items = append(w.Items, more...)
			return w, err
		})
		return err
	})
	return list, err
}

// Entered notes the runs that windows became, by the IDs of the windows.
func (x *Inbox) Entered(ctx context.Context, runs map[int64]string) error {
	if len(runs) == 0 {
		return nil
	}
	ids, names := make([]int64, 0, len(runs)), make([]string, 0, len(runs))
	for id, run := range runs {
		ids, names = append(ids, id), append(names, run)
	}
	return x.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `
			update change_window w set entered_at = now(), run_id = r.run_id
			from unnest($1::bigint[], $2::text[]) as r(id, run_id) where w.id = r.id and w.entered_at is null`, ids, names)
		return err
	})
}

// Refuse ends a window that cannot become a run: its events are dead letters, for why.
func (x *Inbox) Refuse(ctx context.Context, id int64, why error) error {
	f := fault.Of(why)
	return x.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `
			with w as (
				update change_window set entered_at = now(), outcome = $2, frozen_at = coalesce(frozen_at, now())
				where id = $1 and entered_at is null returning id
			)
			update event e set reason = 'dead', clause = $3, detail = $4, decided_at = now() from w where e.window_id = w.id`,
			id, outcomeDead, f.Code, store.Text(f.Text))
		return err
	})
}

// abandon ends the open windows of a flow that is not there any more.
func (x *Inbox) abandon(ctx context.Context, name string, why error) error {
	f := fault.Of(why)
	err := x.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `
			with w as (
				update change_window set entered_at = now(), frozen_at = now(), outcome = $2
				where flow = $1 and frozen_at is null and due_at <= now() returning id
			)
			update event e set reason = 'dead', clause = $3, detail = $4, decided_at = now() from w where e.window_id = w.id`,
			name, outcomeDead, f.Code, store.Text(f.Text))
		return err
	})
	if err != nil {
		return fmt.Errorf("ending the windows of a flow that is gone: %w", err)
	}
	return nil
}
