package slot

import (
	"context"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/store"
)

// Hold pauses a schedule. told says that Temporal knows. A schedule that is paused
// already keeps the time since when, and gets the new reason.
func (l *Ledger) Hold(ctx context.Context, name, by, reason string, told bool) error {
	return l.store.Tx(ctx, func(tx pgx.Tx) error { return pause(ctx, tx, name, by, reason, told) })
}

// Adopt notes a pause that somebody made in Temporal, from the first slot on that
// nothing tells of. One that is known stays as it is.
func (l *Ledger) Adopt(ctx context.Context, name, reason string) error {
	return l.one(ctx, `
		insert into schedule_pause (flow, since, by, reason)
		select flow, least(now(), (select min(at) - interval '1 second' from slot s where s.flow = schedule.flow and outcome = 'expected' and backfill_at is null)), 'temporal', $2
		from schedule where flow = $1 and dropped_at is null on conflict do nothing`, name, store.Text(reason))
}

// Resume ends the pause of a schedule, if there is one. told says that Temporal knows.
func (l *Ledger) Resume(ctx context.Context, name string, told bool) error {
	return l.store.Tx(ctx, func(tx pgx.Tx) error { return resume(ctx, tx, name, told) })
}

func pause(ctx context.Context, tx pgx.Tx, name, by, reason string, told bool) error {
	tag, err := tx.Exec(ctx, `update schedule set told = $2 where flow = $1 and dropped_at is null`, name, told)
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return unknown(name)
	}
	_, err = tx.Exec(ctx, `
		insert into schedule_pause (flow, since, by, reason) values ($1, clock_timestamp(), $2, $3)
		on conflict (flow) where until is null do update set by = excluded.by, reason = excluded.reason`, name, store.Text(by), store.Text(reason))
	return err
}

func resume(ctx context.Context, tx pgx.Tx, name string, told bool) error {
	tag, err := tx.Exec(ctx, `update schedule set told = $2 where flow = $1 and dropped_at is null`, name, told)
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return unknown(name)
	}
	_, err = tx.Exec(ctx, `update schedule_pause set until = clock_timestamp() where flow = $1 and until is null`, name)
	return err
}
