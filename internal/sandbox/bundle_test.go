package sandbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"patchbay/internal/sandbox"
	"patchbay/internal/store/storetest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		filled.Drop()
		os.Exit(status)
	}))
}

// filled is the database of a sandbox that has its first rows, which take a second to make.
var filled = storetest.NewOriginal(func(ctx context.Context, url string) error {
	s, err := sandbox.New(ctx, sandbox.Options{DatabaseURL: url, Products: products})
	if err == nil {
		s.Close()
	}
	return err
})

// products keeps the start of each test's sandbox short.
const products = 700

// bundle is a sandbox behind a real listener, and a client that is signed in.
type bundle struct {
	t     testing.TB
	url   string
	token string
	http  *http.Client
}

// each runs a test on both stores: they speak one wire.
func each(t *testing.T, test func(t *testing.T, b *bundle)) {
	t.Helper()
	t.Run("on PostgreSQL", func(t *testing.T) {
		t.Parallel()
		test(t, newBundle(t, sandbox.Options{DatabaseURL: filled.Copy(t)}))
	})
	t.Run("lean", func(t *testing.T) {
		t.Parallel()
		test(t, newBundle(t, sandbox.Options{Lean: true}))
	})
}

func newBundle(t testing.TB, opts sandbox.Options) *bundle {
	t.Helper()
	opts.Products = products
	s, err := sandbox.New(t.Context(), opts)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	ctx, stop := context.WithCancel(context.Background())
	var delivering sync.WaitGroup
	delivering.Go(func() { _ = s.Deliver(ctx) }) // ends with its context, never with an error
	t.Cleanup(func() { stop(); delivering.Wait() })
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	b := &bundle{t: t, url: server.URL, http: &http.Client{Transport: transport}}
	b.token = b.signIn("patchbay")
	return b
}

func (b *bundle) signIn(client string) string {
	b.t.Helper()
	return b.signInWith(client, "sandbox-secret")
}

func (b *bundle) signInWith(client, secret string) string {
	b.t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {client}, "client_secret": {secret},
		"scope": {b.url + "/dataverse/.default"}}
	res, err := b.http.PostForm(b.url+"/login/contoso/oauth2/v2.0/token", form)
	require.NoError(b.t, err)
	defer res.Body.Close()
	require.Equal(b.t, http.StatusOK, res.StatusCode)
	var body struct {
		AccessToken string `json:"access_token"`
	}
	require.NoError(b.t, json.NewDecoder(res.Body).Decode(&body))
	return body.AccessToken
}

// reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r reply) json(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	dec := json.NewDecoder(bytes.NewReader(r.body))
	dec.UseNumber()
	require.NoError(t, dec.Decode(&v), string(r.body))
	return v
}

// code is the error code of a Dataverse answer.
func (r reply) code(t *testing.T) string {
	t.Helper()
	e, _ := r.json(t)["error"].(map[string]any)
	s, _ := e["code"].(string)
	return s
}

// do sends a request; head is name, value, name, value …
func (b *bundle) do(method, path, body string, head ...string) reply {
	b.t.Helper()
	r, err := b.try(method, path, body, head...)
	require.NoError(b.t, err)
	return r
}

func (b *bundle) try(method, path, body string, head ...string) (reply, error) {
	b.t.Helper()
	target := path
	if strings.HasPrefix(path, "/") {
		target = b.url + strings.ReplaceAll(path, " ", "%20")
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, target, strings.NewReader(body))
	require.NoError(b.t, err)
	req.Header.Set("Authorization", "Bearer "+b.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(head); i += 2 {
		req.Header.Set(head[i], head[i+1])
	}
	res, err := b.http.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, text}, err
}

const (
	dataversePath = "/dataverse/api/data/v9.2/"
	oraclePath    = "/oracle/fscmRestApi/resources/11.13.18.05/"
)

// oracle sends a request with framework version 4.
func (b *bundle) oracle(method, path, body string, head ...string) reply {
	b.t.Helper()
	return b.do(method, oraclePath+path, body, append([]string{"REST-Framework-Version", "4"}, head...)...)
}

// newLean is for tests of wording, which is the same on both stores.
func newLean(t *testing.T) *bundle {
	t.Helper()
	return newBundle(t, sandbox.Options{Lean: true})
}
