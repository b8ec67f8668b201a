package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"patchbay/internal/fault"
	"patchbay/internal/telemetry"
)

func scrape(t *testing.T, m *telemetry.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code)
	body, err := io.ReadAll(w.Body)
	require.NoError(t, err)
	return string(body)
}

func TestMetricsShowRunsRequestsBacklogAndTheSDK(t *testing.T) {
	t.Parallel()
	m, err := telemetry.New()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close(context.Background())) })
	m.RunClosed("product-specs", "completed", 30*time.Millisecond)
	m.Temporal().WithTags(map[string]string{"task_queue": "patchbay"}).Counter("temporal_request").Inc(2)
	m.Temporal().Timer("temporal_request_latency").Record(3 * time.Millisecond)
	down := true
	m.WatchBacklog(func(context.Context) (telemetry.Backlog, error) {
		if down {
			return telemetry.Backlog{}, errors.New("the database is away")
		}
		return telemetry.Backlog{OldestDue: 90 * time.Second, Due: 3, OpenRuns: 5, OpenBatches: 2, Retried: 1}, nil
	})
	require.Contains(t, scrape(t, m), "patchbay_run_duration_seconds_count", "without the database the rest is still served")
	down = false

	m.WatchShared(func(context.Context) ([]telemetry.Shared, error) {
		return []telemetry.Shared{{Flow: "share", Held: 2, Links: []telemetry.SharedLink{{From: "de", To: "fr", Table: "account", Lag: 90 * time.Second, Rows: 7}}}}, nil
	})
	m.Request("GET /v1/runs/{id}", http.StatusNotFound, time.Millisecond)

	text := scrape(t, m)
	for _, line := range []string{
		`patchbay_run_duration_seconds_bucket{flow="product-specs",outcome="completed",le="0.05"} 1`,
		`patchbay_run_duration_seconds_bucket{flow="product-specs",outcome="completed",le="0.02"} 0`,
		`patchbay_http_request_duration_seconds_count{route="GET /v1/runs/{id}",status="404"} 1`,
		`patchbay_oldest_due_seconds 90`,
		`patchbay_due_runs 3`,
		`patchbay_sync_lag_seconds{flow="share",from="de",table="account",to="fr"} 90`,
		`patchbay_sync_rows{flow="share",from="de",table="account",to="fr"} 7`,
		`patchbay_sync_held_conflicts{flow="share"} 2`,
		`patchbay_open_runs 5`,
		`patchbay_open_batches 2`,
		`patchbay_retried_runs 1`,
		`temporal_request_total{task_queue="patchbay"} 2`,
		`temporal_request_latency_seconds_bucket{le="0.005"} 1`,
		`process_resident_memory_bytes`,
	} {
		require.Contains(t, text, line)
	}
}

func TestNoMetricsDoNothing(t *testing.T) {
	t.Parallel()
	var m *telemetry.Metrics
	m.RunClosed("a", "b", 0)
	m.WatchBacklog(nil)
	m.Temporal().Counter("x").Inc(1)
	require.NoError(t, m.Close(t.Context()))
	m.Request("GET /", http.StatusOK, time.Second)
}

func TestLogShowsOfAnErrorWhatMayBeTold(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	var out bytes.Buffer
	err := fmt.Errorf("posting %s: %w", secret, fault.New(fault.Unavailable, "x.down", "nobody answered", errors.New(secret)))
	for _, json := range []bool{true, false} {
		log := telemetry.NewLogger(&out, json, zap.InfoLevel)
		log.With(zap.Error(err)).Warn("with", zap.NamedError("other", err), zap.Any("any", err))
		log.Info("mismatch", zap.Error(errors.New("[TMPRL1100] nondeterministic workflow")))
		log.Debug("silent")
	}
	require.NotContains(t, out.String(), secret)
	require.Contains(t, out.String(), "x.down: nobody answered")
	require.Contains(t, out.String(), "nondeterministic workflow")
	require.NotContains(t, out.String(), "silent")
}
