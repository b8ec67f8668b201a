package stop

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store/storetest"
)

// processes are so many Stops of one database, at work, and how often each was told that
// something is over.
func processes(t *testing.T, n int, o Options) (all []*Stops, ended []chan struct{}) {
	t.Helper()
	db := storetest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	t.Cleanup(func() { cancel(); working.Wait() })
	for range n {
		s, over := New(db, o), make(chan struct{}, 1)
		working.Go(func() {
			_ = s.Run(ctx, func() {
				select {
				case over <- struct{}{}:
				default:
				}
			})
		})
		all, ended = append(all, s), append(ended, over)
	}
	return all, ended
}

func rest(d time.Duration) Rest {
	now := time.Now()
	return Rest{Since: now.Add(-time.Second), Until: now.Add(d), Times: 1, Why: "sap failed on its side (503)"}
}

// soon waits for what another process has to hear of first.
func soon(t *testing.T, is func() bool) {
	t.Helper()
	require.Eventually(t, is, time.Minute, 20*time.Millisecond)
}

func TestARestIsKnownToAllProcessesUntilOneIsAnswered(t *testing.T) {
	t.Parallel()
	all, ended := processes(t, 2, Options{})
	a, b := all[0], all[1]
	a.Resting("sap", rest(time.Minute))
	stop, over := a.Of("orders", []string{"oracle", "sap"})
	require.NotNil(t, stop, "whoever found it knows it at once")
	require.False(t, over)
	soon(t, func() bool { r, _ := b.Rested("sap"); return !r.Until.IsZero() })
	r, held := b.Rested("sap")
	require.Empty(t, held)
	require.Equal(t, "sap failed on its side (503)", r.Why)
	require.Equal(t, 1, r.Times)
	require.InDelta(t, 60, time.Until(r.Until).Seconds(), 30)
	n, err := b.Allow(t.Context(), "orders", []string{"sap"})
	require.NoError(t, err)
	require.Zero(t, n)
	n, err = b.Allow(t.Context(), "orders", []string{"oracle"})
	require.NoError(t, err)
	require.Negative(t, n, "what others need is nobody's business")

	b.Resting("sap", Rest{})
	<-ended[1]
	soon(t, func() bool { stop, _ := a.Of("orders", []string{"sap"}); return stop == nil })
	<-ended[0]
	list, err := a.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestWhenARestIsOverOneStartTriesAtATimeOfAllProcesses(t *testing.T) {
	t.Parallel()
	all, _ := processes(t, 3, Options{Speed: 20}) // half a second for a trial
	all[0].Resting("sap", rest(0))
	for _, s := range all {
		soon(t, func() bool { _, over := s.Of("orders", []string{"sap"}); return over })
	}
	allowed := func() (n int) {
		var mu sync.Mutex
		var asking sync.WaitGroup
		for _, s := range all {
			for range 4 {
				asking.Go(func() {
					got, err := s.Allow(t.Context(), "orders", []string{"sap"})
					mu.Lock()
					defer mu.Unlock()
					if n += got; err != nil {
						t.Error(err)
					}
				})
			}
		}
		asking.Wait()
		return n
	}
	soon(t, func() bool { n := allowed(); require.LessOrEqual(t, n, 1); return n == 1 })
	soon(t, func() bool { return allowed() > 0 }) // whoever tried is gone without a word
}

func TestOfTwoConnectionsThatAreNeededNeitherIsTriedWhileTheOtherRests(t *testing.T) {
	t.Parallel()
	all, _ := processes(t, 1, Options{})
	s := all[0]
	s.Resting("sap", rest(0))
	s.Resting("oracle", rest(time.Minute))
	soon(t, func() bool { list, err := s.List(t.Context()); return err == nil && len(list) == 2 })
	n, err := s.Allow(t.Context(), "both", []string{"oracle", "sap"})
	require.NoError(t, err)
	require.Zero(t, n)
	n, err = s.Allow(t.Context(), "orders", []string{"sap"})
	require.NoError(t, err)
	require.Equal(t, 1, n, "nobody has taken that right")
}

func TestAPersonHoldsAFlowOrAConnectionAndLetsGo(t *testing.T) {
	t.Parallel()
	all, ended := processes(t, 2, Options{})
	a, b := all[0], all[1]
	require.NoError(t, a.Hold(t.Context(), flow.StopConnection, "sap", "anna", "moves tonight"))
	require.NoError(t, a.Hold(t.Context(), flow.StopConnection, "sap", "ben", "moves tomorrow"))
	require.NoError(t, a.Hold(t.Context(), flow.StopFlow, "orders", "anna", "wrong prices"))
	soon(t, func() bool { _, held := b.Rested("sap"); return held == "moves tomorrow (ben)" })
	stop, over := b.Of("other", []string{"sap"})
	require.False(t, over)
	require.Equal(t, "waiting for sap: held by ben: moves tomorrow", stop.Obstacle())
	soon(t, func() bool { stop, _ := b.Of("orders", nil); return stop != nil })
	stop, _ = b.Of("orders", nil)
	require.Equal(t, "held by anna: wrong prices", stop.Obstacle())

	// The rest of a connection is another thing than its hold.
	b.Resting("sap", rest(time.Minute))
	b.Resting("sap", Rest{})
	n, err := b.Allow(t.Context(), "other", []string{"sap"})
	require.NoError(t, err)
	require.Zero(t, n)

	require.NoError(t, b.Resume(t.Context(), flow.StopConnection, "sap"))
	n, err = b.Allow(t.Context(), "other", []string{"sap"})
	require.NoError(t, err)
	require.Negative(t, n)
	<-ended[0]
	require.NoError(t, b.Resume(t.Context(), flow.StopFlow, "orders"))
	f := fault.Of(b.Resume(t.Context(), flow.StopFlow, "orders"))
	require.Equal(t, fault.NotFound, f.Class)
	require.Equal(t, "stop.not_held", f.Code)
}
