package postgres_test

import (
	"context"
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/postgres"
	"patchbay/internal/store/storetest"
)

// bundle is a database of another party, with a table of invoices, and a connection to it.
type bundle struct {
	*testing.T
	owner  string // URL
	config connector.Config
	pg     *postgres.Postgres
	sql    *pgx.Conn // what a person at the database sees
	// resolve gives the values of the connection's references.
	resolve func(string) (string, error)
}

func newBundle(t *testing.T, change ...func(*connector.Config)) *bundle {
	t.Helper()
	b := &bundle{T: t, owner: storetest.Empty(t)}
	var err error
	b.sql, err = pgx.Connect(t.Context(), b.owner)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.sql.Close(t.Context()) })
	b.exec(markers(t))
	b.exec(`create schema "Acc";
		create table "Acc".invoice (
			"Number" text primary key, amount numeric(20, 4) check (amount >= 0), quantity bigint, note varchar(12) unique,
			due date, paid boolean not null default false, at timestamptz, extra jsonb, hidden text default 'hidden')`)
	u, err := url.Parse(b.owner)
	require.NoError(t, err)
	password, _ := u.User.Password()
	b.config = connector.Config{Name: "the-connection", System: postgres.System, URL: "${env:DB}",
		Auth:   connector.Auth{Kind: "basic", Username: u.User.Username(), Password: "${env:PASSWORD}"},
		Limits: connector.Limits{Timeout: 20 * time.Second},
		Tables: map[string]connector.Table{
			"invoice": {Path: "Acc.invoice", Keys: [][]string{{"Number"}}},
			"nowhere": {Path: "Acc.nowhere", Keys: [][]string{{"Number"}}},
			"ledger":  {Path: "ledger", Keys: [][]string{{"account", "day"}}},
		}}
	u.User, u.RawQuery = nil, ""
	secrets := strings.NewReplacer("${env:DB}", u.String(), "${env:PASSWORD}", password)
	for _, c := range change {
		c(&b.config)
	}
	b.resolve = func(text string) (string, error) { return secrets.Replace(text), nil }
	b.pg = b.build(b.resolve)
	return b
}

func (b *bundle) build(resolve func(string) (string, error)) *postgres.Postgres {
	b.Helper()
	pg, err := postgres.New(b.config, connector.Deps{Resolve: resolve})
	require.NoError(b, err)
	b.Cleanup(func() { pg.Close(context.Background()) })
	return pg
}

// markers is the statement that the documentation tells the owner of a database.
func markers(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/postgres.md")
	require.NoError(t, err)
	found := regexp.MustCompile("(?s)```sql\n(create table patchbay_effect.*?)```").FindSubmatch(text)
	require.NotNil(t, found)
	return string(found[1])
}

// connect gives one more connection of a person.
func (b *bundle) connect() *pgx.Conn {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), b.owner)
	if err != nil {
		b.Error(err)
		return nil
	}
	b.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (b *bundle) exec(sql string) {
	b.Helper()
	_, err := b.sql.Exec(b.Context(), sql)
	require.NoError(b, err)
}

// text gives the one value of a query, as PostgreSQL writes it.
func (b *bundle) text(query string) string {
	b.Helper()
	var text string
	require.NoError(b, b.sql.QueryRow(b.Context(), "select coalesce(("+query+")::text, 'null')").Scan(&text))
	return text
}

func (b *bundle) upsert(pg *postgres.Postgres, marks []connector.Mark, rows ...connector.Row) ([]connector.Result, error) {
	b.Helper()
	return pg.Upsert(b.Context(), connector.Upsert{Table: "invoice", Key: []string{"Number"}, Rows: rows, Marks: marks})
}

func (b *bundle) write(rows ...connector.Row) {
	b.Helper()
	results, err := b.upsert(b.pg, nil, rows...)
	require.NoError(b, err)
	require.Equal(b, make([]connector.Result, len(rows)), results)
}

func mark(fence int64, keys ...string) []connector.Mark {
	marks := make([]connector.Mark, len(keys))
	for i, k := range keys {
		marks[i] = connector.Mark{Cause: "run-1", Step: "write", Key: k, Fence: fence}
	}
	return marks
}

// line stands between the connector and the database, and loses what the database
// answers to a commit: the connection is cut instead.
type line struct {
	address string
	mu      sync.Mutex
	lossy   bool
	lost    int
}

func newLine(t *testing.T, server string) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &line{address: listener.Addr().String()}
	var all sync.WaitGroup
	var conns []net.Conn
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			l.mu.Lock()
			conns = append(conns, client, to)
			l.mu.Unlock()
			all.Go(func() { l.pipe(to, client, nil) })
			all.Go(func() { l.pipe(client, to, []byte("COMMIT\x00")) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		l.mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		l.mu.Unlock()
		all.Wait()
	})
	return l
}

func (l *line) loses(lossy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lossy = lossy
}

func (l *line) losses() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

func (l *line) pipe(to, from net.Conn, cut []byte) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		l.mu.Lock()
		if l.lossy && cut != nil && strings.Contains(string(buffer[:n]), string(cut)) {
			l.lost++
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func withoutUser(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic(err)
	}
	u.User, u.RawQuery = nil, ""
	return u.String()
}

func passwordOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic(err)
	}
	password, _ := u.User.Password()
	return password
}
