package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/graph"
	"patchbay/internal/fault"
	"patchbay/internal/sandbox"
	"patchbay/internal/store/storetest"
)

// library is a connection to the stand-in for SharePoint, and the stand-in as the judge.
type library struct {
	*graph.Graph

	t    *testing.T
	base string
}

var fileColumns = []string{"id", "name", "path", "size", "eTag"}

func libraryAt(t *testing.T) library {
	t.Helper()
	return libraryOf(t, sandbox.Options{Lean: true})
}

func libraryOf(t *testing.T, o sandbox.Options) library {
	t.Helper()
	o.Products = 50
	s, err := sandbox.New(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	delivered := make(chan error, 1)
	go func() { delivered <- s.Deliver(t.Context()) }() // the context ends before the cleanups
	t.Cleanup(func() { <-delivered })
	client := connector.NewClient()
	t.Cleanup(client.CloseIdleConnections)
	g, err := graph.New(connector.Config{
		Name: "sharepoint", System: graph.System, URL: server.URL + "/graph", Hook: connector.Hook{Scheme: "client-state", Secrets: []string{"the-state"}},
		Auth:    connector.Auth{Kind: "oauth2", TokenURL: server.URL + "/login/contoso/oauth2/v2.0/token", ClientID: "patchbay", ClientSecret: "sandbox-secret", Scope: "x/.default"},
		Options: map[string]string{"part": "327680"},
		Tables: map[string]connector.Table{
			"documents": {Path: "sites/contoso.sharepoint.com:/sites/ops", Columns: fileColumns, Keys: [][]string{{"id"}, {"path", "name"}}},
			"archive":   {Path: "sites/contoso.sharepoint.com:/sites/ops:/drives/Archive", Columns: fileColumns, Keys: [][]string{{"id"}}},
		},
	}, connector.Deps{Client: client})
	require.NoError(t, err)
	return library{g, t, server.URL}
}

// control asks the stand-in for something that no system has.
func (l library) control(method, path, body string) []byte {
	l.t.Helper()
	r, err := http.NewRequestWithContext(l.t.Context(), method, l.base+"/_sandbox/"+path, strings.NewReader(body))
	require.NoError(l.t, err)
	res, err := http.DefaultClient.Do(r)
	require.NoError(l.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(l.t, err)
	require.Less(l.t, res.StatusCode, 300, string(text))
	return text
}

// stored is what the stand-in has at a path.
type stored struct {
	ID, SHA256   string
	Size         int64
	Versions     int64
	QuickXorHash string
}

func (l library) stored(path string) stored {
	l.t.Helper()
	var s stored
	require.NoError(l.t, json.Unmarshal(l.control(http.MethodGet, "documents?path="+url.QueryEscape(path), ""), &s))
	return s
}

func (l library) count(operation string) int {
	l.t.Helper()
	var all map[string]map[string]int
	require.NoError(l.t, json.Unmarshal(l.control(http.MethodGet, "counts", ""), &all))
	return all["graph"][operation]
}

// all reads the changes of a library to their end.
func (l library) all(table, cursor string) (rows []connector.Row, deleted []string, end string) {
	l.t.Helper()
	for more := true; more; {
		page, err := l.ReadChanges(l.t.Context(), table, fileColumns, cursor)
		require.NoError(l.t, err)
		rows, deleted = append(rows, page.Rows...), append(deleted, page.Deleted...)
		cursor, more = page.Cursor, page.More
	}
	return rows, deleted, cursor
}

func (l library) read(id, version string) (string, int64, error) {
	l.t.Helper()
	d, err := l.Open(l.t.Context(), connector.DocumentRef{Table: "documents", ID: id, Version: version}, 0)
	if err != nil {
		return "", 0, err
	}
	defer d.Body.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, d.Body)
	return hex.EncodeToString(sum.Sum(nil)), n, err
}

// contents are n bytes that compress badly and can be read from anywhere.
func contents(n int, seed uint64) (connector.Content, string) {
	text := make([]byte, n)
	from := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = from.Read(text) // never fails
	sum := sha256.Sum256(text)
	return connector.Content{Size: int64(n), SHA256: hex.EncodeToString(sum[:]), Open: func(_ context.Context, at int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(text[at:])), nil
	}}, hex.EncodeToString(sum[:])
}

