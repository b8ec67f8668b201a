package run

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/journal"
)

// Begin takes the item of a batch into an activity's hands: the run is running,
// step ("reading", "writing") is in its progress, and every earlier holder is
// fenced off. Conflict "run.closed" when the run is final; NotFound
// "run.not_found" when no row carries the batch.
//
// The fence follows the clock, so that it does not repeat even when a crash of
// PostgreSQL takes this commit back.
func (b *Book) Begin(ctx context.Context, batchID, step, note string) (Item, error) {
	item := Item{BatchID: batchID}
	var params, answer []byte
	err := b.store.Write(ctx, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, quick+`
			, relayed as (
				update batch set relayed_at = now() where batch_id = $1 and relayed_at is null
			)
			update work set
				state = 'running', waiting = null,
				fence = greatest(fence + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint),
				progress = work_step(progress, $2, $3)
			from quick
			where batch_id = $1 and state in ('accepted', 'running', 'parked')
			returning run_id, flow, digest, principal, params, accepted_at, deadline_at, fence, answer, answered_at is not null,
			          exists (select from seal where cause = run_id)`, batchID, step, note).
			Scan(&item.RunID, &item.Flow, &item.Digest, &item.Principal, &params, &item.AcceptedAt, &item.DeadlineAt, &item.Fence,
				&answer, &item.Answered, &item.Sealed)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return Item{}, b.gone(ctx, `batch_id = $1`, batchID)
	}
	if err != nil {
		return Item{}, err
	}
	b.hub.publish(item.RunID)
	plan, err := b.plans.ByDigest(ctx, item.Digest)
	if err != nil {
		return Item{}, err
	}
	if err := decode(params, &item.Params); err != nil {
		return Item{}, fault.New(fault.Bug, "run.decode", "the parameters of a run cannot be read", err)
	}
	item.Params = typedParams(plan, item.Params)
	item.DeadlineAt = item.DeadlineAt.UTC()
	item.Answer, err = result(answer)
	return item, err
}

// Answer keeps the answer of an item. visible shows it to the caller from now on;
// final also completes the run, for a flow that writes nothing. An answer that is
// visible is never replaced. Conflict "run.closed" when the run is final;
// Unavailable "run.fenced" when a later Begin took the item. That one may have been
// a zombie's, so whoever is fenced tries again: Begin, and on from what is known.
func (b *Book) Answer(ctx context.Context, item Item, answer flow.Result, note string, visible, final bool) error {
	if answer.Rows == nil {
		answer.Rows = []flow.Row{}
	}
	body, err := encode(answer)
	if err != nil {
		return err
	}
	var found bool
	err = b.store.Write(ctx, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `
			with done as (
				update work set
					answer = case when answered_at is null then $4 else answer end,
					answered_at = case when $5 then coalesce(answered_at, now()) else answered_at end,
					state = case when $6 then 'completed' else state end,
					closed_at = case when $6 then now() end,
					waiting = null,
					progress = case
						when $6 then work_step(work_step(progress, 'answered', $7), 'closed', '')
						when $5 then work_step(progress, 'answered', $7)
						else progress end
				where run_id = $1 and batch_id = $2 and fence = $3 and state = 'running'
				returning run_id, flow, answered_at
			), settled as (
				update batch set settled_at = now(), done = 1
				where batch_id = $2 and size = 1 and $6 and exists (select from done)
			), said as (
				`+journal.Insert+`
				select flow, run_id, 'answered', $8, false, $10::text[], jsonb_build_object('rows', $11::int)
				from done where answered_at = now()
				union all
				select flow, run_id, 'closed', $9, true, $10::text[], jsonb_build_object('status', 'completed')
				from done where $6
			)
			select exists (select from done)`,
			item.RunID, item.BatchID, item.Fence, body, visible || final, final, note,
			journal.Answered, journal.Delivered, journal.Keys(keysOf(item.Params)...), len(answer.Rows)).Scan(&found)
	})
	if err != nil {
		return err
	}
	if !found {
		return b.gone(ctx, `run_id = $1`, item.RunID)
	}
	b.hub.publish(item.RunID)
	if final {
		b.ended(item.Flow, flow.Completed, time.Since(item.AcceptedAt))
	}
	return nil
}

// Wait says in words what the item waits for. status is flow.Running while it
// will go on by itself, and flow.Parked when a person has to put something right
// first; the next Begin makes it running again. It fails as Answer does.
func (b *Book) Wait(ctx context.Context, item Item, status flow.Status, note string) error {
	var found bool
	err := b.store.Write(ctx, func(c *pgxpool.Conn) error {
		tag, err := c.Exec(ctx, quick+`
			update work set waiting = nullif($4, ''), state = $5 from quick
			where run_id = $1 and batch_id = $2 and fence = $3 and state in ('running', 'parked')`,
			item.RunID, item.BatchID, item.Fence, note, string(status))
		found = tag.RowsAffected() > 0
		return err
	})
	if err != nil {
		return err
	}
	if !found {
		return b.gone(ctx, `run_id = $1`, item.RunID)
	}
	b.hub.publish(item.RunID)
	return nil
}

// gone says why a compare-and-set found no row.
func (b *Book) gone(ctx context.Context, where string, id string) error {
	var state flow.Status
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `select state from work where `+where+` order by state limit 1`, id).Scan(&state)
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return notFound()
	case err != nil:
		return err
	case state.Final():
		return closed()
	}
	return fenced()
}

func closed() error {
	return fault.New(fault.Conflict, "run.closed", "the run has ended", nil)
}

func fenced() error {
	return fault.New(fault.Unavailable, "run.fenced", "a later attempt has taken over this run", nil)
}
