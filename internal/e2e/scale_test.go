package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"patchbay/internal/durable"
	"patchbay/internal/flow"
)

// computer starts a process of the compute fleet and gives its identity, as Temporal sees it.
func (p *patchbay) computer() (identity string, stop func()) {
	p.t.Helper()
	cmd := exec.Command(p.cmd.Path, "worker", "--queues", "risk", "--temporal", p.Temporal, "--http", "")
	cmd.Stdout, cmd.Stderr = p.log, p.log
	cmd.Env = []string{}
	require.NoError(p.t, cmd.Start())
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
		}
	}
	p.t.Cleanup(stop)
	return fmt.Sprintf("%d@", cmd.Process.Pid), stop
}

// task is an activity that has ended, as Temporal's history has it.
type task struct {
	name, identity string
	took           time.Duration // from when it was asked for
}

// tasks are the activities of a run that have ended, in the order of their ends.
func (p *patchbay) tasks(c client.Client, workflow string) (list []task) {
	p.t.Helper()
	asked, begun := map[int64]task{}, map[int64]time.Time{}
	for i := c.GetWorkflowHistory(p.t.Context(), workflow, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); i.HasNext(); {
		e, err := i.Next()
		if gone := new(serviceerror.NotFound); errors.As(err, &gone) {
			return nil // claimed, and not with Temporal yet
		}
		require.NoError(p.t, err)
		switch e.GetEventType() {
		case enums.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
			asked[e.GetEventId()] = task{name: e.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName()}
			begun[e.GetEventId()] = e.GetEventTime().AsTime()
		case enums.EVENT_TYPE_ACTIVITY_TASK_STARTED:
			at := e.GetActivityTaskStartedEventAttributes()
			one := asked[at.GetScheduledEventId()]
			one.identity = at.GetIdentity()
			asked[at.GetScheduledEventId()] = one
		case enums.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
			id := e.GetActivityTaskCompletedEventAttributes().GetScheduledEventId()
			one := asked[id]
			one.took = e.GetEventTime().AsTime().Sub(begun[id])
			list = append(list, one)
		}
	}
	return list
}

// The fleet comes and goes: what is collected meanwhile does not notice, and takes none of its slots.
func TestTheFleetGoesFromNoneToTwoAndBackAndCollectingDoesNotNotice(t *testing.T) {
	t.Parallel()
	b := lending(t)
	b.kill()
	b.patchbay = start(t, b.dir, "--flows", filepath.Join(b.dir, "flows"), "--queues", "patchbay")
	c, err := durable.Dial(t.Context(), durable.Options{Address: b.Temporal})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	waits := func() bool {
		resp, err := http.Get(b.HTTP + "/metrics")
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return strings.Contains(string(text), `patchbay_queue_backlog{queue="risk"}`) && !strings.Contains(string(text), `patchbay_queue_backlog{queue="risk"} 0`)
	}
	const each = 8
	n := 0
	var all []string
	press := func() (runs []string) {
		for range each {
			n++
			b.applies(fmt.Sprint("s-", n))
			runs = append(runs, b.press(fmt.Sprint("s-", n)))
		}
		all = append(all, runs...)
		return runs
	}
	// collected waits until runs have what they need, and gives the median of how long a source took.
	collected := func(runs []string) time.Duration {
		var took []time.Duration
		for _, run := range runs {
			var found []task
			b.await("what "+run+" collects", 2*time.Minute, func() bool {
				var r flow.Run
				b.do(http.MethodGet, b.HTTP+"/v1/runs/"+run, nil, "", &r)
				if r.Status == flow.Accepted {
					return false
				}
				found = b.tasks(c, r.WorkflowID)
				return len(found) >= 3
			})
			for _, one := range found[:3] { // application, account and report come first
				require.Equal(t, "service.do.v1", one.name)
				took = append(took, one.took)
			}
		}
		slices.Sort(took)
		return took[len(took)/2]
	}
	warm := collected(press())
	none := collected(press())
	b.await("the backlog", time.Minute, waits)
	first, stopFirst := b.computer()
	second, stopSecond := b.computer()
	for _, run := range all {
		require.Equal(t, flow.Approve, b.ended(run).Result.Decision)
	}
	two := collected(press())
	for _, run := range all {
		b.ended(run)
	}
	decided := len(all)
	stopFirst()
	stopSecond()
	again := collected(press())
	b.await("the backlog", time.Minute, waits)

	t.Logf("collection p50: first %s, without a fleet %s, with two %s, without again %s", warm, none, two, again)
	most := max(warm*3/2, none*3/2, 40*time.Millisecond) // both were before; below that it is the clock of a busy machine
	require.LessOrEqual(t, two, most)
	require.LessOrEqual(t, again, most)
	by := map[string]int{}
	for _, run := range all[:decided] {
		var r flow.Run
		b.do(http.MethodGet, b.HTTP+"/v1/runs/"+run, nil, "", &r)
		for _, one := range b.tasks(c, r.WorkflowID) {
			computes := strings.HasPrefix(one.identity, first) || strings.HasPrefix(one.identity, second)
			require.Equal(t, one.name == "compute.v1", computes, "%s was with %s", one.name, one.identity)
			if computes {
				by[one.identity]++
			}
		}
	}
	t.Logf("computations by worker: %v", by)
	require.NotEmpty(t, by)
}
