package run_test

import (
	"crypto/rand"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/run"
)

// lapse lets the lease of a row end, as time does.
func (b *bundle) lapse(runID string) {
	b.Helper()
	b.exec(`update batch set lease_until = now() - interval '1 second' where batch_id = (select batch_id from work where run_id = $1)`, runID)
}

func (b *bundle) due() []run.Start {
	b.Helper()
	due, err := b.book.Due(b.Context(), 10)
	require.NoError(b, err)
	return due
}

func TestRelayResendsTheSameBatchAfterACrashBetweenClaimAndStart(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, s := b.accept("k1") // and the process dies before it starts anything
	b.lapse(s.BatchID)

	require.Equal(t, []run.Start{s}, b.due(), "the same batch, so the same workflow ID")
	require.Empty(t, b.due(), "a claim holds for its lease")
	b.lapse(s.BatchID)
	require.Equal(t, []run.Start{s}, b.due(), "and again, until it is marked")

	require.NoError(t, b.book.Relayed(t.Context(), s.BatchID))
	b.lapse(s.BatchID)
	require.Empty(t, b.due())
}

func TestARunThatBeganIsNotDueEvenIfItsMarkWasLost(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, s := b.accept("k1")
	b.begin(s.BatchID, "reading")
	b.lapse(s.BatchID)
	require.Empty(t, b.due())
}

func TestAnOutageDoesNotUseUpTheDeadline(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r, s := b.accept("k1")
	b.exec(`update work set accepted_at = now() - interval '1 hour', deadline_at = now() - interval '59 minutes' where run_id = $1`, r.RunID)
	b.lapse(s.BatchID)
	require.Len(t, b.due(), 1)
	require.WithinDuration(t, time.Now().Add(30*time.Second), b.get(r.RunID).DeadlineAt, 5*time.Second)
}

// Whoever has a run in hands when its time is over, and what has been kept of it,
// decides whether it goes on.
func TestARunThatAnOutageCostItsTimeGoesOn(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	over := func() (flow.Run, run.Start, run.Item) {
		r, s := b.accept(rand.Text())
		require.NotEmpty(t, s.BatchID)
		item := b.begin(s.BatchID, "reading")
		b.exec(`update work set deadline_at = now() - interval '1 second' where run_id = $1`, r.RunID)
		b.exec(`update batch set claimed_at = now() - interval '1 minute' where batch_id = $1`, s.BatchID)
		return r, s, item
	}
	goesOn := func(s run.Start, reading, late bool) bool {
		on, err := b.book.GoOn(t.Context(), s.BatchID, reading, late)
		require.NoError(t, err)
		return on
	}
	whole := func(r flow.Run) {
		t.Helper()
		require.WithinDuration(t, time.Now().Add(30*time.Second), b.get(r.RunID).DeadlineAt, 5*time.Second)
	}

	r, s, _ := over()
	require.False(t, goesOn(s, true, false), "it had its time")
	require.True(t, goesOn(s, true, true), "its workflow was told too late")
	whole(r)

	r, s, _ = over()
	require.NoError(t, b.book.Extend(t.Context()))
	require.True(t, goesOn(s, true, false))
	whole(r)

	_, s, item := over()
	require.NoError(t, b.book.Answer(t.Context(), item, answer(2), "", true, false))
	require.True(t, goesOn(s, true, false), "it was answered, and nobody heard of it")
	require.False(t, goesOn(s, false, true), "its write has failed for good")

	r, s, _ = over()
	_, err := b.book.Seal(t.Context(), r.RunID, "test")
	require.NoError(t, err)
	require.False(t, goesOn(s, true, true), "it is cancelled")
}

// What has no time left is not claimed: between the claim of a batch and its first
// moment in somebody's hands lay an outage.
func TestABatchThatIsTakenLateHasItsWholeTime(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s, _ := b.one(2)
	b.exec(`update work set deadline_at = now() - interval '1 second' where batch_id = $1`, s.BatchID)
	for _, item := range b.take(s, "reading") {
		require.WithinDuration(t, time.Now().Add(30*time.Second), item.DeadlineAt, 5*time.Second)
	}
	_, alone := b.accept("alone")
	b.exec(`update work set deadline_at = now() - interval '1 second' where batch_id = $1`, alone.BatchID)
	require.Negative(t, time.Until(b.begin(alone.BatchID, "reading").DeadlineAt), "it may have been carried before")
}

