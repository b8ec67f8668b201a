package flowfile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"patchbay/internal/expr"
	"patchbay/internal/flow"
)

// The defaults and bounds of event flows.
const (
	eventTimeout = 720 * time.Hour
	eventQueue   = 1_000_000
	eventPerUser = 1_000_000 // events have one principal, which is not to wait for itself
	maxWindow    = 24 * time.Hour
	leastSweep   = 10 * time.Second
	quietTimes   = 10 // max_wait, where nothing is said
)

// event compiles the sections of an event flow.
func (c *compiler) event() {
	d := c.doc
	c.out.Params, c.out.Order, c.out.Respond = flow.EventParams(), []string{"key"}, flow.AfterWrite
	c.out.Reaction = &flow.Reaction{Counts: d.explain.value == "counts", Loop: d.loop.value != ""}
	tables := c.triggers()
	record := common(tables)
	row := record
	if read := c.readSection(); d.read.given() {
		row = read
	}
	c.windows()
	c.throttles(record)
	c.volume()
	c.out.Emits = c.topics(&d.emits, "emits")
	c.oneEnd()
	switch {
	case d.send.given():
		c.sends(row)
		if d.mapping.given() || d.each.given() {
			c.add(c.firstOf(d.mapping.at, d.each.at), CodePattern, "map and each make rows for write, and this flow sends", "remove them; the template makes the message")
		}
	case d.write.given(), d.tell.given():
		item := c.eachSection(row)
		if d.tell.given() {
			c.emitSection(row, item)
		} else {
			c.mapSection(row, item, c.writeSection())
		}
		if !d.read.given() {
			for _, e := range d.mapping.entries {
				c.uses(c.program(e.value))
			}
			c.uses(c.program(&d.each))
		}
	default:
		c.add(d.at, CodeRequired, "the flow neither sends nor writes nor tells of an event", "add send: { to: CONNECTION, template: NAME.html, recipient: row.COLUMN }, write, or emit")
	}
	c.eventLimits()
}

// oneEnd proves that what comes of a run goes one way.
func (c *compiler) oneEnd() {
	d := c.doc
	var ends []string
	for _, s := range []struct {
		name string
		at   at
	}{{"send", d.send.at}, {"write", d.write.at}, {"emit", d.tell.at}} {
		if s.at.given() {
			ends = append(ends, s.name)
		}
	}
	if len(ends) > 1 {
		c.add(c.firstOf(d.send.at, d.write.at), CodePattern, "the flow has both "+strings.Join(ends, " and "), "keep one; a second flow does the other")
	}
	if d.emits.given() && !d.tell.given() {
		c.add(d.emits.at, CodeRequired, "the flow declares what it tells of, and tells of nothing", "add emit: with the name of the event")
	}
}

func (c *compiler) firstOf(a, b at) at {
	if a.given() {
		return a
	}
	return b
}

// triggers compiles on and gives the tables of the triggers, each once; a table that
// is not known is nil.
func (c *compiler) triggers() []*flow.Table {
	d := c.doc
	if !d.on.given() {
		return nil
	}
	if d.on.ok && len(d.on.items) == 0 {
		c.add(d.on.at, CodeRequired, "on names no trigger", "write - { source: CONNECTION.TABLE, change: [update], key: row.COLUMN }")
	}
	var tables []*flow.Table
	seen := map[string]bool{}
	for _, t := range d.on.items {
		if t.event.given() {
			c.add(t.event.at, CodePattern, "on.event: business events start services, and this flow is event", "write pattern: service, or source: CONNECTION.TABLE")
			continue
		}
		table := c.table(t.source, "on.source")
		c.out.Reaction.On = append(c.out.Reaction.On, c.trigger(t, table))
		if name := t.source.connection + "." + t.source.table; !seen[name] {
			seen[name] = true
			tables = append(tables, table)
		}
		c.told(t)
	}
	return tables
}

// told refuses a source that nobody would hear of.
func (c *compiler) told(t *triggerDoc) {
	connection, ok := c.connections[t.source.connection]
	if ok && connection.System == "graph" && !c.doc.sweep.given() { // a notification says only that there is something to read
		c.add(t.source.at, CodeRequired, fmt.Sprintf("on.source: %s says what changed only when it is asked, and the flow has no sweep", t.source.connection),
			"add sweep: 5m; a notification brings it forward")
		return
	}
	if ok && connection.Hook == nil && !c.doc.sweep.given() && !slices.Contains(followed, connection.System) {
		c.add(t.source.at, CodeRequired, fmt.Sprintf("on.source: nothing tells of changes in %s", t.source.connection),
			"declare hook: of the connection in connections.yaml, or add sweep: 5m")
	}
}

