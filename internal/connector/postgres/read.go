package postgres

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// ReadPage reads one page, in the order of the table's first key.
func (p *Postgres) ReadPage(ctx context.Context, q connector.Query, token string) (connector.Page, error) {
	t, err := p.asked(q)
	if err != nil {
		return connector.Page{}, err
	}
	key := t.Keys[0]
	conditions, args, err := where(t, key, q, token)
	if err != nil {
		return connector.Page{}, err
	}
	columns := slices.Clone(q.Select)
	for _, k := range key {
		if !slices.Contains(columns, k) {
			columns = append(columns, k)
		}
	}
	size := q.Limit
	if size <= 0 {
		size = defaultPage
	}
	size = min(size, maxPage)
	statement := fmt.Sprintf("select %s from %s as t%s order by %s limit %d",
		values(columns), t.Path, conditions, quoted("t.", key), size+1)
	var rows []connector.Row
	err = p.with(ctx, statement+strings.Join(args, ""), func(inner context.Context, c *pgx.Conn) error {
		if err := p.total(ctx, inner, c, t); err != nil {
			return err
		}
		rows, err = p.rows(ctx, inner, c, columns, statement, args...)
		return err
	})
	if err != nil {
		return connector.Page{}, err
	}
	page := connector.Page{Rows: rows[:min(len(rows), size)]}
	if len(rows) > size {
		page.Next = after(key, rows[size-1])
	}
	for _, row := range page.Rows {
		for _, column := range columns[len(q.Select):] {
			delete(row, column)
		}
	}
	return page, nil
}

// asked refuses what is no read of a table.
func (p *Postgres) asked(q connector.Query) (connector.Table, error) {
	t, err := p.table(q.Table)
	if err != nil {
		return t, err
	}
	if len(q.Select) == 0 {
		return t, fault.Invalidf("connector.select", "a read of %s selects no column", q.Table)
	}
	if len(q.Expand) > 0 {
		return t, fault.Invalidf("connector.expand", "table %s: a table of a database has no child rows", t.Name)
	}
	if len(t.Keys) == 0 {
		return t, fault.Invalidf("connector.key", "table %s declares no key, by which its pages could follow one another", t.Name)
	}
	if err := named(t, t.Keys[0], q.Select...); err != nil {
		return t, err
	}
	for _, m := range q.Where {
		if err := t.Check(m.Column); err != nil {
			return t, err
		}
	}
	if q.Since != nil {
		err = t.Check(q.Since.Column)
	}
	return t, err
}

// where makes the conditions of a page and their parameters.
func where(t connector.Table, key []string, q connector.Query, token string) (conditions string, args []string, err error) {
	var all []string
	wanted := connector.Row{}
	for _, m := range q.Where {
		column := pgx.Identifier{m.Column}.Sanitize()
		switch m.Value.(type) {
		case nil:
			all = append(all, "t."+column+" is null")
			continue
		case []any, map[string]any:
			return "", nil, fault.Invalidf("connector.value", "table %s: %s is compared with a value that is no single one", t.Name, m.Column)
		}
		if _, twice := wanted[m.Column]; twice {
			return "", nil, fault.Invalidf("connector.value", "table %s: %s is compared twice", t.Name, m.Column)
		}
		wanted[m.Column] = m.Value
		all = append(all, fmt.Sprintf("t.%s = (select r.%s from json_populate_record(null::%s, $1::json) as r)", column, column, t.Path))
	}
	if len(wanted) > 0 {
		body, err := encode(t, wanted)
		if err != nil {
			return "", nil, err
		}
		args = append(args, body)
	}
	if q.Since != nil {
		body, err := encode(t, connector.Row{q.Since.Column: q.Since.Value})
		if err != nil {
			return "", nil, err
		}
		args = append(args, body)
		column := pgx.Identifier{q.Since.Column}.Sanitize() // of a row without it nobody knows when it was changed
		all = append(all, fmt.Sprintf("(t.%s is null or t.%s >= (select r.%s from json_populate_record(null::%s, $%d::json) as r))", column, column, column, t.Path, len(args)))
	}
	if token != "" {
		last, err := position(key, token)
		if err != nil {
			return "", nil, err
		}
		args = append(args, last)
		all = append(all, fmt.Sprintf("(%s) > (select %s from json_populate_record(null::%s, $%d::json) as r)",
			quoted("t.", key), quoted("r.", key), t.Path, len(args)))
	}
	if len(all) > 0 {
		conditions = " where " + strings.Join(all, " and ")
	}
	return conditions, args, nil
}