// reaching is a content that calls when once the byte at an offset is read.
func reaching(c connector.Content, offset int64, when func()) connector.Content {
	open, done := c.Open, false
	c.Open = func(ctx context.Context, at int64) (io.ReadCloser, error) {
		from, err := open(ctx, at)
		return &reached{ReadCloser: from, at: at, when: func(at int64) {
			if at > offset && !done {
				done = true
				when()
			}
		}}, err
	}
	return c
}

type reached struct {
	io.ReadCloser

	at   int64
	when func(at int64)
}

func (r *reached) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.at += int64(n)
	r.when(r.at)
	return n, err
}

func place(name string) connector.DocumentPlace {
	return connector.DocumentPlace{Table: "documents", Parent: connector.Row{"path": "/Inbox"}, Name: name}
}

func TestDocumentsAreReadStoredAndFollowed(t *testing.T) {
	t.Parallel()
	t.Run("lean", func(t *testing.T) {
		t.Parallel()
		followed(t, libraryAt(t))
	})
	t.Run("on PostgreSQL", func(t *testing.T) {
		t.Parallel()
		followed(t, libraryOf(t, sandbox.Options{DatabaseURL: storetest.Empty(t)}))
	})
}

func followed(t *testing.T, l library) {
	t.Helper()
	require.NoError(t, l.Probe(t.Context()))
	rows, _, cursor := l.all("documents", "")
	require.Len(t, rows, 5, "files, and no folders")
	empty, _, _ := l.all("archive", "")
	require.Empty(t, empty)
	byKey, err := l.ReadByKey(t.Context(), "documents", []string{"path", "name"}, []connector.Row{{"path": "/Inbox", "name": "order.csv"}, {"path": "/Inbox", "name": "none"}}, []string{"id", "size"})
	require.NoError(t, err)
	require.Nil(t, byKey[1])
	require.Equal(t, json.Number("35"), byKey[0]["size"])
	page, err := l.ReadPage(t.Context(), connector.Query{Table: "documents", Select: []string{"name"}, Where: []connector.Match{{Column: "path", Value: "/Contracts"}}}, "")
	require.NoError(t, err)
	require.Len(t, page.Rows, 3)

	for _, row := range rows {
		path, _ := row["path"].(string)
		name, _ := row["name"].(string)
		id, _ := row["id"].(string)
		version, _ := row["eTag"].(string)
		sum, _, err := l.read(id, version)
		require.NoError(t, err)
		require.Equal(t, l.stored(path+"/"+name).SHA256, sum, name)
	}

	for name, size := range map[string]int{"empty.txt": 0, "small.bin": 100_000, "a: b#c%d'e": 0, "größer 100%#'.bin": 5_000_001} {
		content, sum := contents(size, 1)
		w := connector.DocumentWrite{Place: place(name), Content: content, New: true}
		if strings.Contains(name, ":") {
			_, err := l.Store(t.Context(), w)
			require.Equal(t, "connector.document_name", fault.Of(err).Code, "a hostile name is refused before anything is sent")
			continue
		}
		none, err := l.Stored(t.Context(), w)
		require.NoError(t, err)
		require.Nil(t, none)
		made, err := l.Store(t.Context(), w)
		require.NoError(t, err, name)
		require.False(t, made.Unchanged)
		require.Equal(t, sum, l.stored("/Inbox/"+name).SHA256)
		again, err := l.Store(t.Context(), w)
		require.NoError(t, err)
		require.True(t, again.Unchanged, "a repetition changes nothing")
		require.EqualValues(t, 1, l.stored("/Inbox/"+name).Versions)
		found, err := l.Stored(t.Context(), w)
		require.NoError(t, err)
		require.Equal(t, made.ID, found.ID)

		other, sum := contents(size+1, 2)
		w.Content = other
		_, err = l.Store(t.Context(), w)
		require.Equal(t, "connector.exists", fault.Of(err).Code)
		w.New, w.Version = false, `"{OLD},1"`
		_, err = l.Store(t.Context(), w)
		require.Equal(t, "connector.changed", fault.Of(err).Code)
		w.Version = made.Version
		_, err = l.Store(t.Context(), w)
		require.NoError(t, err)
		require.Equal(t, sum, l.stored("/Inbox/"+name).SHA256)
	}

	rows, deleted, cursor := l.all("documents", cursor)
	require.Len(t, rows, 3)
	require.Empty(t, deleted)
	l.control(http.MethodPut, "faults/graph", `{"expire_tokens":true,"count":2}`)
	for range 2 { // both of its words
		_, err = l.ReadChanges(t.Context(), "documents", fileColumns, cursor)
		require.Equal(t, "connector.cursor_expired", fault.Of(err).Code)
	}
	_, _, again := l.all("documents", cursor)
	require.NotEmpty(t, again)
}

