package durable

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/fault"
)

// Actions reads the server's own count of billable actions of a namespace from
// its Prometheus endpoint, summed over every label: what a run costs on Temporal
// is the difference of two readings. Histories would not tell; they leave out
// retries. The server publishes its counters once a second, so a reading lags
// by up to that.
func Actions(ctx context.Context, metricsURL, namespace string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, metricsURL, nil)
	if err != nil {
		return 0, fault.New(fault.Invalid, "temporal.metrics", "the address of Temporal's metrics is no URL", err)
	}
	once := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := once.Do(request)
	if err != nil {
		return 0, fault.New(fault.Unavailable, "temporal.metrics", "Temporal's metrics do not answer", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return 0, fault.New(fault.Unavailable, "temporal.metrics", fmt.Sprintf("Temporal's metrics answer with status %d", response.StatusCode), nil)
	}
	return sumActions(response.Body, namespace)
}

// sumActions adds up the samples of the counter in Prometheus' text format.
func sumActions(body io.Reader, namespace string) (int64, error) {
	label := `namespace="` + namespace + `"`
	var sum float64
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, "action{") && !strings.HasPrefix(line, "action_total{") {
			continue
		}
		end := strings.LastIndexByte(line, '}')
		if end < 0 || !strings.Contains(line[:end], label) {
			continue
		}
		value, _, _ := strings.Cut(strings.TrimSpace(line[end+1:]), " ")
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fault.New(fault.Bug, "temporal.metrics", "a sample of Temporal's metrics is no number", err)
		}
		sum += n
	}
	if err := lines.Err(); err != nil {
		return 0, fault.New(fault.Unavailable, "temporal.metrics", "Temporal's metrics broke off", err)
	}
	return int64(sum), nil
}
