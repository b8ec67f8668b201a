package store_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
)

func requireFault(t *testing.T, err error, class fault.Class, code string) {
	t.Helper()
	require.Error(t, err)
	f := fault.Of(err)
	require.Equal(t, code, f.Code, "%v", err)
	require.Equal(t, class, f.Class)
}

func ignore(*pgxpool.Conn) error { return nil }

func TestADatabaseThatRefusesConnectionsIsUnavailableAtOnce(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	_, err = store.Open(t.Context(), "postgres://somebody:hunter2@"+address+"/patchbay", store.Options{})
	requireFault(t, err, fault.Unavailable, "store.unavailable")
	require.NotContains(t, err.Error(), "hunter2")
	require.NotContains(t, err.Error(), address)
}

func TestADatabaseThatSaysNothingIsUnavailableWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts in the kernel, answers never
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	begun := time.Now()
	_, err = store.Open(t.Context(), "postgres://somebody@"+l.Addr().String()+"/patchbay?sslmode=disable", store.Options{})
	requireFault(t, err, fault.Unavailable, "store.unavailable")
	require.Less(t, time.Since(begun), 2*time.Second)
}

func TestAnExhaustedPoolIsUnavailableWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), storetest.URL(t), store.Options{MaxConns: 1})
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.Read(t.Context(), func(*pgxpool.Conn) error {
		begun := time.Now()
		requireFault(t, s.Read(t.Context(), ignore), fault.Unavailable, "store.unavailable")
		require.Less(t, time.Since(begun), 2*time.Second)
		return nil
	}))
}

func TestAMalformedURLIsNamedWithoutItsText(t *testing.T) {
	t.Parallel()
	_, err := store.Open(t.Context(), "postgres://u:hunter2@host:port/x", store.Options{})
	requireFault(t, err, fault.Invalid, "store.url")
	require.NotContains(t, err.Error(), "hunter2")
	_, err = store.Migrate(t.Context(), "postgres://u:hunter2@host:port/x", store.MigrateOptions{})
	requireFault(t, err, fault.Invalid, "store.url")
}

func TestAFrozenServerIsUnavailableWithinTwoSecondsOnAnIdlePool(t *testing.T) {
	t.Parallel()
	d := storetest.NewDatabase(t)
	p := newProxy(t, d.App)
	s := storetest.Open(t, p.url)
	p.freeze()
	// A connection is asked whether it lives when it was idle for a second, so that
	// is how far apart the tries are.
	require.Eventually(t, func() bool {
		begun := time.Now()
		err := s.Read(t.Context(), ignore)
		return fault.Is(err, fault.Unavailable) && time.Since(begun) < 2*time.Second
	}, time.Minute, 1200*time.Millisecond)
	p.close() // or closing the store would wait for the silent server
}

// A relay has no deadline of its own, and must not hang with a server that is
// frozen while it reads.
func TestAFrozenServerEndsACallThatHasNoDeadline(t *testing.T) {
	t.Parallel()
	d := storetest.NewDatabase(t)
	p := newProxy(t, d.App)
	s := storetest.Open(t, p.url)
	err := s.Read(t.Context(), func(c *pgxpool.Conn) error {
		p.freeze()
		return c.QueryRow(t.Context(), `select 1`).Scan(new(int))
	})
	requireFault(t, err, fault.Unavailable, "store.unavailable")
	require.NoError(t, t.Context().Err())
	p.close()
}

func TestNoTextHoldsTheRowOrTheMessageOfPostgreSQL(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	insert := func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `insert into setting (name, value) values ('patient 4711', 'x')`)
		return err
	}
	require.NoError(t, s.Tx(t.Context(), insert))
	err := s.Tx(t.Context(), insert)
	requireFault(t, err, fault.Bug, "store.statement")
	require.NotContains(t, err.Error(), "4711")
	require.Contains(t, err.Error(), "23505", "the SQLSTATE is what support needs")
	err = s.Tx(t.Context(), func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `select 'patient 4711'::int`)
		return err
	})
	requireFault(t, err, fault.Bug, "store.statement")
	require.NotContains(t, err.Error(), "4711")
}

func TestErrorsOfTheCallerPassTxUnchanged(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	mine, calls := errors.New("mine"), 0
	require.Equal(t, mine, s.Tx(t.Context(), func(pgx.Tx) error { calls++; return mine }))
	require.Equal(t, 1, calls)
	require.ErrorIs(t, s.Tx(t.Context(), func(tx pgx.Tx) error {
		return tx.QueryRow(t.Context(), `select 1 where false`).Scan(new(int))
	}), pgx.ErrNoRows)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Tx(ctx, func(pgx.Tx) error { return nil }), context.Canceled)
}

