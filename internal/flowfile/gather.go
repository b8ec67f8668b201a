package flowfile

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/calendar"
	"patchbay/internal/expr"
	"patchbay/internal/flow"
)

// The variables that a source's name would hide.
var taken = []string{expr.VarKey, expr.VarAsOf, "row", "facts", "plan"}

const maxRun = 24 * time.Hour // of a consolidation

// consolidation compiles the sections of a consolidation.
func (c *compiler) consolidation() {
	c.out.Params, c.out.Respond = consolidationParams(), flow.AfterWrite
	c.out.Schedule = c.schedule()
	g := &flow.Gather{Guard: flow.Guard{Zero: c.doc.guard.zero.value, Share: int(c.doc.guard.share.value)}}
	c.out.Gather = g
	for _, e := range c.doc.gather.entries {
		g.Sources = append(g.Sources, c.gatherSource(e))
	}
	if d := c.doc.gather; d.given() && len(d.entries) == 0 {
		c.add(d.at, CodeRequired, "gather names no source", "write NAME: { from: CONNECTION.TABLE, … } below it")
	}
	c.base()
	target := c.writeSection()
	used := c.gatherMap(target)
	used = append(used, c.advise()...)
	c.unusedSources(used)
	c.gatherLimits()
}

// consolidationParams are what a person may give a run.
func consolidationParams() []flow.Param {
	return []flow.Param{
		{Name: flow.ParamFull, Type: flow.Bool, Title: "Read everything", Help: "Whatever the watermarks say: also what was not changed", Optional: true},
		{Name: flow.ParamAccept, Type: flow.Bool, Title: "The figures are right", Help: "Write, whatever the guard says of the number of rows", Optional: true},
	}
}

func (c *compiler) schedule() *flow.Schedule {
	d := &c.doc.schedule
	if !d.given() {
		return nil
	}
	s := flow.Schedule{
		Every: d.every.value, Phase: d.phase.value, Zone: d.timezone.value, Jitter: d.jitter.value, Overlap: flow.Overlap(d.overlap.value),
		CatchUp: d.catchUp.value, Paused: d.paused.value, WarnAt: int(d.warnAt.value),
	}
	places := map[string][]at{
		"schedule": {d.at}, "every": {d.every.at}, "phase": {d.phase.at}, "timezone": {d.timezone.at}, "jitter": {d.jitter.at},
		"catch_up": {d.catchUp.at}, "warn_at": {d.warnAt.at}, "overlap": {d.overlap.at}, "cron": {d.cron.at}, "holidays": {d.holidays.at},
	}
	place := func(p calendar.Problem) at {
		list := d.cron.items
		if p.Field == "holidays" {
			list = d.holidays.items
		}
		if (p.Field == "cron" || p.Field == "holidays") && p.Index < len(list) {
			return list[p.Index].at
		}
		if known := places[p.Field]; len(known) > 0 && known[0].given() {
			return known[0]
		}
		return d.at
	}
	broken := d.every.given() && !d.every.ok // what it says has been reported
	for _, t := range d.cron.items {
		broken = broken || t.value == ""
		s.Cron = append(s.Cron, t.value)
	}
	for _, t := range d.holidays.items {
		broken = broken || t.value == ""
		s.Holidays = append(s.Holidays, t.value)
	}
	if d.every.ok && d.every.value == 0 {
		c.add(d.every.at, CodeSchedule, "schedule.every: 0s is too short", "give 1s or more")
		broken = true
	}
	if broken {
		return &s
	}
	now := c.options.Now
	if now.IsZero() {
		now = time.Now()
	}
	for _, p := range calendar.Check(s, now) {
		report := c.add
		if p.Warning {
			report = c.warn
		}
		name := "schedule"
		if p.Field != name {
			name += "." + p.Field
		}
		report(place(p), CodeSchedule, name+": "+p.Text, p.Fix)
	}
	s = calendar.Scale(s, c.options.Speed)
	return &s
}

