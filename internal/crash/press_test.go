package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"patchbay/internal/contract"
	"patchbay/internal/flow"
)

type (
	// clients are the people who press: each keeps its key, tries again until it has
	// an answer, and writes down what it was told.
	clients struct {
		w     *world
		http  *http.Client
		file  *os.File
		under sync.WaitGroup

		patience time.Duration // of each, retries included

		mu         sync.Mutex
		presses    []*press
		slowest503 time.Duration
		acks       []time.Duration // of presses that did not wait
	}

	// press is one press and what its client was told.
	press struct {
		Mark, Flow, Product string
		Step                string // what the test was doing
		key                 string // Idempotency-Key; of two with one key the answers are one
		wait                int    // seconds of Prefer; the gateway's own patience if 0
		door                bool   // by a signal to Temporal
		cancel              time.Duration
		before              func(ctx context.Context, runID string) // the cancel; may be nil
		buried              string                                  // what is done when it has failed for good: redrive, dismiss, or nothing
		mayFail             string                                  // the code of the problem that it may end with

		mu       sync.Mutex
		sent     time.Time
		accepted time.Time // the first 2xx, or Temporal's word for a signal
		ended    time.Time // it was told how the run ended
		tries    int
		runID    string
		status   flow.Status
		answer   *flow.Result
		run      flow.Run // as last seen
		cert     *flow.Certificate
		written  int64 // writes to its rows when the certificate came
		err      error
	}
)

const never = -1 * time.Second // nobody cancels

func newClients(w *world) *clients {
	file, err := os.Create(filepath.Join(w.dir, "clients.log"))
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = file.Close() })
	transport := &http.Transport{MaxIdleConnsPerHost: 512, ResponseHeaderTimeout: 40 * time.Second}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &clients{w: w, http: &http.Client{Transport: transport}, file: file, patience: 10 * time.Minute}
}

