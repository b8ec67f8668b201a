package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

type (
	// target is what a change is made to. Exactly one of its parts is set: a flow that is
	// called, a business event or its field, a connection, or a table or column of a system.
	target struct {
		called     string
		topic      string // a business event
		field      string // of it; empty: the event
		connection string
		system     string // of residency.system
		table      string // by its path there
		column     string // empty: the table
	}

	// meaning is what a name was taken for.
	meaning struct {
		words    string
		targets  []target
		declared []flow.Place
	}
)

// Impact names every place that a change of an item touches. An item is a column
// (CONNECTION.TABLE.COLUMN), a table, a connection, a credential (NAME, env:NAME,
// file:PATH), a flow that others call, or a business event (NAME.vN) or its field. A table may be called as connections.yaml or as
// its system calls it; other connections to the same system count. The error is Invalid
// and says what was meant, perhaps.
func (x *Index) Impact(item string) (flow.Impact, error) {
	m, err := x.mean(item)
	if err != nil {
		return flow.Impact{}, err
	}
	out := flow.Impact{Item: item, Means: []string{m.words}, Declared: m.declared, Flows: []flow.ImpactedFlow{}, Reaches: []flow.Reach{}}
	for i, f := range x.report.Flows {
		var steps []flow.Use
		for _, u := range x.uses[i] {
			if slices.ContainsFunc(m.targets, func(t target) bool { return x.touches(t, u.use) }) {
				steps = append(steps, u.Use)
			}
		}
		if len(steps) > 0 {
			out.Flows = append(out.Flows, flow.ImpactedFlow{Flow: f.Plan.Flow, Pattern: f.Plan.Pattern, File: f.File.Name, Steps: steps})
		}
	}
	slices.SortFunc(out.Flows, func(a, b flow.ImpactedFlow) int { return strings.Compare(a.Flow, b.Flow) })
	if out.Declared == nil {
		out.Declared = []flow.Place{}
	}
	out.Reaches = append(out.Reaches, x.reaches(m.targets)...)
	return out, nil
}

// touches reports whether a use is of a target.
func (x *Index) touches(t target, u use) bool {
	r := x.residency
	switch {
	case t.called != "" || u.called != "":
		return t.called != "" && t.called == u.called
	case t.topic != "" || u.topic != "":
		return t.topic == u.topic && (t.field == "" || t.field == u.field || slices.Contains(u.fields, t.field))
	case t.connection != "":
		return u.connection == t.connection
	case u.table == "" || r.system(u.connection) != t.system || r.tablePath(u.connection, u.table) != t.table:
		return false
	}
	return t.column == "" || x.isColumn(u.cell, u.whole, t.column)
}

// isColumn reports whether a cell is a column; of child rows it is called by both names.
func (x *Index) isColumn(c cell, whole bool, column string) bool {
	name := strings.Trim(c.path+"."+c.column, ".")
	return whole && c.path == "" || name != "" && sameColumn(name, column)
}

// reaches follows the values of tables and columns from flow to flow.
func (x *Index) reaches(targets []target) []flow.Reach {
	r := x.residency
	seen := map[flow.Reach]bool{}
	var out []flow.Reach
	for len(targets) > 0 {
		t := targets[0]
		targets = targets[1:]
		for _, l := range x.leaving[spot{t.system, t.table}] {
			if t.column != "" && !x.isColumn(l.cell, l.column == "", t.column) {
				continue
			}
			reach := flow.Reach{Item: l.to.String() + "." + l.to.column, Flow: l.flow}
			if !seen[reach] {
				seen[reach] = true
				out = append(out, reach)
				targets = append(targets, target{system: r.system(l.to.connection), table: r.tablePath(l.to.connection, l.to.table), column: l.to.column})
			}
		}
	}
	slices.SortFunc(out, func(a, b flow.Reach) int { return strings.Compare(a.Item+" "+a.Flow, b.Item+" "+b.Flow) })
	return out
}

