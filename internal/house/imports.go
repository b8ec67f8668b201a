package house

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
)

// Module is the import path that all packages of Patchbay begin with.
const Module = "patchbay"

// Package is what go list says about one package: the fields the rules need.
type Package struct {
	ImportPath string
	// Dir holds the sources; absolute.
	Dir string
	// Imports are the direct imports of what gets compiled, Deps those of everything below, too.
	Imports, Deps []string
	// TestImports and XTestImports are the direct imports of the tests, in the package and beside it.
	TestImports, XTestImports []string
	Standard                  bool
}

// Room is the path of a package inside the module: "internal/flow", or "." for main.
func (p Package) Room() string { return room(p.ImportPath) }

// Violation is one import that the table does not allow.
type Violation struct {
	// Room imports what it must not; "" for a fault of the table itself.
	Room string
	// Text says what is wrong and what the row of the table says instead.
	Text string
}

// String is the violation as one line.
func (v Violation) String() string {
	if v.Room == "" {
		return v.Text
	}
	return v.Room + ": " + v.Text
}

// List asks the go command for the packages of the module in dir. A package that does not compile is listed all the same:
// its imports are judged, the compiler says the rest.
func List(ctx context.Context, dir string) ([]Package, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-e",
		"-json=ImportPath,Dir,Imports,Deps,TestImports,XTestImports,Standard", "./...")
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("listing packages: %w: %s", err, stderr.String())
	}
	var packages []Package
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p Package
		switch err := decoder.Decode(&p); {
		case errors.Is(err, io.EOF):
			return packages, nil
		case err != nil:
			return nil, fmt.Errorf("reading the answer of go list: %w", err)
		}
		packages = append(packages, p)
	}
}

// CheckImports holds the packages against the table and reports everything that is wrong, in the order of the packages.
func CheckImports(table []Rule, packages []Package) []Violation {
	var out []Violation
	used := make([]bool, len(table))
	for _, p := range packages {
		at := find(table, p.Room())
		if at < 0 {
			out = append(out, Violation{p.Room(), "no row in the table of internal/house: add it, with what it may import and why"})
			continue
		}
		used[at] = true
		out = append(out, check(table[at], p)...)
	}
	for i, rule := range table {
		if !used[i] && !rule.Ahead {
			out = append(out, Violation{Text: fmt.Sprintf("the row %q names no package: drop it", rule.Room)})
		}
	}
	return out
}

func check(rule Rule, p Package) []Violation {
	var out []Violation
	report := func(format string, args ...any) {
		out = append(out, Violation{p.Room(), fmt.Sprintf(format, args...)})
	}
	for _, path := range p.Imports {
		switch {
		case inModule(path):
			if !allowed(rule, path) {
				report("imports %s; it may import %s (%s)", path, list(rule.Rooms), rule.Why)
			}
		case isStandard(path):
			if rule.Pure && doesIO(path) {
				report("imports %s; it is pure: no I/O, no randomness (%s)", path, rule.Why)
			}
		case !matchesAny(rule.Libraries, path):
			report("imports %s; of libraries it may import %s (%s)", path, list(rule.Libraries), rule.Why)
		}
	}
	// What stands below counts as well: a forbidden library behind an allowed package is still linked and reachable.
	for _, path := range p.Deps {
		if matchesAny(rule.Never, path) {
			report("reaches %s by way of its imports; it never may (%s)", path, rule.Why)
		}
	}
	// Tests may build what they need out of other rooms, but the walls hold for them, too: a sandbox test that uses a
	// connector would let one misreading of a protocol pass both.
	for _, path := range slices.Concat(p.TestImports, p.XTestImports) {
		switch {
		case matchesAny(rule.Never, path) && !matchesAny(rule.TestsMay, path):
			report("its tests import %s; it never may (%s)", path, rule.Why)
		case !inModule(path) && !isStandard(path) &&
			!matchesAny(rule.Libraries, path) && !matchesAny(rule.TestsMay, path) && !matchesAny(testLibraries, path):
			report("its tests import %s; name it as a library of the room or of all tests", path)
		}
	}
	return out
}

// find answers with the row that names the room, the most exact one first: "a/b" before "a/b/..." before "a/...".
func find(table []Rule, room string) int {
	best, length := -1, -1
	for i, rule := range table {
		if rule.Room == room {
			return i
		}
		if tree, ok := strings.CutSuffix(rule.Room, "/..."); ok && strings.HasPrefix(room, tree+"/") && len(tree) > length {
			best, length = i, len(tree)
		}
	}
	return best
}

func allowed(rule Rule, path string) bool {
	target := room(path)
	if slices.Contains(leaves, target) {
		return true
	}
	for _, may := range rule.Rooms {
		tree, whole := strings.CutSuffix(may, "/...")
		if may == target || whole && (tree == target || strings.HasPrefix(target, tree+"/")) {
			return true
		}
	}
	return false
}

func room(path string) string {
	if path == Module {
		return "."
	}
	return strings.TrimPrefix(path, Module+"/")
}

func inModule(path string) bool { return path == Module || strings.HasPrefix(path, Module+"/") }

// isStandard: the first element of every other import path has a dot.
func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func matchesAny(prefixes []string, path string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool {
		return path == prefix || strings.HasPrefix(path, prefix+"/")
	})
}

// doesIO names the parts of the standard library that reach outside the process or are not repeatable. Package time is
// not among them: a pure package needs its types, and the clock itself is what workflowcheck watches. Nor is net/mail,
// which parses texts.
func doesIO(path string) bool {
	return matchesAny([]string{"os", "net", "syscall", "database/sql", "io/ioutil", "log", "math/rand", "crypto/rand", "plugin"}, path) &&
		path != "net/url" && path != "net/netip" && path != "net/mail"
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
