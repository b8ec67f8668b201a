package check

import (
	"slices"
	"strconv"
	"strings"

	"patchbay/internal/flow"
)

type (
	// How says what a flow does with what it names.
	How string

	// place is where something stands; a line of 0 is nowhere.
	place struct {
		file      string
		line, col int
	}

	// use is one place of a flow that names a system, a table of it, a column, or another
	// flow.
	use struct {
		cell              // the column is empty for the table itself
		called   string   // another flow
		topic    string   // a business event: the cell is empty then
		field    string   // of it; empty: the event itself
		fields   []string // of an event itself: what its contract says it has
		how      How
		at       []string // as of flowfile.Find
		written  bool     // what the flow writes, not what it reads
		key      []string // of the table: what is written by
		keyAt    []string
		whole    bool  // any column of the table, or of the child rows
		template place // in a template beside the flow
	}
)

// What flows do with what they name.
const (
	Reads      How = "reads"
	Writes     How = "writes"
	Key        How = "key"       // rows are told apart, joined, written or ordered by it
	Filter     How = "filter"    // a read is restricted by it
	Condition  How = "condition" // whether something happens depends on it
	Value      How = "value"     // something is made of it
	Template   How = "template"  // a message shows it
	Recipient  How = "recipient"
	Watermark  How = "watermark" // what changed is read by it
	Shown      How = "shown"     // to a model
	Fact       How = "fact"
	Shares     How = "shares" // with the other regions
	Restricted How = "restricted"
	Conflict   How = "conflict" // says who wins
	Reacts     How = "reacts"
	Sends      How = "sends"
	Asks       How = "asks"
	Calls      How = "calls"
	Accepts    How = "accepts" // a business event, or a field of one
	Emits      How = "emits"
	Awaits     How = "awaits"
)

// hows say what is done with a column that stands in a section.
var hows = map[string]How{
	"where": Filter, "key": Key, "identity": Key, "order": Key, "throttle": Key, "id": Key, "newest": Key,
	"when": Condition, "changed": Watermark, "recipient": Recipient, "template": Template, "text": Template, "subject": Template,
	"show": Shown, "facts": Fact,
}

// howOf says what is done with a column by the path of its place.
func howOf(path []string) How {
	section := path[0]
	switch {
	case section == "on" && path[2] != "key":
		return Condition
	case section == "on", section == "gather":
		section = path[2]
	case section == "read", section == "send":
		section = path[1]
	case section == "steps" && path[2] == "legs":
		section = path[5]
	case section == "steps":
		section = path[2]
	case section == "advise" && path[1] == "sources":
		section = path[3]
	case section == "advise":
		section = path[1]
	}
	if how, is := hows[section]; is {
		return how
	}
	return Value // map, with, undo, answer, each
}

func (t *tracer) note(u use) { t.uses = append(t.uses, u) }

// names notes a table of a connection.
func (t *tracer) names(connection, table string, how How, path ...string) {
	t.note(use{cell: cell{connection: connection, table: table}, how: how, at: path})
}

// columns notes the columns that are asked for.
func (t *tracer) columns(v variable) {
	for _, origins := range v.columns {
		for _, o := range origins {
			t.note(use{cell: o.cell, how: Reads, at: o.steps[0].path})
		}
	}
}

// takes notes the columns that a place takes by their own names.
func (t *tracer) takes(via step, origins []origin) {
	for _, o := range origins {
		if !o.derived {
			t.note(use{cell: o.cell, how: howOf(via.path), at: via.path, whole: o.column == ""})
		}
	}
}

// write notes a table that rows are written to, with what they have.
func (t *tracer) write(w flow.Write, columns []flow.Column, mapped, to, key []string) {
	t.note(use{cell: cell{connection: w.Connection, table: w.Table}, how: Writes, at: to, written: true, key: w.Key, keyAt: key})
	t.written(w, columns, mapped)
	for _, name := range w.Key {
		t.note(use{cell: cell{connection: w.Connection, table: w.Table, column: name}, how: Key, at: append(slices.Clone(key), name), written: true})
	}
}

