package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/flows"
)

func TestAnAnswerIsRightOnlyWithRowsOfTheProductThatWasAskedFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
		right  bool
	}{
		"its rows":                  {200, `{"result":{"count":1,"rows":[{"msx_productnumber":"P1"}]}}`, true},
		"rows of another product":   {200, `{"result":{"count":2,"rows":[{"msx_productnumber":"P1"},{"msx_productnumber":"P2"}]}}`, false},
		"no rows":                   {200, `{"result":{"count":0,"rows":[]}}`, false},
		"fewer rows than are named": {200, `{"result":{"count":2,"rows":[{"msx_productnumber":"P1"}]}}`, false},
		"accepted, not answered":    {202, `{"status":"accepted","result":null}`, false},
		"a failed run":              {200, `{"status":"failed","result":null}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			defer server.Close()
			err := newButton(server.URL).press(t.Context(), "P1")
			require.Equal(t, c.right, err == nil, "%v", err)
		})
	}
}

func TestTheConnectionsOfTheBenchStateNoLimits(t *testing.T) {
	t.Parallel()
	connections, err := flows.Files.ReadFile("connections.yaml")
	require.NoError(t, err)
	require.Contains(t, string(connections), "requests: 6000")
	bare := string(stated.ReplaceAll(connections, nil))
	for _, gone := range []string{"quotas:", "requests:", "execution:", "messages:"} {
		require.NotContains(t, bare, gone)
	}
	require.Contains(t, bare, "    limits: { concurrent: 4, timeout: 15s }\n")
	require.Contains(t, bare, "    hook: ")
}

func TestACrowdPressesNoProductTwiceWithinABucket(t *testing.T) {
	t.Parallel()
	s := newShelf([]string{"P1", "P2"})
	for _, want := range []string{"P1", "P2"} {
		got, ok := s.next()
		require.True(t, ok)
		require.Equal(t, want, got)
	}
	_, ok := s.next()
	require.False(t, ok, "both have just been pressed")
	s.used[0] = time.Now().Add(-apart)
	got, ok := s.next()
	require.True(t, ok)
	require.Equal(t, "P1", got)
	require.Greater(t, apart, bucket)
}

func TestRunsAreCountedByTheirOutcomeOverAllProcesses(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`# TYPE patchbay_run_duration_seconds histogram
patchbay_run_duration_seconds_bucket{flow="a",outcome="completed",le="+Inf"} 90
patchbay_run_duration_seconds_count{flow="a",outcome="completed"} 3
patchbay_run_duration_seconds_count{flow="b",outcome="completed"} 4
patchbay_run_duration_seconds_count{flow="b",outcome="failed"} 50
patchbay_open_runs 12
patchbay_open_runs_of_something_else 99
`))
	}))
	defer server.Close()
	s := site{api: server.URL, probes: []string{server.URL}}
	completed, err := s.completed(t.Context())
	require.NoError(t, err)
	require.Equal(t, 14.0, completed)
	open, err := s.open(t.Context())
	require.NoError(t, err)
	require.Equal(t, 12, open, "the API's process reads the same table as the other")
}

func TestWhatIsSpentCountsForTheProcessThatSpentIt(t *testing.T) {
	t.Parallel()
	p := processes{"us": os.Getpid(), "our parent": os.Getppid()}
	before, err := p.cpu()
	require.NoError(t, err)
	require.Contains(t, before, "our parent")
	deadline := time.Now().Add(10 * time.Second)
	for x := 0; ; x++ {
		if x%1_000_000 != 0 {
			continue
		}
		used, err := p.since(before)
		require.NoError(t, err)
		if used["us"] > 0.05 {
			return
		}
		require.True(t, time.Now().Before(deadline), "ten seconds of work are not on record")
	}
}

func TestTheMedianStandsBetweenTheExtremes(t *testing.T) {
	t.Parallel()
	require.Equal(t, "5 (1 … 9)", spread([]float64{9, 1, 5}, 0))
	took := make([]time.Duration, 100)
	for i := range took {
		took[i] = time.Duration(100-i) * time.Millisecond
	}
	require.Equal(t, 51*time.Millisecond, quantile(took, 0.5))
	require.Equal(t, 100*time.Millisecond, quantile(took, 0.99))
	require.Equal(t, 100*time.Millisecond, quantile(took, 1))
	require.Zero(t, quantile(nil, 0.5))
}

func TestTheFlowThatLetsThousandsWaitIsMadeFromTheExample(t *testing.T) {
	t.Parallel()
	e := &environment{dir: t.TempDir()}
	require.NoError(t, e.writeFlows(), "product-specs.yaml has changed: the bench has to follow")
}
