package flowfile

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

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
		unless   string   // not required where this key is given
		missing  string   // the code where a required key is missing; else CodeRequired
		advice   string   // what to write where nothing stands; else the example
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
		inner := fields[at]
		inner.key = joined(f.key, inner.key)
		r.read(value, inner)
	}
	for _, known := range fields {
		if known.required && !given[known.key] && !given[known.unless] {
			r.add(placeOf(n), cmp.Or(known.missing, CodeRequired), fmt.Sprintf("%s is missing", joined(f.key, known.key)), "add "+known.key+": "+hint(known))
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
	case f.advice != "":
		return f.advice
	case len(f.enum) > 0:
		return strings.Join(f.enum, " or ")
	case f.example != nil:
		return flowStyle(f.example)
	}
	return "…"
}

// flowStyle writes an example as YAML on one line.
func flowStyle(v any) string {
	switch v := v.(type) {
	case []string:
		return "[" + strings.Join(v, ", ") + "]"
	case object:
		var parts []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, key+": "+flowStyle(v[key]))
		}
		return "{ " + strings.Join(parts, ", ") + " }"
	}
	return fmt.Sprint(v)
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