// mean finds what an item is. What is written with a dot is of a connection.
func (x *Index) mean(item string) (meaning, error) {
	first, rest, dotted := strings.Cut(item, ".")
	if m, is := x.credential(item); is {
		return m, nil
	}
	if m, is, err := x.event(item); is {
		return m, err
	}
	list := x.connections(first)
	switch {
	case item == "" || dotted && rest == "":
		return meaning{}, fault.Invalidf("impact.item", "%q names nothing; name CONNECTION.TABLE.COLUMN, CONNECTION.TABLE, CONNECTION, a credential, a flow or a business event", item)
	case len(list) == 0:
		if i := slices.IndexFunc(x.report.Flows, func(f Flow) bool { return f.Plan.Flow == item }); i >= 0 {
			return meaning{words: "the flow " + item + ", by those that call it", targets: []target{{called: item}}}, nil
		}
		return meaning{}, x.unknown(item, first, dotted)
	case !dotted:
		m := meaning{words: "the connection " + item}
		for _, c := range list {
			m.targets = append(m.targets, target{connection: c.Name})
			m.declared = append(m.declared, x.declaration(c.Name)...)
		}
		if list[0].Name != item {
			m.words = "the connections of the system " + item
		}
		if slices.ContainsFunc(x.report.Flows, func(f Flow) bool { return f.Plan.Flow == item }) {
			m.words += ", and the flow of that name"
			m.targets = append(m.targets, target{called: item})
		}
		return m, nil
	}
	return x.table(list, first, rest)
}

// event finds a business event that flows speak of, and a field of it.
func (x *Index) event(item string) (m meaning, is bool, err error) {
	var fields []string
	var one target
	for _, f := range x.report.Flows {
		for _, topic := range slices.Concat(f.Plan.Accepts, f.Plan.Emits) {
			field, found := below(item, topic.Name)
			if !found || one.topic != "" && one.topic != topic.Name {
				continue
			}
			one = target{topic: topic.Name, field: field}
			for _, known := range topic.Fields {
				fields = append(fields, known.Name)
			}
		}
	}
	if one.topic == "" {
		return m, false, nil
	}
	m = meaning{words: "the business event " + one.topic, targets: []target{one}}
	if one.field == "" {
		return m, true, nil
	}
	m.words = "the field " + one.field + " of " + m.words
	if !slices.Contains(fields, one.field) {
		slices.Sort(fields)
		return m, true, fault.Invalidf("impact.field", "no contract of %s has a field %q; known: %s", one.topic, one.field, some(slices.Compact(fields)))
	}
	return m, true, nil
}

// connections are the one of a name, else those of a system of that name.
func (x *Index) connections(name string) []flow.Connection {
	var byName, bySystem []flow.Connection
	for _, c := range x.report.Connections {
		if c.Name == name {
			byName = append(byName, c)
		}
		if c.System == name {
			bySystem = append(bySystem, c)
		}
	}
	if byName != nil {
		return byName
	}
	return bySystem
}

// table finds a table of one of the connections, and a column of it.
func (x *Index) table(list []flow.Connection, first, rest string) (meaning, error) {
	var m meaning
	var known []string
	var wrong error
	for _, c := range list {
		for _, name := range slices.Sorted(maps.Keys(c.Tables)) {
			t := c.Tables[name]
			known = append(known, name)
			column, is := below(rest, name, t.Path, t.Path[strings.LastIndexByte(t.Path, '/')+1:])
			if !is {
				continue
			}
			if column != "" && !x.has(c, t, column) {
				wrong = x.noColumn(c, t, column)
				continue
			}
			one := target{system: x.residency.system(c.Name), table: x.residency.tablePath(c.Name, name), column: column}
			if slices.Contains(m.targets, one) {
				continue
			}
			m.targets = append(m.targets, one)
			words := "the table " + c.Name + "." + name
			at := []string{"tables", name}
			if column != "" {
				words = "the column " + c.Name + "." + name + "." + column
				at = append(at, "columns", column)
			}
			m.words = strings.TrimPrefix(m.words+", "+words, ", ")
			m.declared = append(m.declared, x.declaration(append([]string{c.Name}, at...)...)...)
		}
	}
	switch {
	case m.targets != nil:
		return m, nil
	case wrong != nil:
		return m, wrong
	}
	table, column, _ := strings.Cut(rest, ".")
	hint := "known: " + some(known)
	if near := fault.Closest(table, known); near != "" {
		hint = fmt.Sprintf("did you mean %q?", strings.TrimSuffix(first+"."+near+"."+column, "."))
	}
	return m, fault.Invalidf("impact.table", "the connection %s has no table %q; %s", first, table, hint)
}

