package run

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/flow"
)

// Waits gathers the open runs that wait, of one principal or of all for "", by
// flow and by what they wait for.
func (b *Book) Waits(ctx context.Context, principal string) ([]flow.Wait, error) {
	var all []flow.Wait
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select flow, state, queued, shared, why, min(due), count(*), min(accepted_at)
			from (
				select flow, state, accepted_at, coalesce(waiting, '') as why,
				       batch_id is null and leader is null as queued, leader is not null as shared,
				       case when batch_id is null and due_at > now() then due_at end as due
				from work
				where closed_at is null and detached_at is null and ($1 = '' or principal = $1)
				  and (waiting is not null or state = 'parked' or batch_id is null)
			) as open
			group by flow, state, queued, shared, why, due is null
			order by flow, state, why`, principal)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (flow.Wait, error) {
			var w flow.Wait
			var due *time.Time
			err := row.Scan(&w.Flow, &w.Status, &w.Queued, &w.Shared, &w.Why, &due, &w.Count, &w.Since)
			w.DueAt, w.Since = utc(due), w.Since.UTC()
			return w, err
		})
		return err
	})
	for i := range all {
		if w := &all[i]; w.Queued && w.Why == "" && w.DueAt == nil { // others say what they left their batch for
			if plan, _, err := b.plans.Current(ctx, w.Flow); err == nil {
				w.Why = b.hindrance(plan, false)
			}
		}
	}
	return all, err
}

// Unclaimed counts the runs of flows that wait to be claimed.
func (b *Book) Unclaimed(ctx context.Context, flows []string) (n int64, err error) {
	err = b.store.Read(ctx, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `select count(*) from work where flow = any ($1) and `+waits, flows).Scan(&n)
	})
	return n, err
}

// Ahead counts, for each of the runs that waits to be claimed now, those of its
// flow that are claimed before it. Others are not in the answer. Where order keys
// hold a run back, those behind it may still go first.
func (b *Book) Ahead(ctx context.Context, runIDs []string) (map[string]int, error) {
	ahead := make(map[string]int, len(runIDs))
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select run_id, place - 1 from (
				select run_id, row_number() over (partition by flow order by class, order_at, run_id) as place
				from work
				where `+waits+` and (due_at is null or due_at <= now())
				  and flow in (select flow from work where run_id = any($1))
			) as queue
			where run_id = any($1)`, runIDs)
		if err != nil {
			return err
		}
		clear(ahead)
		var id string
		var n int
		_, err = pgx.ForEachRow(rows, []any{&id, &n}, func() error {
			ahead[id] = n
			return nil
		})
		return err
	})
	return ahead, err
}

// Queued counts the runs of a flow that wait to be claimed, up to limit.
func (b *Book) Queued(ctx context.Context, name string, limit int) (int, error) {
	var n int
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `select count(*) from (select from work where flow = $1 and `+waits+` limit $2) as w`, name, limit).Scan(&n)
	})
	return n, err
}

// Unfinished counts the open runs of flows that will act yet, waiting or claimed; one
// that is parked acts when a person says so.
func (b *Book) Unfinished(ctx context.Context, flows []string) (int, error) {
	var n int
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `select count(*) from work where flow = any($1) and closed_at is null and state <> 'parked' and leader is null`, flows).Scan(&n)
	})
	return n, err
}