func TestADocumentThatChangesWhileItIsReadIsNeverGivenAsWhole(t *testing.T) {
	t.Parallel()
	for fault1, want := range map[string]string{
		`{"document":"changes","path":"_layouts","count":1}`:                                                     "connector.changed",
		`{"document":"corrupts","path":"_layouts","count":1}`:                                                    "vendor.checksum",
		`{"body":"truncated","path":"_layouts","count":3}`:                                                       "",
		`[{"body":"truncated","path":"_layouts","count":1},{"document":"no-range","path":"_layouts","count":1}]`: "",
		`{"status":401,"path":"_layouts","count":2}`:                                                             "",
		`{"body":"truncated","path":"_layouts"}`:                                                                 "vendor.truncated",
		`{"status":503,"path":"_layouts"}`:                                                                       "graph.unavailable",
		`{"status":429,"retry_after":7,"path":"_layouts"}`:                                                       "graph.throttled",
	} {
		t.Run(fault1, func(t *testing.T) {
			t.Parallel()
			l := libraryAt(t)
			l.control(http.MethodPut, "documents", `{"path":"/Inbox/big.bin","size":3000000}`)
			was := l.stored("/Inbox/big.bin")
			l.control(http.MethodPut, "faults/graph", fault1)
			sum, n, err := l.read(was.ID, "")
			if want == "" {
				require.NoError(t, err)
				require.Equal(t, was.SHA256, sum)
				require.Equal(t, was.Size, n)
				return
			}
			require.Error(t, err)
			require.Equal(t, want, fault.Of(err).Code)
			require.NotContains(t, err.Error(), "tempauth")
		})
	}
}

func TestAnUploadThatDiesBeginsAgainAndIsThereOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault string
		code  string // of Store; empty: it succeeds
		there bool   // what was sent is stored
	}{
		"at 90 percent":           {`{"document":"forgets","path":"uploadSessions","method":"PUT","count":1}`, "", true},
		"for ever":                {`{"document":"forgets","path":"uploadSessions","method":"PUT"}`, "graph.session_gone", false},
		"a part is refused":       {`{"status":503,"path":"uploadSessions","method":"PUT","count":2}`, "", true},
		"a part is lost":          {`{"drop_after_commit":true,"path":"uploadSessions","method":"PUT","count":1}`, "", true},
		"told to slow down":       {`{"status":429,"retry_after":1,"path":"uploadSessions","method":"PUT","count":1}`, "", true},
		"no room":                 {`{"status":507,"path":"uploadSessions","method":"PUT"}`, "graph.full", false},
		"another came in between": {`{"status":412,"path":"uploadSessions","method":"PUT"}`, "connector.changed", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := libraryAt(t)
			content, sum := contents(6_000_000, 3)
			w := connector.DocumentWrite{Place: place("up.bin"), Content: content}
			if name == "at 90 percent" {
				w.Content = reaching(content, 5_400_000, func() { l.control(http.MethodPut, "faults/graph", c.fault) })
			} else {
				l.control(http.MethodPut, "faults/graph", c.fault)
			}
			_, err := l.Store(t.Context(), w)
			l.control(http.MethodDelete, "faults/graph", "")
			if c.code != "" {
				require.Equal(t, c.code, fault.Of(err).Code)
			} else {
				require.NoError(t, err)
			}
			found, err := l.Stored(t.Context(), w)
			require.NoError(t, err)
			require.Equal(t, c.there, found != nil)
			if c.there {
				require.Equal(t, sum, l.stored("/Inbox/up.bin").SHA256)
				require.EqualValues(t, 1, l.stored("/Inbox/up.bin").Versions)
			}
		})
	}
}

