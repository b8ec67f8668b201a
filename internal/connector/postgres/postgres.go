package postgres

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// System is the connector's name in connections.yaml.
const System = "postgres"

const (
	defaultMarkers  = "patchbay_effect"
	defaultBulk     = 500
	maxBulk         = 5000
	defaultPage     = 1000
	maxPage         = 5000
	defaultSheet    = 10_000
	maxSheet        = 50_000
	perTimeout      = 2_500 // rows of a sheet that may take the time of one call
	defaultTimeout  = 30 * time.Second
	defaultMaxBytes = 16 << 20
	idleFor         = time.Minute // how long a connection is kept that nobody uses
)

type (
	// Postgres is one connection to one database; safe for concurrent use. It
	// connects when it is asked something, and keeps what it opened for a while.
	Postgres struct {
		config  connector.Config
		deps    connector.Deps
		gate    *connector.Gate
		markers string // quoted
		bulk    int
		origins bool // what a write is marked with, and a stream tells
		bytes   int64
		timeout time.Duration

		mu      sync.Mutex
		idle    []idle
		keys    map[string]bool   // by table: its first key is known never to be null
		shapes  map[string]shape  // by quoted path
		formats map[uint32]format // of types that are not PostgreSQL's own
		streams []*stream         // that are open
	}

	idle struct {
		conn  *pgx.Conn
		since time.Time
	}
)

var (
	_ connector.PageReader  = (*Postgres)(nil)
	_ connector.KeyReader   = (*Postgres)(nil)
	_ connector.Upserter    = (*Postgres)(nil)
	_ connector.Conditional = (*Postgres)(nil)
	_ connector.Marker      = (*Postgres)(nil)
	_ connector.Prober      = (*Postgres)(nil)
	_ connector.Extractor   = (*Postgres)(nil)
	_ connector.Loader      = (*Postgres)(nil)
	_ connector.Describer   = (*Postgres)(nil)
	_ connector.Tailer      = (*Postgres)(nil)
	_ connector.Chunker     = (*Postgres)(nil)
	_ connector.Versioned   = (*Postgres)(nil)
	_ connector.Identities  = (*Postgres)(nil)
	_ connector.FeedReader  = (*Postgres)(nil)
)

// New makes the connector of one connection.
func New(c connector.Config, d connector.Deps) (*Postgres, error) {
	if c.URL == "" {
		return nil, fault.Invalidf("connector.url", "connection %s has no url", c.Name)
	}
	if c.Auth.Kind != "basic" {
		return nil, fault.Invalidf("connector.auth", "connection %s: a database takes auth kind basic, with username and password", c.Name)
	}
	c.System = System
	p := &Postgres{config: c, deps: d, gate: connector.NewGate(c, d), bulk: defaultBulk, keys: map[string]bool{}, shapes: map[string]shape{}, formats: map[uint32]format{},
		bytes: cmp.Or(max(c.Limits.MaxBytes, 0), defaultMaxBytes), timeout: cmp.Or(max(c.Limits.Timeout, 0), defaultTimeout)}
	var err error
	if p.markers, err = p.relation(cmp.Or(c.Options["markers"], defaultMarkers)); err != nil {
		return nil, err
	}
	switch c.Options["origin"] {
	case "", "on":
		p.origins = true
	case "off":
	default:
		return nil, fault.Invalidf("connector.option", "connection %s: option origin is on or off", c.Name)
	}
	if bulk := c.Options["bulk"]; bulk != "" {
		if p.bulk, err = strconv.Atoi(bulk); err != nil || p.bulk < 1 || p.bulk > maxBulk {
			return nil, fault.Invalidf("connector.option", "connection %s: option bulk is a number from 1 to %d", c.Name, maxBulk)
		}
	}
	return p, nil
}

// Build is New as the registry wants it.
func Build(c connector.Config, d connector.Deps) (any, error) { return New(c, d) }

// Conditional is true: a write is decided by the key.
func (p *Postgres) Conditional(string, []string, bool) bool { return true }

// Probe signs in and asks for nothing.
func (p *Postgres) Probe(ctx context.Context) error {
	return p.with(ctx, "probe", func(inner context.Context, c *pgx.Conn) error {
		return p.fault(ctx, inner, false, c.Ping(inner))
	})
}

// Close closes the connections that nobody uses. The connector goes on working.
func (p *Postgres) Close(ctx context.Context) {
	p.mu.Lock()
	unused := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, i := range unused {
		hangUp(ctx, i.conn)
	}
}

