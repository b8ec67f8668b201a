package store

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/failpoint"
	"patchbay/internal/fault"
)

// maxTries bounds how often a transaction is begun again after a deadlock, a
// serialization failure or a connection that broke before the commit.
const maxTries = 4

// longest is how long a connection is used at a time before it is cut: PostgreSQL
// ends a statement sooner (statement_timeout) unless it has stopped answering.
const longest = 15 * time.Second

// Read runs fn on one connection, outside a transaction. fn only reads: when the
// connection breaks it is run once more, on a new one.
func (s *Store) Read(ctx context.Context, fn func(*pgxpool.Conn) error) error {
	return s.repeat(ctx, func() error { return s.with(ctx, fn) })
}

// Write runs fn, which executes exactly one statement that commits itself. When
// the connection breaks after the statement was sent, nobody knows whether it
// took effect: InDoubt, code "store.commit_unknown". The caller repeats what is
// idempotent and reads back the rest.
func (s *Store) Write(ctx context.Context, fn func(*pgxpool.Conn) error) error {
	at := failpoint.Caller()
	at.Before()
	err := s.with(ctx, fn)
	if ambiguous(err) {
		return s.unknown(ctx, err)
	}
	return s.ends(ctx, at, Classify(err))
}

// Tx runs fn in one transaction at read committed and commits unless fn fails.
// fn runs again after a deadlock, a serialization failure or a connection that
// broke before the commit, so it must set its results anew each time and do
// nothing outside the transaction. A commit whose outcome is unknown is InDoubt,
// code "store.commit_unknown", and is not repeated.
func (s *Store) Tx(ctx context.Context, fn func(pgx.Tx) error) error {
	at := failpoint.Caller()
	at.Before()
	err := s.repeat(ctx, func() error {
		return s.with(ctx, func(c *pgxpool.Conn) error {
			tx, err := c.Begin(ctx)
			if err != nil {
				return err
			}
			if err := fn(tx); err != nil {
				// The connection is destroyed with the transaction if this fails too.
				_ = tx.Rollback(ctx)
				return err
			}
			err = tx.Commit(ctx)
			if ambiguous(err) {
				return s.unknown(ctx, err)
			}
			return err
		})
	})
	return s.ends(ctx, at, err)
}

// Long runs fn in one transaction of its own kind: copies, sorts and merges of
// millions of rows, for which a whole table is the right thing to read. It lasts at
// most limit, is not begun again, and commits unless fn fails; a commit whose outcome
// is unknown is InDoubt, as of Tx.
func (s *Store) Long(ctx context.Context, limit time.Duration, fn func(pgx.Tx) error) error {
	at := failpoint.Caller()
	at.Before()
	err := s.within(ctx, limit, func(c *pgxpool.Conn) error {
		tx, err := c.Begin(ctx)
		if err != nil {
			return err
		}
		if _, err = tx.Exec(ctx, `select set_config(name, value, true) from unnest($1::text[], $2::text[]) as s(name, value)`,
			longNames, longValues(limit)); err == nil {
			err = fn(tx)
		}
		if err != nil {
			_ = tx.Rollback(ctx)
			return err
		}
		err = tx.Commit(ctx)
		if ambiguous(err) {
			return s.unknown(ctx, err)
		}
		return err
	})
	return s.ends(ctx, at, Classify(err))
}

// longNames are the settings of Long. The memory is for sorts, of which a join has one
// a source.
var longNames = []string{"statement_timeout", "idle_in_transaction_session_timeout", "lock_timeout", "enable_seqscan", "plan_cache_mode",
	"work_mem", "maintenance_work_mem", "synchronize_seqscans"}

func longValues(limit time.Duration) []string {
	most := strconv.FormatInt(limit.Milliseconds(), 10)
	return []string{most, most, "5s", "on", "auto", "64MB", "128MB", "off"}
}

// ends is the end of a transaction: err, unless a failpoint knows better.
func (s *Store) ends(ctx context.Context, at failpoint.Point, err error) error {
	if err == nil && at.Lost() {
		return s.unknown(ctx, pgconn.ErrConnClosed)
	}
	if err == nil {
		at.After()
	}
	return err
}

func (s *Store) with(ctx context.Context, fn func(*pgxpool.Conn) error) error {
	return s.within(ctx, longest, fn)
}

func (s *Store) within(ctx context.Context, most time.Duration, fn func(*pgxpool.Conn) error) error {
	conn, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	// A caller without a deadline does not wait for ever either. In a process that was
	// frozen the answer and the limit come at once.
	wire := conn.Conn().PgConn().Conn()
	limit := time.AfterFunc(most, func() { _ = wire.Close() })
	defer func() {
		if !limit.Stop() { // it is closed, or will be: nobody else gets it
			over, cancel := context.WithCancel(context.WithoutCancel(ctx))
			cancel()
			_ = conn.Conn().Close(over)
		}
	}()
	return fn(conn)
}

// repeat calls try again while its failure is one that a new attempt may mend.
func (s *Store) repeat(ctx context.Context, try func() error) error {
	begun := time.Now()
	for n, broken := 1, false; ; n++ {
		err := try()
		var f *fault.Fault
		switch {
		case err == nil:
			return nil
		case errors.As(err, &f), ctx.Err() != nil, n == maxTries, time.Since(begun) >= longest:
			return Classify(err)
		case lost(err) && !broken:
			// The others in the pool are probably as dead.
			broken = true
			s.pool.Reset()
		case !contended(err):
			return Classify(err)
		}
	}
}

// contended reports whether PostgreSQL rolled back for the sake of others.
func contended(err error) bool {
	switch sqlState(err) {
	case "40001", "40P01": // serialization_failure, deadlock_detected
		return true
	}
	return false
}

// lost reports whether an established connection broke by itself.
func lost(err error) bool {
	var refused *pgconn.ConnectError
	switch state := sqlState(err); {
	case err == nil, errors.As(err, &refused), left(err):
		return false
	case state != "":
		return state[:2] == "08" || state[:3] == "57P"
	}
	return broken(err)
}

// ambiguous reports whether err leaves it open if what was sent took effect. When
// the connection breaks while pgx 5.12 waits for the answer to a statement without
// arguments, such as commit, it reports a closed connection that is safe to retry.
// It is not.
func ambiguous(err error) bool {
	switch {
	case errors.Is(err, pgconn.ErrConnClosed):
		return true
	case err == nil, pgconn.SafeToRetry(err), errors.Is(err, pgx.ErrTxCommitRollback):
		return false
	case lost(err):
		return true
	}
	var f *fault.Fault
	return !errors.As(err, &f) && sqlState(err) == "" && left(err)
}

// left reports whether somebody stopped waiting, which closes the connection.
func left(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// unknown is the fault of an ambiguous err. A caller who stopped waiting has cut no
// connection but its own; else the others in the pool are probably as dead.
func (s *Store) unknown(ctx context.Context, err error) error {
	text := "nobody waited for the end of a commit; whether it took effect is not known"
	if ctx.Err() == nil && !left(err) {
		s.pool.Reset()
		text = "the database went away during a commit; whether it took effect is not known"
	}
	return fault.New(fault.InDoubt, "store.commit_unknown", text, err)
}
