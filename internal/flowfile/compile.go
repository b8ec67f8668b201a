package flowfile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

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
}

// The defaults of Limits.
const (
	defaultTimeout    = 30 * time.Second
	defaultRows       = 500
	defaultConcurrent = 50
	defaultPerUser    = 2
	defaultQueue      = 1_000
	maxTimeout        = 24 * time.Hour
)

// Compile reads a flow file against the connections of its directory. Every
// problem is reported; the plan is nil if one of them is an error.
func Compile(f File, connections []flow.Connection, o Options) (*flow.Plan, []Diagnostic) {
	r, root := open(f)
	if root == nil {
		return nil, r.diags
	}
	if at, other := otherPattern(root); other {
		// The sections of that pattern are unknown here: one message says it all.
		r.read(at, field{key: "pattern", into: &patternName{}})
		return nil, r.diags
	}
	var doc flowDoc
	r.read(root, field{into: &doc})
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
	c.params()
	row := c.readSection()
	item := c.eachSection(row)
	target := c.writeSection()
	c.mapSection(row, item, target)
	c.respond()
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
	if _, bound := c.out.Bindings[connection.Name]; !bound {
		binding := flow.Binding{System: connection.System}
		if c.options.Identity != nil {
			identity, err := c.options.Identity(connection)
			if err != nil {
				c.add(ref.at, CodeUnknownRef, fmt.Sprintf("%s: the connection %s cannot be resolved: %s", name, connection.Name, fault.Of(err).Text), "")
			}
			binding.Identity = identity
		}
		c.out.Bindings[connection.Name] = binding
	}
	return &table
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

// readSection gives the type of the variable row: what is selected, no more.
func (c *compiler) readSection() expr.Type {
	d := &c.doc.read
	if !d.given() {
		return expr.Anything
	}
	table := c.table(d.from, "read.from")
	read := &flow.Read{Connection: d.from.connection, Table: d.from.table}
	c.out.Read = read
	c.where(read, table)

	columns := map[string]expr.Type{}
	for _, s := range d.columns.items {
		if _, twice := columns[s.value]; twice && s.value != "" {
			c.add(s.at, CodeDuplicateKey, fmt.Sprintf("%s is selected twice", s.value), "remove one of the two")
			continue
		}
		if s.value == "" || !c.column(s.at, s.value, "read.select", table) {
			continue
		}
		columns[s.value] = expr.Anything
		if table != nil && table.Columns[s.value] != "" {
			columns[s.value] = expr.Scalar(table.Columns[s.value])
		}
		read.Select = append(read.Select, s.value)
	}
	if d.columns.given() && len(d.columns.items) == 0 {
		c.add(d.columns.at, CodeRequired, "read.select names no column", "name the columns that the flow needs")
	}
	for _, e := range d.expand.entries {
		if _, taken := columns[e.key]; taken {
			c.add(e.keyAt, CodeID, fmt.Sprintf("%s is also a selected column", e.key), "choose another name for the child rows")
			continue
		}
		if read.Expand == nil {
			read.Expand = map[string]string{}
		}
		read.Expand[e.key] = e.value.value
		columns[e.key] = expr.List(c.children(e, table))
	}
	if table == nil {
		return expr.Anything // what it has is unknown, and has been said
	}
	return expr.Object(columns)
}

func (c *compiler) children(e entry[text], table *flow.Table) expr.Type {
	path := e.value.value
	if table == nil || path == "" {
		return expr.Anything
	}
	child, ok := table.Children[path]
	if _, wired := table.Expand[path]; !ok && !wired && len(table.Children)+len(table.Expand) > 0 {
		known := slices.Concat(slices.Collect(maps.Keys(table.Children)), slices.Collect(maps.Keys(table.Expand)))
		slices.Sort(known)
		c.add(e.value.at, CodeUnknownColumn, fmt.Sprintf("read.expand: the table %s has no child rows %q", table.Name, clip(path)),
			suggest(path, slices.Compact(known), ""))
	}
	return expr.Columns(child)
}

func (c *compiler) where(read *flow.Read, table *flow.Table) {
	env := c.env(c.doc.read.at, c.paramsVar())
	for _, w := range c.doc.read.where.entries {
		want := expr.Anything
		if c.column(w.keyAt, w.key, "read.where", table) && table != nil {
			want = expr.Scalar(table.Columns[w.key])
		}
		c.compile(env, w.value, want, noBetter)
		read.Where = append(read.Where, flow.Match{Column: w.key, Expr: w.value.source})
	}
	if table == nil {
		return
	}
	for _, column := range slices.Sorted(maps.Keys(table.Where)) {
		read.Where = append(read.Where, flow.Match{Column: column, Expr: strconv.Quote(table.Where[column])})
	}
	named := map[string]bool{}
	for _, w := range read.Where {
		named[w.Column] = true
	}
	for _, key := range table.Keys {
		if !slices.ContainsFunc(key, func(column string) bool { return !named[column] }) {
			read.OneRow = true
		}
	}
}

func noBetter(string, string) string { return "" }

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

// selectIt explains a column that exists but is not read.
func (c *compiler) selectIt(of, name string) string {
	if of != "row" || c.out.Read == nil {
		return ""
	}
	if t, ok := c.connections[c.out.Read.Connection].Tables[c.out.Read.Table]; ok {
		if _, exists := t.Columns[name]; exists {
			return fmt.Sprintf("add %s to read.select", name)
		}
	}
	return ""
}

func (c *compiler) writeSection() *flow.Table {
	d := &c.doc.write
	if !d.given() {
		return nil
	}
	table := c.table(d.to, "write.to")
	write := &flow.Write{Connection: d.to.connection, Table: d.to.table, Repeat: d.repeat.value != ""}
	c.out.Write = write
	for _, k := range d.key.items {
		switch {
		case k.value == "" || !c.column(k.at, k.value, "write.key", table):
		case slices.Contains(write.Key, k.value):
			c.add(k.at, CodeDuplicateKey, fmt.Sprintf("%s stands twice in write.key", k.value), "remove one of the two")
		default:
			write.Key = append(write.Key, k.value)
		}
	}
	c.retrySafe(write, table)
	return table
}

// retrySafe keeps promise 2: a write may only be tried again where its key makes
// the second try change nothing.
func (c *compiler) retrySafe(write *flow.Write, table *flow.Table) {
	d := &c.doc.write
	if len(write.Key) == 0 {
		if len(d.key.items) > 0 {
			return // what is wrong with them has been said
		}
		fix := "add key: with the columns that identify a row"
		if table != nil && len(table.Keys) > 0 {
			fix = fmt.Sprintf("add key: [%s]", strings.Join(table.Keys[0], ", "))
		}
		c.add(d.at, CodeRetryUnsafe, "write has no key, so a retry would write each row again", fix)
		return
	}
	if table == nil || write.Repeat || len(write.Key) < len(d.key.items) {
		return
	}
	for _, key := range table.Keys {
		if sameColumns(key, write.Key) {
			return
		}
	}
	fix := "declare the key in connections.yaml if the system keeps it unique, else write repeat: accepted"
	if len(table.Keys) > 0 {
		fix = fmt.Sprintf("use key: [%s], or write repeat: accepted", strings.Join(table.Keys[0], ", "))
	}
	c.add(d.key.at, CodeRetryUnsafe, fmt.Sprintf("%s declares no key of %s, so a retry may write a row twice", table.Name, strings.Join(write.Key, ", ")), fix)
}

func sameColumns(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func (c *compiler) mapSection(row expr.Type, item *expr.Type, target *flow.Table) {
	d := &c.doc.mapping
	vars := []expr.Var{c.paramsVar(), {Name: "row", Type: row}}
	if item != nil {
		vars = append(vars, expr.Var{Name: "item", Type: *item})
	}
	env := c.env(d.at, vars...)
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

func (c *compiler) limits() {
	d := &c.doc.limits
	c.out.Limits = flow.Limits{
		Timeout: c.duration(d.timeout, defaultTimeout), Rows: count(d.rows, defaultRows), Concurrent: count(d.concurrent, defaultConcurrent),
		PerUser: count(d.perUser, defaultPerUser), Queue: count(d.queue, defaultQueue), ShareIdentical: c.duration(d.shareIdentical, 0),
	}
	switch {
	case d.timeout.ok && d.timeout.value <= 0:
		c.add(d.timeout.at, CodeTimeout, "limits.timeout is zero, so no run could end in time", "write a duration such as 30s")
	case d.timeout.value > maxTimeout:
		c.add(d.timeout.at, CodeTimeout, "limits.timeout is longer than 24h", "nobody waits that long at a button; write at most 24h")
	}
	if d.shareIdentical.value > maxTimeout {
		c.add(d.shareIdentical.at, CodeTimeout, "limits.share_identical is longer than 24h", "write at most 24h")
	}
}

func count(w whole, otherwise int) int {
	if !w.given() || w.value == 0 {
		return otherwise
	}
	return int(w.value)
}

// duration is d, or otherwise, at the speed of the environment.
func (c *compiler) duration(d span, otherwise time.Duration) time.Duration {
	v := otherwise
	if d.ok {
		v = d.value
	}
	if c.options.Speed > 0 {
		v = time.Duration(float64(v) / c.options.Speed)
	}
	return v
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
