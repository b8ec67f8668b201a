package egress

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

type (
	// Peer is another region's border, as its egress role sees it. It is safe for
	// concurrent use, and connects again by itself; whoever dialled it closes it.
	Peer struct {
		pool    *pgxpool.Pool
		silence time.Duration
	}

	// Batch is what one transaction of the other region exported of one table. The maps
	// of its versions (Seen) are shared between cells and deltas: read them only.
	Batch struct {
		ID     int64     // greater than that of each batch before; not dense
		MadeAt time.Time // by the clock of the other region's database
		Oldest time.Time // of its changes, by their sources' clocks
		Deltas []flow.Delta

		rows int // as announced
	}

	// listed is a batch that waits for us, without its rows.
	listed struct {
		batch Batch
		bytes int64
	}
)

// The codes of what may be wrong with a peer. The first two concern the whole region, the
// others one table, and the other tables go on.
const (
	CodeURL         = "egress.url"         // Invalid: it is none
	CodeUnavailable = "egress.unavailable" // Unavailable: nobody answers, or not in time
	CodeDenied      = "egress.denied"      // Unauthorized: the password or a right is missing
	CodeMissing     = "egress.missing"     // NotFound: that region has not applied the flow, or the table
	CodeColumns     = "egress.columns"     // Conflict: it lets other columns cross than our plan, or has another key
	CodeForgotten   = "egress.forgotten"   // Conflict: we acknowledged what we do not know: we were restored
	CodeMalformed   = "egress.malformed"   // Bug: what it gave cannot be
)

// The limits of a peer. A batch of another region is a portion of its changes, and a
// link that gives no byte for as long as silence is broken.
const (
	dialTimeout = 5 * time.Second
	callTimeout = 10 * time.Second
	silence     = 15 * time.Second
	mostBytes   = 64 << 20 // of values in one pull, unless one batch has more, and in one record
	mostBatches = 1000
)

// peerSettings hold for sessions of a peer, whoever opens them.
var peerSettings = map[string]string{
	"statement_timeout":                   "5min", // a pull over a slow link
	"lock_timeout":                        "5s",
	"idle_in_transaction_session_timeout": "10s",
	"search_path":                         "pg_catalog",
	"jit":                                 "off",
}

// Dial connects to another region's border, at the URL of the role that it has for us. It
// fails, with one of the codes above, when nobody answers there or we are refused.
func Dial(ctx context.Context, url string) (*Peer, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fault.New(fault.Invalid, CodeURL, "the URL of the egress role cannot be read; it looks like postgres://role@host:5432/name", nil)
	}
	cfg.MaxConns, cfg.MinConns = 4, 0
	cfg.MaxConnIdleTime = time.Minute
	cfg.PingTimeout = dialTimeout
	cfg.ConnConfig.ConnectTimeout = dialTimeout
	cfg.ConnConfig.RuntimeParams["application_name"] = "patchbay import"
	// Nothing of ours stays with the peer between two calls.
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	cfg.AfterConnect = func(_ context.Context, c *pgx.Conn) error {
		c.PgConn().Frontend().SetMaxBodyLen(mostBytes + 1<<20)
		return nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, classify(ctx, err, "")
	}
	p := &Peer{pool: pool, silence: silence}
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := pool.Ping(bounded); err != nil {
		pool.Close()
		return nil, classify(ctx, err, "")
	}
	return p, nil
}

// Close ends the connections; it waits for those in use.
func (p *Peer) Close() { p.pool.Close() }

// Pull gives the batches of a table after the given one (0: from the first), in their
// order: as many whole ones as have at most so many rows together, and at least one. None:
// there is nothing more. Whoever asks for what is after a batch keeps that one: where the
// other region has not heard so, because the answer to Acknowledge was lost, it hears it
// now. Its faults have the codes above.
func (p *Peer) Pull(ctx context.Context, flowName string, t *flow.SyncTable, after int64, most int) ([]Batch, error) {
	return p.pull(ctx, flowName, t, after, most, false)
}

// PullAgain is Pull for a region that was restored and lost what it acknowledged after a
// batch: it gives what is still there of that, and what comes after it.
func (p *Peer) PullAgain(ctx context.Context, flowName string, t *flow.SyncTable, after int64, most int) ([]Batch, error) {
	return p.pull(ctx, flowName, t, after, most, true)
}

