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
	// placed is anything a file holds: it knows where it stands.
	placed interface{ place() *at }

	// leaf reads itself from a node and describes itself as JSON Schema.
	leaf interface {
		placed
		read(r *reader, n *yaml.Node, f field)
		schema(f field) object
	}

	// sheet is an object with fixed keys.
	sheet interface {
		placed
		fields() []field
	}

	// field declares one key of a sheet: what is read, checked and documented.
	field struct {
		key      string
		into     placed
		required bool
		doc      string
		example  any
		enum     []string // of a word
		keys     *keyRule // of a dict
		min, max int64    // of a whole number or of the items of a list; max 0 is none
	}

	// keyRule says which keys a dict may have.
	keyRule struct {
		pattern *regexp.Regexp
		what    string // "a name of lower-case letters, digits and hyphens"
	}

	object = map[string]any
)

// read puts a node into what a field declares.
func (r *reader) read(n *yaml.Node, f field) {
	if n.Kind == yaml.AliasNode {
		return // reported by structure
	}
	*f.into.place() = placeOf(n)
	switch into := f.into.(type) {
	case leaf:
		into.read(r, n, f)
	case sheet:
		r.sheet(n, into, f)
	}
}

func (r *reader) sheet(n *yaml.Node, into sheet, f field) {
	if !r.mapping(n, f) {
		return
	}
	fields := into.fields()
	names := make([]string, len(fields))
	for i, known := range fields {
		names[i] = known.key
	}
	given := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := slices.Index(names, key.Value)
		if at < 0 {
			r.unknownKey(key, names, f)
			continue
		}
		if given[key.Value] {
			continue // reported by structure
		}
		given[key.Value] = true
		r.read(value, fields[at])
	}
	for _, known := range fields {
		if known.required && !given[known.key] {
			r.add(placeOf(n), CodeRequired, fmt.Sprintf("%s is missing", joined(f.key, known.key)), "add "+known.key+": "+hint(known))
		}
	}
}

func (r *reader) unknownKey(key *yaml.Node, names []string, f field) {
	fix := "known: " + strings.Join(names, ", ")
	if near := fault.Closest(key.Value, names); near != "" {
		fix = fmt.Sprintf("did you mean %q?", near)
	}
	if key.Value == "<<" {
		r.add(placeOf(key), CodeAlias, "a merge key stands here", "write the keys out")
		return
	}
	in := ""
	if f.key != "" {
		in = " in " + f.key
	}
	r.add(placeOf(key), CodeUnknownField, fmt.Sprintf("there is no key %q%s", clip(key.Value), in), fix)
}

func (r *reader) mapping(n *yaml.Node, f field) bool {
	if n.Kind == yaml.MappingNode {
		return true
	}
	r.add(placeOf(n), CodeType, fmt.Sprintf("%s is %s where keys are due", f.name(), what(n)), "write key: value below it")
	return false
}

func (f field) name() string {
	if f.key == "" {
		return "the file"
	}
	return f.key
}

func joined(parent, key string) string {
	if parent == "" {
		return key
	}
	return parent + "." + key
}

func hint(f field) string {
	switch {
	case len(f.enum) > 0:
		return strings.Join(f.enum, " or ")
	case f.example != nil:
		return fmt.Sprint(f.example)
	}
	return "…"
}

// what names a node for a message that says what is there instead.
func what(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a set of keys"
	case yaml.SequenceNode:
		return "a list"
	}
	if n.Value == "" {
		return "empty"
	}
	switch n.ShortTag() {
	case "!!null":
		return "null"
	case "!!bool":
		return "the boolean " + clip(n.Value)
	case "!!int", "!!float":
		return "the number " + clip(n.Value)
	}
	return "text"
}

var (
	sexagesimal = regexp.MustCompile(`^[-+]?[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?$`)
	legacyInt   = regexp.MustCompile(`^[-+]?(0[0-9]+|0[xob][0-9a-fA-F_]+|[0-9][0-9_]*_[0-9_]*)$`)
	plainInt    = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
	plainNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
)

// trap says how YAML readers take a bare scalar that looks like text, or "".
func trap(n *yaml.Node) string {
	if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return ""
	}
	switch strings.ToLower(n.Value) {
	case "y", "n", "yes", "no", "on", "off", "true", "false":
		return "a boolean"
	case "null", "~":
		return "null"
	case "":
		return "nothing"
	case ".inf", "-.inf", "+.inf", ".nan":
		return "a number"
	}
	switch {
	case sexagesimal.MatchString(n.Value):
		return "a number to the base of 60"
	case legacyInt.MatchString(n.Value):
		return "a number in another base"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "a number"
	case "!!timestamp":
		return "a date"
	}
	return ""
}

// text gives the text of a scalar; false after a diagnostic when it is none.
func (r *reader) text(n *yaml.Node, f field) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		r.add(placeOf(n), CodeType, fmt.Sprintf("%s is %s where text is due", f.name(), what(n)), "")
		return "", false
	}
	if as := trap(n); as != "" {
		fix := fmt.Sprintf("quote it: %q", clip(n.Value))
		if n.Value == "" {
			fix = "write " + hint(f)
		}
		r.add(placeOf(n), CodeType, fmt.Sprintf("%s is read as %s, not as the text %q", f.name(), as, clip(n.Value)), fix)
		return "", false
	}
	return n.Value, true
}

type (
	text struct {
		at
		value string
	} // any text
	word struct {
		at
		value string
	} // one of field.enum
	slug struct {
		at
		value string
	} // the name of a flow
	column struct {
		at
		value string
	} // the name of a column
	pattern struct {
		at
		value string
	} // a regular expression
	whole struct {
		at
		value int64
	} // a whole number
	number struct {
		at
		value float64
	} // a rate; exactness does not matter
	flag struct {
		at
		value bool
	} // true or false
	span struct {
		at
		value time.Duration
		ok    bool // it was there and could be read
	} // 30s, 5m
	cel struct {
		at
		source string
		node   *yaml.Node
	} // an expression
	literal struct {
		at
		value any
		node  *yaml.Node
	} // a JSON value
	tableRef struct {
		at
		connection, table string
		tableAt           at
	} // connection.table
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

var spans = regexp.MustCompile(`^([0-9]+(ms|s|m|h))+$`)

func (s *span) read(r *reader, n *yaml.Node, f field) {
	if n.Kind != yaml.ScalarNode || !spans.MatchString(n.Value) {
		fix := "write a number with a unit: 500ms, 30s, 5m, 1h30m"
		if n.Kind == yaml.ScalarNode && plainInt.MatchString(n.Value) {
			fix = fmt.Sprintf("add the unit: %ss", n.Value)
		}
		r.add(placeOf(n), CodeType, fmt.Sprintf("%s is %s where a duration is due", f.name(), what(n)), fix)
		return
	}
	v, err := time.ParseDuration(n.Value)
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
