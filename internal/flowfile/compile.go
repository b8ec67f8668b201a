package flowfile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"patchbay/calculator"
	"patchbay/internal/expr"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// Options are what a plan takes from the place it is compiled in.
type Options struct {
	// Speed divides every duration; 0 and 1 are real time.
	Speed float64
	// Identity names the system behind a connection (flow.Binding). nil compiles
	// to check only: the plan's bindings then have no identity and must not run.
	Identity func(flow.Connection) (string, error)
	// Now is when schedules are looked at: what would have fired before never fires.
	// Zero: when the file is compiled.
	Now time.Time
	// Peers are the regions of connections.yaml; nil: they are not known, and no flow is
	// asked for them.
	Peers []flow.Peer
	// Contracts are those of the calculators that this program hosts, by "NAME VERSION".
	Contracts map[string]calculator.Contract
	// File reads a template beside the flow; nil: there are none.
	File func(name string) ([]byte, error)
}

// Compile reads a flow file against the connections of its directory. Every
// problem is reported; the plan is nil if one of them is an error.
func Compile(f File, connections []flow.Connection, o Options) (*flow.Plan, []Diagnostic) {
	r, root := open(f)
	if root == nil {
		return nil, r.diags
	}
	var doc flowDoc
	r.read(root, field{into: &doc})
	doc.at = placeOf(root)
	c := &compiler{reader: r, doc: &doc, options: o, connections: map[string]flow.Connection{}}
	for _, connection := range connections {
		c.connections[connection.Name] = connection
	}
	plan := c.plan()
	Sort(r.diags)
	if Failed(r.diags) {
		return nil, r.diags
	}
	return plan, r.diags
}

// compiler turns a decoded file into a plan and checks what a shape cannot say.
type compiler struct {
	*reader
	doc         *flowDoc
	options     Options
	connections map[string]flow.Connection
	out         flow.Plan
}

func (c *compiler) plan() *flow.Plan {
	d := c.doc
	c.out = flow.Plan{
		Flow: d.flow.value, Pattern: d.pattern.value, Summary: d.summary.value, Why: d.why.value,
		Bindings: map[string]flow.Binding{},
	}
	c.sections()
	switch d.pattern.value {
	case flow.Event:
		c.event()
		return &c.out
	case flow.Consolidation:
		c.consolidation()
		return &c.out
	case flow.Synchronization:
		c.synchronization()
		return &c.out
	case flow.Service:
		c.service()
		return &c.out
	case flow.Hybrid:
		c.hybrid()
		return &c.out
	}
	c.params()
	c.out.Emits = c.topics(&d.emits, "emits")
	row := c.readSection()
	item := c.eachSection(row)
	c.oneEnd()
	if d.tell.given() {
		c.emitSection(row, item)
	} else {
		c.mapSection(row, item, c.writeSection())
	}
	c.respond()
	c.order()
	c.limits()
	return &c.out
}

// table finds the connection and the table a reference names and binds the plan
// to the connection; nil after a diagnostic.
func (c *compiler) table(ref tableRef, name string) *flow.Table {
	if ref.connection == "" {
		return nil
	}
	connection, ok := c.connections[ref.connection]
	if !ok {
		c.add(ref.at, CodeUnknownConnection, fmt.Sprintf("%s: there is no connection %q", name, clip(ref.connection)),
			suggest(ref.connection, slices.Sorted(maps.Keys(c.connections)), "declare it in connections.yaml"))
		return nil
	}
	table, ok := connection.Tables[ref.table]
	if !ok {
		c.add(ref.tableAt, CodeUnknownTable, fmt.Sprintf("%s: the connection %s has no table %q", name, ref.connection, clip(ref.table)),
			suggest(ref.table, slices.Sorted(maps.Keys(connection.Tables)), "declare it in connections.yaml"))
		return nil
	}
	c.bind(connection, ref.at, name)
	return &table
}

// bind pins a connection of the plan to the system that it names now.
func (c *compiler) bind(connection flow.Connection, p at, name string) {
	if _, bound := c.out.Bindings[connection.Name]; bound {
		return
	}
	binding := flow.Binding{System: connection.System}
	if c.options.Identity != nil {
		identity, err := c.options.Identity(connection)
		if err != nil {
			c.add(p, CodeUnknownRef, fmt.Sprintf("%s: the connection %s cannot be resolved: %s", name, connection.Name, fault.Of(err).Text), "")
		}
		binding.Identity = identity
	}
	c.out.Bindings[connection.Name] = binding
}

// column reports a column that the table does not have. A table without columns
// has an unknown schema.
func (c *compiler) column(p at, name, in string, table *flow.Table) bool {
	if table == nil || len(table.Columns) == 0 {
		return true
	}
	if _, ok := table.Columns[name]; ok {
		return true
	}
	c.add(p, CodeUnknownColumn, fmt.Sprintf("%s: the table %s has no column %q", in, table.Name, clip(name)),
		suggest(name, slices.Sorted(maps.Keys(table.Columns)), ""))
	return false
}

