package conformance

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

func refusedClient(t *testing.T, h Harness) {
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error":"invalid_client","error_description":"canary ` + secret + `"}`))
	}))
	defer endpoint.Close()
	v := newVendor(t, h, 1, func(c *connector.Config) { c.Auth.TokenURL = endpoint.URL })
	_, err := v.read("")
	f := v.fault(err)
	require.Equal(t, fault.Unauthorized, f.Class)
	require.Contains(t, f.Text, "the-connection")
	require.Contains(t, f.Text, "invalid_client")
	require.Zero(t, v.calls.Load())
}

// newestOnly lets in no token but the newest given, and of those only from the
// nth on.
func (v *vendor) newestOnly(from string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") < from {
			v.fails(http.StatusUnauthorized)(w, r)
			return
		}
		v.page(w, r)
	}
}

func dyingToken(t *testing.T, h Harness) {
	v := newVendor(t, h, h.Query.Limit+1)
	page, err := v.read("")
	require.NoError(t, err)
	v.answers(v.newestOnly("token-2"))
	page, err = v.read(page.Next)
	require.NoError(t, err)
	require.Len(t, page.Rows, 1)
	require.Empty(t, page.Next)
	require.EqualValues(t, 2, v.tokens.Load())
	require.EqualValues(t, 3, v.calls.Load())
}

func refusedTwice(t *testing.T, h Harness) {
	v := newVendor(t, h, 1)
	v.answers(v.fails(http.StatusUnauthorized))
	_, err := v.read("")
	f := v.fault(err)
	require.Equal(t, fault.Unauthorized, f.Class)
	require.Contains(t, f.Text, "the-connection")
	require.EqualValues(t, 2, v.tokens.Load(), "one new token was tried")
	require.EqualValues(t, 2, v.calls.Load())
}

func tokenReuse(t *testing.T, h Harness) {
	v := newVendor(t, h, 1)
	v.mu.Lock()
	v.expires = 600
	v.mu.Unlock()
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			if _, err := v.read(""); err != nil {
				t.Errorf("reading in parallel: %v", err)
			}
		})
	}
	callers.Wait()
	require.EqualValues(t, 1, v.tokens.Load(), "all that needed a token waited for one")
	v.later(530 * time.Second)
	_, err := v.read("")
	require.NoError(t, err)
	require.EqualValues(t, 1, v.tokens.Load())
	v.later(11 * time.Second)
	_, err = v.read("")
	require.NoError(t, err)
	require.EqualValues(t, 2, v.tokens.Load(), "the last minute of a token is not used")
}

func sharedSignIn(t *testing.T, h Harness) {
	asked, release := make(chan struct{}), make(chan struct{})
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(asked) // a second call would panic
		<-release
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"token_type":"bearer","expires_in":"3599","access_token":"token-1"}`))
	}))
	defer endpoint.Close()
	v := newVendor(t, h, 1, func(c *connector.Config) { c.Auth.TokenURL = endpoint.URL })
	ctx, cancel := context.WithCancel(t.Context())
	impatient, patient := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := v.system.(connector.PageReader).ReadPage(ctx, h.Query, "")
		impatient <- err
	}()
	<-asked
	go func() {
		_, err := v.read("")
		patient <- err
	}()
	cancel()
	require.ErrorIs(t, <-impatient, context.Canceled)
	close(release)
	require.NoError(t, <-patient)
}
