package check

import (
	"fmt"
	"maps"
	"slices"

	"patchbay/internal/flow"
)

// service follows what each step reads and writes to the steps after it, to the flows that
// it calls and to the answer. A mixed expression of a step's values may hold all of them.
func (t *tracer) service(p *flow.Plan) {
	params := variable{columns: map[string][]origin{}}
	s := &stepTracer{tracer: t, vars: scope{"params": params, "steps": {columns: map[string][]origin{}}}, rows: map[string]variable{}}
	for i := range p.Saga.Tasks {
		task := &p.Saga.Tasks[i]
		place := []string{"steps", fmt.Sprintf("[%d]", i)}
		s.task(task, place)
		for _, leg := range task.Legs {
			for j := range leg.Tasks {
				s.task(&leg.Tasks[j], append(slices.Clone(place), "legs", leg.Name, fmt.Sprintf("[%d]", j)))
			}
		}
	}
	last := variable{}
	if n := len(p.Saga.Tasks); n > 0 {
		last = s.rows[p.Saga.Tasks[n-1].Name]
	}
	if len(p.Saga.Answer) == 0 {
		for _, name := range slices.Sorted(maps.Keys(last.columns)) {
			t.emit(asker, false, at("the row as it is", "steps"), last.columns[name])
		}
		return
	}
	s.columns(p.Saga.Answer, s.vars, []string{"answer"}, asker)
}

// stepTracer knows what the steps before gave.
type stepTracer struct {
	*tracer
	vars scope
	rows map[string]variable // by step
}

func (s *stepTracer) task(task *flow.Task, place []string) {
	below := func(names ...string) []string { return append(slices.Clone(place), names...) }
	vars, gave := s.vars, variable{columns: map[string][]origin{}}
	var to sink
	switch task.Kind() {
	case flow.TaskRead:
		r := task.Read
		to = sink{connection: r.Connection, table: r.Table}
		gave = columnsOf(r.Connection, r.Table, r.Select, step{"select", below("select")})
		for _, m := range r.Where { // the system hears what it is asked for, and the caller what is there
			via := step{"where", below("where", m.Column)}
			s.emit(to, false, via, s.value(m.Expr, vars))
			s.emit(asker, true, via, []origin{{cell: cell{connection: r.Connection, table: r.Table, column: m.Column}}})
		}
	case flow.TaskWrite:
		w := task.Write
		to = sink{connection: w.Connection, table: w.Table}
		if task.Each != "" {
			vars = maps.Clone(vars)
			vars["item"] = variable{always: s.value(task.Each, vars)}
		}
		s.columns(task.Map, vars, below("with"), to)
		for _, c := range task.Map {
			gave.columns[c.Name] = s.value(c.Expr, vars)
		}
		for name, origins := range columnsOf(w.Connection, w.Table, task.Returns, step{"returns", below("returns")}).columns {
			gave.columns[name] = origins
		}
		undo := maps.Clone(vars)
		undo["row"] = gave
		s.columns(task.Undo, undo, below("undo"), to)
	case flow.TaskFlow:
		to = sink{what: "a call of the flow " + task.Flow}
		s.columns(task.Map, vars, below("with"), to)
	case flow.TaskLegs:
		return
	}
	s.emit(to, true, step{"when", below("when")}, s.value(task.When, s.vars))
	s.rows[task.Name] = gave
	s.vars["steps"].columns[task.Name] = gave.whole()
}

// columns follows columns to a sink.
func (s *stepTracer) columns(list []flow.Column, vars scope, place []string, to sink) {
	for _, c := range list {
		path := append(slices.Clone(place), c.Name)
		s.emit(column(to, c.Name), false, step{path[len(path)-2] + "." + c.Name, path}, s.value(c.Expr, vars))
	}
}

// value gives what an expression may hold: of steps.NAME.row.COLUMN that column alone.
func (s *stepTracer) value(source string, vars scope) []origin {
	if source == "" {
		return nil
	}
	if p := vars.program(source); p != nil {
		path, bare := p.Path()
		if bare && len(path) == 4 && path[0] == "steps" && path[2] == "row" {
			if row, known := s.rows[path[1]]; known {
				return row.take(path[3])
			}
		}
		if bare && len(path) == 3 && path[0] == "steps" && (path[2] == "count" || path[2] == "state") {
			return nil
		}
	}
	return vars.of(source)
}
