package graph_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/graph"
	"patchbay/internal/fault"
)

// A part that is taken and expected again, whether alone or with those before it, is no
// progress: the upload ends, and whoever asked for it tries again later.
func TestAnUploadThatDoesNotGetFurtherEnds(t *testing.T) {
	t.Parallel()
	for name, expects := range map[string]func(put int) int64{
		"the same part":  func(int) int64 { return 0 },
		"to and fro":     func(put int) int64 { return int64(put%2) * 320 << 10 },
		"some, then not": func(put int) int64 { return min(int64(put), 3) * 320 << 10 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			puts := 0
			var s *httptest.Server
			s = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", "application/json")
				switch {
				case r.URL.Path == "/token":
					_ = json.NewEncoder(w).Encode(map[string]any{"token_type": "Bearer", "expires_in": 3599, "access_token": "noted"})
				case strings.HasSuffix(r.URL.Path, "/createUploadSession"):
					_, _ = fmt.Fprintf(w, `{"uploadUrl":"%s/up"}`, s.URL)
				case r.URL.Path == "/up":
					if r.Method == http.MethodPut {
						puts++
						w.WriteHeader(http.StatusAccepted)
					}
					_, _ = fmt.Fprintf(w, `{"nextExpectedRanges":["%d-"]}`, expects(puts))
				default:
					w.WriteHeader(http.StatusNotFound)
					_, _ = io.WriteString(w, `{"error":{"code":"itemNotFound"}}`)
				}
			}))
			t.Cleanup(s.Close)
			g := at(t, s, "drives/d", map[string]string{"part": "327680", "content_hosts": "127.0.0.1"})
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			const size = 10 << 20
			_, err := g.Store(ctx, connector.DocumentWrite{Place: connector.DocumentPlace{Table: "documents", Name: "new.bin"}, New: true,
				Content: connector.Content{Size: size, Open: func(_ context.Context, from int64) (io.ReadCloser, error) {
					return &endless{at: from, size: size}, nil
				}}})
			require.Equal(t, graph.System+".no_progress", fault.Of(err).Code, "%v", err)
			require.True(t, fault.Of(err).Retryable())
			mu.Lock()
			defer mu.Unlock()
			require.LessOrEqual(t, puts, 20)
		})
	}
}

// Graph gives a resource back in letters of its own; it is the same one.
func TestASubscriptionInOtherLettersIsKept(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var changed []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/token" {
			_ = json.NewEncoder(w).Encode(map[string]any{"token_type": "Bearer", "expires_in": 3599, "access_token": "noted"})
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if r.Method != http.MethodGet {
			changed = append(changed, r.Method+" "+r.URL.Path)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		expires := time.Now().Add(40_000 * time.Minute).UTC().Format(time.RFC3339)
		_, _ = fmt.Fprintf(w, `{"value":[{"id":"kept","resource":"Drives/B!AB/Root","notificationUrl":"https://me.example/h","expirationDateTime":%q},
			{"id":"twice","resource":"drives/b!Ab/root","notificationUrl":"https://me.example/h","expirationDateTime":%q}]}`, expires, expires)
	}))
	t.Cleanup(s.Close)
	g, err := graph.New(connector.Config{
		Name: "sharepoint", System: graph.System, URL: s.URL, Tables: map[string]connector.Table{"documents": {Path: "drives/b!Ab"}},
		Auth: connector.Auth{Kind: "oauth2", TokenURL: s.URL + "/token", ClientID: "patchbay", ClientSecret: "s"},
		Hook: connector.Hook{Scheme: "client-state", Secrets: []string{"a-secret-of-a-test"}},
	}, connector.Deps{Client: s.Client(), Now: time.Now})
	require.NoError(t, err)
	require.NoError(t, g.Subscribe(t.Context(), "https://me.example/h", []connector.Subscription{{Table: "documents"}}))
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, []string{"DELETE /v1.0/subscriptions/twice"}, changed)
}
