package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// most is how many rows one statement of a versioned write has.
const most = 5000

// versioned is one call of UpsertAt or DeleteAt under way: a transaction that locks the
// rows, judges their versions, and writes. Rows that the database refuses are found by
// halves and left out.
type versioned struct {
	p        *Postgres
	table    connector.Table
	key      []string
	rows     []connector.Row
	versions []string
	was      []connector.Row // in place of versions; nil: they are none
	held     func() error
	origin   string
	remove   bool
	columns  map[string]column
	looked   bool // it was looked whether the table is plain
	plain    bool
	results  []connector.Result
}

// ReadVersions reads rows by key, each with the transaction that wrote it: any later
// write is another transaction.
func (p *Postgres) ReadVersions(ctx context.Context, table string, key []string, keys []connector.Row, columns []string) ([]connector.VersionedRow, error) {
	return p.ReadFeed(ctx, connector.FeedTable{Table: table, Key: key, Columns: columns}, keys)
}

// UpsertAt writes rows that have the versions that they are thought to have, in one
// transaction. What the database refuses of one row, or would keep as another value than
// it was given ("connector.truncated"), leaves that row as it is and the others written.
func (p *Postgres) UpsertAt(ctx context.Context, in connector.Upsert, versions []string) ([]connector.Result, error) {
	if len(in.Marks) != 0 {
		return nil, fault.New(fault.Bug, "connector.marks", "a write by version takes no marks: its versions tell whether it took effect", nil)
	}
	return p.versioned(ctx, &versioned{key: in.Key, rows: in.Rows, versions: versions, held: in.Held, origin: in.Origin}, in.Table)
}

// DeleteAt removes rows in the same way.
func (p *Postgres) DeleteAt(ctx context.Context, d connector.Delete, versions []string) ([]connector.Result, error) {
	return p.versioned(ctx, &versioned{key: d.Key, rows: d.Keys, versions: versions, held: d.Held, origin: d.Origin, remove: true}, d.Table)
}

func (p *Postgres) versioned(ctx context.Context, v *versioned, table string) ([]connector.Result, error) {
	t, err := p.table(table)
	if err == nil {
		err = named(t, v.key)
	}
	if err != nil {
		return nil, err
	}
	if len(v.versions) != len(v.rows) {
		return nil, fault.New(fault.Bug, "connector.versions", "a write has versions for some of its rows", nil)
	}
	v.p, v.table, v.results = p, t, make([]connector.Result, len(v.rows))
	var open []int
	check := &upsert{table: t, in: connector.Upsert{Key: v.key}}
	for i, row := range v.rows {
		if v.results[i].Err = check.check(row); v.results[i].Err == nil {
			open = append(open, i)
		}
	}
	if len(open) == 0 {
		return v.results, nil
	}
	times := 1 + len(open)/perTimeout
	body, err := encode(t, v.rows[open[0]])
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("write at %s %d %s", t.Path, len(open), body)
	err = p.during(ctx, p.gate.Longer(times), what, func(inner context.Context, c *pgx.Conn) error {
		return v.transact(ctx, inner, c, open, times)
	})
	if err != nil {
		return nil, err
	}
	return v.results, nil
}

func (v *versioned) transact(ctx, inner context.Context, c *pgx.Conn, open []int, times int) error {
	s, err := v.p.shape(ctx, inner, c, v.table)
	if err != nil {
		return err
	}
	v.columns = map[string]column{}
	for _, of := range s.columns {
		v.columns[of.name] = of
	}
	tx, err := c.Begin(inner)
	if err != nil {
		return v.p.fault(ctx, inner, false, err)
	}
	defer func() { _ = tx.Rollback(inner) }() // of what was committed it does nothing
	if err = v.p.begin(inner, tx, times, v.origin); err == nil {
		// A constraint that waits for the commit would refuse all of the rows.
		_, err = tx.Exec(inner, `set constraints all immediate`)
	}
	for chunk := range slices.Chunk(open, most) {
		if err == nil {
			err = v.chunk(ctx, inner, tx, chunk)
		}
	}
	if err == nil {
		err = v.ordered(inner, tx)
	}
	if err != nil {
		return v.p.fault(ctx, inner, false, err)
	}
	sent, err := v.p.gate.Commit(v.held, func() (bool, error) {
		if err := inner.Err(); err != nil || c.IsClosed() {
			return false, cmp.Or(err, pgconn.ErrConnClosed)
		}
		err := tx.Commit(inner)
		return err != nil && lost(err), err
	})
	return v.p.fault(ctx, inner, sent, err)
}

