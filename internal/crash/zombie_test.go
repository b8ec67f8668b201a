package crash

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/failpoint"
	"patchbay/internal/flow"
)

// A worker freezes when its attempt stands in the ledger and nothing is sent, or
// right before a request leaves. Another one carries the press to its end. What the
// first wakes up to do comes too late.
func TestAWorkerThatWakesUpLateSendsNothing(t *testing.T) {
	t.Parallel()
	w := open(t, size{workers: 2})
	for name, frozen := range map[string]struct {
		at    failpoint.Order
		round func(w *world, g *guard, o failpoint.Order, step string) orders
	}{
		"alone":            {failpoint.Order{Name: "run.attemptAll", Place: failpoint.After, What: failpoint.Stop}, (*world).alone},
		"before a request": {failpoint.Order{Name: "dataverse.write", Place: failpoint.Before, What: failpoint.Stop}, (*world).alone},
		"in a batch":       {failpoint.Order{Name: "run.answerAll", Place: failpoint.After, What: failpoint.Stop}, (*world).together},
	} {
		g := w.workers[0]
		var before orders
		for n := 0; !g.stopped(); n++ {
			require.Less(t, n, 20, "%s: the worker never came to %s", name, frozen.at.Name)
			before = frozen.round(w, g, frozen.at, fmt.Sprintf("%s-%d", strings.ReplaceAll(name, " ", "-"), n))
		}
		w.under.Wait() // the other worker has taken over: all presses have ended
		for _, p := range w.all() {
			require.Equal(t, flow.Completed, p.status, "%s: %+v %v", p.Mark, p.run.Problem, p.err)
		}
		g.signal(syscall.SIGCONT)
		w.await("given up: what it was about to do "+name, 2*time.Minute, func() bool {
			now, err := g.ask(t.Context(), "GET", nil)
			return err == nil && now.Met["run.recordAll"]+now.Met["run.concludeAll"] > before.Met["run.recordAll"]+before.Met["run.concludeAll"]
		})
		w.verdict()
	}
	w.quiet()
}

// alone has one press meet an order, and waits for what comes of it.
func (w *world) alone(g *guard, o failpoint.Order, step string) orders {
	w.t.Helper()
	before, err := g.arm(w.ctx, o)
	require.NoError(w.t, err)
	p := w.press(&press{Mark: "z-" + step, Flow: "crash-read", Product: w.items(1)[0], Step: step, cancel: never})
	w.await("an end of "+p.Mark, 2*time.Minute, func() bool { return g.stopped() || p.over() })
	return before
}

// together has a batch of several meet an order, and no run of one: four of these are
// in flight and answered, so that what is pressed then waits to be claimed together.
func (w *world) together(g *guard, o failpoint.Order, step string) orders {
	w.t.Helper()
	w.misbehave("dataverse", `[{"method":"POST","latency_ms":1500}]`)
	item := w.items(1)[0]
	_, err := g.arm(w.ctx, failpoint.Order{}) // what the round before did not meet must not stop a run of one
	require.NoError(w.t, err)
	var singles []*press
	for i := range 4 {
		p := w.press(&press{Mark: fmt.Sprintf("z-%s-one-%d", step, i), Flow: "crash-read", Product: item, Step: step, cancel: never})
		w.await("answered: "+p.Mark, time.Minute, func() bool { return p.answered() })
		singles = append(singles, p)
	}
	before, err := g.arm(w.ctx, o)
	require.NoError(w.t, err, "nothing was armed, so nothing has frozen")
	var crowd []*press
	for i := range 8 {
		crowd = append(crowd, w.press(&press{Mark: fmt.Sprintf("z-%s-%d", step, i), Flow: "crash-read", Product: item, Step: step, cancel: never}))
	}
	w.await("an end of the crowd", 2*time.Minute, func() bool {
		return g.stopped() || !slices.ContainsFunc(append(singles, crowd...), func(p *press) bool { return !p.over() })
	})
	defer w.behave("dataverse") // last: the other worker soon finds out what became of the attempts
	if g.stopped() {
		conn, err := w.owner()
		require.NoError(w.t, err)
		defer func() { _ = conn.Close(w.ctx) }()
		var begun int
		require.NoError(w.t, conn.QueryRow(w.ctx, `
			select count(distinct e.cause) from effect e join work on run_id = cause join batch using (batch_id)
			where e.state = 'attempt' and size > 1`).Scan(&begun))
		require.Positive(w.t, begun, "it froze with attempts of a batch on record, as many as one commit took, and nothing sent")
	}
	return before
}

// over reports whether the client has been told how the press ended.
func (p *press) over() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.ended.IsZero()
}

// answered reports whether the client has the answer.
func (p *press) answered() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answer != nil
}

// stopped reports whether the process is frozen, all of it.
func (g *guard) stopped() bool {
	g.mu.Lock()
	pid := g.cmd.Process.Pid
	g.mu.Unlock()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") T ")
}
