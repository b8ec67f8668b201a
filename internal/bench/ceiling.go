package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// ceilingLasts is how long each of these figures is measured.
const ceilingLasts = 2 * time.Second

// callers is how many make calls or commits at a time where nothing else says.
const callers = 32

// ceiling prints what no press can be quicker than: the clients and loopback by
// themselves, the two calls by themselves, PostgreSQL's commits by themselves.
func ceiling(ctx context.Context, env *environment, peer *peer) error {
	fmt.Printf("\nThe bench's own ceiling, %s each\n", ceilingLasts)
	running := processes{"clients": os.Getpid(), "handler": peer.cmd.Process.Pid, "sandbox": env.running["sandbox"], database: env.running[database]}
	for _, clients := range []int{callers, 256} {
		b := newButton(peer.url + "/nothing")
		asked, cost, err := repeat(ctx, running, clients, func(ctx context.Context, _ int) error { return b.press(ctx, env.products[0]) })
		if err != nil {
			return fmt.Errorf("asking an empty handler: %w", err)
		}
		fmt.Printf("  %-58s %8.0f requests/s; CPU ms each: %s\n", fmt.Sprintf("%d clients at a handler that does nothing", clients), asked, cost)
	}
	v, err := newVendors(ctx, env.sandbox)
	if err != nil {
		return err
	}
	var next atomic.Int64
	for _, clients := range []int{1, callers} {
		pairs, cost, err := repeat(ctx, running, clients, func(ctx context.Context, _ int) error {
			rows, err := v.Read(ctx, env.products[int(next.Add(1))%len(env.products)])
			if err != nil {
				return err
			}
			return v.Write(ctx, rows)
		})
		if err != nil {
			return fmt.Errorf("calling the sandbox: %w", err)
		}
		fmt.Printf("  %-58s %8.0f call pairs/s; CPU ms each: %s\n", fmt.Sprintf("calls to Oracle then Dataverse by hand, %d at a time", clients), pairs, cost)
	}
	return commits(ctx, env.database, running)
}

// repeat has callers do one thing again and again, and gives how often a second
// and what each cost the processes.
func repeat(ctx context.Context, running processes, callers int, do func(context.Context, int) error) (rate float64, cost string, err error) {
	before, err := running.cpu()
	if err != nil {
		return 0, "", err
	}
	var done atomic.Int64
	var failed error
	var once sync.Once
	var all sync.WaitGroup
	began := time.Now()
	for caller := range callers {
		all.Go(func() {
			for time.Since(began) < ceilingLasts {
				if err := do(ctx, caller); err != nil {
					once.Do(func() { failed = err })
					return
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	rate = float64(done.Load()) / time.Since(began).Seconds()
	used, err := running.since(before)
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if each := 1000 * used[name] / float64(max(1, done.Load())); each >= 0.005 {
			parts = append(parts, fmt.Sprintf("%s %.2f", name, each))
		}
	}
	return rate, strings.Join(parts, ", "), errors.Join(failed, err)
}

// commits measures inserts into a table of our own, one row and 64 rows a commit,
// over as many connections as Patchbay has.
func commits(ctx context.Context, address string, running processes) error {
	const connections = 16
	conns := make([]*pgx.Conn, connections)
	for i := range conns {
		conn, err := pgx.Connect(ctx, address)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		conns[i] = conn
	}
	if _, err := conns[0].Exec(ctx, "create schema bench; create table bench.row (id bigint generated always as identity primary key, body jsonb not null)"); err != nil {
		return err
	}
	for _, size := range []int{1, 64} {
		rate, cost, err := repeat(ctx, running, connections, func(ctx context.Context, caller int) error {
			_, err := conns[caller].Exec(ctx, `insert into bench.row (body) select '{"product_id": "AS54888"}' from generate_series(1, $1::int)`, size)
			return err
		})
		if err != nil {
			return fmt.Errorf("committing rows: %w", err)
		}
		fmt.Printf("  %-58s %8.0f commits/s, %.0f rows/s; CPU ms each: %s\n", fmt.Sprintf("PostgreSQL, %d connections, %d rows a commit", connections, size), rate, rate*float64(size), cost)
	}
	_, err := conns[0].Exec(ctx, "drop schema bench cascade")
	return err
}
