package run_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/ledger"
	"patchbay/internal/run"
)

var away = fault.New(fault.Unavailable, "crm.down", "crm does not answer", nil)

// one claims what waits as a single batch of several.
func (b *bundle) one(n int) (run.Start, []run.Item) {
	b.Helper()
	b.wait(n)
	b.exec(`insert into batch (batch_id, flow, pattern, digest, size, lease_until, relayed_at)
		select 'busy' || i, flow, pattern, digest, 1, now() + interval '1 hour', now()
		from (select * from work limit 1) as w, generate_series(1, 3) as i`)
	starts := b.claim()
	require.Len(b, starts, 1)
	require.Equal(b, n, starts[0].Size)
	b.exec(`update batch set settled_at = now() where batch_id like 'busy%'`)
	require.NoError(b, b.book.Relayed(b.Context(), starts[0].BatchID))
	items := b.take(starts[0], "reading")
	require.Len(b, items, n)
	return starts[0], items
}

func TestTheItemsOfABatchHaveTheirOutcomesOneByOne(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s, items := b.one(4)
	for _, item := range items {
		require.NoError(t, b.book.Answer(t.Context(), item, answer(2), "", true, false))
		require.Equal(t, []string{"accepted", "reading", "answered", "writing"}, names(b.get(item.RunID).Progress))
	}
	status, err := b.book.Complete(t.Context(), items[0], "write", b.attempt(items[0]), nil, "")
	require.NoError(t, err)
	require.Equal(t, flow.Completed, status)
	status, err = b.book.Fail(t.Context(), items[1], fault.New(fault.Rejected, "crm.no", "crm says no", nil))
	require.NoError(t, err)
	require.Equal(t, flow.Failed, status)
	b.attempt(items[2])
	status, err = b.book.Fail(t.Context(), items[2], nil)
	require.NoError(t, err)
	require.Equal(t, flow.Cancelled, status)
	cert, err := b.book.Certificate(t.Context(), items[2].RunID)
	require.NoError(t, err)
	require.Len(t, cert.InDoubt, 2, "what was sent and never heard of")
	require.NoError(t, b.book.PutBack(t.Context(), items[3], away))
	require.NoError(t, b.book.Settle(t.Context(), s.BatchID))

	for i, want := range []string{"delivered", "rejected", "cancelled"} {
		require.Equal(t, []string{want}, b.finals(items[i].RunID))
	}
	var done int
	require.NoError(t, b.store.Pool().QueryRow(t.Context(), `select done from batch where batch_id = $1 and settled_at is not null`, s.BatchID).Scan(&done))
	require.Equal(t, 3, done, "the one that was put back found no end in it")
	_, err = b.book.Take(t.Context(), s.BatchID, "reading")
	requireFault(t, err, fault.Conflict, "run.closed")
}

func TestOneThatWasPutBackLaterCostsNoTryAndWaitsForItsTime(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, items := b.one(2)
	require.NoError(t, b.book.PutBack(t.Context(), items[0], fault.ThrottledFor(time.Minute, "crm.quota", "crm asks for patience", nil)))
	got := b.get(items[0].RunID)
	require.Equal(t, flow.Running, got.Status)
	require.Contains(t, got.Waiting, "crm asks for patience")
	require.Empty(t, b.claim(), "it is not due")
	b.exec(`update work set due_at = now() where run_id = $1`, items[0].RunID)
	starts := b.claim()
	require.Equal(t, []string{items[0].RunID}, runIDs(starts))
	require.NotEqual(t, items[0].BatchID, starts[0].BatchID)
	require.Zero(t, b.take(starts[0], "reading")[0].Tries)
}

