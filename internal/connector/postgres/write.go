package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// upsert is one call of Upsert under way.
type upsert struct {
	p       *Postgres
	table   connector.Table
	in      connector.Upsert
	results []connector.Result
	settled bool  // some row has an outcome of its own
	whole   error // set once a failure concerns the connection and not a row
}

// Upsert writes rows by key. See the package comment for how.
func (p *Postgres) Upsert(ctx context.Context, in connector.Upsert) ([]connector.Result, error) {
	t, err := p.table(in.Table)
	if err == nil {
		err = named(t, in.Key)
	}
	if err != nil {
		return nil, err
	}
	if len(in.Marks) != 0 && len(in.Marks) != len(in.Rows) {
		return nil, fault.New(fault.Bug, "connector.marks", "a write has marks for some of its rows", nil)
	}
	u := &upsert{p: p, table: t, in: in, results: make([]connector.Result, len(in.Rows))}
	var open []int
	for i, row := range in.Rows {
		if u.results[i].Err = u.check(row); u.results[i].Err == nil {
			open = append(open, i)
		}
	}
	u.settled = len(open) < len(in.Rows)
	for chunk := range slices.Chunk(open, p.bulk) {
		u.write(ctx, chunk)
	}
	if u.whole != nil && !u.settled {
		return nil, u.whole
	}
	return u.results, nil
}

func (u *upsert) check(row connector.Row) error {
	if err := u.table.Check(slices.Sorted(maps.Keys(row))...); err != nil {
		return err
	}
	for _, k := range u.in.Key {
		if row[k] == nil {
			return fault.New(fault.Rejected, System+".key_missing", "a row of "+u.table.Name+" has no value for "+k+", a column of its key", nil)
		}
	}
	return nil
}

// write writes rows in one transaction; what is refused for one of them is written
// by halves.
func (u *upsert) write(ctx context.Context, chunk []int) {
	if u.whole != nil {
		for _, i := range chunk {
			f := fault.New(fault.Unavailable, System+".not_sent", "the row was not sent to "+u.p.config.Name+", because rows before it failed", nil)
			f.After = fault.Of(u.whole).After
			u.results[i].Err = f
		}
		return
	}
	err := u.transact(ctx, chunk)
	switch half := len(chunk) / 2; {
	case err == nil:
		u.settled = true
	case aboutRows(err) && half > 0:
		u.write(ctx, chunk[:half])
		u.write(ctx, chunk[half:])
	case aboutRows(err):
		u.settled = true
		u.results[chunk[0]].Err = err
	default:
		u.whole = err
		var f *fault.Fault
		if !errors.As(err, &f) { // the caller gave up before anything was sent
			err = fault.New(fault.Unavailable, System+".not_sent", "the row was not sent to "+u.p.config.Name+" in time", nil)
		}
		for _, i := range chunk {
			u.results[i].Err = err
		}
	}
}

// transact writes rows and their marks, all or none.
func (u *upsert) transact(ctx context.Context, chunk []int) error {
	rows := make([]connector.Row, len(chunk))
	for n, i := range chunk {
		rows[n] = u.in.Rows[i]
	}
	body, err := encode(u.table, rows)
	if err != nil {
		return fault.New(fault.Rejected, System+".value", fault.Of(err).Text, nil)
	}
	return u.p.with(ctx, "upsert "+u.table.Path+body, func(inner context.Context, c *pgx.Conn) error {
		tx, err := c.Begin(inner)
		if err != nil {
			return u.p.fault(ctx, inner, false, err)
		}
		defer func() { _ = tx.Rollback(inner) }() // of what was committed it does nothing
		err = u.p.begin(inner, tx, 1, u.in.Origin)
		fenced := map[int]error{}
		if err == nil && len(u.in.Marks) > 0 {
			chunk, err = u.mark(inner, tx, chunk, fenced)
		}
		if err == nil {
			err = u.insert(inner, tx, chunk)
		}
		if err != nil {
			return u.p.fault(ctx, inner, false, err)
		}
		sent, err := u.p.gate.Commit(u.in.Held, func() (bool, error) {
			if err := inner.Err(); err != nil || c.IsClosed() {
				return false, cmp.Or(err, pgconn.ErrConnClosed)
			}
			err := tx.Commit(inner)
			return err != nil && lost(err), err
		})
		if err != nil {
			return u.p.fault(ctx, inner, sent, err)
		}
		for i, err := range fenced {
			u.results[i].Err = err
		}
		return nil
	})
}

// insert writes the rows, those with the same columns by one statement: a column
// that is absent keeps its value, or gets its default.
func (u *upsert) insert(ctx context.Context, tx pgx.Tx, chunk []int) error {
	alike := map[string][]connector.Row{}
	var order []string
	for _, i := range chunk {
		columns := strings.Join(slices.Sorted(maps.Keys(u.in.Rows[i])), ",") // none has a comma
		if alike[columns] == nil {
			order = append(order, columns)
		}
		alike[columns] = append(alike[columns], u.in.Rows[i])
	}
	if len(order) == 0 {
		return nil // all of them are there
	}
	var batch pgx.Batch
	for _, list := range order {
		body, err := encode(u.table, alike[list])
		if err != nil {
			return err
		}
		batch.Queue(u.statement(strings.Split(list, ",")), body)
	}
	return tx.SendBatch(ctx, &batch).Close()
}

func (u *upsert) statement(columns []string) string {
	var sets []string
	for _, c := range columns {
		if !slices.Contains(u.in.Key, c) {
			sets = append(sets, fmt.Sprintf("%[1]s = excluded.%[1]s", pgx.Identifier{c}.Sanitize()))
		}
	}
	if u.in.Existing {
		return u.changes(columns)
	}
	// In the order of the key: two who write the same rows wait and do not deadlock.
	return fmt.Sprintf(`insert into %s (%s) select %s from json_populate_recordset(null::%s, $1::json) as r order by %s on conflict (%s) do %s`,
		u.table.Path, quoted("", columns), quoted("r.", columns), u.table.Path, quoted("r.", u.in.Key), quoted("", u.in.Key), update(sets))
}

// changes changes rows that are there.
func (u *upsert) changes(columns []string) string {
	var sets, keys []string
	for _, c := range columns {
		name := pgx.Identifier{c}.Sanitize()
		if slices.Contains(u.in.Key, c) {
			keys = append(keys, "t."+name+" = r."+name)
		} else {
			sets = append(sets, name+" = r."+name)
		}
	}
	return fmt.Sprintf(`update %[1]s as t set %[2]s from json_populate_recordset(null::%[1]s, $1::json) as r where %[3]s`,
		u.table.Path, strings.Join(sets, ", "), strings.Join(keys, " and "))
}