func (t *tracer) written(w flow.Write, columns []flow.Column, mapped []string) {
	for _, c := range columns {
		t.note(use{cell: cell{connection: w.Connection, table: w.Table, column: c.Name}, how: Writes, at: append(slices.Clone(mapped), c.Name), written: true})
	}
}

// shares notes what a synchronization has of one region.
func (t *tracer) shares(s *flow.Sync, r flow.Region) {
	column := func(table, name string, how How, at ...string) {
		t.note(use{cell: cell{connection: r.Connection, table: table, column: name}, how: how, at: at, written: true})
	}
	t.note(use{cell: cell{connection: r.Connection}, how: Shares, at: []string{"regions", r.Name}})
	for _, table := range s.Tables {
		t.note(use{cell: cell{connection: r.Connection, table: table.Name}, how: Shares, at: []string{"tables", table.Name}, written: true, key: table.Key, keyAt: []string{"tables", table.Name, "key"}})
		for _, name := range table.Key {
			column(table.Name, name, Key, "tables", table.Name, "key", name)
		}
		for _, c := range table.Columns {
			column(table.Name, c.Name, Shares, "tables", table.Name, "allow", c.Name)
		}
		if table.Clock != "" {
			column(table.Name, table.Clock, Watermark, "tables", table.Name, "clock")
		}
	}
	for _, name := range s.Restricted {
		table, of, _ := strings.Cut(name, ".")
		column(table, of, Restricted, "restricted", name)
	}
	for _, rule := range s.Conflict {
		if rule.Column != "" {
			column(rule.Table, rule.Column, Conflict, "conflict", rule.Table+"."+rule.Column)
		}
	}
}

// contracts notes the business events that a service accepts, emits, awaits or is started by.
func (t *tracer) contracts(p *flow.Plan) {
	has := map[string][]string{} // fields, by event
	said := func(section string, how How, topics []flow.Topic) {
		for _, topic := range topics {
			for _, f := range topic.Fields {
				has[topic.Name] = append(has[topic.Name], f.Name)
				t.note(use{topic: topic.Name, field: f.Name, how: how, at: []string{section, topic.Name, "schema", "properties", f.Name}})
			}
			for _, name := range topic.Key {
				t.note(use{topic: topic.Name, field: name, how: Key, at: []string{section, topic.Name, "key", name}})
			}
			t.note(use{topic: topic.Name, how: how, at: []string{section, topic.Name}})
		}
	}
	said("accepts", Accepts, p.Accepts)
	said("emits", Emits, p.Emits)
	if p.Starts != "" {
		t.note(use{topic: p.Starts, fields: has[p.Starts], how: Reacts, at: []string{"on", "[0]", "event"}})
	}
	told := func(task *flow.Task, place []string) {
		below := func(names ...string) []string { return append(slices.Clone(place), names...) }
		switch {
		case task.Await != nil:
			t.note(use{topic: task.Await.Topic, fields: has[task.Await.Topic], how: Awaits, at: below("await")})
			for _, m := range task.Await.Where {
				t.note(use{topic: task.Await.Topic, field: m.Column, how: Filter, at: below("where", m.Column)})
			}
			for _, c := range task.Await.Otherwise {
				t.note(use{topic: task.Await.Topic, field: c.Name, how: Value, at: below("otherwise", c.Name)})
			}
		case task.Emit != "":
			t.note(use{topic: task.Emit, fields: has[task.Emit], how: Emits, at: below("emit")})
			for _, c := range task.Map {
				t.note(use{topic: task.Emit, field: c.Name, how: Emits, at: below("with", c.Name)})
			}
		}
	}
	for i := range p.Saga.Tasks {
		place := []string{"steps", "[" + strconv.Itoa(i) + "]"}
		told(&p.Saga.Tasks[i], place)
		for _, leg := range p.Saga.Tasks[i].Legs {
			for j := range leg.Tasks {
				told(&leg.Tasks[j], append(slices.Clone(place), "legs", leg.Name, "["+strconv.Itoa(j)+"]"))
			}
		}
	}
}
