package conformance

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

var writes = map[string]func(*testing.T, Harness, connector.Upsert){
	"every row has its outcome":                                      accepted,
	"a write applied whose answer is lost is in doubt and sent once": appliedThenCut,
	"a write that a server error answers is in doubt":                writeServerError,
	"a write given up after it was sent is in doubt":                 writeCancelled,
	"a write that never got there is not in doubt":                   writeUnsent,
	"a write that was throttled is not in doubt":                     writeThrottled,
	"a write that found no slot is not in doubt":                     writeBusy,
	"a write met by a login page is not done":                        writeLoginPage,
	"a write after a dead token is sent again with a new one":        writeDyingToken,
	"a write whose sender may not send any more is not sent":         writeHeld,
	"no row is an empty result":                                      writeNothing,
}

func (v *vendor) upsert(ctx context.Context, u connector.Upsert) ([]connector.Result, error) {
	return v.system.(connector.Upserter).Upsert(ctx, u)
}

// failed returns the one fault of a write that failed as a whole, or that every
// row shares.
func (v *vendor) failed(results []connector.Result, err error) *fault.Fault {
	v.t.Helper()
	if err != nil {
		return v.fault(err)
	}
	require.NotEmpty(v.t, results)
	f := v.fault(results[0].Err)
	for _, r := range results {
		require.Equal(v.t, f.Code, v.fault(r.Err).Code)
	}
	return f
}

func accepted(t *testing.T, h Harness, u connector.Upsert) {
	v := newVendor(t, h, 0)
	results, err := v.upsert(t.Context(), u)
	require.NoError(t, err)
	require.Equal(t, make([]connector.Result, len(u.Rows)), results)
}

func appliedThenCut(t *testing.T, h Harness, u connector.Upsert) {
	for name, beginning := range map[string]string{
		"no answer":        "",
		"half a status":    "HTTP/1.1 20",
		"half an answer":   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
		"only the headers": "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
	} {
		for _, warm := range []bool{false, true} {
			v := newVendor(t, h, 0)
			if warm { // the connection is one that was used before
				_, err := v.upsert(t.Context(), u)
				require.NoError(t, err)
			}
			before := v.calls.Load()
			v.answers(func(w http.ResponseWriter, r *http.Request) { cut(w, r, beginning) })
			require.Equal(t, fault.InDoubt, v.failed(v.upsert(t.Context(), u)).Class, name)
			require.Equal(t, before+1, v.calls.Load(), "%s: a write is not sent twice", name)
		}
	}
}

func writeServerError(t *testing.T, h Harness, u connector.Upsert) {
	for _, status := range []int{500, 502, 503, 504} {
		v := newVendor(t, h, 0)
		v.answers(v.fails(status, "Retry-After", "3"))
		f := v.failed(v.upsert(t.Context(), u))
		require.Equal(t, fault.InDoubt, f.Class, "status %d", status)
		require.Equal(t, 3*time.Second, f.After)
		require.EqualValues(t, 1, v.calls.Load())
	}
}

func writeCancelled(t *testing.T, h Harness, u connector.Upsert) {
	v := newVendor(t, h, 0)
	arrived := make(chan struct{})
	v.answers(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(arrived)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	results, err := v.upsert(ctx, u)
	require.Equal(t, fault.InDoubt, v.failed(results, err).Class)
	require.NotErrorIs(t, err, context.Canceled, "a doubt must not look like a clean end")
}

func writeUnsent(t *testing.T, h Harness, u connector.Upsert) {
	v := newVendor(t, h, 0, func(c *connector.Config) { c.Auth = connector.Auth{} })
	v.server.Close()
	require.Equal(t, fault.Unavailable, v.failed(v.upsert(t.Context(), u)).Class)

	v = newVendor(t, h, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := v.upsert(ctx, u)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, v.calls.Load())
}

func writeThrottled(t *testing.T, h Harness, u connector.Upsert) {
	v := newVendor(t, h, 0)
	v.answers(v.fails(http.StatusTooManyRequests, "Retry-After", "5"))
	f := v.failed(v.upsert(t.Context(), u))
	require.Equal(t, fault.Throttled, f.Class)
	require.Equal(t, 5*time.Second, f.After)
	require.EqualValues(t, 1, v.calls.Load())
}

func writeBusy(t *testing.T, h Harness, u connector.Upsert) {
	v := newVendor(t, h, 1, oneAtATime)
	arrived := make(chan struct{})
	v.answers(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	hanging, stop := context.WithCancel(t.Context())
	read := v.reading(hanging, 1)
	<-arrived
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	f := v.failed(v.upsert(short, u))
	require.Equal(t, "connector.busy", f.Code)
	require.Positive(t, f.After)
	require.EqualValues(t, 1, v.calls.Load())
	stop()
	require.ErrorIs(t, <-read, context.Canceled)
}

func writeLoginPage(t *testing.T, h Harness, u connector.Upsert) {
	v := newVendor(t, h, 0)
	v.answers(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html>Sign in</html>"))
	})
	require.Equal(t, "vendor.login_page", v.failed(v.upsert(t.Context(), u)).Code)
}

func writeDyingToken(t *testing.T, h Harness, u connector.Upsert) {
	v := newVendor(t, h, 0)
	v.answers(v.newestOnly("token-2"))
	results, err := v.upsert(t.Context(), u)
	require.NoError(t, err)
	require.Equal(t, make([]connector.Result, len(u.Rows)), results)
	require.EqualValues(t, 2, v.calls.Load())
}

// The sender loses its right at once, while the connection is dialled, and after a
// write that was sent. None of it is a fault of the system's.
func writeHeld(t *testing.T, h Harness, u connector.Upsert) {
	for _, allowed := range []int{0, 1} {
		for _, warm := range []bool{false, true} {
			v := newVendor(t, h, 0)
			if warm {
				_, err := v.upsert(t.Context(), u)
				require.NoError(t, err)
			}
			before := v.calls.Load()
			held := u
			held.Held = loses(allowed)
			for range 20 { // more than the failures that make a connection rest
				f := v.failed(v.upsert(t.Context(), held))
				require.Equal(t, "worker.frozen", f.Code)
				require.Equal(t, fault.Unavailable, f.Class, "nothing is in doubt that was not sent")
			}
			require.Equal(t, before, v.calls.Load())
			_, err := v.upsert(t.Context(), u)
			require.NoError(t, err, "the connection is as good as before")
		}
	}
}

// loses lets its asker send so many times.
func loses(allowed int) func() error {
	var asked atomic.Int64
	return func() error {
		if asked.Add(1) <= int64(allowed) {
			return nil
		}
		return fault.New(fault.Unavailable, "worker.frozen", "its worker stood still for a while", nil)
	}
}

func writeNothing(t *testing.T, h Harness, u connector.Upsert) {
	v := newVendor(t, h, 0)
	u.Rows = nil
	results, err := v.upsert(t.Context(), u)
	require.NoError(t, err)
	require.Empty(t, results)
	require.Zero(t, v.calls.Load())
}