func TestOneThatWasPutBackIsNoLongerTheBatchsAndItsAttemptsAreInDoubt(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, items := b.one(2)
	require.NoError(t, b.book.Answer(t.Context(), items[0], answer(2), "", true, false))
	stale := b.attempt(items[0])
	require.NoError(t, b.book.PutBack(t.Context(), items[0], away))
	require.Equal(t, flow.Doubtful, b.get(items[0].RunID).Effects[0].State)

	// Whoever held it finds no row, while it waits and when another has it.
	for range 2 {
		requireFault(t, b.book.Answer(t.Context(), items[0], answer(1), "", true, false), fault.Unavailable, "run.fenced")
		_, err := b.book.Attempt(t.Context(), items[0], "write", "crm.specification", members())
		requireFault(t, err, fault.Unavailable, "run.fenced")
		requireFault(t, b.book.Record(t.Context(), items[0], "write", stale), fault.Unavailable, "run.fenced")
		_, err = b.book.Complete(t.Context(), items[0], "write", stale, nil, "")
		requireFault(t, err, fault.Unavailable, "run.fenced")
		_, err = b.book.Fail(t.Context(), items[0], away)
		requireFault(t, err, fault.Unavailable, "run.fenced")
		requireFault(t, b.book.PutBack(t.Context(), items[0], away), fault.Unavailable, "run.fenced")
		b.claim()
	}
	var batch string
	require.NoError(t, b.store.Pool().QueryRow(t.Context(), `select batch_id from work where run_id = $1`, items[0].RunID).Scan(&batch))
	again := b.take(run.Start{BatchID: batch}, "writing")[0]
	require.Equal(t, 1, again.Tries)
	require.True(t, again.Answered)
	open, err := b.book.Attempt(t.Context(), again, "write", "crm.specification", members())
	require.NoError(t, err)
	require.Len(t, open, 2)
	require.True(t, open[0].Retried, "it is read back before it is written again")
}

func TestTriesIsolateARunAndEndIt(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ids := b.wait(1)
	for try := range 7 {
		starts := b.claim()
		require.Equal(t, ids, runIDs(starts), "try %d", try)
		var tier int
		require.NoError(t, b.store.Pool().QueryRow(t.Context(), `select tier from batch where batch_id = $1`, starts[0].BatchID).Scan(&tier))
		require.Equal(t, min(try, 2), tier)
		item := b.take(starts[0], "reading")[0]
		require.Equal(t, try, item.Tries)
		require.NoError(t, b.book.PutBack(t.Context(), item, away))
	}
	require.Empty(t, b.claim())
	got := b.get(ids[0])
	require.Equal(t, "run.tries", got.Problem.Code)
	require.True(t, got.Problem.Retry, "a person may send it again")
	require.True(t, strings.Contains(got.Problem.Detail, "7 times") && strings.Contains(got.Problem.Detail, away.Text), got.Problem.Detail)
	require.Equal(t, []string{"failed"}, b.finals(ids[0]))
}

func TestALostBatchIsPutBackWhoeverHoldsItsItems(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s, items := b.one(4)
	_, err := b.book.Complete(t.Context(), items[0], "write", b.attempt(items[0]), nil, "")
	require.NoError(t, err)
	require.NoError(t, b.book.PutBack(t.Context(), items[1], away))
	b.attempt(items[2])
	_, err = b.book.Seal(t.Context(), items[2].RunID, "dev")
	require.NoError(t, err)
	sealed, err := b.book.Sealed(t.Context(), s.BatchID)
	require.NoError(t, err)
	require.Equal(t, []string{items[2].RunID}, sealed)
	open, err := b.book.SealedOpen(t.Context())
	require.NoError(t, err)
	require.Empty(t, open, "a batch of several reads its seals itself")

	for want := range 2 { // again it finds none
		n, err := b.book.PutBackAll(t.Context(), s.BatchID, nil)
		require.NoError(t, err)
		require.Equal(t, 1-want, n)
	}
	require.Equal(t, flow.Completed, b.get(items[0].RunID).Status)
	require.Equal(t, flow.Cancelled, b.get(items[2].RunID).Status, "it was asked for")
	cert, err := b.book.Certificate(t.Context(), items[2].RunID)
	require.NoError(t, err)
	require.Len(t, cert.InDoubt, 2)
	starts := b.claim()
	require.ElementsMatch(t, []string{items[1].RunID, items[3].RunID}, runIDs(starts))
	for _, start := range starts {
		for _, item := range b.take(start, "reading") {
			require.Equal(t, 1, item.Tries)
		}
	}
}

