package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// event is one line of `go test -json`; `go doc test2json` describes it.
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64 // seconds
}

// Report is what a run amounts to.
type Report struct {
	Passed, Packages int
	// Failed and Skipped name tests as package.Test; a package that failed outside its tests stands by its own name.
	Failed, Skipped []string

	slow  []timed
	alone []single
	sure  bool // something failed that no other test can be the reason of
}

// single is a test and its package.
type single struct{ pkg, test string }

// mostAlone are as many failures as may be for want of time beside the other tests.
const mostAlone = 5

// Alone gives the tests that deserve to be tried once more by themselves, as "package Test": the few that failed beside
// many others. None when there are more, when a package did not build or failed outside its tests, and when one raced or
// panicked, which is a bug whatever ran beside it.
func (r *Report) Alone() (tests []string) {
	if r.sure || len(r.Skipped) > 0 || len(r.alone) > mostAlone {
		return nil
	}
	for _, one := range r.alone {
		tests = append(tests, one.pkg+" "+one.test)
	}
	return tests
}

// timed is a test that passed and how long it took.
type timed struct {
	name    string
	seconds float64
}

// slowest are as many as it is worth looking at to make a run shorter.
const slowest = 15

// Good reports whether tests ran, all passed and none was skipped.
func (r *Report) Good() bool { return r.Passed > 0 && len(r.Failed) == 0 && len(r.Skipped) == 0 }

// String is the closing lines.
func (r *Report) String() string {
	var b strings.Builder
	slices.SortStableFunc(r.slow, func(a, b timed) int { return cmp.Compare(b.seconds, a.seconds) })
	for _, t := range r.slow[:min(slowest, len(r.slow))] {
		fmt.Fprintf(&b, "%6.1f s %s\n", t.seconds, t.name)
	}
	for _, name := range r.Failed {
		fmt.Fprintf(&b, "FAILED  %s\n", name)
	}
	for _, name := range r.Skipped {
		fmt.Fprintf(&b, "SKIPPED %s (nothing may be skipped here)\n", name)
	}
	fmt.Fprintf(&b, "%d tests passed in %d packages, %d failed, %d skipped", r.Passed, r.Packages, len(r.Failed), len(r.Skipped))
	return b.String()
}

// Read consumes the stream to its end and prints to out as it goes.
func Read(in io.Reader, out io.Writer) (*Report, error) {
	report := &Report{}
	said := map[string][]string{} // what a test or package printed, until it is known whether anybody wants it
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) == nil && e.Action != "" {
				report.take(e, said, out)
			} else {
				fmt.Fprint(out, line)
			}
		}
		if errors.Is(err, io.EOF) {
			return report, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading test events: %w", err)
		}
	}
}

func (r *Report) take(e event, said map[string][]string, out io.Writer) {
	name := e.Package
	if e.Test != "" {
		name += "." + e.Test
	}
	switch e.Action {
	case "build-output":
		fmt.Fprint(out, e.Output)
	case "output":
		if e.Test == "" && closing(e.Output) {
			fmt.Fprint(out, e.Output)
			return
		}
		said[name] = append(said[name], e.Output)
	case "pass":
		if e.Test != "" {
			r.Passed++
			if e.Elapsed >= 1 && !strings.Contains(e.Test, "/") { // a part of a test is in it
				r.slow = append(r.slow, timed{name, e.Elapsed})
			}
		} else {
			r.Packages++
		}
		delete(said, name)
	case "skip":
		// A package without tests "skips" as a whole; that is no test.
		if e.Test != "" {
			r.Skipped = append(r.Skipped, name)
			show(out, said[name])
		}
		delete(said, name)
	case "fail":
		// A package fails with any of its tests; by itself it counts only when it failed outside them, in a TestMain say.
		ofTest := func(failed string) bool { return strings.HasPrefix(failed, e.Package+".Test") }
		if e.Test != "" || !slices.ContainsFunc(r.Failed, ofTest) {
			r.Failed = append(r.Failed, name)
			r.sure = r.sure || e.Test == ""
		}
		if e.Test != "" && !strings.Contains(e.Test, "/") {
			r.alone = append(r.alone, single{e.Package, e.Test})
		}
		r.sure = r.sure || slices.ContainsFunc(said[name], aBug)
		show(out, said[name])
		delete(said, name)
		if e.Test == "" {
			unended(e.Package, said, out)
		}
	}
}

// unended shows what the tests of a package said that were under way when its process ended.
func unended(pkg string, said map[string][]string, out io.Writer) {
	for _, name := range slices.Sorted(maps.Keys(said)) {
		if strings.HasPrefix(name, pkg+".Test") {
			fmt.Fprintf(out, "UNENDED %s\n", name)
			show(out, said[name])
			delete(said, name)
		}
	}
}

// aBug reports whether a line is of a race or of a panic.
func aBug(line string) bool {
	return strings.HasPrefix(line, "WARNING: DATA RACE") || strings.HasPrefix(line, "panic: ")
}

// closing are the lines go test ends a package with.
func closing(line string) bool {
	for _, prefix := range []string{"ok  \t", "FAIL\t", "?   \t"} {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}

// show prints what a test said, without the lines about its scheduling.
func show(out io.Writer, lines []string) {
	for _, line := range lines {
		if !strings.HasPrefix(line, "=== ") {
			fmt.Fprint(out, line)
		}
	}
}
