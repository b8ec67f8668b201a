package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

type (
	// Harness is one connector and how its vendor speaks when all is well. The
	// functions may be called by several goroutines.
	Harness struct {
		Build  connector.Builder
		Config connector.Config // System, Tables, Options; the suite adds the rest
		// Query reads all rows of its table, in pages of Query.Limit; no where.
		Query connector.Query
		// Page answers a request with the page of rows it asks for.
		Page func(r *http.Request, base string, rows []connector.Row) []byte
		// Circle answers like Page, but leads to the same page for ever.
		Circle func(r *http.Request, base string, rows []connector.Row) []byte
		// Links are the headers of a page, for vendors that give the next one there; circle
		// asks for one that leads to the same page for ever. Nil: the body says it all.
		Links func(r *http.Request, base string, rows []connector.Row, circle bool) http.Header
		// Empty are bodies, among those that are no answer of other vendors, that are a page
		// without rows of this one.
		Empty []string
		// Aside answers what the connector asks besides, whatever goes wrong otherwise,
		// and reports that it did; such calls are not counted. Nil: it asks nothing.
		Aside func(w http.ResponseWriter, r *http.Request) bool
		// Failure is the vendor's own error body for a status; nil when it has none.
		Failure func(status int) []byte
		// Upserts are the forms a write can take, for example one row and several;
		// none for a connector that does not write. Accepted answers one; nil where
		// every request is a read, whatever its method.
		Upserts  map[string]connector.Upsert
		Accepted func(w http.ResponseWriter, r *http.Request)
	}

	// vendor is the system a test talks to: a token endpoint that works and a
	// handler that the test chooses.
	vendor struct {
		t      *testing.T
		h      Harness
		server *httptest.Server
		system any
		rows   []connector.Row

		mu      sync.Mutex
		answer  http.HandlerFunc
		skew    time.Duration // of the connector's clock
		expires int           // lifetime of the tokens it gives, in seconds

		calls  atomic.Int64 // of the system
		tokens atomic.Int64 // given; the newest is the good one
	}
)

const (
	canary = "canary" // in every value of every row
	secret = "secret-of-the-client"
)

// newVendor starts a vendor with n rows; adjust changes the connection.
func newVendor(t *testing.T, h Harness, n int, adjust ...func(*connector.Config)) *vendor {
	v := &vendor{t: t, h: h, expires: 3599}
	for i := range n {
		row := connector.Row{"unasked": canary + "-unasked"}
		for _, column := range h.Query.Select {
			row[column] = fmt.Sprintf("%s-%d-%s", canary, i, column)
		}
		v.rows = append(v.rows, row)
	}
	v.answer = v.page
	v.server = httptest.NewServer(http.HandlerFunc(v.serve))
	t.Cleanup(v.server.Close)
	c := h.Config
	c.Name, c.URL = "the-connection", v.server.URL
	c.Auth = connector.Auth{Kind: "oauth2", TokenURL: v.server.URL + "/token", ClientID: "id", ClientSecret: secret, Scope: "all"}
	c.Limits = connector.Limits{Timeout: 20 * time.Second, MaxBytes: 64 << 10}
	for _, change := range adjust {
		change(&c)
	}
	system, err := h.Build(c, connector.Deps{Client: v.server.Client(), Now: v.now})
	require.NoError(t, err)
	v.system = system
	return v
}

func (v *vendor) now() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return time.Now().Add(v.skew)
}

// later moves the connector's clock.
func (v *vendor) later(d time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.skew += d
}

// answers makes the system answer by handler from now on.
func (v *vendor) answers(handler http.HandlerFunc) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.answer = handler
}

func (v *vendor) serve(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	answer, expires := v.answer, v.expires
	v.mu.Unlock()
	if r.URL.Path == "/token" {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":%d,"access_token":"token-%d"}`, expires, v.tokens.Add(1))
		return
	}
	// A request whose body does not come whole is none: nothing may act on it.
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if v.h.Aside != nil && v.h.Aside(w, r) {
		return
	}
	v.calls.Add(1)
	answer(w, r)
}

// page answers well.
func (v *vendor) page(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && v.h.Accepted != nil { // else it reads by POST
		v.h.Accepted(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	v.links(w, r, false)
	_, _ = w.Write(v.h.Page(r, v.server.URL, v.rows))
}

func (v *vendor) links(w http.ResponseWriter, r *http.Request, circle bool) {
	if v.h.Links == nil {
		return
	}
	for name, values := range v.h.Links(r, v.server.URL, v.rows, circle) {
		w.Header()[name] = values
	}
}

// fails answers with a status and the vendor's own body.
func (v *vendor) fails(status int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		var body []byte
		if v.h.Failure != nil {
			body = v.h.Failure(status)
		}
		if body != nil {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}
}

func (v *vendor) read(token string) (connector.Page, error) {
	return v.system.(connector.PageReader).ReadPage(v.t.Context(), v.h.Query, token)
}

// fault returns the fault an operation failed with, after making sure that it
// may be shown to anyone.
func (v *vendor) fault(err error) *fault.Fault {
	v.t.Helper()
	require.Error(v.t, err)
	var f *fault.Fault
	require.ErrorAs(v.t, err, &f)
	v.showable(f, err)
	return f
}

func (v *vendor) showable(f *fault.Fault, err error) {
	v.t.Helper()
	shown, jsonErr := json.Marshal(f)
	require.NoError(v.t, jsonErr)
	for _, text := range []string{string(shown), err.Error()} {
		for _, hidden := range []string{canary, secret, "token-", strings.TrimPrefix(v.server.URL, "http://"), "http:"} {
			require.NotContains(v.t, text, hidden, "a fault shows only what anyone may see")
		}
	}
}

// cut answers with the beginning of an answer and breaks the connection.
func cut(w http.ResponseWriter, r *http.Request, beginning string) {
	_, _ = io.Copy(io.Discard, r.Body)
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(conn, beginning)
	_ = conn.Close()
}
