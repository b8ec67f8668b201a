package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// copied gives rows that are not there to the table itself by COPY, which takes a third of
// the time of a statement. All of them are written, or false and none: one is there, or is
// refused, or the table or a value is not one of which is sure that it stays as it is given.
func (v *versioned) copied(ctx context.Context, tx pgx.Tx, rows []int, columns []string) (done bool, err error) {
	if plain, err := v.plainTable(ctx, tx); err != nil || !plain {
		return false, err
	}
	lines := make([][]byte, len(rows))
	size := 0
	for n, i := range rows {
		line, ok := v.line(v.rows[i], columns)
		if !ok {
			return false, nil
		}
		lines[n], size = line, size+len(line)
	}
	// In the order of the key, where it comes first: two who write the same rows wait and do
	// not deadlock.
	if !slices.IsSortedFunc(lines, bytes.Compare) {
		slices.SortFunc(lines, bytes.Compare)
	}
	body := make([]byte, 0, size)
	for _, line := range lines {
		body = append(body, line...)
	}
	sub, err := tx.Begin(ctx)
	if err != nil {
		return false, err
	}
	tag, err := sub.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(body), fmt.Sprintf("copy %s (%s) from stdin", v.table.Path, quoted("", columns)))
	if err == nil && tag.RowsAffected() == int64(len(rows)) {
		return true, sub.Commit(ctx)
	}
	if back := sub.Rollback(ctx); back != nil {
		return false, back
	}
	if said := new(pgconn.PgError); err != nil && !errors.As(err, &said) {
		return false, err
	}
	return false, nil
}

// plainTable reports whether the table keeps rows as they are given: nobody has put a trigger
// or a rule before it. It is held so until the end of the transaction, with the columns that
// it has.
func (v *versioned) plainTable(ctx context.Context, tx pgx.Tx) (bool, error) {
	if v.looked {
		return v.plain, nil
	}
	sub, err := tx.Begin(ctx)
	if err != nil {
		return false, err
	}
	v.looked = true
	_, err = sub.Exec(ctx, "lock table "+v.table.Path+" in row exclusive mode")
	if err == nil {
		err = sub.QueryRow(ctx, `
			select c.relkind = 'r' and not c.relhasrules and not c.relrowsecurity
				and not exists (select from pg_trigger where tgrelid = c.oid and not tgisinternal and tgtype & 3 = 3)
				and not exists (select from pg_attribute where attrelid = c.oid and attidentity = 'a')
			from pg_class c where c.oid = $1::text::regclass`, v.table.Path).Scan(&v.plain)
	}
	if said := new(pgconn.PgError); errors.As(err, &said) {
		v.plain = false
		return false, sub.Rollback(ctx)
	}
	if err != nil {
		return false, err
	}
	v.p.forget(v.table)
	s, err := v.p.shape(ctx, ctx, sub.Conn(), v.table)
	if err != nil {
		return false, err
	}
	for _, of := range s.columns {
		v.columns[of.name] = of
	}
	return v.plain, sub.Commit(ctx)
}

// line is a row in the text of COPY, its key first in the order of columns; false: a value
// may be kept as another one.
func (v *versioned) line(row map[string]any, columns []string) (b []byte, ok bool) {
	b = make([]byte, 0, 64)
	for n, name := range columns {
		of, known := v.columns[name]
		x, given := row[name]
		if !known || !given || flatTypes[of.oid] == "" {
			return nil, false
		}
		if n > 0 {
			b = append(b, '\t')
		}
		if x == nil {
			b = append(b, `\N`...)
			continue
		}
		s, ok := of.plainText(x)
		if !ok || !of.keeps(x, s) {
			return nil, false
		}
		b = appendEscaped(b, []byte(s))
	}
	return append(b, '\n'), true
}

// keeps reports whether it is sure, without asking, that a column keeps a text as it is.
func (of column) keeps(x any, s string) bool {
	switch of.kind {
	case text:
		_, is := x.(string)
		return is && (of.length == 0 || len(s) <= of.length) && of.oid != typeUUID
	case integer:
		return strings.Trim(strings.TrimPrefix(s, "-"), "0123456789") == ""
	case decimal:
		_, is := x.(json.Number)
		return is && (of.precision == 0 || !finer([]byte(s), of.scale))
	case boolean:
		_, is := x.(bool)
		return is
	}
	return false
}
