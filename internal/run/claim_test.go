package run_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/run"
)

// wait accepts presses that all wait for a claim, in the order of the result.
func (b *bundle) wait(n int, change ...func(*flow.Press)) []string {
	b.Helper()
	ids := make([]string, n)
	for i := range ids {
		p := press("")
		for _, c := range change {
			c(&p)
		}
		r, s, err := b.book.Accept(b.Context(), p)
		require.NoError(b, err)
		if ids[i] = r.RunID; s.BatchID != "" { // it was alone
			b.exec(`update work set batch_id = null where run_id = $1`, r.RunID)
			b.exec(`update batch set settled_at = now() where batch_id = $1`, s.BatchID)
		}
	}
	return ids
}

func (b *bundle) claim() []run.Start {
	b.Helper()
	starts, err := b.book.Claim(b.Context())
	require.NoError(b, err)
	return starts
}

// take takes the items of a batch that is taken for the first time.
func (b *bundle) take(s run.Start, step string) []run.Item {
	b.Helper()
	items, err := b.book.Take(b.Context(), s.BatchID, step)
	require.NoError(b, err)
	return items
}

func runIDs(starts []run.Start) []string {
	var ids []string
	for _, s := range starts {
		ids = append(ids, s.RunIDs...)
	}
	return ids
}

func TestRowsThatWaitAreClaimedInBatchesAndOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ids := b.wait(10)
	starts := b.claim()
	require.Len(t, starts, 4, "as many batches as a flow may have in flight")
	require.Equal(t, ids, runIDs(starts), "all of them, in the order of the queue")
	for _, s := range starts {
		require.Equal(t, len(s.RunIDs), s.Size)
		require.Equal(t, []string{"product-specs", b.plan.Digest(), "instant"}, []string{s.Flow, s.Digest, s.Pattern})
		require.Equal(t, b.plan.Skeleton(), s.Skeleton)
		require.NotContains(t, s.RunIDs, s.BatchID)
		require.Equal(t, s.WorkflowID(), b.get(s.RunIDs[0]).WorkflowID)
	}
	late := b.wait(3)
	require.Empty(t, b.claim(), "four are in flight")
	require.NoError(t, b.book.Settle(t.Context(), starts[0].BatchID))
	starts = b.claim()
	require.Len(t, starts, 1)
	require.Equal(t, late, starts[0].RunIDs, "what waited meanwhile goes together")
}

func TestABatchWhoseLeaseLapsesIsSentAgainUnchanged(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ids := b.wait(6)
	starts := b.claim()
	_, err := b.book.Seal(t.Context(), ids[1], "dev") // one of its items ends before anybody has it
	require.NoError(t, err)
	require.Equal(t, flow.Cancelled, b.get(ids[1]).Status)
	for _, s := range starts {
		b.lapse(s.RunIDs[0])
	}
	again := b.due()
	require.Equal(t, starts, again)
	require.NoError(t, b.book.Relayed(t.Context(), starts[0].BatchID))
	for _, s := range starts {
		b.lapse(s.RunIDs[0])
	}
	require.Len(t, b.due(), len(starts)-1)
}

func TestABatchThatNobodyHearsOfStopsCountingAfterAWhile(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.wait(8)
	require.Len(t, b.claim(), 4)
	b.wait(1)
	require.Empty(t, b.claim())
	b.exec(`update batch set claimed_at = claimed_at - interval '6 seconds'`)
	require.Len(t, b.claim(), 1, "a slow or dead batch must not stop its flow")
}

func TestTwoRelaysClaimEachRowOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ids := b.wait(60)
	other := run.NewBook(b.store, run.NewPlans(b.store), run.Options{})
	var mu sync.Mutex
	var wg sync.WaitGroup
	seen := map[string]int{}
	for i := range 6 {
		book := []*run.Book{b.book, other}[i%2]
		wg.Go(func() {
			for range 10 {
				starts, err := book.Claim(b.Context())
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, s := range starts {
					for _, id := range s.RunIDs {
						seen[id]++
					}
				}
				mu.Unlock()
				for _, s := range starts {
					if err := book.Settle(b.Context(), s.BatchID); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	require.Len(t, seen, len(ids))
	for id, n := range seen {
		require.Equal(t, 1, n, id)
	}
}

func TestRunsWithOneOrderKeyAreCarriedOutOneAfterTheOther(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Order = []string{"product_id"} })
	ids := b.wait(3)
	other := b.wait(1, func(p *flow.Press) { p.Params = map[string]any{"product_id": "AS1"} })
	first := b.claim()
	require.ElementsMatch(t, []string{ids[0], other[0]}, runIDs(first), "one of each key")
	require.Empty(t, b.claim())

	// Put back for later it keeps its turn.
	var held run.Start
	for _, s := range first {
		if s.RunIDs[0] == ids[0] {
			held = s
		}
	}
	require.NotZero(t, held)
	require.NoError(t, b.book.PutBack(t.Context(), b.take(held, "reading")[0], fault.ThrottledFor(time.Hour, "x.quota", "patience", nil)))
	require.Empty(t, b.claim(), "a later one of its key must not overtake it")
	b.exec(`update work set due_at = now() where run_id = $1`, ids[0])
	again := b.claim()
	require.Equal(t, []string{ids[0]}, runIDs(again))
	_, err := b.book.Fail(t.Context(), b.take(again[0], "reading")[0], fault.New(fault.Rejected, "x", "no", nil))
	require.NoError(t, err)
	require.Equal(t, ids[1:2], runIDs(b.claim()))
}

func TestARowThatWaitedTooLongIsClosedAndNotClaimed(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ids := b.wait(2)
	b.exec(`update work set accepted_at = now() - interval '31 seconds', deadline_at = now() - interval '1 second' where run_id = $1`, ids[0])
	require.Equal(t, ids[1:], runIDs(b.claim()))
	got := b.get(ids[0])
	require.Equal(t, &flow.Problem{Code: flow.DeadlineCode, Detail: "it waited 31 s in the queue", Retry: true}, got.Problem)
	require.Equal(t, []string{"deadline"}, b.finals(ids[0]))

	answered := b.wait(1)
	b.exec(`update work set answer = '{"rows": [], "count": 0}', answered_at = now(), deadline_at = now() - interval '1 second' where run_id = $1`, answered[0])
	require.Equal(t, answered, runIDs(b.claim()), "an answered one has all the time to write")
}

func TestOneThatIsDueLaterIsLeftUntilThen(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ids := b.wait(2)
	b.exec(`update work set due_at = now() + interval '1 hour' where run_id = $1`, ids[0])
	require.Equal(t, ids[1:], runIDs(b.claim()))
	b.exec(`update work set due_at = now() where run_id = $1`, ids[0])
	require.Equal(t, ids[:1], runIDs(b.claim()))
}

func TestInteractivePressesGoFirstAndNeverTogetherWithOthers(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	behind := b.wait(40, func(p *flow.Press) { p.Class = flow.Background })
	ahead := b.wait(2)
	starts := b.claim()
	require.Equal(t, ahead, starts[0].RunIDs)
	require.Equal(t, flow.Interactive, starts[0].Class)
	for _, s := range starts[1:] {
		require.Equal(t, flow.Background, s.Class)
		require.Subset(t, behind, s.RunIDs)
	}
}

func TestAFlowsLimitBindsOnlyWhileAnotherFlowWaits(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Limits.Concurrent = 3 })
	other := specs(func(p *flow.Plan) { p.Flow = "other" })
	_, err := b.plans.Apply(t.Context(), []*flow.Plan{other}, nil, "test")
	require.NoError(t, err)
	b.wait(20)
	b.wait(1, func(p *flow.Press) { p.Flow = "other" })
	count := map[string]int{}
	for _, s := range b.claim() {
		count[s.Flow] += s.Size
	}
	require.Equal(t, map[string]int{"product-specs": 3, "other": 1}, count)
	b.exec(`update batch set settled_at = now()`)
	require.Len(t, runIDs(b.claim()), 17, "nobody else waits")
}

func TestBatchesOfSeveralLeaveAQuarterOfTheSlots(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.book = run.NewBook(b.store, b.plans, run.Options{Slots: 2})
	b.wait(20)
	starts := b.claim()
	require.Len(t, starts, 4)
	several := 0
	for _, s := range starts {
		if s.Size > 1 {
			several++
		}
	}
	require.Equal(t, 1, several)
}

func TestASlowFlowGetsSmallerBatches(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.wait(10)
	b.exec(`insert into batch (batch_id, flow, pattern, digest, size, done, claimed_at, lease_until, settled_at)
		select 'past', flow, pattern, digest, 64, 64, now() - interval '5 seconds', now(), now() from work limit 1`)
	b.wait(90)
	for _, s := range b.claim() {
		require.Equal(t, 13, s.Size, "what 64 in five seconds are in one")
	}
}

// What the claim reads is in the order of its index: no sort, however long the queue.
func TestTheClaimWalksItsIndexWithoutASort(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.accept("")
	b.exec(`insert into work (run_id, flow, pattern, principal, body_sha256, params, digest, timeout, deadline_at, order_at, class)
		select 'w' || n, flow, pattern, principal, body_sha256, params, digest, timeout, deadline_at, now() + n * interval '1 ms', n % 2
		from work, generate_series(1, 20000) as n`)
	b.exec(`insert into work (run_id, flow, pattern, principal, body_sha256, params, digest, timeout, deadline_at, state, closed_at, batch_id)
		select 'd' || n, flow, pattern, principal, body_sha256, params, digest, timeout, deadline_at, 'completed', now(), 'd' || n
		from work, generate_series(1, 20000) as n where batch_id is not null`)
	owner := b.store.Pool()
	_, err := owner.Exec(t.Context(), `vacuum analyze work`)
	require.NoError(t, err)
	rows, err := owner.Query(t.Context(), `explain `+run.Candidates, pgx.QueryExecModeSimpleProtocol, "product-specs", 272, false, false)
	require.NoError(t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	plan := strings.Join(lines, "\n")
	require.NotContains(t, plan, "Sort", plan)
	require.Contains(t, plan, "work_waiting", plan)
}

func TestNobodyWaitsForAClaimThatAnotherProcessMakes(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ids := b.wait(2)
	require.NoError(t, b.store.Tx(t.Context(), func(tx pgx.Tx) error {
		// Somebody is cancelling one of them.
		_, err := tx.Exec(t.Context(), `select from work where run_id = $1 for no key update`, ids[0])
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		starts, err := b.book.Claim(ctx)
		require.NoError(t, err)
		require.Equal(t, ids[1:], runIDs(starts), "its row is left to him")
		return nil
	}))
	require.Equal(t, fmt.Sprint(ids[:1]), fmt.Sprint(runIDs(b.claim())))
}
