package check

import (
	"slices"
	"strings"

	"patchbay/internal/expr"
	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
)

type (
	// reactions is the graph of flows that go by changes, and of services: an edge leads from
	// a flow to one that may react to what it writes, at once or at its next slot, that it
	// calls, or that a business event starts of which it tells.
	reactions struct {
		systems
		flows []Flow
		edges [][]edge
	}

	edge struct {
		to   int
		what string // "dataverse.incident (statuscode)"
	}
)

// noLoops proves that no write of a flow comes back to it: not to itself, and not by
// way of others. A flow that accepts loops is left out, so that each cycle that is
// found has nobody who meant it. Each flow on a cycle is named in one message.
func noLoops(l Loaded) []flowfile.Diagnostic {
	g := &reactions{systems: systemsOf(l)}
	for _, f := range l.Flows {
		if r := f.Plan.Reaction; r != nil && !r.Loop || f.Plan.Gather != nil || f.Plan.Saga != nil {
			g.flows = append(g.flows, f)
		}
	}
	g.connect()
	var out []flowfile.Diagnostic
	told := map[int]bool{}
	for i, f := range g.flows {
		if told[i] || f.Plan.Saga != nil { // what services alone go round by is no change, and said elsewhere
			continue
		}
		cycle := g.shortest(i)
		if cycle == nil {
			continue
		}
		path, acceptable := f.Plan.Flow, false
		for _, e := range cycle {
			told[e.to] = true
			path += " → " + e.what + " → " + g.flows[e.to].Plan.Flow
			acceptable = acceptable || g.flows[e.to].Plan.Reaction != nil
		}
		fix := "select columns that no flow of the cycle writes"
		if acceptable {
			fix += ", refuse by where what it writes (a column that it fills with a constant), or write loop: accepted in one of them"
		}
		line, col := flowfile.Find(f.File, "write", "to")
		if f.Plan.Emit != "" {
			line, col = flowfile.Find(f.File, "emit")
		}
		out = append(out, flowfile.Diagnostic{
			File: f.File.Name, Line: line, Col: col, Code: flowfile.CodeLoop, Severity: flowfile.Error,
			Message: "a change would go round without end: " + path, Fix: fix,
		})
	}
	return out
}

func (g *reactions) connect() {
	g.edges = make([][]edge, len(g.flows))
	for i, a := range g.flows {
		for j, b := range g.flows {
			if a.Plan.Tells(b.Plan.Starts) {
				g.edges[i] = append(g.edges[i], edge{j, b.Plan.Starts})
			}
			if slices.ContainsFunc(callsOf(a.Plan), func(c call) bool { return c.task.Flow == b.Plan.Flow }) {
				g.edges[i] = append(g.edges[i], edge{j, "a call"})
			}
		}
		for _, w := range apart(writes(a.Plan)) {
			constants := constants(w.columns)
			for j, b := range g.flows {
				columns, yes := g.triggers(a.Plan, w, constants, b.Plan)
				if !yes {
					columns, yes = g.gathers(a.Plan, w, b.Plan)
				}
				if yes {
					g.edges[i] = append(g.edges[i], edge{j, w.String() + columns})
				}
			}
		}
	}
}

// triggers reports whether a write of a may pass a trigger of b, and by which columns.
func (g *reactions) triggers(a *flow.Plan, w written, constants flow.Row, b *flow.Plan) (columns string, yes bool) {
	if b.Reaction == nil {
		return "", false
	}
	for k := range b.Reaction.On {
		t := &b.Reaction.On[k]
		if !g.sameTable(a, w.connection, w.table, b, t.Connection, t.Table) {
			continue
		}
		if columns, yes := reacts(w, t, constants); yes {
			return columns, true
		}
	}
	return "", false
}

// gathers reports whether a consolidation b reads what a writes: a column that it selects
// or, of another flow, a row that it makes a target row of.
func (g *reactions) gathers(a *flow.Plan, w written, b *flow.Plan) (columns string, yes bool) {
	if b.Gather == nil {
		return "", false
	}
	for _, s := range b.Gather.Sources {
		if !g.sameTable(a, w.connection, w.table, b, s.Connection, s.Table) {
			continue
		}
		if by := slices.DeleteFunc(w.changes(), func(c string) bool { return !slices.Contains(s.Select, c) }); len(by) > 0 {
			return " (" + strings.Join(by, ", ") + ")", true
		}
		if a != b && (w.columns == nil || b.Gather.Base == "" || b.Gather.Base == s.Name) {
			return "", true
		}
	}
	return "", false
}

// reacts reports whether a write may pass a trigger, and by which columns.
func reacts(w written, t *flow.Trigger, constants flow.Row) (columns string, yes bool) {
	if never(t.Where, constants) {
		return "", false
	}
	if slices.Contains(t.Change, flow.Created) {
		return "", true // a row that the target does not have yet
	}
	if !slices.Contains(t.Change, flow.Updated) || never(t.Transitions, constants) {
		return "", false
	}
	if w.columns == nil { // rows pass as they are
		return "", true
	}
	by := slices.DeleteFunc(w.changes(), func(c string) bool { return len(t.Select) > 0 && !slices.Contains(t.Select, c) })
	if len(by) == 0 {
		return "", false
	}
	return " (" + strings.Join(by, ", ") + ")", true
}

// constants are the columns that every row which is written has with one value.
func constants(columns []flow.Column) flow.Row {
	out := flow.Row{}
	for _, c := range columns {
		if prog := program(c.Expr); prog != nil {
			if v, ok := prog.Constant(); ok {
				out[c.Name] = v
			}
		}
	}
	return out
}

func never(condition string, constants flow.Row) bool {
	if condition == "" || len(constants) == 0 {
		return false
	}
	prog := program(condition)
	return prog != nil && prog.Never(constants)
}

// program compiles an expression of a plan, which flowfile has type-checked.
func program(source string) *expr.Program {
	env, err := expr.New(expr.Var{Name: "row"}, expr.Var{Name: "was"}, expr.Var{Name: "item"}, expr.Var{Name: "params"}, expr.Var{Name: "steps"})
	if err != nil {
		return nil
	}
	prog, _ := env.Compile(source, expr.Anything)
	return prog
}

// shortest gives the edges of a shortest cycle through a flow, nil when there is none.
func (g *reactions) shortest(start int) []edge {
	type step struct {
		from int // index into steps; -1: the start
		edge edge
	}
	var steps []step
	seen := map[int]bool{}
	expand := func(from, node int) (last int) {
		for _, e := range g.edges[node] {
			if seen[e.to] {
				continue
			}
			seen[e.to] = true
			steps = append(steps, step{from, e})
			if e.to == start {
				return len(steps) - 1
			}
		}
		return -1
	}
	last := expand(-1, start)
	for i := 0; last < 0 && i < len(steps); i++ {
		last = expand(i, steps[i].edge.to)
	}
	if last < 0 {
		return nil
	}
	var path []edge
	for i := last; i >= 0; i = steps[i].from {
		path = append(path, steps[i].edge)
	}
	slices.Reverse(path)
	return path
}
