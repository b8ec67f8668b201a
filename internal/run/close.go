package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/journal"
	"patchbay/internal/ledger"
)

// ending is how a run ends.
type ending struct {
	status  flow.Status
	reason  journal.Reason
	problem *flow.Problem
	note    string
	keys    []string // business keys besides those among the parameters
}

// locked is a row of work that the transaction holds.
type locked struct {
	runID, batchID, flow string
	state                flow.Status
	fence                int64
	params               flow.Row
	stored               []byte // the certificate, if it was given before
	relayed              bool
	at                   time.Time // when it closed, or closes if this transaction does it
	acceptedAt           time.Time
	waiting              string // what it waited for last, in words
}

// unheard is why an attempt is in doubt when its run closes.
const unheard = "no answer came back"

// lock takes the row of an open or final run until the transaction ends. Whoever
// also needs the advisory lock of the cause takes that first.
func lock(ctx context.Context, tx pgx.Tx, runID string) (locked, error) {
	row := locked{runID: runID}
	var params []byte
	err := tx.QueryRow(ctx, `
		select coalesce(batch_id, ''), flow, state, fence, params, certificate,
		       coalesce((select relayed_at is not null from batch where batch.batch_id = work.batch_id), false), coalesce(closed_at, now()), accepted_at, coalesce(waiting, '')
		from work where run_id = $1 for update`, runID).
		Scan(&row.batchID, &row.flow, &row.state, &row.fence, &params, &row.stored, &row.relayed, &row.at, &row.acceptedAt, &row.waiting)
	if errors.Is(err, pgx.ErrNoRows) {
		return locked{}, notFound()
	}
	if err != nil {
		return locked{}, err
	}
	return row, decode(params, &row.params)
}

// Complete settles what a write learned and closes the run, in one transaction:
// completed; failed "write.refused" when the target refused some, "write.in_doubt"
// when nobody can know of some; cancelled when a cancel was asked meanwhile. step is
// the ledger's, keys are business keys besides the texts among the parameters, note
// goes to the progress.
//
// Unavailable "run.fenced" and Conflict "run.closed" as for Answer, with nothing
// settled. Unavailable "run.effects_open", likewise, when effects are left open: a
// zombie has begun an attempt after ours, so that our outcomes are no longer the
// last word. The next attempt reads back and ends it.
func (b *Book) Complete(ctx context.Context, item Item, step string, outcomes []ledger.Outcome, keys []string, note string) (flow.Status, error) {
	var status flow.Status
	err := b.store.Tx(ctx, func(tx pgx.Tx) error {
		sealed, err := ledger.Hold(ctx, tx, item.RunID)
		if err != nil {
			return err
		}
		row, err := lock(ctx, tx, item.RunID)
		if err != nil {
			return err
		}
		switch {
		case row.state.Final():
			return closed()
		case row.fence != item.Fence || row.batchID != item.BatchID:
			return fenced()
		}
		if _, err := ledger.Settle(ctx, tx, item.RunID, step, outcomes); err != nil {
			return err
		}
		if sealed {
			if err := ledger.Doubt(ctx, tx, item.RunID, unheard); err != nil {
				return err
			}
		}
		effects, err := ledger.Details(ctx, tx, item.RunID)
		if err != nil {
			return err
		}
		end := ending{status: flow.Cancelled, reason: journal.Cancelled}
		if !sealed {
			if end, err = outcome(effects); err != nil {
				return err
			}
		}
		end.note, end.keys = note, keys
		status = end.status
		return finish(ctx, tx, row, end, effects)
	})
	if err != nil {
		return "", fmt.Errorf("completing the run: %w", err)
	}
	b.ended(item.Flow, status, time.Since(item.AcceptedAt))
	b.hub.publish(item.RunID)
	return status, nil
}

// outcome reads from the effects how a run that has written ends.
func outcome(effects []ledger.Detail) (ending, error) {
	var refused, doubtful, unchanged int
	why := map[flow.EffectState]string{} // the first reason of each state
	for _, e := range effects {
		switch e.State {
		case flow.Intent, flow.Attempt:
			return ending{}, fault.New(fault.Unavailable, "run.effects_open", "a write of this run is open; its outcome has to be read back", nil)
		case flow.Refused:
			refused++
		case flow.Doubtful:
			doubtful++
		}
		if e.Reason == string(journal.Unchanged) {
			unchanged++
		}
		if why[e.State] == "" {
			why[e.State] = e.Reason
		}
	}
	problem := func(code, format string, n int, state flow.EffectState) *flow.Problem {
		p := &flow.Problem{Code: code, Detail: fmt.Sprintf(format, n, len(effects))}
		if why[state] != "" {
			p.Detail += ": " + why[state]
		}
		return p
	}
	switch {
	case refused > 0:
		return ending{status: flow.Failed, reason: journal.Rejected, problem: problem("write.refused", "the target refused %d of %d writes", refused, flow.Refused)}, nil
	case doubtful > 0:
		return ending{status: flow.Failed, reason: journal.Failed, problem: problem("write.in_doubt", "the outcome of %d of %d writes is not known", doubtful, flow.Doubtful)}, nil
	case unchanged > 0 && unchanged == len(effects):
		return ending{status: flow.Completed, reason: journal.Unchanged}, nil
	}
	return ending{status: flow.Completed, reason: journal.Delivered}, nil
}

