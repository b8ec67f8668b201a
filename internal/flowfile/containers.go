package flowfile

import (
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v3"
)

type (
	// pointer is a placed thing that can be made: *T.
	pointer[T any] interface {
		*T
		placed
	}

	// dict is an object whose keys the author chooses, in the order of the file.
	dict[T any, P pointer[T]] struct {
		at
		entries []entry[T]
	}

	entry[T any] struct {
		key   string
		keyAt at
		value *T
	}

	// list is a list of one kind of thing.
	list[T any, P pointer[T]] struct {
		at
		items []*T
		ok    bool // it was there and is a list
	}
)

func (d *dict[T, P]) read(r *reader, n *yaml.Node, f field) {
	if !r.mapping(n, f) {
		return
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Value == "<<" || seen[key.Value] {
			if key.Kind != yaml.ScalarNode || key.Value == "<<" {
				r.add(placeOf(key), CodeType, "a key must be text", "")
			}
			continue // a repeated key is reported by structure
		}
		seen[key.Value] = true
		if f.keys != nil && !f.keys.pattern.MatchString(key.Value) {
			r.add(placeOf(key), CodeID, fmt.Sprintf("%q is no name", clip(key.Value)), "use "+f.keys.what)
			continue
		}
		v := P(new(T))
		r.read(value, field{key: joined(f.key, key.Value), into: v, enum: f.enum, min: f.min, max: f.max, example: f.example})
		d.entries = append(d.entries, entry[T]{key.Value, placeOf(key), (*T)(v)})
	}
}

func (d *dict[T, P]) schema(f field) object {
	s := object{"type": "object", "additionalProperties": schemaOf(field{into: P(new(T)), enum: f.enum, min: f.min, max: f.max})}
	if f.keys != nil {
		s["propertyNames"] = object{"pattern": f.keys.pattern.String()}
	}
	return s
}

func (l *list[T, P]) read(r *reader, n *yaml.Node, f field) {
	if n.Kind != yaml.SequenceNode {
		r.add(placeOf(n), CodeType, fmt.Sprintf("%s is %s where a list is due", f.name(), what(n)), "write [one, two]")
		return
	}
	l.ok = true
	for _, c := range n.Content {
		v := P(new(T))
		r.read(c, field{key: f.key, into: v, enum: f.enum, example: f.example})
		l.items = append(l.items, (*T)(v))
	}
}

func (l *list[T, P]) schema(f field) object {
	return object{"type": "array", "items": schemaOf(field{into: P(new(T)), enum: f.enum})}
}

func (l *literal) read(r *reader, n *yaml.Node, f field) {
	l.value, l.node = r.value(n, f), n
}
func (l *literal) schema(field) object { return object{} }

// row is an object with JSON values, as a connector gives it.
type row struct {
	at
	value map[string]any
	node  *yaml.Node
}

func (w *row) read(r *reader, n *yaml.Node, f field) {
	w.node = n
	if r.mapping(n, f) {
		w.value, _ = r.value(n, f).(map[string]any)
	}
}
func (w *row) schema(field) object { return object{"type": "object"} }

// value is the JSON value of a node. Numbers keep their text.
func (r *reader) value(n *yaml.Node, f field) any {
	switch n.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			out[n.Content[i].Value] = r.value(n.Content[i+1], field{key: joined(f.key, n.Content[i].Value)})
		}
		return out
	case yaml.SequenceNode:
		out := make([]any, len(n.Content))
		for i, c := range n.Content {
			out[i] = r.value(c, f)
		}
		return out
	case yaml.ScalarNode:
		return r.scalar(n, f)
	}
	return nil
}

func (r *reader) scalar(n *yaml.Node, f field) any {
	as := trap(n)
	switch {
	case as == "":
		return n.Value
	case as == "nothing":
		r.add(placeOf(n), CodeType, f.name()+" is empty", `write null, or "" for empty text`)
		return nil
	case n.Value == "true" || n.Value == "false":
		return n.Value == "true"
	case n.Value == "null":
		return nil
	case plainNumber.MatchString(n.Value):
		return json.Number(n.Value)
	}
	r.add(placeOf(n), CodeType, fmt.Sprintf("%s is %q, which is read as %s", f.name(), clip(n.Value), as), fmt.Sprintf("quote it: %q", clip(n.Value)))
	return nil
}
