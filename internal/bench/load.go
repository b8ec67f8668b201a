package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	ours   = "patchbay"
	theirs = "bare workflow"
)

// contender is one side of the comparison.
type contender struct {
	name         string
	button       *button
	goods        *shelf
	site         *site
	writesFollow bool // its answers come before its writes
	rounds       map[int][]round
}

// load presses both sides with every number of clients, in alternating rounds.
func load(ctx context.Context, env *environment, peer *peer, o options) error {
	bare := &site{api: env.api, actionsAt: env.actionsAt, database: env.database, running: maps.Clone(env.running)}
	delete(bare.running, ours)
	bare.running["bare"] = peer.cmd.Process.Pid
	sides := []*contender{
		{name: ours, button: of(env.api, "product-specs", ""), goods: newShelf(env.products), site: &env.site, writesFollow: true, rounds: map[int][]round{}},
		{name: theirs, button: newButton(peer.url + "/press"), goods: newShelf(env.products), site: bare, rounds: map[int][]round{}},
	}
	if o.alone {
		sides = sides[:1]
	}
	warm := o
	warm.lasting = min(o.lasting, 1500*time.Millisecond)
	var actions float64
	var err error
	for _, side := range sides {
		if _, actions, err = side.site.measure(ctx, side.button, callers, warm, side.goods, side.writesFollow, 0); err != nil {
			return fmt.Errorf("%s: %w", side.name, err)
		}
	}
	var written [][]time.Duration
	most := o.clients[len(o.clients)-1]
	for n := range o.rounds {
		for _, clients := range o.clients {
			for i := range sides {
				side := sides[(i+n)%len(sides)] // who goes first changes
				profiled := o.profile != "" && side == sides[0] && clients == most && n == o.rounds-1
				if profiled {
					if err := env.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
						return err
					}
				}
				var r round
				if r, actions, err = side.site.measure(ctx, side.button, clients, o, side.goods, side.writesFollow, actions); err != nil {
					return fmt.Errorf("%s, %d clients: %w", side.name, clients, err)
				}
				if profiled {
					if err := env.takeProfiles(ctx, o.profile); err != nil {
						return err
					}
				}
				side.rounds[clients] = append(side.rounds[clients], r)
				if side.writesFollow && clients == 1 {
					ends, err := side.site.written(ctx)
					if err != nil {
						return err
					}
					written = append(written, ends)
				}
			}
		}
	}
	report(sides, o)
	if len(written) > 0 {
		for _, q := range []float64{0.5, 0.95} {
			values := make([]float64, len(written))
			for i, took := range written {
				values[i] = milliseconds(quantile(took, q))
			}
			fmt.Printf("one client, from acceptance to the confirmed write by the runs' own times, p%.0f: %s ms\n", 100*q, spread(values, 1))
		}
	}
	return nil
}

// takeProfiles ends the profiled build's profile and moves what it wrote.
func (e *environment) takeProfiles(ctx context.Context, prefix string) error {
	if err := e.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		return err
	}
	from := filepath.Dir(filepath.Join(e.dir, "run-dev", "log"))
	for _, name := range []string{"cpu.pprof", "heap.pprof"} { // heap.pprof is written last, and renamed when it is whole
		path := filepath.Join(from, name)
		if err := await(ctx, name, 10*time.Second, func() bool { _, err := os.Stat(path); return err == nil }); err != nil {
			return err
		}
	}
	for _, name := range []string{"cpu.pprof", "heap.pprof"} {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(prefix+"-"+name, b, 0o644); err != nil {
			return err
		}
	}
	fmt.Printf("\nprofiles: %s-cpu.pprof, %s-heap.pprof\n", prefix, prefix)
	return nil
}

