package storage

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// statement is SQL under construction: names quoted, values bound.
type statement struct {
	strings.Builder
	args  []any
	depth int
}

func ident(parts ...string) string { return pgx.Identifier(parts).Sanitize() }

func (t *Table) sqlName() string { return ident(t.Schema, t.Name) }

var sqlTypes = map[Kind]string{
	Text: "text", Int: "bigint", Decimal: "numeric", Bool: "boolean",
	Time: "timestamptz", Date: "date", GUID: "uuid", Bytes: "bytea",
}

// folded is lower case as ICU has it: unlike the default collation's it does
// not depend on how the database was created.
func folded(expr string) string { return `lower(` + expr + ` COLLATE "und-x-icu") COLLATE "C"` }

func (s *statement) bind(v any) string {
	if n, ok := v.(json.Number); ok {
		v = string(n)
	}
	s.args = append(s.args, v)
	return "$" + strconv.Itoa(len(s.args))
}

// side is one side of a comparison; text is folded or in byte order. An index
// over the same words serves it.
func side(kind Kind, fold bool, expr string) string {
	switch {
	case kind == Text && fold:
		return folded(expr)
	case kind == Text:
		return expr + ` COLLATE "C"`
	default:
		return expr
	}
}

func (s *statement) where(t *Table, alias string, e Expr) {
	col := func(name string) (Column, string) {
		c := t.Columns[t.byName[name]]
		return c, alias + "." + ident(name)
	}
	switch e := e.(type) {
	case nil:
		s.WriteString("TRUE")
	case And:
		s.all(t, alias, []Expr(e), " AND ", "TRUE")
	case Or:
		s.all(t, alias, []Expr(e), " OR ", "FALSE")
	case Not:
		s.WriteString("NOT (")
		s.where(t, alias, e.X)
		s.WriteString(")")
	case Null:
		_, name := col(e.Column)
		s.WriteString(name + " IS NULL")
	case Compare:
		c, name := col(e.Column)
		f := c.Fold || e.Fold
		fmt.Fprintf(s, "%s %s %s", side(c.Kind, f, name), e.Op,
			side(c.Kind, f, s.bind(e.Value)+"::"+sqlTypes[c.Kind]))
	case Columns:
		l, left := col(e.Left)
		_, right := col(e.Right)
		fmt.Fprintf(s, "%s %s %s", side(l.Kind, l.Fold, left), e.Op, side(l.Kind, l.Fold, right))
	case Like:
		c, name := col(e.Column)
		f := c.Fold || e.Fold
		operator, text := e.Pattern.sql(f)
		fmt.Fprintf(s, "%s %s %s", side(Text, f, name), operator, s.bind(text))
	case In:
		c, name := col(e.Column)
		array := s.array(c, e.Values)
		if c.Kind == Text {
			fmt.Fprintf(s, "%s = ANY(ARRAY(SELECT %s FROM unnest(%s) v))", side(Text, c.Fold, name), side(Text, c.Fold, "v"), array) // once, whatever the planner thinks
			return
		}
		fmt.Fprintf(s, "%s = ANY(%s)", name, array)
	case Tuples:
		s.tuples(t, alias, e)
	case Exists:
		s.depth++
		inner := "e" + strconv.Itoa(s.depth)
		fmt.Fprintf(s, "EXISTS (SELECT 1 FROM %s %s WHERE ", e.Table.sqlName(), inner)
		for i, name := range e.Outer {
			fmt.Fprintf(s, "%s.%s = %s.%s AND ", inner, ident(e.Inner[i]), alias, ident(name))
		}
		s.WriteString("(")
		s.where(e.Table, inner, e.Where)
		s.WriteString("))")
	default:
		panic("storage: unknown predicate")
	}
}

func (s *statement) all(t *Table, alias string, list []Expr, glue, empty string) {
	if len(list) == 0 {
		s.WriteString(empty)
		return
	}
	for i, x := range list {
		if i > 0 {
			s.WriteString(glue)
		}
		s.WriteString("(")
		s.where(t, alias, x)
		s.WriteString(")")
	}
}

