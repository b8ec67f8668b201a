package oracle

import (
	"context"
	"slices"
	"strings"

	"patchbay/internal/connector"
)

// keysPerRead bounds the conditions of one search.
const keysPerRead = 20

// ReadByKey reads rows back by key. Of several with a reference that rows are written by
// none counts: Conflict, "oracle.ambiguous".
func (o *Oracle) ReadByKey(ctx context.Context, table string, key []string, keys []connector.Row, columns []string) ([]connector.Row, error) {
	t, err := o.config.Table(table)
	if err != nil {
		return nil, err
	}
	selected, err := t.ByKey(key, columns)
	if err != nil {
		return nil, err
	}
	found := make([]connector.Row, 0, len(keys))
	for chunk := range slices.Chunk(keys, keysPerRead) {
		rows, err := o.some(ctx, t, key, chunk, selected)
		if err != nil {
			return nil, err
		}
		for _, k := range chunk {
			found = append(found, rows[identity(key, k)])
		}
	}
	return found, nil
}

// some reads the rows of a few keys, by key.
func (o *Oracle) some(ctx context.Context, t connector.Table, key []string, keys []connector.Row, selected []string) (map[string]connector.Row, error) {
	r := &read{o: o, table: t, limit: maxLimit, query: connector.Query{Table: t.Name, Select: selected}}
	for _, k := range keys {
		where := make([]connector.Match, len(key))
		for i, column := range key {
			where[i] = connector.Match{Column: column, Value: k[column]}
		}
		r.either = append(r.either, where)
	}
	rows := make(map[string]connector.Row, len(keys))
	for offset, more := 0, true; more; {
		got, err := r.fetch(ctx, offset, "onlyData=true")
		if err != nil {
			return nil, err
		}
		for _, item := range got.items {
			row, err := r.row(item)
			if err != nil {
				return nil, err
			}
			at := identity(key, row)
			if rows[at] != nil && len(key) == 1 && o.references[t.Name] == key[0] {
				return nil, o.ambiguous()
			}
			rows[at] = row
		}
		offset, more = offset+len(got.items), got.hasMore
	}
	return rows, nil
}

// identity makes the values of a key comparable.
func identity(key []string, row connector.Row) string {
	var b strings.Builder
	for _, column := range key {
		text, _ := connector.Literal(row[column]) // lists are no keys, and were refused
		b.WriteString(text)
		b.WriteByte(0)
	}
	return b.String()
}
