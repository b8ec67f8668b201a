package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"patchbay/internal/connector"
)

// flatFrom is from how many rows on it is worth to give them column by column. JSON carries
// any value, and takes several times as long.
const flatFrom = 32

// flatTypes are the types whose texts, of strings, numbers and booleans of JSON, are read as
// JSON is: what is stored can be compared where it lies.
var flatTypes = map[uint32]string{
	16: "boolean", 20: "bigint", 21: "smallint", 23: "integer", 25: "text", 700: "real", 701: "double precision", typeBpchar: "bpchar", typeVarchar: "varchar",
	1082: "date", 1114: "timestamp", 1184: "timestamptz", 1700: "numeric", typeUUID: "uuid",
}

// flat are rows as arrays of texts, one a column.
type flat struct {
	names, casts, places []string
	args                 []any
	compared             []string // columns of which what is stored has to be what was given
}

// flat gives rows column by column; false: one of them has a value that only JSON carries.
func (v *versioned) flat(rows []int, columns []string) (f flat, ok bool) {
	return f, v.flatten(&f, v.rows, rows, columns, "")
}

// flatten adds columns of some of the rows of a list, named with a prefix.
func (v *versioned) flatten(f *flat, list []connector.Row, rows []int, columns []string, prefix string) (ok bool) {
	for _, name := range columns {
		of, known := v.columns[name]
		if !known || flatTypes[of.oid] == "" {
			return false
		}
		texts := make([]*string, len(rows))
		values := make([]string, len(rows))
		for at, i := range rows {
			x, given := list[i][name]
			if !given {
				return false
			}
			if x == nil {
				continue
			}
			if values[at], ok = of.plainText(x); !ok {
				return false
			}
			texts[at] = &values[at]
		}
		n := len(f.args)
		f.args = append(f.args, texts)
		f.names, f.places = append(f.names, "c"+strconv.Itoa(n)), append(f.places, "$"+strconv.Itoa(n+1)+"::text[]")
		f.casts = append(f.casts, fmt.Sprintf("%s::%s as %s", f.names[n], flatTypes[of.oid], pgx.Identifier{prefix + name}.Sanitize()))
		if prefix == "" && of.kind != float && of.kind != date {
			f.compared = append(f.compared, name)
		}
	}
	return true
}

// from is a table expression with the columns, and their order in "patchbay place".
func (f *flat) from() string {
	return fmt.Sprintf(`(select "patchbay place", %s from unnest(%s) with ordinality as a (%s, "patchbay place")) as r`,
		strings.Join(f.casts, ", "), strings.Join(f.places, ", "), strings.Join(f.names, ", "))
}

// plainText is the text of a value of a type; false: its text says another thing than its JSON.
func (of column) plainText(x any) (string, bool) {
	switch x := x.(type) {
	case string:
		if strings.IndexByte(x, 0) >= 0 || !utf8.ValidString(x) {
			return "", false
		}
		if of.kind == local || of.kind == moment { // as fine as it is stored, and in UTC
			_, fraction, _ := strings.Cut(x, ".")
			return x, strings.HasSuffix(x, "Z") && len(fraction) <= len("123456Z")
		}
		return x, true
	case json.Number:
		return x.String(), true
	case bool:
		return strconv.FormatBool(x), true
	}
	return "", false
}

// whole writes rows that are alike in one statement, if all of them can be written and are
// stored as they were given. Else nothing is, and false: who is at fault has to be found.
func (v *versioned) whole(inner context.Context, tx pgx.Tx, rows []int, fresh bool) (done bool, err error) {
	columns := slices.Sorted(maps.Keys(v.rows[rows[0]]))
	if fresh {
		others := slices.DeleteFunc(slices.Clone(columns), func(c string) bool { return slices.Contains(v.key, c) })
		if done, err := v.copied(inner, tx, rows, slices.Concat(v.key, others)); done || err != nil {
			return done, err
		}
	}
	f, ok := v.flat(rows, columns)
	if !ok {
		return false, nil
	}
	sub, err := tx.Begin(inner)
	if err != nil {
		return false, err
	}
	statement := v.wholeInsert(f, columns)
	if !fresh {
		statement = v.wholeUpdate(f, columns)
	}
	n, same := 0, false
	if err = sub.QueryRow(inner, statement, f.args...).Scan(&n, &same); err == nil && n == len(rows) && same {
		return true, sub.Commit(inner)
	}
	if back := sub.Rollback(inner); back != nil {
		return false, back
	}
	if said := new(pgconn.PgError); err != nil && !errors.As(err, &said) {
		return false, err
	}
	return false, nil
}

// wholeInsert tells how many rows were inserted, and whether they are what was given: the
// sums of their hashes are equal. A join of the two would be planned for few rows.
func (v *versioned) wholeInsert(f flat, columns []string) string {
	sum := func(of string) string {
		if len(f.compared) == 0 {
			return "0"
		}
		return "sum(hash_record_extended(row(" + quoted(of, f.compared) + "), 0)::numeric)"
	}
	return fmt.Sprintf(`
		with r as materialized (select * from %[2]s), t as (
			insert into %[1]s (%[3]s) select %[4]s from r order by %[5]s on conflict (%[6]s) do nothing returning %[3]s
		) select s.n, s.sum = g.sum from (select count(*) as n, %[7]s as sum from t) as s, (select %[8]s as sum from r) as g`,
		v.table.Path, f.from(), quoted("", columns), quoted("r.", columns), quoted("r.", v.key), quoted("", v.key), sum("t."), sum("r."))
}

// wholeUpdate tells how many rows were updated, and whether they are what was given.
func (v *versioned) wholeUpdate(f flat, columns []string) string {
	var sets []string
	for _, c := range columns {
		if !slices.Contains(v.key, c) {
			sets = append(sets, fmt.Sprintf("%[1]s = r.%[1]s", pgx.Identifier{c}.Sanitize()))
		}
	}
	if len(sets) == 0 { // the rows are their keys, and are locked
		return `select cardinality($1::text[]), true` // of one column at least
	}
	same := "true"
	if len(f.compared) > 0 {
		same = fmt.Sprintf("row(%s) is not distinct from row(%s)", quoted("t.", f.compared), quoted("r.", f.compared))
	}
	return fmt.Sprintf(`with u as (update %s as t set %s from %s where %s returning %s as same) select count(*), coalesce(bool_and(same), false) from u`,
		v.table.Path, strings.Join(sets, ", "), f.from(), v.same(), same)
}

// keyed gives the keys of rows as a table expression r, with their places in "patchbay place".
func (v *versioned) keyed(chunk []int) (from string, args []any, err error) {
	if len(chunk) >= flatFrom {
		if f, ok := v.flat(chunk, v.key); ok {
			return f.from(), f.args, nil
		}
	}
	keys := make([]connector.Row, len(chunk))
	for n, i := range chunk {
		keys[n] = connector.Row{}
		for _, k := range v.key {
			keys[n][k] = v.rows[i][k]
		}
	}
	body, err := encode(v.table, keys)
	return fmt.Sprintf(`(select a.place as "patchbay place", r.* from json_array_elements($1::json) with ordinality as a(doc, place)
		cross join lateral json_populate_record(null::%s, a.doc) as r) as r`, v.table.Path), []any{body}, err
}
