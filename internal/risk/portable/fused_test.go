package portable_test

import (
	"os"
	"os/exec"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// fused is an instruction that multiplies and adds with one rounding, in the compiler's assembly of
// arm64 and of amd64 with all that processors of 2013 have.
var fused = regexp.MustCompile(`(?m)^\s.*\t(V?FN?M(ADD|SUB)\w*)\t.*$`)

// The compiler's own output is asked: a conversion that is forgotten changes no bit on the machine
// where somebody forgot it.
func TestNoCompilerFusesAProductAndASum(t *testing.T) {
	t.Parallel()
	for _, machine := range [][]string{{"GOARCH=arm64"}, {"GOARCH=amd64", "GOAMD64=v3"}} {
		listing := func(pkg, of string) string {
			cmd := exec.CommandContext(t.Context(), "go", "build", "-o", os.DevNull, "-gcflags="+of+"=-S", pkg)
			cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), machine...)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			return string(out)
		}
		require.Regexp(t, fused, listing("./testdata/fused", "./testdata/fused"), "%v fuses, and the test sees it", machine)
		ours := listing("patchbay/internal/risk/...", "patchbay/internal/risk/...")
		require.Contains(t, ours, "patchbay/internal/risk/portable.Exp STEXT")
		require.Contains(t, ours, "live STEXT", "%v", machine)
		for _, line := range fused.FindAllString(ours, 20) {
			t.Errorf("%v: %s", machine, line)
		}
	}
}
