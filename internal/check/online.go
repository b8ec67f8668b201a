package check

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
)

// The codes of what the systems themselves say differently. They are stable.
const (
	CodeGone        = "online.column" // a column is not there
	CodeChanged     = "online.type"
	CodeNoKey       = "online.key"
	CodeNoTable     = "online.table"
	CodeUnreachable = "online.connection" // the system could not be asked
	CodeGained      = "online.gained"     // a column that connections.yaml does not name
	CodeElsewhere   = "online.region"     // it belongs to a region that is not asked from here
	CodeUnsaid      = "online.unsaid"     // the system does not say what its tables look like
)

type (
	// Describe asks the system behind a connection what one of its tables looks like
	// now. A nil Shape means that it does not say. The text of an error is safe to show.
	Describe func(ctx context.Context, c flow.Connection, table string) (*Shape, error)

	// Shape is a table as its system has it. Type is empty where the system's type is
	// none of flow's; Keys are nil where it does not say which there are.
	Shape struct {
		Columns map[string]flow.Type
		Keys    [][]string
	}

	// Difference is one thing that a system has otherwise than flows and connections.yaml say.
	Difference struct {
		flowfile.Diagnostic
		Connection string
		Item       string   // CONNECTION.TABLE, CONNECTION.TABLE.COLUMN, or the connection
		Flows      []string // that it stops, sorted
	}

	// need is one table that a flow needs, and where the flow says so.
	need struct {
		flow    string
		file    flowfile.File
		columns map[string][]string // column → path of the place
		key     []string            // that is written by; nil for a read
		place   []string            // of the key, or of the table
	}

	// table is one table of a connection with all that flows need of it.
	table struct {
		name  string
		needs []*need
	}

	// online compares what is declared with what is.
	online struct {
		report Report
		ask    Describe
		found  []Difference
	}
)

// Online compares what the flows of a report use with what their systems say now, and
// returns the report with what differs. All connections are asked at the same time;
// one that cannot be asked is one problem, and hides nothing of the others.
func Online(ctx context.Context, r Report, ask Describe) Report {
	r.Problems = slices.Clone(r.Problems)
	for _, d := range Differences(ctx, r, ask) {
		r.Problems = append(r.Problems, d.Diagnostic)
	}
	flowfile.Sort(r.Problems)
	return r
}

// Differences is Online, for who wants to know what each is about. They come by
// connection.
func Differences(ctx context.Context, r Report, ask Describe) []Difference {
	needs := map[string][]table{} // by connection
	connections := systemsOf(Loaded{Connections: &flowfile.Connections{List: r.Connections}})
	for _, f := range r.Flows {
		gather(needs, f, connections)
	}
	parts := make([]online, len(r.Connections))
	var asking sync.WaitGroup
	for i, c := range r.Connections {
		parts[i] = online{report: r, ask: ask}
		asking.Go(func() { parts[i].connection(ctx, c, needs[c.Name]) })
	}
	asking.Wait()
	var out []Difference
	for _, p := range parts {
		out = append(out, p.found...)
	}
	return out
}

// gather notes what a flow needs. What is written is a need of its own for each write, for
// each has a key; a column is said once, where it stands first.
func gather(needs map[string][]table, f Flow, connections map[string]flow.Connection) {
	reads, writes := map[string]*need{}, map[string]*need{}
	for _, u := range trace(f, connections).uses {
		if u.table == "" || u.how == Sends || u.how == Asks || u.how == Restricted || u.how == Conflict || u.path != "" {
			continue
		}
		name, of := u.connection+"."+u.table, reads
		if u.written {
			of = writes
		}
		switch n := of[name]; {
		case u.column == "" && !u.whole:
			n = &need{flow: f.Plan.Flow, file: f.File, columns: map[string][]string{}, key: u.key, place: u.at}
			if u.key != nil {
				n.place = u.keyAt
			}
			of[name] = n
			add(needs, u.connection, u.table, n)
		case n != nil && u.column != "" && n.columns[u.column] == nil:
			n.columns[u.column] = u.at
		}
	}
}

