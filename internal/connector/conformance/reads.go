package conformance

import (
	"compress/gzip"
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// pages are what a reader of pages is held to.
var pages = map[string]func(*testing.T, Harness){
	"every row is read once, in order, over several pages":  everyPage,
	"a page that leads back to itself is a fault":           circle,
	"an unknown table or column is refused before anything": unknownNames,
	"a page token of somebody else is refused":              foreignToken,
	"a token dying mid-run costs one call":                  dyingToken,
}

// wire is what everybody is held to who asks a system, whatever for.
var wire = map[string]func(*testing.T, Harness){
	"a system that asks to slow down is left alone":             throttled,
	"a system that is not available is retryable":               unavailable,
	"nobody at the address is retryable":                        unreachable,
	"an answer that is no answer is never an empty page":        malformed,
	"an answer cut off is never the last page":                  truncated,
	"a login page is not data":                                  loginPage,
	"a redirect is never followed":                              redirect,
	"a caller that gives up gets its own error, at once":        cancelled,
	"a slow answer is given up in time":                         slow,
	"an answer above the limit is refused, expanded or not":     tooLarge,
	"no more than the allowed requests run at once":             concurrency,
	"a caller behind a request that hangs is told when to come": busy,
	"what waits is told at once when the system wants silence":  silenced,
	"a system that is away is left to rest, then tried by one":  resting,
	"one read that fails again and again stops no other":        poisoned,
	"a refused client is a fault that names the connection":     refusedClient,
	"a token refused twice is a fault that names connection":    refusedTwice,
	"a token is used until shortly before its end, and shared":  tokenReuse,
	"a caller that gives up does not spoil the token of others": sharedSignIn,
}

// Run holds a connector to the contract.
func Run(t *testing.T, h Harness) {
	Wire(t, h)
	for name, test := range pages {
		t.Run(name, func(t *testing.T) { t.Parallel(); test(t, h) })
	}
	for form, upsert := range h.Upserts {
		for name, test := range writes {
			t.Run(form+": "+name, func(t *testing.T) { t.Parallel(); test(t, h, upsert) })
		}
	}
}

// Wire holds a connector that reads no pages to what is left of the contract: the test
// gives what it does the form of a read.
func Wire(t *testing.T, h Harness) {
	for name, test := range wire {
		t.Run(name, func(t *testing.T) { t.Parallel(); test(t, h) })
	}
}

func everyPage(t *testing.T, h Harness) {
	v := newVendor(t, h, 2*h.Query.Limit+1)
	var got []connector.Row
	pages := 0
	for token := ""; ; pages++ {
		page, err := v.read(token)
		require.NoError(t, err)
		got = append(got, page.Rows...)
		if token = page.Next; token == "" {
			break
		}
	}
	require.Equal(t, 2, pages, "continued twice")
	require.EqualValues(t, 3, v.calls.Load())
	require.Len(t, got, len(v.rows))
	for i, row := range got {
		want := connector.Row{}
		for _, column := range h.Query.Select {
			want[column] = v.rows[i][column]
		}
		require.Equal(t, want, row, "the columns asked for and no other")
	}
}

func circle(t *testing.T, h Harness) {
	v := newVendor(t, h, 3*h.Query.Limit)
	v.answers(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		v.links(w, r, true)
		_, _ = w.Write(h.Circle(r, v.server.URL, v.rows))
	})
	token := ""
	for range 20 {
		page, err := v.read(token)
		if err != nil {
			require.Equal(t, "vendor.page_loop", v.fault(err).Code)
			return
		}
		token = page.Next
	}
	t.Fatal("twenty pages of a circle were read")
}

