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
)

// wasPrefix is of the columns that say what a row has to be.
const wasPrefix = "patchbay was "

// UpsertOver writes rows that have the values that they are thought to have, in one
// transaction: what is compared and written is one statement. A row that the database
// refuses, or would keep as another than it was given, is one that cannot be told.
func (p *Postgres) UpsertOver(ctx context.Context, in connector.Upsert, was []connector.Row) ([]connector.Result, error) {
	return p.versioned(ctx, &versioned{key: in.Key, rows: in.Rows, versions: make([]string, len(was)), was: was, held: in.Held, origin: in.Origin}, in.Table)
}

// judged writes the rows that have to be as they were thought to be, and gives those
// that must not be there.
func (v *versioned) judged(ctx context.Context, tx pgx.Tx, rows []int) (fresh []int, err error) {
	var over []int
	for _, i := range rows {
		if v.was[i] == nil {
			fresh = append(fresh, i)
		} else {
			over = append(over, i)
		}
	}
	for _, part := range v.alike(over) {
		if err := v.over(ctx, tx, part); err != nil {
			return nil, err
		}
	}
	return fresh, nil
}

// over writes rows with the same columns over what they were thought to be. Those that
// are not written are another's.
func (v *versioned) over(ctx context.Context, tx pgx.Tx, rows []int) error {
	columns, was := slices.Sorted(maps.Keys(v.rows[rows[0]])), slices.Sorted(maps.Keys(v.was[rows[0]]))
	var f flat
	flat := v.flatten(&f, v.rows, rows, columns, "") && v.flatten(&f, v.was, rows, was, wasPrefix)
	for _, i := range rows {
		flat = flat && len(v.was[i]) == len(was)
		v.results[i].Err = v.moved()
	}
	if !flat {
		return nil
	}
	sub, err := tx.Begin(ctx)
	if err != nil {
		return err
	}
	written, same, err := v.compare(ctx, sub, rows, f, columns, was)
	if err != nil || !same {
		if back := sub.Rollback(ctx); back != nil {
			return cmp.Or(err, back)
		}
		if said := new(pgconn.PgError); err != nil && !errors.As(err, &said) {
			return err
		}
		return nil
	}
	for _, i := range written {
		v.results[i].Err = nil
	}
	return sub.Commit(ctx)
}

// compare runs the statement; same: what is stored is what was given. The rows are gone
// through in the order of the key: two who write the same rows wait and do not deadlock.
func (v *versioned) compare(ctx context.Context, tx pgx.Tx, rows []int, f flat, columns, was []string) (written []int, same bool, err error) {
	var sets, holds []string
	for _, c := range columns {
		if name := (pgx.Identifier{c}).Sanitize(); !slices.Contains(v.key, c) {
			sets = append(sets, name+" = r."+name)
		}
	}
	if len(sets) == 0 {
		return nil, false, nil
	}
	for _, c := range was {
		holds = append(holds, fmt.Sprintf("t.%s is not distinct from r.%s", pgx.Identifier{c}.Sanitize(), pgx.Identifier{wasPrefix + c}.Sanitize()))
	}
	kept := "true"
	if len(f.compared) > 0 {
		kept = fmt.Sprintf("row(%s) is not distinct from row(%s)", quoted("t.", f.compared), quoted("r.", f.compared))
	}
	if _, err := tx.Exec(ctx, `select set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)`); err != nil {
		return nil, false, err
	}
	got, err := tx.Query(ctx, fmt.Sprintf(`update %s as t set %s from (select * from %s order by %s) as r where %s returning r."patchbay place"::int, %s`,
		v.table.Path, strings.Join(sets, ", "), f.from(), quoted("r.", v.key), strings.Join(append(holds, v.same()), " and "), kept), f.args...)
	if err != nil {
		return nil, false, err
	}
	var place int
	var as bool
	same = true
	_, err = pgx.ForEachRow(got, []any{&place, &as}, func() error {
		written, same = append(written, rows[place-1]), same && as
		return nil
	})
	return written, same, err
}
