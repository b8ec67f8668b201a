package check

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"patchbay/internal/expr"
	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
)

// The codes of advice about the cut of flows. They are stable.
const (
	CodeMonolith = "flow.monolith" // a flow does more than one flow should
	CodeRepeated = "flow.repeated" // several flows do the same
)

// From here on a flow is said to be large; docs/impact.md gives the reasons.
const (
	manySystems = 6  // systems that one flow touches
	manySteps   = 16 // steps of a service, those of its legs included
	manySources = 9  // sources of a consolidation
	manySharing = 2  // steps in a row that another flow has too
)

// notTooLarge measures each flow, and says of a large one where it could be cut.
func notTooLarge(l Loaded) []flowfile.Diagnostic {
	if !l.Complete {
		return nil
	}
	r := &residency{identities: map[string]string{}, systems: map[string]string{}}
	r.group(l)
	var out []flowfile.Diagnostic
	for _, f := range l.Flows {
		p := f.Plan
		if p.Sync != nil { // one system in each region is what it is for
			continue
		}
		systems := map[string]bool{}
		for name := range p.Bindings {
			systems[r.system(name)] = true
		}
		steps, at := stepsOf(p)
		most := map[string]int{"steps": manySteps, "gather": manySources}[at]
		var why []string
		if len(systems) >= manySystems {
			why = append(why, fmt.Sprintf("touches %d systems (%s)", len(systems), strings.Join(slices.Sorted(maps.Keys(systems)), ", ")))
		}
		if most > 0 && steps >= most {
			what := "steps"
			if at == "gather" {
				what = "sources"
			}
			why = append(why, fmt.Sprintf("has %d %s", steps, what))
		}
		if len(why) == 0 {
			continue
		}
		line, col := flowfile.Find(f.File, "flow")
		out = append(out, flowfile.Diagnostic{
			File: f.File.Name, Line: line, Col: col, Code: CodeMonolith, Severity: flowfile.Info,
			Message: fmt.Sprintf("%s %s: what stops one of them stops all", p.Flow, strings.Join(why, " and ")), Fix: cut(p),
		})
	}
	return out
}

// stepsOf counts the steps of a flow, and names the section that they are in.
func stepsOf(p *flow.Plan) (n int, section string) {
	switch {
	case p.Decide != nil:
		p.Saga.Walk(func(t *flow.Task) {
			if t.Collect != nil {
				n++
			}
		})
		return n, "collect"
	case p.Saga != nil:
		p.Saga.Walk(func(t *flow.Task) {
			if t.Kind() != flow.TaskLegs {
				n++
			}
		})
		return n, "steps"
	case p.Gather != nil:
		return len(p.Gather.Sources), "gather"
	case p.Reaction != nil:
		return len(p.Reaction.On), "on"
	}
	return 1, "read"
}

// cut says where a flow falls into parts.
func cut(p *flow.Plan) string {
	switch {
	case p.Decide != nil:
		return "let a flow before it collect a part, and write what it found where this one reads"
	case p.Saga != nil && len(p.Saga.Tasks) > 1:
		return cutSaga(p.Saga.Tasks)
	case p.Gather != nil:
		return cutGather(p)
	case p.Reaction != nil && len(p.Reaction.On) > 1:
		return "give each source of on a flow of its own; they may write to the same table"
	}
	return "let a second flow on the same source do a part of it"
}

// cutSaga finds the place, not near an end, over which the fewest steps are used.
func cutSaga(tasks []flow.Task) string {
	best, over := 0, []string(nil)
	for i := 1; i < len(tasks); i++ {
		before := map[string]bool{}
		for j := range tasks[:i] {
			(&flow.Saga{Tasks: tasks[j : j+1]}).Walk(func(t *flow.Task) { before[t.Name] = true })
		}
		var used []string
		for _, name := range usedBy(tasks[i:]) {
			if before[name] {
				used = append(used, name)
			}
		}
		middle := min(i, len(tasks)-i) > min(best, len(tasks)-best)
		if best == 0 || len(used) < len(over) || len(used) == len(over) && middle {
			best, over = i, used
		}
	}
	needs := "nothing of the steps before"
	if len(over) > 0 {
		needs = "of the steps before only " + strings.Join(over, ", ")
	}
	return fmt.Sprintf("make a service of the steps from %s on, which need %s, give it that as params, and call it", tasks[best].Name, needs)
}