func (c *compiler) gatherSource(e entry[sourceDoc]) flow.Source {
	d, name := e.value, "gather."+e.key
	switch {
	case slices.Contains(reserved, e.key):
		c.add(e.keyAt, CodeID, fmt.Sprintf("%q is a word of the expression language", e.key), "choose another name")
	case slices.Contains(taken, e.key):
		c.add(e.keyAt, CodeID, fmt.Sprintf("%q is a variable of every consolidation", e.key), "choose another name")
	}
	table := c.table(d.from, name+".from")
	if system := c.connections[d.from.connection].System; unread[system] != "" {
		c.add(d.from.at, CodeUnknownRef, fmt.Sprintf("%s.from: the connector %s %s and cannot be read", name, system, unread[system]), "gather from another system")
	}
	s := flow.Source{
		Name: e.key, Connection: d.from.connection, Table: d.from.table, Key: d.key.source, One: d.one.value,
		OnMissing: flow.OnMissing(cmp.Or(d.onMissing.value, string(flow.Hold))), Stale: c.duration(d.stale, 0), Page: int(d.page.value),
		Lost: flow.Drift(cmp.Or(d.lost.value, string(flow.DriftStop))), Gained: flow.Drift(cmp.Or(d.gained.value, string(flow.DriftIgnore))),
	}
	known := c.gatherSelect(&s, d, name, table)
	c.gatherWhere(&s, d, name, table)
	row := expr.Anything
	if known {
		row = expr.RowVars(s)[0].Type
	}
	c.key(c.env(d.at, expr.Var{Name: "row", Type: row}), &d.key, c.selectFrom(name, table))
	s.Identity = c.selected(d.identity, name+".identity", &s, known)
	if d.identity.ok && len(d.identity.items) == 0 {
		c.add(d.identity.at, CodeRequired, name+".identity names no column", "name the columns that tell one row from another")
	}
	c.identity(d, &s, name, table)
	c.changed(d, &s, name, known)
	if d.stale.given() && s.OnMissing != flow.LastGood {
		c.add(d.stale.at, CodeUnused, name+".stale is for on_missing: last_good", "remove it, or write on_missing: last_good")
	}
	return s
}

// gatherSelect takes the columns with their types; false where it is not known what a
// row has.
func (c *compiler) gatherSelect(s *flow.Source, d *sourceDoc, name string, table *flow.Table) bool {
	known := table != nil && d.columns.ok
	for _, item := range d.columns.items {
		switch {
		case item.value == "":
			known = false
		case slices.Contains(s.Select, item.value):
			c.add(item.at, CodeDuplicateKey, item.value+" is selected twice", "remove one of the two")
		default:
			t := flow.Any
			if c.column(item.at, item.value, name+".select", table) && table != nil && table.Columns[item.value] != "" {
				t = table.Columns[item.value]
			}
			s.Select, s.Types = append(s.Select, item.value), append(s.Types, t)
		}
	}
	if d.columns.ok && len(d.columns.items) == 0 {
		c.add(d.columns.at, CodeRequired, name+".select names no column", "name the columns that the flow needs")
	}
	return known
}

// gatherWhere takes conditions, which are constants: no caller gives a run anything.
func (c *compiler) gatherWhere(s *flow.Source, d *sourceDoc, name string, table *flow.Table) {
	env := c.env(d.at)
	for _, w := range d.where.entries {
		want := expr.Anything
		if c.column(w.keyAt, w.key, name+".where", table) && table != nil {
			want = expr.Scalar(table.Columns[w.key])
		}
		if p := c.compile(env, w.value, want, noBetter); p != nil {
			switch v, ok := p.Constant(); v.(type) {
			case string, bool, json.Number:
			default:
				if ok || v == nil {
					c.add(c.inside(w.value.node, 1, 1), CodeCEL, fmt.Sprintf("%s.where.%s is no text, number or boolean that is always the same", name, w.key), "write a constant")
				}
			}
		}
		s.Where = append(s.Where, flow.Match{Column: w.key, Expr: w.value.source})
	}
	if table == nil {
		return
	}
	for _, column := range slices.Sorted(maps.Keys(table.Where)) {
		s.Where = append(s.Where, flow.Match{Column: column, Expr: strconv.Quote(table.Where[column])})
	}
}

// selected are columns of a list that has to be part of what a source selects.
func (c *compiler) selected(columns list[column, *column], name string, s *flow.Source, known bool) []string {
	var out []string
	for _, item := range columns.items {
		switch {
		case item.value == "":
		case slices.Contains(out, item.value):
			c.add(item.at, CodeDuplicateKey, fmt.Sprintf("%s stands twice in %s", item.value, name), "remove one of the two")
		case known && !slices.Contains(s.Select, item.value):
			c.notSelected(item.at, item.value, name, s)
		default:
			out = append(out, item.value)
		}
	}
	return out
}

