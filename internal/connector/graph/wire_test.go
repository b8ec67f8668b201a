package graph_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"patchbay/internal/connector"
	"patchbay/internal/connector/graph"
	"patchbay/internal/fault"
	"patchbay/internal/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const drive = "b!BCZxLHATRkSh9UJlc_2oCsNEIi0aJepJk6g54cOgYP4T01"

// serverOnly are exchanges that only stand-ins are held to: this connector never sends
// them.
var serverOnly = map[string]bool{"graph/07-latest": true, "graph/11-expiration": true}

func TestConnectorSendsWhatIsNotedAndReadsWhatIsAnswered(t *testing.T) {
	t.Parallel()
	exchanges, err := wiretest.Load("graph")
	require.NoError(t, err)
	byName := map[string]wiretest.Exchange{}
	for _, x := range exchanges {
		byName[x.Name] = x
	}
	note := func(size int64) connector.DocumentWrite {
		return connector.DocumentWrite{Place: connector.DocumentPlace{Table: "documents", Parent: connector.Row{"path": "/Inbox"}, Name: "note.txt"}, New: true,
			Content: connector.Content{Type: "text/plain", Size: size, Open: func(context.Context, int64) (io.ReadCloser, error) {
				return io.NopCloser(bytes.NewReader(append([]byte("hello"), make([]byte, max(size-5, 0))...))), nil
			}}}
	}
	// before stands before an exchange where the connector looks first.
	missing := answered{404, `{"error":{"code":"itemNotFound"}}`}
	there := answered{200, `{"id":"1","name":"note.txt","size":3,"eTag":"\"{OTHER},1\"","file":{"mimeType":"text/plain"}}`}
	since := "since /v1.0/drives/b%21BCZxLHATRkSh9UJlc_2oCsNEIi0aJepJk6g54cOgYP4T01/root/delta(token='abc')"
	fails := func(err error, class fault.Class, code string) {
		t.Helper()
		require.Equal(t, class, fault.Of(err).Class, err)
		require.Equal(t, code, fault.Of(err).Code)
		require.NotContains(t, err.Error(), "canary")
	}
	ref := connector.DocumentRef{Table: "documents", ID: "01NONE"}
	for names, c := range map[[2]string]struct {
		before []answered
		act    func(t *testing.T, g *graph.Graph)
	}{
		{"graph/01-site", "graph/02-drive"}: {act: func(t *testing.T, g *graph.Graph) { t.Helper(); require.NoError(t, g.Probe(t.Context())) }},
		{"graph/03-put"}: {[]answered{missing}, func(t *testing.T, g *graph.Graph) {
			t.Helper()
			made, err := g.Store(t.Context(), note(5))
			require.NoError(t, err)
			require.Equal(t, "01ABC", made.ID)
		}},
		{"graph/04-exists"}: {[]answered{missing}, func(t *testing.T, g *graph.Graph) {
			t.Helper()
			_, err := g.Store(t.Context(), note(5))
			fails(err, fault.Conflict, "connector.exists")
		}},
		{"graph/05-changed"}: {[]answered{there}, func(t *testing.T, g *graph.Graph) {
			t.Helper()
			w := note(4<<20 + 1)
			w.New, w.Version = false, `"{OTHER},1"`
			_, err := g.Store(t.Context(), w)
			fails(err, fault.Conflict, "connector.changed")
		}},
		{"graph/06-not-found"}: {act: func(t *testing.T, g *graph.Graph) {
			t.Helper()
			_, err := g.Stat(t.Context(), ref)
			fails(err, fault.NotFound, "graph.not_found")
		}},
		{"graph/08-since"}: {act: func(t *testing.T, g *graph.Graph) {
			t.Helper()
			page, err := g.ReadChanges(t.Context(), "documents", []string{"id"}, since)
			require.NoError(t, err)
			require.Empty(t, page.Rows)
			require.Contains(t, page.Cursor, "abd")
		}},
		{"graph/09-resync"}: {act: func(t *testing.T, g *graph.Graph) {
			t.Helper()
			_, err := g.ReadChanges(t.Context(), "documents", []string{"id"}, since)
			fails(err, fault.Conflict, "connector.cursor_expired")
		}},
		{"graph/10-throttled"}: {act: func(t *testing.T, g *graph.Graph) {
			t.Helper()
			_, err := g.Stat(t.Context(), ref)
			fails(err, fault.Throttled, "graph.throttled")
			require.InDelta(t, 31, fault.Of(err).After.Seconds(), 0)
			_, err = g.Stat(t.Context(), ref)
			fails(err, fault.Throttled, "connector.silent")
		}},
	} {
		path := "drives/" + drive
		if names[1] != "" {
			path = "sites/contoso.sharepoint.com:/sites/ops"
		}
		g := played(t, path, c.before, byName[names[0]], byName[names[1]])
		c.act(t, g)
		delete(byName, names[0])
		delete(byName, names[1])
	}
	for name := range byName {
		require.True(t, serverOnly[name], "every noted exchange has its test: %s", name)
	}
}

type answered struct {
	status int
	body   string
}

// played returns a connector whose system gives answers and then exchanges, in order.
func played(t *testing.T, path string, before []answered, exchanges ...wiretest.Exchange) *graph.Graph {
	t.Helper()
	n := 0
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"token_type": "Bearer", "expires_in": 3599, "access_token": "noted"})
			return
		}
		body, _ := io.ReadAll(r.Body)
		if n++; n <= len(before) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(before[n-1].status)
			_, _ = io.WriteString(w, before[n-1].body)
			return
		}
		if i := n - len(before) - 1; i >= len(exchanges) || exchanges[i].Name == "" {
			t.Errorf("an unexpected %s %s", r.Method, r.URL)
			return
		}
		x := exchanges[n-len(before)-1]
		vars := wiretest.Vars{"token": "noted", "base": s.URL, "since": "abc"}
		for _, wrong := range x.CheckRequest(r, body, vars) {
			t.Errorf("%s: %s", x.Name, wrong)
		}
		if err := x.Answer(w, vars); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return at(t, s, path, nil)
}

func at(t *testing.T, s *httptest.Server, path string, options map[string]string) *graph.Graph {
	t.Helper()
	g, err := graph.New(connector.Config{
		Name: "sharepoint", System: graph.System, URL: s.URL, Options: options, Tables: map[string]connector.Table{"documents": {Path: path}},
		Auth: connector.Auth{Kind: "oauth2", TokenURL: s.URL + "/token", ClientID: "patchbay", ClientSecret: "s"},
	}, connector.Deps{Client: s.Client()})
	require.NoError(t, err)
	return g
}
