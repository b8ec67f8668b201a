package flowfile

import (
	"maps"
	"slices"
	"strings"

	"patchbay/calculator"
	"patchbay/internal/expr"
	"patchbay/internal/flow"
)

// shape is a value of a calculator's contract.
type shape struct {
	kind     string // of a leaf: float64, string, …; "" for what has fields, entries or items
	fields   map[string]*shape
	each     *shape // of the items of a list, or of the entries of a map
	list     bool
	optional bool
}

// shapesOf reads a contract: what goes in, and what comes out. ok is false where the text is
// none, or is that of another calculator.
func shapesOf(c calculator.Contract, name, version string) (in, out *shape, ok bool) {
	lines := strings.Split(strings.TrimSpace(string(c)), "\n")
	if strings.TrimSpace(lines[0]) != name+" "+version {
		return nil, nil, false
	}
	root := &shape{fields: map[string]*shape{"input": {fields: map[string]*shape{}}, "output": {fields: map[string]*shape{}}}}
	for _, line := range lines[1:] {
		path, kind, found := strings.Cut(strings.TrimSpace(line), " ")
		if !found {
			return nil, nil, false
		}
		s := root
		for name := range strings.SplitSeq(path, ".") {
			s = s.below(name)
		}
		s.kind = kind
	}
	return root.fields["input"], root.fields["output"], true
}

// below gives the field of a name as a contract writes it: parts[], figures{}, maturity?.
func (s *shape) below(name string) *shape {
	bare := strings.TrimRight(name, "[]{}?")
	if s.fields == nil {
		s.fields = map[string]*shape{}
	}
	f := s.fields[bare]
	if f == nil {
		f = &shape{optional: strings.Contains(name, "?")}
		s.fields[bare] = f
	}
	for rest := strings.ReplaceAll(name[len(bare):], "?", ""); rest != ""; rest = rest[2:] {
		if f.each == nil {
			f.each, f.list = &shape{}, rest[:2] == "[]"
		}
		f = f.each
	}
	return f
}

// typ is what expressions know of it.
func (s *shape) typ() expr.Type {
	switch {
	case s.list:
		return expr.List(s.each.typ())
	case s.each != nil:
		return expr.Anything
	case s.fields != nil:
		columns := make(map[string]expr.Type, len(s.fields))
		for name, f := range s.fields {
			columns[name] = f.typ()
		}
		return expr.Object(columns)
	case s.kind == "string" || s.kind == "text":
		return expr.Scalar(flow.String)
	case s.kind == "bool":
		return expr.Scalar(flow.Bool)
	case strings.HasPrefix(s.kind, "float"):
		return expr.Scalar(flow.Decimal)
	}
	return expr.Scalar(flow.Int)
}

// at finds what a path leads to; nil where it leads nowhere.
func (s *shape) at(path string) *shape {
	for name := range strings.SplitSeq(path, ".") {
		switch {
		case s.fields != nil:
			s = s.fields[name]
		case s.each != nil && !s.list:
			s = s.each
		default:
			return nil
		}
		if s == nil {
			return nil
		}
	}
	return s
}

// missing are the paths that have to be given, and are not. A list or a map that nobody
// fills is missing as a whole.
func (s *shape) missing(path string, given func(path string) bool) []string {
	if path != "" && given(path) || s.optional {
		return nil
	}
	if s.fields == nil {
		return []string{path}
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s.fields)) {
		out = append(out, s.fields[name].missing(joined(path, name), given)...)
	}
	return out
}

// paths are those that have a value of their own, sorted.
func (s *shape) paths(path string) []string {
	if s.fields == nil {
		return []string{path}
	}
	var out []string
	for name, f := range s.fields {
		out = append(out, f.paths(joined(path, name))...)
	}
	slices.Sort(out)
	return out
}