// Who carried a batch may die after the last outcome and before it could settle it.
func TestABatchThatNobodySettledIsSettledAsOfItsLastEnd(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s, items := b.one(3)
	for _, item := range items[:2] {
		_, err := b.book.Fail(t.Context(), item, fault.New(fault.Rejected, "crm.no", "crm says no", nil))
		require.NoError(t, err)
	}
	settle := func(age time.Duration) int {
		n, err := b.book.SettleEmpty(t.Context(), age)
		require.NoError(t, err)
		return n
	}
	require.Zero(t, settle(0), "one of it is open")
	require.NoError(t, b.book.PutBack(t.Context(), items[2], away))
	require.Zero(t, settle(time.Minute), "who carries it may be about to settle it")
	b.exec(`update work set closed_at = closed_at + interval '3 seconds' where run_id = $1`, items[0].RunID)
	require.Equal(t, 1, settle(0))
	require.Zero(t, settle(0))
	require.Equal(t, 1, b.count(`select count(*) from batch join work on run_id = $2
		where batch.batch_id = $1 and done = 2 and settled_at = closed_at`, s.BatchID, items[0].RunID))
	require.Equal(t, []string{items[2].RunID}, runIDs(b.claim()))
	require.Zero(t, settle(0), "the next one carries it")
}

func TestOneWhoseCancelWasAskedIsCancelledInsteadOfPutBack(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, items := b.one(2)
	_, err := b.book.Seal(t.Context(), items[0].RunID, "dev")
	require.NoError(t, err)
	_, err = b.book.Attempt(t.Context(), items[0], "write", "crm.specification", members())
	requireFault(t, err, fault.Conflict, "ledger.sealed")
	require.NoError(t, b.book.PutBack(t.Context(), items[0], away))
	require.Equal(t, flow.Cancelled, b.get(items[0].RunID).Status)

	require.NoError(t, b.book.PutBack(t.Context(), items[1], away))
	r, err := b.book.Seal(t.Context(), items[1].RunID, "dev")
	require.NoError(t, err)
	require.Equal(t, flow.Cancelled, r.Status, "nobody has it: it ends at once")
	require.Empty(t, b.claim())
}

func TestAttemptsOfManyItemsAreTheirOwn(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, items := b.one(6)
	_, err := b.book.Seal(t.Context(), items[1].RunID, "dev")
	require.NoError(t, err)
	zombie := items[2]
	zombie.Fence--
	type result struct {
		open []ledger.Open
		err  error
	}
	results := make([]chan result, len(items))
	for i, item := range items {
		results[i] = make(chan result, 1)
		if i == 2 {
			item = zombie
		}
		with := members()
		if i == 3 {
			with = append(with, with[0])
		}
		go func() {
			open, err := b.book.Attempt(b.Context(), item, "write", "crm.specification", with)
			results[i] <- result{open, err}
		}()
	}
	for i := range results {
		r := <-results[i]
		switch i {
		case 1:
			requireFault(t, r.err, fault.Conflict, "ledger.sealed")
		case 2:
			requireFault(t, r.err, fault.Unavailable, "run.fenced")
		case 3:
			requireFault(t, r.err, fault.Bug, "ledger.duplicate_key")
		default:
			require.NoError(t, r.err)
			require.Equal(t, []string{members()[0].Key, members()[1].Key}, []string{r.open[0].Key, r.open[1].Key})
		}
		require.Len(t, b.get(items[i].RunID).Effects, map[bool]int{true: 0, false: 2}[r.err != nil])
	}
}
