package fault_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
)

func TestAPathHasOneSpelling(t *testing.T) {
	t.Parallel()
	require.Equal(t, "params", fault.At("", "params"))
	require.Equal(t, "params.lines[0].msx_unit", fault.At(fault.AtIndex(fault.At("params", "lines"), 0), "msx_unit"))
	require.Equal(t, `params["unit.price"].eur`, fault.At(fault.At("params", "unit.price"), "eur"), "a key with a dot is no two keys")
	require.Equal(t, `params["a\"]"]`, fault.At("params", `a"]`))
	require.Equal(t, `[""]`, fault.At("", ""))
	require.Equal(t, "[\"\uFFFD[2J\"]", fault.At("", "\x1b[2J"), "a terminal shows it as it is")
}

func TestALongPathIsCut(t *testing.T) {
	t.Parallel()
	path := "params"
	for range 100 {
		path = fault.At(path, strings.Repeat("k", 60))
		require.LessOrEqual(t, len(path), 203)
	}
	require.True(t, strings.HasSuffix(path, "…"))
	require.Equal(t, path, fault.At(path, "x"))
	require.Equal(t, path, fault.AtIndex(path, 1))
}
