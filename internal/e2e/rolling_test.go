package e2e

import (
	"flag"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

var rate = flag.Int("rate", 20, "presses a second while a new build is rolled out")

// The order of a roll-out: a worker of the new build, apply, then the old worker
// goes; serve follows. Those who press need not know.
//
// Not parallel: no press may wait longer than five seconds, and three more for what this
// machine has to do for the tests of other packages.
func TestANewBuildIsRolledOutWhilePeoplePress(t *testing.T) { //nolint:paralleltest // see above
	old, err := binary()
	require.NoError(t, err)
	next, err := rolled()
	require.NoError(t, err)
	i, first := install(t)
	address := freePort(t)
	before := i.serve(old, address)

	const seconds = 45 // at most; it is over when everything is new
	began := time.Now()
	stage := func(what string) { t.Logf("%5.2f s: %s", time.Since(began).Seconds(), what) }
	l := i.pressing(i.products(seconds**rate), time.Second/time.Duration(*rate))
	i.pressed(l, *rate)
	stage("the next worker starts")
	i.worker(next)
	stage("it is made current")
	i.promote(next)
	i.pressed(l, *rate)
	stage("the old worker is to end")
	first.terminate()
	first.ended(30 * time.Second)
	stage("it has ended")
	i.pressed(l, *rate)
	stage("serve is to end")
	before.terminate()
	before.ended(30 * time.Second)
	i.await("refused: somebody pressed meanwhile", time.Minute, func() bool { return l.refused.Load() > 0 })
	stage("the next serve starts")
	i.serve(next, address)
	stage("it is up")

	i.pressed(l, *rate)
	outcomes := l.end()
	allAnswered(t, outcomes, 15*time.Second)
	i.once(i.settled(outcomes, time.Minute))
}

// A run that waits for its target may outlive its build: a worker of the next one
// goes on with it.
func TestARunThatNobodyWorksForGoesOnWithTheNextBuild(t *testing.T) {
	t.Parallel()
	old, err := binary()
	require.NoError(t, err)
	next, err := rolled()
	require.NoError(t, err)
	i, first := install(t)
	i.serve(old, freePort(t))
	i.fault("dataverse", `{"status":503,"rate":1,"method":"POST"}`)
	var run flow.Run
	resp := i.do(http.MethodPost, i.HTTP+"/v1/flows/product-specs/runs", i.as(), `{"product_id":"AS54888"}`, &run)
	require.Equal(t, http.StatusOK, resp.StatusCode, "the answer does not wait for the write")
	i.await("tried", time.Minute, func() bool { return len(i.calls("dataverse", http.MethodPost, "UpsertMultiple")) > 0 })

	i.worker(next)
	i.promote(next)
	first.kill()
	i.heal("dataverse")
	i.await("final", time.Minute, func() bool {
		i.do(http.MethodGet, i.HTTP+"/v1/runs/"+run.RunID, i.as(), "", &run)
		return run.Status.Final()
	})
	require.Equal(t, flow.Completed, run.Status, "%+v", run.Problem)
	i.once(run.Result.Count)
}

// pressed waits until n more presses have been answered.
func (i *installation) pressed(l *load, n int) {
	i.t.Helper()
	count := func() int { l.mu.Lock(); defer l.mu.Unlock(); return len(l.outcomes) }
	already := count()
	i.await(fmt.Sprintf("%d presses answered", n), time.Minute, func() bool { return count() >= already+n })
}
