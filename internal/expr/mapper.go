package expr

import (
	"encoding/json"
	"fmt"
	"maps"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// The codes of the faults of a mapping.
const (
	CodeKeyMissing = "map.key_missing"
	CodeEach       = "map.each"
	CodeRows       = "limits.rows"
)

type (
	// Mapper applies the expressions of one plan: it makes the conditions of the
	// read from the parameters, and target rows from source rows. Activities and
	// flow tests use the same Mapper, so a test proves what a run does.
	//
	// It is a pure function of its inputs. Build it once a plan: compiling costs
	// milliseconds, mapping a row microseconds.
	Mapper struct {
		where   []column
		each    *Program // nil: one target row a source row
		columns []column // nil: rows pass as they are
		key     []string
		limit   int                           // 0 is none
		inputs  func(flow.Row) map[string]any // what the expressions know besides row and item
	}

	// Match is one condition of a read: Column equals Value.
	Match struct {
		Column string
		Value  any
	}

	column struct {
		name string
		prog *Program
	}
)

// NewMapper compiles the expressions of a plan. An expression that does not
// compile is a Bug: flowfile has compiled it before.
func NewMapper(p *flow.Plan) (*Mapper, error) {
	vars := []Var{{Name: "params", Type: Params(p.Params)}, {Name: "row"}, {Name: "item"}}
	m := &Mapper{limit: p.Limits.Rows, inputs: func(params flow.Row) map[string]any { return map[string]any{"params": params} }}
	if p.Pattern == flow.Service || p.Pattern == flow.Hybrid { // the plan of one task: what it is given are all its variables, see Inputs
		vars = append(vars, Var{Name: "steps"})
		m.inputs = func(in flow.Row) map[string]any { return maps.Clone(in) }
	}
	env, err := New(vars...)
	if err != nil {
		return nil, err
	}
	if p.Read != nil {
		for _, w := range p.Read.Where {
			prog, err := mustCompile(env, p.Flow, w.Expr)
			if err != nil {
				return nil, err
			}
			m.where = append(m.where, column{w.Column, prog})
		}
	}
	if p.Each != "" {
		if m.each, err = mustCompile(env, p.Flow, p.Each); err != nil {
			return nil, err
		}
	}
	for _, c := range p.Map {
		prog, err := mustCompile(env, p.Flow, c.Expr)
		if err != nil {
			return nil, err
		}
		m.columns = append(m.columns, column{c.Name, prog})
	}
	if p.Write != nil {
		m.key = p.Write.Key
	}
	return m, nil
}

// Inputs are what the expressions of a task of a service know, in the place of params.
func Inputs(params, steps flow.Row) flow.Row { return flow.Row{"params": params, "steps": steps} }

// Params is the type of the variable params of a flow.
func Params(params []flow.Param) Type {
	columns := make(map[string]Type, len(params))
	for _, p := range params {
		columns[p.Name] = Scalar(p.Type)
	}
	return Object(columns)
}

func mustCompile(env *Env, name, source string) (*Program, error) {
	p, issues := env.Compile(source, Anything)
	if p == nil {
		return nil, fault.New(fault.Bug, "bug.plan", fmt.Sprintf("an expression of the plan of %s does not compile: %s", name, issues[0].Message), nil)
	}
	return p, nil
}

// Where evaluates the conditions of the read, in the order of the plan. A value
// that is null or absent would read everything or nothing, and is refused.
func (m *Mapper) Where(params flow.Row) ([]Match, error) {
	vars := m.inputs(params)
	out := make([]Match, len(m.where))
	for i, c := range m.where {
		v, err := c.prog.Eval(vars)
		if err != nil {
			return nil, fmt.Errorf("evaluating the condition on %s: %w", c.name, err)
		}
		switch v.(type) {
		case string, bool, json.Number:
		default:
			return nil, fault.New(fault.Rejected, CodeType, "the condition on "+c.name+" compares with no text, number or boolean", nil)
		}
		out[i] = Match{c.name, v}
	}
	return out, nil
}

// Map makes target rows of source rows, in their order. A failure names the
// source row, from 0, and the column.
func (m *Mapper) Map(params flow.Row, rows []flow.Row) ([]flow.Row, error) {
	out := make([]flow.Row, 0, len(rows))
	vars := m.inputs(params)
	for i, row := range rows {
		vars["row"] = row
		items, err := m.items(vars, i)
		if err != nil {
			return nil, err
		}
		for j, item := range items {
			if m.each != nil {
				vars["item"] = item
			}
			target, err := m.one(vars, place{row: i, item: j, each: m.each != nil})
			if err != nil {
				return nil, err
			}
			if out = append(out, target); m.limit > 0 && len(out) > m.limit {
				return nil, fault.New(fault.Rejected, CodeRows, fmt.Sprintf("there are more than %d rows, the limit of the flow", m.limit), nil)
			}
		}
	}
	return out, nil
}

// items are what a source row is split into. A null list holds none.
func (m *Mapper) items(vars map[string]any, row int) ([]any, error) {
	if m.each == nil {
		return []any{nil}, nil
	}
	v, err := m.each.Eval(vars)
	if err != nil {
		return nil, fmt.Errorf("splitting row %d: %w", row, err)
	}
	switch v := v.(type) {
	case nil:
		return nil, nil
	case []any:
		return v, nil
	}
	return nil, fault.New(fault.Rejected, CodeEach, fmt.Sprintf("each is no list in row %d", row), nil)
}

func (m *Mapper) one(vars map[string]any, at place) (flow.Row, error) {
	target, err := m.columnsOf(vars, at)
	if err != nil {
		return nil, err
	}
	for _, k := range m.key {
		if v, ok := target[k]; !ok || v == nil {
			return nil, fault.New(fault.Rejected, CodeKeyMissing, fmt.Sprintf("the key column %s of %s is empty", k, at), nil).
				With(fault.Field{Path: k, Code: "field.required", Detail: "a row without its key cannot be written", Fix: "leave such rows out with a filter in each"})
		}
	}
	return target, nil
}

func (m *Mapper) columnsOf(vars map[string]any, at place) (flow.Row, error) {
	if m.columns == nil {
		source := vars["row"]
		if m.each != nil {
			source = vars["item"]
		}
		row, ok := source.(flow.Row)
		if !ok {
			return nil, fault.New(fault.Rejected, CodeEach, fmt.Sprintf("%s has no columns", at), nil)
		}
		return row, nil
	}
	target := make(flow.Row, len(m.columns))
	for _, c := range m.columns {
		v, err := c.prog.Eval(vars)
		if err != nil {
			f := fault.Of(err)
			text := fmt.Sprintf("mapping %s of %s: %s", c.name, at, f.Text)
			return nil, fault.New(f.Class, f.Code, text, err).With(f.Fields...)
		}
		if v != Absent {
			target[c.name] = v
		}
	}
	return target, nil
}

// place names a source row in messages, by number and never by content.
type place struct {
	row, item int
	each      bool
}

func (p place) String() string {
	if p.each {
		return fmt.Sprintf("row %d, item %d", p.row, p.item)
	}
	return fmt.Sprintf("row %d", p.row)
}