// Close ends the runs of a batch that did not complete: f says why they failed,
// nil that they were cancelled; one whose cancel was asked is cancelled in either
// case. No attempt begins afterwards; those whose outcome never came back are in
// doubt. A run that had ended keeps its status. NotFound "run.not_found" when no
// row carries the batch.
func (b *Book) Close(ctx context.Context, batchID string, f *fault.Fault) (flow.Status, error) {
	var runIDs []string
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `select run_id from work where batch_id = $1 order by run_id`, batchID)
		if err != nil {
			return err
		}
		runIDs, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		return "", err
	}
	if len(runIDs) == 0 {
		return "", notFound()
	}
	var status flow.Status
	for _, id := range runIDs {
		var before locked
		if err := b.store.Tx(ctx, func(tx pgx.Tx) error {
			before, status, err = closeOpen(ctx, tx, id, f)
			return err
		}); err != nil {
			return "", fmt.Errorf("closing the run: %w", err)
		}
		if !before.state.Final() {
			b.ended(before.flow, status, time.Since(before.acceptedAt))
		}
	}
	b.hub.publish(runIDs...)
	return status, nil
}

// closeOpen ends one run and gives its row as it was before.
func closeOpen(ctx context.Context, tx pgx.Tx, runID string, f *fault.Fault) (row locked, status flow.Status, err error) {
	asked, err := ledger.Seal(ctx, tx, runID, "closed")
	if err != nil {
		return row, "", err
	}
	row, err = lock(ctx, tx, runID)
	if err != nil || row.state.Final() {
		return row, row.state, err
	}
	if err := ledger.Doubt(ctx, tx, runID, unheard); err != nil {
		return row, "", err
	}
	end := ending{status: flow.Cancelled, reason: journal.Cancelled}
	if f != nil && !asked {
		end = ending{
			status:  flow.Failed,
			reason:  reasonOf(f),
			problem: &flow.Problem{Code: f.Code, Detail: detail(f, row.waiting), Retry: f.Retryable()},
			note:    f.Text,
		}
	}
	effects, err := ledger.Details(ctx, tx, runID)
	if err != nil {
		return row, "", err
	}
	return row, end.status, finish(ctx, tx, row, end, effects)
}

// detail tells a person why the run failed; of one that ran out of time also what
// it had been waiting for.
func detail(f *fault.Fault, waiting string) string {
	if f.Code == flow.DeadlineCode && waiting != "" {
		return f.Text + "; it was " + waiting
	}
	return f.Text
}

// reasonOf is the final reason of a run that failed with f.
func reasonOf(f *fault.Fault) journal.Reason {
	switch {
	case f.Code == flow.DeadlineCode:
		return journal.Deadline
	case f.Class == fault.NotFound:
		return journal.NotFound
	case f.Class == fault.Invalid || f.Class == fault.Rejected:
		return journal.Rejected
	}
	return journal.Failed
}

// finish makes an open row final, with its effects and its one final reason in
// the journal.
func finish(ctx context.Context, tx pgx.Tx, row locked, end ending, effects []ledger.Detail) error {
	var problem, cert []byte
	var err error
	if end.problem != nil {
		if problem, err = encode(end.problem); err != nil {
			return err
		}
	}
	if end.status == flow.Cancelled {
		if cert, err = encode(certificate(row, end.status, effects)); err != nil {
			return err
		}
	}
	// An answer that waited for the write is shown when the write is done.
	if _, err := tx.Exec(ctx, `
		update work set state = $2, closed_at = now(), problem = $3, certificate = $4, waiting = null,
		       answered_at = case when $2 = 'completed' and answer is not null then coalesce(answered_at, now()) else answered_at end,
		       progress = work_step(progress, 'closed', $5)
		where run_id = $1`, row.runID, string(end.status), problem, cert, end.note); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `update batch set settled_at = now(), done = 1 where batch_id = $1 and size = 1 and settled_at is null`, row.batchID); err != nil {
		return err
	}
	return journal.Write(ctx, tx, entries(row, end, effects)...)
}

// entries are what the journal keeps of the end of a run.
func entries(row locked, end ending, effects []ledger.Detail) []journal.Entry {
	keys := append(keysOf(row.params), end.keys...)
	list := make([]journal.Entry, 0, len(effects)+1)
	summary := map[string]any{"status": end.status}
	counts := map[journal.Reason]int{}
	for _, e := range effects {
		reason := reasonOfEffect[e.State]
		counts[reason]++
		detail := map[string]any{"step": e.Step, "target": e.Target}
		if e.Reason != "" {
			detail["why"] = e.Reason
		}
		list = append(list, journal.Entry{Flow: row.flow, Run: row.runID, What: "effect", Reason: reason,
			Keys: append([]string{e.Label}, keys...), Detail: detail})
	}
	for reason, n := range counts {
		summary[string(reason)] = n
	}
	if end.problem != nil {
		summary["code"], summary["problem"] = end.problem.Code, end.problem.Detail
	}
	return append(list, journal.Entry{Flow: row.flow, Run: row.runID, What: "closed", Reason: end.reason, Final: true,
		Keys: keys, Detail: summary})
}

var reasonOfEffect = map[flow.EffectState]journal.Reason{
	flow.Intent:    journal.Undone,
	flow.Attempt:   journal.InDoubt,
	flow.Doubtful:  journal.InDoubt,
	flow.Confirmed: journal.Confirmed,
	flow.Settled:   journal.Confirmed,
	flow.Refused:   journal.Refused,
}