func add(needs map[string][]table, connection, name string, n *need) {
	list := needs[connection]
	at := slices.IndexFunc(list, func(t table) bool { return t.name == name })
	if at < 0 {
		at = len(list)
		list = append(list, table{name: name})
	}
	list[at].needs = append(list[at].needs, n)
	needs[connection] = list
}

// connection asks for the tables of one connection, in order.
func (o *online) connection(ctx context.Context, c flow.Connection, tables []table) {
	slices.SortFunc(tables, func(a, b table) int { return cmp.Compare(a.name, b.name) })
	for _, t := range tables {
		if c.Tables[t.name].Files() {
			continue
		}
		shape, err := o.ask(ctx, c, t.name)
		switch f := fault.Of(err); {
		case err == nil && shape == nil:
			o.declared(CodeUnsaid, flowfile.Info, "", []string{c.Name}, "%s does not say what its tables look like; nothing was compared", c.Name)
			return
		case err == nil:
			o.table(c, t, *shape)
		case f.Code == CodeElsewhere:
			o.declared(CodeElsewhere, flowfile.Info, "", []string{c.Name}, "%s was not compared: %s", c.Name, f.Text)
			return
		case f.Class == fault.Rejected || f.Class == fault.NotFound:
			u := t.needs[0]
			o.used(u, c.Name+"."+t.name, CodeNoTable, []string{}, "look up the path of the table in "+ConnectionsFile, "table %s of %s: %s", t.name, c.Name, f.Text)
		default:
			// Whatever is wrong is wrong with all of its tables.
			o.declared(CodeUnreachable, flowfile.Error, "put it right, or check without --online", []string{c.Name}, "%s could not be asked: %s", c.Name, f.Text)
			return
		}
	}
}

// table compares one table.
func (o *online) table(c flow.Connection, t table, shape Shape) {
	declared := c.Tables[t.name]
	used := map[string]bool{}
	for _, u := range t.needs {
		for _, column := range slices.Sorted(maps.Keys(u.columns)) {
			used[column] = true
			if _, there := shape.Columns[column]; !there {
				o.used(u, c.Name+"."+t.name+"."+column, CodeGone, u.columns[column], near(column, declared, shape), "table %s of %s has no column %s", t.name, c.Name, column)
			}
		}
		if u.key != nil && shape.Keys != nil && !slices.ContainsFunc(shape.Keys, func(k []string) bool { return same(k, u.key) }) {
			o.used(u, c.Name+"."+t.name, CodeNoKey, u.place, "create the key there, or write by one that it has: "+listed(shape.Keys),
				"table %s of %s has no unique key over %s", t.name, c.Name, strings.Join(u.key, ", "))
		}
	}
	place := []string{c.Name, "tables", t.name}
	for _, column := range slices.Sorted(maps.Keys(declared.Columns)) {
		live, there := shape.Columns[column]
		at := append(slices.Clone(place), "columns", column)
		switch {
		case !there && !used[column]:
			o.declared(CodeGone, flowfile.Warning, near(column, declared, shape), at, "table %s of %s has no column %s; no flow uses it", t.name, c.Name, column)
		case there && used[column] && !holds(declared.Columns[column], live):
			o.changed(c, t, column, live)
		}
	}
	for _, key := range declared.Keys {
		written := slices.ContainsFunc(t.needs, func(u *need) bool { return u.key != nil && same(u.key, key) })
		if shape.Keys != nil && !written && !unique(key, declared.Where, shape.Keys) {
			o.declared(CodeNoKey, flowfile.Warning, "declare a key that it has: "+listed(shape.Keys), append(slices.Clone(place), "keys"),
				"table %s of %s has no unique key over %s", t.name, c.Name, strings.Join(key, ", "))
		}
	}
	if len(declared.Columns) == 0 {
		return
	}
	var gained []string
	for _, column := range slices.Sorted(maps.Keys(shape.Columns)) {
		if _, known := declared.Columns[column]; !known {
			gained = append(gained, column)
		}
	}
	if len(gained) > 0 {
		o.declared(CodeGained, flowfile.Info, "", place, "table %s of %s has %s that %s does not name: %s", t.name, c.Name, counted(len(gained)), ConnectionsFile, some(gained))
	}
}

