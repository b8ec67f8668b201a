package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/durable"
)

// site is one Patchbay that is pressed, in one process or several.
type site struct {
	api       string   // http://HOST:PORT
	key       string   // of a principal that operates; empty: none is needed
	probes    []string // addresses of further processes with run counters
	actionsAt string   // Temporal's metrics
	database  string   // PostgreSQL's address
	running   processes
}

// quiet waits until no run is open: the writes behind answers are done. It looks
// the less often the longer it takes, so that looking costs next to nothing.
func (s *site) quiet(ctx context.Context, within time.Duration) error {
	began := time.Now()
	for deadline := began.Add(within); ; {
		open, err := s.open(ctx)
		if err != nil || open == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d runs are still open after %s", open, within)
		}
		if err := pause(ctx, max(20*time.Millisecond, time.Since(began)/20)); err != nil {
			return err
		}
	}
}

// open is how many runs are not final.
func (s *site) open(ctx context.Context) (int, error) {
	n, err := s.sum(ctx, s.api, "patchbay_open_runs", "")
	return int(n), err
}

// completed counts the runs that have ended well so far.
func (s *site) completed(ctx context.Context) (float64, error) {
	var total float64
	for _, address := range append([]string{s.api}, s.probes...) {
		n, err := s.sum(ctx, address, "patchbay_run_duration_seconds_count", `outcome="completed"`)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// sum adds up the samples of a metric that have the label.
func (s *site) sum(ctx context.Context, address, metric, label string) (float64, error) {
	resp, err := s.get(ctx, address+"/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var total float64
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, rest, _ := strings.Cut(lines.Text(), "{")
		if bare, value, ok := strings.Cut(name, " "); ok {
			name, rest = bare, value
		}
		if name != metric || !strings.Contains(rest, label) {
			continue
		}
		n, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			return 0, fmt.Errorf("reading %s: %w", metric, err)
		}
		total += n
	}
	return total, lines.Err()
}

// written tells how long the latest runs took from acceptance to their confirmed
// write, by their own times: the answer is only half of a press.
func (s *site) written(ctx context.Context) ([]time.Duration, error) {
	resp, err := s.get(ctx, s.api+"/v1/runs?limit=100&status=completed")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var page struct {
		Runs []struct {
			AcceptedAt time.Time `json:"accepted_at"`
			ClosedAt   time.Time `json:"closed_at"`
		} `json:"runs"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		return nil, err
	}
	took := make([]time.Duration, len(page.Runs))
	for i, r := range page.Runs {
		took[i] = r.ClosedAt.Sub(r.AcceptedAt)
	}
	return took, nil
}

func (s *site) get(ctx context.Context, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if s.key != "" {
		req.Header.Set("Authorization", "Bearer "+s.key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		err = fmt.Errorf("GET %s: %s", req.URL.Path, resp.Status)
	}
	return resp, err
}

// actions is Temporal's own count of billable actions so far. The server publishes
// it once a second, so a reading waits until the last action is in it.
func (s *site) actions(ctx context.Context) (float64, error) {
	if err := pause(ctx, 1500*time.Millisecond); err != nil {
		return 0, err
	}
	n, err := durable.Actions(ctx, s.actionsAt, "default")
	return float64(n), err
}

// measure has a crowd press and adds what it cost. writesFollow says that the
// round goes on after the answers until nothing is open, so that no backlog
// hides; before is the last reading of the actions, and the new one is returned.
func (s *site) measure(ctx context.Context, b *button, clients int, o options, goods *shelf, writesFollow bool, before float64) (round, float64, error) {
	var written float64
	var err error
	if writesFollow {
		if written, err = s.completed(ctx); err != nil {
			return round{}, 0, err
		}
	}
	stored, err := counted(ctx, s.database)
	if err != nil {
		return round{}, 0, err
	}
	used, err := s.running.cpu()
	if err != nil {
		return round{}, 0, err
	}
	r, err := crowd(ctx, b, clients, o.lasting, goods)
	if err != nil {
		return r, 0, err
	}
	if writesFollow {
		answered := time.Now()
		if err := s.quiet(ctx, 2*time.Minute); err != nil {
			return r, 0, err
		}
		r.completed = r.answered + time.Since(answered)
	}
	if r.cpu, err = s.running.since(used); err != nil {
		return r, 0, err
	}
	r.resident = map[string]int64{}
	for name, pid := range s.running {
		if r.resident[name], err = resident(pid); err != nil {
			return r, 0, err
		}
	}
	after, err := s.actions(ctx)
	if err != nil {
		return r, 0, err
	}
	r.actions = after - before
	now, err := counted(ctx, s.database)
	if err != nil {
		return r, 0, err
	}
	r.stored = now.since(stored)
	if writesFollow {
		total, err := s.completed(ctx)
		if err != nil {
			return r, 0, err
		}
		r.writes = total - written
	}
	return r, after, nil
}
