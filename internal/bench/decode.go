package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

// decoded is one line of the benchmark of pages: its name, and the rows a second.
var decoded = regexp.MustCompile(`(?m)^BenchmarkRead/(\S+)\s.*?([0-9.e+]+) MB/s\s+([0-9.e+]+) rows/s`)

// decode prints how fast a page of an answer becomes rows, on one core, beside what the
// standard library makes of the same bytes. The benchmark stands where the code is.
func decode(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkRead$", "-cpu", "1", "patchbay/internal/connector/sheet").CombinedOutput()
	if err != nil {
		return fmt.Errorf("measuring how pages are decoded: %w\n%s", err, out)
	}
	fmt.Println("\nOver HTTP: a page of 1,000 orders of OData becomes rows, one core")
	for _, line := range decoded.FindAllStringSubmatch(string(out), -1) {
		rows, _ := strconv.ParseFloat(line[3], 64)
		fmt.Printf("  %-34s %24.0f rows/s, %s MB/s\n", line[1], rows, line[2])
	}
	return nil
}