func (c *compiler) notSelected(p at, column, name string, s *flow.Source) {
	fix := fmt.Sprintf("add %s to gather.%s.select", column, s.Name)
	if t := c.connections[s.Connection].Tables[s.Table]; len(t.Columns) > 0 {
		if _, exists := t.Columns[column]; !exists {
			fix = suggest(column, s.Select, "")
		}
	}
	c.add(p, CodeUnknownColumn, fmt.Sprintf("%s: %s is not selected", name, clip(column)), fix)
}

// identity warns of one by which rows that differ would count as one.
func (c *compiler) identity(d *sourceDoc, s *flow.Source, name string, table *flow.Table) {
	if table == nil || len(table.Keys) == 0 || len(s.Identity) == 0 || len(s.Identity) < len(d.identity.items) {
		return
	}
	for _, key := range table.Keys {
		if !slices.ContainsFunc(key, func(k string) bool { return !slices.Contains(s.Identity, k) && !fixed(s, k) }) {
			return
		}
	}
	c.warn(d.identity.at, CodeIdentity, fmt.Sprintf("%s.identity holds no key that connections.yaml declares of %s, so rows may pass for duplicates", name, s.Table),
		fmt.Sprintf("write identity: [%s], or declare the key if the system keeps it unique", strings.Join(table.Keys[0], ", ")))
}

// fixed reports whether a source has one value of a column only.
func fixed(s *flow.Source, column string) bool {
	return slices.ContainsFunc(s.Where, func(m flow.Match) bool { return m.Column == column })
}

func (c *compiler) changed(d *sourceDoc, s *flow.Source, name string, known bool) {
	w := d.changed
	if !w.given() {
		return
	}
	s.Changed = &flow.Watermark{Column: w.by.value, Overlap: c.duration(w.overlap, 0), Full: c.duration(w.full, 0)}
	i := slices.Index(s.Select, w.by.value)
	switch {
	case w.by.value == "":
	case known && i < 0:
		c.notSelected(w.by.at, w.by.value, name+".changed.by", s)
	case i >= 0 && (s.Types[i] == flow.Bool || s.Types[i] == flow.String):
		c.add(w.by.at, CodeType, fmt.Sprintf("%s.changed.by: %s is a %s, which tells of no order of changes", name, w.by.value, s.Types[i]), "name a timestamp, a date or a number that grows with each change")
	case i >= 0 && (s.Types[i] == flow.Int || s.Types[i] == flow.Decimal) && w.overlap.value > 0:
		c.add(w.overlap.at, CodeType, fmt.Sprintf("%s.changed.overlap: %s is a number, and the overlap is a time", name, w.by.value), "write 0s")
	}
	if w.full.ok && w.full.value <= 0 {
		c.add(w.full.at, CodeRange, name+".changed.full is zero", "leave it out if everything is never to be read by itself")
	}
}

func (c *compiler) base() {
	d := c.doc.base
	if d.value == "" {
		return
	}
	g := c.out.Gather
	names := sourceNames(g)
	i := slices.Index(names, d.value)
	if i < 0 {
		c.add(d.at, CodeUnknownRef, fmt.Sprintf("base: gather has no source %q", clip(d.value)), suggest(d.value, names, ""))
		return
	}
	g.Base = d.value
	if g.Sources[i].OnMissing == flow.Partial {
		p := c.doc.gather.entries[i].value.onMissing.at
		c.add(p, CodeOnMissing, fmt.Sprintf("gather.%s.on_missing is partial, and the keys of %s are the rows of the target", d.value, d.value), "write hold or last_good")
	}
}

func sourceNames(g *flow.Gather) []string {
	out := make([]string, len(g.Sources))
	for i, s := range g.Sources {
		out[i] = s.Name
	}
	return out
}

// gatherMap compiles the target columns and gives the sources that they use.
func (c *compiler) gatherMap(target *flow.Table) (used []string) {
	d := &c.doc.mapping
	env := c.env(d.at, c.gatherVars()...)
	mapped := map[string]bool{}
	for _, e := range d.entries {
		want := expr.Anything
		if c.column(e.keyAt, e.key, "map", target) && target != nil {
			want = expr.Scalar(target.Columns[e.key])
		}
		p := c.compile(env, e.value, want, c.gatherIt)
		uses := c.sourcesOf(p)
		used = append(used, uses...)
		c.keyIsWhole(e, uses)
		mapped[e.key] = true
		c.out.Map = append(c.out.Map, flow.Column{Name: e.key, Expr: e.value.source})
	}
	if !d.given() && c.doc.write.given() {
		c.add(c.doc.write.at, CodeRequired, "map is missing", "say which columns are written: map: { column: expression }")
		return used
	}
	for _, k := range c.doc.write.key.items {
		if k.value != "" && !mapped[k.value] {
			c.add(k.at, CodeUnknownColumn, fmt.Sprintf("write.key: map does not fill the column %q", k.value), suggest(k.value, slices.Sorted(maps.Keys(mapped)), "add it to map"))
		}
	}
	return used
}