// below reports whether a name begins with one of the names of a table, and what follows.
func below(rest string, names ...string) (column string, is bool) {
	for _, name := range names {
		if after, found := strings.CutPrefix(strings.ToLower(rest), strings.ToLower(name)); found && name != "" && (after == "" || after[0] == '.') {
			return strings.TrimPrefix(rest[len(name):], "."), true
		}
	}
	return "", false
}

// has reports whether a table has a column, as far as connections.yaml says.
func (x *Index) has(c flow.Connection, t flow.Table, column string) bool {
	if len(t.Columns) == 0 {
		return true
	}
	return slices.ContainsFunc(columnsIn(t), func(name string) bool { return sameColumn(name, column) }) ||
		slices.ContainsFunc(slices.Concat(x.residency.uses...), func(u use) bool {
			return u.connection == c.Name && u.table == t.Name && u.path != "" && x.isColumn(u.cell, false, column)
		})
}

// columnsIn are the columns of a table and of its child rows.
func columnsIn(t flow.Table) []string {
	out := slices.Sorted(maps.Keys(t.Columns))
	for _, path := range slices.Sorted(maps.Keys(t.Children)) {
		for _, name := range slices.Sorted(maps.Keys(t.Children[path])) {
			out = append(out, path+"."+name)
		}
	}
	return out
}

func (x *Index) noColumn(c flow.Connection, t flow.Table, column string) error {
	known := columnsIn(t)
	hint := "known: " + some(known)
	if near := fault.Closest(column, known); near != "" {
		hint = fmt.Sprintf("did you mean %q?", c.Name+"."+t.Name+"."+near)
	}
	return fault.Invalidf("impact.column", "connections.yaml declares no column %q of %s.%s, so no flow can name it; %s", column, c.Name, t.Name, hint)
}

// credential finds the connections that hold a reference, by its name or as it is written.
func (x *Index) credential(item string) (meaning, bool) {
	name := strings.TrimSuffix(strings.TrimPrefix(item, "${"), "}")
	var m meaning
	for _, c := range x.report.Connections {
		if c.Name == item {
			return m, false
		}
		for _, reference := range credentials(c) {
			_, bare, _ := strings.Cut(reference, ":")
			if reference == name || bare == name {
				m.words = "the credential " + reference
				m.targets = append(m.targets, target{connection: c.Name})
				m.declared = append(m.declared, x.declaration(c.Name)...)
				break
			}
		}
	}
	return m, m.targets != nil
}

// declaration is where connections.yaml declares something of a connection.
func (x *Index) declaration(path ...string) []flow.Place {
	if x.report.Declared.Name == "" {
		return nil
	}
	at := append([]string{"connections"}, path...)
	for n := len(at); n > 0; n-- {
		if line, col := x.declared.Key(at[:n]...); line != 1 || col != 1 {
			return []flow.Place{{File: x.report.Declared.Name, Line: line, Col: col}}
		}
	}
	return nil
}

func (x *Index) unknown(item, first string, dotted bool) error {
	var names []string
	for _, c := range x.report.Connections {
		names = append(names, c.Name)
	}
	if near := fault.Closest(first, names); dotted && near != "" {
		return fault.Invalidf("impact.connection", "there is no connection %q; did you mean %q?", first, near+strings.TrimPrefix(item, first))
	}
	if dotted {
		return fault.Invalidf("impact.connection", "there is no connection %q; known: %s", first, some(names))
	}
	for _, f := range x.report.Flows {
		names = append(names, f.Plan.Flow)
	}
	for _, c := range x.report.Connections {
		for _, reference := range credentials(c) {
			_, bare, _ := strings.Cut(reference, ":")
			names = append(names, bare)
		}
	}
	if near := fault.Closest(item, names); near != "" {
		return fault.Invalidf("impact.item", "there is no connection, credential or flow %q; did you mean %q?", item, near)
	}
	return fault.Invalidf("impact.item", "there is no connection, credential or flow %q; name CONNECTION.TABLE.COLUMN, CONNECTION.TABLE, CONNECTION, a credential or a flow", item)
}
