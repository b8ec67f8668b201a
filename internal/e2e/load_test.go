package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// load presses product-specs at a fixed rate, however long answers take: one
// press a product, as a client that keeps its key and tries again does.
type load struct {
	t        *testing.T
	base     string
	header   http.Header
	client   *http.Client
	stop     context.CancelFunc // ends the pressing, and no press
	under    sync.WaitGroup
	refused  atomic.Int64 // requests that found nobody
	sent     atomic.Int64 // presses that have begun
	mu       sync.Mutex
	outcomes []outcome
	answers  []answer
}

// answer is one answer of serve, as a client has seen it.
type answer struct {
	product, method string
	status          int
	took            time.Duration
	retry           string // Retry-After
}

// outcome is what a client of one press has seen.
type outcome struct {
	product string
	at      time.Time // when the press was due
	took    time.Duration
	tries   int // requests until the press was accepted
	run     flow.Run
	err     error
}

// patience bounds one press, retries included.
const patience = 45 * time.Second

// pressing begins to press products, one every interval, and returns at once. It
// goes on until stop, or until there are no more products.
func (i *installation) pressing(products []string, interval time.Duration) *load {
	l := &load{t: i.t, base: i.HTTP, header: i.as(), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 512}}}
	i.t.Cleanup(l.client.CloseIdleConnections)
	ctx := i.t.Context()
	pressing, stop := context.WithCancel(ctx)
	l.stop = stop
	i.t.Cleanup(stop)
	begun := time.Now()
	l.under.Go(func() {
		for n, product := range products {
			due := begun.Add(time.Duration(n) * interval)
			select {
			case <-pressing.Done():
				return
			case <-time.After(time.Until(due)):
			}
			l.sent.Add(1)
			l.under.Go(func() {
				o := l.press(ctx, product, due)
				l.mu.Lock()
				l.outcomes = append(l.outcomes, o)
				l.mu.Unlock()
			})
		}
	})
	return l
}

// press presses until there is an answer.
func (l *load) press(ctx context.Context, product string, due time.Time) (o outcome) {
	o = outcome{product: product, at: due}
	ctx, cancel := context.WithDeadline(ctx, due.Add(patience))
	defer cancel()
	defer func() { o.took = time.Since(due) }()
	address, method := l.base+"/v1/flows/product-specs/runs", http.MethodPost
	for {
		var status int
		var location string
		o.run = flow.Run{}
		status, location, o.err = l.ask(ctx, method, address, product, &o.run)
		if method == http.MethodPost {
			o.tries++
		}
		if errors.Is(o.err, syscall.ECONNREFUSED) {
			l.refused.Add(1)
		}
		switch {
		case ctx.Err() != nil:
			o.err = fmt.Errorf("no answer within %s: %d %w", patience, status, ctx.Err())
		case o.err == nil && status == http.StatusOK:
			return o
		case o.err == nil && status == http.StatusAccepted: // serve is going down, or it takes long: ask again
			address, method = l.base+location, http.MethodGet
		case o.err == nil && status != http.StatusServiceUnavailable && status != http.StatusTooManyRequests:
			o.err = fmt.Errorf("%s answered %d: %+v", method, status, o.run.Problem)
			return o
		}
		if ctx.Err() != nil {
			return o
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (l *load) ask(ctx context.Context, method, address, product string, run *flow.Run) (status int, location string, err error) {
	body := ""
	if method == http.MethodPost {
		body = fmt.Sprintf(`{"product_id":%q}`, product)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header = l.header.Clone()
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", "load-"+product)
	}
	begun := time.Now()
	resp, err := l.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, "", err
	}
	l.mu.Lock()
	l.answers = append(l.answers, answer{product, method, resp.StatusCode, time.Since(begun), resp.Header.Get("Retry-After")})
	l.mu.Unlock()
	if resp.StatusCode < 300 {
		err = json.Unmarshal(b, run)
	}
	return resp.StatusCode, resp.Header.Get("Location"), err
}

// end stops the pressing and returns when every press has been answered or given up.
func (l *load) end() []outcome {
	l.stop()
	l.under.Wait()
	slices.SortFunc(l.outcomes, func(a, b outcome) int { return a.at.Compare(b.at) })
	return l.outcomes
}

// allAnswered requires that every press got its rows, none later than within.
func allAnswered(t *testing.T, outcomes []outcome, within time.Duration) {
	t.Helper()
	var took []time.Duration
	retried := 0
	for _, o := range outcomes {
		require.NoError(t, o.err, "the press of %s after %s and %d tries", o.product, o.took, o.tries)
		require.Nil(t, o.run.Problem, "the press of %s", o.product)
		require.NotNil(t, o.run.Result, "the press of %s", o.product)
		require.NotEmpty(t, o.run.Result.Rows, "the press of %s", o.product)
		require.Less(t, o.took, within, "the press of %s waited", o.product)
		took = append(took, o.took)
		if o.tries > 1 {
			retried++
		}
	}
	slices.Sort(took)
	at := func(q float64) time.Duration { return took[int(q*float64(len(took)-1))].Round(time.Millisecond) }
	t.Logf("%d presses: median %s, 99th percentile %s, longest %s; %d were sent again", len(took), at(0.5), at(0.99), at(1), retried)
}

// settled waits until every run is completed, and returns how many rows they
// are to have written.
func (i *installation) settled(outcomes []outcome, within time.Duration) (rows int) {
	i.t.Helper()
	i.await("all final", within, func() bool {
		for _, status := range []flow.Status{flow.Accepted, flow.Running} {
			var page struct{ Runs []flow.Run }
			i.do(http.MethodGet, i.HTTP+"/v1/runs?limit=1&status="+string(status), i.as(), "", &page)
			if len(page.Runs) > 0 {
				return false
			}
		}
		return true
	})
	for _, o := range outcomes {
		var now flow.Run
		i.do(http.MethodGet, i.HTTP+"/v1/runs/"+o.run.RunID, i.as(), "", &now)
		require.Equal(i.t, flow.Completed, now.Status, "%s: %+v", o.product, now.Problem)
		rows += now.Result.Count
	}
	return rows
}

// once requires that the sandbox's Dataverse holds the rows of the load and wrote
// each once.
func (i *installation) once(rows int) {
	i.t.Helper()
	var held, writes int
	i.sandboxRows(`select count(*), coalesce(sum(writes), 0) from dataverse.msx_specification`, &held, &writes)
	require.Equal(i.t, rows, held, "no row is missing")
	require.Equal(i.t, rows, writes, "and none was written twice")
}
