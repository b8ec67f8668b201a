package house_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/house"
)

// A checker that never reports would keep every house clean: these tests break each rule once.

func TestImportTableReportsEveryKindOfViolation(t *testing.T) {
	t.Parallel()
	table := []house.Rule{
		{Room: "pure", Pure: true, Why: "p"},
		{Room: "tree/...", Rooms: []string{"pure"}, Libraries: []string{"example.org/lib"}, Why: "t"},
		{Room: "tree/inner", Rooms: []string{"tree/..."}, Never: []string{"example.org/evil"}, Why: "i"},
		{Room: "gone", Why: "g"},
		{Room: "later", Ahead: true, Why: "l"},
	}
	for name, c := range map[string]struct {
		given house.Package
		want  string // "" when the import is fine
	}{
		"a room the row names":            {house.Package{ImportPath: "patchbay/tree/leaf", Imports: []string{"patchbay/pure", "example.org/lib/v2/x"}}, ""},
		"a tree the row names":            {house.Package{ImportPath: "patchbay/tree/inner", Imports: []string{"patchbay/tree/leaf"}}, ""},
		"harmless standard library":       {house.Package{ImportPath: "patchbay/pure", Imports: []string{"net/url", "time"}}, ""},
		"a leaf":                          {house.Package{ImportPath: "patchbay/pure", Imports: []string{"patchbay/internal/strictjson"}}, ""},
		"a test's libraries":              {house.Package{ImportPath: "patchbay/pure", XTestImports: []string{"github.com/stretchr/testify/require", "os"}}, ""},
		"another room":                    {house.Package{ImportPath: "patchbay/pure", Imports: []string{"patchbay/tree/leaf"}}, "pure: imports patchbay/tree/leaf; it may import none (p)"},
		"a library by a similar name":     {house.Package{ImportPath: "patchbay/tree/leaf", Imports: []string{"example.org/library"}}, "tree/leaf: imports example.org/library; of libraries it may import example.org/lib (t)"},
		"input and output in a pure room": {house.Package{ImportPath: "patchbay/pure", Imports: []string{"net/http"}}, "pure: imports net/http; it is pure: no I/O, no randomness (p)"},
		"something forbidden far below":   {house.Package{ImportPath: "patchbay/tree/inner", Deps: []string{"example.org/evil/x"}}, "tree/inner: reaches example.org/evil/x by way of its imports; it never may (i)"},
		"something forbidden in a test":   {house.Package{ImportPath: "patchbay/tree/inner", TestImports: []string{"example.org/evil"}}, "tree/inner: its tests import example.org/evil; it never may (i)"},
		"testify beyond require":          {house.Package{ImportPath: "patchbay/pure", TestImports: []string{"github.com/stretchr/testify/assert"}}, "pure: its tests import github.com/stretchr/testify/assert; name it as a library of the room or of all tests"},
		"a room without a row":            {house.Package{ImportPath: "patchbay/new"}, "new: no row in the table of internal/house: add it, with what it may import and why"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var lines []string
			for _, violation := range house.CheckImports(table, []house.Package{c.given}) {
				if violation.Room != "" {
					lines = append(lines, violation.String())
				}
			}
			if c.want == "" {
				require.Empty(t, lines)
			} else {
				require.Equal(t, []string{c.want}, lines)
			}
		})
	}
}

func TestImportTableReportsARowThatNoPackageAnswersTo(t *testing.T) {
	t.Parallel()
	violations := house.CheckImports([]house.Rule{{Room: "gone"}, {Room: "later", Ahead: true}}, nil)
	require.Equal(t, []house.Violation{{Text: `the row "gone" names no package: drop it`}}, violations)
}

func TestSourceRulesReportWhatBreaksThem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, source string) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(source), 0o600))
	}
	write("a/a.go", "package a\n\nimport \"time\"\n\nfunc init() { time.Sleep(1) }\n\n// FIX"+"ME soon\n")
	write("util/u.go", "// Package util is short.\npackage util\n")
	write("long/l.go", "package main\n"+string(make500Lines()))
	// Neither counts: a module of its own, and data.
	write("tools/go.mod", "module x\n")
	write("tools/t.go", "package util\n")
	write("a/testdata/broken.go", "package\n")

	files, err := house.Sources(dir)
	require.NoError(t, err)
	require.Len(t, files, 3)
	require.Equal(t, []string{"a/a.go:5:1: func init; construct it in app and pass it on"}, house.Registrations(files))
	require.Equal(t, []string{"a/a.go:5:15: time.Sleep; wait for the event, or on a timer beside ctx.Done()"}, house.Sleeps(files))
	require.Equal(t, []string{"a/a.go:7:1: a left-over; do it or file it"}, house.LeftOvers(files))
	require.Equal(t, []string{"util/u.go:2:9: package util; name it for what it gives"}, house.Drawers(files))
	require.Equal(t, []string{"long/l.go:1:1: 501 lines; split it at the noun it should have been named for"}, house.TooLong(files))
	require.Equal(t, []string{
		"a: no package comment",
		"long: no package comment",
		"util/u.go: the package comment has 1 lines; 5 to 15 say what it owns, who calls it, what it may import, its invariants",
	}, house.Undescribed(files))
}

func make500Lines() []byte {
	lines := make([]byte, 500)
	for i := range lines {
		lines[i] = '\n'
	}
	return lines
}
