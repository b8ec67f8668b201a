// Command bench measures a press beside its peers, in one run on one machine:
// one client presses product-specs, and the same client runs a bare workflow
// whose two activities make the same two HTTP calls, on the same Temporal
// server and the same lean sandbox. It prints medians over rounds with their
// spread, Temporal's own count of actions per press and the memory of the
// patchbay process alone. `make bench` runs it; nothing here is a test, because
// a time is no proof.
//
// It drives the built binary as a user does and imports nothing of Patchbay but
// the counter of actions.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"time"
)

func main() {
	rounds := flag.Int("rounds", 7, "rounds; each measures every contender once")
	presses := flag.Int("presses", 200, "presses of a contender in a round")
	warmup := flag.Int("warmup", 100, "presses before the first round, not counted")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *rounds, *presses, *warmup); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rounds, presses, warmup int) error {
	env, err := start(ctx)
	if err != nil {
		return err
	}
	defer env.stop()
	bare, err := newBare(ctx, env)
	if err != nil {
		return err
	}
	defer bare.close()
	button := newButton(env)
	machine(env)

	contenders := []struct {
		name, until string
		one         func(context.Context, string) error
		took        [][]time.Duration // by round
	}{
		{name: "button to first answer", one: button.press,
			until: "the press is durable, the source is read, the rows are with the client; the write goes on behind it"},
		{name: "bare workflow (both calls)", one: bare.press,
			until: "the source is read and the target has taken the write; one durable execution, nothing else recorded"},
	}
	for _, c := range contenders {
		for range warmup {
			if err := c.one(ctx, env.product()); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	if err := env.quiet(ctx); err != nil {
		return err
	}
	var actions []float64
	var written [][]time.Duration
	for round := range rounds {
		for i := range contenders {
			c := &contenders[(i+round)%len(contenders)] // who goes first changes
			before, err := env.actions(ctx)
			if err != nil {
				return err
			}
			var took []time.Duration
			for range presses {
				began := time.Now()
				if err := c.one(ctx, env.product()); err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
				took = append(took, time.Since(began))
			}
			c.took = append(c.took, took)
			if err := env.quiet(ctx); err != nil {
				return err
			}
			after, err := env.actions(ctx)
			if err != nil {
				return err
			}
			if (i+round)%len(contenders) != 0 {
				continue
			}
			actions = append(actions, float64(after-before)/float64(presses))
			ends, err := env.written(ctx)
			if err != nil {
				return err
			}
			written = append(written, ends)
		}
	}
	const confirmed = "button to confirmed write"
	fmt.Print("\nWhat each row waits for:\n")
	for _, c := range contenders {
		fmt.Printf("  %-28s %s\n", c.name, c.until)
	}
	fmt.Printf("  %-28s %s\n", confirmed, "as the first row, and the write is sent, confirmed and recorded and the run is closed; by the run's own times")
	fmt.Printf("\n%-28s %22s %22s\n", "one client", "p50 (min … max)", "p95 (min … max)")
	for _, c := range contenders {
		fmt.Printf("%-28s %22s %22s\n", c.name, spread(c.took, 0.5), spread(c.took, 0.95))
	}
	fmt.Printf("%-28s %22s %22s\n\nratios of the p50s:\n", confirmed, spread(written, 0.5), spread(written, 0.95))
	first, both := contenders[0], contenders[1]
	fmt.Printf("  %s ÷ %s: %s, goal at most 1.3; not the same work: the answer does not wait for the write\n", first.name, both.name, ratio(first.took, both.took))
	fmt.Printf("  %s ÷ %s: %s; the same two calls\n", confirmed, both.name, ratio(written, both.took))
	low, mid, high := minMedianMax(actions)
	fmt.Printf("Temporal actions per press: %.2f (%.2f … %.2f)\n", mid, low, high)
	rss, err := env.resident()
	if err != nil {
		return err
	}
	fmt.Printf("resident memory of the patchbay process: %d MB, goal below 150 MB\n", rss>>20)
	return nil
}

// machine prints what the figures were measured on.
func machine(env *environment) {
	cpu := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for _, line := range strings.Split(string(b), "\n") {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				cpu = strings.Trim(name, "\t :")
				break
			}
		}
	}
	temporal, _ := exec.Command(env.temporalBinary, "--version").Output()
	postgres, _ := exec.Command("sh", "-c", "postgres --version 2>/dev/null || ls -d /usr/lib/postgresql/*/bin/postgres | tail -1 | xargs -I{} {} --version").Output()
	fmt.Printf("%d × %s, %s/%s, %s\n%s\n%s\n", runtime.NumCPU(), cpu, runtime.GOOS, runtime.GOARCH, runtime.Version(),
		strings.TrimSpace(string(temporal)), strings.TrimSpace(string(postgres)))
}
