package expr

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
	paths   [][]string
}

// Element and Presence stand in the paths of Takes for any entry of a list, and for
// whether a value is there or how many there are.
const (
	Element  = "[]"
	Presence = "#"
)

// Takes gives the paths below a variable whose values the expression depends on, each
// once and in order: of orders.filter(o, o.Status != "C").map(o, o.Amount) these are
// [] Status and [] Amount, and of size(orders) it is #. An empty path is the variable as
// one value.
func (p *Program) Takes(variable string) [][]string { return p.uses[variable].paths }
