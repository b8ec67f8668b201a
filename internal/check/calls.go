package check

import (
	"fmt"
	"slices"
	"strings"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
)

// call is a step of one flow that runs another.
type call struct {
	task *flow.Task
	at   []string // as of flowfile.Find
}

// callsOf are the calls of a plan, with their places.
func callsOf(p *flow.Plan) []call {
	if p.Saga == nil {
		return nil
	}
	var out []call
	add := func(t *flow.Task, at ...string) {
		if t.Flow != "" {
			out = append(out, call{t, at})
		}
	}
	for i := range p.Saga.Tasks {
		t, place := &p.Saga.Tasks[i], fmt.Sprintf("[%d]", i)
		add(t, "steps", place)
		for _, leg := range t.Legs {
			for j := range leg.Tasks {
				add(&leg.Tasks[j], "steps", place, "legs", leg.Name, fmt.Sprintf("[%d]", j))
			}
		}
	}
	return out
}

// callsFit proves that each flow that is called exists, can be called, takes the parameters
// that it is given, and does not come back to its caller.
func callsFit(l Loaded) []flowfile.Diagnostic {
	if !l.Complete {
		return nil
	}
	plans := map[string]*flow.Plan{}
	var names []string
	for _, f := range l.Flows {
		plans[f.Plan.Flow] = f.Plan
		names = append(names, f.Plan.Flow)
	}
	slices.Sort(names)
	var out []flowfile.Diagnostic
	for _, f := range l.Flows {
		for _, c := range callsOf(f.Plan) {
			report := func(part, code, message, fix string) {
				line, col := flowfile.Find(f.File, append(slices.Clone(c.at), part)...)
				out = append(out, flowfile.Diagnostic{File: f.File.Name, Line: line, Col: col, Code: code, Severity: flowfile.Error, Message: message, Fix: fix})
			}
			target := plans[c.task.Flow]
			if target == nil {
				fix := "known: " + strings.Join(names, ", ")
				if near := fault.Closest(c.task.Flow, names); near != "" {
					fix = fmt.Sprintf("did you mean %q?", near)
				}
				report("call", flowfile.CodeUnknownRef, fmt.Sprintf("%s calls %q, and there is no such flow", c.task.Name, c.task.Flow), fix)
				continue
			}
			if target.Pattern != flow.Instant && target.Pattern != flow.Service {
				report("call", flowfile.CodeUnknownRef, fmt.Sprintf("%s calls %s, which is %s and takes no call", c.task.Name, c.task.Flow, target.Pattern), "call a flow of the pattern instant or service")
				continue
			}
			for _, given := range c.task.Map {
				if !slices.ContainsFunc(target.Params, func(p flow.Param) bool { return p.Name == given.Name }) {
					report("with", flowfile.CodeUnknownRef, fmt.Sprintf("%s takes no parameter %s", c.task.Flow, given.Name), "it takes: "+paramsOf(target))
				}
			}
			for _, p := range target.Params {
				given := slices.ContainsFunc(c.task.Map, func(m flow.Column) bool { return m.Name == p.Name })
				if !given && !p.Optional && p.Default == nil {
					report("with", flowfile.CodeRequired, fmt.Sprintf("%s needs the parameter %s", c.task.Flow, p.Name), "add "+p.Name+" to with")
				}
			}
			if path := back(plans, c.task.Flow, f.Plan.Flow, nil); path != nil {
				report("call", flowfile.CodeLoop, "the call comes back to its caller: "+strings.Join(append([]string{f.Plan.Flow}, path...), " → "), "break the circle")
			}
		}
	}
	return out
}

func paramsOf(p *flow.Plan) string {
	names := make([]string, len(p.Params))
	for i, one := range p.Params {
		names[i] = one.Name
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// back finds a way by calls and by events that start flows from one flow to another; nil when there is none.
func back(plans map[string]*flow.Plan, from, to string, seen []string) []string {
	seen = append(slices.Clone(seen), from)
	if from == to {
		return seen
	}
	if plans[from] == nil {
		return nil
	}
	next := started(plans, plans[from])
	for _, c := range callsOf(plans[from]) {
		next = append(next, c.task.Flow)
	}
	for _, name := range next {
		if slices.Contains(seen, name) && name != to {
			continue
		}
		if path := back(plans, name, to, seen); path != nil {
			return path
		}
	}
	return nil
}