func TestSeveralRelaysShareTheDueRows(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	const n = 30
	for range n {
		r, _ := b.accept("")
		b.lapse(r.RunID)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	seen := map[string]int{}
	for range 4 {
		wg.Go(func() {
			for range n {
				due, err := b.book.Due(b.Context(), 3)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, s := range due {
					seen[s.BatchID]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.Len(t, seen, n)
	for id, times := range seen {
		require.Equal(t, 1, times, id)
	}
}

func TestABatchWhoseStartFailedIsDueAfterItsWaitAndNotAfterItsLease(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, s := b.accept("k1")
	require.NoError(t, b.book.Lapse(t.Context(), s.BatchID, 0))
	require.Equal(t, []run.Start{s}, b.due())
	require.NoError(t, b.book.Lapse(t.Context(), s.BatchID, time.Hour))
	require.Empty(t, b.due(), "it never lengthens a lease")
	b.lapse(s.BatchID)
	require.Len(t, b.due(), 1)
}

func TestPressesThatAKilledProcessLeftAreDueAtOnceWhenItAloneIsBack(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, left := b.accept("k1")
	_, begun := b.accept("k2")
	b.begin(begun.BatchID, "reading")
	require.Empty(t, b.due(), "among others the lease holds: one of them may be starting it")

	b.book = run.NewBook(b.store, b.plans, run.Options{Solo: true})
	require.Equal(t, []run.Start{left}, b.due(), "a process that is alone holds no lease when it begins")
	_, own := b.accept("k3")
	require.Empty(t, b.due(), "its own leases hold")
	b.lapse(own.BatchID)
	require.Len(t, b.due(), 1)
}

func TestOpenTurnsThePagesOfWhatTemporalHasHadForLong(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	open := func(after string, limit int) []run.Handed {
		page, err := b.book.Open(b.Context(), time.Minute, after, limit)
		require.NoError(t, err)
		return page
	}
	b.accept("never relayed")
	_, fresh := b.accept("just now")
	require.NoError(t, b.book.Relayed(t.Context(), fresh.BatchID))
	_, done := b.accept("closed")
	want := map[string]bool{}
	for range 3 {
		_, s := b.accept("")
		want[s.WorkflowID()] = true
	}
	b.exec(`update batch set relayed_at = now() - interval '2 minutes' where batch_id <> $1 and claimed_at >= (select claimed_at from batch where batch_id = $2)`, fresh.BatchID, done.BatchID)
	_, err := b.book.Close(t.Context(), done.BatchID, nil)
	require.NoError(t, err)

	first := open("", 2)
	require.Len(t, first, 2)
	rest := open(first[1].BatchID, 2)
	require.Len(t, rest, 1)
	require.Empty(t, open(rest[0].BatchID, 2))
	for _, h := range append(first, rest...) {
		require.True(t, want[h.WorkflowID], h)
		require.Equal(t, h.BatchID, run.BatchOf(h.WorkflowID))
		delete(want, h.WorkflowID)
	}
	require.Empty(t, want)
}

func TestStatsCountWhatWaits(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	empty, err := b.book.Stats(t.Context())
	require.NoError(t, err)
	require.Zero(t, empty)

	waiting, _ := b.accept("k1")
	b.exec(`update work set accepted_at = now() - interval '1 minute' where run_id = $1`, waiting.RunID)
	_, running := b.accept("k2")
	b.begin(running.BatchID, "reading")
	_, done := b.accept("k3")
	_, err = b.book.Close(t.Context(), done.BatchID, nil)
	require.NoError(t, err)

	s, err := b.book.Stats(t.Context())
	require.NoError(t, err)
	require.InDelta(t, time.Minute, s.OldestDue, float64(10*time.Second))
	s.OldestDue = 0
	require.Equal(t, run.Stats{Due: 1, OpenRuns: 2, OpenBatches: 1}, s)

	_, back := b.accept("k4")
	_, later := b.accept("k5")
	held := b.begin(later.BatchID, "reading")
	require.NoError(t, b.book.PutBack(t.Context(), b.begin(back.BatchID, "reading"), away))
	require.NoError(t, b.book.PutBack(t.Context(), held, fault.ThrottledFor(time.Hour, "x.quota", "patience", nil)))
	s, err = b.book.Stats(t.Context())
	require.NoError(t, err)
	s.OldestDue = 0
	require.Equal(t, run.Stats{Due: 2, OpenRuns: 4, OpenBatches: 1, Retried: 1}, s, "one waits to be claimed, one is not due")
}

func TestListPagesThroughAllRunsOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	var want []string
	for range 7 {
		r, _ := b.accept("")
		want = append([]string{r.RunID}, want...)
	}
	// Rows of one instant must not fall between two pages.
	b.exec(`update work set accepted_at = (select min(accepted_at) from work)`)
	got := map[string]bool{}
	filter := flow.RunFilter{Flow: "product-specs", Limit: 3, Principal: "dev", Status: flow.Accepted}
	for pages := 1; ; pages++ {
		runs, next, err := b.book.List(t.Context(), filter)
		require.NoError(t, err)
		for _, r := range runs {
			require.False(t, got[r.RunID], "a run came twice")
			got[r.RunID] = true
		}
		if filter.Before = next; next == "" {
			require.Equal(t, 3, pages)
			break
		}
	}
	require.Len(t, got, len(want))

	none, next, err := b.book.List(t.Context(), flow.RunFilter{Principal: "key:other"})
	require.NoError(t, err)
	require.Empty(t, none)
	require.Empty(t, next)
	_, _, err = b.book.List(t.Context(), flow.RunFilter{Before: "nonsense"})
	requireFault(t, err, "invalid", "runs.cursor")
}