func throttled(t *testing.T, h Harness) {
	for name, c := range map[string]struct {
		header []string
		after  time.Duration
	}{
		"seconds": {[]string{"Retry-After", "7"}, 7 * time.Second},
		"date": {[]string{"Retry-After", "Mon, 01 Jan 2001 00:01:30 GMT", "Date", "Mon, 01 Jan 2001 00:00:00 GMT"},
			90 * time.Second},
		"nothing": {nil, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVendor(t, h, 1)
			v.answers(v.fails(http.StatusTooManyRequests, c.header...))
			_, err := v.read("")
			f := v.fault(err)
			require.Equal(t, fault.Throttled, f.Class)
			require.Equal(t, c.after, f.After)

			v.answers(v.page)
			_, err = v.read("")
			require.Equal(t, fault.Throttled, v.fault(err).Class)
			require.Positive(t, v.fault(err).After)
			require.EqualValues(t, 1, v.calls.Load(), "nothing is sent before the time")

			v.later(c.after)
			_, err = v.read("")
			require.NoError(t, err)
		})
	}
}

func unavailable(t *testing.T, h Harness) {
	for _, status := range []int{500, 502, 503, 504} {
		v := newVendor(t, h, 1)
		v.answers(v.fails(status))
		_, err := v.read("")
		require.Equal(t, fault.Unavailable, v.fault(err).Class)
	}
	v := newVendor(t, h, 1)
	v.answers(v.fails(http.StatusServiceUnavailable, "Retry-After", "9"))
	_, err := v.read("")
	require.True(t, v.fault(err).Retryable())
	require.Equal(t, 9*time.Second, v.fault(err).After)
}

func unreachable(t *testing.T, h Harness) {
	v := newVendor(t, h, 1, func(c *connector.Config) { c.Auth = connector.Auth{} })
	v.server.Close()
	_, err := v.read("")
	require.Equal(t, fault.Unavailable, v.fault(err).Class)
	require.Equal(t, "vendor.unreachable", v.fault(err).Code)

	v = newVendor(t, h, 1)
	v.server.Close()
	_, err = v.read("")
	require.Equal(t, fault.Unavailable, v.fault(err).Class, "nor where the token comes from")
}

func malformed(t *testing.T, h Harness) {
	for _, body := range []string{`{}`, `[]`, `null`, `"canary"`, `{"canary-1":}`, `canary`, `{"value":{"canary":1},"items":{"canary":1}}`} {
		if slices.Contains(h.Empty, body) {
			continue
		}
		v := newVendor(t, h, 1)
		v.answers(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(body))
		})
		_, err := v.read("")
		f := v.fault(err)
		require.Equal(t, "vendor.malformed", f.Code, body)
		require.Equal(t, fault.Unavailable, f.Class)
	}
}

func truncated(t *testing.T, h Harness) {
	v := newVendor(t, h, 1)
	v.answers(func(w http.ResponseWriter, r *http.Request) {
		cut(w, r, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{\"canary")
	})
	_, err := v.read("")
	require.Equal(t, "vendor.truncated", v.fault(err).Code)
	require.True(t, v.fault(err).Retryable())

	v.answers(func(w http.ResponseWriter, r *http.Request) {
		whole := h.Page(r, v.server.URL, v.rows)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(whole[:len(whole)-1])
	})
	_, err = v.read("")
	require.Equal(t, "vendor.truncated", v.fault(err).Code, "also where the length agrees")

	v.answers(func(w http.ResponseWriter, r *http.Request) { cut(w, r, "") })
	_, err = v.read("")
	require.Equal(t, fault.Unavailable, v.fault(err).Class)
}

func loginPage(t *testing.T, h Harness) {
	for _, kind := range []string{"text/html; charset=utf-8", "text/plain", ""} {
		v := newVendor(t, h, 1)
		v.answers(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = []string{kind}
			_, _ = w.Write([]byte("<!DOCTYPE html><html><title>Sign in</title>canary</html>"))
		})
		_, err := v.read("")
		f := v.fault(err)
		require.Equal(t, "vendor.login_page", f.Code)
		require.Equal(t, fault.Unauthorized, f.Class)
		require.Contains(t, f.Text, "the-connection")
	}
}

func redirect(t *testing.T, h Harness) {
	var visits atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) }))
	defer elsewhere.Close()
	for to, code := range map[string]string{
		elsewhere.URL + "/oam/server/obrareq.cgi": "vendor.login_page",
		"/signin":                           "vendor.login_page",
		elsewhere.URL + "/latest/meta-data": "egress.blocked",
		"/canary":                           "egress.blocked",
	} {
		v := newVendor(t, h, 1)
		v.answers(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
		})
		_, err := v.read("")
		require.Equal(t, code, v.fault(err).Code)
		require.False(t, v.fault(err).Retryable())
		require.EqualValues(t, 1, v.calls.Load())
	}
	require.Zero(t, visits.Load())
}