// report prints a table for every number of clients.
func report(sides []*contender, o options) {
	fmt.Printf(`
Presses of product-specs, %d rounds of %s, median (min … max)
  %-14s the answer comes when the press is durable, the source is read and the rows are with the client; the
  %-14s write goes on behind it. "completed" counts confirmed and recorded writes until no run is open
  %-14s one workflow per press behind a plain HTTP handler: two activities, the SDK's defaults, nothing else
  %-14s recorded; answer and write come together
`, o.rounds, o.lasting, ours, "", theirs, "")
	for _, clients := range o.clients {
		plural := "clients"
		if clients == 1 {
			plural = "client"
		}
		fmt.Printf("\n%d %s\n", clients, plural)
		fmt.Printf("  %-14s %24s %24s %24s %24s %24s\n", "", "answers/s", "completed/s", "p50 ms", "p95 ms", "p99 ms")
		for _, c := range sides {
			rounds := c.rounds[clients]
			fmt.Printf("  %-14s %24s %24s %24s %24s %24s\n", c.name,
				spread(each(rounds, round.answers), 0), spread(each(rounds, round.written), 0),
				quantiles(rounds, 0.5), quantiles(rounds, 0.95), quantiles(rounds, 0.99))
		}
		a, b := sides[0], sides[len(sides)-1]
		if a != b {
			fmt.Printf("  %-14s %24s %24s %24s %24s %24s\n", "ratio", against(a, b, clients, round.answers), against(a, b, clients, round.written),
				against(a, b, clients, at(0.5)), against(a, b, clients, at(0.95)), against(a, b, clients, at(0.99)))
		}
		for _, c := range sides {
			costs(c.name, c.rounds[clients])
		}
		goals(clients, a, b)
	}
	fmt.Println()
}

func at(q float64) func(round) float64 { return func(r round) float64 { return r.quantile(q) } }

func quantiles(rounds []round, q float64) string { return spread(each(rounds, at(q)), 1) }

func against(a, b *contender, clients int, value func(round) float64) string {
	return spread(ratios(a.rounds[clients], b.rounds[clients], value), 2)
}

// costs prints what a press cost besides time, and what went wrong.
func costs(name string, rounds []round) {
	actions := each(rounds, func(r round) float64 { return r.perPress(r.actions) })
	var parts []string
	sum := 0.0
	for _, process := range slices.Sorted(maps.Keys(rounds[0].cpu)) {
		used := median(each(rounds, func(r round) float64 { return r.perPress(1000 * r.cpu[process]) }))
		parts = append(parts, fmt.Sprintf("%s %.2f", process, used))
		sum += used
	}
	fmt.Printf("  %-14s Temporal actions/press %s; CPU ms/press: %s; together %.2f, so at most %.0f/s on %d cores\n", name,
		spread(actions, 2), strings.Join(parts, ", "), sum, 1000*float64(runtime.NumCPU())/sum, runtime.NumCPU())
	stored := func(value func(tables) float64) float64 {
		return median(each(rounds, func(r round) float64 { return r.perPress(value(r.stored)) }))
	}
	if commits := stored(func(t tables) float64 { return t.commits }); commits >= 0.1 { // the bare workflow stores nothing there
		fmt.Printf("  %-14s PostgreSQL/press: %.2f commits, %.1f rows changed, %.0f rows looked at, %.1f kB written ahead\n", name, commits,
			stored(func(t tables) float64 { return t.changed }), stored(func(t tables) float64 { return t.looked }), stored(func(t tables) float64 { return t.wal })/1000)
	}
	failed, answered, missing := 0, 0, 0.0
	var failure error
	for _, r := range rounds {
		failed, answered, missing = failed+r.failed, answered+len(r.took), missing+float64(len(r.took))-r.writes
		if failure == nil {
			failure = r.failure
		}
	}
	if failed > 0 {
		fmt.Printf("  %-14s %d PRESSES WITHOUT A RIGHT ANSWER beside %d with one; the first: %v\n", name, failed, answered, failure)
	}
	if missing != 0 {
		fmt.Printf("  %-14s RIGHT ANSWERS AND COMPLETED RUNS DIFFER BY %+.0f\n", name, missing)
	}
	if _, here := rounds[0].resident[ours]; here {
		fmt.Printf("  %-14s resident memory after a round %s MB, goal below 200 MB\n", name,
			spread(each(rounds, func(r round) float64 { return float64(r.resident[ours] >> 20) }), 0))
	}
}

// goals prints what was asked for beside what came out.
func goals(clients int, a, b *contender) {
	beside := a != b
	switch {
	case clients == 1 && beside:
		fmt.Printf("  goal: p50 at most 1.3 × %s's: %s\n", b.name, against(a, b, clients, at(0.5)))
	case clients == 32 && beside:
		fmt.Printf("  goal: at least 5 × %s's answers/s: %s\n", b.name, against(a, b, clients, round.answers))
	case clients == 256:
		fmt.Printf("  goal: at least 800 answers/s (better 1500) with p99 below 1000 ms: %.0f/s, %.0f ms\n",
			median(each(a.rounds[clients], round.answers)), median(each(a.rounds[clients], at(0.99))))
	}
}
