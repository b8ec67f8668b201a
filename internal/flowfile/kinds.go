package flowfile

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"patchbay/internal/fault"
)

type (
	// text is any text.
	text struct {
		at
		value string
	}

	// word is one of field.enum.
	word struct {
		at
		value string
	}

	// slug is the name of a flow.
	slug struct {
		at
		value string
	}

	// column is the name of a column.
	column struct {
		at
		value string
	}

	// pattern is a regular expression.
	pattern struct {
		at
		value string
	}

	// whole is a whole number.
	whole struct {
		at
		value int64
	}

	// number is a rate, of which exactness does not matter.
	number struct {
		at
		value float64
	}

	// flag is true or false.
	flag struct {
		at
		value bool
	}

	// span is a duration such as 30s.
	span struct {
		at
		value time.Duration
		ok    bool // it was there and could be read
	}

	// cel is an expression.
	cel struct {
		at
		source string
		node   *yaml.Node // nil until it was read
	}

	// literal is a JSON value.
	literal struct {
		at
		value any
		node  *yaml.Node // nil until it was read
	}

	// tableRef is connection.table.
	tableRef struct {
		at
		connection, table string
		tableAt           at
	}
)

func (t *text) read(r *reader, n *yaml.Node, f field) { t.value, _ = r.text(n, f) }
func (t *text) schema(field) object                   { return object{"type": "string", "minLength": 1} }

func (w *word) read(r *reader, n *yaml.Node, f field) {
	v, ok := r.text(n, f)
	if !ok {
		return
	}
	if slices.Contains(f.enum, v) {
		w.value = v
		return
	}
	fix := "one of " + strings.Join(f.enum, ", ")
	if near := fault.Closest(v, f.enum); near != "" {
		fix = fmt.Sprintf("did you mean %q?", near)
	}
	r.add(placeOf(n), CodeType, fmt.Sprintf("%s cannot be %q", f.name(), clip(v)), fix)
}
func (w *word) schema(f field) object { return object{"type": "string", "enum": f.enum} }

var slugs = keyRule{regexp.MustCompile(`^[a-z][a-z0-9-]{0,61}[a-z0-9]$`), "2 to 63 lower-case letters, digits and hyphens"}

func (s *slug) read(r *reader, n *yaml.Node, f field) {
	v, ok := r.text(n, f)
	if ok && !slugs.pattern.MatchString(v) {
		r.add(placeOf(n), CodeID, fmt.Sprintf("%q is no name", clip(v)), "use "+slugs.what)
		return
	}
	s.value = v
}
func (s *slug) schema(field) object {
	return object{"type": "string", "pattern": slugs.pattern.String()}
}

