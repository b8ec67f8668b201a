package graph_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
)

const large = 100 << 20

// endless makes the same bytes wherever it begins.
type endless struct{ at, size int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.at >= e.size {
		return 0, io.EOF
	}
	n := min(int64(len(p)), e.size-e.at)
	for i := range p[:n] {
		x := uint64(e.at) + uint64(i)
		p[i] = byte(x ^ x>>8 ^ x>>16)
	}
	e.at += n
	return int(n), nil
}

func (*endless) Close() error { return nil }

// big is a library with one large file, whose bytes are on another host than the API.
type big struct {
	api, bytes *httptest.Server
	received   hash.Hash
	at         int64
	leaked     atomic.Int64 // requests to the other host that bore a token
}

func newBig(t *testing.T) *big {
	t.Helper()
	b := &big{received: sha256.New()}
	b.bytes = httptest.NewTLSServer(http.HandlerFunc(b.content))
	t.Cleanup(b.bytes.Close)
	b.api = httptest.NewTLSServer(http.HandlerFunc(b.serve))
	t.Cleanup(b.api.Close)
	return b
}

func (b *big) content(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" {
		b.leaked.Add(1)
	}
	if r.Method == http.MethodGet {
		w.Header().Set("Content-Length", fmt.Sprint(large))
		_, _ = io.Copy(w, &endless{size: large})
		return
	}
	n, _ := io.Copy(b.received, r.Body)
	w.Header().Set("Content-Type", "application/json")
	if b.at += n; b.at < large {
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, `{"nextExpectedRanges":["%d-"]}`, b.at)
		return
	}
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, item("new.bin"))
}

func item(name string) string {
	return fmt.Sprintf(`{"id":"1","name":"%s","size":%d,"eTag":"\"{A},1\"","file":{"mimeType":"application/octet-stream"}}`, name, large)
}

func (b *big) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Path == "/token":
		_ = json.NewEncoder(w).Encode(map[string]any{"token_type": "Bearer", "expires_in": 3599, "access_token": "noted"})
	case strings.HasSuffix(r.URL.Path, "/content"):
		http.Redirect(w, r, b.bytes.URL+"/download?key=secret", http.StatusFound)
	case strings.HasSuffix(r.URL.Path, "/createUploadSession"):
		fmt.Fprintf(w, `{"uploadUrl":"%s/up?key=secret"}`, b.bytes.URL)
	case strings.Contains(r.URL.Path, "/items/1"):
		_, _ = io.WriteString(w, item("big.bin"))
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"error":{"code":"itemNotFound"}}`)
	}
}

// watched is the most that the heap holds above what it held, while f runs.
func watched(f func()) uint64 {
	var idle, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&idle)
	var most atomic.Uint64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticks := time.NewTicker(5 * time.Millisecond)
		defer ticks.Stop()
		for {
			runtime.ReadMemStats(&now)
			if now.HeapInuse > idle.HeapInuse {
				most.Store(max(most.Load(), now.HeapInuse-idle.HeapInuse))
			}
			select {
			case <-ticks.C:
			case <-stop:
				return
			}
		}
	}()
	f()
	close(stop)
	<-done
	return most.Load()
}

// Not parallel: it looks at the memory of the whole process, the system played included.
func TestAHundredMegabytesGoThroughInBoundedMemoryAndTheTokenGoesNowhereElse(t *testing.T) { //nolint:paralleltest // see above
	debug.FreeOSMemory()
	b := newBig(t)
	g := at(t, b.api, "drives/d", map[string]string{"content_hosts": "127.0.0.1"})
	want := sha256.New()
	_, _ = io.Copy(want, &endless{size: large})
	expected := hex.EncodeToString(want.Sum(nil))

	got := sha256.New()
	down := watched(func() {
		d, err := g.Open(t.Context(), connector.DocumentRef{Table: "documents", ID: "1"}, 0)
		require.NoError(t, err)
		defer d.Body.Close()
		n, err := io.Copy(got, d.Body)
		require.NoError(t, err)
		require.EqualValues(t, large, n)
	})
	require.Equal(t, expected, hex.EncodeToString(got.Sum(nil)))
	up := watched(func() {
		_, err := g.Store(t.Context(), connector.DocumentWrite{Place: connector.DocumentPlace{Table: "documents", Name: "new.bin"},
			Content: connector.Content{Size: large, SHA256: expected, Open: func(_ context.Context, from int64) (io.ReadCloser, error) {
				return &endless{at: from, size: large}, nil
			}}})
		require.NoError(t, err)
	})
	require.Equal(t, expected, hex.EncodeToString(b.received.Sum(nil)))
	require.Zero(t, b.leaked.Load(), "the address is the key there; the token goes to Graph alone")
	t.Logf("above idle: %.1f MB down, %.1f MB up", float64(down)/1e6, float64(up)/1e6)
	require.Less(t, down, uint64(32<<20))
	require.Less(t, up, uint64(32<<20))
}

func TestBytesAreFetchedFromNowhereElse(t *testing.T) {
	t.Parallel()
	b := newBig(t)
	g := at(t, b.api, "drives/d", nil)
	_, err := g.Open(t.Context(), connector.DocumentRef{Table: "documents", ID: "1"}, 0)
	require.ErrorContains(t, err, "egress.blocked")
	require.NotContains(t, err.Error(), "secret")
}
