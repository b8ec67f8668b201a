package e2e

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// What a calculator in the shadow does is kept and compared, and changes no decision; the same
// calculator in the place of the live one ends every decision by a name, and approves nothing.
func TestAShadowIsComparedAndChangesNothingWhateverItDoes(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "calculators")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", program, "./testdata/calculators").CombinedOutput()
	require.NoError(t, err, "%s", out)
	contracts, err := exec.CommandContext(t.Context(), program, "--contracts").Output()
	require.NoError(t, err)
	files := map[string]string{}
	name := ""
	for line := range strings.Lines(string(contracts)) {
		if !strings.HasPrefix(line, "input") && !strings.HasPrefix(line, "output") {
			name, _, _ = strings.Cut(line, " ")
			name += ".txt"
		}
		files[name] += line
	}
	kinds := map[string]struct {
		code   string // as a shadow and alone
		equal  bool
		differ []string
	}{
		"same":    {equal: true},
		"other":   {differ: []string{"output.score.points"}},
		"panics":  {code: "calculator.panicked"},
		"nan":     {code: "calculator.not-finite"},
		"endless": {code: "calculator.runaway"},
	}
	live := "    function: risk.score v1\n    deadline: 60s\n"
	require.Contains(t, loanFlow, live)
	for kind := range kinds {
		own := "{ function: acme." + kind + " v1, contract: acme." + kind + ".txt }"
		beside := "    function: risk.score v1\n    deadline: 20s\n    shadow: " + own + "\n"
		files["beside-"+kind+".yaml"] = strings.NewReplacer("flow: loan\n", "flow: beside-"+kind+"\n", live, beside).Replace(loanFlow)
		alone := "    function: acme." + kind + " v1\n    contract: acme." + kind + ".txt\n    deadline: 20s\n"
		files["alone-"+kind+".yaml"] = strings.NewReplacer("flow: loan\n", "flow: alone-"+kind+"\n", live, alone).Replace(loanFlow)
	}
	b := lend(t, files, "--queues", "patchbay")
	var log bytes.Buffer
	fleet := exec.Command(program, "--queues", "risk", "--temporal", b.Temporal, "--http", "127.0.0.1:0", "--slots", "8", "--batch-slots", "8")
	fleet.Stdout, fleet.Stderr, fleet.Env = &log, &log, []string{"HOME=" + os.Getenv("HOME")}
	require.NoError(t, fleet.Start())
	t.Cleanup(func() {
		_ = fleet.Process.Signal(syscall.SIGTERM)
		_ = fleet.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})

	beside, alone := map[string]string{}, map[string]string{}
	for kind := range kinds {
		b.applies("b-" + kind)
		b.applies("a-" + kind)
		beside[kind] = b.pressOf("beside-"+kind, "b-"+kind)
		alone[kind] = b.pressOf("alone-"+kind, "a-"+kind)
	}
	for kind, is := range kinds {
		run := b.ended(beside[kind])
		require.Equal(t, []any{flow.Approve, "good"}, []any{run.Result.Decision, run.Result.Rule}, kind)
		require.Equal(t, []string{"approve"}, b.written("b-"+kind))

		run = b.ended(alone[kind])
		want, rule := flow.Refuse, "calculate score"
		switch {
		case is.equal:
			want, rule = flow.Approve, "good"
		case is.code == "":
			want, rule = flow.Decline, "score-too-low"
		}
		require.Equal(t, []any{want, rule}, []any{run.Result.Decision, run.Result.Rule}, "%s: %v", kind, run.Result.Reasons)
		require.Equal(t, []string{string(want)}, b.written("a-"+kind))
	}
	var list flow.ShadowList
	b.await("every shadow to be compared", 2*time.Minute, func() bool {
		list = flow.ShadowList{}
		return b.do(http.MethodGet, b.HTTP+"/v1/shadows", nil, "", &list).StatusCode == http.StatusOK && len(list.Shadows) == len(kinds)
	})
	for _, total := range list.Shadows {
		kind := strings.TrimPrefix(total.Flow, "beside-")
		is := kinds[kind]
		require.Equal(t, []any{"score", "risk.score v1", "acme." + kind + " v1", 1}, []any{total.Step, total.Live, total.Beside, total.Compared})
		require.Equal(t, is.equal, total.Equal == 1, kind)
		require.Equal(t, is.code != "", total.Failed == 1, kind)
	}
	require.Len(t, list.Differing, 4)
	for _, one := range list.Differing {
		kind := strings.TrimPrefix(one.Flow, "beside-")
		require.Equal(t, kinds[kind].code, one.Fault, kind)
		require.ElementsMatch(t, kinds[kind].differ, one.Differ, kind)
	}
	said, complaint, status := b.cli("shadows", "--server", b.HTTP)
	require.Zero(t, status, complaint)
	require.Contains(t, said, "calculator.panicked")
}
