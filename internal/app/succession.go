package app

import (
	"context"
	"hash/fnv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"patchbay/internal/store"
	"patchbay/workers"
)

// presenceClass is the class of the advisory locks of builds: a process that
// works holds its build's lock shared for as long as it lives. PostgreSQL lets go
// of it when the process is gone, however it went, and so knows whether anybody
// works for a build.
const presenceClass = 0x7061_7463

const (
	presenceProbe = 2 * time.Second
	presenceAgain = 500 * time.Millisecond
	orphansEvery  = 2 * time.Second
)

// present says that this process works for its build, until ctx ends. While the
// database is away nothing says so; the runs that another build then takes over
// are those that it replays.
func (c *core) present(ctx context.Context) {
	for ctx.Err() == nil {
		if err := c.presentOnce(ctx); err != nil && ctx.Err() == nil {
			c.Log.Warn("the database does not know that this build is at work", zap.Error(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(presenceAgain):
		}
	}
}

func (c *core) presentOnce(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, c.store.Pool().Config().ConnConfig)
	if err != nil {
		return store.Classify(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, `select pg_advisory_lock_shared($1, $2)`, presenceClass, buildKey(Build())); err != nil {
		return store.Classify(err)
	}
	probe := time.NewTicker(presenceProbe)
	defer probe.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-probe.C:
		}
		bounded, cancel := context.WithTimeout(ctx, presenceProbe)
		err := conn.Ping(bounded)
		cancel()
		if err != nil {
			return store.Classify(err)
		}
	}
}

// gone implements workers.Gone.
func (c *core) gone(ctx context.Context, build string) (gone bool, err error) {
	err = c.store.Read(ctx, func(conn *pgxpool.Conn) error {
		return conn.QueryRow(ctx, `select pg_try_advisory_xact_lock($1, $2)`, presenceClass, buildKey(build)).Scan(&gone)
	})
	return gone, err
}

func buildKey(build string) int32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(build)) // a hash never fails
	return int32(h.Sum32())
}

// inherit takes over the open runs of builds that nobody works for, again and
// again until ctx ends, and tells what each look has found.
func (c *core) inherit(ctx context.Context, tell func(workers.Estate)) error {
	heir, err := workers.NewHeir(c.temporal, c.gone)
	if err != nil {
		return err
	}
	tick := time.NewTicker(orphansEvery)
	defer tick.Stop()
	for {
		estate, err := heir.Look(ctx)
		if err != nil && ctx.Err() == nil {
			c.Log.Warn("open runs of earlier builds were not all looked at", zap.Error(err))
		}
		if err == nil || estate.Moved > 0 {
			tell(estate)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
