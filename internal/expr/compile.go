package expr

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
)

type (
	// Issue is one mistake in an expression.
	Issue struct {
		Line, Col int // in the source, both from 1; columns count characters
		Kind      Kind
		Message   string // what is wrong, one sentence without a full stop
		Fix       string // what to write instead; may be empty
		Name      string // the unknown column or name, for Column and Name
		Of        string // what has no such column, for example "row"; for Column
	}

	// Kind says what sort of mistake an Issue is.
	Kind string
)

// The kinds of mistakes.
const (
	Syntax     Kind = "syntax"
	Mistyped   Kind = "type"
	UnknownVar Kind = "name"
	Column     Kind = "column"
	Costly     Kind = "cost"
	Regex      Kind = "regex"
)

// Program is a compiled expression.
type Program struct {
	source string
	path   []string // of a bare selection, which needs no CEL
	uses   map[string]usage
	prog   cel.Program
	result Type
}

// Type is what the expression gives.
func (p *Program) Type() Type { return p.result }

// Path is the way from a variable to a value where the expression only selects, such as
// row.a.b: its value is handed on unchanged, so it may also be copied without CEL. ok is
// false for any other expression.
func (p *Program) Path() (path []string, ok bool) { return slices.Clone(p.path), p.path != nil }

// Compile checks source against the variables of the Env and against the type of
// the place its result goes to; Anything accepts every JSON value. Every mistake
// found is reported; the Program is nil if there is one.
func (e *Env) Compile(source string, want Type) (*Program, []Issue) {
	if n := len([]rune(source)); n > maxSource {
		return nil, []Issue{{Line: 1, Col: 1, Kind: Costly, Message: fmt.Sprintf("the expression is longer than %d characters", maxSource)}}
	}
	parsed, iss := e.cel.Parse(source)
	if iss.Err() != nil {
		return nil, e.issues(nil, iss)
	}
	root := parsed.NativeRep()
	bad := regexes(root)
	exactLiterals(root, source)
	checked, iss := e.cel.Check(parsed)
	for range maxWidenings {
		if iss.Err() == nil || !widen(root, iss) {
			break
		}
		checked, iss = e.cel.Check(parsed)
	}
	if iss.Err() != nil {
		return nil, append(bad, e.issues(root, iss)...)
	}
	bad = append(bad, keys(checked.NativeRep())...)
	result := e.types.named(checked.OutputType())
	if i := mismatch(result, checked.OutputType(), want); i != nil {
		bad = append(bad, *i)
	}
	estimate, err := e.cel.EstimateCost(checked, sizes{})
	if err == nil && estimate.Max > Budget {
		bad = append(bad, Issue{
			Line: 1, Col: 1, Kind: Costly,
			Message: fmt.Sprintf("the expression may cost more than %d for lists of %d and text of %d characters", Budget, assumedList, assumedText),
			Fix:     "nest fewer loops over lists",
		})
	}
	if len(bad) > 0 {
		return nil, bad
	}
	prog, err := e.cel.Program(checked, cel.CostLimit(Budget), cel.CostTracking(charge{}))
	if err != nil {
		return nil, []Issue{{Line: 1, Col: 1, Kind: Mistyped, Message: "the expression cannot be planned: " + err.Error()}}
	}
	return &Program{source: source, path: bare(root.Expr()), uses: usages(root.Expr()), prog: prog, result: result}, nil
}

// maxWidenings bounds how often an expression is checked again; each round
// widens every place that the round before has uncovered.
const maxWidenings = 8

// widen wraps the ints of a comparison or a choice between an int and a decimal
// in decimal(…), and reports whether there were any. CEL declares these
// operators for two operands of one type and lets nobody add to that.
func widen(root *ast.AST, iss *cel.Issues) bool {
	ints := map[int64][]int{} // call → arguments to wrap
	for _, err := range iss.Errors() {
		m := noOverload.FindStringSubmatch(err.Message)
		if m == nil || m[1] != operators.Equals && m[1] != operators.NotEquals && m[1] != operators.Conditional {
			continue
		}
		args := strings.Split(strings.Trim(typeNames(m[2]), "()"), ", ")
		if !slices.Contains(args, decimalType.TypeName()) {
			continue
		}
		for i, t := range args {
			if t == "int" {
				ints[err.ExprID] = append(ints[err.ExprID], i)
			}
		}
	}
	fac, next := ast.NewExprFactory(), ast.MaxID(root)
	ast.PreOrderVisit(root.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		wrap := ints[e.ID()]
		if e.Kind() != ast.CallKind || wrap == nil {
			return
		}
		args := slices.Clone(e.AsCall().Args())
		for _, i := range wrap {
			at, _ := root.SourceInfo().GetOffsetRange(args[i].ID())
			next++
			root.SourceInfo().SetOffsetRange(next, at)
			args[i] = fac.NewCall(next, "decimal", args[i])
		}
		e.SetKindCase(fac.NewCall(e.ID(), e.AsCall().FunctionName(), args...))
	}))
	return len(ints) > 0
}