func TestALostAnswerOfAnUploadIsSettledByWhatIsThere(t *testing.T) {
	t.Parallel()
	for size, path := range map[int]string{1_000: "content", 4_300_000: "uploadSessions"} {
		l := libraryAt(t)
		content, sum := contents(size, 4)
		w := connector.DocumentWrite{Place: place("lost.bin"), Content: content}
		if path == "content" {
			l.control(http.MethodPut, "faults/graph", `{"drop_after_commit":true,"method":"PUT","count":1}`)
		} else {
			w.Content = reaching(content, int64(size-10), func() {
				l.control(http.MethodPut, "faults/graph", `{"drop_after_commit":true,"method":"PUT","path":"uploadSessions","count":1}`)
			})
		}
		_, err := l.Store(t.Context(), w)
		require.Equal(t, fault.InDoubt, fault.Of(err).Class, err)
		found, err := l.Stored(t.Context(), w)
		require.NoError(t, err)
		require.NotNil(t, found)
		require.Equal(t, sum, l.stored("/Inbox/lost.bin").SHA256)
		again, err := l.Store(t.Context(), w)
		require.NoError(t, err)
		require.True(t, again.Unchanged)
	}
}

func TestNothingIsStoredOfAWriteThatMayNotLeaveOrIsNotWhatItSays(t *testing.T) {
	t.Parallel()
	l := libraryAt(t)
	refused := errors.New("sealed")
	for _, size := range []int{10, 5_000_000} {
		content, _ := contents(size, 5)
		_, err := l.Store(t.Context(), connector.DocumentWrite{Place: place("held.bin"), Content: content, Held: func() error { return refused }})
		require.ErrorIs(t, err, refused)
		wrong := content
		wrong.SHA256 = strings.Repeat("0", 64)
		_, err = l.Store(t.Context(), connector.DocumentWrite{Place: place("held.bin"), Content: wrong})
		require.Equal(t, "connector.content", fault.Of(err).Code)
		short := content
		short.Size++
		_, err = l.Store(t.Context(), connector.DocumentWrite{Place: place("held.bin"), Content: short})
		require.Equal(t, "connector.content", fault.Of(err).Code)
	}
	found, err := l.Stored(t.Context(), connector.DocumentWrite{Place: place("held.bin"), Content: connector.Content{Open: func(context.Context, int64) (io.ReadCloser, error) { return nil, refused }}})
	require.NoError(t, err)
	require.Nil(t, found)
}

func TestASubscriptionIsMadeProvedRenewedAndEnded(t *testing.T) {
	t.Parallel()
	l := libraryAt(t)
	came := make(chan connector.Delivery, 100)
	listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		d := connector.Delivery{Header: r.Header, Query: r.URL.Query(), Body: body, At: time.Now()}
		hint, err := l.Hint(r.Context(), d)
		if err == nil && hint.Answer != "" {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, hint.Answer)
			return
		}
		came <- d
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(listener.Close)
	to := []connector.Subscription{{Table: "documents", Changes: []string{"create", "update", "delete"}}}
	require.NoError(t, l.Subscribe(t.Context(), listener.URL+"/hook", to))
	made := l.count("POST subscriptions")
	require.NoError(t, l.Subscribe(t.Context(), listener.URL+"/hook", to))
	require.Equal(t, made, l.count("POST subscriptions"), "what is there is left alone")

	l.control(http.MethodPut, "faults/graph", `{"webhook":{"duplicate":3},"count":1}`)
	l.control(http.MethodPut, "documents", `{"path":"/Inbox/new.bin","size":10}`)
	for range 3 {
		d := <-came
		require.True(t, l.Recognises(d))
		hint, err := l.Hint(t.Context(), d)
		require.NoError(t, err)
		require.Equal(t, connector.Hint{Tables: []string{"documents"}}, hint)
		d.Body = bytes.Replace(d.Body, []byte("the-state"), []byte("another"), 1)
		_, err = l.Hint(t.Context(), d)
		require.Equal(t, "hook.client_state", fault.Of(err).Code)
	}
	l.control(http.MethodPost, "subscriptions/reauthorize", "")
	hint, err := l.Hint(t.Context(), <-came)
	require.NoError(t, err)
	require.True(t, hint.Renew)
	for _, word := range []string{"", strings.Repeat("x", 257), "a\r\nb"} {
		_, err := l.Hint(t.Context(), connector.Delivery{Query: url.Values{"validationToken": {word}}})
		require.Equal(t, "hook.validation", fault.Of(err).Code)
	}
	require.NoError(t, l.Unsubscribe(t.Context(), listener.URL+"/hook"))
	l.control(http.MethodPut, "documents", `{"path":"/Inbox/new.bin","size":11}`)
	require.NoError(t, l.Subscribe(t.Context(), listener.URL+"/hook", to))
	require.Empty(t, came, "nobody is told after the end")
}
