package run

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/ledger"
	"patchbay/internal/topic"
)

// Take takes every open item of a batch into an activity's hands: the runs are
// running, step ("reading", "writing") is in their progress, and every earlier
// holder is fenced off. Conflict "run.closed" when all are final or have left the
// batch for good; NotFound "run.not_found" when no row carries the batch.
//
// What had no time left was not claimed, and a batch of several is taken once: one
// that has none now had an outage in between, and has its whole time again.
//
// The fence follows the clock, so that it does not repeat even when a crash of
// PostgreSQL takes this commit back.
func (b *Book) Take(ctx context.Context, batchID, step string) ([]Item, error) {
	var items []Item
	var params, answers [][]byte
	err := b.store.Write(ctx, func(c *pgxpool.Conn) error {
		items, params, answers = nil, nil, nil
		rows, err := c.Query(ctx, quick+`
			, relayed as (
				update batch set relayed_at = now()
				where batch_id in (select batch_id from batch where batch_id = $1 and relayed_at is null for update skip locked)
			), open as (
				select run_id from work
				where batch_id = $1 and closed_at is null
				order by run_id for no key update
			)
			update work w set
				state = 'running', waiting = null,
				fence = greatest(w.fence + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint),
				deadline_at = case when w.answered_at is null and w.deadline_at < now() + interval '1 second'
					and (select size > 1 from batch where batch_id = $1) then now() + w.timeout else w.deadline_at end,
				progress = work_step(w.progress, $2, '')
			from quick, open where w.run_id = open.run_id and w.batch_id = $1
			returning w.run_id, w.flow, w.digest, w.principal, w.params, w.accepted_at, w.deadline_at, w.fence, w.tries, w.answer,
			          w.answered_at is not null, exists (select from seal where cause = w.run_id)`, batchID, step)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			item := Item{BatchID: batchID}
			var with, answer []byte
			if err := rows.Scan(&item.RunID, &item.Flow, &item.Digest, &item.Principal, &with, &item.AcceptedAt, &item.DeadlineAt, &item.Fence,
				&item.Tries, &answer, &item.Answered, &item.Sealed); err != nil {
				return err
			}
			items, params, answers = append(items, item), append(params, with), append(answers, answer)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, b.gone(ctx, batchID)
	}
	// A batch shares its plan.
	plan, err := b.plans.ByDigest(ctx, items[0].Digest)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(items))
	for i := range items {
		item := &items[i]
		ids[i] = item.RunID
		if err := decode(params[i], &item.Params); err != nil {
			return nil, fault.New(fault.Bug, "run.decode", "the parameters of a run cannot be read", err)
		}
		item.Params = typedParams(plan, item.Params)
		item.DeadlineAt = item.DeadlineAt.UTC()
		if item.Answer, err = result(answers[i]); err != nil {
			return nil, err
		}
	}
	b.hub.stepped(ids...)
	return items, nil
}

// Answer keeps the answer of an item. visible shows it to the caller from now on;
// final also completes the run, for a flow that writes nothing; else the item goes
// on to write. An answer that is visible is never replaced. Conflict "run.closed"
// when the run is final; Unavailable "run.fenced" when a later Take or a put-back
// has the item. That one may have been a zombie's, so whoever is fenced tries
// again: Take, and on from what is known.
func (b *Book) Answer(ctx context.Context, item Item, answer flow.Result, note string, visible, final bool) error {
	_, err := b.answer(ctx, given{item: item, note: note, visible: visible || final, final: final}, answer)
	if err == nil && final {
		b.ended(item.Flow, flow.Completed, time.Since(item.AcceptedAt))
	}
	return err
}

// Tell is an Answer that is final and tells of business events, which are kept in the same
// transaction: a run that has ended has told of them, once.
func (b *Book) Tell(ctx context.Context, item Item, answer flow.Result, note string, events []*topic.Prepared) error {
	_, err := b.answer(ctx, given{item: item, note: note, visible: true, final: true, events: events}, answer)
	if err == nil {
		b.ended(item.Flow, flow.Completed, time.Since(item.AcceptedAt))
	}
	return err
}

// AnswerAndAttempt is an Answer that is not final and the Attempt that follows it,
// in one transaction. It fails as either does; what the ledger refuses leaves the
// answer kept.
func (b *Book) AnswerAndAttempt(ctx context.Context, item Item, answer flow.Result, note string, visible bool,
	step, target string, members []ledger.Member,
) ([]ledger.Open, error) {
	return b.answer(ctx, given{item: item, note: note, visible: visible,
		next: &intended{item: item, step: step, target: target, members: members}}, answer)
}

func (b *Book) answer(ctx context.Context, g given, answer flow.Result) (open []ledger.Open, err error) {
	if answer.Rows == nil {
		answer.Rows = []flow.Row{}
	}
	g.rows = len(answer.Rows)
	if g.body, err = encode(answer); err != nil {
		return nil, err
	}
	if open, err = b.answers.Do(ctx, g); err != nil && g.next == nil {
		return nil, err
	}
	b.hub.publish(g.item.RunID)
	return open, err
}

// Attempt asks the ledger before members are sent to target ("connection.table")
// as one call, and gives those that are still to be sent; see ledger.Begin for
// what it refuses. It is committed when Attempt returns. Only who holds the item
// may attempt: it fails as Answer does.
func (b *Book) Attempt(ctx context.Context, item Item, step, target string, members []ledger.Member) ([]ledger.Open, error) {
	return b.attempts.Do(ctx, intended{item: item, step: step, target: target, members: members})
}

// Record commits outcomes by themselves, for an attempt that ends without closing
// its run. It fails as Answer does.
func (b *Book) Record(ctx context.Context, item Item, step string, outcomes []ledger.Outcome) error {
	_, err := b.records.Do(ctx, learned{item: item, news: ledger.News{Cause: item.RunID, Step: step, Outcomes: outcomes}})
	return err
}

// Wait says in words what the item waits for. status is flow.Running while it
// will go on by itself, and flow.Parked when a person has to put something right
// first; the next Take makes it running again. It fails as Answer does.
func (b *Book) Wait(ctx context.Context, item Item, status flow.Status, note string) error {
	var found bool
	err := b.store.Write(ctx, func(c *pgxpool.Conn) error {
		if item.Task != "" {
			tag, err := c.Exec(ctx, quick+`
				update task set waiting = nullif($4, '') from quick
				where run_id = $1 and name = $2 and fence = $3`, item.RunID, item.Task, item.Fence, note)
			found = tag.RowsAffected() > 0
			return err
		}
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
		err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
			rows, err := holders(ctx, c, "", item)
			if err != nil {
				return err
			}
			return rows.refuse(item)
		})
		if err == nil {
			err = fenced() // another took it in between, and gave it back
		}
		return err
	}
	b.hub.publish(item.RunID)
	return nil
}

// gone says why no open row carries a batch.
func (b *Book) gone(ctx context.Context, batchID string) error {
	var known bool
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `select exists (select from work where batch_id = $1) or exists (select from batch where batch_id = $1)`, batchID).Scan(&known)
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows), err == nil && !known:
		return notFound()
	case err != nil:
		return err
	}
	return closed()
}

func closed() error {
	return fault.New(fault.Conflict, "run.closed", "the run has ended", nil)
}

func fenced() error {
	return fault.New(fault.Unavailable, "run.fenced", "a later attempt has taken over this run", nil)
}
