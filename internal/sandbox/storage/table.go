package storage

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Kind is the type of a column, and the Go type of its values.
type Kind uint8

// The kinds. A value is nil or of the type named here.
const (
	Text    Kind = iota // string
	Int                 // int64
	Decimal             // json.Number, exact
	Bool                // bool
	Time                // time.Time, UTC, microseconds
	Date                // string, YYYY-MM-DD
	GUID                // string, hyphenated lower case
	Bytes               // []byte
)

type (
	// Row is one row: column → value. An absent column is null.
	Row map[string]any

	// Column is one column. Fold makes comparison and order ignore case.
	Column struct {
		Name string
		Kind Kind
		Fold bool
	}

	// Table describes one table. Primary identifies a row and is the order of
	// rows where none is asked for; Unique keys ignore rows with a null in them.
	// Counter gives the schema a counter of versions of its own.
	Table struct {
		Schema, Name string
		Counter      bool
		Columns      []Column
		Primary      []string
		Unique       [][]string
		Index        [][]string

		byName map[string]int
	}
)

// NewTable checks a definition and returns it ready for use. It panics on a key
// over an unknown column: definitions are Go data, not input.
func NewTable(t Table) *Table {
	t.byName = make(map[string]int, len(t.Columns))
	for i, c := range t.Columns {
		t.byName[c.Name] = i
	}
	keys := append([][]string{t.Primary}, t.Unique...)
	for _, key := range append(keys, t.Index...) {
		for _, name := range key {
			if _, ok := t.byName[name]; !ok {
				panic(fmt.Sprintf("storage: table %s has no column %q", t.Name, name))
			}
		}
	}
	return &t
}

// Column finds a column by its name.
func (t *Table) Column(name string) (Column, bool) {
	i, ok := t.byName[name]
	if !ok {
		return Column{}, false
	}
	return t.Columns[i], true
}

func (t *Table) id() string { return t.Schema + "." + t.Name }

// Key is the predicate that row has this primary key.
func (t *Table) Key(row Row) Expr {
	all := make(And, len(t.Primary))
	for i, name := range t.Primary {
		all[i] = Compare{Column: name, Op: Eq, Value: row[name]}
	}
	return all
}

// keyOf encodes the columns of one key, folded where the column folds; ok is
// false when one of them is null.
func (t *Table) keyOf(columns []string, row Row) (string, bool) {
	if len(columns) == 1 {
		v := row[columns[0]]
		if v == nil {
			return "", false
		}
		return t.keyPart(columns[0], v), true
	}
	var b strings.Builder
	for _, name := range columns {
		v := row[name]
		if v == nil {
			return "", false
		}
		b.WriteString(t.keyPart(name, v))
		b.WriteByte(0)
	}
	return b.String(), true
}

func (t *Table) keyPart(name string, v any) string {
	switch v := v.(type) {
	case string:
		if t.Columns[t.byName[name]].Fold {
			return fold(v)
		}
		return v
	case json.Number:
		r, ok := rat(v)
		if !ok {
			return string(v)
		}
		return r.RatString()
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case []byte:
		return string(v)
	default:
		return fmt.Sprint(v)
	}
}

func fold(s string) string { return strings.ToLower(s) }
