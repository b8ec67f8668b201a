package telemetry

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	require.Equal(t, 200, w.Code)
	return w.Body.String()
}

func TestWhatIsRecordedIsScraped(t *testing.T) {
	t.Parallel()
	m, err := New()
	require.NoError(t, err)
	defer func() { require.NoError(t, m.Close(context.Background())) }()
	failing := false
	require.NoError(t, m.WatchQueue(func(context.Context) (Queue, error) {
		if failing {
			return Queue{}, errors.New("no database")
		}
		return Queue{OldestDue: 3 * time.Second, Due: 2, OpenBatches: 1}, nil
	}))
	m.Run("product-specs", "completed", 40*time.Millisecond)
	m.Request("POST /v1/flows/{flow}/runs", 200, time.Millisecond)
	m.Temporal().Counter("temporal_request").Inc(1)
	text := scrape(t, m)
	require.Contains(t, text, `patchbay_run_duration_seconds_count{flow="product-specs",outcome="completed"} 1`)
	require.Contains(t, text, `patchbay_http_duration_seconds_bucket{route="POST /v1/flows/{flow}/runs",status="200",le="0.005"} 1`)
	require.Contains(t, text, "patchbay_due_oldest_age_seconds 3")
	require.Contains(t, text, "temporal_request")
	require.Contains(t, text, "go_goroutines")

	failing = true
	text = scrape(t, m)
	require.NotContains(t, text, "patchbay_due_oldest_age_seconds 3", "a stale figure would hide the outage")
	require.Contains(t, text, "patchbay_run_duration_seconds_count", "and the rest is still there")
}

func TestLinesBelowTheLevelAreNotLogged(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := NewLogger(&out, zapcore.WarnLevel, true)
	log.Info("quiet")
	log.Warn("loud", zap.String("flow", "product-specs"))
	require.NotContains(t, out.String(), "quiet")
	require.Contains(t, out.String(), `"flow":"product-specs"`)
}
