package slot

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/calendar"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

// Undecided is a slot whose time has passed and that nobody told of, with what the
// ledger knows of the time about it.
type Undecided struct {
	At       time.Time
	Taken    *time.Time // Temporal has its workflow since then
	Backfill *time.Time // when a backfill asked for it
	Pause    *flow.Pause
	During   string     // run_id of a run that was open at its time
	Before   *time.Time // the last earlier slot that has had a run
	Passed   bool       // a later slot has begun
	Queued   bool       // an earlier slot began after its time, or waits still: it was waiting then
}

// near is how close to the end of a run a slot may be for Temporal to have found the
// run still open, and how close to the begin of a pause for it to have been heard.
func near(gap time.Duration) time.Duration {
	if gap <= 0 {
		return 2 * time.Second
	}
	return min(gap/2, 2*time.Second)
}

// Undecided gives slots of a flow whose time has passed by grace and their own jitter,
// the oldest first.
func (l *Ledger) Undecided(ctx context.Context, name string, grace, gap time.Duration, limit int) ([]Undecided, error) {
	var list []Undecided
	err := l.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select s.at, s.taken_at, s.backfill_at, p.since, p.by, p.reason,
				coalesce((select r.run_id from slot_run r left join slot b on b.flow = r.flow and b.at = r.at
					where r.flow = s.flow and r.at <> s.at and r.opened_at < now() and (r.closed_at is null or r.closed_at >= s.at - $3::interval)
						and case when b.backfill_at is null then least(r.at, r.opened_at) else r.opened_at end <= s.at + $3::interval
					order by r.opened_at limit 1),
					(select 'of ' || o.at::text from slot o where o.flow = s.flow and o.outcome = 'expected' and o.taken_at < s.at + $3::interval and o.at < s.at limit 1), ''),
				(select max(r.at) from slot_run r where r.flow = s.flow and r.at < s.at),
				exists (select from slot o where o.flow = s.flow and o.at > s.at and o.started_at is not null and o.backfill_at is null),
				exists (select from slot o where o.flow = s.flow and o.at < s.at and o.backfill_at is null and o.outcome = 'expected' and o.taken_at is null)
					or exists (select from slot o where o.flow = s.flow and o.at < s.at and o.backfill_at is null and o.started_at > s.at + $3::interval)
			from slot s left join lateral (
				select since, by, reason from schedule_pause where flow = s.flow and since <= s.at + $3::interval and (until is null or until >= s.at) order by since desc limit 1) p on true
			where s.flow = $1 and s.outcome = 'expected' and greatest(s.at, coalesce(s.backfill_at, s.at)) < now() - $2::interval
			order by s.at limit $4`, name, grace, near(gap), limit)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (Undecided, error) {
			var u Undecided
			var since *time.Time
			var by, reason *string
			err := r.Scan(&u.At, &u.Taken, &u.Backfill, &since, &by, &reason, &u.During, &u.Before, &u.Passed, &u.Queued)
			if since != nil {
				u.Pause = &flow.Pause{Since: since.UTC(), By: *by, Reason: *reason}
			}
			u.At = u.At.UTC()
			return u, err
		})
		return err
	})
	return list, err
}

// Decide gives a slot that nobody told of its outcome. One that a run has begun
// meanwhile stays as it is.
func (l *Ledger) Decide(ctx context.Context, name string, at time.Time, outcome flow.SlotOutcome, reason string) error {
	return l.one(ctx, `update slot set outcome = $3, reason = $4, taken_at = null where flow = $1 and at = $2 and outcome = 'expected'`,
		name, at, string(outcome), store.Text(reason))
}

// Explain says why a slot has not begun.
func (l *Ledger) Explain(ctx context.Context, name string, at time.Time, reason string) error {
	return l.one(ctx, `update slot set reason = $3 where flow = $1 and at = $2 and outcome = 'expected' and reason <> $3`, name, at, store.Text(reason))
}

// Taken notes that Temporal has the workflow of a slot, and no worker told of it.
func (l *Ledger) Taken(ctx context.Context, name string, at, since time.Time) error {
	return l.one(ctx, `update slot set taken_at = $3, reason = 'Temporal has started it; no worker has begun' where flow = $1 and at = $2 and outcome = 'expected' and taken_at is null`,
		name, at, since)
}

// Missing gives the slots between two times, both included, that the schedule in force
// has and that have no run: those without a row, or that were missed, or whose outcome
// is one of besides.
func (l *Ledger) Missing(ctx context.Context, name string, from, to time.Time, besides []flow.SlotOutcome) ([]time.Time, error) {
	s, err := l.Schedule(ctx, name)
	if err != nil {
		return nil, err
	}
	times, err := calendar.Compile(s.Schedule)
	if err != nil {
		return nil, err
	}
	if to.After(s.Now) {
		to = s.Now
	}
	wanted := times.Between(from.Add(-time.Nanosecond), to, mostMissing+1)
	outcomes := []string{string(flow.SlotMissed)}
	for _, o := range besides {
		outcomes = append(outcomes, string(o))
	}
	var list []time.Time
	err = l.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select t.at from unnest($2::timestamptz[]) t (at) left join slot s on s.flow = $1 and s.at = t.at
			where s.at is null or s.run_id is null and s.outcome = any ($3) order by t.at`, name, wanted, outcomes)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, pgx.RowTo[time.Time])
		for i := range list {
			list[i] = list[i].UTC()
		}
		return err
	})
	if err == nil && len(wanted) > mostMissing {
		err = tooMany(name)
	}
	return list, err
}

// Ask notes that a backfill asks for slots. It gives those that nobody else has asked
// for or begun meanwhile.
func (l *Ledger) Ask(ctx context.Context, name, by string, list []time.Time) ([]time.Time, error) {
	s, err := l.Schedule(ctx, name)
	if err != nil {
		return nil, err
	}
	times, err := calendar.Compile(s.Schedule)
	if err != nil {
		return nil, err
	}
	due := make([]time.Time, len(list))
	for i, at := range list {
		due[i] = dueBy(times, at)
	}
	var asked []time.Time
	err = l.store.Tx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			insert into slot (flow, at, due_by, reason, backfill_at, backfill_by)
			select $1, a, d, $4, clock_timestamp(), $3 from unnest($2::timestamptz[], $5::timestamptz[]) t (a, d)
			on conflict (flow, at) do update set outcome = 'expected', reason = excluded.reason, taken_at = null,
				backfill_at = excluded.backfill_at, backfill_by = excluded.backfill_by
			where slot.run_id is null and slot.outcome not in ('expected', 'running') returning at`,
			name, list, store.Text(by), "a backfill by "+store.Text(by)+" asked for it", due)
		if err != nil {
			return err
		}
		asked, err = pgx.CollectRows(rows, pgx.RowTo[time.Time])
		return err
	})
	for i := range asked {
		asked[i] = asked[i].UTC()
	}
	return asked, err
}
