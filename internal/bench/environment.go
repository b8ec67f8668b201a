package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"patchbay/flows"
	"patchbay/internal/devenv"
)

// sandboxSecret is the client secret that the stand-ins' token endpoint knows.
const sandboxSecret = "sandbox-secret"

// queued is a copy of product-specs for the section on fairness: many may wait,
// nothing is shared, and nobody's answer is too late.
const queued = "product-specs-queued"

// environment is a `patchbay dev` with the lean sandbox, and nothing else on it.
// Taken apart, it is what `dev` stood on, without the `dev`.
type environment struct {
	site
	temporal, sandbox, smtp string // addresses

	dir, binary    string
	cmd            *exec.Cmd
	parts          *devenv.Env // once it is taken apart
	temporalBinary string
	products       []string
}

func start(ctx context.Context, o options) (*environment, error) {
	temporal, err := devenv.TemporalBinary()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "patchbay-bench-")
	if err != nil {
		return nil, err
	}
	env := &environment{dir: dir, temporalBinary: temporal, binary: o.binary}
	if err := env.start(ctx, o); err != nil {
		env.stop(ctx)
		return nil, err
	}
	return env, nil
}

func (e *environment) start(ctx context.Context, o options) error {
	if err := os.Chmod(e.dir, 0o755); err != nil { // PostgreSQL's own user has to pass
		return err
	}
	if e.binary == "" {
		source := "patchbay"
		if o.profile != "" {
			source = "patchbay/internal/bench/profiled"
		}
		e.binary = filepath.Join(e.dir, "patchbay")
		if out, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", e.binary, source).CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", source, err, out)
		}
	}
	var err error
	if e.binary, err = filepath.Abs(e.binary); err != nil {
		return err
	}
	if err := e.writeFlows(); err != nil {
		return err
	}
	if e.cmd, err = e.launch("dev", []string{"PATCHBAY_BENCH_HOOK=" + benchKey}, "dev", "--lean", "--data", e.dir, "--flows", filepath.Join(e.dir, "flows"),
		"--http", "127.0.0.1:0", "--temporal-port", "0", "--ui-port", "0", "--sandbox-port", "0"); err != nil {
		return err
	}
	if err := await(ctx, "patchbay dev", time.Minute, e.ready); err != nil {
		return fmt.Errorf("%w; its log ends with\n%s", err, e.logged("dev"))
	}
	e.running["clients"] = os.Getpid()
	v, err := newVendors(ctx, e.sandbox)
	if err != nil {
		return err
	}
	e.products, err = v.products(ctx)
	return err
}

// stated is what connections.yaml says of a provider's limits.
var stated = regexp.MustCompile(`(?m)^    quotas:.*\n(      - .*\n)*`)

// writeFlows puts the example flows into a directory, and a copy of product-specs
// that lets thousands wait, and the flows of the section on events. The lean sandbox
// has no limits, so none are stated.
func (e *environment) writeFlows() error {
	dir := filepath.Join(e.dir, "flows")
	if err := os.CopyFS(dir, flows.Files); err != nil {
		return err
	}
	connections, err := flows.Files.ReadFile("connections.yaml")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "connections.yaml"), stated.ReplaceAll(connections, nil), 0o644); err != nil {
		return err
	}
	// A third target would take its time beside the two that are measured.
	if err := os.Remove(filepath.Join(dir, "contract-distribution-ibm.yaml")); err != nil {
		return err
	}
	source, err := flows.Files.ReadFile("product-specs.yaml")
	if err != nil {
		return err
	}
	at := bytes.Index(source, []byte("\nlimits:"))
	if at < 0 || !bytes.Contains(source, []byte("flow: product-specs\n")) {
		return errors.New("product-specs.yaml is not as the bench knows it: no limits, or another name")
	}
	copied := bytes.Replace(source[:at], []byte("flow: product-specs\n"), []byte("flow: "+queued+"\n"), 1)
	copied = append(copied, "\nlimits: { timeout: 10m, rows: 500, concurrent: 50, per_user: 2, queue: 6000 }\n"...)
	if err := os.WriteFile(filepath.Join(dir, queued+".yaml"), copied, 0o644); err != nil {
		return err
	}
	if err := writeSaga(dir); err != nil {
		return err
	}
	if err := writeApplications(dir); err != nil {
		return err
	}
	return writeEventFlows(dir)
}

// launch starts the binary with a log of its own. The working directory is the
// log's: a profiled build leaves its profiles there.
func (e *environment) launch(name string, env []string, args ...string) (*exec.Cmd, error) {
	dir := filepath.Join(e.dir, "run-"+name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has its own
	cmd := exec.Command(e.binary, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is ours alone
	return cmd, cmd.Start()
}

// logged is the end of a process's log.
func (e *environment) logged(name string) []byte {
	b, _ := os.ReadFile(filepath.Join(e.dir, "run-"+name, "log"))
	return b[max(0, len(b)-2000):]
}

// await polls until ok.
func await(ctx context.Context, what string, within time.Duration, ok func() bool) error {
	for deadline := time.Now().Add(within); !ok(); {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s did not become ready within %s", what, within)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func (e *environment) ready() bool {
	var record struct {
		HTTP     string `json:"http"`
		Temporal string `json:"temporal"`
		Sandbox  string `json:"sandbox"`
		SMTP     string `json:"smtp"`
		Database string `json:"database"`
		Metrics  string `json:"metrics"`
		Children []struct {
			Name string `json:"name"`
			PID  int    `json:"pid"`
		} `json:"children"`
	}
	b, err := os.ReadFile(filepath.Join(e.dir, devenv.RecordFile))
	if err != nil || json.Unmarshal(b, &record) != nil || record.HTTP == "" || !answers(record.HTTP+"/readyz") {
		return false
	}
	e.api, e.actionsAt = record.HTTP, record.Metrics
	e.temporal, e.sandbox, e.database = record.Temporal, record.Sandbox, record.Database
	e.smtp = record.SMTP
	e.running = processes{"patchbay": e.cmd.Process.Pid}
	for _, child := range record.Children {
		e.running[child.Name] = child.PID
	}
	return true
}

func answers(url string) bool {
	resp, err := http.Get(url)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// takeApart ends `patchbay dev` and starts what it stood on again, without it:
// PostgreSQL, Temporal and the lean sandbox, with the data they had. It does
// nothing the second time.
func (e *environment) takeApart(ctx context.Context) (err error) {
	if e.parts != nil {
		return nil
	}
	if err := interrupt(e.cmd); err != nil {
		return fmt.Errorf("stopping patchbay dev: %w", err)
	}
	e.cmd = nil
	if e.parts, err = devenv.Start(ctx, devenv.Options{Dir: e.dir, Lean: true, Executable: e.binary}); err != nil {
		return err
	}
	info := e.parts.Info()
	e.temporal, e.sandbox, e.database, e.actionsAt = info.Temporal, info.Sandbox, info.Database, info.Metrics
	return nil
}

// interrupt ends a process as Ctrl-C does, and waits.
func interrupt(cmd *exec.Cmd) error {
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	return cmd.Wait()
}

// stop ends the environment and removes what it left.
func (e *environment) stop(ctx context.Context) {
	if e.cmd != nil && e.cmd.Process != nil {
		_ = interrupt(e.cmd)
	}
	if e.parts != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		_ = e.parts.Close(ctx)
	}
	_ = os.RemoveAll(e.dir)
}
