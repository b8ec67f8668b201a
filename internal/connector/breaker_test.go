package connector

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
)

// fragile is a system that can be made ill, behind a connection whose clock the
// test moves.
type fragile struct {
	transport *Transport
	calls     atomic.Int64
	skew      atomic.Int64
	serve     atomic.Pointer[http.HandlerFunc]
	rests     atomic.Value // what the watcher was told last
	others    atomic.Pointer[Rest]
	number    int
}

func newFragile(t *testing.T, adjust ...func(*Config, *Deps)) *fragile {
	p := &fragile{}
	p.rests.Store("")
	p.does(func(http.ResponseWriter, *http.Request) {})
	_, at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		p.calls.Add(1)
		(*p.serve.Load())(w, r)
	})
	clock := func(_ *Config, d *Deps) {
		d.Now = func() time.Time { return time.Now().Add(time.Duration(p.skew.Load())) }
		d.Resting = func(name string, r Rest) { p.rests.Store(fmt.Sprint(name, " ", !r.Until.IsZero())) }
		d.Rested = func(string) Rest {
			if r := p.others.Load(); r != nil {
				return *r
			}
			return Rest{}
		}
	}
	p.transport = newTestTransport(t, Vendor{}, append([]func(*Config, *Deps){at, clock}, adjust...)...)
	return p
}

func (p *fragile) does(h http.HandlerFunc) { p.serve.Store(&h) }

func (p *fragile) later(d time.Duration) { p.skew.Add(int64(d)) }

// next sends a request that was not sent before.
func (p *fragile) next(ctx context.Context) error {
	p.number++
	return get(ctx, p.transport, fmt.Sprintf("/items/%d", p.number))
}

func (p *fragile) resting(t *testing.T) bool {
	t.Helper()
	before := p.calls.Load()
	f := fault.Of(p.next(t.Context()))
	if f == nil || f.Code != "connector.resting" {
		return false
	}
	require.Equal(t, before, p.calls.Load(), "nothing is sent to a connection at rest")
	return true
}

func away(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }

func cutOff(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	_ = conn.Close()
}

func status(status int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
	}
}

func TestASystemThatAnswersNothingIsLeftToRestAndTriedByOneRequest(t *testing.T) {
	t.Parallel()
	p := newFragile(t)
	p.does(away)
	for range tripAfter {
		require.Equal(t, "acme.server_error", fault.Of(p.next(t.Context())).Code, "a failure before the rest is told as what it is")
	}
	f := fault.Of(p.next(t.Context()))
	require.Equal(t, "connector.resting", f.Code)
	require.Equal(t, fault.Unavailable, f.Class)
	require.Positive(t, f.After)
	require.LessOrEqual(t, f.After, firstRest)
	require.Regexp(t, `^plant-7 has answered nothing since \d\d:\d\d:\d\d UTC, so it is left alone for a while; the last failure: plant-7 failed on its side \(500\)$`, f.Text)
	require.EqualValues(t, tripAfter, p.calls.Load())
	require.Equal(t, "plant-7 true", p.rests.Load())

	arrived, release := make(chan struct{}), make(chan struct{})
	p.does(func(http.ResponseWriter, *http.Request) { close(arrived); <-release }) // a second call would panic
	p.later(firstRest)
	probe := begin(t.Context(), p.transport, "/probe")
	<-arrived
	require.True(t, p.resting(t), "while the probe is under way everybody else waits")
	close(release)
	require.NoError(t, <-probe)
	require.Equal(t, "plant-7 false", p.rests.Load())
	p.does(func(http.ResponseWriter, *http.Request) {})
	for range 3 {
		require.NoError(t, p.next(t.Context()))
	}
}

