package devenv_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"patchbay/internal/devenv"
	"patchbay/internal/devenv/testenv"
	"patchbay/internal/fault"
)

// newDir makes a directory for an environment and removes what it leaves,
// outside of it too.
func newDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		for _, pid := range readPIDs(t, dir) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // of a test that failed half-way
		}
		if info, err := devenv.ReadInfo(dir); err == nil && info.Cluster != "" {
			require.NoError(t, os.RemoveAll(info.Cluster))
		}
	})
	return dir
}

// start starts an environment that shares the tests' Temporal, unless o names
// ports for its own, and closes it with the test.
func start(t *testing.T, o devenv.Options) *devenv.Env {
	t.Helper()
	e, err := devenv.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { stop(t, e) })
	return e
}

func stop(t *testing.T, e *devenv.Env) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := e.Close(ctx); err != nil && !strings.Contains(err.Error(), "file already closed") {
		require.NoError(t, err)
	}
}

func sharedTemporal(t *testing.T) string {
	t.Helper()
	address, _ := testenv.Temporal(t)
	return address
}

func exec1(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	_, err = conn.Exec(t.Context(), sql)
	require.NoError(t, err)
}

// readPIDs reads the children on record.
func readPIDs(t *testing.T, dir string) map[string]int {
	t.Helper()
	var record struct {
		Children []struct {
			Name string
			PID  int
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, devenv.RecordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &record))
	pids := map[string]int{}
	for _, c := range record.Children {
		pids[c.Name] = c.PID
	}
	return pids
}

// running tells a process from one that has ended and that nobody has reaped.
func running(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return syscall.Kill(pid, 0) == nil && (err != nil || !strings.Contains(string(stat), ") Z "))
}

func TestSecondStartKeepsDataAndPorts(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	began := time.Now()
	var lines []string
	var mu sync.Mutex
	e := start(t, devenv.Options{Dir: dir, Progress: func(s string) { mu.Lock(); defer mu.Unlock(); lines = append(lines, s) }})
	t.Logf("fresh start in %s: %q", time.Since(began).Round(10*time.Millisecond), lines)
	first := e.Info()
	pids := e.PIDs()
	require.Len(t, pids, 3)
	require.NoError(t, e.Announce("http://127.0.0.1:8080"))

	info, err := devenv.ReadInfo(dir)
	require.NoError(t, err)
	require.Equal(t, "http://127.0.0.1:8080", info.HTTP)
	stat, err := os.Stat(filepath.Join(dir, devenv.RecordFile))
	require.NoError(t, err)
	require.EqualValues(t, 0o600, stat.Mode().Perm(), "the record holds the database's password")
	for _, pid := range pids {
		line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		if err == nil {
			config, err := pgx.ParseConfig(first.Database)
			require.NoError(t, err)
			require.NotContains(t, string(line), config.Password)
		}
	}

	exec1(t, first.Database, "create table kept (n int); insert into kept values (1)")
	c, err := client.Dial(client.Options{HostPort: first.Temporal})
	require.NoError(t, err)
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "kept", TaskQueue: "nobody"}, "none")
	require.NoError(t, err)
	c.Close()

	stop(t, e)
	for name, pid := range pids {
		require.False(t, running(pid), "%s was left behind", name)
	}

	began = time.Now()
	again := start(t, devenv.Options{Dir: dir})
	t.Logf("second start in %s", time.Since(began).Round(10*time.Millisecond))
	require.Equal(t, first, again.Info(), "ports and password stay")
	exec1(t, again.Info().Database, "do $$ begin assert (select n from kept) = 1; end $$")
	c, err = client.Dial(client.Options{HostPort: again.Info().Temporal})
	require.NoError(t, err)
	defer c.Close()
	_, err = c.DescribeWorkflowExecution(t.Context(), run.GetID(), run.GetRunID())
	require.NoError(t, err)
}

// own starts a Patchbay that owns an environment, and gives the way to kill it.
func own(t *testing.T, dir, temporal string) (kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "own", dir, temporal)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	return func() { require.NoError(t, cmd.Process.Kill()); _ = cmd.Wait() }
}

func TestChildrenOfAKilledOwnerAreAdopted(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	shared := sharedTemporal(t)
	kill := own(t, dir, shared)
	_, err := devenv.Start(t.Context(), devenv.Options{Dir: dir, Temporal: shared})
	f := fault.Of(err)
	require.Equal(t, "devenv.locked", f.Code, "an owner that lives keeps its directory")
	require.Regexp(t, `process \d+`, f.Text)
	kill()

	before := readPIDs(t, dir)
	left, err := devenv.ReadInfo(dir)
	require.NoError(t, err)
	exec1(t, left.Database, "select 1") // lives on without its owner
	e := start(t, devenv.Options{Dir: dir, Temporal: shared})
	require.Equal(t, before, e.PIDs())
	require.Equal(t, left, e.Info())
	stop(t, e)
	for name, pid := range before {
		require.False(t, running(pid), "%s was adopted and must end with its new owner", name)
	}
}

