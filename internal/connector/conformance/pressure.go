package conformance

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// reading starts the nth read and returns where its end is told. Reads of
// different n are different requests.
func (v *vendor) reading(ctx context.Context, n int) <-chan error {
	q := v.h.Query
	q.Where = []connector.Match{{Column: q.Select[0], Value: strconv.Itoa(n)}}
	done := make(chan error, 1)
	go func() {
		_, err := v.system.(connector.PageReader).ReadPage(ctx, q, "")
		done <- err
	}()
	return done
}

func oneAtATime(c *connector.Config) { c.Limits.Concurrent = 1 }

func busy(t *testing.T, h Harness) {
	v := newVendor(t, h, 1, oneAtATime)
	arrived := make(chan struct{})
	v.answers(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	hanging, stop := context.WithCancel(t.Context())
	first := v.reading(hanging, 1)
	<-arrived
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	f := v.fault(<-v.reading(short, 2))
	require.Equal(t, "connector.busy", f.Code)
	require.Equal(t, fault.Throttled, f.Class, "waiting for ourselves is no missing answer")
	require.Positive(t, f.After)
	require.Contains(t, f.Text, "the-connection")
	require.EqualValues(t, 1, v.calls.Load(), "nothing was sent")
	v.answers(v.page)
	stop()
	require.ErrorIs(t, <-first, context.Canceled)
	require.NoError(t, <-v.reading(t.Context(), 2), "the hanging request left its slot with its caller")
}

func silenced(t *testing.T, h Harness) {
	v := newVendor(t, h, 1, oneAtATime)
	arrived, release := make(chan struct{}), make(chan struct{})
	v.answers(func(w http.ResponseWriter, r *http.Request) {
		close(arrived) // a second call would panic
		<-release
		v.fails(http.StatusTooManyRequests, "Retry-After", "30")(w, r)
	})
	ends := []<-chan error{v.reading(t.Context(), 1)}
	<-arrived
	for range 3 {
		ends = append(ends, v.reading(t.Context(), 2))
	}
	close(release)
	for _, end := range ends {
		f := v.fault(<-end)
		require.Equal(t, fault.Throttled, f.Class)
		require.InDelta(t, 30, f.After.Seconds(), 15)
	}
	require.EqualValues(t, 1, v.calls.Load())
}

func resting(t *testing.T, h Harness) {
	v := newVendor(t, h, 1)
	v.answers(v.fails(http.StatusBadGateway))
	sent := 0
	var f *fault.Fault
	for f == nil || f.Code != "connector.resting" {
		require.Less(t, sent, 20, "twenty different reads failed, and the next was sent")
		sent++
		f = v.fault(<-v.reading(t.Context(), sent))
	}
	calls := v.calls.Load()
	require.EqualValues(t, sent-1, calls)
	require.Equal(t, fault.Unavailable, f.Class)
	require.Positive(t, f.After)
	require.Contains(t, f.Text, "the-connection")
	require.Contains(t, f.Text, "502", "it says what the last failure was")

	arrived, release := make(chan struct{}), make(chan struct{})
	letGo := sync.OnceFunc(func() { close(release) })
	defer letGo()
	var once sync.Once
	v.answers(func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(arrived) })
		<-release
		v.page(w, r)
	})
	v.later(f.After)
	probe := v.reading(t.Context(), 100)
	select {
	case <-arrived:
	case err := <-probe:
		require.NoError(t, err, "when the rest is over a request goes through")
	}
	require.Equal(t, "connector.resting", v.fault(<-v.reading(t.Context(), 101)).Code)
	require.Equal(t, calls+1, v.calls.Load(), "one request tries for all")
	letGo()
	require.NoError(t, <-probe)
	require.NoError(t, <-v.reading(t.Context(), 101))
}

func poisoned(t *testing.T, h Harness) {
	v := newVendor(t, h, 1)
	v.answers(v.fails(http.StatusInternalServerError))
	for range 20 {
		require.NotEqual(t, "connector.resting", v.fault(<-v.reading(t.Context(), 1)).Code)
	}
	v.answers(v.page)
	require.NoError(t, <-v.reading(t.Context(), 2))
}
