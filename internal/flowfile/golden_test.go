package flowfile_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/calculator"
	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
)

var update = flag.Bool("update", false, "write testdata/golden.txt anew")

// diagnose reads every file of testdata, each broken in the way its name says,
// and gives all diagnostics, one a line.
func diagnose(t *testing.T) []string {
	t.Helper()
	valid := parse(t, "connections/valid.yaml")
	regional, diags := flowfile.ParseConnections(load(t, "connections/sync.yaml"))
	require.Empty(t, diags)
	var out []string
	for _, kind := range []string{"connections", "flows", "tests"} {
		names, err := filepath.Glob(filepath.Join("testdata", kind, "*.yaml"))
		require.NoError(t, err)
		for _, name := range names {
			f := load(t, filepath.Join(kind, filepath.Base(name)))
			var diags []flowfile.Diagnostic
			switch kind {
			case "connections":
				_, diags = flowfile.ParseConnections(f)
			case "flows":
				connections, o := valid, flowfile.Options{File: template, Now: today, Contracts: contracts}
				switch base := filepath.Base(name); {
				case strings.HasPrefix(base, "sync"):
					connections, o.Peers = regional.List, regional.Peers
				case strings.HasPrefix(base, "documents"):
					connections = parse(t, "connections/documents.yaml")
				}
				_, diags = flowfile.Compile(f, connections, o)
			case "tests":
				_, diags = flowfile.ParseTests(f)
			}
			for _, d := range diags {
				out = append(out, d.String())
			}
		}
	}
	return out
}

func load(t *testing.T, name string) flowfile.File {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return flowfile.File{Name: filepath.ToSlash(name), Data: data}
}

// today is when the schedules of testdata are looked at.
var today = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// contracts are those of the calculators of testdata.
var contracts = map[string]calculator.Contract{"test.score v1": `test.score v1
input.question.weight float64
input.question.parts[].value float64
input.question.wait? int
input.figures{} float64
input.rules string
output.points int
output.pd float64
output.reasons[] string
`}

// template reads those that lie beside the flows of testdata.
func template(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join("testdata", "flows", name))
}

func parse(t *testing.T, name string) []flow.Connection {
	t.Helper()
	c, diags := flowfile.ParseConnections(load(t, name))
	require.Empty(t, diags)
	return c.List
}

func TestEveryMistakeIsReportedAtItsPlace(t *testing.T) {
	t.Parallel()
	got := strings.Join(diagnose(t), "\n") + "\n"
	golden := filepath.Join("testdata", "golden.txt")
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

func TestEveryCodeHasABrokenFile(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("diagnostic.go")
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, line := range diagnose(t) {
		seen[regexp.MustCompile(`\((flow\.[a-z_]+)\)$`).FindStringSubmatch(line)[1]] = true
	}
	// These need more than a small file: its size, a run of the tests, all flows.
	elsewhere := []string{flowfile.CodeContested, flowfile.CodeContract, flowfile.CodeLoop, flowfile.CodeQuota, flowfile.CodeTooLarge, flowfile.CodeTestFailed, flowfile.CodeUnused}
	for _, m := range regexp.MustCompile(`"(flow\.[a-z_]+)"`).FindAllStringSubmatch(string(source), -1) {
		require.True(t, seen[m[1]] || slices.Contains(elsewhere, m[1]), "no file of testdata has a diagnostic %s", m[1])
	}
}

func TestNoDiagnosticShowsASecret(t *testing.T) {
	t.Parallel()
	for _, line := range diagnose(t) {
		require.NotContains(t, line, "hunter2")
		require.NotContains(t, line, "0123456789abcdef")
	}
}

func TestAFileOfMoreThan256KiBIsNotParsed(t *testing.T) {
	t.Parallel()
	f := flowfile.File{Name: "big.yaml", Data: bytes.Repeat([]byte("# padding\n"), 30_000)}
	_, diags := flowfile.Compile(f, nil, flowfile.Options{})
	require.Len(t, diags, 1)
	require.Equal(t, flowfile.CodeTooLarge, diags[0].Code)
}

func TestTheValidFileHasNoDiagnostics(t *testing.T) {
	t.Parallel()
	plan, diags := flowfile.Compile(load(t, "flows/valid.yaml"), parse(t, "connections/valid.yaml"), flowfile.Options{})
	require.Empty(t, diags)
	require.True(t, plan.Read.OneRow)
}
