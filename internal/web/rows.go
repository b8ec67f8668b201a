package web

import (
	"maps"
	"slices"

	"patchbay/internal/flow"
)

// tabulate lays the answer out: the plan's columns in the plan's order, then
// what else the rows hold.
func tabulate(result *flow.Result, plan *flow.Plan) *table {
	if result == nil {
		return nil
	}
	t := &table{Count: result.Count}
	held := map[string]bool{}
	for _, row := range result.Rows {
		for name := range row {
			held[name] = true
		}
	}
	if plan != nil {
		for _, c := range plan.Map {
			if held[c.Name] {
				t.Columns = append(t.Columns, c.Name)
				delete(held, c.Name)
			}
		}
	}
	t.Columns = append(t.Columns, slices.Sorted(maps.Keys(held))...)
	for i, row := range result.Rows {
		if i == maxRows {
			break
		}
		cells := make([]string, len(t.Columns))
		for j, name := range t.Columns {
			cells[j] = cell(row[name])
		}
		t.Rows = append(t.Rows, cells)
	}
	t.Cut = max(t.Count, len(result.Rows)) - len(t.Rows)
	return t
}

// order puts what a person must look at first.
var order = []flow.EffectState{
	flow.Doubtful, flow.Refused, flow.Attempt, flow.Intent, flow.Settled, flow.Confirmed,
}

// summarise says the effects in one line and lists the first of them.
func summarise(all []flow.Effect, target string) (effects, int) {
	if len(all) == 0 {
		return effects{}, 0
	}
	n := map[flow.EffectState]int{}
	for _, e := range all {
		n[e.State]++
	}
	out := effects{}
	done := n[flow.Confirmed] + n[flow.Settled]
	out.Line = grouped(done) + " of " + count(len(all), "row") + " written to " + target
	if done == len(all) {
		out.Line = count(done, "row") + " written to " + target
	}
	for _, rest := range []struct {
		state flow.EffectState
		words string
	}{{flow.Refused, "refused"}, {flow.Doubtful, "in doubt"}} {
		if n[rest.state] > 0 {
			out.Line += ", " + grouped(n[rest.state]) + " " + rest.words
		}
	}
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b flow.Effect) int {
		return slices.Index(order, a.State) - slices.Index(order, b.State)
	})
	out.State = effectState(sorted[0].State)
	for i, e := range sorted {
		if i == maxEffects {
			out.Cut = len(sorted) - maxEffects
			break
		}
		out.List = append(out.List, effect{e.Target, effectState(e.State)})
	}
	return out, n[flow.Doubtful]
}
