package check

import (
	"fmt"
	"slices"
	"strings"

	"patchbay/internal/flow"
	"patchbay/internal/message"
)

// instant follows what is read to the answer and to the target.
func (t *tracer) instant(p *flow.Plan) {
	params := variable{columns: map[string][]origin{}}
	row := t.read(p.Read, &params)
	vars := scope{"row": row, "params": params}
	if p.Each != "" {
		vars["item"] = t.item(p.Each, vars)
	}
	sinks := []sink{asker}
	if p.Write != nil {
		sinks = append([]sink{{connection: p.Write.Connection, table: p.Write.Table}}, sinks...)
	}
	t.filters(p.Read, sinks)
	t.mapped(p.Map, vars, row, []string{"map"}, sinks)
	for _, name := range p.Order {
		t.emit(keys, false, at("order", "order", name), params.take(name))
	}
}

// read gives the variable row. A parameter that a column is compared with tells of it.
func (t *tracer) read(r *flow.Read, params *variable) variable {
	if r == nil {
		return variable{}
	}
	row := columnsOf(r.Connection, r.Table, r.Select, at("select", "read", "select"))
	for name, path := range r.Expand {
		v := t.children(r.Connection, r.Table, path, at("expand", "read", "expand", name))
		row.columns[name] = v.whole()
	}
	if params == nil {
		return row
	}
	all := scope{"params": {columns: map[string][]origin{}}}
	for _, m := range r.Where {
		p := all.program(m.Expr)
		if p == nil {
			continue
		}
		used, _ := p.Uses("params")
		o := origin{cell{connection: r.Connection, table: r.Table, column: m.Column}, []step{at("where", "read", "where", m.Column)}}
		for _, name := range used {
			params.columns[name] = append(params.columns[name], o)
		}
	}
	return row
}

// filters: of rows that are found or not, whoever gets them learns what they are found by.
func (t *tracer) filters(r *flow.Read, sinks []sink) {
	if r == nil {
		return
	}
	for _, m := range r.Where {
		o := origin{cell: cell{connection: r.Connection, table: r.Table, column: m.Column}}
		for _, to := range sinks {
			t.emit(to, true, at("where", "read", "where", m.Column), []origin{o})
		}
	}
}

// item gives the variable of each: child rows by their columns where each only names
// them, else all that it is made of.
func (t *tracer) item(each string, vars scope) variable {
	r := t.plan.Read
	if p := vars.program(each); p != nil && r != nil {
		if path, bare := p.Path(); bare && len(path) == 2 && path[0] == "row" && r.Expand[path[1]] != "" {
			return t.children(r.Connection, r.Table, r.Expand[path[1]], at("expand", "read", "expand", path[1]))
		}
	}
	return variable{always: vars.of(each)}
}

// mapped follows target columns; without a map rows pass as they are.
func (t *tracer) mapped(list []flow.Column, vars scope, row variable, path []string, sinks []sink) {
	if len(list) == 0 {
		for name, origins := range row.columns {
			for _, to := range sinks {
				t.emit(column(to, name), false, at("the row as it is", "write"), origins)
			}
		}
		return
	}
	for _, c := range list {
		origins := vars.of(c.Expr)
		place := append(slices.Clone(path), c.Name)
		for _, to := range sinks {
			t.emit(column(to, c.Name), false, step{strings.Join(place, "."), place}, origins)
		}
	}
}

func column(to sink, name string) sink {
	if to.connection != "" {
		to.column = name
	}
	return to
}

// event follows changed records, and what is read of them, to the target or the message.
func (t *tracer) event(p *flow.Plan) {
	var record, key variable
	var decides []origin // what it depends on whether anything is told
	for i, trigger := range p.Reaction.On {
		place := func(part string) []string { return []string{"on", fmt.Sprintf("[%d]", i), part} }
		one := columnsOf(trigger.Connection, trigger.Table, trigger.Columns, step{"source", place("source")})
		for name, origins := range one.columns {
			one.columns[name] = []origin{{origins[0].cell, []step{{"source", place("source")}}}}
		}
		if len(t.connections[trigger.Connection].Tables[trigger.Table].Columns) == 0 {
			one.open = []origin{{cell{connection: trigger.Connection, table: trigger.Table}, []step{{"source", place("source")}}}}
		}
		vars := scope{"row": one, "was": one}
		k := vars.of(trigger.Key)
		t.emit(keys, false, step{"on.key", place("key")}, k)
		key.always = append(key.always, k...)
		for _, o := range vars.of(trigger.Where) {
			decides = append(decides, then(o, step{"on.where", place("where")}))
		}
		for _, o := range vars.of(trigger.Transitions) {
			decides = append(decides, then(o, step{"on.transitions", place("transitions")}))
		}
		for _, name := range trigger.Select {
			for _, o := range one.take(name) {
				decides = append(decides, then(o, step{"on.select", append(place("select"), name)}))
			}
		}
		record = record.add(one)
	}
	if p.Reaction.Throttle != nil {
		t.emit(keys, false, at("throttle.per", "throttle", "per"), scope{"row": record}.of(p.Reaction.Throttle.By))
	}
	params := variable{columns: map[string][]origin{"key": key.always, "items": record.whole()}}
	row := record
	if p.Read != nil {
		row = t.read(p.Read, nil)
	}
	target := sink{connection: p.Write.Connection, table: p.Write.Table}
	t.filters(p.Read, []sink{target})
	for _, o := range decides {
		t.out = append(t.out, way{origin: o, to: target, implied: true})
	}
	if p.Send != nil {
		t.message(p, row.add(record), scope{"row": row, "key": key}, sink{connection: p.Write.Connection})
		return
	}
	vars := scope{"row": row, "params": params}
	if p.Each != "" {
		vars["item"] = t.item(p.Each, vars)
	}
	t.mapped(p.Map, vars, row, []string{"map"}, []sink{target})
}

