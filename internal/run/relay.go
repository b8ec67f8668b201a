package run

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/flow"
)

// quick lets a statement's commit not wait for the disk. It is for changes that
// are made again when a crash of PostgreSQL takes them back.
const quick = `with quick as (select set_config('synchronous_commit', 'off', true)) `

type (
	// Handed is a batch whose start Temporal has taken.
	Handed struct {
		BatchID    string
		WorkflowID string
	}

	// claim is a batch that is to be handed to Temporal.
	claim struct {
		batchID, flow, digest string
		class                 flow.Class
		claimedAt             time.Time
		runIDs                []string
	}
)

// Due gives up to limit batches whose lease lapsed before Temporal had them, in the
// order they were claimed: the same batch under the same workflow ID as before. A
// lapsed lease means that nobody could reach Temporal; the time of the outage is
// ours and not the caller's, so the deadline begins anew.
//
// A batch whose plan cannot be read is left out until its lease has lapsed again:
// the error then names it, beside the starts of the others.
func (b *Book) Due(ctx context.Context, limit int) ([]Start, error) {
	if err := b.inherit(ctx); err != nil {
		return nil, err
	}
	var claims []claim
	// When the outcome is unknown the claims lapse like any others.
	err := b.store.Write(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			with due as (
				select batch_id from batch
				where relayed_at is null and settled_at is null and lease_until <= now()
				order by lease_until limit $1 for update skip locked
			), again as (
				update batch b set lease_until = now() + $2::interval
				from due where b.batch_id = due.batch_id
				returning b.batch_id, b.flow, b.digest, b.class, b.claimed_at
			), items as (
				select w.run_id from work w join due using (batch_id)
				where w.closed_at is null for update of w skip locked
			), begun as (
				update work w set deadline_at = greatest(w.deadline_at, now() + w.timeout)
				from items where w.run_id = items.run_id
			)
			select batch_id, flow, digest, class, claimed_at,
			       array(select run_id from work where work.batch_id = again.batch_id order by order_at, run_id)
			from again`, limit, b.lease)
		if err != nil {
			return err
		}
		claims, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (claim, error) {
			var row claim
			err := r.Scan(&row.batchID, &row.flow, &row.digest, &row.class, &row.claimedAt, &row.runIDs)
			return row, err
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(claims, func(a, z claim) int { return a.claimedAt.Compare(z.claimedAt) })
	return b.starts(ctx, claims)
}

// inherit ends, once, the leases that a process before this one left when it was
// killed. It is for a book that is alone on its store: no other is starting them.
func (b *Book) inherit(ctx context.Context) error {
	if !b.solo || b.inherited.Load() {
		return nil
	}
	err := b.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, quick+`
			update batch set lease_until = now() from quick
			where relayed_at is null and settled_at is null and lease_until > now()`)
		return err
	})
	b.inherited.Store(err == nil)
	return err
}

// SealedOpen gives up to 1,000 batches of one whose cancel was asked and that
// Temporal has: their workflows are to be cancelled, again if need be. A larger
// batch reads its seals itself.
func (b *Book) SealedOpen(ctx context.Context) ([]Handed, error) {
	return b.handed(ctx, `
		select w.batch_id, w.flow, w.pattern, coalesce(w.workflow_id, '')
		from work w join seal s on s.cause = w.run_id join batch b using (batch_id)
		where w.closed_at is null and b.relayed_at is not null and b.size = 1
		order by w.order_at limit 1000`)
}

// Open gives a page of the batches that Temporal has had for longer than age and
// that have an open run, by ID and from the one after `after` on.
func (b *Book) Open(ctx context.Context, age time.Duration, after string, limit int) ([]Handed, error) {
	// Materialised: the open rows are few and have an index, all rows may be many.
	return b.handed(ctx, `
		with open as materialized (
			select batch_id, coalesce(max(workflow_id), '') as workflow_id from work
			where closed_at is null and batch_id is not null group by batch_id
		)
		select batch_id, flow, pattern, workflow_id from open join batch using (batch_id)
		where relayed_at < now() - $1::interval and batch_id > $2 order by batch_id limit $3`, age, after, limit)
}

// BatchOf gives the batch that a workflow ID names.
func BatchOf(workflowID string) string {
	return workflowID[strings.LastIndexByte(workflowID, '/')+1:]
}

// handed reads batches by a query for batch, flow, pattern and workflow ID.
func (b *Book) handed(ctx context.Context, sql string, args ...any) ([]Handed, error) {
	var list []Handed
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (Handed, error) {
			var batch, flow, pattern, id string
			err := r.Scan(&batch, &flow, &pattern, &id)
			if id == "" {
				id = workflowID(pattern, flow, batch)
			}
			return Handed{BatchID: batch, WorkflowID: id}, err
		})
		return err
	})
	return list, err
}

// Relayed marks a batch whose start Temporal has accepted. When the mark is lost
// the relay sends the same start again, which changes nothing.
func (b *Book) Relayed(ctx context.Context, batchID string) error {
	return b.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, quick+`
			update batch set relayed_at = now() from quick where batch_id = $1 and relayed_at is null`, batchID)
		return err
	})
}

// Lapse shortens the lease of a batch whose start certainly failed, so that it
// is due again after the wait.
func (b *Book) Lapse(ctx context.Context, batchID string, wait time.Duration) error {
	return b.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, quick+`
			update batch set lease_until = least(lease_until, now() + $2::interval) from quick
			where batch_id = $1 and relayed_at is null and settled_at is null`, batchID, wait)
		return err
	})
}
