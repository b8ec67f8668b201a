package main

import (
	"context"
	"fmt"
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
	for _, clients := range []int{callers, 256} {
		// A pause comes before, so that no caller measures its predecessor's end.
		b := newButton(peer.url + "/nothing")
		asked, err := repeat(ctx, clients, func(ctx context.Context, _ int) error { return b.press(ctx, env.products[0]) })
		if err != nil {
			return fmt.Errorf("asking an empty handler: %w", err)
		}
		fmt.Printf("  %-58s %8.0f requests/s\n", fmt.Sprintf("%d clients at a handler that does nothing", clients), asked)
	}
	v, err := newVendors(ctx, env.sandbox)
	if err != nil {
		return err
	}
	var next atomic.Int64
	for _, clients := range []int{1, callers} {
		pairs, err := repeat(ctx, clients, func(ctx context.Context, _ int) error {
			rows, err := v.Read(ctx, env.products[int(next.Add(1))%len(env.products)])
			if err != nil {
				return err
			}
			return v.Write(ctx, rows)
		})
		if err != nil {
			return fmt.Errorf("calling the sandbox: %w", err)
		}
		fmt.Printf("  %-58s %8.0f call pairs/s\n", fmt.Sprintf("%d callers, Oracle then Dataverse, by hand", clients), pairs)
	}
	return commits(ctx, env.database)
}

// repeat has callers do one thing again and again, and gives how often a second.
func repeat(ctx context.Context, callers int, do func(context.Context, int) error) (float64, error) {
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
	return float64(done.Load()) / time.Since(began).Seconds(), failed
}

// commits measures inserts into a table of our own, one row and 64 rows a commit,
// over as many connections as Patchbay has.
func commits(ctx context.Context, database string) error {
	const connections = 16
	conns := make([]*pgx.Conn, connections)
	for i := range conns {
		conn, err := pgx.Connect(ctx, database)
		if err != nil {
			return err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		conns[i] = conn
	}
	if _, err := conns[0].Exec(ctx, "create schema bench; create table bench.row (id bigint generated always as identity primary key, body jsonb not null)"); err != nil {
		return err
	}
	for _, size := range []int{1, 64} {
		rate, err := repeat(ctx, connections, func(ctx context.Context, caller int) error {
			_, err := conns[caller].Exec(ctx, `insert into bench.row (body) select '{"product_id": "AS54888"}' from generate_series(1, $1::int)`, size)
			return err
		})
		if err != nil {
			return fmt.Errorf("committing rows: %w", err)
		}
		fmt.Printf("  %-58s %8.0f commits/s, %.0f rows/s\n", fmt.Sprintf("PostgreSQL, %d connections, %d rows a commit", connections, size), rate, rate*float64(size))
	}
	_, err := conns[0].Exec(ctx, "drop schema bench cascade")
	return err
}
