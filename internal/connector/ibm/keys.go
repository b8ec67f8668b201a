package ibm

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// keysPerRead bounds the conditions of one search.
const keysPerRead = 50

// ReadByKey reads documents back by key. Properties are not unique: of several with
// one key it is the one that was changed last.
func (i *IBM) ReadByKey(ctx context.Context, table string, key []string, keys []connector.Row, columns []string) ([]connector.Row, error) {
	if len(key) == 0 {
		return nil, fault.Invalidf("connector.key", "a row of %s is asked for by no key column", table)
	}
	selected := slices.Clone(key)
	for _, c := range columns {
		if !slices.Contains(selected, c) {
			selected = append(selected, c)
		}
	}
	r, err := i.newRead(table, selected, maxPage)
	if err != nil {
		return nil, err
	}
	found := make([]connector.Row, 0, len(keys))
	for chunk := range slices.Chunk(keys, keysPerRead) {
		rows, err := r.some(ctx, key, chunk)
		if err != nil {
			return nil, err
		}
		for _, k := range chunk {
			found = append(found, rows[identity(key, k)])
		}
	}
	return found, nil
}

// some reads the documents of a few keys, by key.
func (r *read) some(ctx context.Context, key []string, keys []connector.Row) (map[string]connector.Row, error) {
	conditions := make([]string, len(keys))
	for n, k := range keys {
		parts := make([]string, len(key))
		for at, column := range key {
			var err error
			if parts[at], err = r.compare(column, "=", k[column]); err != nil {
				return nil, err
			}
		}
		conditions[n] = "(" + strings.Join(parts, " AND ") + ")"
	}
	where := "(" + strings.Join(conditions, " OR ") + ")"
	if !r.i.all {
		where = "d.[IsCurrentVersion] = True AND " + where
	}
	rows := make(map[string]connector.Row, len(keys))
	page, err := r.first(ctx, where)
	for {
		if err != nil {
			return nil, err
		}
		for _, row := range page.Rows {
			rows[identity(key, row)] = row // they come in the order of their change
		}
		if page.Next == "" {
			return rows, nil
		}
		wire, bad := continuation(page.Next)
		if bad != nil {
			return nil, bad
		}
		page, err = r.more(ctx, wire, page.Next)
	}
}

// identity makes the values of a key comparable.
func identity(key []string, row connector.Row) string {
	var b strings.Builder
	for _, column := range key {
		value := row[column]
		if column == "id" {
			value = strings.ToUpper(fmt.Sprint(value))
		}
		fmt.Fprintf(&b, "%v\x00", value)
	}
	return b.String()
}