var columnName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.@-]{0,127}$`)

func (c *column) read(r *reader, n *yaml.Node, f field) {
	v, ok := r.text(n, f)
	switch {
	case !ok:
	case strings.ContainsAny(v, `*?[](){}|^$\+`):
		r.add(placeOf(n), CodeWildcard, fmt.Sprintf("%s names columns by the pattern %q", f.name(), clip(v)), "name each column; what is not named is not read")
	case !columnName.MatchString(v):
		r.add(placeOf(n), CodeID, fmt.Sprintf("%q is no name of a column", clip(v)), "")
	default:
		c.value = v
	}
}
func (c *column) schema(field) object {
	return object{"type": "string", "pattern": columnName.String()}
}

func (p *pattern) read(r *reader, n *yaml.Node, f field) {
	v, ok := r.text(n, f)
	if !ok {
		return
	}
	const most = 1_000
	if len([]rune(v)) > most {
		r.add(placeOf(n), CodeRegex, fmt.Sprintf("the pattern is longer than %d characters", most), "")
		return
	}
	if _, err := regexp.Compile(v); err != nil {
		r.add(placeOf(n), CodeRegex, "this is no regular expression: "+strings.TrimPrefix(err.Error(), "error parsing regexp: "), "RE2 syntax is understood")
		return
	}
	p.value = v
}
func (p *pattern) schema(field) object {
	return object{"type": "string", "format": "regex", "maxLength": 1000}
}

func (w *whole) read(r *reader, n *yaml.Node, f field) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || !plainInt.MatchString(n.Value) || n.Style != 0 {
		fix := "write digits only, without quotes"
		if n.Kind == yaml.ScalarNode && n.Style == 0 && trap(n) != "" && n.ShortTag() == "!!int" {
			r.add(placeOf(n), CodeType, fmt.Sprintf("%s is %q, which is read as %s", f.name(), clip(n.Value), trap(n)), fix)
			return
		}
		r.add(placeOf(n), CodeType, fmt.Sprintf("%s is %s where a whole number is due", f.name(), what(n)), fix)
		return
	}
	v, err := strconv.ParseInt(n.Value, 10, 64)
	if err != nil || v < f.min || f.max > 0 && v > f.max {
		r.add(placeOf(n), CodeRange, fmt.Sprintf("%s is out of range", f.name()), fmt.Sprintf("from %d to %d", f.min, f.max))
		return
	}
	w.value = v
}
func (w *whole) schema(f field) object {
	s := object{"type": "integer", "minimum": f.min}
	if f.max > 0 {
		s["maximum"] = f.max
	}
	return s
}

func (v *number) read(r *reader, n *yaml.Node, f field) {
	x, err := strconv.ParseFloat(n.Value, 64)
	if n.Kind != yaml.ScalarNode || !plainNumber.MatchString(n.Value) || n.Style != 0 || err != nil {
		r.add(placeOf(n), CodeType, fmt.Sprintf("%s is %s where a number is due", f.name(), what(n)), "")
		return
	}
	if x < 0 {
		r.add(placeOf(n), CodeRange, f.name()+" is below zero", "")
		return
	}
	v.value = x
}
func (v *number) schema(field) object { return object{"type": "number", "minimum": 0} }

func (b *flag) read(r *reader, n *yaml.Node, f field) {
	if n.Kind != yaml.ScalarNode || n.Style != 0 || n.Value != "true" && n.Value != "false" {
		r.add(placeOf(n), CodeType, fmt.Sprintf("%s is %s where true or false is due", f.name(), what(n)), "write true or false")
		return
	}
	b.value = n.Value == "true"
}
func (b *flag) schema(field) object { return object{"type": "boolean"} }

var spans = regexp.MustCompile(`^([0-9]+(ms|s|m|h|d))+$`)

// days are a part of a duration that Go does not know: each is 24 hours.
var days = regexp.MustCompile(`[0-9]+d`)

func (s *span) read(r *reader, n *yaml.Node, f field) {
	if n.Kind != yaml.ScalarNode || !spans.MatchString(n.Value) {
		fix := "write a number with a unit: 500ms, 30s, 5m, 1h30m, 7d"
		if n.Kind == yaml.ScalarNode && plainInt.MatchString(n.Value) {
			fix = fmt.Sprintf("add the unit: %ss", n.Value)
		}
		r.add(placeOf(n), CodeType, fmt.Sprintf("%s is %s where a duration is due", f.name(), what(n)), fix)
		return
	}
	v, err := time.ParseDuration(days.ReplaceAllStringFunc(n.Value, func(d string) string {
		return strings.Repeat(strings.TrimSuffix(d, "d")+"h", 24) // the parts of a duration are added
	}))
	if err != nil {
		r.add(placeOf(n), CodeRange, f.name()+" is out of range", "")
		return
	}
	s.value, s.ok = v, true
}
func (s *span) schema(field) object { return object{"type": "string", "pattern": spans.String()} }

func (c *cel) read(r *reader, n *yaml.Node, f field) {
	if n.Kind != yaml.ScalarNode {
		r.add(placeOf(n), CodeType, fmt.Sprintf("%s is %s where an expression is due", f.name(), what(n)), "quote an expression that holds braces, brackets or commas")
		return
	}
	switch as := trap(n); {
	case as == "nothing":
		r.add(placeOf(n), CodeType, f.name()+" is empty where an expression is due", "write an expression; null stands for no value")
		return
	case as != "" && !plainNumber.MatchString(n.Value) && n.Value != "true" && n.Value != "false" && n.Value != "null":
		r.add(placeOf(n), CodeType, fmt.Sprintf("%s is %q, which is read as %s", f.name(), clip(n.Value), as), fmt.Sprintf(`for text write '%q'`, clip(n.Value)))
		return
	}
	c.source, c.node = n.Value, n
}
func (c *cel) schema(field) object {
	return object{"type": []string{"string", "number", "boolean", "null"}, "description": "a CEL expression"}
}

func (t *tableRef) read(r *reader, n *yaml.Node, f field) {
	v, ok := r.text(n, f)
	if !ok {
		return
	}
	connection, table, found := strings.Cut(v, ".")
	if !found || connection == "" || table == "" {
		r.add(placeOf(n), CodeUnknownRef, fmt.Sprintf("%s is %q, which names no table", f.name(), clip(v)), "write connection.table as in connections.yaml")
		return
	}
	t.connection, t.table = connection, table
	t.tableAt = r.inside(n, 1, len([]rune(connection))+2)
}
func (t *tableRef) schema(field) object {
	return object{"type": "string", "pattern": `^[^.]+\..+$`}
}