// message follows what a message shows.
func (t *tracer) message(p *flow.Plan, row variable, vars scope, to sink) {
	t.emit(to, false, at("send.recipient", "send", "recipient"), vars.of(p.Send.Recipient))
	template, _ := message.Compile(*p.Send)
	if template == nil || template.Whole() {
		t.emit(to, false, at("the record as it is in "+p.Send.Template, "send", "template"), row.whole())
	}
	if template == nil {
		return
	}
	for _, u := range template.Columns() {
		via := at(p.Send.Template, "send", "template")
		if u.Part == message.PartSubject {
			via = at("send.subject", "send", "subject")
		}
		t.emit(to, false, via, row.take(u.Column))
	}
}

// consolidation follows the sources to the target, and to the model and what it proposes.
func (t *tracer) consolidation(p *flow.Plan) {
	vars, key := scope{"asof": {}}, variable{}
	target := sink{connection: p.Write.Connection, table: p.Write.Table}
	rows := map[string]variable{}
	for i := range p.Gather.Sources {
		s := &p.Gather.Sources[i]
		place := func(part string) []string { return []string{"gather", s.Name, part} }
		row := columnsOf(s.Connection, s.Table, s.Select, step{"select", place("select")})
		rows[s.Name], vars[s.Name] = row, row
		k := scope{"row": row}.of(s.Key)
		t.emit(keys, false, step{"key", place("key")}, k)
		key.always = append(key.always, k...)
		for _, name := range s.Identity {
			t.emit(keys, false, step{"identity", place("identity")}, row.take(name))
		}
		if s.Changed != nil {
			t.emit(mark, false, step{"changed.by", append(place("changed"), "by")}, row.take(s.Changed.Column))
		}
		for _, m := range s.Where {
			o := origin{cell: cell{connection: s.Connection, table: s.Table, column: m.Column}}
			t.emit(target, true, step{"where", append(place("where"), m.Column)}, []origin{o})
		}
	}
	vars["key"] = key
	t.mapped(p.Map, vars, variable{}, []string{"map"}, []sink{target})
	if p.Advise != nil {
		t.advice(p.Advise, rows, key)
	}
}

// advice follows what the model is shown, and what of it may be in a plan.
func (t *tracer) advice(a *flow.Advise, rows map[string]variable, key variable) {
	model := sink{connection: a.Connection}
	plan, facts := variable{}, variable{columns: map[string][]origin{}}
	for _, s := range a.Sources {
		for part, names := range map[string][]string{"show": s.Columns, "id": s.ID, "newest": {s.Newest}} {
			for _, name := range names {
				via, origins := at("advise.sources."+s.Name+"."+part, "advise", "sources", s.Name, part), rows[s.Name].take(name)
				t.emit(model, part == "newest", via, origins)
				for _, o := range origins {
					plan.always = append(plan.always, then(o, via))
				}
			}
		}
	}
	for _, f := range a.Facts {
		via := at("advise.facts."+f.Name, "advise", "facts", f.Name)
		row := rows[f.Source]
		for _, o := range slices.Concat(row.take(f.Column), row.take(f.By), scope{"row": row}.of(f.Where)) {
			facts.columns[f.Name] = append(facts.columns[f.Name], then(o, via))
		}
		for _, o := range facts.columns[f.Name] {
			t.out = append(t.out, way{origin: o, to: model})
		}
	}
	// An action is proposed, or a rule chosen, by what the facts are.
	plan.always = append(plan.always, facts.whole()...)
	w := a.Write
	t.mapped(w.Map, scope{"key": key, "facts": facts, "plan": plan}, variable{}, []string{"advise", "write", "map"}, []sink{{connection: w.Connection, table: w.Table}})
}

// synchronization follows what crosses from each region to each other.
func (t *tracer) synchronization(s *flow.Sync) {
	for _, from := range s.Regions {
		for _, to := range s.Regions {
			if from.Name == to.Name {
				continue
			}
			for _, table := range s.Tables {
				send := func(name, part string, path ...string) {
					o := origin{cell: cell{connection: from.Connection, table: table.Name, column: name}}
					t.emit(sink{connection: to.Connection, table: table.Name, column: name}, false, at(part, append([]string{"tables", table.Name, part}, path...)...), []origin{o})
				}
				for _, name := range table.Key {
					send(name, "key", name)
				}
				for _, c := range table.Columns {
					send(c.Name, "allow", c.Name)
				}
				if table.Clock != "" {
					send(table.Clock, "clock")
				}
			}
		}
	}
}
