package run

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/journal"
	"patchbay/internal/ledger"
	"patchbay/internal/store/group"
)

// wish is what becomes of an item.
type wish int

const (
	complete wish = iota // it has written
	fail                 // it cannot be carried out, or was cancelled
	putBack              // another batch carries it
)

type (
	// conclusion is the wish of whoever holds an item.
	conclusion struct {
		wish   wish
		item   Item // RunID, BatchID and Fence
		whole  bool // of the batch: whoever holds the item now
		queued bool // nobody may hold it: it waits for a claim
		heeds  bool // one whose cancel was asked does not end by this: its tasks are taken back first
		why    *fault.Fault

		// Of a completion.
		news ledger.News
		keys []string
		note string
	}

	// concluded is what became of it.
	concluded struct {
		row    locked      // as it was before
		status flow.Status // since
		ended  bool        // by this
		back   bool        // it waits for a claim
		sealed bool        // its cancel was asked, which the wish heeds
	}

	// back is a row on its way back into the queue.
	back struct {
		row   locked
		tries int
		after time.Duration // 0: it keeps its place
		lost  bool          // with who carried it, which costs the caller no time
		why   string
	}
)

// triesAlone is how often a run is carried out alone before it has failed. Before
// that it was in two batches of several.
const (
	triesShared = 2
	triesAlone  = 5
)

// conclude has a wish carried out, together with those of others.
func (b *Book) conclude(ctx context.Context, c conclusion) (concluded, error) {
	got, err := b.ends.Do(ctx, c)
	if err != nil {
		return got, err
	}
	if got.ended {
		b.ended(got.row.flow, got.status, time.Since(got.row.acceptedAt))
	}
	b.hub.publish(c.item.RunID)
	return got, nil
}