// used is a problem at the place of a flow that needs what is not there.
func (o *online) used(u *need, item, code string, path []string, fix, format string, args ...any) {
	line, col := nearest(flowfile.Open(u.file), path)
	if line == 1 && col == 1 {
		line, col = flowfile.Find(u.file, u.place...)
	}
	connection, _, _ := strings.Cut(item, ".")
	o.found = append(o.found, Difference{Connection: connection, Item: item, Flows: []string{u.flow}, Diagnostic: flowfile.Diagnostic{
		File: u.file.Name, Line: line, Col: col, Code: code, Severity: flowfile.Error, Message: fmt.Sprintf(format, args...), Fix: fix,
	}})
}

// declared is a problem at a place of connections.yaml: the name of a connection, and what
// is below it.
func (o *online) declared(code string, s flowfile.Severity, fix string, path []string, format string, args ...any) {
	at := append([]string{"connections"}, path...)
	line, col := flowfile.Find(o.report.Declared, at...)
	o.found = append(o.found, Difference{Connection: path[0], Item: path[0], Diagnostic: flowfile.Diagnostic{
		File: o.report.Declared.Name, Line: line, Col: col, Code: code, Severity: s, Message: fmt.Sprintf(format, args...), Fix: fix,
	}})
}

// changed is a column that has another type than flows that use it go by.
func (o *online) changed(c flow.Connection, t table, column string, live flow.Type) {
	declared := c.Tables[t.name].Columns[column]
	o.declared(CodeChanged, flowfile.Error, fmt.Sprintf("write %s: %s, and see what flows make of it", column, live), []string{c.Name, "tables", t.name, "columns", column},
		"table %s of %s has %s as %s, not as %s", t.name, c.Name, column, live, declared)
	d := &o.found[len(o.found)-1]
	d.Item = c.Name + "." + t.name + "." + column
	for _, n := range t.needs {
		if n.columns[column] != nil && !slices.Contains(d.Flows, n.flow) {
			d.Flows = append(d.Flows, n.flow)
		}
	}
	slices.Sort(d.Flows)
}

// holds reports whether values of a live type are what a column is declared as. What
// the system does not say, and what is declared as anything, is not compared.
func holds(declared, live flow.Type) bool {
	switch {
	case live == "", declared == flow.Any, declared == live:
		return true
	case declared == flow.Decimal:
		return live == flow.Int
	}
	return false
}

// same reports whether two keys have the same columns.
func same(a, b []string) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(c string) bool { return !slices.Contains(b, c) })
}

// unique reports whether a key that is only read by holds one of the keys there are;
// what the table is restricted to is part of it.
func unique(key []string, where map[string]string, keys [][]string) bool {
	return slices.ContainsFunc(keys, func(k []string) bool {
		return !slices.ContainsFunc(k, func(c string) bool {
			_, fixed := where[c]
			return !fixed && !slices.Contains(key, c)
		})
	})
}

func listed(keys [][]string) string {
	if len(keys) == 0 {
		return "none"
	}
	texts := make([]string, len(keys))
	for i, k := range keys {
		texts[i] = "[" + strings.Join(k, ", ") + "]"
	}
	return some(texts)
}

// near suggests a column that differs in case, or one that nobody has declared and that
// has almost that name; else it says what to do.
func near(column string, declared flow.Table, shape Shape) string {
	var others []string
	for _, name := range slices.Sorted(maps.Keys(shape.Columns)) {
		if strings.EqualFold(name, column) {
			return "it is called " + name
		}
		if _, known := declared.Columns[name]; !known {
			others = append(others, name)
		}
	}
	if name := fault.Closest(column, others); name != "" {
		return "it may be called " + name + " now"
	}
	return "take it out, or look whether the user of the connection may see it"
}

// some lists up to a dozen.
func some(list []string) string {
	const most = 12
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

func counted(n int) string {
	if n == 1 {
		return "a column"
	}
	return fmt.Sprintf("%d columns", n)
}