// usedBy are the steps that the expressions of tasks name, sorted.
func usedBy(tasks []flow.Task) []string {
	used := map[string]bool{}
	(&flow.Saga{Tasks: tasks}).Walk(func(t *flow.Task) {
		sources := []string{t.When, t.Each}
		for _, c := range slices.Concat(t.Map, t.Undo) {
			sources = append(sources, c.Expr)
		}
		if t.Read != nil {
			for _, m := range t.Read.Where {
				sources = append(sources, m.Expr)
			}
		}
		for _, source := range sources {
			if source == "" {
				continue
			}
			prog := scope{"steps": {}, "params": {}, "item": {}, "row": {}}.program(source)
			if prog == nil {
				continue
			}
			for _, path := range prog.Takes("steps") {
				if len(path) > 0 && path[0] != expr.Element {
					used[path[0]] = true
				}
			}
		}
	})
	return slices.Sorted(maps.Keys(used))
}

// cutGather finds sources that no target column has in common with the others.
func cutGather(p *flow.Plan) string {
	group := map[string]string{}
	vars := scope{"key": {}, "asof": {}}
	for _, s := range p.Gather.Sources {
		group[s.Name] = s.Name
		vars[s.Name] = variable{}
	}
	columns := map[string][]string{} // by one source that they use
	for _, c := range p.Map {
		prog := vars.program(c.Expr)
		if prog == nil {
			continue
		}
		first := ""
		for _, s := range p.Gather.Sources {
			if s.Name == p.Gather.Base || len(prog.Takes(s.Name)) == 0 {
				continue
			}
			if first == "" {
				first = s.Name
				columns[first] = append(columns[first], c.Name)
			}
			for name, of := range group {
				if of == group[s.Name] && of != group[first] {
					group[name] = group[first]
				}
			}
		}
	}
	parts := map[string][]string{}
	for source, list := range columns {
		parts[group[source]] = append(parts[group[source]], list...)
	}
	if len(parts) < 2 {
		return "let a second consolidation fill some of the columns; both may write the same rows"
	}
	var texts []string
	for _, g := range slices.Sorted(maps.Keys(parts)) {
		var sources []string
		for _, s := range p.Gather.Sources {
			if group[s.Name] == g {
				sources = append(sources, s.Name)
			}
		}
		slices.Sort(parts[g])
		texts = append(texts, fmt.Sprintf("%s of %s", strings.Join(parts[g], ", "), strings.Join(sources, ", ")))
	}
	return "it falls into parts that share no source but the base, and each can be a flow of its own: " + strings.Join(texts, "; ")
}

// notRepeated finds what several flows do in the same way: steps of services in a row, a
// source of consolidations. Each is said once, of the later flow.
func notRepeated(l Loaded) []flowfile.Diagnostic {
	var out []flowfile.Diagnostic
	for i, f := range l.Flows {
		for _, other := range l.Flows[:i] {
			n, at := alike(f.Plan, other.Plan)
			if n < manySharing {
				continue
			}
			what, fix := fmt.Sprintf("%d steps in a row", n), "make a service of them, and call it from both"
			if at[0] == "gather" {
				what, fix = fmt.Sprintf("%d sources", n), "let one consolidation fill the columns of both, so that they are read once"
			}
			line, col := nearest(flowfile.Open(f.File), at)
			out = append(out, flowfile.Diagnostic{
				File: f.File.Name, Line: line, Col: col, Code: CodeRepeated, Severity: flowfile.Info,
				Message: fmt.Sprintf("%s has %s as %s has them", f.Plan.Flow, what, other.Plan.Flow), Fix: fix,
			})
		}
	}
	return out
}

// alike counts what two flows do in the same way, and says where it begins in the first.
func alike(a, b *flow.Plan) (n int, at []string) {
	switch {
	case a.Saga != nil && b.Saga != nil:
		x, y := prints(a.Saga.Tasks), prints(b.Saga.Tasks)
		for i := range x {
			for j := range y {
				k := 0
				for i+k < len(x) && j+k < len(y) && x[i+k] == y[j+k] {
					k++
				}
				if k > n {
					n, at = k, []string{"steps", fmt.Sprintf("[%d]", i)}
				}
			}
		}
	case a.Gather != nil && b.Gather != nil:
		theirs := prints(b.Gather.Sources)
		for i, one := range prints(a.Gather.Sources) {
			if slices.Contains(theirs, one) {
				if n++; n == 1 {
					at = []string{"gather", a.Gather.Sources[i].Name}
				}
			}
		}
	}
	return n, at
}

// prints are what tells one step from another.
func prints[T any](list []T) []string {
	out := make([]string, len(list))
	for i, one := range list {
		text, err := json.Marshal(one)
		if err != nil {
			continue
		}
		out[i] = string(text)
	}
	return out
}