func (p *Peer) pull(ctx context.Context, flowName string, t *flow.SyncTable, after int64, most int, again bool) ([]Batch, error) {
	if err := sound(t); err != nil {
		return nil, err
	}
	var out []Batch
	err := p.call(ctx, t.Name, func(ctx context.Context, c *pgxpool.Conn, heard func()) error {
		listed, acknowledged, err := list(ctx, c, flowName, t, after)
		if err != nil {
			return err
		}
		if acknowledged > after && !again {
			return fault.New(fault.Conflict, CodeForgotten, "of table "+t.Name+" this region acknowledged batches that it does not know any more: its database was restored; the other region is asked to tell all again", nil)
		}
		heard()
		if acknowledged < after {
			if err := acknowledge(ctx, c, flowName, t.Name, after); err != nil {
				return err
			}
		}
		if out = fitting(listed, most); len(out) == 0 {
			return nil
		}
		return fetch(ctx, c.Conn().PgConn(), flowName, t, after, out, heard)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Agrees reports whether a table can be pulled: it is there for us, with the columns of our
// plan and no others. Its faults are those of Pull.
func (p *Peer) Agrees(ctx context.Context, flowName string, t *flow.SyncTable) error {
	if err := sound(t); err != nil {
		return err
	}
	return p.call(ctx, t.Name, func(ctx context.Context, c *pgxpool.Conn, _ func()) error {
		_, _, err := list(ctx, c, flowName, t, math.MaxInt64)
		return err
	})
}

// list tells what waits, and refuses a border that is not what our plan takes it for.
// It tells how far we have acknowledged, too. It is one statement: a column that is newly allowed is seen with the first batch that
// may have it.
func list(ctx context.Context, c *pgxpool.Conn, flowName string, t *flow.SyncTable, after int64) (out []listed, upto int64, err error) {
	rows, err := c.Query(ctx, `
		select egress.acknowledged($1, $2), s.columns, b.batch, b.key, b.rows, b.bytes, b.made_at, b.oldest
		from (select array_agg(attname::text order by attnum) as columns from pg_catalog.pg_attribute
		      where attrelid = pg_catalog.to_regclass($3) and attnum > 0 and not attisdropped
		        and pg_catalog.has_column_privilege(attrelid, attnum, 'SELECT')) s
		left join (select * from egress.batch where flow = $1 and "table" = $2 and batch > $4 order by batch limit $5) b on true
		order by b.batch`, flowName, t.Name, qualified(relationOf(flowName, t.Name)), after, mostBatches)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var acknowledged, id, n, size *int64
		var columns, key []string
		var madeAt, oldest *time.Time
		if err := rows.Scan(&acknowledged, &columns, &id, &key, &n, &size, &madeAt, &oldest); err != nil {
			return nil, 0, malformed(t, "a batch", err)
		}
		switch {
		case acknowledged == nil, columns == nil:
			return nil, 0, fault.New(fault.NotFound, CodeMissing, "the other region has nothing for us of table "+t.Name+"; apply the flow there", nil)
		}
		upto = *acknowledged
		if err := agrees(t, columns); err != nil {
			return nil, 0, err
		}
		if id == nil {
			break
		}
		if !slices.Equal(key, t.Key) {
			return nil, 0, fault.New(fault.Conflict, CodeColumns, "the other region knows the records of table "+t.Name+" by another key than our plan; apply the same flow in both", nil)
		}
		if *n < 1 || *n > math.MaxInt32 || *size < 0 {
			return nil, 0, malformed(t, "a batch", nil)
		}
		out = append(out, listed{Batch{ID: *id, MadeAt: *madeAt, Oldest: *oldest, rows: int(*n)}, *size})
	}
	return out, upto, rows.Err()
}

// agrees compares the columns that we may select there with those of our plan. One more
// there would be acknowledged without having been read.
func agrees(t *flow.SyncTable, there []string) error {
	ours := layout(t)
	for _, name := range ours {
		if !slices.Contains(there, name) {
			return fault.New(fault.Conflict, CodeColumns, "our plan has a column of table "+t.Name+" that the other region does not let cross; apply the same flow in both", nil).
				With(fault.Field{Path: t.Name + "." + sourceOf(t, name), Code: CodeColumns, Detail: "not allowed over there"})
		}
	}
	for _, name := range there {
		if !slices.Contains(ours, name) {
			return fault.New(fault.Conflict, CodeColumns, "the other region lets a column of table "+t.Name+" cross that our plan does not have; apply the same flow in both", nil).
				With(fault.Field{Path: t.Name + "." + name, Code: CodeColumns, Detail: "not in our plan"})
		}
	}
	return nil
}

// sourceOf is the name in the plan of a column of the border.
func sourceOf(t *flow.SyncTable, column string) string {
	for _, name := range t.Key {
		if columnOf(name) == column {
			return name
		}
	}
	for _, c := range t.Columns {
		if columnOf(c.Name) == column {
			return c.Name
		}
	}
	return column
}

// fitting takes whole batches from the front, at least one.
func fitting(from []listed, most int) []Batch {
	rows, bytes := 0, int64(0)
	var out []Batch
	for _, l := range from {
		rows, bytes = rows+l.batch.rows, bytes+l.bytes
		if len(out) > 0 && (rows > most || bytes > mostBytes) {
			break
		}
		l.batch.Deltas = make([]flow.Delta, 0, min(l.batch.rows, 100_000)) // the number is theirs
		out = append(out, l.batch)
	}
	return out
}

// Acknowledge tells the other region that all batches of a table up to this one are kept
// here; an earlier one than before changes nothing.
func (p *Peer) Acknowledge(ctx context.Context, flowName, table string, upto int64) error {
	return p.call(ctx, table, func(ctx context.Context, c *pgxpool.Conn, _ func()) error {
		return acknowledge(ctx, c, flowName, table, upto)
	})
}

func acknowledge(ctx context.Context, c *pgxpool.Conn, flowName, table string, upto int64) error {
	return position(c.QueryRow(ctx, `select egress.acknowledge($1, $2, $3)`, flowName, table, upto), table, new(int64))
}

// Resend asks another region to tell all that it knows of a table. It gives when that was
// asked, by the other region's clock.
func (p *Peer) Resend(ctx context.Context, flowName, table string) (asked time.Time, err error) {
	err = p.call(ctx, table, func(ctx context.Context, c *pgxpool.Conn, _ func()) error {
		var at *time.Time
		if err := c.QueryRow(ctx, `select egress.resend($1, $2)`, flowName, table).Scan(&at); err != nil {
			return err
		}
		if at == nil {
			return fault.New(fault.NotFound, CodeMissing, "this region has no part in table "+table+" of the other region; apply the flow there", nil)
		}
		asked = *at
		return nil
	})
	return asked, err
}

// Resent tells in which batch what was asked for since a time ends; told is false while it
// is not all there.
func (p *Peer) Resent(ctx context.Context, flowName, table string, asked time.Time) (upto int64, told bool, err error) {
	err = p.call(ctx, table, func(ctx context.Context, c *pgxpool.Conn, _ func()) error {
		var at *int64
		if err := c.QueryRow(ctx, `select egress.resent($1, $2, $3)`, flowName, table, asked).Scan(&at); err != nil {
			return err
		}
		if told = at != nil; told {
			upto = *at
		}
		return nil
	})
	return upto, told, err
}

// Acknowledged tells how far this region has acknowledged a table; 0: nothing yet.
func (p *Peer) Acknowledged(ctx context.Context, flowName, table string) (upto int64, err error) {
	err = p.call(ctx, table, func(ctx context.Context, c *pgxpool.Conn, _ func()) error {
		return position(c.QueryRow(ctx, `select egress.acknowledged($1, $2)`, flowName, table), table, &upto)
	})
	return upto, err
}

func position(row pgx.Row, table string, to *int64) error {
	var at *int64
	if err := row.Scan(&at); err != nil {
		return err
	}
	if at == nil {
		return fault.New(fault.NotFound, CodeMissing, "this region has no part in table "+table+" of the other region; apply the flow there", nil)
	}
	*to = *at
	return nil
}

// call runs fn on a connection, until nothing was heard for too long. What a connection
// that was in the pool does not do any more, a new one may.
func (p *Peer) call(ctx context.Context, table string, fn func(ctx context.Context, c *pgxpool.Conn, heard func()) error) error {
	for try := 1; ; try++ {
		err := p.once(ctx, fn)
		var f *fault.Fault
		if err == nil || errors.As(err, &f) {
			return err
		}
		if try == 1 && ctx.Err() == nil && broken(err) {
			p.pool.Reset()
			continue
		}
		return classify(ctx, err, table)
	}
}

func (p *Peer) once(ctx context.Context, fn func(context.Context, *pgxpool.Conn, func()) error) error {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := p.pool.Acquire(bounded)
	if err != nil {
		return err
	}
	defer c.Release()
	inner, quiet := context.WithCancel(ctx)
	defer quiet()
	timer := time.AfterFunc(p.silence, quiet)
	defer timer.Stop()
	return fn(inner, c, func() { timer.Reset(p.silence) })
}

// broken reports whether the session ended without a refusal of ours.
func broken(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return len(pg.Code) == 5 && (pg.Code[:2] == "08" || pg.Code[:3] == "57P")
	}
	var refused *pgconn.ConnectError
	return !errors.As(err, &refused) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// classify says what an error means, without a row or an address of it.
func classify(ctx context.Context, err error, table string) error {
	of := ""
	if table != "" {
		of = " of table " + table
	}
	var pg *pgconn.PgError
	var large *pgproto3.ExceededMaxBodyLenErr
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &large):
		return fault.New(fault.Bug, CodeMalformed, "the other region gave a record"+of+" that is larger than any may be", err)
	case errors.As(err, &pg) && len(pg.Code) == 5:
		switch {
		case pg.Code[:2] == "28", pg.Code == "42501":
			return fault.New(fault.Unauthorized, CodeDenied, "the other region does not let our egress role read what it asks for"+of+"; apply the flow there, or look at the role's password", err)
		case pg.Code == "3D000", pg.Code == "42P01", pg.Code == "3F000", pg.Code == "42883":
			return fault.New(fault.NotFound, CodeMissing, "the other region has nothing for us"+of+"; apply the flow there", err)
		case pg.Code == "42703":
			return fault.New(fault.Conflict, CodeColumns, "the other region does not let all columns"+of+" cross that our plan has; apply the same flow in both", err)
		}
		return fault.New(fault.Unavailable, CodeUnavailable, "the other region could not do its work, SQLSTATE "+pg.Code, err)
	}
	return fault.New(fault.Unavailable, CodeUnavailable, "the other region's border does not answer", err)
}
