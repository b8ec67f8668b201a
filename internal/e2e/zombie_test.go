package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// foundWithin is how long a service may run without working.
const foundWithin = time.Minute

// readiness is the body of /readyz.
type readiness struct {
	Status string
	Checks []struct{ Name, Status, Detail string }
}

func (r readiness) of(check string) string {
	for _, c := range r.Checks {
		if c.Name == check {
			return c.Status
		}
	}
	return ""
}

// readyz asks, which takes no longer than a probe waits.
func (p *patchbay) readyz() (int, readiness) {
	p.t.Helper()
	begun := time.Now()
	var r readiness
	resp := p.do(http.MethodGet, p.HTTP+"/readyz", nil, "", &r)
	require.Less(p.t, time.Since(begun), 4*time.Second, "a probe is answered, whatever hangs")
	return resp.StatusCode, r
}

// now gives the process of a child.
func (p *patchbay) now(name string) int {
	p.t.Helper()
	p.reread()
	for _, c := range p.Children {
		if c.Name == name {
			return c.PID
		}
	}
	return 0
}

// freeze stops a process and all that it has started, for good.
func freeze(t *testing.T, pid int) {
	t.Helper()
	for _, p := range append(offspring(t, pid), pid) {
		require.NoError(t, syscall.Kill(p, syscall.SIGSTOP))
	}
}

func offspring(t *testing.T, parent int) (pids []int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, path := range all {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil && fields[1] == strconv.Itoa(parent) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// A PostgreSQL that takes connections and answers nothing: no press hangs, and it
// is started anew.
func TestAFrozenPostgreSQLIsFoundAndStartedAnew(t *testing.T) {
	t.Parallel()
	p := start(t, dataDir(t))
	before := p.now("postgres")
	p.fault("dataverse", `{"status":503,"rate":1,"count":2,"method":"POST"}`) // it is not written yet when the database freezes
	_, accepted := p.press("AS54888", "before", "")
	frozen := time.Now()
	freeze(t, before)

	for _, key := range []string{"first", "second"} {
		begun := time.Now()
		var problem struct{ Code string }
		resp := p.do(http.MethodPost, p.HTTP+"/v1/flows/product-specs/runs", http.Header{"Idempotency-Key": {key}}, `{"product_id":"AS54888"}`, &problem)
		require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, "%+v", problem)
		require.NotEmpty(t, resp.Header.Get("Retry-After"))
		require.Less(t, time.Since(begun), 2*time.Second+time.Second/2, "half a second is this machine's")
	}
	status, told := p.readyz()
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Equal(t, "fail", told.of("store"), "%+v", told)

	p.await("started anew: PostgreSQL", foundWithin, func() bool { now := p.now("postgres"); return now != before && now != 0 })
	p.await("ready", foundWithin, func() bool { status, _ := p.readyz(); return status == http.StatusOK })
	t.Logf("found, started anew and ready after %s", time.Since(frozen).Round(time.Millisecond))
	require.Less(t, time.Since(frozen), foundWithin)
	p.completed(accepted.RunID)
	status, run := p.press("AS54888", "first", "wait=20")
	require.Equal(t, http.StatusOK, status)
	p.completed(run.RunID)
}

// A Temporal that answers nothing.
func TestAFrozenTemporalIsFoundAndStartedAnew(t *testing.T) {
	t.Parallel()
	p := start(t, dataDir(t))
	before := p.now("temporal")
	frozen := time.Now()
	freeze(t, before)
	status, run := p.press("AS54888", "meanwhile", "wait=1")
	require.Contains(t, []int{http.StatusAccepted, http.StatusOK}, status, "accepted is durable, Temporal or not; on a slow machine it is there again by then")
	p.startedAnew("temporal", before, frozen)
	p.completed(run.RunID)
	require.Len(t, p.calls("oracle", http.MethodGet, "itemsV2"), 1, "it ran once")
}

// completed requires that a run comes to its good end.
func (p *patchbay) completed(id string) flow.Run {
	p.t.Helper()
	run := p.final(id, time.Minute)
	require.Equal(p.t, flow.Completed, run.Status, "%+v", run.Problem)
	p.t.Logf("completed %s after it was accepted", run.ClosedAt.Sub(run.AcceptedAt).Round(time.Millisecond))
	return run
}

// startedAnew waits until a child is another process and everything works again.
func (p *patchbay) startedAnew(child string, before int, since time.Time) {
	p.t.Helper()
	p.await("started anew: "+child, foundWithin, func() bool { now := p.now(child); return now != before && now != 0 })
	p.t.Logf("%s started anew after %s", child, time.Since(since).Round(time.Millisecond))
	p.await("ready", foundWithin, func() bool { status, _ := p.readyz(); return status == http.StatusOK })
	p.t.Logf("ready after %s", time.Since(since).Round(time.Millisecond))
	require.Less(p.t, time.Since(since), foundWithin)
}

// A Temporal that says SERVING, answers what it is asked about its namespace, and
// can do nothing: somebody else holds the lock under which it writes. Nothing but a
// canary tells.
func TestATemporalThatSaysServingAndDoesNotWorkIsFoundAndStartedAnew(t *testing.T) {
	t.Parallel()
	p := start(t, dataDir(t))
	before := p.now("temporal")
	begun := time.Now()
	unlock := lockWrites(t, filepath.Join(p.dir, "temporal.db-shm"))
	status, run := p.press("AS54888", "meanwhile", "wait=1")
	require.Equal(t, http.StatusAccepted, status)
	told := readiness{}
	p.await("not ready", foundWithin, func() bool { status, told = p.readyz(); return status != http.StatusOK })
	t.Logf("not ready after %s: %+v", time.Since(begun).Round(time.Millisecond), told)
	require.Equal(t, "ok", told.of("store"))
	require.Equal(t, "fail", told.of("canary"))
	require.Contains(t, []string{told.of("temporal"), told.of("worker")}, "fail")
	p.await("ended", foundWithin, func() bool { return !alive(before) })
	unlock()
	p.startedAnew("temporal", before, begun)
	p.completed(run.RunID)
}

// lockWrites takes the lock that a writer of an SQLite database with a write-ahead
// log needs: a byte of its index, see https://sqlite.org/walformat.html.
func lockWrites(t *testing.T, index string) (unlock func()) {
	t.Helper()
	f, err := os.OpenFile(index, os.O_RDWR, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	const writeLock = 120
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Start: writeLock, Len: 1}
	require.Eventually(t, func() bool { return syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &lock) == nil }, time.Minute, time.Millisecond)
	return func() { _ = f.Close() }
}