// concludeAll carries out the wishes of one transaction, each by compare-and-set
// on the batch and the fence of its item (promise 2).
func (b *Book) concludeAll(ctx context.Context, in []conclusion) ([]group.Reply[concluded], error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	var replies []group.Reply[concluded]
	var others []sharing
	err := b.store.Tx(ctx, func(tx pgx.Tx) error {
		var err error
		var shared []string
		if replies, shared, err = concludeTx(ctx, tx, in); err != nil {
			return err
		}
		others, err = shareEnds(ctx, tx, shared)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("closing the run: %w", err)
	}
	b.shared(others...)
	return replies, nil
}

// concludeTx gives, besides the replies, those that ended and that others shared.
func concludeTx(ctx context.Context, tx pgx.Tx, in []conclusion) (replies []group.Reply[concluded], shared []string, err error) {
	replies = make([]group.Reply[concluded], len(in))
	ids := make([]string, len(in))
	for i, c := range in {
		ids[i] = c.item.RunID
	}
	rows, sealed, err := lockAll(ctx, tx, ids)
	if err != nil {
		return nil, nil, err
	}
	// What each wants is allowed or not; of two that are, the first has it.
	taken := map[string]int{}
	var todo []int
	var news []ledger.News
	var doubt []string
	for i, c := range in {
		id := c.item.RunID
		row, found := rows[id]
		r := &replies[i]
		r.Out = concluded{row: row, status: row.state}
		if r.Err = c.allowed(row, found); r.Err != nil || row.state.Final() {
			continue
		}
		if _, twice := taken[id]; twice {
			r.Err = fenced()
			continue
		}
		if c.heeds && sealed[id] {
			r.Out.sealed = true
			continue
		}
		if c.wish == complete {
			if r.Err = c.news.Valid(); r.Err != nil {
				continue
			}
			news = append(news, c.news)
		}
		if c.wish != complete || sealed[id] {
			doubt = append(doubt, id)
		}
		taken[id] = i
		todo = append(todo, i)
	}
	if len(todo) == 0 {
		return replies, nil, nil
	}
	causes := make([]string, len(todo))
	for k, i := range todo {
		causes[k] = ids[i]
	}
	tallies, err := ledger.Conclude(ctx, tx, news, unheard, doubt, causes)
	if err != nil {
		return nil, nil, err
	}
	var ends []ending
	var backs []back
	for _, i := range todo {
		c, r := in[i], &replies[i]
		end, again, err := c.verdict(r.Out.row, sealed[c.item.RunID], tallies[c.item.RunID])
		switch {
		case err != nil:
			r.Err = err
		case again != nil:
			backs = append(backs, *again)
			r.Out.back = true
		default:
			end.row, end.effects = r.Out.row, tallies[c.item.RunID]
			ends = append(ends, end)
			r.Out.status, r.Out.ended = end.status, true
		}
	}
	if err := giveBack(ctx, tx, backs); err != nil {
		return nil, nil, err
	}
	shared, err = finishAll(ctx, tx, ends)
	return replies, shared, err
}

// allowed says why the wish has no right to the row, nil when it has; a whole
// batch may also hold rows that have ended.
func (c conclusion) allowed(row locked, found bool) error {
	switch {
	case !found:
		return notFound()
	case c.queued:
		if row.batchID != "" {
			return fenced()
		}
	case c.whole:
		if row.batchID != c.item.BatchID {
			return fenced()
		}
	case row.state.Final():
		return closed()
	case row.batchID != c.item.BatchID, row.fence != c.item.Fence:
		return fenced()
	}
	return nil
}

// verdict is how an item that is held ends, or where it goes back to.
func (c conclusion) verdict(row locked, sealed bool, effects []ledger.Tally) (ending, *back, error) {
	switch {
	case sealed, c.wish == fail && c.why == nil:
		return ending{status: flow.Cancelled, reason: journal.Cancelled, note: c.note, keys: c.keys, abandoned: c.wish == putBack || c.terminated()}, nil, nil
	case c.wish == complete:
		end, err := outcome(effects)
		end.note, end.keys = c.note, c.keys
		return end, nil, err
	case c.queued:
		waited := row.at.Sub(row.acceptedAt).Round(time.Second)
		end := failed(row, fault.New(c.why.Class, c.why.Code, fmt.Sprintf("it waited %d s in the queue", int(waited.Seconds())), nil))
		end.abandoned = true
		return end, nil, nil
	case c.wish == fail:
		end := failed(row, c.why)
		end.abandoned = c.terminated()
		return end, nil, nil
	}
	again := &back{row: row, tries: row.tries, after: c.why.After, lost: c.whole, why: c.why.Text}
	if again.after <= 0 && c.why.Class == fault.Throttled {
		again.after = time.Second
	}
	if again.after > 0 {
		return ending{}, again, nil
	}
	if again.tries++; again.tries >= triesShared+triesAlone {
		end := failed(row, fault.New(fault.Unavailable, "run.tries",
			fmt.Sprintf("it was tried %d times and never came to an end; the last time: %s", again.tries, c.why.Text), c.why))
		end.abandoned = true
		return end, nil, nil
	}
	return ending{}, again, nil
}

// terminated reports whether somebody ended the workflow in Temporal before it could end
// its runs.
func (c conclusion) terminated() bool { return c.why != nil && c.why.Code == flow.TerminatedCode }

func failed(row locked, f *fault.Fault) ending {
	return ending{
		status:  flow.Failed,
		reason:  reasonOf(f),
		problem: &flow.Problem{Code: f.Code, Detail: detail(f, row.waiting), Retry: f.Retryable()},
		note:    f.Text,
	}
}

// giveBack lets other batches have the rows. Who held them is fenced off.
func giveBack(ctx context.Context, tx pgx.Tx, backs []back) error {
	if len(backs) == 0 {
		return nil
	}
	ids, why, batches := make([]string, len(backs)), make([]string, len(backs)), make([]string, len(backs))
	tries, after, lost := make([]int32, len(backs)), make([]int64, len(backs)), make([]bool, len(backs))
	for i, r := range backs {
		ids[i], why[i], batches[i] = r.row.runID, flow.Obstacle{Why: r.why}.String(), r.row.batchID
		tries[i], after[i], lost[i] = int32(r.tries), r.after.Microseconds(), r.lost
	}
	var batch pgx.Batch
	batch.Queue(`
		update work w set batch_id = null, workflow_id = null, tries = p.tries, waiting = p.why,
		       due_at = case when p.after > 0 then now() + p.after * interval '1 microsecond' end,
		       order_at = case when p.after > 0 then now() + p.after * interval '1 microsecond' else w.order_at end,
		       deadline_at = case when p.lost and w.answered_at is null then greatest(w.deadline_at, now() + w.timeout) else w.deadline_at end,
		       state = case when w.state = 'parked' then 'running' else w.state end
		from unnest($1::text[], $2::int[], $3::bigint[], $4::text[], $5::bool[]) as p(id, tries, after, why, lost)
		where w.run_id = p.id`, ids, tries, after, why, lost)
	settleSingles(&batch, batches)
	return tx.SendBatch(ctx, &batch).Close()
}

// outcome reads from the effects how a run that has written ends.
func outcome(effects []ledger.Tally) (ending, error) {
	var all, refused, doubtful, unchanged int
	why := map[flow.EffectState]string{} // the first reason of each state
	for _, e := range effects {
		n := len(e.Labels)
		all += n
		switch e.State {
		case flow.Intent, flow.Attempt:
			return ending{}, fault.New(fault.Unavailable, "run.effects_open", "a write of this run is open; its outcome has to be read back", nil)
		case flow.Refused:
			refused += n
		case flow.Doubtful:
			doubtful += n
		}
		if e.Reason == string(journal.Unchanged) {
			unchanged += n
		}
		if why[e.State] == "" {
			why[e.State] = e.Reason
		}
	}
	problem := func(code, format string, n int, state flow.EffectState) *flow.Problem {
		p := &flow.Problem{Code: code, Detail: fmt.Sprintf(format, n, all)}
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
	case unchanged > 0 && unchanged == all:
		return ending{status: flow.Completed, reason: journal.Unchanged}, nil
	}
	return ending{status: flow.Completed, reason: journal.Delivered}, nil
}