// compile checks one expression and reports its issues at their place.
func (c *compiler) compile(env *expr.Env, e *cel, want expr.Type, fixColumn func(of, name string) string) *expr.Program {
	if env == nil || e.node == nil {
		return nil
	}
	p, issues := env.Compile(e.source, want)
	for _, i := range issues {
		code, fix := CodeCEL, i.Fix
		switch i.Kind {
		case expr.Column:
			code = CodeUnknownColumn
			if better := fixColumn(i.Of, i.Name); better != "" {
				fix = better
			}
		case expr.Costly:
			code = CodeCELCost
		case expr.Regex:
			code = CodeRegex
		}
		c.add(c.inside(e.node, i.Line, i.Col), code, i.Message, fix)
	}
	return p
}

func (c *compiler) env(p at, vars ...expr.Var) *expr.Env {
	env, err := expr.New(vars...)
	if err != nil {
		c.add(p, CodeCEL, "the variables cannot be declared: "+err.Error(), "")
	}
	return env
}

func (c *compiler) paramsVar() expr.Var {
	return expr.Var{Name: "params", Type: expr.Params(c.out.Params)}
}

// eachSection gives the type of the variable item; the bool says whether there
// is one.
func (c *compiler) eachSection(row expr.Type) *expr.Type {
	d := &c.doc.each
	if d.node == nil {
		return nil
	}
	c.out.Each = d.source
	item := expr.Anything
	if p := c.compile(c.env(d.at, c.paramsVar(), expr.Var{Name: "row", Type: row}), d, expr.List(expr.Anything), c.selectIt); p != nil {
		item = p.Type().Elem()
	}
	return &item
}

func (c *compiler) mapSection(row expr.Type, item *expr.Type, target *flow.Table) {
	d := &c.doc.mapping
	env := c.rowEnv(row, item)
	mapped := map[string]bool{}
	for _, e := range d.entries {
		want := expr.Anything
		if c.column(e.keyAt, e.key, "map", target) && target != nil {
			want = expr.Scalar(target.Columns[e.key])
		}
		c.compile(env, e.value, want, c.selectIt)
		mapped[e.key] = true
		c.out.Map = append(c.out.Map, flow.Column{Name: e.key, Expr: e.value.source})
	}
	if c.out.Write == nil {
		return
	}
	if !d.given() {
		c.add(c.doc.write.at, CodeRequired, "map is missing", "say which columns are written: map: { column: expression }")
		return
	}
	for _, k := range c.doc.write.key.items {
		if k.value != "" && !mapped[k.value] {
			c.add(k.at, CodeUnknownColumn, fmt.Sprintf("write.key: map does not fill the column %q", k.value), suggest(k.value, slices.Sorted(maps.Keys(mapped)), "add it to map"))
		}
	}
}

// rowEnv are the variables of map.
func (c *compiler) rowEnv(row expr.Type, item *expr.Type) *expr.Env {
	vars := []expr.Var{c.paramsVar(), {Name: "row", Type: row}}
	if item != nil {
		vars = append(vars, expr.Var{Name: "item", Type: *item})
	}
	return c.env(c.doc.mapping.at, vars...)
}

func (c *compiler) respond() {
	d := &c.doc.respond
	c.out.Respond = flow.AfterRead
	if d.value != "" {
		c.out.Respond = flow.Respond(d.value)
	}
	if c.out.Respond == flow.AfterWrite && c.out.Write == nil {
		c.add(d.at, CodeRequired, "respond is after-write, but nothing is written", "add write, or respond: after-read")
	}
}

// order takes the parameters that runs are kept in order by.
func (c *compiler) order() {
	known := make([]string, len(c.out.Params))
	for i, p := range c.out.Params {
		known[i] = p.Name
	}
	for _, name := range c.doc.order.items {
		switch {
		case name.value == "":
		case !slices.Contains(known, name.value):
			c.add(name.at, CodeUnknownRef, fmt.Sprintf("order: the flow has no parameter %q", clip(name.value)), suggest(name.value, known, "declare it in params"))
		case slices.Contains(c.out.Order, name.value):
			c.add(name.at, CodeDuplicateKey, fmt.Sprintf("%s stands twice in order", name.value), "remove one of the two")
		default:
			c.out.Order = append(c.out.Order, name.value)
		}
	}
}

// suggest names the known thing that was meant, or says what else to do.
func suggest(name string, known []string, otherwise string) string {
	if near := fault.Closest(name, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if otherwise != "" || len(known) == 0 {
		return otherwise
	}
	const most = 12
	if len(known) > most {
		known = append(slices.Clone(known[:most]), "…")
	}
	return "known: " + strings.Join(known, ", ")
}
