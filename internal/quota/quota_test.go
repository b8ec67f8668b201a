package quota

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
)

// vendor is a provider that counts exactly and at once.
type vendor struct {
	mu       sync.Mutex
	most     int
	per      time.Duration
	came     []time.Time
	open     int
	places   int
	refused  int
	together int // the most that were open at a time
}

func (v *vendor) enter() {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	n := 0
	for _, at := range v.came {
		if now.Sub(at) < v.per {
			n++
		}
	}
	v.came = append(v.came, now)
	v.open++
	v.together = max(v.together, v.open)
	if n >= v.most || v.places > 0 && v.open > v.places {
		v.refused++
	}
}

func (v *vendor) leave() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.open--
}

func (v *vendor) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.came)
}

func open(t *testing.T, url string, o Options) *Quotas {
	t.Helper()
	s, err := store.Open(t.Context(), url, store.Options{MaxConns: 4, Application: "test"})
	require.NoError(t, err)
	q := New(s, o)
	t.Cleanup(func() { q.Close(context.Background()); s.Close() })
	return q
}

func TestProcessesThatShareADatabaseNeverExceedTogetherAndUseNearlyAll(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	c := flow.Connection{Name: "crm", Quotas: []flow.Quota{{Kind: flow.QuotaRequests, Most: 300, Per: time.Minute},
		{Kind: flow.QuotaConcurrent, Most: 12}}}
	const speed = 40 // 300 in 1.5 s
	v := &vendor{most: 300, per: 1500 * time.Millisecond, places: 12}
	var parts sync.WaitGroup
	var throttled atomic.Int64
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	begun := time.Now()
	for range 3 {
		q := open(t, url, Options{Speed: speed})
		m := q.Meter(c)
		for range 8 {
			parts.Go(func() {
				for ctx.Err() == nil {
					leave, err := m.Enter(ctx, Use{})
					if err != nil {
						if f := fault.Of(err); f.Class == fault.Throttled {
							throttled.Add(1)
							wait(ctx, f.After)
						}
						continue
					}
					v.enter()
					wait(ctx, time.Millisecond)
					v.leave()
					leave(time.Millisecond)
				}
			})
		}
	}
	parts.Wait()
	require.Zero(t, v.refused)
	require.LessOrEqual(t, v.together, 12)
	stated := 300 * time.Since(begun).Seconds() / 1.5
	require.Greater(t, float64(v.count()), 0.75*stated, "and what is stated is used; throttled %d times", throttled.Load())
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// The provider may count a request when it answers, and that may be longer than a window
// after it left.
func TestARequestThatTakesLongerThanItsWindowIsChargedUntilItEnds(t *testing.T) {
	t.Parallel()
	c := flow.Connection{Name: "mail", Quotas: []flow.Quota{{Kind: flow.QuotaMessages, Most: 1, Per: time.Minute}}}
	const per = 500 * time.Millisecond
	m := open(t, storetest.URL(t), Options{Speed: float64(time.Minute / per)}).Meter(c)
	leave, err := m.Enter(t.Context(), Use{Messages: 1})
	require.NoError(t, err)
	enters := func(within time.Duration) func() bool {
		return func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			done, err := m.Enter(ctx, Use{Messages: 1})
			if err == nil {
				done(0)
			}
			return err == nil
		}
	}
	require.Never(t, enters(20*time.Millisecond), 4*per, 10*time.Millisecond, "it is under way, and may be counted any time")
	leave(4 * per)
	ended := time.Now()
	require.Eventually(t, enters(per), time.Minute, 10*time.Millisecond)
	require.Greater(t, time.Since(ended), per, "it counts from its end")
}

func TestPlacesOfAProcessThatWasKilledAreGivenBackWhenItsLeaseLapses(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	c := flow.Connection{Name: "crm", Quotas: []flow.Quota{{Kind: flow.QuotaConcurrent, Most: 2}}}
	killed := New(storetest.Open(t, url), Options{Lease: time.Second})
	m := killed.Meter(c)
	for range 2 {
		_, err := m.Enter(t.Context(), Use{})
		require.NoError(t, err)
	}
	other := open(t, url, Options{Lease: time.Second}).Meter(c)
	short, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	_, err := other.Enter(short, Use{})
	require.True(t, fault.Is(err, fault.Throttled), "%v", err)
	require.Positive(t, fault.Of(err).After)

	m.mu.Lock() // it renews nothing any more
	m.closed = true
	m.renew.Stop()
	m.mu.Unlock()
	require.Eventually(t, func() bool {
		leave, err := other.Enter(t.Context(), Use{})
		if err == nil {
			leave(time.Millisecond)
		}
		return err == nil
	}, time.Minute, 20*time.Millisecond)
}

