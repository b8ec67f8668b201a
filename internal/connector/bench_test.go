package connector

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkTransport is what a press pays per call of a system, beside what
// net/http itself costs.
func BenchmarkTransport(b *testing.B) {
	body := []byte(`{"items":[{"ItemNumber":"AS54888","ItemDescription":"Laptop"}],"count":1,"hasMore":false}`)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
	defer s.Close()
	client := NewClient()
	defer client.CloseIdleConnections()
	b.Run("net/http", func(b *testing.B) {
		for b.Loop() {
			r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, s.URL, nil)
			if err != nil {
				b.Fatal(err)
			}
			answer, err := client.Do(r)
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, answer.Body)
			_ = answer.Body.Close()
		}
	})
	t, err := NewTransport(Config{Name: "c", URL: s.URL}, Deps{Client: client}, Vendor{System: "acme"})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("transport", func(b *testing.B) {
		for b.Loop() {
			var got map[string]any
			if _, err := t.Do(b.Context(), Request{Method: http.MethodGet, Target: "/things"}, &got); err != nil {
				b.Fatal(err)
			}
		}
	})
}
