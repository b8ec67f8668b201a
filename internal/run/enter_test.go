package run_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/run"
)

func TestAFullQueueRefusesNewPressesAndStillAnswersRepeats(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Limits.Queue = 2 })
	b.busy()
	accept := func(key string) (flow.Run, error) {
		r, s, err := b.book.Accept(t.Context(), press(key))
		require.Zero(t, s, "what waits is not started")
		return r, err
	}
	for _, key := range []string{"k1", "k2"} {
		r, err := accept(key)
		require.NoError(t, err)
		require.Empty(t, r.WorkflowID, "none carries it yet")
	}
	_, err := accept("k3")
	requireFault(t, err, fault.Throttled, "queue.full")
	require.Equal(t, 5*time.Second, fault.Of(err).After, "nothing was finished lately")
	again, err := accept("k2")
	require.NoError(t, err)
	require.True(t, again.Replayed)

	// Ten were finished in the last ten seconds: two need two seconds.
	b.exec(`insert into batch (batch_id, flow, pattern, digest, size, done, lease_until, settled_at)
		select 'done', flow, pattern, digest, 10, 10, now(), now() from batch limit 1`)
	_, err = accept("k3")
	require.Equal(t, 2*time.Second, fault.Of(err).After)

	_, err = b.book.Seal(t.Context(), again.RunID, "dev")
	require.NoError(t, err)
	_, err = accept("k3")
	require.NoError(t, err)
}

func TestAQueueTakesExactlyItsLimitOfManyPressesAtOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.busy()
	const n = 300
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { _, _, errs[i] = b.book.Accept(t.Context(), press("")) })
	}
	wg.Wait()
	taken := 0
	for _, err := range errs {
		if err == nil {
			taken++
			continue
		}
		requireFault(t, err, fault.Throttled, "queue.full")
	}
	require.Equal(t, 100, taken)
	require.Equal(t, 100, b.count(`select count(*) from work`))
}

func TestAPressClaimsItselfOnlyWhileItsFlowIsIdle(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	press := func() bool {
		r, s, err := b.book.Accept(t.Context(), press(""))
		require.NoError(t, err)
		if s.BatchID == "" {
			return false
		}
		require.Equal(t, r.RunID, s.BatchID)
		return true
	}
	for range 4 {
		require.True(t, press())
	}
	require.False(t, press(), "four are in flight")
	b.exec(`update batch set settled_at = now()`)
	require.False(t, press(), "one waits already, and goes first")
	b.exec(`update work set batch_id = run_id where batch_id is null`)
	require.True(t, press())
	b.exec(`update batch set claimed_at = now() - interval '6 seconds', settled_at = null`)
	require.True(t, press(), "a batch that takes long keeps nobody waiting")
}

func TestAPressWaitsWhileOneWithItsOrderKeyIsClaimed(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Order = []string{"product_id"} })
	_, first := b.accept("k1")
	require.NotZero(t, first)
	_, second := b.accept("k2")
	require.Zero(t, second)
	b.exec(`update work set state = 'cancelled', closed_at = now() where batch_id is null`)
	other := press("k3")
	other.Params["product_id"] = "AS54889"
	_, third, err := b.book.Accept(t.Context(), other)
	require.NoError(t, err)
	require.NotZero(t, third, "another key is free")
	require.Equal(t, []string{`["AS54888"]`, `["AS54888"]`, `["AS54889"]`}, b.texts(`select order_key from work order by order_key, run_id`))
}

func TestAPressDoesNotOvertakeARunOfItsOrderKeyThatWasPutBack(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Order = []string{"product_id"} })
	_, first := b.accept("k1")
	item := b.begin(first.BatchID, "reading")
	require.NoError(t, b.book.PutBack(t.Context(), item, fault.ThrottledFor(30*time.Second, "crm.throttled", "crm asked for silence", nil)))
	_, second := b.accept("k2")
	require.Zero(t, second, "the first may not have written yet")
}

func TestPressesWithOneKeyInOneTransactionMakeOneRow(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.accept("")
	const n = 30
	runs, errs := make([]flow.Run, n), make([]error, n)
	started := 0
	var mu sync.Mutex
	b.whileStuck(func() { _, _, _ = b.book.Accept(t.Context(), press("first")) }, func(pgx.Tx) {
		// The first is at the database: all these wait for the next transaction.
		ready := make(chan struct{}, n)
		for i := range n {
			b.waiting.Go(func() {
				p := press("same")
				if i%10 == 9 {
					p.Params["product_id"] = "AS54889"
				}
				ready <- struct{}{}
				r, s, err := b.book.Accept(t.Context(), p)
				mu.Lock()
				defer mu.Unlock()
				runs[i], errs[i] = r, err
				if s.BatchID != "" {
					started++
				}
			})
		}
		for range n {
			<-ready
		}
	}, false)
	b.waiting.Wait()
	require.LessOrEqual(t, started, 1)
	var ids []string
	conflicts, fresh := 0, 0
	for i, err := range errs {
		if err != nil {
			requireFault(t, err, fault.Conflict, "idem.reused")
			conflicts++
			continue
		}
		ids = append(ids, runs[i].RunID)
		if !runs[i].Replayed {
			fresh++
		}
	}
	slices.Sort(ids)
	require.Len(t, slices.Compact(ids), 1)
	require.Equal(t, 1, fresh)
	require.Contains(t, []int{3, n - 3}, conflicts, "whoever came first has the key")
	require.Equal(t, 1, b.count(`select count(*) from work where run_id = $1`, ids[0]))
}

