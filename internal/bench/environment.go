package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"patchbay/internal/devenv"
	"patchbay/internal/durable"
)

// environment is a `patchbay dev` with the lean sandbox, and nothing else on it.
type environment struct {
	HTTP     string `json:"http"`
	Temporal string `json:"temporal"`
	Sandbox  string `json:"sandbox"`
	Metrics  string `json:"metrics"`

	dir            string
	cmd            *exec.Cmd
	temporalBinary string
	next           atomic.Int64
	products       []string
}

func start(ctx context.Context) (*environment, error) {
	temporal, err := devenv.TemporalBinary()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "patchbay-bench-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	env := &environment{dir: dir, temporalBinary: temporal}
	binary := filepath.Join(dir, "patchbay")
	if out, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", binary, "patchbay").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building patchbay: %w\n%s", err, out)
	}
	log, err := os.Create(filepath.Join(dir, "dev.log"))
	if err != nil {
		return nil, err
	}
	env.cmd = exec.Command(binary, "dev", "--lean", "--data", dir, "--http", "127.0.0.1:0",
		"--temporal-port", "0", "--ui-port", "0", "--sandbox-port", "0")
	env.cmd.Dir, env.cmd.Stdout, env.cmd.Stderr = dir, log, log
	env.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := env.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(time.Minute); ; {
		if env.ready() {
			break
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			env.stop()
			return nil, fmt.Errorf("patchbay dev did not become ready; see %s", log.Name())
		}
		<-time.After(50 * time.Millisecond)
	}
	return env, env.list(ctx)
}

func (e *environment) ready() bool {
	b, err := os.ReadFile(filepath.Join(e.dir, "dev.json"))
	if err != nil || json.Unmarshal(b, e) != nil || e.HTTP == "" {
		return false
	}
	resp, err := http.Get(e.HTTP + "/readyz")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// stop ends the environment and removes what it left.
func (e *environment) stop() {
	_ = e.cmd.Process.Signal(syscall.SIGINT)
	_ = e.cmd.Wait()
	_ = os.RemoveAll(e.dir)
}

// list reads item numbers of the sandbox, so that presses have distinct parameters.
func (e *environment) list(ctx context.Context) error {
	oracle := newVendors(e)
	for offset := 0; len(e.products) < 5000; offset += 499 {
		var page struct {
			Items []struct {
				ItemNumber string `json:"ItemNumber"`
			} `json:"items"`
			HasMore bool `json:"hasMore"`
		}
		path := fmt.Sprintf("/oracle/fscmRestApi/resources/11.13.18.05/itemsV2?onlyData=true&fields=ItemNumber&orderBy=ItemNumber&limit=499&offset=%d", offset)
		if err := oracle.call(ctx, http.MethodGet, path, nil, &page); err != nil {
			return fmt.Errorf("listing products: %w", err)
		}
		for _, item := range page.Items {
			e.products = append(e.products, item.ItemNumber)
		}
		if !page.HasMore {
			break
		}
	}
	if len(e.products) == 0 {
		return fmt.Errorf("the sandbox has no products")
	}
	return nil
}

// product is the next item number; all are distinct until the list is used up.
func (e *environment) product() string {
	return e.products[int(e.next.Add(1))%len(e.products)]
}

// actions is Temporal's own count of billable actions so far. The server publishes
// it once a second, so a reading waits until the last action is in it.
func (e *environment) actions(ctx context.Context) (int64, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(1500 * time.Millisecond):
	}
	return durable.Actions(ctx, e.Metrics, "default")
}

// quiet waits until no run is open: the writes behind answers are done.
func (e *environment) quiet(ctx context.Context) error {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		open := 0
		for _, status := range []string{"accepted", "running"} {
			var page struct {
				Runs []json.RawMessage `json:"runs"`
			}
			if err := e.get(ctx, "/v1/runs?limit=1&status="+status, &page); err != nil {
				return err
			}
			open += len(page.Runs)
		}
		if open == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("runs are still open after a minute")
}

// written tells how long the latest runs took from acceptance to their confirmed
// write, by their own times: the answer is only half of a press.
func (e *environment) written(ctx context.Context) ([]time.Duration, error) {
	var page struct {
		Runs []struct {
			AcceptedAt time.Time `json:"accepted_at"`
			ClosedAt   time.Time `json:"closed_at"`
		} `json:"runs"`
	}
	if err := e.get(ctx, "/v1/runs?limit=100&status=completed", &page); err != nil {
		return nil, err
	}
	took := make([]time.Duration, len(page.Runs))
	for i, r := range page.Runs {
		took[i] = r.ClosedAt.Sub(r.AcceptedAt)
	}
	return took, nil
}

func (e *environment) get(ctx context.Context, path string, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.HTTP+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(out)
}

// resident is the memory of the patchbay process alone, in bytes.
func (e *environment) resident() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("reading the memory of patchbay (Linux only): %w", err)
	}
	for line := range bytes.Lines(b) {
		if value, ok := strings.CutPrefix(string(line), "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("no VmRSS in the process status")
}
