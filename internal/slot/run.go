package slot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

type (
	// Opening asks for the place of a run.
	Opening struct {
		Flow       string
		RunID      string
		WorkflowID string
		At         *time.Time // the slot that it is of; nil: a person asked for it
		Shared     bool       // runs of the flow may overlap
	}

	// Opened is what became of it. Busy is the open run that has the place; nil: the
	// place was given. Waits says that the slot is not skipped for it: its policy is not
	// to skip, or somebody has asked for this slot by a backfill.
	Opened struct {
		Busy  *Run
		Waits bool
	}

	// Closing is how a run ended.
	Closing struct {
		Status flow.Status
		Rows   int64 // read from all sources
		Bytes  int64
	}

	// Run is a run of a consolidation.
	Run struct {
		RunID      string
		Flow       string
		At         *time.Time // its slot; nil: a person asked for it
		WorkflowID string
		OpenedAt   time.Time
		ClosedAt   *time.Time
		Status     flow.Status
		Rows       int64
		Bytes      int64
	}
)

// Conflict is what a person is told whose run finds the place taken. The run's page is
// where the link leads.
func (r Run) Conflict() error {
	what := "run " + r.RunID + " of it"
	if r.At != nil {
		what = "the run " + r.RunID + " of its slot " + r.At.UTC().Format(time.RFC3339)
	}
	return fault.New(fault.Conflict, "run.overlap", "the flow "+r.Flow+" has one run at a time, and "+what+" is open: /runs/"+r.RunID, nil)
}

// Open gives the place of a flow to a run. It is idempotent by run_id: a run that is
// open has its place, one that had ended gets it again when it is free. A slot that
// finds it taken is skipped.
func (l *Ledger) Open(ctx context.Context, o Opening) (Opened, error) {
	var opened Opened
	err := l.store.Tx(ctx, func(tx pgx.Tx) error {
		var err error
		opened, err = Open(ctx, tx, o)
		return err
	})
	return opened, err
}

// Open is Ledger.Open in a transaction of the caller.
func Open(ctx context.Context, tx pgx.Tx, o Opening) (Opened, error) {
	if o.At != nil {
		at := o.At.UTC().Truncate(time.Second)
		o.At = &at
	}
	var got bool
	err := tx.QueryRow(ctx, `
		with again as (
			update slot_run set closed_at = null, status = 'running' where run_id = $1 and closed_at is not null
				and (not exclusive or not exists (select from slot_run where flow = $2 and closed_at is null and exclusive))
			returning run_id),
		made as (
			insert into slot_run (run_id, flow, at, workflow_id, exclusive)
			select $1, $2, $3, $4, not $5 where not exists (select from slot_run where run_id = $1)
			on conflict do nothing returning run_id)
		select exists (select from again) or exists (select from made) or exists (select from slot_run where run_id = $1 and closed_at is null)`,
		o.RunID, o.Flow, o.At, o.WorkflowID, o.Shared).Scan(&got)
	if err != nil {
		return Opened{}, fmt.Errorf("opening a run: %w", err)
	}
	if got {
		return Opened{}, begin(ctx, tx, o)
	}
	busy, err := holder(ctx, tx, o.Flow)
	switch {
	case errors.Is(err, pgx.ErrNoRows): // it has just closed, or another transaction opens the same run
		return Opened{}, fault.New(fault.Unavailable, "slot.race", "another run of the flow has just ended", nil)
	case err != nil:
		return Opened{}, err
	case busy.RunID == o.RunID: // another attempt was quicker
		return Opened{}, begin(ctx, tx, o)
	}
	waits, err := skip(ctx, tx, o, busy)
	return Opened{Busy: &busy, Waits: waits}, err
}

// begin notes that the run of a slot is under way.
func begin(ctx context.Context, tx pgx.Tx, o Opening) error {
	if o.At == nil {
		return nil
	}
	due, _, err := due(ctx, tx, o)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		insert into slot (flow, at, due_by, outcome, run_id, started_at) values ($1, $2, $3, 'running', $4, clock_timestamp())
		on conflict (flow, at) do update set outcome = 'running', reason = '', run_id = excluded.run_id, ended_at = null,
			started_at = case when slot.outcome = 'running' and slot.run_id = excluded.run_id then slot.started_at else excluded.started_at end`,
		o.Flow, *o.At, due, o.RunID)
	return err
}

// skip notes that a slot found the place taken: it has no run, or waits for the place
// where it is not to be skipped. One that had a run keeps it.
func skip(ctx context.Context, tx pgx.Tx, o Opening, busy Run) (waits bool, err error) {
	if o.At == nil {
		return false, nil
	}
	due, waits, err := due(ctx, tx, o)
	if err != nil {
		return false, err
	}
	outcome, reason := flow.SlotOverlap, "run "+busy.RunID+" was open, which somebody had asked for"
	if busy.At != nil {
		reason = "run " + busy.RunID + " of " + busy.At.UTC().Format(time.RFC3339) + " was open"
	}
	if waits {
		outcome, reason = flow.SlotExpected, "it waits for run "+busy.RunID
	}
	_, err = tx.Exec(ctx, `
		insert into slot (flow, at, due_by, outcome, reason) values ($1, $2, $3, $4, $5)
		on conflict (flow, at) do update set outcome = excluded.outcome, reason = excluded.reason where slot.run_id is null`,
		o.Flow, *o.At, due, string(outcome), reason)
	return waits, err
}

// Stopped notes of a slot without a run why it does not begin: it waits, or, when over, it
// has no run.
func (l *Ledger) Stopped(ctx context.Context, o Opening, over bool, why string) error {
	if o.At == nil {
		return nil
	}
	outcome := flow.SlotExpected
	if over {
		outcome = flow.SlotStopped
	}
	return l.store.Tx(ctx, func(tx pgx.Tx) error {
		due, _, err := due(ctx, tx, o)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			insert into slot (flow, at, due_by, outcome, reason) values ($1, $2, $3, $4, $5)
			on conflict (flow, at) do update set outcome = excluded.outcome, reason = excluded.reason where slot.run_id is null`,
			o.Flow, *o.At, due, string(outcome), store.Text(why))
		return err
	})
}

