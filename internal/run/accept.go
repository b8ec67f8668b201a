package run

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/journal"
)

// entry is a press on its way into the book.
type entry struct {
	runID  string
	press  flow.Press
	plan   *flow.Plan
	digest string
	params flow.Row
	sum    [sha256.Size]byte // of the parameters as they were given
}

// Accept makes a run of a press and commits it: what it returns without error is
// kept (promise 1). The new row is claimed for its own workflow at once; Start is
// what to start now, and what the relay starts when that does not happen.
//
// The same principal, flow and key with the same parameters gives the run that
// exists, Replayed and with a zero Start; other parameters are Conflict
// "idem.reused". Further faults: NotFound "flow.not_found", Invalid
// "params.invalid", Throttled "queue.full", Unavailable "store.…". A caller who
// leaves during the commit does not cut it off.
func (b *Book) Accept(ctx context.Context, press flow.Press) (flow.Run, Start, error) {
	plan, digest, err := b.plans.Current(ctx, press.Flow)
	if err != nil {
		return flow.Run{}, Start{}, err
	}
	if press.Params == nil {
		press.Params = flow.Row{} // the same press as one with an empty object
	}
	body, err := encode(press.Params)
	if err != nil {
		return flow.Run{}, Start{}, err
	}
	e := entry{press: press, plan: plan, digest: digest, sum: sha256.Sum256(body)}
	if e.runID, err = b.runID(ctx, press); err != nil {
		return flow.Run{}, Start{}, err
	}
	if e.params, err = plan.Validate(press.Params); err != nil {
		// The press may be a repeat from before the flow's parameters changed.
		if press.Key != "" {
			if run, _, replayed := b.replay(ctx, e); replayed == nil {
				return run, Start{}, nil
			}
		}
		return flow.Run{}, Start{}, err
	}
	if err := ctx.Err(); err != nil {
		return flow.Run{}, Start{}, err
	}
	run, made, err := b.insert(ctx, e)
	doubtful := fault.Is(err, fault.InDoubt)
	if doubtful {
		// The row names itself, so asking again is safe: either it is there, or
		// this makes it.
		run, made, err = b.insert(ctx, e)
	}
	switch {
	case err != nil:
		return flow.Run{}, Start{}, err
	case made:
		return run, start(plan, digest, e.runID, e.runID), nil
	}
	run, due, err := b.replay(ctx, e)
	switch {
	case fault.Is(err, fault.NotFound):
		return flow.Run{}, Start{}, fault.ThrottledFor(time.Second, "queue.full", "too many runs of this flow are waiting", nil)
	case err == nil && doubtful && due && run.Digest == digest:
		// The row whose commit was in doubt, or an equal one that waits like it.
		run.Replayed = false
		return run, start(plan, digest, e.runID, e.runID), nil
	}
	return run, Start{}, err
}

// commitTimeout bounds the statement that commits a press. The patience of its
// caller does not: who hangs up would leave a commit that nobody knows of.
const commitTimeout = 3 * time.Second

// insert commits the row and its journal entry in one statement; made is false
// when a row with the ID exists or the flow's queue is full.
func (b *Book) insert(ctx context.Context, e entry) (run flow.Run, made bool, err error) {
	params, err := encode(e.params)
	if err != nil {
		return flow.Run{}, false, err
	}
	queue, timeout := e.plan.Limits.Queue, e.plan.Limits.Timeout
	if queue <= 0 {
		queue = anyQueue
	}
	if timeout <= 0 {
		timeout = anyTimeout
	}
	run = flow.Run{
		RunID: e.runID, Flow: e.press.Flow, Status: flow.Accepted, Effects: []flow.Effect{}, Params: e.params,
		Principal: e.press.Principal, Digest: e.digest, WorkflowID: workflowID(string(e.plan.Pattern), e.press.Flow, e.runID),
	}
	var progress []byte
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	err = b.store.Write(ctx, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `
			with waiting as (
				select count(*) as n from
					(select from work where flow = $2 and state in ('accepted', 'running', 'parked') limit $9) as w
			), made as (
				insert into work (run_id, flow, pattern, principal, body_sha256, params, digest, timeout, deadline_at, batch_id, progress)
				select $1, $2, $12, $3, $4, $5, $6, $7::interval, now() + $7::interval, $1, work_step('[]', 'accepted', '')
				from waiting where n < $9
				on conflict (run_id) do nothing
				returning accepted_at, deadline_at, progress
			), claimed as (
				insert into batch (batch_id, flow, pattern, digest, size, lease_until)
				select $1, $2, $12, $6, 1, now() + $8::interval from made
			), said as (
				`+journal.Insert+`
				select $2, $1, 'accepted', $10, false, $11::text[], '{}' from made
			)
			select accepted_at, deadline_at, progress from made`,
			e.runID, e.press.Flow, e.press.Principal, e.sum[:], params, e.digest, timeout, b.lease, queue,
			journal.Accepted, journal.Keys(append(keysOf(e.params), e.runID)...), string(e.plan.Pattern)).
			Scan(&run.AcceptedAt, &run.DeadlineAt, &progress)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return flow.Run{}, false, nil
	}
	if err != nil {
		return flow.Run{}, false, err
	}
	run.AcceptedAt, run.DeadlineAt = run.AcceptedAt.UTC(), run.DeadlineAt.UTC()
	run.Progress, err = steps(progress)
	return run, true, err
}

// replay gives the run that the same press had made before; due reports that
// Temporal does not have it yet.
func (b *Book) replay(ctx context.Context, e entry) (run flow.Run, due bool, err error) {
	var sum []byte
	err = b.store.Read(ctx, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `
			select body_sha256, state = 'accepted' and coalesce(relayed_at is null, false)
			from work left join batch using (batch_id) where run_id = $1`, e.runID).Scan(&sum, &due)
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return flow.Run{}, false, notFound()
	case err != nil:
		return flow.Run{}, false, err
	case !bytes.Equal(sum, e.sum[:]):
		return flow.Run{}, false, fault.New(fault.Conflict, "idem.reused",
			"this Idempotency-Key was used with other parameters, for run "+e.runID+"; use another key for another press", nil)
	}
	run, err = b.Get(ctx, e.runID)
	run.Replayed = err == nil
	return run, due, err
}

func notFound() error {
	return fault.New(fault.NotFound, "run.not_found", "there is no such run", nil)
}