func (c *compiler) trigger(d *triggerDoc, table *flow.Table) flow.Trigger {
	t := flow.Trigger{
		Connection: d.source.connection, Table: d.source.table,
		Where: d.where.source, Transitions: d.transitions.source, Key: d.key.source,
	}
	updates := false
	for _, w := range d.change.items {
		change := flow.ChangeType(w.value)
		switch {
		case w.value == "":
			updates = true // what is wrong with it has been said
		case slices.Contains(t.Change, change):
			c.add(w.at, CodeDuplicateKey, fmt.Sprintf("%s stands twice in on.change", w.value), "remove one of the two")
		default:
			t.Change = append(t.Change, change)
			updates = updates || change == flow.Updated
		}
	}
	if d.change.ok && len(d.change.items) == 0 {
		c.add(d.change.at, CodeRequired, "on.change names no type of change", "write [create, update, delete], or some of them")
	}
	for _, s := range d.columns.items {
		switch {
		case s.value == "" || !c.column(s.at, s.value, "on.select", table):
		case slices.Contains(t.Select, s.value):
			c.add(s.at, CodeDuplicateKey, fmt.Sprintf("%s is selected twice", s.value), "remove one of the two")
		default:
			t.Select = append(t.Select, s.value)
		}
	}
	if d.change.ok && !updates {
		for _, o := range []struct {
			name string
			at   at
		}{{"select", d.columns.at}, {"transitions", d.transitions.at}} {
			if o.at.given() {
				c.add(o.at, CodeUnused, fmt.Sprintf("on.%s is for updates, and the trigger reacts to none", o.name), "remove it, or add update to change")
			}
		}
	}
	t.Columns = append(t.Columns, t.Select...)
	row := c.record(table)
	env := c.env(d.at, expr.Var{Name: "row", Type: row})
	both := c.env(d.at, expr.Var{Name: "row", Type: row}, expr.Var{Name: "was", Type: row})
	for _, p := range []*expr.Program{
		c.compile(env, &d.where, expr.Scalar(flow.Bool), noBetter),
		c.compile(both, &d.transitions, expr.Scalar(flow.Bool), noBetter),
		c.key(env, &d.key, noBetter),
	} {
		for _, variable := range []string{"row", "was"} {
			t.Columns = append(t.Columns, usedOf(p, variable, table)...)
		}
	}
	slices.Sort(t.Columns)
	t.Columns = slices.Compact(t.Columns)
	return t
}

func (c *compiler) record(table *flow.Table) expr.Type {
	if table == nil {
		return expr.Anything
	}
	return expr.Columns(table.Columns)
}

// key compiles what must be a text or a number.
func (c *compiler) key(env *expr.Env, e *cel, fixColumn func(of, name string) string) *expr.Program {
	p := c.compile(env, e, expr.Anything, fixColumn)
	if p == nil {
		return nil
	}
	switch kind := p.Type().String(); kind {
	case string(flow.String), string(flow.Int), string(flow.Decimal), string(flow.Date), string(flow.Timestamp), string(flow.Any):
		return p
	default:
		c.add(c.inside(e.node, 1, 1), CodeCEL, fmt.Sprintf("the key is a %s, and must be a text or a number", kind), "select the column that names the record")
		return nil
	}
}

// usedOf are the columns of a table that an expression takes of a variable.
func usedOf(p *expr.Program, variable string, table *flow.Table) []string {
	if p == nil {
		return nil
	}
	columns, whole := p.Uses(variable)
	if table == nil || len(table.Columns) == 0 {
		return columns
	}
	if whole {
		return slices.Sorted(maps.Keys(table.Columns))
	}
	return slices.DeleteFunc(slices.Clone(columns), func(name string) bool { _, known := table.Columns[name]; return !known })
}

// uses adds what an expression over the changed record takes to every trigger.
func (c *compiler) uses(p *expr.Program) {
	for i := range c.out.Reaction.On {
		t := &c.out.Reaction.On[i]
		table, ok := c.connections[t.Connection].Tables[t.Table]
		if ok {
			c.wants(t, usedOf(p, "row", &table)...)
		}
	}
}

func (c *compiler) wants(t *flow.Trigger, columns ...string) {
	t.Columns = append(t.Columns, columns...)
	slices.Sort(t.Columns)
	t.Columns = slices.Compact(t.Columns)
}

// program compiles an expression again, without its types, to see what it uses.
func (c *compiler) program(e *cel) *expr.Program {
	if e.node == nil {
		return nil
	}
	vars := []expr.Var{{Name: "row"}, {Name: "item"}, {Name: "params"}, {Name: "key"}}
	env, err := expr.New(vars...)
	if err != nil {
		return nil
	}
	p, _ := env.Compile(e.source, expr.Anything)
	return p
}

