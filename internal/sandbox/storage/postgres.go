package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// attempts bounds how often a transaction that lost a race runs again.
const attempts = 6

type (
	// Postgres keeps the tables in a database of its own.
	Postgres struct{ pool *pgxpool.Pool }

	// querier is what a pool and a transaction have in common.
	querier interface {
		Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
		QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
		Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
		Begin(ctx context.Context) (pgx.Tx, error)
		SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
		CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, src pgx.CopyFromSource) (int64, error)
	}

	pgTx struct{ q querier }
)

// OpenPostgres connects to the database at url.
func OpenPostgres(ctx context.Context, url string) (*Postgres, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New("the sandbox's database address cannot be read") // the parser's error may quote a password
	}
	cfg.MaxConns = max(cfg.MaxConns, 16)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("opening the sandbox's database: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("reaching the sandbox's database: %w", err)
	}
	return &Postgres{pool: pool}, nil
}

// Close ends the connections.
func (p *Postgres) Close() { p.pool.Close() }

// Create makes the tables that are missing, and the columns that an older
// sandbox's tables lack.
func (p *Postgres) Create(ctx context.Context, tables ...*Table) error {
	return pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		// Two sandboxes on one database take turns; IF NOT EXISTS alone races.
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(7252801)"); err != nil {
			return fmt.Errorf("locking the schema: %w", err)
		}
		present, err := columnsOf(ctx, tx)
		if err != nil {
			return err
		}
		ddl := "CREATE SEQUENCE IF NOT EXISTS row_version;\n"
		for _, t := range tables {
			ddl += t.ddl(lacking(t, present[t.id()]))
		}
		if _, err := tx.Exec(ctx, ddl); err != nil {
			return fmt.Errorf("creating the tables: %w", err)
		}
		return nil
	})
}

// columnsOf lists the columns of every table that is there, by the table's id.
func columnsOf(ctx context.Context, tx pgx.Tx) (map[string][]string, error) {
	rows, err := tx.Query(ctx, `SELECT table_schema || '.' || table_name, array_agg(column_name::text)
		FROM information_schema.columns WHERE table_schema NOT IN ('pg_catalog', 'information_schema') GROUP BY 1`)
	if err != nil {
		return nil, fmt.Errorf("looking at the tables: %w", err)
	}
	present := map[string][]string{}
	var id string
	var names []string
	_, err = pgx.ForEachRow(rows, []any{&id, &names}, func() error {
		present[id] = names
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking at the tables: %w", err)
	}
	return present, nil
}

// lacking are the columns of t that its table in the database does not have;
// none when there is no such table yet.
func lacking(t *Table, present []string) []Column {
	if len(present) == 0 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(t.Columns), func(c Column) bool { return slices.Contains(present, c.Name) })
}

// Read runs fn on the pool, without a transaction.
func (p *Postgres) Read(_ context.Context, fn func(Tx) error) error { return fn(pgTx{p.pool}) }

// Write runs fn in one transaction, again when it lost a race.
func (p *Postgres) Write(ctx context.Context, fn func(Tx) error) error {
	for n := 1; ; n++ {
		err := pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error { return fn(pgTx{tx}) })
		if n == attempts || !lostRace(err) {
			if isCode(err, "23505") {
				return fmt.Errorf("%w: %w", ErrUnique, err)
			}
			return err
		}
	}
}

func lostRace(err error) bool {
	return errors.Is(err, ErrRace) || isCode(err, "23505") || isCode(err, "40001") || isCode(err, "40P01")
}

func isCode(err error, code string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == code
}

func (x pgTx) Find(ctx context.Context, t *Table, q Query) ([]Row, error) {
	columns := t.Columns
	if len(q.Omit) > 0 {
		columns = slices.DeleteFunc(slices.Clone(columns), func(c Column) bool { return slices.Contains(q.Omit, c.Name) })
	}
	var s statement
	fmt.Fprintf(&s, "SELECT %s FROM %s r WHERE ", t.selectList("r", columns), t.sqlName())
	s.where(t, "r", q.Where)
	s.orderBy(t, "r", q.Order)
	if q.Limit > 0 {
		s.WriteString(" LIMIT " + s.bind(q.Limit))
	}
	if q.Offset > 0 {
		s.WriteString(" OFFSET " + s.bind(q.Offset))
	}
	switch {
	case q.Lock:
		s.WriteString(" FOR UPDATE")
	case q.Keep:
		s.WriteString(" FOR KEY SHARE")
	}
	rows, err := x.q.Query(ctx, s.String(), s.args...)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", t.Name, err)
	}
	defer rows.Close()
	var out []Row
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", t.Name, err)
		}
		row := make(Row, len(columns))
		for i, c := range columns {
			row[c.Name] = fromSQL(c.Kind, values[i])
		}
		out = append(out, row)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", t.Name, err)
	}
	return out, nil
}

