package expr

import (
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// Uses gives the columns of a variable that the expression names, in order; whole says
// that it also uses the variable as one value, so that any column may matter.
func (p *Program) Uses(variable string) (columns []string, whole bool) {
	u := p.uses[variable]
	return u.columns, u.whole
}

// Never reports whether a condition does not hold of any record that has these
// values, whatever its other columns are; the record before the change is not known.
// It may be false where a proof would be harder.
func (p *Program) Never(values map[string]any) bool {
	row, was := p.uses["row"], p.uses["was"]
	if row.whole || was.whole || len(was.tested) > 0 {
		return false
	}
	for _, c := range row.tested { // absent here is not absent there
		if _, known := values[c]; !known {
			return false
		}
	}
	// Of a column that is not there CEL makes an error, and false && error is false.
	v, err := p.Eval(map[string]any{"row": values, "was": map[string]any{}})
	return err == nil && v != true
}

// Constant gives the value of an expression that no variable has a part in.
func (p *Program) Constant() (any, bool) {
	if len(p.uses) > 0 {
		return nil, false
	}
	v, err := p.Eval(map[string]any{})
	return v, err == nil && v != Absent
}

// usage is what an expression takes of one variable.
type usage struct {
	columns []string
	tested  []string // that it asks the presence of
	whole   bool
}

// usages finds what is taken of each variable: row.a, row.?a, row["a"], has(row.a),
// "a" in row. Whatever else a variable stands in uses all of it.
func usages(root ast.Expr) map[string]usage {
	out := map[string]usage{}
	counted := map[int64]bool{} // identifiers whose column is known
	column := func(of ast.Expr, name string, tested bool) {
		if of.Kind() != ast.IdentKind {
			return
		}
		counted[of.ID()] = true
		u := out[of.AsIdent()]
		if !slices.Contains(u.columns, name) {
			u.columns = append(u.columns, name)
			slices.Sort(u.columns)
		}
		if tested {
			u.tested = append(u.tested, name)
		}
		out[of.AsIdent()] = u
	}
	ast.PreOrderVisit(root, ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.SelectKind:
			column(e.AsSelect().Operand(), e.AsSelect().FieldName(), e.AsSelect().IsTestOnly())
		case ast.CallKind:
			args := e.AsCall().Args()
			if len(args) != 2 {
				return
			}
			switch e.AsCall().FunctionName() {
			case operators.OptSelect, operators.Index, operators.OptIndex:
				if name, ok := literalText(args[1]); ok {
					column(args[0], name, e.AsCall().FunctionName() != operators.Index)
				}
			case operators.In:
				if name, ok := literalText(args[0]); ok {
					column(args[1], name, true)
				}
			}
		case ast.IdentKind:
			if u := out[e.AsIdent()]; !counted[e.ID()] && !u.whole {
				u.whole = true
				out[e.AsIdent()] = u
			}
		}
	}))
	return out
}
