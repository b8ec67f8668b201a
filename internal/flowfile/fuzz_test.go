package flowfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flowfile"
)

// FuzzFiles compiles whatever a file may hold, as each kind of file. A plan and an
// error exclude each other, and a problem lies inside the file: in one of its
// lines, at one of its characters or just behind the last.
func FuzzFiles(f *testing.F) {
	names, err := filepath.Glob("testdata/*/*.yaml")
	require.NoError(f, err)
	for _, name := range names {
		data, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(data)
	}
	for _, seed := range []string{"", "\n", "a", "- ", "? [a]\n: b", "flow: \"\\x01\"", "flow: |\n  a\n\tb", "a: &x\n  b: *x", "%YAML 1.1\n---\nflow: a", "flow: a\r\npattern: b\rsummary: c"} {
		f.Add([]byte(seed))
	}
	valid, err := os.ReadFile("testdata/connections/valid.yaml")
	require.NoError(f, err)
	connections, _ := flowfile.ParseConnections(flowfile.File{Name: "connections.yaml", Data: valid})
	f.Fuzz(func(t *testing.T, data []byte) {
		file := flowfile.File{Name: "f.yaml", Data: data}
		plan, diags := flowfile.Compile(file, connections.List, flowfile.Options{})
		require.Equal(t, plan == nil, flowfile.Failed(diags))
		inside(t, data, diags)
		_, diags = flowfile.ParseConnections(file)
		inside(t, data, diags)
		_, diags = flowfile.ParseTests(file)
		inside(t, data, diags)
	})
}

func inside(t *testing.T, data []byte, diags []flowfile.Diagnostic) {
	t.Helper()
	lines := strings.Split(string(data), "\n")
	for _, d := range diags {
		require.NotEmpty(t, d.Code)
		require.NotEmpty(t, d.Message, d.Code)
		require.True(t, utf8.ValidString(d.Message+d.Fix), "%q", d)
		require.True(t, d.Line >= 1 && d.Line <= len(lines), "%d lines, and %s", len(lines), d)
		require.True(t, d.Col >= 1 && d.Col <= utf8.RuneCountInString(lines[d.Line-1])+1, "%q, and %s", lines[d.Line-1], d)
	}
}