func TestTransactionsThatDeadlockAreRunAgain(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	_, err := s.Pool().Exec(t.Context(), `insert into work_pair_source select 1`)
	requireFault(t, store.Classify(err), fault.Unavailable, "store.schema")
	for _, flow := range []string{"a", "b"} {
		_, err := s.Pool().Exec(t.Context(), `insert into connection (name, body) values ($1, '0')`, flow)
		require.NoError(t, err)
	}
	var both, done sync.WaitGroup
	both.Add(2)
	touch := func(first, second string) error {
		meet := sync.OnceFunc(func() { both.Done(); both.Wait() }) // only the first try meets the other
		return s.Tx(t.Context(), func(tx pgx.Tx) error {
			const sql = `update connection set body = to_jsonb(body::text::int + 1) where name = $1`
			if _, err := tx.Exec(t.Context(), sql, first); err != nil {
				return err
			}
			meet()
			_, err := tx.Exec(t.Context(), sql, second)
			return err
		})
	}
	errs := make([]error, 2)
	done.Go(func() { errs[0] = touch("a", "b") })
	done.Go(func() { errs[1] = touch("b", "a") })
	done.Wait()
	require.NoError(t, errors.Join(errs...))
	var sum int
	require.NoError(t, s.Pool().QueryRow(t.Context(), `select sum(body::text::int) from connection`).Scan(&sum))
	require.Equal(t, 4, sum)
}

func TestATransactionWhoseConnectionDiesIsRunAgainOnANewOne(t *testing.T) {
	t.Parallel()
	d := storetest.NewDatabase(t)
	s, killer := storetest.Open(t, d.App), storetest.Open(t, d.Owner)
	tries := 0
	require.NoError(t, s.Tx(t.Context(), func(tx pgx.Tx) error {
		if tries++; tries == 1 {
			kill(t, killer, tx)
		}
		_, err := tx.Exec(t.Context(), `insert into setting (name, value) values ('a', 'b')`)
		return err
	}))
	require.Equal(t, 2, tries)
}

func kill(t *testing.T, killer *store.Store, tx pgx.Tx) {
	t.Helper()
	_, err := killer.Pool().Exec(t.Context(), `select pg_terminate_backend($1, 5000)`, tx.Conn().PgConn().PID())
	require.NoError(t, err)
}

func TestACommitWhoseAnswerIsLostIsInDoubtAndNotRepeated(t *testing.T) {
	t.Parallel()
	d := storetest.NewDatabase(t)
	p := newProxy(t, d.App)
	s, outside := storetest.Open(t, p.url), storetest.Open(t, d.App)
	tries := 0
	err := s.Tx(t.Context(), func(tx pgx.Tx) error {
		tries++
		_, err := tx.Exec(t.Context(), `insert into setting (name, value) values ('a', 'b')`)
		p.loseAnswers() // the commit arrives, its answer does not
		return err
	})
	requireFault(t, err, fault.InDoubt, "store.commit_unknown")
	require.Equal(t, 1, tries)
	var n int
	require.NoError(t, outside.Pool().QueryRow(t.Context(), `select count(*) from setting`).Scan(&n))
	require.Equal(t, 1, n, "it had been committed: to repeat it would have been wrong")
}

func TestAStatementWhoseAnswerIsLostIsInDoubt(t *testing.T) {
	t.Parallel()
	d := storetest.NewDatabase(t)
	p := newProxy(t, d.App)
	s := storetest.Open(t, p.url)
	write := func(name string) error {
		return s.Write(t.Context(), func(c *pgxpool.Conn) error {
			_, err := c.Exec(t.Context(), `insert into setting (name, value) values ($1, 'b')`, name)
			return err
		})
	}
	require.NoError(t, write("a"))
	p.loseAnswers()
	requireFault(t, write("b"), fault.InDoubt, "store.commit_unknown")
	p.close()
	requireFault(t, write("c"), fault.Unavailable, "store.unavailable")
}

func TestSettingIsMadeOnceForAllProcesses(t *testing.T) {
	t.Parallel()
	d := storetest.NewDatabase(t)
	one, two := storetest.Open(t, d.App), storetest.Open(t, d.App)
	values := make([]string, 16)
	var wg sync.WaitGroup
	for i := range values {
		wg.Go(func() {
			s := one
			if i%2 == 0 {
				s = two
			}
			v, err := s.Setting(t.Context(), "k", func() []byte { return []byte{byte(i)} })
			if err != nil {
				t.Error(err)
			}
			values[i] = string(v)
		})
	}
	wg.Wait()
	for _, v := range values {
		require.Equal(t, values[0], v)
	}
}

