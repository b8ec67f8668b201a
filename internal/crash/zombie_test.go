package crash

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/failpoint"
	"patchbay/internal/flow"
)

// A worker freezes when its attempt stands in the ledger and nothing is sent. Another
// one carries the press to its end. What the first wakes up to do comes too late.
func TestAWorkerThatWakesUpLateSendsNothing(t *testing.T) {
	t.Parallel()
	w := open(t, 2, false)
	item := w.items(1)[0]
	for name, size := range map[string]int{"alone": 1, "in a batch": 6} {
		frozen := w.workers[0]
		before, err := frozen.arm(t.Context(), failpoint.Order{Name: "run.attemptAll", Place: failpoint.After, What: failpoint.Stop})
		require.NoError(t, err)
		n := 0
		w.await("frozen: a worker", time.Minute, func() bool {
			if n%50 == 0 { // the other worker may have had the last ones
				for i := range size {
					w.press(&press{Mark: fmt.Sprintf("z-%d-%d-%d", size, n, i), Flow: "crash-read", Product: item, Step: name, cancel: never})
				}
			}
			n++
			return frozen.stopped()
		})
		w.under.Wait() // the other worker has taken over: all presses have ended
		for _, p := range w.all() {
			require.Equal(t, flow.Completed, p.status, "%s: %+v %v", p.Mark, p.run.Problem, p.err)
		}
		frozen.signal(syscall.SIGCONT)
		w.await("given up: what it was about to do", time.Minute, func() bool {
			now, err := frozen.ask(t.Context(), "GET", nil)
			return err == nil && now.Met["run.recordAll"]+now.Met["run.concludeAll"] > before.Met["run.recordAll"]+before.Met["run.concludeAll"]
		})
		w.verdict()
	}
	w.quiet()
}

// stopped reports whether the process is frozen, all of it.
func (g *guard) stopped() bool {
	g.mu.Lock()
	pid := g.cmd.Process.Pid
	g.mu.Unlock()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") T ")
}
