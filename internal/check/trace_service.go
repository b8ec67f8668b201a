package check

import (
	"fmt"
	"maps"
	"slices"

	"patchbay/internal/flow"
)

// service follows what each step reads and writes to the steps after it, to the flows that
// it calls and to the answer.
func (t *tracer) service(p *flow.Plan) {
	params := variable{columns: map[string][]origin{}}
	s := &stepTracer{tracer: t, vars: scope{"params": params, "steps": {nested: map[string]variable{}}}, rows: map[string]variable{}}
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
			t.emit(asker, false, at("the row as it is", "steps"), known(last.columns[name]))
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
		s.names(r.Connection, r.Table, Reads, below("call")...)
		gave = columnsOf(r.Connection, r.Table, r.Select, step{"select", below("select")})
		s.tracer.columns(gave)
		for _, m := range r.Where { // the system hears what it is asked for, and the caller what is there
			via := step{"where", below("where", m.Column)}
			s.emit(to, false, via, vars.of(m.Expr))
			s.emit(asker, true, via, []origin{{cell: cell{connection: r.Connection, table: r.Table, column: m.Column}}})
		}
	case flow.TaskWrite:
		w := task.Write
		to = sink{connection: w.Connection, table: w.Table}
		s.write(*w, task.Map, below("with"), below("call"), below("key"))
		if task.Each != "" {
			vars = maps.Clone(vars)
			vars["item"] = s.each(task.Each, vars, below("each"))
		}
		s.columns(task.Map, vars, below("with"), to)
		for _, c := range task.Map {
			gave.columns[c.Name] = known(vars.of(c.Expr), step{"with." + c.Name, below("with", c.Name)})
		}
		returned := columnsOf(w.Connection, w.Table, task.Returns, step{"returns", below("returns")})
		s.tracer.columns(returned)
		maps.Copy(gave.columns, returned.columns)
		s.written(*w, task.Undo, below("undo"))
		undo := maps.Clone(vars)
		undo["row"] = gave
		s.columns(task.Undo, undo, below("undo"), to)
	case flow.TaskFlow:
		to = sink{what: "a call of the flow " + task.Flow}
		s.note(use{called: task.Flow, how: Calls, at: below("call")})
		s.columns(task.Map, vars, below("with"), to)
	case flow.TaskAwait: // what it looks for stays with us; nobody knows where an event is from
		s.takes(step{"when", below("when")}, vars.of(task.When))
		for _, m := range task.Await.Where {
			s.takes(step{"where", below("where", m.Column)}, vars.of(m.Expr))
		}
		for _, c := range task.Await.Otherwise {
			gave.columns[c.Name] = known(vars.of(c.Expr), step{"otherwise." + c.Name, below("otherwise", c.Name)})
		}
		s.gave(task.Name, gave)
		return
	case flow.TaskEmit:
		to = told(task.Emit)
		s.columns(task.Map, vars, below("with"), to)
		for _, c := range task.Map {
			gave.columns[c.Name] = known(vars.of(c.Expr), step{"with." + c.Name, below("with", c.Name)})
		}
	case flow.TaskCollect, flow.TaskRequire, flow.TaskCalculate, flow.TaskDecide, flow.TaskReview: // of hybrids alone
	case flow.TaskLegs:
		s.takes(step{"when", below("when")}, s.vars.of(task.When))
		return
	}
	s.emit(to, true, step{"when", below("when")}, s.vars.of(task.When))
	s.gave(task.Name, gave)
}

// gave makes the rows of a step known to those after it.
func (s *stepTracer) gave(name string, row variable) {
	s.rows[name] = row
	s.vars["steps"].nested[name] = variable{columns: map[string][]origin{"count": nil, "state": nil}, nested: map[string]variable{"row": row, "rows": row}}
}

// each gives the variable item: the rows of a step where each only names them, else all
// that it is made of.
func (s *stepTracer) each(each string, vars scope, place []string) variable {
	if p := vars.program(each); p != nil {
		if path, bare := p.Path(); bare && len(path) == 3 && path[0] == "steps" && path[2] == "rows" {
			if rows, is := s.rows[path[1]]; is {
				return rows
			}
		}
	}
	via := step{"each", place}
	s.takes(via, vars.of(each))
	return variable{always: known(vars.of(each), via)}
}

// columns follows columns to a sink.
func (s *stepTracer) columns(list []flow.Column, vars scope, place []string, to sink) {
	for _, c := range list {
		path := append(slices.Clone(place), c.Name)
		s.emit(column(to, c.Name), false, step{path[len(path)-2] + "." + c.Name, path}, vars.of(c.Expr))
	}
}
