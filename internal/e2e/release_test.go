package e2e

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What lets a test end a process at will has no place in what people run.
func TestTheReleasedProgramHasNoFailpoints(t *testing.T) {
	t.Parallel()
	path, err := binary()
	require.NoError(t, err)
	symbols, err := exec.CommandContext(t.Context(), "go", "tool", "nm", path).Output()
	require.NoError(t, err)
	require.Contains(t, string(symbols), "patchbay/internal/store.(*Store).Tx", "the names of the program are known")
	for line := range strings.Lines(string(symbols)) {
		require.NotContains(t, line, "patchbay/internal/failpoint")
	}
}
