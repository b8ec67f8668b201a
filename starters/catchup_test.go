package starters_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/devenv"
	"patchbay/internal/flow"
)

// A Temporal that is away for longer than the catch-up window starts what is within it
// when it is back, and the rest is missed: the ledger counts as many as Temporal does.
func TestWhatTemporalIsTooLateForIsMissedAndTheRestIsCaughtUp(t *testing.T) {
	t.Parallel()
	binary, err := devenv.TemporalBinary()
	require.NoError(t, err)
	ports, err := devenv.FreePorts(t.Context(), 2)
	require.NoError(t, err)
	server := devenv.TemporalServer{Port: ports[0], MetricsPort: ports[1], File: filepath.Join(t.TempDir(), "temporal.db")}
	address := fmt.Sprintf("127.0.0.1:%d", server.Port)
	start := func() *exec.Cmd {
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary, server.Args()...)
		require.NoError(t, cmd.Start())
		limited, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, devenv.AwaitTemporal(limited, address, "default"))
		return cmd
	}
	kill := func(cmd *exec.Cmd) {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed, and says so
	}
	cmd := start()
	t.Cleanup(func() { kill(cmd) })
	r := newRhythmOn(t, address, flow.Schedule{Every: time.Second, Overlap: flow.OverlapAllow, CatchUp: 10 * time.Second})
	r.keep()
	r.until("running", func(list []flow.Slot) bool { return count(list, flow.SlotRan, flow.SlotLate) >= 3 })
	kill(cmd)
	r.until("away for long", func(list []flow.Slot) bool { return count(list, flow.SlotExpected) >= 20 })
	cmd = start()
	r.until("caught up", func(list []flow.Slot) bool {
		return count(list, flow.SlotMissed) >= 3 && count(list, flow.SlotLate) >= 3 && list[len(list)-1].At.Sub(list[0].At) > 40*time.Second
	})
	list := r.settled()
	r.sameStory(list, 0)
	t.Logf("%d missed, %d late, %d in time", count(list, flow.SlotMissed), count(list, flow.SlotLate), count(list, flow.SlotRan))
}