// ordered notes where in the log the rows were written. The transaction holds their locks:
// what others have done to them stands before this place, and what they will do after it.
func (v *versioned) ordered(ctx context.Context, tx pgx.Tx) error {
	var at int64
	if err := tx.QueryRow(ctx, `select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint`).Scan(&at); err != nil {
		return err
	}
	for i := range v.results {
		if v.results[i].Err == nil {
			v.results[i].Version = at
		}
	}
	return nil
}

// begin bounds the statements of a transaction, for one that nobody waits for any more
// must not hold locks, and marks it with where it comes from.
func (p *Postgres) begin(ctx context.Context, tx pgx.Tx, times int, origin string) error {
	timeout := strconv.FormatInt(max(p.timeout.Milliseconds(), 1)*int64(times), 10)
	if origin == "" || !p.origins {
		_, err := tx.Exec(ctx, `select set_config('statement_timeout', $1, true)`, timeout)
		return err
	}
	_, err := tx.Exec(ctx, `select set_config('statement_timeout', $1, true), pg_logical_emit_message(true, $2, $3::text)`, timeout, originPrefix, origin)
	return err
}

// chunk locks rows, judges them and writes those that are as they should be.
func (v *versioned) chunk(ctx, inner context.Context, tx pgx.Tx, chunk []int) error {
	var fresh, there, known []int
	for _, i := range chunk {
		if v.versions[i] == "" && !v.remove { // whether it is there, its insert tells
			fresh = append(fresh, i)
		} else {
			known = append(known, i)
		}
	}
	chunk = known
	now, err := v.lock(inner, tx, chunk)
	if err != nil {
		return err
	}
	for n, i := range chunk {
		switch {
		case v.remove && now[n] == "": // it is gone already
		case now[n] != v.versions[i]:
			v.results[i].Err = v.moved()
		default:
			there = append(there, i)
		}
	}
	if v.remove {
		return v.write(ctx, inner, tx, there, v.delete)
	}
	if v.was != nil {
		if fresh, err = v.judged(inner, tx, fresh); err != nil {
			return err
		}
	}
	for _, part := range v.alike(there) {
		if err := v.put(ctx, inner, tx, part, v.update, false); err != nil {
			return err
		}
	}
	for _, part := range v.alike(fresh) {
		if err := v.put(ctx, inner, tx, part, v.insert, true); err != nil {
			return err
		}
	}
	return nil
}

// put writes rows that are alike, all of them at once if it can be.
func (v *versioned) put(ctx, inner context.Context, tx pgx.Tx, rows []int, by func(context.Context, pgx.Tx, []int) ([]int, error), fresh bool) error {
	if len(rows) >= flatFrom {
		if done, err := v.whole(inner, tx, rows, fresh); done || err != nil {
			return err
		}
	}
	return v.write(ctx, inner, tx, rows, by)
}

// lock locks the rows that there are, and gives the version of each, "" of one that is not.
func (v *versioned) lock(ctx context.Context, tx pgx.Tx, chunk []int) ([]string, error) {
	if len(chunk) == 0 {
		return nil, nil
	}
	from, args, err := v.keyed(chunk)
	if err != nil {
		return nil, err
	}
	// In the order of the key: two who write the same rows wait and do not deadlock.
	rows, err := tx.Query(ctx, fmt.Sprintf(`select r."patchbay place", t.xmin::text from %s join %s as t on %s order by %s for no key update of t`,
		from, v.table.Path, v.same(), quoted("t.", v.key)), args...)
	if err != nil {
		return nil, err
	}
	now := make([]string, len(chunk))
	var place int
	var version string
	_, err = pgx.ForEachRow(rows, []any{&place, &version}, func() error { now[place-1] = version; return nil })
	return now, err
}

