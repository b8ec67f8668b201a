package e2e

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
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

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/devenv"
)

// rolled builds, once for all tests of the package, a patchbay that differs from
// binary by a comment in package workflows, and so by its build ID.
var rolled = sync.OnceValues(func() (string, error) {
	path, err := binary()
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(path)
	source, err := filepath.Abs("../../workflows/doc.go")
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(source)
	if err != nil {
		return "", err
	}
	changed, overlay := filepath.Join(dir, "doc.go"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{source: changed}})
	if err != nil {
		return "", err
	}
	for name, content := range map[string][]byte{changed: append(text, "\n// A later build.\n"...), overlay: replace} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			return "", err
		}
	}
	next := path + "-next"
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-overlay", overlay, "-o", next, "patchbay").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the next patchbay: %w\n%s", err, out)
	}
	return next, nil
})

// installation is Patchbay as it runs in production: serve and workers as
// processes of their own, put in force by apply, beside the stand-ins.
type installation struct {
	*patchbay          // HTTP is serve's, once it has been started
	application string // URL of the database, as the role of serve and worker
	temporalAt  string // where serve and worker reach Temporal,
	sandboxAt   string // and the stand-ins
	password    string // of that role
	key         string // an operator's
	flows       string // the directory that is applied
	pids        func() map[string]int
}

// install starts PostgreSQL, Temporal and the sandbox, a worker, and applies the
// example flows: new runs begin on the build of that worker. behind may change how
// serve and worker reach the others.
func install(t *testing.T, behind ...func(*installation)) (i *installation, worker *program) {
	t.Helper()
	path, err := binary()
	require.NoError(t, err)
	i = &installation{
		patchbay: &patchbay{t: t, dir: dataDir(t), done: make(chan struct{}), cmd: exec.Command(path)},
		password: rand.Text(), key: rand.Text(),
	}
	i.log, err = os.Create(filepath.Join(i.dir, "log"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = i.log.Close() })
	env, err := devenv.Start(t.Context(), devenv.Options{Dir: filepath.Join(i.dir, "env"), Executable: path})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, env.Close(ctx))
	})
	i.pids = env.PIDs
	given := env.Info()
	i.Temporal, i.Sandbox, i.SMTP, i.Database, i.UI = given.Temporal, given.Sandbox, given.SMTP, given.Database, given.UI
	role, err := url.Parse(given.Database)
	require.NoError(t, err)
	role.User = url.UserPassword("patchbay_app", i.password)
	i.application, i.temporalAt, i.sandboxAt = role.String(), i.Temporal, i.Sandbox
	i.flows, err = filepath.Abs("../../flows")
	require.NoError(t, err)
	for _, change := range behind {
		change(i)
	}
	sum := sha256.Sum256([]byte(i.key))
	require.NoError(t, os.WriteFile(filepath.Join(i.dir, "keys"), fmt.Appendf(nil, "desk %s operate\n", hex.EncodeToString(sum[:])), 0o600))

	applying := i.run(path, i.applying()...)
	worker = i.worker(path)
	applying.ended(2 * time.Minute)
	return i, worker
}

// program is a running command of the binary.
type program struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{}
	err  error // once done is closed
	at   string
}

// run starts a command; it is ended with the test.
func (i *installation) run(path string, args ...string) *program {
	i.t.Helper()
	p := &program{t: i.t, name: args[0], log: i.log, done: make(chan struct{})}
	p.cmd = exec.Command(path, args...)
	p.cmd.Dir, p.cmd.Env = i.dir, i.env()
	p.cmd.Stdout, p.cmd.Stderr = i.log, i.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(i.t, p.cmd.Start())
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	i.t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(time.Minute):
			_ = p.cmd.Process.Kill()
			<-p.done
			i.t.Errorf("%s did not stop within a minute", p.name)
		}
	})
	return p
}

func (i *installation) env() []string {
	return append(os.Environ(), "PATCHBAY_SANDBOX="+i.sandboxAt, "PATCHBAY_SANDBOX_SECRET=sandbox-secret", "PATCHBAY_SANDBOX_HOOK=c2FuZGJveC1jYWxsYmFjay1zZWNyZXQtMzItYnl0ZXM=", "PATCHBAY_SANDBOX_SMTP="+i.SMTP)
}