func cancelled(t *testing.T, h Harness) {
	v := newVendor(t, h, 1)
	arrived, gone := make(chan struct{}), make(chan struct{})
	v.answers(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(gone)
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := v.system.(connector.PageReader).ReadPage(ctx, h.Query, "")
		done <- err
	}()
	<-arrived
	cancel()
	err := <-done
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorAs(t, err, new(*fault.Fault))
	<-gone // the system was told, too
}

func slow(t *testing.T, h Harness) {
	v := newVendor(t, h, 1, func(c *connector.Config) { c.Limits.Timeout = 100 * time.Millisecond })
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	v.answers(hang)
	_, err := v.read("")
	require.Equal(t, "vendor.timeout", v.fault(err).Code)
	require.Equal(t, fault.Unavailable, v.fault(err).Class)

	v.answers(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"items":[`))
		w.(http.Flusher).Flush()
		hang(w, r)
	})
	_, err = v.read("")
	require.Equal(t, "vendor.timeout", v.fault(err).Code, "also in the middle of an answer")
}

func tooLarge(t *testing.T, h Harness) {
	big := `{"items":[],"value":[],"filler":"` + strings.Repeat("canary ", 20_000) + `"}`
	for name, answer := range map[string]http.HandlerFunc{
		"known length":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(big)) },
		"unknown length": func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush(); _, _ = w.Write([]byte(big)) },
		"compressed": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = z.Write([]byte(big))
			_ = z.Close()
		},
	} {
		v := newVendor(t, h, 1)
		v.answers(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			answer(w, r)
		})
		_, err := v.read("")
		require.Equal(t, "vendor.too_large", v.fault(err).Code, name)
		require.False(t, v.fault(err).Retryable())
	}
}

func concurrency(t *testing.T, h Harness) {
	const allowed = 3
	v := newVendor(t, h, 1, func(c *connector.Config) { c.Limits.Concurrent = allowed })
	var now, most atomic.Int64
	full := make(chan struct{})
	v.answers(func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		if n == allowed {
			close(full)
		}
		if n > most.Load() {
			most.Store(n)
		}
		<-full
		v.page(w, r)
	})
	var callers sync.WaitGroup
	for range allowed {
		callers.Go(func() {
			_, err := v.read("")
			if err != nil {
				t.Errorf("reading in parallel: %v", err)
			}
		})
	}
	<-full // all slots are taken: one more must wait, and leave when its caller does
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := v.system.(connector.PageReader).ReadPage(ctx, h.Query, "")
	if err != nil {
		require.ErrorIs(t, err, context.Canceled)
	}
	callers.Wait()
	require.LessOrEqual(t, most.Load(), int64(allowed))
}

func unknownNames(t *testing.T, h Harness) {
	v := newVendor(t, h, 1)
	read := func(q connector.Query) {
		t.Helper()
		_, err := v.system.(connector.PageReader).ReadPage(t.Context(), q, "")
		require.Equal(t, fault.Invalid, v.fault(err).Class)
	}
	q := h.Query
	q.Table = "no-such-table"
	read(q)
	q = h.Query
	q.Select = []string{"a,b&c=d"}
	read(q)
	q = h.Query
	q.Where = []connector.Match{{Column: "a eq 1 or b", Value: "x"}}
	read(q)
	q.Where = []connector.Match{{Column: h.Query.Select[0], Value: []any{"a list"}}}
	read(q)
	q = h.Query
	q.Select = nil
	read(q)
	require.Zero(t, v.calls.Load())
}

func foreignToken(t *testing.T, h Harness) {
	v := newVendor(t, h, 1)
	for _, token := range []string{"x", "1.2", "-5", "1.0000000000000000.http://elsewhere.example/", "1.0000000000000000.//elsewhere.example/"} {
		_, err := v.read(token)
		require.False(t, v.fault(err).Retryable(), token)
	}
	require.Zero(t, v.calls.Load())
}