func (v *versioned) moved() error {
	return fault.New(fault.Conflict, "connector.version", "somebody else has written the row of "+v.table.Name+" in "+v.p.config.Name+" meanwhile", nil)
}

func (v *versioned) same() string {
	same := make([]string, len(v.key))
	for i, k := range v.key {
		same[i] = fmt.Sprintf("t.%[1]s = r.%[1]s", pgx.Identifier{k}.Sanitize())
	}
	return strings.Join(same, " and ")
}

// alike gathers rows with the same columns: a column that is absent keeps its value.
func (v *versioned) alike(rows []int) [][]int {
	var list [][]int
	last := 0
	at := map[string]int{}
	for n, i := range rows {
		if n > 0 && sameColumns(v.rows[rows[n-1]], v.rows[i]) {
			list[last] = append(list[last], i)
			continue
		}
		columns := strings.Join(slices.Sorted(maps.Keys(v.rows[i])), ",") // none has a comma
		n, known := at[columns]
		if !known {
			n = len(list)
			at[columns] = n
			list = append(list, nil)
		}
		list[n], last = append(list[n], i), n
	}
	return list
}

func sameColumns(a, b connector.Row) bool {
	if len(a) != len(b) {
		return false
	}
	for name := range a {
		if _, there := b[name]; !there {
			return false
		}
	}
	return true
}

// write has one statement write rows that are alike, or several for halves of them where
// the database refuses one. A row that it changed is refused too, and the others written
// again without it. An error is one of the connection.
func (v *versioned) write(ctx, inner context.Context, tx pgx.Tx, rows []int, by func(context.Context, pgx.Tx, []int) ([]int, error)) error {
	for len(rows) > 0 {
		sub, err := tx.Begin(inner)
		if err != nil {
			return err
		}
		changed, err := by(inner, sub, rows)
		if err == nil && len(changed) == 0 {
			return sub.Commit(inner)
		}
		if back := sub.Rollback(inner); back != nil {
			return cmp.Or(err, back)
		}
		switch said := v.refusal(ctx, inner, err); {
		case err == nil: // of those that are left nothing stays as it was not
			for _, i := range changed {
				v.results[i].Err = fault.New(fault.Rejected, "connector.truncated",
					v.p.config.Name+" would keep another value than the one given for a row of "+v.table.Name+", and was given none", nil)
			}
			rows = slices.DeleteFunc(slices.Clone(rows), func(i int) bool { return slices.Contains(changed, i) })
		case said == nil:
			return err
		case len(rows) == 1:
			v.results[rows[0]].Err = said
			return nil
		default:
			half := len(rows) / 2
			if err := v.write(ctx, inner, tx, rows[:half], by); err != nil {
				return err
			}
			rows = rows[half:]
		}
	}
	return nil
}

// refusal is what the database says of a row, nil when it says it of something else.
func (v *versioned) refusal(ctx, inner context.Context, err error) error {
	if err == nil {
		return nil
	}
	said := v.p.fault(ctx, inner, false, err)
	if !aboutRows(said) {
		return nil
	}
	var missing *pgconn.PgError
	if errors.As(err, &missing) && missing.Code == "23503" {
		return fault.New(fault.Rejected, "connector.reference", fault.Of(said).Text, nil)
	}
	return said
}

func (v *versioned) body(rows []int) (string, error) {
	list := make([]connector.Row, len(rows))
	for n, i := range rows {
		list[n] = v.rows[i]
	}
	return encode(v.table, list)
}

func (v *versioned) delete(ctx context.Context, tx pgx.Tx, rows []int) ([]int, error) {
	body, err := v.body(rows)
	if err != nil {
		return nil, err
	}
	_, err = tx.Exec(ctx, fmt.Sprintf(`delete from %s as t using json_populate_recordset(null::%s, $1::json) as r where %s`, v.table.Path, v.table.Path, v.same()), body)
	return nil, err
}

