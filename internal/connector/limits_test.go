package connector

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/fault"
)

// gate is a system whose requests arrive one by one and are let go by the test;
// those below /hangs stay until their caller gives up.
type gate struct {
	arrived chan string   // path and query of each request, as it comes
	release chan struct{} // one receive lets one request go
	answer  func(w http.ResponseWriter)
}

func newGate(t *testing.T, adjust ...func(*Config, *Deps)) (*gate, *Transport) {
	g := &gate{arrived: make(chan string, 100), release: make(chan struct{}), answer: func(http.ResponseWriter) {}}
	_, at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		g.arrived <- r.URL.Path
		release := g.release
		if strings.HasPrefix(r.URL.Path, "/base/hangs") {
			release = nil
		}
		select {
		case <-release:
			g.answer(w)
		case <-r.Context().Done():
		}
	})
	return g, newTestTransport(t, Vendor{}, append([]func(*Config, *Deps){at}, adjust...)...)
}

func atATime(n int) func(*Config, *Deps) {
	return func(c *Config, _ *Deps) { c.Limits.Concurrent = n }
}

func get(ctx context.Context, t *Transport, target string) error {
	_, err := t.Do(ctx, Request{Method: http.MethodGet, Target: target}, nil)
	return err
}

// begin starts a read and returns where its end is told.
func begin(ctx context.Context, t *Transport, target string) <-chan error {
	done := make(chan error, 1)
	go func() { done <- get(ctx, t, target) }()
	return done
}

func (s *slots) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queues[0].Len() + s.queues[1].Len()
}

func requireQueue(t *testing.T, transport *Transport, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return transport.limits.slots.waiting() == n }, time.Minute, time.Millisecond)
}

func TestACallerWhoseTimeEndsInTheQueueIsToldThatWeAreBusyAndWhenToComeAgain(t *testing.T) {
	t.Parallel()
	g, transport := newGate(t, atATime(1))
	first := begin(t.Context(), transport, "/first")
	<-g.arrived
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	f := fault.Of(get(ctx, transport, "/second"))
	require.Equal(t, "connector.busy", f.Code)
	require.Equal(t, fault.Throttled, f.Class, "our own queue is no missing answer of the system")
	require.Positive(t, f.After)
	require.NoError(t, ctx.Err(), "the caller has time left to act on it")
	require.Empty(t, g.arrived, "nothing was sent")

	cancelled, stop := context.WithCancel(t.Context())
	second := begin(cancelled, transport, "/third")
	requireQueue(t, transport, 1)
	stop()
	require.ErrorIs(t, <-second, context.Canceled)
	requireQueue(t, transport, 0)
	g.release <- struct{}{}
	require.NoError(t, <-first)
}

func TestSlotsAreGivenInTheOrderInWhichTheyWereAskedFor(t *testing.T) {
	t.Parallel()
	g, transport := newGate(t, atATime(1))
	ends := []<-chan error{begin(t.Context(), transport, "/0")}
	require.Equal(t, "/base/0", <-g.arrived)
	for i := 1; i < 6; i++ {
		ends = append(ends, begin(t.Context(), transport, fmt.Sprintf("/%d", i)))
		requireQueue(t, transport, i)
	}
	for i, end := range ends {
		g.release <- struct{}{}
		require.NoError(t, <-end)
		if i+1 < len(ends) {
			require.Equal(t, fmt.Sprintf("/base/%d", i+1), <-g.arrived)
		}
	}
}

func TestRequestsThatMayHangForLongNeverHoldAllSlots(t *testing.T) {
	t.Parallel()
	g, transport := newGate(t, atATime(8))
	var ends []<-chan error
	hanging, stop := context.WithCancel(t.Context())
	for i := range 20 {
		ends = append(ends, begin(hanging, transport, fmt.Sprintf("/hangs/%d", i)))
	}
	for range 6 {
		require.Contains(t, <-g.arrived, "/hangs/")
	}
	requireQueue(t, transport, 14)
	require.Empty(t, g.arrived)
	hurried, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	item := begin(hurried, transport, "/item")
	require.Equal(t, "/base/item", <-g.arrived)
	stop() // their callers give up, and with them go their slots
	for _, end := range ends {
		require.ErrorIs(t, <-end, context.Canceled)
	}
	g.release <- struct{}{}
	require.NoError(t, <-item)
	require.Zero(t, transport.limits.slots.held.Len())
}

func TestAThrottlingTellsAllWhoWaitAtOnce(t *testing.T) {
	t.Parallel()
	for name, adjust := range map[string]func(*Config, *Deps){
		"for a slot":   atATime(1),
		"for the rate": func(c *Config, _ *Deps) { c.Limits.PerSecond, c.Limits.Burst = 0.001, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, transport := newGate(t, adjust)
			g.answer = func(w http.ResponseWriter) {
				w.Header().Set("Retry-After", "30")
				w.WriteHeader(http.StatusTooManyRequests)
			}
			first := begin(t.Context(), transport, "/first")
			<-g.arrived
			var ends []<-chan error
			for range 3 {
				ends = append(ends, begin(t.Context(), transport, "/next"))
			}
			require.Eventually(t, func() bool { return transport.limits.slots.waiting() == 3 || len(transport.limits.slots.all()) == 4 }, time.Minute, time.Millisecond)
			g.release <- struct{}{}
			require.Equal(t, "acme.throttled", fault.Of(<-first).Code)
			for _, end := range ends {
				f := fault.Of(<-end)
				require.Equal(t, "connector.silent", f.Code)
				require.InDelta(t, 30, f.After.Seconds(), 5)
			}
			require.Empty(t, g.arrived)
		})
	}
}