func fromSQL(kind Kind, v any) any {
	switch v := v.(type) {
	case string:
		if kind == Decimal {
			return json.Number(v)
		}
		return v
	case time.Time:
		return v.UTC()
	default:
		return v
	}
}

func toSQL(v any) any {
	if n, ok := v.(json.Number); ok {
		return string(n)
	}
	return v
}

func (x pgTx) Count(ctx context.Context, t *Table, where Expr) (int, error) {
	var s statement
	fmt.Fprintf(&s, "SELECT count(*) FROM %s r WHERE ", t.sqlName())
	s.where(t, "r", where)
	var n int
	if err := x.q.QueryRow(ctx, s.String(), s.args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting %s: %w", t.Name, err)
	}
	return n, nil
}

func (x pgTx) Insert(ctx context.Context, t *Table, rows ...Row) error {
	names, binds := make([]string, len(t.Columns)), make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i], binds[i] = ident(c.Name), fmt.Sprintf("$%d", i+1)
	}
	sql := fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", t.sqlName(), strings.Join(names, ", "), strings.Join(binds, ", "))
	args := func(row Row) []any {
		list := make([]any, len(t.Columns))
		for i, c := range t.Columns {
			list[i] = toSQL(row[c.Name])
		}
		return list
	}
	if len(rows) == 1 {
		if _, err := x.q.Exec(ctx, sql, args(rows[0])...); err != nil {
			return fmt.Errorf("inserting into %s: %w", t.Name, err)
		}
		return nil
	}
	var b pgx.Batch
	for _, row := range rows {
		b.Queue(sql, args(row)...)
	}
	if err := x.q.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("inserting into %s: %w", t.Name, err)
	}
	return nil
}

func (x pgTx) Update(ctx context.Context, t *Table, rows ...Row) error {
	var b pgx.Batch
	for _, row := range rows {
		var s statement
		fmt.Fprintf(&s, "UPDATE %s r SET ", t.sqlName())
		glue := ""
		for _, c := range t.Columns {
			v, present := row[c.Name]
			if !present || slices.Contains(t.Primary, c.Name) {
				continue
			}
			s.WriteString(glue + ident(c.Name) + " = " + s.bind(v))
			glue = ", "
		}
		if glue == "" {
			continue
		}
		s.WriteString(" WHERE ")
		s.where(t, "r", t.Key(row))
		b.Queue(s.String(), s.args...)
	}
	if b.Len() == 0 {
		return nil
	}
	if err := x.q.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("updating %s: %w", t.Name, err)
	}
	return nil
}

func (x pgTx) Delete(ctx context.Context, t *Table, where Expr) (int, error) {
	var s statement
	fmt.Fprintf(&s, "DELETE FROM %s r WHERE ", t.sqlName())
	s.where(t, "r", where)
	tag, err := x.q.Exec(ctx, s.String(), s.args...)
	if err != nil {
		return 0, fmt.Errorf("deleting from %s: %w", t.Name, err)
	}
	return int(tag.RowsAffected()), nil
}

func (x pgTx) Load(ctx context.Context, t *Table, rows iter.Seq[Row]) error {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = c.Name
	}
	next, stop := iter.Pull(rows)
	defer stop()
	values := make([]any, len(t.Columns))
	source := pgx.CopyFromFunc(func() ([]any, error) {
		row, ok := next()
		if !ok {
			return nil, nil
		}
		for i, c := range t.Columns {
			values[i] = toSQL(row[c.Name])
		}
		return values, nil
	})
	if _, err := x.q.CopyFrom(ctx, pgx.Identifier{t.Schema, t.Name}, names, source); err != nil {
		return fmt.Errorf("loading %s: %w", t.Name, err)
	}
	return nil
}

func (x pgTx) Empty(ctx context.Context, t *Table) error {
	if _, err := x.q.Exec(ctx, "TRUNCATE "+t.sqlName()); err != nil {
		return fmt.Errorf("emptying %s: %w", t.Name, err)
	}
	return nil
}

func (x pgTx) Versions(ctx context.Context, counter string, n int) ([]int64, error) {
	name := []string{"row_version"}
	if counter != "" {
		name = []string{counter, "row_version"}
	}
	rows, err := x.q.Query(ctx, "SELECT nextval($2::regclass) FROM generate_series(1, $1)", n, ident(name...))
	if err != nil {
		return nil, fmt.Errorf("counting row versions: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("counting row versions: %w", err)
	}
	return list, nil
}

func (x pgTx) Nested(ctx context.Context, fn func(Tx) error) error {
	return pgx.BeginFunc(ctx, x.q, func(tx pgx.Tx) error { return fn(pgTx{tx}) })
}