func TestOnlyTheChildWhoseParametersChangedIsStartedAnew(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	shared := sharedTemporal(t)
	own(t, dir, shared)()
	before := readPIDs(t, dir)
	e := start(t, devenv.Options{Dir: dir, Temporal: shared, Speed: 10})
	require.Equal(t, before["postgres"], e.PIDs()["postgres"], "adopted")
	require.NotEqual(t, before["sandbox"], e.PIDs()["sandbox"])
	require.False(t, running(before["sandbox"]))
}

func TestFreshBeginsWithEmptyData(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	shared := sharedTemporal(t)
	require.NoError(t, os.Chmod(dir, 0o700))
	e := start(t, devenv.Options{Dir: dir, Temporal: shared})
	cluster := e.Info().Cluster
	require.Equal(t, os.Geteuid() != 0, strings.HasPrefix(cluster, dir), "PostgreSQL's user cannot get to a private directory of root's")
	exec1(t, e.Info().Database, "create table kept (n int)")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("mine"), 0o600))
	stop(t, e)
	e = start(t, devenv.Options{Dir: dir, Temporal: shared, Fresh: true})
	exec1(t, e.Info().Database, "create table kept (n int)")
	require.Equal(t, cluster, e.Info().Cluster)
	require.FileExists(t, filepath.Join(dir, "notes.txt"), "only what the environment made is removed")
}

func TestRunStartsAKilledChildAgain(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	lines := make(chan string, 100)
	e := start(t, devenv.Options{Dir: dir, Temporal: sharedTemporal(t), Progress: func(s string) { lines <- s }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	for _, name := range []string{"sandbox", "postgres"} {
		old := e.PIDs()[name]
		require.NoError(t, syscall.Kill(old, syscall.SIGKILL))
		for line := range lines {
			if strings.HasSuffix(line, "is back") {
				break
			}
		}
		require.NotEqual(t, old, e.PIDs()[name])
	}
	exec1(t, e.Info().Database, "select 1")
	cancel()
	require.NoError(t, <-done)
}

// A process that runs and answers nothing looks well to everybody who counts
// processes.
func TestRunStartsAChildAgainThatHasGoneSilent(t *testing.T) {
	t.Parallel()
	lines := make(chan string, 100)
	e := start(t, devenv.Options{Dir: newDir(t), Temporal: sharedTemporal(t), Silence: time.Second, Progress: func(s string) { lines <- s }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	for _, name := range []string{"sandbox", "postgres"} {
		old := e.PIDs()[name]
		require.NoError(t, syscall.Kill(old, syscall.SIGSTOP))
		for line := range lines {
			if strings.HasSuffix(line, "is back") {
				break
			}
		}
		require.NotEqual(t, old, e.PIDs()[name])
	}
	exec1(t, e.Info().Database, "select 1")
	cancel()
	require.NoError(t, <-done)
}

func TestServersThatAreGivenAreUsedAndNotStarted(t *testing.T) {
	t.Parallel()
	host := start(t, devenv.Options{Dir: newDir(t), Temporal: sharedTemporal(t)})
	given := host.Info().Database
	e := start(t, devenv.Options{Dir: newDir(t), Temporal: sharedTemporal(t), Database: given})
	require.Equal(t, given, e.Info().Database)
	require.Empty(t, e.Info().UI)
	require.Len(t, e.PIDs(), 1, "the sandbox alone")
	exec1(t, strings.Replace(given, "/patchbay?", "/patchbay_sandbox?", 1), "select 1")
}

func TestOrdinaryUserRunsItsOwnCluster(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // the other tests are this one
	}
	// The test's own binary and directory are below one that only root may enter.
	base, err := os.MkdirTemp("/tmp", "patchbay-user-") //nolint:usetesting // see above
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	require.NoError(t, os.Chmod(base, 0o755))
	content, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	binary := filepath.Join(base, "patchbay")
	require.NoError(t, os.WriteFile(binary, content, 0o755))
	const nobody = 65534
	dir := filepath.Join(base, "data")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.Chown(dir, nobody, nobody))

	cmd := exec.Command(binary, "own", dir, sharedTemporal(t))
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	pids := readPIDs(t, dir)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGQUIT)
		}
	})
	require.Equal(t, "ready\n", line)
	require.DirExists(t, filepath.Join(dir, "postgres", "data"))
	info, err := devenv.ReadInfo(dir)
	require.NoError(t, err)
	exec1(t, info.Database, "select 1")
}
