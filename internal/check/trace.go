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
	if p.Emit != "" {
		sinks = append([]sink{told(p.Emit)}, sinks...)
	}
	if p.Write != nil {
		t.write(*p.Write, p.Map, []string{"map"}, []string{"write", "to"}, []string{"write", "key"})
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
	t.names(r.Connection, r.Table, Reads, "read", "from")
	row := columnsOf(r.Connection, r.Table, r.Select, at("select", "read", "select"))
	t.columns(row)
	row.nested = map[string]variable{}
	for name, path := range r.Expand {
		via := at("expand", "read", "expand", name)
		row.nested[name] = t.children(r.Connection, r.Table, path, via)
		t.note(use{cell: cell{r.Connection, r.Table, path, ""}, how: Reads, at: via.path})
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
		o := origin{cell: cell{connection: r.Connection, table: r.Table, column: m.Column}}
		for _, name := range used {
			params.columns[name] = append(params.columns[name], known([]origin{o}, at("where", "read", "where", m.Column))...)
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
			return vars["row"].nested[path[1]]
		}
	}
	via := at("each", "each")
	t.takes(via, vars.of(each))
	return variable{always: known(vars.of(each), via)}
}

// mapped follows target columns; without a map rows pass as they are.
func (t *tracer) mapped(list []flow.Column, vars scope, row variable, path []string, sinks []sink) {
	if len(list) == 0 {
		for name, origins := range row.columns {
			for _, to := range sinks {
				t.emit(column(to, name), false, at("the row as it is", "write"), known(origins))
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

// told is where the fields of a business event go.
func told(event string) sink { return sink{what: "the business event " + event} }

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
		t.names(trigger.Connection, trigger.Table, Reacts, place("source")...)
		one := columnsOf(trigger.Connection, trigger.Table, trigger.Columns, step{"source", place("source")})
		for name, origins := range one.columns {
			one.columns[name] = []origin{{cell: origins[0].cell, steps: []step{{"source", place("source")}}}}
		}
		if len(t.connections[trigger.Connection].Tables[trigger.Table].Columns) == 0 {
			one.open = []origin{{cell: cell{connection: trigger.Connection, table: trigger.Table}, steps: []step{{"source", place("source")}}}}
		}
		vars := scope{"row": one, "was": one}
		k := vars.of(trigger.Key)
		t.emit(keys, false, step{"on.key", place("key")}, k)
		key.always = append(key.always, known(k)...)
		decide := func(via step, origins []origin) {
			t.takes(via, origins)
			for _, o := range origins {
				decides = append(decides, then(o, via))
			}
		}
		decide(step{"on.where", place("where")}, vars.of(trigger.Where))
		decide(step{"on.transitions", place("transitions")}, vars.of(trigger.Transitions))
		for _, name := range trigger.Select {
			decide(step{"on.select", append(place("select"), name)}, one.take(name))
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
	target := told(p.Emit)
	if p.Write != nil {
		target = sink{connection: p.Write.Connection, table: p.Write.Table}
	}
	switch {
	case p.Send != nil:
		t.names(p.Write.Connection, p.Write.Table, Sends, "send", "to")
	case p.Write != nil:
		t.write(*p.Write, p.Map, []string{"map"}, []string{"write", "to"}, []string{"write", "key"})
	}
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
		switch {
		case u.Part == message.PartSubject:
			via = at("send.subject", "send", "subject")
		case u.Part == message.PartText && p.Send.HTML != "": // a file that the plan does not name
			via = at("send.text", "send", "text")
		}
		before := len(t.uses)
		t.emit(to, false, via, row.take(u.Column))
		for i := range t.uses[before:] {
			if via.name == p.Send.Template {
				t.uses[before+i].template = place{p.Send.Template, u.Line, u.Col}
			}
		}
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
		t.names(s.Connection, s.Table, Reads, place("from")...)
		row := columnsOf(s.Connection, s.Table, s.Select, step{"select", place("select")})
		t.columns(row)
		rows[s.Name], vars[s.Name] = row, row
		k := scope{"row": row}.of(s.Key)
		t.emit(keys, false, step{"key", place("key")}, k)
		key.always = append(key.always, known(k)...)
		for _, name := range s.Identity {
			t.emit(keys, false, step{"identity", append(place("identity"), name)}, row.take(name))
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
	t.write(*p.Write, p.Map, []string{"map"}, []string{"write", "to"}, []string{"write", "key"})
	t.mapped(p.Map, vars, variable{}, []string{"map"}, []sink{target})
	if p.Advise != nil {
		t.advice(p.Advise, rows, key)
	}
}

// advice follows what the model is shown, and what of it may be in a plan.
func (t *tracer) advice(a *flow.Advise, rows map[string]variable, key variable) {
	model := sink{connection: a.Connection}
	t.names(a.Connection, a.Model, Asks, "advise", "model")
	plan, facts := variable{}, variable{columns: map[string][]origin{}}
	for _, s := range a.Sources {
		for part, names := range map[string][]string{"show": s.Columns, "id": s.ID, "newest": {s.Newest}} {
			for _, name := range names {
				path := []string{"advise", "sources", s.Name, part}
				if part != "newest" {
					path = append(path, name)
				}
				via, origins := step{"advise.sources." + s.Name + "." + part, path}, rows[s.Name].take(name)
				t.emit(model, part == "newest", via, origins)
				for _, o := range origins {
					plan.always = append(plan.always, known([]origin{o}, via)...)
				}
			}
		}
	}
	for _, f := range a.Facts {
		row := rows[f.Source]
		for part, origins := range map[string][]origin{"of": row.take(f.Column), "by": row.take(f.By), "where": scope{"row": row}.of(f.Where)} {
			via := at("advise.facts."+f.Name, "advise", "facts", f.Name, part)
			t.takes(via, origins)
			facts.columns[f.Name] = append(facts.columns[f.Name], known(origins, via)...)
		}
		for _, o := range facts.columns[f.Name] {
			t.out = append(t.out, way{origin: o, to: model})
		}
	}
	// An action is proposed, or a rule chosen, by what the facts are.
	plan.always = append(plan.always, facts.whole()...)
	w := a.Write
	t.write(flow.Write{Connection: w.Connection, Table: w.Table, Key: w.Key}, w.Map, []string{"advise", "write", "map"}, []string{"advise", "write", "to"}, []string{"advise", "write", "key"})
	t.mapped(w.Map, scope{"key": key, "facts": facts, "plan": plan}, variable{}, []string{"advise", "write", "map"}, []sink{{connection: w.Connection, table: w.Table}})
}

// synchronization follows what crosses from each region to each other.
func (t *tracer) synchronization(s *flow.Sync) {
	for _, r := range s.Regions {
		t.shares(s, r)
	}
	for _, from := range s.Regions {
		for _, to := range s.Regions {
			if from.Name == to.Name {
				continue
			}
			for _, table := range s.Tables {
				send := func(name, part string, path ...string) {
					o := origin{cell: cell{connection: from.Connection, table: table.Name, column: name}, derived: true}
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