func TestARetryAfterIsKeptByAllProcesses(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	c := flow.Connection{Name: "crm", Quotas: []flow.Quota{{Kind: flow.QuotaRequests, Most: 1000, Per: time.Minute}}}
	a, b := open(t, url, Options{}).Meter(c), open(t, url, Options{}).Meter(c)
	for _, m := range []*Meter{a, b} {
		leave, err := m.Enter(t.Context(), Use{})
		require.NoError(t, err)
		leave(time.Millisecond)
	}
	a.Silence(6 * time.Second)
	_, err := a.Enter(t.Context(), Use{})
	require.Equal(t, "quota.used_up", fault.Of(err).Code, "%v", err)
	require.Eventually(t, func() bool {
		leave, err := b.Enter(t.Context(), Use{})
		if err == nil {
			leave(0)
			return false
		}
		after := fault.Of(err).After
		return fault.Is(err, fault.Throttled) && after > time.Second && after <= 6*time.Second
	}, 4*time.Second, 10*time.Millisecond, "at the latest when what was taken ahead is over")
	require.Eventually(t, func() bool {
		leave, err := b.Enter(t.Context(), Use{})
		if err == nil {
			leave(time.Millisecond)
		}
		return err == nil
	}, time.Minute, 20*time.Millisecond)
}

func TestWhatIsTakenAheadAndNotUsedIsGivenBack(t *testing.T) {
	t.Parallel()
	q := open(t, storetest.URL(t), Options{})
	c := flow.Connection{Name: "crm", Quotas: []flow.Quota{{Kind: flow.QuotaRequests, Most: 1000, Per: time.Minute}}}
	m := q.Meter(c)
	sent := 0
	for end := time.Now().Add(600 * time.Millisecond); time.Now().Before(end); wait(t.Context(), 2*time.Millisecond) {
		for _, took := range []time.Duration{time.Millisecond, 0} {
			leave, err := m.Enter(t.Context(), Use{})
			require.NoError(t, err)
			leave(took)
		}
		sent++
	}
	require.Eventually(t, func() bool {
		look, err := q.Look(t.Context(), c)
		require.NoError(t, err)
		return look.Room(0, 2000) == 1000-sent
	}, time.Minute, 20*time.Millisecond, "all but the %d that were sent", sent)
}

func TestARequestDoesNotCostARoundTripEach(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	q := New(s, Options{})
	t.Cleanup(func() { q.Close(context.Background()) })
	m := q.Meter(flow.Connection{Name: "crm", Quotas: []flow.Quota{{Kind: flow.QuotaRequests, Most: 1_000_000, Per: time.Minute}}})
	sent := 0
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); sent++ {
		leave, err := m.Enter(t.Context(), Use{})
		require.NoError(t, err)
		leave(time.Millisecond)
		wait(t.Context(), 500*time.Microsecond)
	}
	var changes int
	require.Eventually(t, func() bool {
		require.NoError(t, s.Pool().QueryRow(t.Context(), `select coalesce(sum(n_tup_upd), 0) from pg_stat_user_tables where relname = 'quota'`).Scan(&changes))
		return changes > 0
	}, time.Minute, 100*time.Millisecond)
	require.Less(t, changes*5, sent, "%d transactions for %d requests", changes, sent)
}

func TestACallerThatGivesUpTakesNothing(t *testing.T) {
	t.Parallel()
	q := open(t, storetest.URL(t), Options{})
	m := q.Meter(flow.Connection{Name: "mail", Quotas: []flow.Quota{{Kind: flow.QuotaMessages, Most: 1, Per: time.Minute}}})
	leave, err := m.Enter(t.Context(), Use{Messages: 1})
	require.NoError(t, err)
	leave(time.Millisecond)
	_, err = m.Enter(t.Context(), Use{Messages: 1})
	f := fault.Of(err)
	require.Equal(t, "quota.used_up", f.Code)
	require.InDelta(t, 61, f.After.Seconds(), 3, "it says when to come again")
	leave, err = m.Enter(t.Context(), Use{})
	require.NoError(t, err, "what is no message is not held up")
	leave(0)
	_, err = m.Enter(t.Context(), Use{Messages: 2})
	require.Equal(t, "quota.too_large", fault.Of(err).Code)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = m.Enter(gone, Use{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestADatabaseThatIsAwayIsAWaitAndNoFailure(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	q := New(s, Options{})
	m := q.Meter(flow.Connection{Name: "crm", Quotas: []flow.Quota{{Kind: flow.QuotaRequests, Most: 10, Per: time.Minute}}})
	s.Close()
	_, err := m.Enter(t.Context(), Use{})
	require.Equal(t, "quota.unknown", fault.Of(err).Code, "%v", err)
	require.Equal(t, fault.Throttled, fault.Of(err).Class)
	q.Close(t.Context())
}
