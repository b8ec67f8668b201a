package devenv_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/devenv"
	"patchbay/internal/fault"
)

// occupy listens on a port until the test ends.
func occupy(t *testing.T) int {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

func TestEveryTakenPortIsNamedAtOnceWithTheFlagsThatAvoidIt(t *testing.T) {
	t.Parallel()
	api, temporal, ui, sandbox := occupy(t), occupy(t), occupy(t), occupy(t)
	o := devenv.Options{
		Dir: newDir(t), HTTP: fmt.Sprintf("127.0.0.1:%d", api),
		TemporalPort: temporal, UIPort: ui, SandboxPort: sandbox,
	}
	_, err := devenv.Start(t.Context(), o)
	f := fault.Of(err)
	require.Equal(t, "devenv.port_taken", f.Code)
	for _, port := range []int{api, temporal, ui, sandbox} {
		require.Contains(t, f.Text, "port "+strconv.Itoa(port)+" for ")
	}
	require.Regexp(t, `add: --http 127\.0\.0\.1:\d+ --temporal-port \d+ --ui-port \d+ --sandbox-port \d+$`, f.Text)
	require.Empty(t, readPIDs(t, o.Dir))
	require.NoFileExists(t, filepath.Join(o.Dir, "postgres.pass"), "nothing was begun")
}

func TestAPortThatIsAskedForTwiceIsTaken(t *testing.T) {
	t.Parallel()
	ports, err := devenv.FreePorts(t.Context(), 1)
	require.NoError(t, err)
	_, err = devenv.Start(t.Context(), devenv.Options{Dir: newDir(t), HTTP: fmt.Sprintf("127.0.0.1:%d", ports[0]), UIPort: ports[0]})
	require.Contains(t, fault.Of(err).Text, "add: --ui-port ")
}

func TestAnAddressBeyondLoopbackIsRefusedBeforeAnythingIsMade(t *testing.T) {
	t.Parallel()
	for address, code := range map[string]string{
		"0.0.0.0:8080": "http.not_loopback", ":8080": "http.not_loopback", "8080": "http.listen", "127.0.0.1:http": "http.listen",
	} {
		dir := filepath.Join(t.TempDir(), "data")
		_, err := devenv.Start(t.Context(), devenv.Options{Dir: dir, HTTP: address})
		require.Equal(t, code, fault.Of(err).Code, address)
		require.NoDirExists(t, dir)
	}
}

func TestASecondStartNamesTheConsoleOfTheFirstWhateverThePorts(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	e := start(t, devenv.Options{Dir: dir, HTTP: "127.0.0.1:0", Temporal: sharedTemporal(t)})
	console := "http://" + e.Listener().Addr().String()
	require.NoError(t, e.Announce(console))
	_, err := devenv.Start(t.Context(), devenv.Options{Dir: dir, HTTP: e.Listener().Addr().String()})
	f := fault.Of(err)
	require.Equal(t, "devenv.locked", f.Code)
	require.Contains(t, f.Text, fmt.Sprintf("(process %d) runs on %s; its console is %s", os.Getpid(), dir, console))
	_, err = http.Get(e.Info().Sandbox + "/_sandbox/")
	require.NoError(t, err, "the first goes on")
}

func TestOtherUsersOfTheMachineCanReadNothing(t *testing.T) {
	t.Parallel()
	private := newDir(t) // its parents are closed to others, so the cluster of root lies elsewhere
	require.NoError(t, os.Chmod(private, 0o755))
	dirs := map[string]os.FileMode{private: 0o700}
	if os.Geteuid() == 0 {
		open, err := os.MkdirTemp("/tmp", "patchbay-open-") //nolint:usetesting // every user may pass to it
		require.NoError(t, err)
		t.Cleanup(func() { _ = os.RemoveAll(open) })
		require.NoError(t, os.Chmod(open, 0o755))
		dirs[open] = 0o711 // PostgreSQL's user has to pass
	}
	for dir, mode := range dirs {
		e := start(t, devenv.Options{Dir: dir})
		info, err := os.Stat(dir)
		require.NoError(t, err)
		if filepath.Dir(e.Info().Cluster) == dir && os.Geteuid() == 0 {
			mode = 0o711
		}
		require.Equal(t, mode, info.Mode().Perm(), dir)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		seen := 0
		for _, entry := range entries {
			info, err := entry.Info()
			if err != nil { // SQLite comes and goes with its journal
				continue
			}
			seen++
			require.Zero(t, info.Mode().Perm()&0o077, "%s is %s", entry.Name(), info.Mode())
		}
		require.Greater(t, seen, 3)
	}
}

func TestAFailedFirstStartLeavesNoCluster(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	o := devenv.Options{Dir: dir, Temporal: sharedTemporal(t), Executable: "/bin/false"}
	_, err := devenv.Start(t.Context(), o)
	require.Contains(t, fault.Of(err).Text, "the sandbox")
	info, err := devenv.ReadInfo(dir)
	require.NoError(t, err)
	require.Empty(t, info.Cluster)
	require.NoFileExists(t, filepath.Join(dir, "postgres.pass"))
	require.NoDirExists(t, filepath.Join(dir, "postgres"))
	o.Executable = ""
	start(t, o)
}

func TestARecordThatCannotBeReadIsRefusedAndLeftAsItIs(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	file := filepath.Join(dir, devenv.RecordFile)
	const torn = `{"pid": 4711, "children": [{"name": "postgr`
	require.NoError(t, os.WriteFile(file, []byte(torn), 0o600))
	for range 2 {
		_, err := devenv.Start(t.Context(), devenv.Options{Dir: dir, Temporal: sharedTemporal(t)})
		require.Equal(t, "devenv.record", fault.Of(err).Code)
		require.Contains(t, fault.Of(err).Text, "end what still runs for "+dir+" by hand, then remove that file")
		left, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, torn, string(left), "it may be all that is known of children that run") //nolint:testifylint // it is torn: no JSON
	}
	require.NoError(t, os.Remove(file))
	start(t, devenv.Options{Dir: dir, Temporal: sharedTemporal(t)})
}

func TestAClusterWithoutItsPasswordIsNamed(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	o := devenv.Options{Dir: dir, Temporal: sharedTemporal(t)}
	e := start(t, o)
	cluster := e.Info().Cluster
	stop(t, e)
	require.NoError(t, os.Remove(filepath.Join(dir, "postgres.pass")))
	require.NoError(t, os.Remove(filepath.Join(dir, devenv.RecordFile)))
	_, err := devenv.Start(t.Context(), o)
	require.Contains(t, fault.Of(err).Text, "the database of a former start is in "+cluster+", and its password is gone; begin anew with --fresh")
	require.DirExists(t, cluster, "what an earlier start made is not ours to remove")
	o.Fresh = true
	start(t, o)
}

func TestAServerThatWasGivenAndDoesNotAnswerIsNamedWithoutItsPassword(t *testing.T) {
	t.Parallel()
	ports, err := devenv.FreePorts(t.Context(), 1)
	require.NoError(t, err)
	at := fmt.Sprintf("127.0.0.1:%d", ports[0])
	_, err = devenv.Start(t.Context(), devenv.Options{Dir: newDir(t), Temporal: sharedTemporal(t), Database: "postgres://u:s3cret@" + at + "/x"})
	require.Equal(t, "PostgreSQL at "+at+" does not answer: connection refused", fault.Of(err).Text)
	_, err = devenv.Start(t.Context(), devenv.Options{Dir: newDir(t), Temporal: at})
	require.Equal(t, "Temporal does not answer at "+at, fault.Of(err).Text)
}
