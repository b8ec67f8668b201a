package house

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// MaxLines bounds a source file: more than this and it holds two things.
const MaxLines = 500

// File is one Go source of the module, parsed.
type File struct {
	// Path is relative to the module's root, with forward slashes.
	Path  string
	Lines int
	Fset  *token.FileSet
	AST   *ast.File
}

// Test reports whether the file is compiled into tests only.
func (f File) Test() bool { return strings.HasSuffix(f.Path, "_test.go") }

// At is a position in the file as file:line:col.
func (f File) At(pos token.Pos) string {
	p := f.Fset.Position(pos)
	return fmt.Sprintf("%s:%d:%d", f.Path, p.Line, p.Column)
}

// Sources parses every Go file of the module in root. Modules inside it, testdata and what git ignores (hidden
// directories, bin) are not part of it. A file that does not parse is an error.
func Sources(root string) ([]File, error) {
	var files []File
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != root && skipped(name, entry.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		file, err := parse(name, filepath.ToSlash(relative))
		if err != nil {
			return err
		}
		files = append(files, file)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the sources: %w", err)
	}
	return files, nil
}

func skipped(dir, name string) bool {
	if name == "testdata" || name == "bin" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return true
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

func parse(name, relative string) (File, error) {
	source, err := os.ReadFile(name)
	if err != nil {
		return File{}, err
	}
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, relative, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return File{}, err
	}
	return File{Path: relative, Lines: bytes.Count(source, []byte("\n")), Fset: fset, AST: tree}, nil
}

// TooLong names the files over the bound.
func TooLong(files []File) []string {
	return each(files, func(f File, report reporter) {
		if f.Lines > MaxLines {
			report(f.AST.Package, "%d lines; split it at the noun it should have been named for", f.Lines)
		}
	})
}

// Registrations names every func init: what a program consists of is decided in app, by plain constructors.
func Registrations(files []File) []string {
	return each(files, func(f File, report reporter) {
		for _, decl := range f.AST.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				report(fn.Pos(), "func init; construct it in app and pass it on")
			}
		}
	})
}

// Sleeps names every call of time.Sleep. Code that waits has a context to obey; a test that sleeps is slow when it
// passes and flaky when it does not.
func Sleeps(files []File) []string {
	return each(files, func(f File, report reporter) {
		ast.Inspect(f.AST, func(node ast.Node) bool {
			if sel, ok := node.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
				if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "time" {
					report(sel.Pos(), "time.Sleep; wait for the event, or on a timer beside ctx.Done()")
				}
			}
			return true
		})
	})
}

// LeftOvers names comments that promise later work: an issue is the place for it.
func LeftOvers(files []File) []string {
	marks := []string{"TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"}
	return each(files, func(f File, report reporter) {
		for _, group := range f.AST.Comments {
			for _, comment := range group.List {
				words := strings.FieldsFunc(comment.Text, func(r rune) bool { return r < 'A' || r > 'Z' })
				if slices.ContainsFunc(words, func(word string) bool { return slices.Contains(marks, word) }) {
					report(comment.Pos(), "a left-over; do it or file it")
				}
			}
		}
	})
}

// Drawers names packages that are called for not having a subject.
func Drawers(files []File) []string {
	names := []string{"util", "utils", "common", "helpers", "misc", "base", "shared", "types"}
	return each(files, func(f File, report reporter) {
		if slices.Contains(names, f.AST.Name.Name) {
			report(f.AST.Name.Pos(), "package %s; name it for what it gives", f.AST.Name.Name)
		}
	})
}

// Package comments say what a package owns, who calls it, what it may import and its invariants. Fewer lines cannot,
// and more are a document.
const minComment, maxComment = 5, 15

// Undescribed names packages whose comment is missing or of the wrong size, counted in lines that are not blank. A main
// package and one that only tests live in may say it in one.
func Undescribed(files []File) []string {
	type description struct {
		file  File
		lines int
		main  bool
		seen  bool
	}
	byDir := map[string]*description{}
	var order []string
	for _, f := range files {
		if f.Test() {
			continue
		}
		dir := path.Dir(f.Path)
		if byDir[dir] == nil {
			byDir[dir] = &description{file: f, main: f.AST.Name.Name == "main"}
			order = append(order, dir)
		}
		if f.AST.Doc == nil {
			continue
		}
		d := byDir[dir]
		d.file, d.seen = f, true
		for line := range strings.Lines(f.AST.Doc.Text()) {
			if strings.TrimSpace(line) != "" {
				d.lines++
			}
		}
	}
	var out []string
	for _, dir := range order {
		d := byDir[dir]
		switch {
		case !d.seen:
			out = append(out, fmt.Sprintf("%s: no package comment", dir))
		case !d.main && (d.lines < minComment || d.lines > maxComment):
			out = append(out, fmt.Sprintf("%s: the package comment has %d lines; %d to %d say what it owns, who calls it, what it may import, its invariants",
				d.file.Path, d.lines, minComment, maxComment))
		}
	}
	return out
}

type reporter func(pos token.Pos, format string, args ...any)

func each(files []File, rule func(File, reporter)) []string {
	var out []string
	for _, f := range files {
		rule(f, func(pos token.Pos, format string, args ...any) {
			out = append(out, f.At(pos)+": "+fmt.Sprintf(format, args...))
		})
	}
	return out
}