// update writes rows that are there and locked.
func (v *versioned) update(ctx context.Context, tx pgx.Tx, rows []int) ([]int, error) {
	columns := slices.Sorted(maps.Keys(v.rows[rows[0]]))
	var sets []string
	for _, c := range columns {
		if !slices.Contains(v.key, c) {
			sets = append(sets, fmt.Sprintf("%[1]s = r.%[1]s", pgx.Identifier{c}.Sanitize()))
		}
	}
	if len(sets) == 0 {
		return nil, nil // the row is its key, and is there
	}
	seen, changed, err := v.stored(ctx, tx, rows, columns, fmt.Sprintf(`
		update %s as t set %s from json_array_elements($1::json) with ordinality as a(doc, place)
		cross join lateral json_populate_record(null::%s, a.doc) as r where %s returning a.place::text, %s`,
		v.table.Path, strings.Join(sets, ", "), v.table.Path, v.same(), values(columns)))
	if err == nil && len(seen) < len(rows) {
		err = v.unwritten()
	}
	return changed, err
}

// unwritten is of a row that a trigger kept from being written, or gave another key.
func (v *versioned) unwritten() error {
	return fault.New(fault.Rejected, System+".raised", v.p.config.Name+" refused the row by a rule of its own", nil)
}

// insert writes rows that are not there. One that somebody else inserts right now has
// another version than none.
func (v *versioned) insert(ctx context.Context, tx pgx.Tx, rows []int) ([]int, error) {
	columns := slices.Sorted(maps.Keys(v.rows[rows[0]]))
	// What was inserted is found by its place: it comes back in the order in which it went.
	seen, changed, err := v.stored(ctx, tx, rows, columns, fmt.Sprintf(`
		with r as materialized (
			select a.place as "patchbay place", r.* from json_array_elements($1::json) with ordinality as a(doc, place) cross join lateral json_populate_record(null::%[1]s, a.doc) as r
		), t as (
			insert into %[1]s as t (%[2]s) select %[3]s from r order by %[4]s on conflict (%[5]s) do nothing returning %[6]s
		) select r."patchbay place"::text, %[7]s from t left join r on %[8]s`,
		v.table.Path, quoted("", columns), quoted("r.", columns), quoted("r.", v.key), quoted("", v.key), quoted("t.", columns), values(columns), v.same()))
	if err != nil || len(changed) > 0 {
		return changed, err
	}
	if len(seen) == len(rows) {
		return nil, nil
	}
	var left []int
	for n, i := range rows {
		if !seen[n] {
			left = append(left, i)
		}
	}
	now, err := v.lock(ctx, tx, left)
	if err != nil {
		return nil, err
	}
	for n, i := range left {
		if now[n] == "" { // nobody was before us
			return nil, v.unwritten()
		}
		v.results[i].Err = v.moved()
	}
	return nil, nil
}

// stored runs a statement that gives places and what is there now, and tells which rows
// came back, and which of them are not what was given.
func (v *versioned) stored(ctx context.Context, tx pgx.Tx, rows []int, columns []string, statement string) (seen map[int]bool, changed []int, err error) {
	body, err := v.body(rows)
	if err != nil {
		return nil, nil, err
	}
	got, err := tx.Query(ctx, statement, body)
	if err != nil {
		return nil, nil, err
	}
	defer got.Close()
	seen = map[int]bool{}
	for got.Next() {
		raw := got.RawValues()
		n, err := strconv.Atoi(string(raw[0]))
		if err != nil || n < 1 || n > len(rows) {
			return nil, nil, v.unwritten()
		}
		n--
		seen[n] = true
		for at, name := range columns {
			value, err := decode(raw[at+1])
			if err != nil {
				return nil, nil, fault.New(fault.Bug, System+".json", "a value of "+v.p.config.Name+" is not the JSON expected", nil)
			}
			if !kept(v.columns[name], v.rows[rows[n]][name], value) {
				changed = append(changed, rows[n])
				break
			}
		}
	}
	return seen, changed, got.Err()
}
