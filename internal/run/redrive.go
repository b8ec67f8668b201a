package run

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/journal"
	"patchbay/internal/ledger"
)

// Redrive accepts a dead letter again, once, whoever asks at the same time.
//
// As it was: the same run goes on, and who shared its work with it. Its cause, its
// plan and its answer are the ones it had (promise 6), so the ledger knows its
// writes: what is confirmed is not sent again, what is in doubt is read back first,
// what was refused is sent again (promise 2). It has a new deadline, a new place in
// the queue and a new round of tries. With other parameters, when Current asks for
// it, and always of a consolidation or a service, a new run is made under the plan in force and
// linked to the letter. Of a service that was ended from outside, while what it had written
// stands, none is needed: it goes on; its cause is its own. That one is its owner's, too. Nor is
// one of a hybrid that has decided.
//
// NotFound as for Letter; Conflict "dead.redriven" when that has been done, "dead.stands" where a new
// run would write beside what the old one left standing, "dead.decided" where it would decide again;
// Invalid "params.invalid" when the plan in force does not take the parameters;
// Throttled "queue.full" when so much of the flow waits that presses would be
// turned away.
func (b *Book) Redrive(ctx context.Context, r flow.Redrive) (flow.Redriven, error) {
	// Asked outside the transaction: plans come from a cache.
	letter, err := b.Letter(ctx, r.RunID)
	if err != nil {
		return flow.Redriven{}, err
	}
	plan, digest, err := b.plans.Current(ctx, letter.Flow)
	switch {
	case err == nil:
	case fault.Of(err).Code == "flow.not_found" && len(r.Set) == 0 && !r.Current:
		plan, digest = nil, letter.Digest // the flow is gone; what was accepted under it is not
	default:
		return flow.Redriven{}, err
	}
	// What a consolidation has read, or why it held its rows, is of the time when it read,
	// and later runs have written since: its letter is read anew. What a service had done was
	// taken back, and figures of a hybrid are of the time when they were collected: each begins anew.
	// One that was ended from outside was not, and goes on where it was; so does a hybrid that has
	// decided, which is done once.
	left, err := b.leftovers(ctx, r.RunID)
	if err != nil {
		return flow.Redriven{}, err
	}
	steps := plan != nil && (plan.Pattern == flow.Service || plan.Pattern == flow.Hybrid)
	r.Current = r.Current || plan != nil && plan.Pattern == flow.Consolidation || steps && !left.goes && !left.decided
	out := flow.Redriven{RunID: r.RunID, Into: r.RunID, Digest: letter.Digest, Changed: digest != letter.Digest, Effects: letter.Effects}
	anew, err := b.anew(ctx, r, letter, plan, digest)
	if err != nil {
		return flow.Redriven{}, err
	}
	if anew != nil {
		if err := left.refuse(r.RunID); err != nil && letter.State != flow.LetterRedriven {
			return flow.Redriven{}, err
		}
		out.New, out.Digest, out.Into = true, digest, anew.runID
	}
	if r.Plan {
		if out.New {
			out.Into = ""
		}
		if letter.State == flow.LetterRedriven {
			return out, exhumed{row: locked{runID: r.RunID}, by: letter.DecidedBy, at: letter.DecidedAt, into: letter.Into}.taken()
		}
		return out, nil
	}
	if anew != nil {
		if err := b.reserve(ctx, anew); err != nil {
			return flow.Redriven{}, err
		}
	}
	var touched []string
	err = b.store.Tx(ctx, func(tx pgx.Tx) error {
		touched = nil
		d, err := unbury(ctx, tx, r.RunID)
		switch {
		case err != nil:
			return err
		case d.state == flow.LetterRedriven:
			return d.taken()
		}
		if err := roomFor(ctx, tx, d.row.flow, plan); err != nil {
			return err
		}
		if d.class < flow.Background && r.Bulk {
			d.class = flow.Background
		}
		if anew != nil && d.row.detached {
			return fault.New(fault.Conflict, "dead.detached",
				"who pressed this run has cancelled it; redrive it as it was, for those who share its work, or dismiss it", nil)
		}
		if anew != nil {
			touched = []string{r.RunID, anew.runID}
			return d.remake(ctx, tx, anew, r.By)
		}
		if now, err := leftovers(ctx, tx, r.RunID); err != nil {
			return err
		} else if now != left {
			return fault.New(fault.Conflict, "dead.stands", "somebody has just put right what run "+r.RunID+" had written; ask again", nil)
		}
		touched, err = d.revive(ctx, tx, r.By)
		return err
	})
	if err != nil {
		return flow.Redriven{}, err
	}
	b.hub.publish(touched...)
	b.hub.rowsWait()
	return out, nil
}

// anew is the new run that a redrive makes; nil when the run goes on as it was.
func (b *Book) anew(ctx context.Context, r flow.Redrive, letter flow.Letter, plan *flow.Plan, digest string) (*entry, error) {
	params := maps.Clone(letter.Params)
	for name, v := range r.Set {
		if v == nil {
			delete(params, name)
		} else {
			params[name] = v
		}
	}
	was, err := encode(letter.Params)
	if err != nil {
		return nil, err
	}
	body, err := encode(params)
	if err != nil || bytes.Equal(was, body) && !r.Current {
		return nil, err
	}
	e := &entry{plan: plan, digest: digest, sum: sha256.Sum256(body), press: flow.Press{Flow: letter.Flow, Principal: letter.Principal,
		Key: "redrive " + letter.RunID + " " + strconv.Itoa(letter.Times), Params: params}}
	if e.params, err = plan.Validate(params); err != nil {
		return nil, err
	}
	if err := e.place(time.Now()); err != nil {
		return nil, err
	}
	e.runID, err = b.runID(ctx, e.press)
	return e, err
}