// bare gives the path of an expression that only selects, such as row.a.b; nil
// for any other.
func bare(e ast.Expr) []string {
	switch e.Kind() {
	case ast.IdentKind:
		return []string{e.AsIdent()}
	case ast.SelectKind:
		if s := e.AsSelect(); !s.IsTestOnly() {
			if path := bare(s.Operand()); path != nil {
				return append(path, s.FieldName())
			}
		}
	}
	return nil
}

// exactLiterals replaces every literal with a fraction or an exponent, which CEL
// has rounded already, by decimal("its own text").
func exactLiterals(root *ast.AST, source string) {
	fac := ast.NewExprFactory()
	next := ast.MaxID(root)
	runes := []rune(source)
	ast.PreOrderVisit(root.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.LiteralKind {
			return
		}
		if _, ok := e.AsLiteral().(types.Double); !ok {
			return
		}
		at, ok := root.SourceInfo().GetOffsetRange(e.ID())
		if !ok || int(at.Start) > len(runes) {
			return
		}
		text := strings.Join(strings.Fields(literal.FindString(string(runes[at.Start:]))), "")
		next++
		root.SourceInfo().SetOffsetRange(next, at)
		e.SetKindCase(fac.NewCall(e.ID(), "decimal", fac.NewLiteral(next, types.String(text))))
	}))
}

var literal = regexp.MustCompile(`^-?\s*[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?`)

// regexes checks every pattern of matches(): it must be written out, so that it
// can be checked here and cannot come from a row.
func regexes(root *ast.AST) []Issue {
	var out []Issue
	ast.PreOrderVisit(root.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != overloads.Matches {
			return
		}
		args := e.AsCall().Args()
		if len(args) == 0 {
			return
		}
		pattern := args[len(args)-1]
		at := root.SourceInfo().GetStartLocation(leftmost(pattern).ID())
		i := Issue{Line: at.Line(), Col: at.Column() + 1, Kind: Regex}
		switch text, ok := literalText(pattern); {
		case !ok:
			i.Message, i.Fix = "the pattern of matches() is not written out", "write the pattern as text in quotes"
		case len([]rune(text)) > MaxRegex:
			i.Message = fmt.Sprintf("the pattern is longer than %d characters", MaxRegex)
		default:
			_, err := regexp.Compile(text)
			if err == nil {
				return
			}
			i.Message, i.Fix = "the pattern is no regular expression: "+strings.TrimPrefix(err.Error(), "error parsing regexp: "), "RE2 syntax is understood"
		}
		out = append(out, i)
	}))
	return out
}

// keys checks the keys of every object that is written out: JSON has text for keys
// and nothing else. A key of unknown type is checked when it is there.
func keys(root *ast.AST) []Issue {
	var out []Issue
	ast.PreOrderVisit(root.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.MapKind {
			return
		}
		for _, entry := range e.AsMap().Entries() {
			key := entry.AsMapEntry().Key()
			switch root.GetType(key.ID()).Kind() {
			case types.StringKind, types.DynKind, types.AnyKind, types.TypeParamKind:
				continue
			}
			at := root.SourceInfo().GetStartLocation(leftmost(key).ID())
			out = append(out, Issue{Line: at.Line(), Col: at.Column() + 1, Kind: Mistyped,
				Message: "a key of an object is of type " + typeNames(root.GetType(key.ID()).String()) + ", where text is due", Fix: "write the key in quotes, or wrap it in string(…)"})
		}
	}))
	return out
}

// leftmost is the part of e that stands first; CEL places a selection at its dot.
func leftmost(e ast.Expr) ast.Expr {
	for e.Kind() == ast.SelectKind {
		e = e.AsSelect().Operand()
	}
	return e
}

func literalText(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

// mismatch compares what an expression gives with the place it goes to. A value
// of unknown type is checked when it is there.
func mismatch(got Type, celType *cel.Type, want Type) *Issue {
	i := &Issue{Line: 1, Col: 1, Kind: Mistyped}
	switch celType.Kind() {
	case types.TypeKind, types.BytesKind, types.UintKind, types.DoubleKind:
		i.Message = "the expression gives a " + celType.TypeName() + ", which JSON cannot carry"
		return i
	case types.DynKind, types.AnyKind, types.NullTypeKind, types.TypeParamKind:
		return nil
	}
	kind := func(t Type) string {
		switch s := t.String(); s {
		case "date", "timestamp":
			return "string"
		default:
			return s
		}
	}
	g, w := kind(got), kind(want)
	if g == w || w == "any" || g == "any" || w == "decimal" && g == "int" {
		return nil
	}
	i.Message = fmt.Sprintf("the expression gives a %s where a %s is due", g, w)
	switch {
	case w == "string" && (g == "int" || g == "decimal" || g == "bool"):
		i.Fix = "wrap it in string(…)"
	case w == "int" && (g == "string" || g == "decimal"):
		i.Fix = "wrap it in int(…)"
	case w == "decimal" && g == "string":
		i.Fix = "wrap it in decimal(…)"
	}
	return i
}