// all is every slot that is held.
func (s *slots) all() []*slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*slot
	for e := s.held.Front(); e != nil; e = e.Next() {
		list = append(list, e.Value.(*slot))
	}
	return list
}

func TestWhoWouldWaitTooLongIsToldAtOnceAndWhoWouldNotWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(Config{Name: "c", Limits: Limits{Concurrent: 2}}, time.Now)
		r := &Request{Target: "/"}
		within := func(d time.Duration) (pass, error) {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			return l.enter(ctx, r)
		}
		use := func(d time.Duration) {
			if p, err := within(time.Minute); err == nil {
				<-time.After(d)
				l.leave(p, r, succeeded, nil)
			}
		}
		use(100 * time.Millisecond) // what a request usually takes
		var users sync.WaitGroup
		for range 40 {
			users.Go(func() { use(100 * time.Millisecond) })
		}
		synctest.Wait()
		begun := time.Now()
		_, err := within(time.Second) // 39 before it, two at a time: about two seconds
		f := fault.Of(err)
		require.Equal(t, "connector.busy", f.Code)
		require.Zero(t, time.Since(begun), "it was told at once")
		require.InDelta(t, 2, f.After.Seconds(), 0.2)
		p, err := within(2900 * time.Millisecond)
		require.NoError(t, err)
		l.leave(p, r, succeeded, nil)
		users.Wait()

		// One request that hangs does not make the others look slow.
		users.Go(func() { use(20 * time.Second) })
		synctest.Wait()
		<-time.After(10 * time.Second)
		for range 5 {
			users.Go(func() { use(100 * time.Millisecond) })
		}
		synctest.Wait()
		p, err = within(2 * time.Second)
		require.NoError(t, err)
		l.leave(p, r, succeeded, nil)
		users.Wait()
	})
}

func TestASlotThatComesTooLateForAnAnswerIsNotTaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(Config{Name: "c", Limits: Limits{Concurrent: 1}}, time.Now)
		r := &Request{Target: "/"}
		hold := func(d time.Duration) {
			p, err := l.enter(t.Context(), r)
			require.NoError(t, err)
			<-time.After(d)
			l.leave(p, r, succeeded, nil)
		}
		hold(200 * time.Millisecond)
		var holder sync.WaitGroup
		holder.Go(func() { hold(1900 * time.Millisecond) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := l.enter(ctx, r)
		require.Equal(t, "connector.busy", fault.Of(err).Code)
		require.NoError(t, ctx.Err())
		holder.Wait()
	})
}

// Whatever the callers do: never more than the slots there are, the kept ones
// only for those in a hurry, nobody overtaken by one of the same kind, no slot
// lost, and nobody waits while there is room.
func TestSlotsHoldTheirRulesWhateverTheCallersDo(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := newSlots(rapid.IntRange(1, 9).Draw(t, "size"))
		var held []*slot
		var waiting []*waiter
		collect := func() {
			open := waiting[:0]
			blocked := [2]bool{}
			for _, w := range waiting {
				select {
				case x := <-w.given:
					if blocked[queue(w.patient)] {
						t.Fatal("one was overtaken by a later one of its kind")
					}
					held = append(held, x)
				default:
					blocked[queue(w.patient)] = true
					open = append(open, w)
				}
			}
			waiting = open
		}
		t.Repeat(map[string]func(*rapid.T){
			"ask": func(t *rapid.T) {
				x, w, _ := s.ask(rapid.Bool().Draw(t, "patient"), time.Now())
				if x != nil {
					held = append(held, x)
				} else {
					waiting = append(waiting, w)
				}
			},
			"leave": func(t *rapid.T) {
				if len(held) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(held)-1).Draw(t, "i")
				s.leave(held[i])
				held = append(held[:i], held[i+1:]...)
				collect()
			},
			"give up": func(t *rapid.T) {
				if len(waiting) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(waiting)-1).Draw(t, "i")
				s.giveUp(waiting[i])
				waiting = append(waiting[:i], waiting[i+1:]...)
				collect()
			},
			"": func(t *rapid.T) {
				patient := 0
				for _, x := range held {
					if x.patient {
						patient++
					}
				}
				if len(held) > s.size || patient > s.size-s.kept || len(held) != s.held.Len() || len(waiting) != s.waiting() {
					t.Fatalf("%d held, %d of them patient, %d known; %d waiting, %d known", len(held), patient, s.held.Len(), len(waiting), s.waiting())
				}
				for _, w := range waiting {
					if s.room(w.patient) {
						t.Fatal("one waits while there is room")
					}
				}
			},
		})
	})
}

func TestAHangingRequestLeavesItsSlotWhenItsCallerGivesUp(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	_, at := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if calls.Add(1) <= 16 {
			<-r.Context().Done()
		}
	})
	transport := newTestTransport(t, Vendor{}, at, atATime(16))
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var hanging sync.WaitGroup
	for i := range 16 {
		hanging.Go(func() {
			if err := get(short, transport, fmt.Sprintf("/hangs/%d", i)); err == nil {
				t.Error("it hangs")
			}
		})
	}
	require.Eventually(t, func() bool { return calls.Load() == 16 }, time.Minute, time.Millisecond)
	behind, stop := context.WithTimeout(t.Context(), 3*time.Second)
	defer stop()
	require.NoError(t, get(behind, transport, "/behind"), "one behind sixteen that hang is served when they are given up")
	hanging.Wait()
}
