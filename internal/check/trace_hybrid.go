package check

import (
	"slices"

	"patchbay/internal/flow"
)

// What the values of a hybrid flow go to besides systems.
var (
	deciding  = sink{what: "the decision"}
	reviewers = sink{what: "people who review"}
)

// hybrid follows what each source gives to the sources after it, to the calculators, the rules,
// the people who review, the answer and what is written.
func (t *tracer) hybrid(p *flow.Plan) {
	s := &stepTracer{tracer: t, vars: scope{"params": variable{columns: map[string][]origin{}}, "steps": {nested: map[string]variable{}}}, rows: map[string]variable{}}
	for i := range p.Saga.Tasks {
		switch task := &p.Saga.Tasks[i]; task.Kind() {
		case flow.TaskCollect:
			s.collects(task)
		case flow.TaskCalculate:
			place := []string{"calculate", task.Name, "with"}
			s.columns(task.Map, s.vars, place, sink{what: "a computation by " + task.Calculate.Function})
			gave := variable{}
			for _, c := range task.Map {
				gave.always = append(gave.always, known(s.vars.of(c.Expr), step{task.Name, place})...)
			}
			s.gave(task.Name, gave)
		case flow.TaskDecide:
			s.decides(p)
		case flow.TaskWrite:
			w := task.Write
			to := sink{connection: w.Connection, table: w.Table}
			s.write(*w, task.Map, []string{"map"}, []string{"write", "to"}, []string{"write", "key"})
			s.columns(task.Map, s.vars, []string{"map"}, to)
			s.emit(to, true, step{"when", []string{"write", "when"}}, s.vars.of(task.When))
		case flow.TaskRead, flow.TaskFlow, flow.TaskAwait, flow.TaskEmit, flow.TaskLegs, flow.TaskRequire, flow.TaskReview:
		}
	}
	s.columns(p.Saga.Answer, s.vars, []string{"answer"}, asker)
}

func (s *stepTracer) collects(task *flow.Task) {
	r, place := task.Read, func(names ...string) []string { return append([]string{"collect", task.Name}, names...) }
	to := sink{connection: r.Connection, table: r.Table}
	s.names(r.Connection, r.Table, Reads, place("from")...)
	gave := columnsOf(r.Connection, r.Table, r.Select, step{"select", place("select")})
	s.tracer.columns(gave)
	for _, m := range r.Where {
		s.emit(to, false, step{"where", place("where", m.Column)}, s.vars.of(m.Expr))
	}
	for _, c := range task.Collect.Substitute {
		via := step{"substitute." + c.Name, place("substitute", c.Name)}
		gave.columns[c.Name] = append(slices.Clone(gave.columns[c.Name]), known(s.vars.of(c.Expr), via)...)
	}
	s.gave(task.Name, gave)
}

// decides follows figures to the decision and to people. What is decided depends on all that the
// rules look at.
func (s *stepTracer) decides(p *flow.Plan) {
	outcome := variable{}
	look := func(source, name string, to sink) {
		if source == "" {
			return
		}
		via := step{name, []string{name}}
		s.emit(to, true, via, s.vars.of(source))
		if to == deciding {
			outcome.always = append(outcome.always, known(s.vars.of(source), via)...)
		}
	}
	for _, r := range p.Decide.Require {
		look(r.That, "require", deciding)
	}
	for _, r := range p.Decide.Rules {
		look(r.When, "decide", deciding)
		look(r.Factors, "decide", deciding)
	}
	if p.Review != nil {
		look(p.Review.FourEyes, "review", reviewers)
		look(p.Review.Conflicts, "review", reviewers)
		s.columns(p.Review.Show, s.vars, []string{"review", "show"}, reviewers)
	}
	s.gave(flow.DecisionStep, outcome)
}