// gatherVars are the variables of map, but for sources whose name has been refused; of
// one that selects nothing every column may be there.
func (c *compiler) gatherVars() []expr.Var {
	names := sourceNames(c.out.Gather)
	var out []expr.Var
	for i, v := range expr.GatherVars(c.out.Gather) {
		at := slices.Index(names, v.Name)
		if i > 1 && slices.Contains(taken, v.Name) {
			continue
		}
		if i > 1 && at >= 0 && len(c.out.Gather.Sources[at].Select) == 0 {
			v.Type = expr.Anything
		}
		out = append(out, v)
	}
	return out
}

// keyIsWhole refuses a key of the target that is not there when a source is down.
func (c *compiler) keyIsWhole(e entry[cel], uses []string) {
	if c.out.Write == nil || !slices.Contains(c.out.Write.Key, e.key) {
		return
	}
	for _, s := range c.out.Gather.Sources {
		if s.OnMissing == flow.Partial && slices.Contains(uses, s.Name) {
			c.add(c.inside(e.value.node, 1, 1), CodeOnMissing, fmt.Sprintf("map.%s is a key of the target, and needs %s, which may be missing", e.key, s.Name),
				"make it of "+expr.VarKey+", or of a source with on_missing: hold")
		}
	}
}

// sourcesOf are the sources that an expression needs.
func (c *compiler) sourcesOf(p *expr.Program) []string {
	if p == nil {
		return nil
	}
	var out []string
	times, all := p.Uses(expr.VarAsOf)
	for _, name := range sourceNames(c.out.Gather) {
		if columns, whole := p.Uses(name); whole || len(columns) > 0 || all || slices.Contains(times, name) {
			out = append(out, name)
		}
	}
	return out
}

// gatherIt explains a column that exists and is not selected: of the source of that
// name, or of the one source whose table has it.
func (c *compiler) gatherIt(of, name string) string {
	var have []string
	for _, s := range c.out.Gather.Sources {
		if _, exists := c.connections[s.Connection].Tables[s.Table].Columns[name]; exists && !slices.Contains(s.Select, name) {
			if s.Name == of {
				have = []string{s.Name}
				break
			}
			have = append(have, s.Name)
		}
	}
	if len(have) != 1 || slices.Contains(sourceNames(c.out.Gather), of) && have[0] != of || of == expr.VarAsOf {
		return ""
	}
	return fmt.Sprintf("add %s to gather.%s.select", name, have[0])
}

// selectFrom explains a column of the variable row that is not selected.
func (c *compiler) selectFrom(source string, table *flow.Table) func(of, name string) string {
	return func(of, name string) string {
		if table == nil || of != "row" {
			return ""
		}
		if _, exists := table.Columns[name]; exists {
			return fmt.Sprintf("add %s to %s.select", name, source)
		}
		return ""
	}
}

// unusedSources names what is read for nothing.
func (c *compiler) unusedSources(used []string) {
	if Failed(c.diags) {
		return // what is wrong may be where it is used
	}
	for _, e := range c.doc.gather.entries {
		if !slices.Contains(used, e.key) && e.key != c.out.Gather.Base {
			c.warn(e.keyAt, CodeUnused, fmt.Sprintf("neither map nor advise uses the source %s", e.key), "remove it, or name it as base")
		}
	}
}

func (c *compiler) gatherLimits() {
	d := &c.doc.limits
	c.out.Limits = flow.Limits{Timeout: c.duration(d.timeout, maxRun), Concurrent: defaultConcurrent, PerUser: defaultPerUser, Queue: defaultQueue}
	if d.timeout.ok && (d.timeout.value <= 0 || d.timeout.value > maxRun) {
		c.add(d.timeout.at, CodeTimeout, "limits.timeout of a consolidation is zero or longer than 24h", "write a duration such as 2h")
	}
}
