package paid

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
)

// counter is a provider in another process than the one that is killed.
type counter struct {
	mu      sync.Mutex
	charged map[string]int
	first   chan struct{} // closed when it has charged
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.charged[r.Header.Get("Reference")]++; len(c.charged) == 1 && c.charged[r.Header.Get("Reference")] == 1 {
		close(c.first)
	}
	_, _ = w.Write([]byte(`{"score":1}`))
}

func overHTTP(url string, then func()) Fetch {
	return func(ctx context.Context, reference string) (Reply, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
		if err != nil {
			return Reply{}, err
		}
		request.Header.Set("Reference", reference)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return Reply{}, err
		}
		defer response.Body.Close()
		then()
		var body json.RawMessage
		return Reply{Body: body}, json.NewDecoder(response.Body).Decode(&body)
	}
}

// child pays, and is killed before it can commit.
func child(url string) {
	s, err := store.Open(context.Background(), url, store.Options{})
	if err != nil {
		panic(err)
	}
	_, _ = New(s, Options{Lease: time.Second}).Ask(context.Background(), question("S", "killed"), overHTTP(os.Getenv("PAID_TEST_PROVIDER"), func() { select {} }))
}

func TestAProcessThatIsKilledBetweenPaymentAndCommitHasPaidForTheNextOne(t *testing.T) {
	t.Parallel()
	c := &counter{charged: map[string]int{}, first: make(chan struct{})}
	server := httptest.NewServer(c)
	defer server.Close()
	url := storetest.URL(t)
	p := open(t, url, Options{Lease: time.Second})
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "PAID_TEST_CHILD="+url, "PAID_TEST_PROVIDER="+server.URL)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	<-c.first
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait() // killed

	a, err := p.Ask(t.Context(), question("S", "other"), overHTTP(server.URL, func() {}))
	require.NoError(t, err)
	require.Equal(t, "other", a.Run)
	require.Equal(t, map[string]int{a.Reference: 2}, c.charged, "it was asked twice under one reference, which is charged once")
	require.Equal(t, "2.5000", read[string](t, p, `select spent::text from paid_day`))
	http.DefaultClient.CloseIdleConnections()
}