// roomFor keeps half of a flow's queue for presses.
func roomFor(ctx context.Context, tx pgx.Tx, name string, plan *flow.Plan) error {
	queue := anyQueue
	if plan != nil && plan.Limits.Queue > 0 {
		queue = plan.Limits.Queue
	}
	most := max(queue/2, 1)
	var waiting int
	err := tx.QueryRow(ctx, `select count(*) from (select from work where flow = $1 and `+waits+` limit $2) as w`, name, most).Scan(&waiting)
	if err == nil && waiting >= most {
		return fault.ThrottledFor(2*time.Second, "queue.full", fmt.Sprintf("%d runs of %s wait already; the rest of its queue is kept for presses", waiting, name), nil)
	}
	return err
}

// revive lets the run of a letter go on, with those who shared its work. It gives
// all of them.
func (d exhumed) revive(ctx context.Context, tx pgx.Tx, by string) ([]string, error) {
	id := d.row.runID
	if err := ledger.Reopen(ctx, tx, id); err != nil {
		return nil, err
	}
	var batch pgx.Batch
	batch.Queue(`
		update task set state = was, was = null, stands_at = null, problem = case when was = 'failed' then problem end,
		       ended_at = case when was in ('done', 'failed') then ended_at end
		where run_id = $1 and state = 'stands' and was is not null`, id)
	// What failed since a decision was made was to note it or to carry it out.
	batch.Queue(`
		update task t set state = 'running', problem = null, ended_at = null
		from decision d where d.run_id = $1 and d.state = 'decided' and t.run_id = $1 and t.state = 'failed' and (t.begun_at >= d.decided_at or t.name in ($2, $3))`,
		id, flow.DecideStep, flow.ReviewStep)
	var others []string
	batch.Queue(`
		select run_id from work where leader = $1 and state = 'failed' order by run_id `+exclusively, id).Query(func(rows pgx.Rows) (err error) {
		others, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	// Nobody holds it: it waits for a claim, as a run that was put back does.
	batch.Queue(`
		update work set state = 'running', round = round + 1, tries = 0, batch_id = null, workflow_id = null, class = $3,
		       order_at = now(), due_at = null, deadline_at = now() + timeout, waiting = null, problem = null, closed_at = null,
		       certificate = case when detached_at is not null then certificate end, progress = work_step('[]', 'accepted', $2)
		where run_id = $1`, id, "redriven by "+by, d.class)
	batch.Queue(`
		update work f set state = 'running', round = f.round + 1, deadline_at = now() + f.timeout, problem = null, certificate = null, closed_at = null,
		       progress = work_step('[]', 'accepted', $2)
		where f.leader = $1 and f.state = 'failed'`, id, "redriven by "+by)
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return nil, err
	}
	return append(others, id), d.decide(ctx, tx, by, id)
}

// remake commits the new run that is made of a letter.
func (d exhumed) remake(ctx context.Context, tx pgx.Tx, e *entry, by string) error {
	if _, err := tx.Exec(ctx, `
		insert into work (run_id, flow, pattern, principal, body_sha256, params, digest, class, timeout, deadline_at, order_key, redrive_of, progress)
		values ($1, $2, $3, $4, $5, $6::json, $7, $8, $9::bigint * interval '1 microsecond', now() + $9::bigint * interval '1 microsecond',
		        nullif($10, ''), $11, work_step('[]', 'accepted', $12))`,
		e.runID, e.press.Flow, string(e.plan.Pattern), d.principal, e.sum[:], string(e.body), e.digest, d.class,
		e.timeout().Microseconds(), e.orderKey, d.row.runID, "made of a dead letter by "+by); err != nil {
		return err
	}
	if err := journal.Write(ctx, tx, journal.Entry{Flow: e.press.Flow, Run: e.runID, What: "accepted", Reason: journal.Accepted,
		Keys: append(keysOf(e.params), e.runID), Detail: map[string]any{"redrive_of": d.row.runID, "by": by}}); err != nil {
		return err
	}
	return d.decide(ctx, tx, by, e.runID)
}

// decide says what the letter goes on as.
func (d exhumed) decide(ctx context.Context, tx pgx.Tx, by, into string) error {
	if _, err := tx.Exec(ctx, `
		update dead set state = 'redriven', decided_at = now(), decided_by = $2, into_run = $3, note = null where run_id = $1`, d.row.runID, by, into); err != nil {
		return err
	}
	detail := map[string]any{"by": by}
	if into != d.row.runID {
		detail["into"] = into
	}
	return journal.Write(ctx, tx, journal.Entry{Flow: d.row.flow, Run: d.row.runID, What: "redriven", Reason: journal.Redriven,
		Round: d.row.round, Keys: keysOf(d.row.params), Detail: detail})
}