// array binds values as one array, so that the text of a statement does not
// depend on how many there are.
func (s *statement) array(c Column, values []any) string {
	if c.Kind == Int {
		list := make([]int64, len(values))
		for i, v := range values {
			list[i], _ = v.(int64)
		}
		return s.bind(list) + "::bigint[]"
	}
	list := make([]string, len(values))
	for i, v := range values {
		if at, ok := v.(time.Time); ok {
			v = at.Format(time.RFC3339Nano)
		}
		list[i] = fmt.Sprint(v)
	}
	return s.bind(list) + "::text[]::" + sqlTypes[c.Kind] + "[]"
}

func (s *statement) tuples(t *Table, alias string, e Tuples) {
	left, right, arrays, names := make([]string, len(e.Columns)), make([]string, len(e.Columns)),
		make([]string, len(e.Columns)), make([]string, len(e.Columns))
	for i, name := range e.Columns {
		c := t.Columns[t.byName[name]]
		values := make([]any, len(e.Values))
		for j, tuple := range e.Values {
			values[j] = tuple[i]
		}
		names[i] = "k" + strconv.Itoa(i)
		left[i] = side(c.Kind, c.Fold, alias+"."+ident(name))
		right[i] = side(c.Kind, c.Fold, names[i])
		arrays[i] = s.array(c, values)
	}
	fmt.Fprintf(s, "(%s) IN (SELECT %s FROM unnest(%s) AS k(%s))", strings.Join(left, ", "),
		strings.Join(right, ", "), strings.Join(arrays, ", "), strings.Join(names, ", "))
}

func (s *statement) orderBy(t *Table, alias string, order []Order) {
	s.WriteString(" ORDER BY ")
	for _, o := range order {
		c := t.Columns[t.byName[o.Column]]
		s.WriteString(side(c.Kind, c.Fold, alias+"."+ident(o.Column)))
		if o.Desc {
			s.WriteString(" DESC")
		}
		if o.NullsFirst {
			s.WriteString(" NULLS FIRST, ")
		} else {
			s.WriteString(" NULLS LAST, ")
		}
	}
	for i, name := range t.Primary {
		if i > 0 {
			s.WriteString(", ")
		}
		c := t.Columns[t.byName[name]]
		s.WriteString(side(c.Kind, c.Fold, alias+"."+ident(name)))
	}
}

// selectList reads what has no Go type of its own as text.
func (t *Table) selectList(alias string, columns []Column) string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = alias + "." + ident(c.Name)
		if c.Kind == Decimal || c.Kind == GUID || c.Kind == Date {
			list[i] += "::text"
		}
	}
	return strings.Join(list, ", ")
}

// ddl makes the table, its columns and its indexes where they are missing. A
// column that came later is null in the rows that were there before.
func (t *Table) ddl(missing []Column) string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE SCHEMA IF NOT EXISTS %s;\n", ident(t.Schema))
	if t.Counter {
		fmt.Fprintf(&b, "CREATE SEQUENCE IF NOT EXISTS %s;\n", ident(t.Schema, "row_version"))
	}
	fmt.Fprintf(&b, "CREATE TABLE IF NOT EXISTS %s (", t.sqlName())
	for _, c := range t.Columns {
		fmt.Fprintf(&b, "%s %s, ", ident(c.Name), sqlTypes[c.Kind])
	}
	quoted := make([]string, len(t.Primary))
	for i, name := range t.Primary {
		quoted[i] = ident(name)
	}
	fmt.Fprintf(&b, "PRIMARY KEY (%s));\n", strings.Join(quoted, ", "))
	for _, c := range missing {
		fmt.Fprintf(&b, "ALTER TABLE %s ADD COLUMN %s %s;\n", t.sqlName(), ident(c.Name), sqlTypes[c.Kind])
	}
	index := func(unique string, key []string) {
		parts := make([]string, len(key))
		for i, name := range key {
			c := t.Columns[t.byName[name]]
			parts[i] = side(c.Kind, c.Fold, ident(name))
		}
		fmt.Fprintf(&b, "CREATE %sINDEX IF NOT EXISTS %s ON %s (%s);\n", unique,
			ident(t.Name+"_"+strings.Join(key, "_")), t.sqlName(), strings.Join(parts, ", "))
	}
	for _, key := range t.Unique {
		index("UNIQUE ", key)
	}
	for _, key := range t.Index {
		index("", key)
	}
	return b.String()
}
