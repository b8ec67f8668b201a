package slot

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/calendar"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

const (
	// ahead is how far the ledger is filled at least; so is the next slot.
	ahead = time.Minute
	// batch is how many slots one call makes.
	batch = 1000
	// kept and most bound what a flow's slots take: by age and by number.
	kept = 400 * 24 * time.Hour
	most = 100_000
)

// Fill makes the slots of a flow up to a little ahead of now, those of holidays too. It
// reports that there are more to make at once.
func (l *Ledger) Fill(ctx context.Context, name string) (more bool, err error) {
	err = l.store.Tx(ctx, func(tx pgx.Tx) error {
		more = false
		var body []byte
		var filled, now time.Time
		err := tx.QueryRow(ctx, `select spec, filled_to, now() from schedule where flow = $1 and dropped_at is null for update`, name).Scan(&body, &filled, &now)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		_, times, err := timesOf(body)
		if err != nil {
			return err
		}
		filled = filled.UTC()
		until := now.UTC().Add(ahead)
		if next := times.Next(filled); next.After(until) {
			until = next // one that is far ahead is known too
		}
		if filled.After(now.Add(ahead/2)) || !until.After(filled) {
			return nil
		}
		list := times.Between(filled, until, batch)
		if more = len(list) == batch; more {
			until = list[batch-1]
		}
		return insert(ctx, tx, name, times, list, times.LeftOut(filled, until), until)
	})
	return more, err
}

func timesOf(body []byte) (flow.Schedule, *calendar.Times, error) {
	var s flow.Schedule
	if err := json.Unmarshal(body, &s); err != nil {
		return s, nil, fault.New(fault.Bug, "slot.schedule", "a schedule cannot be read", err)
	}
	times, err := calendar.Compile(s)
	return s, times, err
}

func insert(ctx context.Context, tx pgx.Tx, name string, times *calendar.Times, list []time.Time, left []calendar.Left, until time.Time) error {
	due := make([]time.Time, len(list))
	for i, at := range list {
		due[i] = dueBy(times, at)
	}
	if len(list) > 0 {
		_, err := tx.Exec(ctx, `insert into slot (flow, at, due_by) select $1, a, d from unnest($2::timestamptz[], $3::timestamptz[]) t (a, d) on conflict (flow, at) do nothing`,
			name, list, due)
		if err != nil {
			return err
		}
	}
	for _, day := range left {
		_, err := tx.Exec(ctx, `insert into slot (flow, at, due_by, outcome, reason) values ($1, $2, $2, 'holiday', $3) on conflict (flow, at) do nothing`,
			name, day.First, holidayReason(day, times))
		if err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, `update schedule set filled_to = $2 where flow = $1`, name, until)
	return err
}

func holidayReason(day calendar.Left, times *calendar.Times) string {
	text := day.First.In(times.Zone).Format(time.DateOnly) + " is a holiday"
	if day.Count > 1 {
		text += "; it has " + count(day.Count) + " of them"
	}
	return text
}

// Forget deletes slots and runs that are old or too many. It reports that there is more.
func (l *Ledger) Forget(ctx context.Context, name string) (more bool, err error) {
	err = l.store.Tx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			delete from slot where flow = $1 and at in (select at from slot where flow = $1 and outcome not in ('expected', 'running')
				and (at < now() - $2::interval or at < (select at from slot where flow = $1 order by at desc offset $3 limit 1)) order by at limit $4)`,
			name, kept, most, batch)
		if err != nil {
			return err
		}
		more = tag.RowsAffected() == batch
		_, err = tx.Exec(ctx, `
			delete from slot_run where run_id in (select run_id from slot_run where flow = $1 and closed_at is not null
				and (opened_at < now() - $2::interval or opened_at < (select opened_at from slot_run where flow = $1 order by opened_at desc offset $3 limit 1)) limit $4)`,
			name, kept, most, batch)
		return err
	})
	return more, err
}
