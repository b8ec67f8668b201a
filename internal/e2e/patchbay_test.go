package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/devenv/testenv"
	"patchbay/internal/flow"
)

// binary builds patchbay once for all tests of the package.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "patchbay-e2e-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "patchbay")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", path, "patchbay")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building patchbay: %w\n%s", err, out)
	}
	return path, nil
})

// Half of the time of a Patchbay under test is waiting.
func TestMain(m *testing.M) {
	testenv.AtATime(3)
	status := m.Run()
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(status)
}

// info is what dev.json says of a running environment.
type info struct {
	HTTP     string `json:"http"`
	Temporal string `json:"temporal"`
	UI       string `json:"ui"`
	Sandbox  string `json:"sandbox"`
	SMTP     string `json:"smtp"` // HOST:PORT of its mail server
	Database string `json:"database"`
	Bank     string `json:"bank"` // core banking, for who may read it
	Regions  map[string]struct {
		HTTP     string `json:"http"`
		Temporal string `json:"temporal"`
		Database string `json:"database"` // as the owner of the server
	} `json:"regions"`
	Children []struct {
		Name string `json:"name"`
		PID  int    `json:"pid"`
	} `json:"children"`
}

// patchbay is one `patchbay dev` and what it runs.
type patchbay struct {
	t    *testing.T
	dir  string
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{}
	err  error // of the process, once done is closed
	info
}

