package connector

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
)

// counting is a quota that a test can read.
type counting struct {
	mu      sync.Mutex
	uses    []Use
	left    int // requests that are over
	unsent  int // of them, not sent
	silence time.Duration
	empty   bool
}

func (c *counting) Silence(d time.Duration) { c.silence = d }

func (c *counting) Enter(_ context.Context, u Use) (func(time.Duration), error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.empty {
		return nil, fault.ThrottledFor(time.Minute, "quota.used_up", "nothing is left", nil)
	}
	c.uses = append(c.uses, u)
	return func(took time.Duration) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.left++
		if took == 0 {
			c.unsent++
		}
	}, nil
}

func TestEachSendingOfARequestIsTakenOfTheQuota(t *testing.T) {
	t.Parallel()
	answers := []int{200, 429}
	var asked int
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(answers[asked])
		asked++
	}))
	defer s.Close()
	q := &counting{}
	transport, err := NewTransport(Config{Name: "c", URL: s.URL}, Deps{Quota: q}, Vendor{System: "acme"})
	require.NoError(t, err)
	_, err = transport.Urgent().Do(t.Context(), Request{Method: http.MethodPost, Target: "/", Body: []byte("x"), Write: true, Messages: 2}, nil)
	require.NoError(t, err)
	require.Equal(t, []Use{{Messages: 2, Urgent: true}}, q.uses)

	held := fault.New(fault.Conflict, "ledger.sealed", "no more", nil)
	_, err = transport.Do(t.Context(), Request{Method: http.MethodPost, Target: "/", Write: true, Held: func() error { return held }}, nil)
	require.Equal(t, "ledger.sealed", fault.Of(err).Code)
	require.Equal(t, 1, q.unsent, "what was not sent is given back")

	_, err = transport.Do(t.Context(), Request{Method: http.MethodGet, Target: "/"}, nil)
	require.Equal(t, fault.Throttled, fault.Of(err).Class)
	require.Equal(t, 7*time.Second, q.silence, "what the system asked for is told to all")
	require.Equal(t, 3, q.left)
}

func TestARequestThatTheQuotaHoldsBackIsNotSentAndSaysNothingAboutTheSystem(t *testing.T) {
	t.Parallel()
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer s.Close()
	q := &counting{empty: true}
	rests := false
	d := Deps{Quota: q, Resting: func(string, Rest) { rests = true }}
	transport, err := NewTransport(Config{Name: "c", URL: s.URL, Limits: Limits{Concurrent: 2}}, d, Vendor{System: "acme"})
	require.NoError(t, err)
	gate := NewGate(Config{Name: "c", Limits: Limits{Concurrent: 2}}, d)
	for range 2 * tripAfter {
		_, err = transport.Do(t.Context(), Request{Method: http.MethodGet, Target: "/"}, nil)
		require.Equal(t, "quota.used_up", fault.Of(err).Code)
		require.Equal(t, time.Minute, fault.Of(err).After)
		err = gate.Send(t.Context(), "x", 1, func(context.Context) error { asked++; return nil })
		require.Equal(t, "quota.used_up", fault.Of(err).Code)
	}
	require.Zero(t, asked)
	require.False(t, rests)
	q.empty = false
	require.NoError(t, gate.Send(t.Context(), "x", 1, func(context.Context) error { return nil }))
	require.Equal(t, []Use{{Messages: 1}}, q.uses)
}