// A Temporal that lost its data knows neither runs nor builds nor attributes: what
// was accepted is carried out all the same, what had been written stays once.
func TestATemporalThatLostItsDataCostsNoRun(t *testing.T) {
	t.Parallel()
	p := start(t, dataDir(t))
	i := &installation{patchbay: p}
	products := i.products(2)
	before := p.now("temporal")
	// The rows are written, the answer is lost, and nobody can know yet.
	p.fault("dataverse", `[{"drop_after_commit":true,"count":1,"method":"POST"},{"status":503,"method":"GET"}]`)
	status, open := p.press(products[0], "before", "")
	require.Equal(t, http.StatusOK, status, "the answer does not wait for the write")
	p.await("written", time.Minute, func() bool { return len(p.calls("dataverse", http.MethodPost, "UpsertMultiple")) == 1 })
	freeze(t, before)
	files, err := filepath.Glob(filepath.Join(p.dir, "temporal.db*"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		require.NoError(t, os.Remove(file))
	}
	_, waiting := p.press(products[1], "meanwhile", "wait=0")
	emptied := time.Now()
	require.NoError(t, syscall.Kill(before, syscall.SIGKILL))
	p.await("started anew", foundWithin, func() bool { return p.now("temporal") != before })
	p.heal("dataverse")
	rows := p.completed(waiting.RunID).Result.Count + p.completed(open.RunID).Result.Count
	t.Logf("everything done %s after Temporal lost its data", time.Since(emptied).Round(time.Millisecond))
	i.once(rows) // what was written is found, not written again
	p.await("ready", foundWithin, func() bool { status, _ := p.readyz(); return status == http.StatusOK })
	for _, run := range []flow.Run{open, waiting} {
		var told struct {
			Entries []struct{ What, Reason string }
		}
		p.do(http.MethodGet, p.HTTP+"/v1/explain/"+run.RunID, nil, "", &told)
		ends := 0
		for _, e := range told.Entries {
			if e.What == "closed" {
				ends++
			}
		}
		require.Equal(t, 1, ends, "%+v", told)
	}
}