// applying is the command that puts the example flows in force, and the build
// current once a worker of it polls.
func (i *installation) applying() []string {
	return []string{"apply", "--database", i.Database, "--temporal", i.Temporal, "--role-password", i.password, i.flows}
}

// promote makes the build of path current.
func (i *installation) promote(path string) {
	i.t.Helper()
	i.run(path, i.applying()...).ended(2 * time.Minute)
}

// worker starts a worker and waits until it is up. One that ends before, since
// its role is not there yet, is started again.
func (i *installation) worker(path string) *program {
	i.t.Helper()
	address := freePort(i.t)
	start := func() *program {
		p := i.run(path, "worker", "--database", i.application, "--temporal", i.temporalAt, "--http", address)
		p.at = "http://" + address
		return p
	}
	p := start()
	i.await("up: worker", time.Minute, func() bool {
		select {
		case <-p.done:
			p = start()
		default:
		}
		return p.ready()
	})
	return p
}

// serve starts API and relay on address and waits until they are up.
func (i *installation) serve(path, address string) *program {
	i.t.Helper()
	p := i.run(path, "serve", "--database", i.application, "--temporal", i.temporalAt, "--http", address, "--keys", filepath.Join(i.dir, "keys"))
	p.at = "http://" + address
	i.HTTP = p.at
	i.await("up: serve", time.Minute, p.ready)
	return p
}

// ready reports whether the program says that it is.
func (p *program) ready() bool {
	select {
	case <-p.done:
		return false
	default:
	}
	resp, err := http.Get(p.at + "/readyz")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// terminate asks the program to end, as a supervisor does.
func (p *program) terminate() { _ = p.cmd.Process.Signal(syscall.SIGTERM) }

// ended waits for the orderly end of the program.
func (p *program) ended(within time.Duration) {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		b, _ := os.ReadFile(p.log.Name())
		p.t.Fatalf("%s did not end within %s; the log ends:\n%s", p.name, within, tail(b, 4000))
	}
	require.NoError(p.t, p.err, "%s ends in order", p.name)
}

// kill ends the program as kill -9 does.
func (p *program) kill() {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Kill())
	<-p.done
}

// as is the header of the operator.
func (i *installation) as() http.Header { return http.Header{"Authorization": {"Bearer " + i.key}} }

// sandboxRows asks the sandbox's own database, of which Patchbay knows nothing.
func (i *installation) sandboxRows(query string, into ...any) {
	i.t.Helper()
	u, err := url.Parse(i.Database)
	require.NoError(i.t, err)
	u.Path = "/sandbox"
	conn, err := pgx.Connect(i.t.Context(), u.String())
	require.NoError(i.t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(i.t.Context())) }()
	require.NoError(i.t, conn.QueryRow(i.t.Context(), query).Scan(into...))
}

// products lists item numbers of the sandbox, all different.
func (p *patchbay) products(n int) []string {
	p.t.Helper()
	var all []string
	for offset := 0; len(all) < n; offset += 499 {
		var page struct {
			Items []struct{ ItemNumber string } `json:"items"`
		}
		header := http.Header{"Authorization": {"Bearer " + p.token()}, "Rest-Framework-Version": {"4"}}
		p.do(http.MethodGet, fmt.Sprintf("%s/oracle/fscmRestApi/resources/11.13.18.05/itemsV2?onlyData=true&fields=ItemNumber&orderBy=ItemNumber&limit=499&offset=%d", p.Sandbox, offset), header, "", &page)
		require.NotEmpty(p.t, page.Items, "the catalogue has %d products, not %d", len(all), n)
		for _, item := range page.Items {
			all = append(all, item.ItemNumber)
		}
	}
	return all[:n]
}

// token is a client's of the sandbox's systems.
func (p *patchbay) token() string {
	p.t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"patchbay"}, "client_secret": {"sandbox-secret"}, "scope": {p.Sandbox + "/dataverse/.default"}}
	var token struct {
		AccessToken string `json:"access_token"`
	}
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.Sandbox+"/login/contoso/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	require.NoError(p.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(p.t, err)
	defer resp.Body.Close()
	require.NoError(p.t, json.NewDecoder(resp.Body).Decode(&token))
	return token.AccessToken
}