// common is the type of a record of any of the tables: the columns that all of them
// have.
func common(tables []*flow.Table) expr.Type {
	var columns map[string]flow.Type
	for _, t := range tables {
		switch {
		case t == nil:
			return expr.Anything
		case len(t.Columns) == 0:
		case columns == nil:
			columns = maps.Clone(t.Columns)
		default:
			for name, kind := range columns {
				switch other, ok := t.Columns[name]; {
				case !ok:
					delete(columns, name)
				case other != kind:
					columns[name] = flow.Any
				}
			}
		}
	}
	if columns == nil {
		return expr.Anything
	}
	if len(columns) == 0 {
		return expr.Object(map[string]expr.Type{})
	}
	return expr.Columns(columns)
}

// readIt explains a column that not every record has which the flow reacts to.
func (c *compiler) readIt(of, name string) string {
	if c.out.Read != nil {
		return c.selectIt(of, name)
	}
	if of != "row" {
		return ""
	}
	for _, t := range c.out.Reaction.On {
		if _, ok := c.connections[t.Connection].Tables[t.Table].Columns[name]; ok {
			return fmt.Sprintf("not every source has it, only %s.%s; add read: with what the message needs", t.Connection, t.Table)
		}
	}
	return ""
}

func (c *compiler) windows() {
	d, r := c.doc, c.out.Reaction
	if s := d.sweep; s.ok {
		if s.value < leastSweep {
			c.add(s.at, CodeRange, "sweep is shorter than 10s", "a sweep finds what a delivery missed; write 5m")
		}
		r.Sweep = c.duration(s, 0)
	}
	w := d.collapse
	r.Quiet = c.duration(w.quiet, 0)
	if r.Quiet > 0 {
		r.MaxWait = c.duration(w.maxWait, quietTimes*w.quiet.value)
	}
	switch {
	case w.quiet.value > maxWindow || w.maxWait.value > maxWindow:
		c.add(w.at, CodeRange, "collapse keeps a window open for longer than 24h", "write at most 24h")
	case w.maxWait.ok && w.maxWait.value < w.quiet.value:
		c.add(w.maxWait.at, CodeRange, "collapse.max_wait is shorter than collapse.quiet", "a window would always end by max_wait; exchange them")
	}
}

func (c *compiler) throttles(record expr.Type) {
	d := &c.doc.throttle
	if !d.given() {
		return
	}
	t := &flow.Throttle{Rate: d.rate.count, Per: c.duration(span{value: d.rate.per, ok: d.rate.ok}, 0), Burst: count(d.burst, d.rate.count), By: d.per.source}
	c.out.Reaction.Throttle = t
	if d.per.node != nil {
		env := c.env(d.at, expr.Var{Name: "row", Type: record})
		c.uses(c.compile(env, &d.per, expr.Anything, c.throttleIt))
	}
}

// throttleIt explains a column that is not of the changed record.
func (c *compiler) throttleIt(of, name string) string {
	if of != "row" {
		return ""
	}
	return "throttle is over the changed record, before anything is read; use a column that every source of on has"
}

func (c *compiler) volume() {
	d, r := c.doc, c.out.Reaction
	r.Expect = flow.Expect{PerDay: d.expect.perDay.value, PerMonth: d.expect.perMonth.value}
	last := -1
	for _, w := range d.spike.items {
		at := slices.Index(spikeModes, w.value)
		switch {
		case at < 0: // has been said
		case at <= last:
			c.add(w.at, CodeRange, "the modes of spike are out of order", "keep this order, each at most once: "+strings.Join(spikeModes, ", "))
		default:
			r.Spike = append(r.Spike, flow.SpikeMode(w.value))
			last = at
		}
	}
	if len(r.Spike) > 0 && r.Expect == (flow.Expect{}) && !d.expect.given() {
		c.add(d.spike.at, CodeRequired, "spike says what happens past what is expected, and nothing is", "add expect: { per_day: N }; patchbay estimate counts it")
	}
	if d.expect.given() && !d.expect.perDay.given() && !d.expect.perMonth.given() {
		c.add(d.expect.at, CodeRequired, "expect says nothing", "add per_day or per_month")
	}
	if slices.Contains(r.Spike, flow.SpikeDigest) && !d.send.given() {
		c.add(d.spike.at, CodePattern, "spike has digest, which is one message for each recipient, and this flow sends none", "remove digest")
	}
}

func (c *compiler) eventLimits() {
	d := &c.doc.limits
	c.out.Limits = flow.Limits{
		Timeout: c.duration(d.timeout, eventTimeout), Rows: count(d.rows, defaultRows), Concurrent: count(d.concurrent, defaultConcurrent),
		PerUser: eventPerUser, Queue: count(d.queue, eventQueue),
	}
	if d.timeout.ok && (d.timeout.value <= 0 || d.timeout.value > eventTimeout) {
		c.add(d.timeout.at, CodeTimeout, "limits.timeout of an event flow is zero or longer than 720h", "write a duration such as 24h")
	}
}