func TestAPressThatCannotBeStoredSinksNoneOfItsTransaction(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.accept("")
	const n = 40
	errs := make([]error, n)
	for i := range n {
		b.waiting.Go(func() {
			p := press("")
			if i%8 == 0 {
				p.Principal = "x\x00" // no text of PostgreSQL
			}
			_, _, errs[i] = b.book.Accept(t.Context(), p)
		})
	}
	b.waiting.Wait()
	for i, err := range errs {
		if i%8 == 0 {
			requireFault(t, err, fault.Bug, "store.statement")
		} else {
			require.NoError(t, err)
		}
	}
	require.Equal(t, 1+n-n/8, b.count(`select count(*) from work`))
	require.Equal(t, 1+n-n/8, b.count(`select count(*) from journal`))
}

func TestAPressOfAWorkflowIsAcceptedUnderItsIDAndNeverQueues(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Limits.Queue = 1; p.Limits.ShareIdentical = time.Hour })
	b.busy()
	b.accept("in the queue")
	p := press("")
	p.Workflow = "order-4711"
	for range 2 { // its first acceptance may have been lost on its way
		r, s, err := b.book.Accept(t.Context(), p)
		require.NoError(t, err)
		require.False(t, r.Replayed)
		require.Equal(t, "order-4711", r.WorkflowID)
		require.Equal(t, run.Start{
			BatchID: "order-4711", Flow: "product-specs", Digest: b.plan.Digest(), Pattern: "instant", Size: 1,
			Skeleton: b.plan.Skeleton(), Summary: b.plan.Summary, RunIDs: []string{r.RunID}, Workflow: "order-4711",
		}, s)
		require.Equal(t, "order-4711", s.WorkflowID())
	}
	require.Empty(t, b.due(), "Temporal has it")
	item := b.begin("order-4711", "reading")
	require.NoError(t, b.book.Answer(t.Context(), item, answer(1), "", true, true))
	r, s, err := b.book.Accept(t.Context(), p)
	require.NoError(t, err)
	require.True(t, r.Replayed)
	require.Equal(t, flow.Completed, r.Status)
	require.Equal(t, []string{item.RunID}, s.RunIDs)

	p.Params["product_id"] = "AS54889"
	_, _, err = b.book.Accept(t.Context(), p)
	requireFault(t, err, fault.Conflict, "idem.reused")
}

func TestAUserWithManyPressesStandsBehindTheNextOfAnother(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Limits.PerUser = 2 })
	b.busy()
	for range 20 {
		b.accept("")
	}
	p := press("")
	p.Principal = "ben"
	_, _, err := b.book.Accept(t.Context(), p)
	require.NoError(t, err)
	p.Class = flow.Background
	p.Principal = "carl"
	_, _, err = b.book.Accept(t.Context(), p)
	require.NoError(t, err)
	order := b.texts(`select principal from work order by class, order_at`)
	require.Equal(t, "dev", order[0])
	require.Equal(t, "ben", order[slices.Index(order, "ben")])
	require.Less(t, slices.Index(order, "ben"), 5, "the others of dev stand half a second apart")
	require.Equal(t, "carl", order[21])
}

// Room is kept for somebody who is ahead of those that wait: they have one small batch
// while he comes again, and all of it when he has gone.
func TestWhoIsAheadOfAQueueIsNotHeldUpByIt(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Limits.PerUser = 2 })
	b.wait(90)
	b.exec(`update work set order_at = now() + interval '1 minute'`) // one user's, far beyond the share
	first := press("another")
	first.Principal = "somebody else"
	_, start, err := b.book.Accept(t.Context(), first)
	require.NoError(t, err)
	require.NotZero(t, start, "nobody who waits stands before it")

	size := 0
	for _, s := range b.claim() {
		size += s.Size
	}
	require.LessOrEqual(t, size, 8, "the others yield")

	b.exec(`update batch set claimed_at = claimed_at - interval '10 seconds', settled_at = now() - interval '5 seconds'`)
	size = 0
	for _, s := range b.claim() {
		size += s.Size
	}
	require.Greater(t, size, 64, "nobody else is there any more")
}
