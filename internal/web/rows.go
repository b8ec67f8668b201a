package web

import (
	"maps"
	"slices"
	"strings"

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
	var names []string
	if plan != nil {
		for _, c := range plan.Map {
			if held[c.Name] {
				names = append(names, c.Name)
				delete(held, c.Name)
			}
		}
	}
	names = append(names, slices.Sorted(maps.Keys(held))...)
	for _, name := range names {
		t.Columns = append(t.Columns, constant(name, result.Rows))
	}
	if !slices.ContainsFunc(t.Columns, func(c column) bool { return !c.Same }) {
		for i := range t.Columns {
			t.Columns[i].Same = false // a table of no columns says nothing
		}
	}
	for i, row := range result.Rows {
		if i == maxRows {
			break
		}
		values := make([]value, len(t.Columns))
		for j, c := range t.Columns {
			values[j] = value{cell(row[c.Name]), c.Same}
		}
		t.Rows = append(t.Rows, values)
	}
	t.Cut = max(t.Count, len(result.Rows)) - len(t.Rows)
	return t
}

// constant finds out whether a column says the same in every one of several rows.
func constant(name string, rows []flow.Row) column {
	c := column{Name: name, Value: cell(rows[0][name]), Same: len(rows) > 1}
	for _, row := range rows {
		c.Same = c.Same && cell(row[name]) == c.Value
	}
	return c
}

// Tall reports whether the table is higher than a page should be.
func (t *table) Tall() bool { return len(t.Rows) > 15 }

// order puts what a person must look at first.
var order = []flow.EffectState{
	flow.Doubtful, flow.Refused, flow.Attempt, flow.Intent, flow.Settled, flow.Confirmed,
}

// summarise says the effects in one line, gathers those of one state and reason,
// and counts those in doubt. An attempt of a run that has ended is one. Of a run
// in a list there is the count alone.
func summarise(run flow.Run, target string, plan *flow.Plan, letter flow.LetterState) (effects, int) {
	switch {
	case len(run.Effects) == 0 && run.InDoubt > 0:
		return effects{Line: count(run.InDoubt, "write") + " to " + target + " in doubt", State: effectState(flow.Doubtful)}, run.InDoubt
	case len(run.Effects) == 0:
		return effects{}, 0
	}
	sorted := slices.DeleteFunc(slices.Clone(run.Effects), func(e flow.Effect) bool { // it is said where it was written
		return flow.Undoes(e.Step) != "" && (e.State == flow.Confirmed || e.State == flow.Settled)
	})
	back := 0
	n := map[flow.EffectState]int{}
	for i, e := range sorted {
		if e.State == flow.Attempt && run.Status.Final() {
			sorted[i].State = flow.Doubtful
		}
		if e.Reason == flow.TakenBack {
			back++
			continue
		}
		n[sorted[i].State]++
	}
	slices.SortStableFunc(sorted, func(a, b flow.Effect) int {
		return slices.Index(order, a.State) - slices.Index(order, b.State)
	})
	out := effects{State: effectState(sorted[0].State), Line: outcome(n, len(sorted)-back, target, run.Status.Final())}
	switch {
	case back == len(sorted):
		out.Line, out.State = "What was written to "+target+" was taken back", taskState(flow.TaskUndone)
	case back > 0:
		out.Line += ", " + grouped(back) + " taken back"
	}
	for _, e := range sorted {
		out.add(e, run.Status, plan, letter)
	}
	return out, n[flow.Doubtful]
}

// outcome says effects in one line: "3 of 5 rows written to Dataverse, 2 refused".
// Of a run that wrote nothing it names only what became of the rows.
func outcome(n map[flow.EffectState]int, all int, target string, final bool) string {
	var parts []string
	switch done := n[flow.Confirmed] + n[flow.Settled]; {
	case done == all:
		parts = append(parts, count(done, "row")+" written to "+target)
	case done > 0 || !final:
		parts = append(parts, grouped(done)+" of "+count(all, "row")+" written to "+target)
	}
	for _, rest := range []struct {
		state flow.EffectState
		words string
	}{{flow.Refused, "refused"}, {flow.Doubtful, "in doubt"}} {
		if n[rest.state] == 0 {
			continue
		}
		if len(parts) == 0 {
			parts = append(parts, grouped(n[rest.state])+" of "+count(all, "write")+" to "+target+" "+rest.words)
			continue
		}
		parts = append(parts, grouped(n[rest.state])+" "+rest.words)
	}
	if len(parts) == 0 {
		return "Nothing was sent to " + target
	}
	return strings.Join(parts, ", ")
}

// add puts an effect to the others of its state and reason.
func (out *effects) add(e flow.Effect, status flow.Status, plan *flow.Plan, letter flow.LetterState) {
	st, reason := effectState(e.State), why(e, plan)
	if e.Reason == flow.TakenBack {
		st, reason = taskState(flow.TaskUndone), ""
	}
	i := slices.IndexFunc(out.Groups, func(g group) bool { return g.State.Word == st.Word && g.Reason == reason })
	if i < 0 {
		i = len(out.Groups)
		out.Groups = append(out.Groups, group{State: st, Reason: reason, Todo: sentence(named(flow.Todo(e, status, letter), plan))})
	}
	g, most := &out.Groups[i], maxTargets
	if e.State == flow.Refused || e.State == flow.Doubtful {
		most = maxWrong
	}
	g.Count++
	if len(g.Targets) == most {
		g.Cut++
		return
	}
	g.Targets = append(g.Targets, e.Target)
}

// why is the reason of an effect as a sentence.
func why(e flow.Effect, plan *flow.Plan) string {
	switch {
	case e.Reason == "unchanged":
		return "It was there already, with the same values."
	case e.State == flow.Doubtful && (e.Reason == "" || e.Reason == "no answer came back"):
		return "Sent; no answer came."
	}
	return sentence(named(e.Reason, plan))
}

// place is where effects went: a table, and the keys of its rows.
type place struct {
	Name string
	Keys []string
}

// places gathers targets by their table, in the order of their first. A target
// that names no row is a place without keys.
func places(targets []string) []place {
	var all []place
	for _, t := range targets {
		name, key, _ := strings.Cut(t, " ")
		i := slices.IndexFunc(all, func(p place) bool { return p.Name == name })
		if i < 0 {
			i = len(all)
			all = append(all, place{Name: name})
		}
		if key != "" {
			all[i].Keys = append(all[i].Keys, key)
		}
	}
	return all
}