func TestEachProbeThatFailsDoublesTheRestUpToAMinute(t *testing.T) {
	t.Parallel()
	for _, speed := range []float64{1, 10} {
		p := newFragile(t, func(c *Config, _ *Deps) { c.Speed = speed })
		p.does(away)
		for range tripAfter {
			require.Error(t, p.next(t.Context()))
		}
		for n := range 9 {
			longest := time.Duration(float64(min(firstRest<<n, longestRest)) / speed)
			f := fault.Of(p.next(t.Context()))
			require.Equal(t, "connector.resting", f.Code)
			require.LessOrEqual(t, f.After, longest)
			require.Greater(t, f.After, longest*2/3, "what is taken off at random is at most a quarter")
			p.later(longest)
			require.Equal(t, "acme.server_error", fault.Of(p.next(t.Context())).Code, "the probe tells what it met")
		}
		p.does(func(http.ResponseWriter, *http.Request) {})
		p.later(longestRest)
		require.NoError(t, p.next(t.Context()))
		p.does(away)
		for range tripAfter {
			require.Error(t, p.next(t.Context()))
		}
		require.LessOrEqual(t, fault.Of(p.next(t.Context())).After, time.Duration(float64(firstRest)/speed), "an answer ends the row")
	}
}

func TestWhatSpeaksAgainstASystemAndWhatDoesNot(t *testing.T) {
	t.Parallel()
	post := func(ctx context.Context, p *fragile) error {
		p.number++
		_, err := p.transport.Do(ctx, Request{Method: http.MethodPost, Target: "/rows", Body: fmt.Append(nil, p.number), Write: true}, nil)
		return err
	}
	read := func(ctx context.Context, p *fragile) error { return p.next(ctx) }
	for name, c := range map[string]struct {
		does http.HandlerFunc
		send func(context.Context, *fragile) error
		rest bool
	}{
		"a server error":              {away, read, true},
		"a server error on a write":   {away, post, true},
		"not available":               {status(503), read, true},
		"a connection cut":            {cutOff, read, true},
		"a connection cut on a write": {cutOff, post, true},
		"an answer cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			_, _ = w.Write([]byte("{"))
		}, read, true},
		"not available until it says":                  {status(503, "Retry-After", "0"), read, false},
		"a write not available until it says, refused": {status(503, "Retry-After", "1"), post, false},
		"not found":   {status(404), read, false},
		"refused":     {status(422), post, false},
		"not allowed": {status(403), read, false},
		"throttled":   {status(429, "Retry-After", "0"), read, false},
		"a page":      {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, read, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newFragile(t)
			p.does(c.does)
			for range 3 * tripAfter {
				require.Error(t, c.send(t.Context(), p))
			}
			require.Equal(t, c.rest, p.resting(t))
		})
	}
}

func TestAnswersOfAnyKindEndARowOfFailures(t *testing.T) {
	t.Parallel()
	p := newFragile(t)
	for range 4 {
		p.does(away)
		for range tripAfter - 1 {
			require.Error(t, p.next(t.Context()))
		}
		p.does(status(404))
		require.Equal(t, "acme.not_found", fault.Of(p.next(t.Context())).Code)
	}
	require.False(t, p.resting(t))
}

func TestOneRequestThatFailsAgainAndAgainIsNoReasonToRest(t *testing.T) {
	t.Parallel()
	p := newFragile(t, func(c *Config, _ *Deps) { c.Limits.Timeout = 20 * time.Millisecond })
	p.does(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/hangs") {
			<-r.Context().Done()
			return
		}
		away(w, r)
	})
	for range 2 * tripAfter {
		require.Equal(t, "vendor.timeout", fault.Of(get(t.Context(), p.transport, "/hangs")).Code)
		require.Equal(t, "acme.server_error", fault.Of(get(t.Context(), p.transport, "/poisoned")).Code)
	}
	require.False(t, p.resting(t))
}

