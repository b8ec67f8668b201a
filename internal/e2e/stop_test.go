package e2e

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheEndOfTheTerminalStopsEverythingAndSaysSo(t *testing.T) {
	t.Parallel()
	p := start(t, dataDir(t))
	require.NotEmpty(t, p.Children)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		t.Fatal("patchbay dev did not stop within a minute of a hangup")
	}
	require.NoError(t, p.err)
	for _, c := range p.Children {
		require.ErrorIs(t, syscall.Kill(c.PID, 0), syscall.ESRCH, "%s was left behind", c.Name)
	}
	log, err := os.ReadFile(p.log.Name())
	require.NoError(t, err)
	require.Regexp(t, `(?s)\nstopping …\n.*stopped; the data stays in `+p.dir+"\n$", string(log))
}