// due is when a slot has to have begun, for one that nobody expected, and whether it
// waits for its place.
func due(ctx context.Context, tx pgx.Tx, o Opening) (by time.Time, waits bool, err error) {
	var body []byte
	var asked bool
	err = tx.QueryRow(ctx, `
		select (select spec from schedule where flow = $1), exists (select from slot where flow = $1 and at = $2 and backfill_at is not null)`, o.Flow, *o.At).
		Scan(&body, &asked)
	if err == nil && body == nil {
		return o.At.Add(lateAfter(0)), asked, nil
	}
	if err != nil {
		return time.Time{}, false, err
	}
	s, times, err := timesOf(body)
	if err != nil {
		return time.Time{}, false, err
	}
	return dueBy(times, *o.At), asked || s.Policy() != flow.OverlapSkip, nil
}

// Close ends a run and its slot. A run that has ended stays as it is; where whoever ended
// it knew no figures, those that come later are taken.
func (l *Ledger) Close(ctx context.Context, runID string, c Closing) error {
	return l.store.Tx(ctx, func(tx pgx.Tx) error { return Close(ctx, tx, runID, c) })
}

// Close is Ledger.Close in a transaction of the caller.
func Close(ctx context.Context, tx pgx.Tx, runID string, c Closing) error {
	_, err := tx.Exec(ctx, `
		with run as (
			update slot_run set closed_at = clock_timestamp(), status = $2, rows = $3, bytes = $4
			where run_id = $1 and closed_at is null returning flow, at),
		figures as (
			update slot_run set rows = $3, bytes = $4
			where run_id = $1 and closed_at is not null and status = $2 and rows = 0 and bytes = 0 and ($3 > 0 or $4 > 0))
		update slot set ended_at = clock_timestamp(),
			outcome = case when slot.backfill_at is null and slot.started_at > slot.due_by then 'late' else 'ran' end,
			reason = case when slot.backfill_at is null and slot.started_at > slot.due_by
				then 'began ' || date_trunc('second', slot.started_at - slot.at)::text || ' after its time' else '' end
		from run where slot.flow = run.flow and slot.at = run.at and slot.run_id = $1`, runID, string(c.Status), c.Rows, c.Bytes)
	if err != nil {
		return fmt.Errorf("closing a run: %w", err)
	}
	return nil
}

const runs = `select run_id, flow, at, workflow_id, opened_at, closed_at, status, rows, bytes from slot_run `

func one(r pgx.CollectableRow) (Run, error) {
	var v Run
	err := r.Scan(&v.RunID, &v.Flow, &v.At, &v.WorkflowID, &v.OpenedAt, &v.ClosedAt, &v.Status, &v.Rows, &v.Bytes)
	return v, err
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// holder is the run that has the place of a flow.
func holder(ctx context.Context, q querier, name string) (Run, error) {
	rows, err := q.Query(ctx, runs+`where flow = $1 and closed_at is null and exclusive`, name)
	if err != nil {
		return Run{}, err
	}
	return pgx.CollectExactlyOneRow(rows, one)
}

// Ahead reports whether a run of the flow that began before this one is still open:
// where runs may overlap, they write one after the other all the same.
func (l *Ledger) Ahead(ctx context.Context, runID string) (ahead bool, err error) {
	err = l.store.Read(ctx, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `
			select exists (select from slot_run o join slot_run m on m.run_id = $1
				where o.flow = m.flow and o.closed_at is null and (o.opened_at, o.run_id) < (m.opened_at, m.run_id))`, runID).Scan(&ahead)
	})
	return ahead, err
}

// Holder gives the run that has the place of a flow; nil: it is free.
func (l *Ledger) Holder(ctx context.Context, name string) (*Run, error) {
	var run Run
	err := l.store.Read(ctx, func(c *pgxpool.Conn) error {
		var err error
		run, err = holder(ctx, c, name)
		return err
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &run, nil
}

// OpenRuns gives runs that have been open for longer than age, the oldest first, after
// one: Temporal is asked what became of them.
func (l *Ledger) OpenRuns(ctx context.Context, age time.Duration, after string, limit int) ([]Run, error) {
	return l.list(ctx, runs+`where closed_at is null and opened_at < now() - $1::interval and run_id > $2 order by run_id limit $3`, age, after, limit)
}

// History gives the last runs of the slots of a flow that completed, the oldest first.
func (l *Ledger) History(ctx context.Context, name string, limit int) ([]Run, error) {
	return l.list(ctx, `select * from (`+runs+`where flow = $1 and at is not null and status = 'completed' and closed_at is not null
		order by opened_at desc limit $2) h order by opened_at`, name, limit)
}

func (l *Ledger) list(ctx context.Context, sql string, args ...any) ([]Run, error) {
	var list []Run
	err := l.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, one)
		return err
	})
	return list, err
}

// Foresee keeps a forecast.
func (l *Ledger) Foresee(ctx context.Context, f flow.Forecast) error {
	body, err := json.Marshal(f)
	if err != nil {
		return fault.New(fault.Bug, "slot.forecast", "a forecast cannot be encoded", err)
	}
	return l.one(ctx, `update schedule set forecast = $2 where flow = $1`, f.Flow, body)
}
