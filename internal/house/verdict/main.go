// Command verdict reads the output of `go test -json` from standard input and prints what a person wants from a long
// run: a line per package as it ends, everything a failing test or a broken build said, every skipped test, and which
// tests took longest.
//
// It exits 1 when a test or a build failed, when a test was skipped (a skipped test proves nothing, so an environment
// that lacks a server or a browser is a failure), and when no test ran. Lines that are not JSON, such as the progress
// of what wraps go test, pass through as they are. Only .ci/run calls it; it imports the standard library only.
package main

import (
	"fmt"
	"os"
)

func main() {
	report, err := Read(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "verdict:", err)
		os.Exit(1)
	}
	fmt.Println(report)
	if !report.Good() {
		os.Exit(1)
	}
}
