package expr

import (
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

type (
	// held is a value that an expression may give: what lies under a path of a variable,
	// wrapped in so many lists that the expression writes out.
	held struct {
		path  string // variable and names, joined by separator
		lists int
	}

	// holding are the values that an expression may give. One that is computed of others
	// holds none: what it depends on has been taken.
	holding map[held]bool

	// walker follows values through an expression to where something depends on them.
	walker struct {
		taken  map[string]bool
		tested map[string]bool
	}
)

const separator = "\x00"

// maxRounds bounds how often a loop is gone through until its result holds nothing new:
// each round may add what one nesting hands on.
const maxRounds = 4

// usages finds what is taken of each variable.
func usages(root ast.Expr) map[string]usage {
	w := &walker{taken: map[string]bool{}, tested: map[string]bool{}}
	w.take(w.walk(root, nil))
	out := map[string]usage{}
	for _, path := range slices.Sorted(maps.Keys(w.taken)) {
		parts := strings.Split(path, separator)
		u := out[parts[0]]
		u.paths = append(u.paths, parts[1:])
		switch {
		case len(parts) == 1 || parts[1] == Element || parts[1] == Presence:
			u.whole = true
		case !slices.Contains(u.columns, parts[1]):
			u.columns = append(u.columns, parts[1])
			slices.Sort(u.columns)
		}
		if w.tested[path] && len(parts) == 2 {
			u.tested = append(u.tested, parts[1])
		}
		out[parts[0]] = u
	}
	return out
}

// take notes that something depends on values.
func (w *walker) take(values holding) {
	for v := range values {
		w.taken[v.path] = true
	}
}

func (w *walker) present(values holding) {
	for v := range values {
		w.taken[v.path+separator+Presence] = true
	}
}

func (w *walker) walk(e ast.Expr, scope map[string]holding) holding {
	switch e.Kind() {
	case ast.IdentKind:
		if values, bound := scope[e.AsIdent()]; bound {
			return values
		}
		return holding{{path: strings.TrimPrefix(e.AsIdent(), ".")}: true}
	case ast.SelectKind:
		s := e.AsSelect()
		under := w.field(w.walk(s.Operand(), scope), s.FieldName())
		if s.IsTestOnly() {
			w.test(under)
			return nil
		}
		return under
	case ast.CallKind:
		return w.call(e.AsCall(), scope)
	case ast.ListKind:
		out := holding{}
		for _, entry := range e.AsList().Elements() {
			for v := range w.walk(entry, scope) {
				out[held{v.path, v.lists + 1}] = true
			}
		}
		return out
	case ast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			w.take(w.walk(entry.AsMapEntry().Key(), scope))
			w.take(w.walk(entry.AsMapEntry().Value(), scope))
		}
	case ast.StructKind:
		for _, entry := range e.AsStruct().Fields() {
			w.take(w.walk(entry.AsStructField().Value(), scope))
		}
	case ast.ComprehensionKind:
		return w.loop(e.AsComprehension(), scope)
	case ast.LiteralKind, ast.UnspecifiedExprKind:
	}
	return nil
}

// test notes that the expression asks whether something is there.
func (w *walker) test(values holding) {
	w.take(values)
	for v := range values {
		w.tested[v.path] = true
	}
}

func (w *walker) field(of holding, name string) holding {
	out := holding{}
	for v := range of {
		if v.lists > 0 { // a list has no fields: whatever this is, it depends on all of it
			w.take(holding{v: true})
			continue
		}
		out[held{path: v.path + separator + name}] = true
	}
	return out
}

func elementsOf(list holding) holding {
	out := holding{}
	for v := range list {
		if v.lists > 0 {
			out[held{v.path, v.lists - 1}] = true
			continue
		}
		out[held{path: v.path + separator + Element}] = true
	}
	return out
}

func (w *walker) call(c ast.CallExpr, scope map[string]holding) holding {
	args := c.Args()
	if c.IsMemberFunction() {
		args = append([]ast.Expr{c.Target()}, args...)
	}
	if isNull := slices.IndexFunc(args, isNull); isNull >= 0 && len(args) == 2 && (c.FunctionName() == operators.Equals || c.FunctionName() == operators.NotEquals) {
		w.present(w.walk(args[1-isNull], scope))
		return nil
	}
	values := make([]holding, len(args))
	for i, a := range args {
		values[i] = w.walk(a, scope)
	}
	switch c.FunctionName() {
	case operators.Index, operators.OptIndex, operators.OptSelect:
		name, named := literalText(args[1])
		if !named {
			w.take(values[1])
			return elementsOf(values[0])
		}
		under := w.field(values[0], name)
		if c.FunctionName() != operators.Index {
			for v := range under {
				w.tested[v.path] = true
			}
		}
		return under
	case operators.In:
		if name, named := literalText(args[0]); named {
			for v := range values[1] {
				if strings.Contains(v.path, separator) || v.lists > 0 {
					w.take(holding{v: true}) // a list of texts, as far as one can see
					continue
				}
				w.test(w.field(holding{v: true}, name))
			}
			return nil
		}
	case operators.Conditional:
		w.take(values[0])
		return union(values[1], values[2])
	case operators.Add, "orValue", "or", "optional.of", "optional.ofNonZeroValue", "value", "first", "last":
		// They hand on what they are given, or an entry of it.
		if name := c.FunctionName(); name == "first" || name == "last" {
			return elementsOf(values[0])
		}
		return union(values...)
	case sortByKeys:
		w.take(values[1])
		return values[0]
	case "size":
		w.present(values[0])
		return nil
	}
	w.take(union(values...))
	return nil
}

// loop follows a macro: its variable is each element of what it ranges over.
func (w *walker) loop(c ast.ComprehensionExpr, scope map[string]holding) holding {
	over := w.walk(c.IterRange(), scope)
	inner := maps.Clone(scope)
	if inner == nil {
		inner = map[string]holding{}
	}
	inner[c.IterVar()] = elementsOf(over)
	if c.HasIterVar2() { // the first is an index or a name then
		w.take(over)
		inner[c.IterVar()], inner[c.IterVar2()] = nil, elementsOf(over)
	}
	result := w.walk(c.AccuInit(), scope)
	for round := 0; ; round++ {
		inner[c.AccuVar()] = result
		w.take(w.walk(c.LoopCondition(), inner))
		more := union(result, w.walk(c.LoopStep(), inner))
		if len(more) == len(result) {
			break
		}
		if result = more; round == maxRounds {
			w.take(result)
			break
		}
	}
	inner[c.AccuVar()] = result
	return w.walk(c.Result(), inner)
}

func union(all ...holding) holding {
	out := holding{}
	for _, values := range all {
		maps.Copy(out, values)
	}
	return out
}

func isNull(e ast.Expr) bool { return e.Kind() == ast.LiteralKind && e.AsLiteral() == types.NullValue }
