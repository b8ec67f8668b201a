package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"patchbay/internal/risk/stress"
)

const (
	// riskPaths is how many paths one measurement takes, riskRounds how many measurements of each
	// contender make one of the bench's rounds: they are short.
	riskPaths  = 400_000
	riskRounds = 3
	// decisionPaths is what one interactive decision takes, decisions how many are made.
	decisionPaths = 100_000
	decisions     = 60
	riskSeed      = 1
)

// spent is what a measurement took: by the clock, and of all processors together.
type spent struct{ clock, cpu time.Duration }

// loop is the simulation in C, compiled, and the question it reads.
type loop struct{ program, listing string }

// risk measures the paths of a stressed household in Go beside the same loop in C, on one
// core and on two, and how long a decision of 100,000 paths takes. Both have to give the same bits.
func risk(ctx context.Context, rounds int) error {
	dir, err := os.MkdirTemp("", "patchbay-bench-risk-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	l := loop{program: filepath.Join(dir, "paths")}
	if l.listing, err = stress.Listing(stress.Example()); err != nil {
		return err
	}
	compiler, err := l.compile(ctx)
	if err != nil {
		return err
	}
	var ours, theirs [2][]spent // by cores less one
	for range rounds * riskRounds {
		for cores := 1; cores <= 2; cores++ {
			a, sums, err := simulate(ctx, cores)
			if err != nil {
				return err
			}
			b, same, err := l.run(ctx, cores)
			if err != nil {
				return err
			}
			if sums != same {
				return errors.New("the loop in C gives other sums than Go")
			}
			ours[cores-1], theirs[cores-1] = append(ours[cores-1], a), append(theirs[cores-1], b)
		}
	}
	took := make([]time.Duration, decisions)
	for i := range took {
		began := time.Now()
		if _, err := stress.Run(ctx, stress.Example(), stress.Options{Paths: decisionPaths, Seed: uint64(i)}); err != nil {
			return err
		}
		took[i] = time.Since(began)
	}

	rate := func(s spent) float64 { return riskPaths / s.clock.Seconds() }
	work := func(s spent) float64 { return riskPaths / s.cpu.Seconds() }
	gain := func(s [2][]spent) []float64 { return quotients(s[1], s[0], rate) }
	gains := gain(ours)
	for i, theirs := range gain(theirs) {
		gains[i] /= theirs
	}
	fmt.Printf("\nMonte Carlo of a household under stress, %d quarters, %d paths a time, beside the same loop in C; %s; %s\n", stress.Example().Horizon, riskPaths, processors(), compiler)
	fmt.Printf("  one core, by the clock      %s paths/s; C %s\n", spread(values(ours[0], rate), 0), spread(values(theirs[0], rate), 0))
	fmt.Printf("  × the limit                 %s by the clock, %s by processor time, goal at least 0.70\n", spread(quotients(ours[0], theirs[0], rate), 2), spread(quotients(ours[0], theirs[0], work), 2))
	fmt.Printf("  two cores                   %s paths/s; C %s\n", spread(values(ours[1], rate), 0), spread(values(theirs[1], rate), 0))
	fmt.Printf("  gain of the second core     %s; C %s; × the limit %s, goal at least 0.90\n", spread(gain(ours), 2), spread(gain(theirs), 2), spread(gains, 2))
	fmt.Printf("  a decision of %d paths  p50 %.0f ms, p95 %.0f ms, goal p95 below 400 ms\n", decisionPaths, milliseconds(quantile(took, 0.5)), milliseconds(quantile(took, 0.95)))
	fmt.Println("  the sums of both are equal to the last bit")
	return nil
}

// compile tells what it compiled with.
func (l loop) compile(ctx context.Context) (string, error) {
	where, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", "patchbay/internal/risk/stress").Output()
	if err != nil {
		return "", fmt.Errorf("looking for the loop in C: %w", err)
	}
	source := filepath.Join(strings.TrimSpace(string(where)), "testdata", "paths.c")
	flags := []string{"-O3", "-std=c11", "-ffp-contract=off", "-pthread"}
	if out, err := exec.CommandContext(ctx, "gcc", append(flags, "-o", l.program, source, "-lm")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("compiling the loop in C (make test-tools installs gcc): %w\n%s", err, out)
	}
	version, err := exec.CommandContext(ctx, "gcc", "-dumpfullversion").Output()
	return "gcc " + strings.TrimSpace(string(version)) + " " + strings.Join(flags, " "), err
}

// run has C simulate.
func (l loop) run(ctx context.Context, cores int) (spent, string, error) {
	cmd := exec.CommandContext(ctx, l.program, strconv.Itoa(riskSeed), strconv.Itoa(riskPaths/2), strconv.Itoa(cores))
	cmd.Stdin = strings.NewReader(l.listing)
	out, err := cmd.Output()
	if err != nil {
		return spent{}, "", fmt.Errorf("running the loop in C: %w", err)
	}
	times, sums, _ := strings.Cut(string(out), "\n")
	var s spent
	if _, err := fmt.Sscan(times, (*int64)(&s.clock), (*int64)(&s.cpu)); err != nil {
		return s, "", fmt.Errorf("reading what the loop in C took: %w", err)
	}
	return s, sums, nil
}

// simulate has Go do the same.
func simulate(ctx context.Context, cores int) (spent, string, error) {
	began, used := time.Now(), processorTime()
	sums, err := stress.Sums(ctx, stress.Example(), stress.Options{Paths: riskPaths, Seed: riskSeed, Workers: cores})
	return spent{clock: time.Since(began), cpu: processorTime() - used}, sums, err
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func values(all []spent, value func(spent) float64) []float64 {
	out := make([]float64, len(all))
	for i, s := range all {
		out[i] = value(s)
	}
	return out
}

// quotients are those of two contenders, measurement by measurement.
func quotients(a, b []spent, value func(spent) float64) []float64 {
	out := values(a, value)
	for i, s := range b {
		out[i] /= value(s)
	}
	return out
}
