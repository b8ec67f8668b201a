// Command verdict reads the output of `go test -json` from standard input and prints what a person wants from a long
// run: a line per package as it ends, everything a failing test or a broken build said, every skipped test, and which
// tests took longest.
//
// It exits 1 when a test or a build failed, when a test was skipped (a skipped test proves nothing, so an environment
// that lacks a server or a browser is a failure), and when no test ran. Lines that are not JSON, such as the progress
// of what wraps go test, pass through as they are. With -alone it writes to a file which of the failed tests may be tried
// by themselves. Only .ci/run calls it; it imports the standard library only.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
)

func main() {
	alone := flag.String("alone", "", "`file` for the failed tests that may be tried by themselves: a package and a test a line")
	flag.Parse()
	report, err := Read(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "verdict:", err)
		os.Exit(1)
	}
	fmt.Println(report)
	if !report.Good() {
		if tests := report.Alone(); *alone != "" && len(tests) > 0 {
			if err := os.WriteFile(*alone, []byte(strings.Join(tests, "\n")+"\n"), 0o600); err != nil {
				fmt.Fprintln(os.Stderr, "verdict:", err)
			}
		}
		os.Exit(1)
	}
}