func TestARequestThatHangsWhileOthersAreAnsweredDoesNotCount(t *testing.T) {
	t.Parallel()
	g, transport := newGate(t, atATime(50), func(c *Config, _ *Deps) { c.Limits.Timeout = 500 * time.Millisecond })
	var hanging []<-chan error
	for i := range 2 * tripAfter {
		hanging = append(hanging, begin(t.Context(), transport, fmt.Sprintf("/hangs/%d", i)))
		<-g.arrived
	}
	answer := begin(t.Context(), transport, "/answered")
	<-g.arrived
	g.release <- struct{}{}
	require.NoError(t, <-answer)
	for _, end := range hanging {
		require.Equal(t, "vendor.timeout", fault.Of(<-end).Code)
	}
	next := begin(t.Context(), transport, "/next")
	require.Equal(t, "/base/next", <-g.arrived)
	g.release <- struct{}{}
	require.NoError(t, <-next)
}

func TestACallerThatGivesUpSpeaksAgainstTheSystemOnlyWhenItWaitedLong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		waits time.Duration // by the connection's clock, before the caller's end
		end   func(context.Context) (context.Context, context.CancelFunc)
		rest  bool
	}{
		"its time was short": {0, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 20*time.Millisecond)
		}, false},
		"its time was long": {hung, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 20*time.Millisecond)
		}, true},
		"it was cancelled": {hung, context.WithCancel, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newFragile(t)
			arrived := make(chan struct{}, 1)
			p.does(func(_ http.ResponseWriter, r *http.Request) {
				p.later(c.waits)
				arrived <- struct{}{}
				<-r.Context().Done()
			})
			for range tripAfter {
				ctx, cancel := c.end(t.Context())
				go func() {
					<-arrived
					if _, timed := ctx.Deadline(); !timed {
						cancel()
					}
				}()
				err := p.next(ctx)
				require.ErrorIs(t, err, ctx.Err())
				cancel()
			}
			p.does(func(http.ResponseWriter, *http.Request) {})
			require.Equal(t, c.rest, p.resting(t))
		})
	}
}

func TestNobodyAtTheAddressCountsForEveryRequest(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := "http://" + listener.Addr().String()
	require.NoError(t, listener.Close())
	client := NewClient()
	t.Cleanup(client.CloseIdleConnections)
	transport := newTestTransport(t, Vendor{}, func(c *Config, d *Deps) { c.URL, d.Client = address, client })
	for range tripAfter {
		require.Equal(t, "vendor.unreachable", fault.Of(get(t.Context(), transport, "/same")).Code)
	}
	f := fault.Of(get(t.Context(), transport, "/same"))
	require.Equal(t, "connector.resting", f.Code)
	require.NotContains(t, f.Text, strings.TrimPrefix(address, "http://"))
}

func TestTheFirstTryAfterARestIsLeftToARequestThatHasNotFailed(t *testing.T) {
	t.Parallel()
	p := newFragile(t)
	p.does(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/healthy") {
			away(w, r)
		}
	})
	for range tripAfter { // five products that the system cannot cope with
		require.Error(t, p.next(t.Context()))
	}
	p.later(firstRest)
	calls := p.calls.Load()
	f := fault.Of(get(t.Context(), p.transport, "/items/1"))
	require.Equal(t, "connector.resting", f.Code)
	require.LessOrEqual(t, f.After, firstRest/2)
	require.Equal(t, calls, p.calls.Load())
	p.later(firstRest / 2)
	require.Equal(t, "acme.server_error", fault.Of(get(t.Context(), p.transport, "/items/1")).Code, "where there is no other, it may try")
	p.later(2 * firstRest)
	require.NoError(t, get(t.Context(), p.transport, "/healthy"))
}

