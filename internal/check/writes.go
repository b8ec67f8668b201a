package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"patchbay/internal/calendar"
	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
)

type (
	// written is one table that a flow writes rows to.
	written struct {
		connection, table string
		key               []string
		columns           []flow.Column // nil: rows pass as they are
		undo              []flow.Column // of columns, those that take the others back; written by themselves
		section           []string      // where the flow file says so
	}

	// systems tells which tables of which connections are one.
	systems map[string]flow.Connection
)

func systemsOf(l Loaded) systems {
	out := systems{}
	for _, c := range l.Connections.List {
		out[c.Name] = c
	}
	return out
}

// writes are the tables that a plan writes rows to; a message is none.
func writes(p *flow.Plan) []written {
	var out []written
	if w := p.Write; w != nil && p.Send == nil {
		out = append(out, written{w.Connection, w.Table, w.Key, p.Map, nil, []string{"write", "to"}})
	}
	if p.Saga != nil {
		for i := range p.Saga.Tasks {
			place := []string{"steps", fmt.Sprintf("[%d]", i)}
			if w := p.Saga.Tasks[i].Write; w != nil && p.Decide != nil {
				out = append(out, written{w.Connection, w.Table, w.Key, p.Saga.Tasks[i].Map, nil, []string{"write", "to"}})
				continue
			}
			out = append(out, taskWrites(&p.Saga.Tasks[i], place)...)
			for _, leg := range p.Saga.Tasks[i].Legs {
				for j := range leg.Tasks {
					out = append(out, taskWrites(&leg.Tasks[j], append(slices.Clone(place), "legs", leg.Name, fmt.Sprintf("[%d]", j)))...)
				}
			}
		}
	}
	if p.Advise != nil {
		w := p.Advise.Write
		out = append(out, written{w.Connection, w.Table, w.Key, w.Map, nil, []string{"advise", "write", "to"}})
	}
	return out
}

// taskWrites is what a step of a service writes, what takes it back included.
func taskWrites(t *flow.Task, place []string) []written {
	if t.Write == nil {
		return nil
	}
	return []written{{t.Write.Connection, t.Write.Table, t.Write.Key, slices.Concat(t.Map, t.Undo), t.Undo, append(place, "call")}}
}

// apart gives what is written at one time, and what takes it back.
func apart(all []written) []written {
	var out []written
	for _, w := range all {
		if len(w.undo) > 0 {
			back := w
			back.columns = w.undo
			w.columns = w.columns[:len(w.columns)-len(w.undo)]
			out = append(out, back)
		}
		out = append(out, w)
	}
	return out
}

// changes are the columns that a write may give another value: a key chooses the row,
// and has the same before and after.
func (w written) changes() []string {
	var out []string
	for _, c := range w.columns {
		if !slices.Contains(w.key, c.Name) {
			out = append(out, c.Name)
		}
	}
	return out
}

func (w written) String() string { return w.connection + "." + w.table }

// sameTable: two connections may name one system, and two tables one resource of it.
func (s systems) sameTable(a *flow.Plan, connA, tableA string, b *flow.Plan, connB, tableB string) bool {
	x, y := s[connA], s[connB]
	if x.Tables[tableA].Path != y.Tables[tableB].Path || x.System != y.System {
		return false
	}
	idA, idB := a.Bindings[connA].Identity, b.Bindings[connB].Identity
	return connA == connB || strings.TrimRight(x.URL, "/") == strings.TrimRight(y.URL, "/") || idA != "" && idA == idB
}

// oneWriter: of two flows that write one column the later always wins, and neither
// knows. It may be meant, where they never write the same rows.
func oneWriter(l Loaded) []flowfile.Diagnostic {
	s := systemsOf(l)
	var out []flowfile.Diagnostic
	for i, a := range l.Flows {
		for _, b := range l.Flows[:i] {
			if a.Plan.Flow == b.Plan.Flow {
				continue // which has been said
			}
			for _, wa := range writes(a.Plan) {
				for _, wb := range writes(b.Plan) {
					if !s.sameTable(a.Plan, wa.connection, wa.table, b.Plan, wb.connection, wb.table) {
						continue
					}
					theirs := wb.changes()
					both := slices.DeleteFunc(wa.changes(), func(c string) bool { return !slices.Contains(theirs, c) })
					if len(both) == 0 {
						continue
					}
					line, col := flowfile.Find(a.File, wa.section...)
					out = append(out, flowfile.Diagnostic{
						File: a.File.Name, Line: line, Col: col, Code: flowfile.CodeContested, Severity: flowfile.Warning,
						Message: fmt.Sprintf("%s also writes %s of %s, and the later of two writes wins", b.Plan.Flow, strings.Join(both, ", "), wa),
						Fix:     "let one flow fill each column",
					})
				}
			}
		}
	}
	return out
}

// fitsQuotas reckons what schedules ask of each connection at the least, one page for
// each source, and warns where that alone is more than the provider states.
func fitsQuotas(l Loaded) []flowfile.Diagnostic {
	type asked struct {
		flow     Flow
		requests int
		interval time.Duration
	}
	by := map[string][]asked{}
	for _, f := range l.Flows {
		p := f.Plan
		if p.Schedule == nil || p.Gather == nil {
			continue
		}
		times, err := calendar.Compile(*p.Schedule)
		if err != nil {
			continue // flowfile has said why
		}
		interval := times.Interval(l.Now)
		sources := map[string]int{}
		for _, s := range p.Gather.Sources {
			sources[s.Connection]++
		}
		for name, n := range sources {
			if interval > 0 {
				by[name] = append(by[name], asked{f, n, interval})
			}
		}
	}
	var out []flowfile.Diagnostic
	for _, c := range l.Connections.List {
		for _, q := range c.Quotas {
			if q.Kind != flow.QuotaRequests || q.Per <= 0 {
				continue
			}
			window := time.Duration(float64(q.Per) / l.speed())
			var total int64
			for _, a := range by[c.Name] {
				total += int64(a.requests) * int64(window/a.interval)
			}
			if most := q.Most * int64(100-q.Reserve) / 100; total > most {
				worst := slices.MinFunc(by[c.Name], func(a, b asked) int { return int(a.interval - b.interval) })
				line, col := flowfile.Find(worst.flow.File, "schedule")
				out = append(out, flowfile.Diagnostic{
					File: worst.flow.File.Name, Line: line, Col: col, Code: flowfile.CodeQuota, Severity: flowfile.Warning,
					Message: fmt.Sprintf("schedules ask %s for %d requests in %s at the least, and its quota leaves them %d", c.Name, total, calendar.Short(q.Per), most),
					Fix:     "let slots come less often",
				})
			}
		}
	}
	return out
}
