package expr

import (
	"slices"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// The variables of a consolidation besides its sources.
const (
	VarKey  = "key"
	VarAsOf = "asof"
)

type (
	// Keyer gives the key that rows of one source are joined by.
	Keyer struct {
		column int // of a bare column; -1: any other expression
		prog   *Program
		uses   []string
		record *Record
		scope  *Scope
	}

	// Gathered is the expressions of a consolidation's map, compiled.
	Gathered struct {
		Columns []GatheredColumn // in the order of the plan
		Scope   []string         // names of the variables: key, asof, then the sources in their order
	}

	// GatheredColumn is one target column.
	GatheredColumn struct {
		Name string
		Prog *Program
		// Path is set where the expression only selects: key, or a column of a source
		// that has one row a key. Its value is the cell as it stands.
		Path []string
		// Uses are the sources that the value depends on, in the order of the plan.
		Uses []string
	}
)

// GatherVars declares the variables of a consolidation's map: key, asof, and each
// source by its name, one row or null, or the list of its rows.
func GatherVars(g *flow.Gather) []Var {
	asof := map[string]Type{}
	for _, s := range g.Sources {
		asof[s.Name] = Scalar(flow.Timestamp)
	}
	vars := []Var{{Name: VarKey, Type: Scalar(flow.String)}, {Name: VarAsOf, Type: Object(asof)}}
	for _, s := range g.Sources {
		t := shaped(s)
		if !s.One {
			t = List(t)
		}
		vars = append(vars, Var{Name: s.Name, Type: t})
	}
	return vars
}

// RowVars declares the variable of a source's key.
func RowVars(s flow.Source) []Var { return []Var{{Name: "row", Type: shaped(s)}} }

// Gather compiles the map of a consolidation. An expression that does not compile is a
// Bug: flowfile has compiled it before.
func Gather(p *flow.Plan) (*Gathered, error) {
	env, err := New(GatherVars(p.Gather)...)
	if err != nil {
		return nil, err
	}
	g := &Gathered{Scope: env.names}
	one := map[string]bool{}
	for _, s := range p.Gather.Sources {
		one[s.Name] = s.One
	}
	for _, c := range p.Map {
		prog, err := mustCompile(env, p.Flow, c.Expr)
		if err != nil {
			return nil, err
		}
		column := GatheredColumn{Name: c.Name, Prog: prog}
		if path := prog.path; len(path) == 1 && path[0] == VarKey || len(path) == 2 && one[path[0]] {
			column.Path = path
		}
		times, all := prog.Uses(VarAsOf)
		for _, s := range p.Gather.Sources {
			if _, uses := prog.uses[s.Name]; uses || all || slices.Contains(times, s.Name) {
				column.Uses = append(column.Uses, s.Name)
			}
		}
		g.Columns = append(g.Columns, column)
	}
	return g, nil
}

// Timed reports whether a value depends on when a source was read, so that it differs
// from run to run.
func (g *Gathered) Timed() bool {
	return slices.ContainsFunc(g.Columns, func(c GatheredColumn) bool { return c.Prog.uses[VarAsOf].whole || c.Prog.uses[VarAsOf].columns != nil })
}

// NewKeyer compiles the key of a source.
func NewKeyer(name string, s flow.Source) (*Keyer, error) {
	env, err := New(RowVars(s)...)
	if err != nil {
		return nil, err
	}
	prog, err := mustCompile(env, name, s.Key)
	if err != nil {
		return nil, err
	}
	k := &Keyer{column: -1, prog: prog, record: NewShape(s.Select).Record(nil), scope: NewScope("row")}
	if path := prog.path; len(path) == 2 && path[0] == "row" {
		k.column = slices.Index(s.Select, path[1])
	}
	columns, whole := prog.Uses("row")
	if k.uses = columns; whole {
		k.uses = s.Select
	}
	k.scope.Set(0, k.record)
	return k, nil
}

// Within reports whether the key depends on no other columns than these, so that rows
// that agree in them have one key.
func (k *Keyer) Within(columns []string) bool {
	return !slices.ContainsFunc(k.uses, func(c string) bool { return !slices.Contains(columns, c) })
}

// Append adds the key of a row to dst. Its failure is as of an event's key: missing,
// null, empty, too long, or neither text nor a number. It is not for use by several at
// a time.
func (k *Keyer) Append(dst []byte, cells [][]byte) ([]byte, error) {
	if k.column >= 0 {
		cell := cells[k.column]
		switch {
		case cell == nil:
			return dst, missingFault("row." + k.prog.path[1])
		case cell[0] == '"' && len(cell) > 2 && len(cell) <= maxKey:
			if text, plain := plainText(cell); plain {
				return append(dst, text...), nil
			}
		}
		v, err := plain(cellValue(cell))
		if err != nil {
			return dst, rejectedType(err)
		}
		text, err := KeyText(v, "the key")
		return append(dst, text...), err
	}
	k.record.Set(cells)
	out, _, err := k.prog.prog.Eval(k.scope)
	if err != nil {
		return dst, k.prog.failure(err)
	}
	v, err := plain(out)
	if err != nil {
		return dst, rejectedType(err)
	}
	text, err := KeyText(v, "the key")
	return append(dst, text...), err
}

// Conditions evaluates what a source's rows must equal; no variable has a part in it.
func Conditions(name string, s flow.Source) ([]Match, error) {
	env, err := New()
	if err != nil {
		return nil, err
	}
	out := make([]Match, len(s.Where))
	for i, w := range s.Where {
		prog, err := mustCompile(env, name, w.Expr)
		if err != nil {
			return nil, err
		}
		v, known := prog.Constant()
		if !known {
			return nil, fault.New(fault.Bug, "bug.plan", "the condition on "+w.Column+" is no constant", nil)
		}
		out[i] = Match{w.Column, v}
	}
	return out, nil
}