// total refuses to page by a key that may be null: such rows have no place in the
// order, and would be left out.
func (p *Postgres) total(ctx, inner context.Context, c *pgx.Conn, t connector.Table) error {
	p.mu.Lock()
	known := p.keys[t.Name]
	p.mu.Unlock()
	if known {
		return nil
	}
	nulls := make([]string, len(t.Keys[0]))
	for i, k := range t.Keys[0] {
		nulls[i] = pgx.Identifier{k}.Sanitize() + " is null"
	}
	var never, found bool
	err := c.QueryRow(inner, `
		select coalesce(bool_and(attnotnull), false) from pg_attribute where attrelid = $1::regclass and attname = any ($2)`,
		t.Path, t.Keys[0]).Scan(&never)
	if err == nil && !never {
		err = c.QueryRow(inner, fmt.Sprintf("select exists (select from %s where %s)", t.Path, strings.Join(nulls, " or "))).Scan(&found)
	}
	if err != nil {
		return p.fault(ctx, inner, false, err)
	}
	if found {
		return fault.New(fault.Rejected, System+".key_null", "table "+t.Name+" of "+p.config.Name+" has rows without a key, which no page would show", nil)
	}
	if never {
		p.mu.Lock()
		p.keys[t.Name] = true
		p.mu.Unlock()
	}
	return nil
}

// ReadByKey reads rows by key.
func (p *Postgres) ReadByKey(ctx context.Context, table string, key []string, keys []connector.Row, columns []string) ([]connector.Row, error) {
	t, err := p.table(table)
	if err == nil {
		err = named(t, key, columns...)
	}
	if err != nil {
		return nil, err
	}
	selected := slices.Clone(key)
	for _, c := range columns {
		if !slices.Contains(selected, c) {
			selected = append(selected, c)
		}
	}
	same := make([]string, len(key))
	for i, k := range key {
		same[i] = fmt.Sprintf("t.%[1]s = r.%[1]s", pgx.Identifier{k}.Sanitize())
	}
	statement := fmt.Sprintf(`
		select to_json(a.place), %s from json_array_elements($1::json) with ordinality as a(doc, place)
		cross join lateral json_populate_record(null::%s, a.doc) as r join %s as t on %s`, values(selected), t.Path, t.Path, strings.Join(same, " and "))
	found := make([]connector.Row, 0, len(keys))
	for chunk := range slices.Chunk(keys, p.bulk) {
		asked := make([]connector.Row, len(chunk))
		for i, row := range chunk {
			asked[i] = connector.Row{}
			for _, k := range key {
				asked[i][k] = row[k]
			}
		}
		body, err := encode(t, asked)
		if err != nil {
			return nil, err
		}
		var rows []connector.Row
		err = p.with(ctx, statement+body, func(inner context.Context, c *pgx.Conn) error {
			rows, err = p.rows(ctx, inner, c, append([]string{""}, selected...), statement, body)
			return err
		})
		if err != nil {
			return nil, err
		}
		part := make([]connector.Row, len(chunk))
		for _, row := range rows {
			place, err := row[""].(json.Number).Int64()
			if err != nil || place < 1 || place > int64(len(part)) {
				return nil, fault.New(fault.Bug, System+".place", "a row came back for a key that was not asked for", nil)
			}
			delete(row, "")
			part[place-1] = row
		}
		found = append(found, part...)
	}
	return found, nil
}

// rows runs a statement whose columns are JSON; names are what they are called.
func (p *Postgres) rows(ctx, inner context.Context, c *pgx.Conn, names []string, statement string, args ...string) ([]connector.Row, error) {
	bound := make([]any, len(args))
	for i, a := range args {
		bound[i] = a
	}
	got, err := c.Query(inner, statement, bound...)
	if err != nil {
		return nil, p.fault(ctx, inner, false, err)
	}
	defer got.Close()
	rows := []connector.Row{}
	var size int64
	for got.Next() {
		row := make(connector.Row, len(names))
		for i, raw := range got.RawValues() {
			size += int64(len(raw))
			if row[names[i]], err = decode(raw); err != nil {
				return nil, fault.New(fault.Bug, System+".json", "a value of "+p.config.Name+" is not the JSON expected", nil)
			}
		}
		if size > p.bytes {
			return nil, fault.New(fault.Rejected, "vendor.too_large", "the answer of "+p.config.Name+" is larger than the connection allows; ask for fewer rows or columns", nil)
		}
		rows = append(rows, row)
	}
	return rows, p.fault(ctx, inner, false, got.Err())
}

// values lists columns as JSON: every type has a form there, and numbers are exact.
func values(columns []string) string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = "to_json(t." + pgx.Identifier{c}.Sanitize() + ")"
	}
	return strings.Join(list, ", ")
}

func decode(raw []byte) (any, error) {
	if raw == nil {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	return v, d.Decode(&v)
}

func encode(t connector.Table, v any) (string, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return "", fault.New(fault.Invalid, "connector.value", "a row of "+t.Name+" holds a value that JSON cannot carry", nil)
	}
	return string(body), nil
}

// after is the token of the page that follows a row.
func after(key []string, row connector.Row) string {
	last := connector.Row{}
	for _, k := range key {
		last[k] = row[k]
	}
	body, _ := json.Marshal(last) // it came out of JSON
	return base64.RawURLEncoding.EncodeToString(body)
}

// position is what a token of after says.
func position(key []string, token string) (string, error) {
	body, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return "", connector.BadToken()
	}
	last, err := decode(body)
	row, ok := last.(map[string]any)
	if err != nil || !ok || !slices.Equal(slices.Sorted(maps.Keys(row)), slices.Sorted(slices.Values(key))) {
		return "", connector.BadToken()
	}
	return string(body), nil
}