// relation quotes the path of a table.
func (p *Postgres) relation(path string) (string, error) {
	parts := strings.Split(path, ".")
	for _, part := range parts {
		if part == "" || len(parts) > 2 {
			return "", fault.Invalidf("connector.option", "connection %s: %q names no table; write schema.table", p.config.Name, path)
		}
	}
	return pgx.Identifier(parts).Sanitize(), nil
}

// table gives a table with its path quoted.
func (p *Postgres) table(name string) (connector.Table, error) {
	t, err := p.config.Table(name)
	if err != nil {
		return t, err
	}
	t.Path, err = p.relation(t.Path)
	return t, err
}

// with has use work on a connection when the gate lets it through. What use returns
// is a fault already.
func (p *Postgres) with(ctx context.Context, what string, use func(inner context.Context, c *pgx.Conn) error) error {
	return p.during(ctx, p.gate, what, use)
}

func (p *Postgres) during(ctx context.Context, gate *connector.Gate, what string, use func(inner context.Context, c *pgx.Conn) error) error {
	return gate.Pass(ctx, what, func(inner context.Context) error {
		c := p.kept(inner)
		if c == nil {
			var err error
			if c, err = p.dial(inner); err != nil {
				return p.fault(ctx, inner, false, err)
			}
		}
		defer p.keep(inner, c)
		return use(inner, c)
	})
}

// kept gives an open connection that nobody uses, the one used last, or nil.
func (p *Postgres) kept(ctx context.Context) *pgx.Conn {
	p.mu.Lock()
	n := len(p.idle)
	if n == 0 {
		p.mu.Unlock()
		return nil
	}
	last := p.idle[n-1]
	if time.Since(last.since) < idleFor {
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return last.conn
	}
	p.mu.Unlock()
	p.Close(ctx) // it is the freshest of them
	return nil
}

// keep takes a connection back. One that broke was likely not the only one.
func (p *Postgres) keep(ctx context.Context, c *pgx.Conn) {
	if c.IsClosed() {
		p.Close(ctx)
		return
	}
	if c.PgConn().TxStatus() != 'I' {
		hangUp(ctx, c)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, idle{c, time.Now()})
}

// hangUp closes a connection without waiting long for a word of goodbye.
func hangUp(ctx context.Context, c *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = c.Close(ctx)
}

// dial opens a connection; references are resolved anew each time (promise 9).
func (p *Postgres) dial(ctx context.Context) (*pgx.Conn, error) {
	c, err := p.address()
	if err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, c)
}

// address is where to dial and how.
func (p *Postgres) address() (*pgx.ConnConfig, error) {
	values := make([]string, 3)
	for i, text := range []string{p.config.URL, p.config.Auth.Username, p.config.Auth.Password} {
		var err error
		if values[i], err = p.deps.Value(p.config.Name, text); err != nil {
			return nil, err
		}
	}
	u, err := url.Parse(values[0])
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Hostname() == "" || len(u.Path) < 2 || u.User != nil || u.RawQuery != "" {
		return nil, fault.Invalidf("connector.url", "connection %s: url is not of the form postgres://HOST:PORT/DATABASE", p.config.Name)
	}
	u.User = url.UserPassword(values[1], values[2])
	query := url.Values{"sslmode": {"verify-full"}}
	if host := u.Hostname(); host == "localhost" || host == "127.0.0.1" || host == "::1" || host == p.config.Options["plain_host"] {
		query.Set("sslmode", "prefer")
	}
	if file := p.config.Options["root_certificate"]; file != "" {
		query.Set("sslrootcert", file)
	}
	u.RawQuery = query.Encode()
	c, err := pgx.ParseConfig(u.String())
	if err != nil { // it quotes the address
		return nil, fault.Invalidf("connector.url", "connection %s: url, port or root_certificate cannot be used", p.config.Name)
	}
	c.DefaultQueryExecMode = pgx.QueryExecModeExec // leaves nothing behind in a session, so that a pooler may stand between
	c.RuntimeParams["application_name"] = "patchbay"
	c.RuntimeParams["timezone"] = "UTC"
	c.RuntimeParams["datestyle"] = "ISO"
	c.RuntimeParams["client_encoding"] = "UTF8"
	return c, nil
}

// noKey refuses a key without columns.
func noKey(t connector.Table, key []string) error {
	if len(key) > 0 {
		return nil
	}
	return fault.Invalidf("connector.key", "a row of %s is asked for by no key column", t.Name)
}

// quoted lists columns of a relation, or bare ones for an empty of.
func quoted(of string, columns []string) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = of + pgx.Identifier{c}.Sanitize()
	}
	return strings.Join(names, ", ")
}

// named refuses columns that the table does not have or that cannot be names.
func named(t connector.Table, key []string, columns ...string) error {
	return errors.Join(noKey(t, key), t.Check(key...), t.Check(columns...))
}