// dir gives a data directory that the database's own user may enter.
func dataDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "patchbay-data-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// start runs `patchbay dev` on dir and returns when it is ready. It is stopped,
// children included, when the test ends.
func start(t *testing.T, dir string, args ...string) *patchbay {
	t.Helper()
	path, err := binary()
	require.NoError(t, err)
	p := &patchbay{t: t, dir: dir, done: make(chan struct{})}
	p.log, err = os.OpenFile(filepath.Join(dir, "dev.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(t, err)
	p.cmd = exec.Command(path, append([]string{"dev", "--data", dir, "--http", "127.0.0.1:0",
		"--temporal-port", "0", "--ui-port", "0", "--sandbox-port", "0"}, args...)...)
	p.cmd.Dir = dir // no flows/ here: the embedded ones are applied
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	_ = os.Remove(filepath.Join(dir, "ready"))
	require.NoError(t, p.cmd.Start())
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(p.stop)
	p.await("ready", 2*time.Minute, func() bool {
		if !p.reread() || p.HTTP == "" {
			return false
		}
		resp, err := http.Get(p.HTTP + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return p
}

// reread learns from dev.json where everything is by now.
func (p *patchbay) reread() bool {
	b, err := os.ReadFile(filepath.Join(p.dir, "dev.json"))
	if err != nil {
		return false
	}
	p.info = info{}
	return json.Unmarshal(b, &p.info) == nil
}

// await polls until ok or fails the test with the process's own log.
func (p *patchbay) await(what string, within time.Duration, ok func() bool) {
	p.t.Helper()
	deadline := time.Now().Add(within)
	for !ok() {
		exited := false
		select {
		case <-p.done:
			exited = true
		case <-time.After(20 * time.Millisecond):
		}
		if exited || time.Now().After(deadline) {
			b, _ := os.ReadFile(p.log.Name())
			p.t.Fatalf("not %s within %s (exited: %v %v); its log:\n%s", what, within, exited, p.err, tail(b, 4000))
		}
	}
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// stop ends the environment as Ctrl-C does.
func (p *patchbay) stop() {
	select {
	case <-p.done: // killed by the test: the next start or this one ends the children
		p.reap()
		return
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		_ = p.cmd.Process.Kill()
		<-p.done
		p.reap()
		p.t.Error("patchbay dev did not stop within a minute of an interrupt")
	}
	_ = p.log.Close()
}

// reap ends the children that a killed environment left and nobody adopted.
func (p *patchbay) reap() {
	var now info
	b, err := os.ReadFile(filepath.Join(p.dir, "dev.json"))
	if err != nil || json.Unmarshal(b, &now) != nil {
		return
	}
	for _, c := range p.Children {
		for _, still := range now.Children {
			if still.PID == c.PID {
				_ = syscall.Kill(c.PID, syscall.SIGTERM)
			}
		}
	}
}

// kill ends patchbay itself as kill -9 does; its children live on.
func (p *patchbay) kill() {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Kill())
	<-p.done
}

// do sends a request and decodes the JSON answer into out.
func (p *patchbay) do(method, url string, header http.Header, body string, out any) *http.Response {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, url, strings.NewReader(body))
	require.NoError(p.t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(p.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(p.t, err)
	if out != nil {
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		require.NoError(p.t, d.Decode(out), "%s %s answered %s %s", method, url, resp.Status, b)
	}
	return resp
}

// press presses product-specs; key may be empty.
func (p *patchbay) press(product, key, prefer string) (int, flow.Run) {
	p.t.Helper()
	header := http.Header{}
	if key != "" {
		header.Set("Idempotency-Key", key)
	}
	if prefer != "" {
		header.Set("Prefer", prefer)
	}
	var run flow.Run
	resp := p.do(http.MethodPost, p.HTTP+"/v1/flows/product-specs/runs", header, fmt.Sprintf(`{"product_id":%q}`, product), &run)
	return resp.StatusCode, run
}

// final waits for the end of a run.
func (p *patchbay) final(id string, within time.Duration) flow.Run {
	p.t.Helper()
	var run flow.Run
	p.await("final: run "+id, within, func() bool {
		run = flow.Run{}
		p.do(http.MethodGet, p.HTTP+"/v1/runs/"+id, nil, "", &run)
		return run.Status.Final()
	})
	return run
}

// fault makes a system of the sandbox misbehave until the test ends.
func (p *patchbay) fault(system, fault string) {
	p.t.Helper()
	resp := p.do(http.MethodPut, p.Sandbox+"/_sandbox/faults/"+system, nil, fault, nil)
	require.Less(p.t, resp.StatusCode, 300)
}

func (p *patchbay) heal(system string) {
	p.t.Helper()
	p.do(http.MethodDelete, p.Sandbox+"/_sandbox/faults/"+system, nil, "", nil)
}

// call is one line of the sandbox's record: the outside judge.
type call struct {
	N      int    `json:"n"`
	Method string `json:"method"`
	Path   string `json:"path"`
	Query  string `json:"query"`
	Status int    `json:"status"`
}

// calls returns what the system recorded, filtered by method and a part of the path.
func (p *patchbay) calls(system, method, path string) []call {
	p.t.Helper()
	var all []call
	p.do(http.MethodGet, p.Sandbox+"/_sandbox/calls/"+system+"?since=0&limit=10000", nil, "", &all)
	var found []call
	for _, c := range all {
		if (method == "" || c.Method == method) && strings.Contains(c.Path, path) {
			found = append(found, c)
		}
	}
	return found
}

// specifications returns what the sandbox's Dataverse holds of a product, read
// as any client of Dataverse would.
func (p *patchbay) specifications(product string) []map[string]any {
	p.t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"patchbay"}, "client_secret": {"sandbox-secret"}, "scope": {p.Sandbox + "/dataverse/.default"}}
	resp, err := http.PostForm(p.Sandbox+"/login/contoso/oauth2/v2.0/token", form)
	require.NoError(p.t, err)
	defer resp.Body.Close()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	require.NoError(p.t, json.NewDecoder(resp.Body).Decode(&token))
	require.NotEmpty(p.t, token.AccessToken)
	var page struct {
		Value []map[string]any `json:"value"`
	}
	query := url.Values{"$filter": {"msx_productnumber eq '" + product + "'"}, "$select": {"msx_productnumber,msx_attribute,msx_value,msx_unit"}}
	p.do(http.MethodGet, p.Sandbox+"/dataverse/api/data/v9.2/msx_specifications?"+strings.ReplaceAll(query.Encode(), "+", "%20"),
		http.Header{"Authorization": {"Bearer " + token.AccessToken}}, "", &page)
	return page.Value
}

// alive reports whether a process exists.
func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// cli runs a command of the binary against this environment.
func (p *patchbay) cli(args ...string) (stdout, stderr string, status int) {
	p.t.Helper()
	return p.cliWithin(time.Minute, args...)
}

func (p *patchbay) cliWithin(d time.Duration, args ...string) (stdout, stderr string, status int) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), d)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.cmd.Path, args...)
	cmd.Env = append(os.Environ(), "PATCHBAY_SERVER="+p.HTTP)
	cmd.Dir = p.dir
	var out, note bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &note
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(p.t, err)
	}
	return out.String(), note.String(), cmd.ProcessState.ExitCode()
}
