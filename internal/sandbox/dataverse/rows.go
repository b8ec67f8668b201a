package dataverse

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"patchbay/internal/sandbox/storage"
)

// shownColumns is how many columns of a table fit beside when a row was written.
const shownColumns = 5

type (
	// Listing is a look at the rows of one table from outside the Web API.
	Listing struct {
		Columns []string
		Rows    []Line
		Total   int // rows that fit the search
	}

	// Line is one row of it. Writes is the number of committed writes since the
	// sandbox made its first rows; it is not known of rows an older sandbox wrote.
	Line struct {
		ID                string
		Values            []string
		Created, Modified time.Time
		Writes            int64
		Counted           bool
	}
)

// Recent lists the rows of a table that have the search in their id or in one
// of their short texts, those written last first.
func (e *Environment) Recent(ctx context.Context, tx storage.Tx, logical, search string, limit int) (Listing, error) {
	t := e.byLogical[logical]
	if t == nil {
		return Listing{}, fmt.Errorf("there is no table %q", logical)
	}
	columns := t.telling()
	where := t.matching(strings.TrimSpace(search))
	total, err := tx.Count(ctx, t.rows, where)
	if err != nil {
		return Listing{}, fmt.Errorf("counting rows: %w", err)
	}
	found, err := tx.Find(ctx, t.rows, storage.Query{Where: where, Order: []storage.Order{{Column: "versionnumber", Desc: true}}, Limit: limit})
	if err != nil {
		return Listing{}, fmt.Errorf("reading rows: %w", err)
	}
	list := Listing{Total: total}
	for _, c := range columns {
		list.Columns = append(list.Columns, c.Name)
	}
	for _, row := range found {
		line := Line{Values: make([]string, len(columns))}
		for i, c := range columns {
			line.Values[i] = plain(c, row[c.Property()])
		}
		line.ID, _ = row[t.Primary].(string)
		line.Created, _ = row["createdon"].(time.Time)
		line.Modified, _ = row["modifiedon"].(time.Time)
		line.Writes, line.Counted = row[writesColumn].(int64)
		list.Rows = append(list.Rows, line)
	}
	return list, nil
}

// Size is the number of rows of a table.
func (e *Environment) Size(ctx context.Context, tx storage.Tx, logical string) (int, error) {
	n, err := tx.Count(ctx, e.Rows(logical), nil)
	if err != nil {
		return 0, fmt.Errorf("counting rows: %w", err)
	}
	return n, nil
}

// telling are the columns by which a person knows a row: its alternate key
// first, then what else is short. A name made of the key adds nothing.
func (t *Table) telling() []*Column {
	var list []*Column
	composed := false
	for _, k := range t.Keys {
		composed = composed || len(k.Columns) > 1
		for _, name := range k.Columns {
			list = append(list, t.column(name))
		}
	}
	for i := range t.Columns {
		c := &t.Columns[i]
		short := c.Name != t.Primary && !slices.Contains([]Type{Memo, Lookup, State, Status}, c.Type) && !slices.ContainsFunc(common(true), func(x Column) bool { return x.Name == c.Name })
		if short && !slices.Contains(list, c) && (!composed || c.Name != t.NameColumn) {
			list = append(list, c)
		}
	}
	return list[:min(len(list), shownColumns)]
}

func (t *Table) matching(search string) storage.Expr {
	if search == "" {
		return nil
	}
	var one storage.Or
	if guidForm.MatchString(search) && len(search) == 36 {
		one = append(one, storage.Compare{Column: t.Primary, Op: storage.Eq, Value: strings.ToLower(search)})
	}
	for i := range t.Columns {
		if c := &t.Columns[i]; c.Type == String {
			one = append(one, storage.Like{Column: c.Name, Pattern: storage.Literal(search).Within()})
		}
	}
	return one
}

// plain is a value as a person reads it: a choice by its label.
func plain(c *Column, v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case int64:
		if o, ok := c.option(v); ok {
			return o.Label
		}
	case time.Time:
		return v.Format(time.DateTime)
	}
	return fmt.Sprint(v)
}
