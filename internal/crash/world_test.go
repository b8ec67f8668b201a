package crash

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
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"patchbay/internal/devenv"
	"patchbay/internal/durable"
)

// world is an installation under test: servers, serve and workers as processes of
// their own, and the two witnesses.
type world struct {
	t    *testing.T
	ctx  context.Context //nolint:containedctx // the test's own
	dir  string
	path string // of patchbay
	log  *os.File

	env      *devenv.Env // PostgreSQL and Temporal of patchbay
	database string      // of patchbay, as its owner
	sandbox  string      // http://HOST:PORT
	mail     string      // HOST:PORT of its mail server
	judge    *pgxpool.Pool
	temporal client.Client
	key      string // an operator's
	password string // of the role of serve and worker

	serve   *guard
	workers []*guard
	*clients
	senders *senders
	gallery *gallery
	harbour *harbour // nil: nothing is shipped
}

// size is what a world has.
type size struct {
	workers  int
	apart    bool // the sandbox and the ERP have a PostgreSQL of their own, which outlives patchbay's
	pictures int  // flows that consolidate
	slots    bool // one more does so by a schedule
	ships    bool // the example flows of orders are there, and the sandbox tells of what happens
}

// open starts a world.
func open(t *testing.T, size size) *world {
	t.Helper()
	path, err := armed()
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "patchbay-data-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	w := &world{t: t, ctx: t.Context(), dir: dir, path: path, key: rand.Text(), password: rand.Text()}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of the processes is %s", filepath.Join(dir, "log"))
			return
		}
		_ = os.RemoveAll(dir)
	})
	w.log, err = os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.log.Close() })
	require.NoError(t, os.CopyFS(filepath.Join(dir, "flows"), os.DirFS("testdata/flows")))
	connections, err := os.ReadFile("../../flows/connections.yaml")
	require.NoError(t, err)
	crm, err := os.ReadFile("testdata/crm.yaml")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "flows", "connections.yaml"), slices.Concat(connections, []byte("\n"), crm), 0o600))
	sum := sha256.Sum256([]byte(w.key))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "keys"), fmt.Appendf(nil, "desk %s operate\n", hex.EncodeToString(sum[:])), 0o600))

	speed := 1.0
	if size.ships {
		launch(t, dir)
		speed = shipSpeed
	}
	w.env = w.environment("env", "", speed)
	judging := w.env
	if size.apart {
		judging = w.environment("judge", w.env.Info().Temporal, speed) // it has no need of one
	}
	w.database, w.sandbox, w.mail = w.env.Info().Database, judging.Info().Sandbox, judging.Info().SMTP
	own, err := url.Parse(judging.Info().Database)
	require.NoError(t, err)
	own.Path = "/sandbox"
	w.judge, err = pgxpool.New(w.ctx, own.String())
	require.NoError(t, err)
	t.Cleanup(w.judge.Close)
	w.hang(size, judging.Info().Database)
	w.temporal, err = durable.Dial(w.ctx, durable.Options{Address: w.env.Info().Temporal})
	require.NoError(t, err)
	t.Cleanup(w.temporal.Close)

	role, err := url.Parse(w.database)
	require.NoError(t, err)
	role.User = url.UserPassword("patchbay_app", w.password)
	servers := []string{"--database", role.String(), "--temporal", w.env.Info().Temporal}
	applying := w.applying()
	for n := range size.workers { // apply waits for one of them
		w.workers = append(w.workers, w.guard(fmt.Sprintf("worker %d", n+1), append([]string{"worker"}, servers...)...))
	}
	require.NoError(t, applying.Wait(), "apply; see %s", w.log.Name())
	w.serve = w.guard("serve", append(append([]string{"serve"}, servers...), "--keys", filepath.Join(dir, "keys"))...)
	w.clients, w.senders = newClients(w), &senders{w: w}
	for _, g := range append(w.workers, w.serve) {
		w.await("ready: "+g.name, 2*time.Minute, func() bool { return g.ready(w.ctx) })
	}
	if size.ships {
		w.harbour = openHarbour(w)
	}
	return w
}

// environment starts servers and has them watched, as `patchbay dev` does.
func (w *world) environment(name, temporal string, speed float64) *devenv.Env {
	w.t.Helper()
	env, err := devenv.Start(w.ctx, devenv.Options{Dir: filepath.Join(w.dir, name), Executable: w.path, Temporal: temporal, Speed: speed})
	require.NoError(w.t, err)
	watching, stop := context.WithCancel(context.WithoutCancel(w.ctx))
	watched := make(chan struct{})
	go func() { defer close(watched); _ = env.Run(watching) }()
	w.t.Cleanup(func() {
		stop()
		<-watched
		ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), 30*time.Second)
		defer cancel()
		require.NoError(w.t, env.Close(ctx))
	})
	return env
}

// applying begins to put the flows in force; order, if it is not empty, is what is to
// happen to the process.
func (w *world) applying(order ...string) *exec.Cmd {
	w.t.Helper()
	return w.applyingWith(nil, order...)
}

// applyingWith does so with more flags.
func (w *world) applyingWith(flags []string, order ...string) *exec.Cmd {
	w.t.Helper()
	args := append([]string{"apply", "--database", w.database, "--temporal", w.env.Info().Temporal, "--role-password", w.password}, flags...)
	cmd := exec.CommandContext(w.ctx, w.path, append(args, filepath.Join(w.dir, "flows"))...)
	cmd.Dir, cmd.Env = w.dir, append(w.environ(), order...)
	cmd.Stdout, cmd.Stderr = w.log, w.log
	require.NoError(w.t, cmd.Start())
	return cmd
}

// await polls until ok, or fails the test.
func (w *world) await(what string, within time.Duration, ok func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(within)
	for !ok() {
		select {
		case <-w.ctx.Done():
			w.t.FailNow()
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("not %s within %s", what, within)
		}
	}
}

// misbehave makes a system of the sandbox fail in these ways.
func (w *world) misbehave(system, rules string) {
	w.t.Helper()
	w.faults(http.MethodPut, system, rules)
}

// behave ends that.
func (w *world) behave(system string) {
	w.t.Helper()
	w.faults(http.MethodDelete, system, "")
}

func (w *world) faults(method, system, rules string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.ctx, method, w.sandbox+"/_sandbox/faults/"+system, strings.NewReader(rules))
	require.NoError(w.t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	require.Less(w.t, resp.StatusCode, 300)
}

// items gives numbers of the sandbox's catalogue, those with few specifications
// first.
func (w *world) items(n int) []string {
	w.t.Helper()
	rows, err := w.judge.Query(w.ctx, `select "ItemNumber" from oracle."itemsV2"`)
	require.NoError(w.t, err)
	defer rows.Close()
	var all []string
	for rows.Next() && len(all) < n {
		var item string
		require.NoError(w.t, rows.Scan(&item))
		all = append(all, item)
	}
	return all
}

// owner connects to patchbay's own database.
func (w *world) owner() (*pgx.Conn, error) { return pgx.Connect(w.ctx, w.database) }

// api asks serve for something.
func (w *world) api(path string, into any) error {
	req, err := http.NewRequestWithContext(w.ctx, http.MethodGet, w.serve.at+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+w.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}

// freeze stops a server for a while.
func (w *world) freeze(name string, d time.Duration) {
	pid := w.env.PIDs()[name]
	require.Positive(w.t, pid, "%s is not there", name)
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	time.AfterFunc(d, func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
}