func TestARestTellsAllWhoWait(t *testing.T) {
	t.Parallel()
	g, transport := newGate(t, atATime(tripAfter))
	g.answer = func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }
	var failing, waiting []<-chan error
	for i := range tripAfter - 1 { // one slot is kept for callers in a hurry
		failing = append(failing, begin(t.Context(), transport, fmt.Sprintf("/%d", i)))
		<-g.arrived
	}
	hurried, cancel := context.WithTimeout(t.Context(), 2900*time.Millisecond)
	defer cancel()
	failing = append(failing, begin(hurried, transport, "/hurried"))
	<-g.arrived
	for i := range 10 {
		waiting = append(waiting, begin(t.Context(), transport, fmt.Sprintf("/waits/%d", i)))
	}
	requireQueue(t, transport, 10)
	told := 0
	for range failing {
		g.release <- struct{}{}
	}
	close(g.release)
	for _, end := range append(failing, waiting...) {
		if fault.Of(<-end).Code == "connector.resting" {
			told++
		}
	}
	require.GreaterOrEqual(t, told, 10-tripAfter, "those that had not been sent were told, and waited no longer")
	require.Zero(t, transport.limits.slots.waiting())
}

func TestAnUnusableTokenEndpointCountsAndOneThatRefusesDoesNot(t *testing.T) {
	t.Parallel()
	for code, rest := range map[int]bool{500: true, 401: false, 429: false} {
		p := newFragile(t)
		p.does(status(code))
		p.transport.config.Auth = Auth{Kind: "oauth2", TokenURL: p.transport.config.URL + "token", ClientID: "id", ClientSecret: "s"}
		for range 3 * tripAfter {
			require.Error(t, p.next(t.Context()))
		}
		require.Equal(t, rest, p.resting(t), "status %d", code)
	}
}

func TestARequestThatPanicsGivesItsSlotBack(t *testing.T) {
	t.Parallel()
	p := newFragile(t, atATime(1))
	p.transport.vendor.Verdict = func(int, http.Header, []byte) Verdict { panic("a vendor's answer nobody thought of") }
	p.does(status(418))
	for range 3 {
		require.Panics(t, func() { _ = p.next(t.Context()) })
	}
	require.Zero(t, p.transport.limits.slots.held.Len())
}

func TestARestThatOthersFoundIsKeptAndEndsWithTheirs(t *testing.T) {
	t.Parallel()
	p := newFragile(t)
	require.NoError(t, p.next(t.Context()))
	now := time.Now()
	p.others.Store(&Rest{Since: now, Until: now.Add(time.Minute), Times: 3, Why: "plant-7 cut the connection"})
	require.True(t, p.resting(t))
	require.Contains(t, fault.Of(p.next(t.Context())).Text, "plant-7 cut the connection")
	p.others.Store(nil)
	require.NoError(t, p.next(t.Context()), "somebody was answered")

	p.others.Store(&Rest{Since: now, Until: now.Add(time.Minute), Times: 3, Why: "cut"})
	require.True(t, p.resting(t))
	p.later(2 * time.Minute)
	require.NoError(t, p.next(t.Context()), "one request tries")
	require.Equal(t, "plant-7 false", p.rests.Load(), "and tells the others that it was answered")
}

func TestARestThatOneFoundEndsForItWhenOthersAreAnswered(t *testing.T) {
	t.Parallel()
	p := newFragile(t)
	p.does(away)
	for !p.resting(t) {
		_ = p.next(t.Context())
	}
	p.does(func(http.ResponseWriter, *http.Request) {})
	require.True(t, p.resting(t), "nobody was answered")
	now := time.Now()
	p.others.Store(&Rest{Since: now, Until: now.Add(time.Second), Times: 1, Why: "cut"})
	require.True(t, p.resting(t))
	p.others.Store(nil)
	require.NoError(t, p.next(t.Context()))
}

func TestNothingIsSentToAConnectionThatAPersonHolds(t *testing.T) {
	t.Parallel()
	p := newFragile(t)
	p.others.Store(&Rest{Since: time.Now(), Held: true, Why: "moves to another host tonight (anna)"})
	f := fault.Of(p.next(t.Context()))
	require.Equal(t, "connector.held", f.Code)
	require.Equal(t, fault.Unavailable, f.Class)
	require.Positive(t, f.After)
	require.Equal(t, "plant-7 is held: moves to another host tonight (anna)", f.Text)
	require.Zero(t, p.calls.Load())
	p.others.Store(nil)
	require.NoError(t, p.next(t.Context()))
}