func TestListenHearsAgainAfterItsConnectionDied(t *testing.T) {
	t.Parallel()
	d := storetest.NewDatabase(t)
	s, owner := storetest.Open(t, d.App), storetest.Open(t, d.Owner)
	ctx, cancel := context.WithCancel(t.Context())
	heard, ended := make(chan string, 100), make(chan struct{})
	go func() { defer close(ended); s.Listen(ctx, "work", func(p string) { heard <- p }) }()
	next := func() string {
		select {
		case p := <-heard:
			return p
		case <-time.After(time.Minute):
			require.Fail(t, "nothing heard")
			return ""
		}
	}
	require.Empty(t, next(), "connected: anything may have happened before")
	_, err := owner.Pool().Exec(t.Context(), `select pg_notify('work', 'one')`)
	require.NoError(t, err)
	require.Equal(t, "one", next())
	_, err = owner.Pool().Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity
		where datname = current_database() and query like 'listen%'`)
	require.NoError(t, err)
	require.Empty(t, next(), "connected again")
	_, err = owner.Pool().Exec(t.Context(), `select pg_notify('work', 'two')`)
	require.NoError(t, err)
	require.Equal(t, "two", next())
	cancel()
	<-ended
}

func TestTextFitsATextColumn(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	var back string
	odd := "a\x00b\xffc" + strings.Repeat("ä", 3)
	require.NoError(t, s.Pool().QueryRow(t.Context(), `select $1::text`, store.Text(odd)).Scan(&back))
	require.Equal(t, "a\uFFFDb\uFFFDcäää", back)
}

func TestTheSchemaDigestIsStable(t *testing.T) {
	t.Parallel()
	first := store.SchemaDigest()
	require.Len(t, first, 64)
	require.Equal(t, first, store.SchemaDigest())
}

func withHost(t *testing.T, base, host string) string {
	t.Helper()
	u, err := url.Parse(base)
	require.NoError(t, err)
	u.Host = host
	return u.String()
}

// sessions gives the server processes behind the idle connections of a pool.
func sessions(t *testing.T, s *store.Store, n int) []uint32 {
	t.Helper()
	var held []*pgxpool.Conn
	var pids []uint32
	for range n {
		c, err := s.Pool().Acquire(t.Context())
		require.NoError(t, err)
		held, pids = append(held, c), append(pids, c.Conn().PgConn().PID())
	}
	for _, c := range held {
		c.Release()
	}
	return pids
}

func TestACallerWhoLeavesCostsTheOthersNoConnection(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	const sleep = `insert into setting (name, value) select 'slow', 'x' from pg_sleep(30)`
	for name, call := range map[string]func(context.Context) error{
		"a statement": func(ctx context.Context) error {
			return s.Write(ctx, func(c *pgxpool.Conn) error { _, err := c.Exec(ctx, sleep); return err })
		},
		"a statement with a deadline of its own": func(ctx context.Context) error {
			own, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			return s.Write(context.WithoutCancel(ctx), func(c *pgxpool.Conn) error { _, err := c.Exec(own, sleep); return err })
		},
		"a transaction": func(ctx context.Context) error {
			return s.Tx(ctx, func(tx pgx.Tx) error { _, err := tx.Exec(ctx, sleep); return err })
		},
	} {
		before := sessions(t, s, 4)
		ctx, leave := context.WithTimeout(t.Context(), 100*time.Millisecond)
		err := call(ctx)
		leave()
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "went away", name)
		after := sessions(t, s, 3) // the caller's own connection is lost with its statement
		require.Subset(t, before, after, name)
	}
}

func TestACallerWhoLeavesDuringACommitDoesNotKnowItsOutcome(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	ctx, leave := context.WithCancel(t.Context())
	err := s.Tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `insert into setting (name, value) values ('a', 'b')`)
		leave()
		return err
	})
	require.ErrorIs(t, err, context.Canceled)
	ctx, leave = context.WithTimeout(t.Context(), time.Second)
	defer leave()
	err = s.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `insert into setting (name, value) select 'slow', 'x' from pg_sleep(30)`)
		return err
	})
	requireFault(t, err, fault.InDoubt, "store.commit_unknown")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotContains(t, fault.Of(err).Text, "went away")
}
