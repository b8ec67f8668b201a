package expr

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"

	"patchbay/internal/fault"
)

var (
	undefined  = regexp.MustCompile(`^undefined field '([^']*)'`)
	undeclared = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	noOverload = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '([^']*)'`)
	typeName   = regexp.MustCompile(`\{[^}]*\}|wrapper\(([a-z]+)\)`)
)

// issues puts CEL's messages into our words.
func (e *Env) issues(root *ast.AST, iss *cel.Issues) []Issue {
	out := make([]Issue, 0, len(iss.Errors()))
	for _, err := range iss.Errors() {
		i := Issue{Line: err.Location.Line(), Col: err.Location.Column() + 1, Kind: Mistyped, Message: err.Message}
		switch {
		case root == nil:
			i.Kind = Syntax
			i.Message = "the expression cannot be read: " + parserWords(strings.TrimPrefix(err.Message, "Syntax error: "))
		case undefined.MatchString(err.Message):
			e.unknownColumn(root, err, &i)
		case undeclared.MatchString(err.Message):
			e.undeclared(&i, undeclared.FindStringSubmatch(err.Message)[1])
		case noOverload.MatchString(err.Message):
			m := noOverload.FindStringSubmatch(err.Message)
			i.Message = fmt.Sprintf("%s does not apply to %s", operator(m[1]), typeNames(m[2]))
		default:
			i.Message = typeNames(lowerFirst(err.Message))
		}
		i.Line, i.Col = max(i.Line, 1), max(i.Col, 1)
		out = append(out, i)
	}
	return out
}

var unexpected = regexp.MustCompile(`^(?:mismatched|extraneous) input '(.*?)' expecting|^no viable alternative at input '(.*)'$|^token recognition error at: '(.*)'$`)

// parserWords spares the reader the parser's grammar.
func parserWords(s string) string {
	m := unexpected.FindStringSubmatch(s)
	if m == nil {
		return lowerFirst(s)
	}
	what := m[1] + m[2] + m[3]
	if what == "" || strings.HasSuffix(what, "<EOF>") {
		return "it ends too early"
	}
	return fmt.Sprintf("%q is not expected here", what)
}

func (e *Env) unknownColumn(root *ast.AST, err *cel.Error, i *Issue) {
	i.Kind, i.Name, i.Of = Column, undefined.FindStringSubmatch(err.Message)[1], "it"
	known := map[string]bool{}
	for _, t := range e.types.objects {
		for column := range t.object {
			known[column] = true
		}
	}
	ast.PreOrderVisit(root.Expr(), ast.NewExprVisitor(func(x ast.Expr) {
		if x.ID() != err.ExprID || x.Kind() != ast.SelectKind {
			return
		}
		path := bare(x.AsSelect().Operand())
		if path == nil {
			return
		}
		i.Of = strings.Join(path, ".")
		if t, ok := e.types.objects["{"+i.Of+"}"]; ok {
			known = map[string]bool{}
			for column := range t.object {
				known[column] = true
			}
		}
		// CEL points at the dot; the name is what is wrong.
		i.Col++
	}))
	names := slices.Sorted(maps.Keys(known))
	i.Message = fmt.Sprintf("%s has no column %q", i.Of, i.Name)
	i.Fix = didYouMean(i.Name, names)
}

func (e *Env) undeclared(i *Issue, name string) {
	i.Kind, i.Name = UnknownVar, name
	if e.cel.HasFunction(name) {
		i.Kind, i.Message = Mistyped, fmt.Sprintf("%s() cannot be called like this", name)
		return
	}
	switch name {
	case operators.Divide:
		i.Kind, i.Message, i.Fix = Mistyped, "there is no division by /, because a quotient is seldom exact", "divide(x, y, places) rounds half up"
		return
	case overloads.TypeConvertDouble:
		i.Kind, i.Message, i.Fix = Mistyped, "there is no double(), because numbers are exact", "use decimal(…)"
		return
	}
	i.Message = fmt.Sprintf("there is no %q here", name)
	if near := fault.Closest(name, slices.Collect(maps.Keys(e.cel.Functions()))); near != "" && len(name) > 3 {
		i.Fix = fmt.Sprintf("did you mean %s(…)?", near)
	}
	if near := fault.Closest(name, e.names); near != "" {
		i.Fix = fmt.Sprintf("did you mean %q?", near)
		return
	}
	for _, v := range e.names {
		if _, ok := e.declared[v].object[name]; ok {
			i.Fix = fmt.Sprintf("did you mean %s.%s?", v, name)
			return
		}
	}
	if i.Fix == "" && len(e.names) == 0 {
		i.Fix = "text stands in quotes"
	}
	if i.Fix == "" {
		i.Fix = "known: " + strings.Join(e.names, ", ") + "; text stands in quotes"
	}
}

func didYouMean(name string, known []string) string {
	if near := fault.Closest(name, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(known) == 0 {
		return ""
	}
	const most = 12
	if len(known) > most {
		known = append(slices.Clone(known[:most]), "…")
	}
	return "known: " + strings.Join(known, ", ")
}

func operator(name string) string {
	if symbol, ok := operators.FindReverse(name); ok && symbol != "" {
		return symbol
	}
	switch name {
	case operators.Conditional:
		return "?:"
	case operators.Index:
		return "[]"
	case operators.In:
		return "in"
	case sortByKeys:
		return "sortBy()"
	}
	return strings.Trim(name, "_") + "()"
}

// typeNames replaces the names of types that only this package knows.
func typeNames(s string) string {
	return typeName.ReplaceAllStringFunc(s, func(m string) string {
		if strings.HasPrefix(m, "{") {
			return "row"
		}
		return typeName.FindStringSubmatch(m)[1]
	})
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
