package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
)

type (
	// Options tune a Store; the zero value is what `patchbay dev` uses.
	Options struct {
		MaxConns    int32  // size of the pool; 0: 16
		Application string // application_name, for people who look at pg_stat_activity; "": "patchbay"
	}

	// Store is a pool of connections to one database. It is safe for concurrent
	// use; whoever opened it closes it.
	Store struct {
		pool *pgxpool.Pool
	}
)

// acquireTimeout bounds the wait for a connection, connecting included: a
// PostgreSQL that is down or frozen is an error within two seconds.
const (
	acquireTimeout = 1800 * time.Millisecond
	connectTimeout = 1500 * time.Millisecond
	pingTimeout    = 500 * time.Millisecond
)

// sessionSettings hold for every session of the application, whatever its role:
// housekeeping that waits for ever piles up locks until no connection is left.
var sessionSettings = map[string]string{
	"statement_timeout":                   "10s",
	"lock_timeout":                        "5s",
	"idle_in_transaction_session_timeout": "10s",
	// A statement is planned once for a table that is empty, and executed ten
	// minutes later for one of a million rows. Each of ours has its index: a plan
	// that reads a whole table is right for as long as that costs nothing, and then
	// wrong. Without jit, because a plan that has no choice looks dear enough for it.
	"enable_seqscan":  "off",
	"jit":             "off",
	"plan_cache_mode": "force_generic_plan",
}

// Open connects to the database at url and checks that it answers.
func Open(ctx context.Context, url string, o Options) (*Store, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, malformedURL()
	}
	configure(cfg.ConnConfig, o.Application)
	cfg.MaxConns = 16
	if o.MaxConns > 0 {
		cfg.MaxConns = o.MaxConns
	}
	cfg.PingTimeout = pingTimeout
	cfg.MaxConnLifetimeJitter = 5 * time.Minute
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, Classify(err)
	}
	s := &Store{pool: pool}
	if err := s.Ping(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func configure(c *pgx.ConnConfig, application string) {
	c.ConnectTimeout = connectTimeout
	if application == "" {
		application = "patchbay"
	}
	c.RuntimeParams["application_name"] = application
	for name, value := range sessionSettings {
		c.RuntimeParams[name] = value
	}
}

func malformedURL() error {
	return fault.New(fault.Invalid, "store.url", "the database URL cannot be read; it looks like postgres://user@host:5432/name", nil)
}

// Pool gives the pool itself, for what Read, Write and Tx do not cover. Its
// errors are not classified: pass them through Classify.
func (s *Store) Pool() *pgxpool.Pool { return s.pool }

// Close ends all connections; it waits for those in use.
func (s *Store) Close() { s.pool.Close() }

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	return s.Read(ctx, func(c *pgxpool.Conn) error { return c.Ping(ctx) })
}

// acquire waits for a connection within acquireTimeout.
func (s *Store) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	bounded, cancel := context.WithTimeout(ctx, acquireTimeout)
	defer cancel()
	conn, err := s.pool.Acquire(bounded)
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case bounded.Err() != nil:
		return nil, unavailable(err)
	}
	return nil, Classify(err)
}