// press begins one press and returns at once.
func (c *clients) press(p *press) *press {
	if p.key == "" {
		p.key = p.Mark
	}
	c.mu.Lock()
	c.presses = append(c.presses, p)
	c.mu.Unlock()
	c.under.Go(func() {
		ctx, cancel := context.WithTimeout(c.w.ctx, c.patience)
		defer cancel()
		p.sent = time.Now()
		var err error
		if p.door {
			err = c.signal(ctx, p)
		} else {
			err = c.carry(ctx, p)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.err, p.ended = err, time.Now()
		c.note(p, "ended "+string(p.status)+fmt.Sprint(" ", err))
	})
	return p
}

// note writes down what a client was told. Nothing that a test ends can take it back.
func (c *clients) note(p *press, what string) {
	line, _ := json.Marshal(map[string]any{"at": time.Now(), "mark": p.Mark, "key": p.key, "step": p.Step, "run": p.runID, "what": what})
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.file.Write(append(line, '\n'))
}

// carry presses until it is accepted, and asks until it has ended.
func (c *clients) carry(ctx context.Context, p *press) error {
	params, _ := json.Marshal(map[string]any{"product_id": p.Product, "mark": p.Mark})
	if err := c.insist(ctx, p, http.MethodPost, "/v1/flows/"+p.Flow+"/runs", string(params)); err != nil {
		return err
	}
	if p.cancel >= 0 {
		select {
		case <-ctx.Done():
		case <-time.After(p.cancel):
		}
		if p.before != nil {
			p.before(ctx, p.runID)
		}
		if err := c.insist(ctx, p, http.MethodPost, "/v1/runs/"+p.runID+"/cancel", ""); err != nil {
			return fmt.Errorf("cancelling: %w", err)
		}
	}
	if err := c.final(ctx, p); err != nil || p.buried == "" {
		return err
	}
	for p.status == flow.Failed {
		if err := c.decide(ctx, p); err != nil || p.buried == "dismiss" {
			return err
		}
		p.status = flow.Accepted
		if err := c.final(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// final asks until the run has ended.
func (c *clients) final(ctx context.Context, p *press) error {
	for pause := 50 * time.Millisecond; !p.status.Final(); pause = min(pause*3/2, time.Second) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ended within %s: %s %s", c.patience, p.status, p.run.Waiting)
		case <-time.After(pause):
		}
		if err := c.insist(ctx, p, http.MethodGet, "/v1/runs/"+p.runID, ""); err != nil {
			return err
		}
	}
	return nil
}

// decide has somebody redrive or dismiss the dead letter of a press. That it was
// redriven already is the answer to one who did not hear it the first time.
func (c *clients) decide(ctx context.Context, p *press) error {
	body, _ := json.Marshal(map[string]any{"runs": []string{p.runID}})
	if p.buried == "dismiss" {
		body, _ = json.Marshal(map[string]any{"runs": []string{p.runID}, "reason": "a test"})
	}
	for {
		var out struct {
			Results []struct{ Outcome, Code, Detail string }
		}
		status, b, err := c.ask(ctx, p, http.MethodPost, "/v1/dead/"+p.buried, string(body))
		switch {
		case err != nil, status == http.StatusServiceUnavailable:
		case status != http.StatusOK, json.Unmarshal(b, &out) != nil, len(out.Results) != 1:
			return fmt.Errorf("%s answered %d %s", p.buried, status, b)
		case out.Results[0].Outcome != "refused", out.Results[0].Code == "dead.redriven", out.Results[0].Code == "dead.not_found":
			return nil
		default:
			return fmt.Errorf("%s was refused: %s", p.buried, b)
		}
		if !wait(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// insist asks until there is an answer.
func (c *clients) insist(ctx context.Context, p *press, method, path, body string) error {
	for {
		status, b, err := c.ask(ctx, p, method, path, body)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%s %s had no answer within %s: %w", method, path, c.patience, err)
		case err != nil, status == http.StatusServiceUnavailable, status == http.StatusTooManyRequests:
			// Nobody, or not now: again.
		case status != http.StatusOK && status != http.StatusAccepted:
			return fmt.Errorf("%s %s answered %d %s", method, path, status, b)
		case strings.HasSuffix(path, "/cancel") && status == http.StatusAccepted:
			// Sealed; the certificate is not there yet.
		case strings.HasSuffix(path, "/cancel"):
			return c.certified(ctx, p, b)
		default:
			return c.told(p, b)
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (c *clients) ask(ctx context.Context, p *press, method, path, body string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.w.serve.at+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.w.key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if strings.HasSuffix(path, "/runs") {
		p.mu.Lock()
		p.tries++
		p.mu.Unlock()
		req.Header.Set("Idempotency-Key", p.key)
		if p.wait >= 0 {
			req.Header.Set("Prefer", fmt.Sprintf("wait=%d", p.wait))
		}
	}
	began := time.Now()
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch took := time.Since(began); {
	case resp.StatusCode == http.StatusServiceUnavailable:
		c.slowest503 = max(c.slowest503, took)
	case strings.HasSuffix(path, "/runs") && p.wait == 0 && resp.StatusCode < 300:
		c.acks = append(c.acks, took)
	}
	return resp.StatusCode, b, err
}

// told takes what the gateway says of the run: one press is one run, and an answer
// that was shown stays as it is.
func (c *clients) told(p *press, body []byte) error {
	var run flow.Run
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&run); err != nil {
		return fmt.Errorf("reading a run: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.run = run
	return c.keep(p, run.RunID, run.Status, run.Result)
}

func (c *clients) keep(p *press, runID string, status flow.Status, answer *flow.Result) error {
	switch {
	case p.runID != "" && p.runID != runID:
		return fmt.Errorf("one press is two runs: %s and %s", p.runID, runID)
	case p.answer != nil && answer != nil && !reflect.DeepEqual(p.answer.Rows, answer.Rows):
		return fmt.Errorf("the answer changed from %v to %v", p.answer.Rows, answer.Rows)
	case p.answer != nil && answer == nil:
		return errors.New("the answer is gone")
	case p.status.Final() && p.status != status:
		return fmt.Errorf("the run was %s and is %s", p.status, status)
	}
	p.runID, p.status = runID, status
	if p.accepted.IsZero() {
		p.accepted = time.Now()
		c.note(p, "accepted")
	}
	if p.answer == nil && answer != nil {
		p.answer = answer
		c.note(p, fmt.Sprintf("answered %d rows", len(answer.Rows)))
	}
	return nil
}

// certified takes the certificate of a cancel, and looks what had been written.
func (c *clients) certified(ctx context.Context, p *press, body []byte) error {
	var cert flow.Certificate
	if err := json.Unmarshal(body, &cert); err != nil {
		return fmt.Errorf("reading a certificate: %w", err)
	}
	written, err := c.w.writes(ctx, p.Mark)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cert, p.written = &cert, written
	c.note(p, fmt.Sprintf("certified %s: %d done, %d undone, %d in doubt", cert.Status, len(cert.Done), len(cert.Undone), len(cert.InDoubt)))
	return nil
}

// signal presses by the second door: accepted means that Temporal has the signal.
func (c *clients) signal(ctx context.Context, p *press) error {
	params, _ := json.Marshal(map[string]any{"product_id": p.Product, "mark": p.Mark})
	id := "door-" + p.key
	for {
		p.tries++
		short, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := c.w.temporal.SignalWithStartWorkflow(short, id, contract.PressSignalName,
			contract.PressSignal{Flow: p.Flow, Params: params},
			client.StartWorkflowOptions{TaskQueue: string(contract.Main)}, contract.Instant.Name())
		cancel()
		if err == nil {
			break
		}
		if err := pauseUnless(ctx, err); err != nil {
			return fmt.Errorf("signalling: %w", err)
		}
	}
	p.mu.Lock()
	p.accepted = time.Now()
	p.mu.Unlock()
	c.note(p, "accepted by Temporal")
	for {
		var result contract.InstantResult
		short, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := c.w.temporal.GetWorkflow(short, id, "").Get(short, &result)
		cancel()
		var ended *temporal.WorkflowExecutionError
		switch {
		case err == nil && result.Answer != nil:
			p.mu.Lock()
			defer p.mu.Unlock()
			return c.keep(p, result.Answer.RunID, result.Status, result.Answer.Result)
		case errors.As(err, &ended):
			return fmt.Errorf("the workflow of the signal failed: %w", err)
		}
		if err := pauseUnless(ctx, err); err != nil {
			return fmt.Errorf("waiting for the workflow of the signal: %w", err)
		}
	}
}

// pauseUnless waits a moment before another try, unless nobody waits any more.
func pauseUnless(ctx context.Context, err error) error {
	var gone *serviceerror.NotFound
	if errors.As(err, &gone) {
		return err
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	case <-time.After(100 * time.Millisecond):
		return nil
	}
}

// all are the presses so far.
func (c *clients) all() []*press {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*press(nil), c.presses...)
}
