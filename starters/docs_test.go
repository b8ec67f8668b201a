package starters_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/contract"
)

// examples are the code blocks of the page about the second door, by language.
func examples(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../docs/temporal-door.md")
	require.NoError(t, err)
	blocks := map[string]string{}
	for _, m := range regexp.MustCompile("(?s)```([a-z]+)\n(.*?)```").FindAllSubmatch(page, -1) {
		blocks[string(m[1])] = string(m[2])
	}
	return blocks
}

func TestTheDocumentedGoClientPressesAndReadsTheAnswer(t *testing.T) {
	t.Parallel()
	p := plan()
	p.Flow = "product-specs"
	b := newBundle(t, temporalAddress(t), p)
	file := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(file, []byte(examples(t)["go"]), 0o600))
	run := exec.CommandContext(t.Context(), "go", "run", file)
	run.Env = append(os.Environ(), "TEMPORAL_ADDRESS="+temporalAddress(t), "TEMPORAL_NAMESPACE="+b.namespace)
	out, err := run.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Regexp(t, `(?m)^[a-z2-7]{26} (running|completed) \[\{.*"AS54888".*\}\]$`, string(out))
	require.Regexp(t, `(?m)^done$`, string(out))
	require.Equal(t, 1, b.outside.written("AS54888"))
}

func TestBothDocumentedClientsNameWhatIsOnTheWire(t *testing.T) {
	t.Parallel()
	blocks := examples(t)
	for _, language := range []string{"go", "typescript"} {
		for _, name := range []string{contract.PressSignalName, contract.AnswerQueryName, contract.Instant.Name(), string(contract.Main)} {
			require.Regexp(t, `["']`+regexp.QuoteMeta(name)+`["']`, blocks[language], language)
		}
	}
}
