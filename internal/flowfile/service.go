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

// The bounds of services.
const (
	defaultServiceTime = 30 * 24 * time.Hour
	maxServiceTime     = 366 * 24 * time.Hour
	maxTasks           = 40 // what a workflow knows of them stays below 4 KiB
)

// services compiles the steps of a flow.
type services struct {
	*compiler
	saga  *flow.Saga
	gives map[string]expr.Type // what each step before gives
}

func (c *compiler) service() {
	s := &services{compiler: c, saga: &flow.Saga{}, gives: map[string]expr.Type{}}
	c.out.Saga, c.out.Respond = s.saga, flow.AfterWrite
	c.params()
	c.out.Accepts, c.out.Emits = c.topics(&c.doc.accepts, "accepts"), c.topics(&c.doc.emits, "emits")
	c.starts()
	for _, d := range c.doc.steps.items {
		t := s.task(&d.stepDoc, d.legs.given())
		if d.legs.given() {
			t.Legs = s.legs(d)
		}
		s.saga.Tasks = append(s.saga.Tasks, t)
	}
	if c.doc.steps.ok && len(s.saga.Tasks) == 0 {
		c.add(c.doc.steps.at, CodeRequired, "steps names no step", "write - { step: NAME, call: CONNECTION.TABLE, … }")
	}
	n := 0
	s.saga.Walk(func(*flow.Task) { n++ })
	if n > maxTasks {
		c.add(c.doc.steps.at, CodeRange, fmt.Sprintf("the flow has %d steps, and a service at most %d", n, maxTasks), "split it: a step may call another flow")
	}
	s.saga.Answer = s.columns(&c.doc.answer, "answer", s.env(c.doc.answer.at), nil)
	c.limits()
	d := &c.doc.limits
	c.out.Limits.Timeout = c.duration(d.timeout, defaultServiceTime)
	if d.timeout.value > maxServiceTime {
		c.add(d.timeout.at, CodeTimeout, "limits.timeout is longer than 366 days", "write at most 366d")
	}
}

// legs compiles steps that go side by side: none knows what another gives.
func (s *services) legs(d *taskDoc) []flow.Leg {
	before, after := s.gives, maps.Clone(s.gives)
	legs := make([]flow.Leg, 0, len(d.legs.entries))
	for _, e := range d.legs.entries {
		s.gives = maps.Clone(before)
		leg := flow.Leg{Name: e.key}
		for _, one := range e.value.items {
			leg.Tasks = append(leg.Tasks, s.task(one, false))
		}
		if e.value.ok && len(leg.Tasks) == 0 {
			s.add(e.value.at, CodeRequired, "the leg "+e.key+" has no steps", "write at least one, or remove the leg")
		}
		maps.Copy(after, s.gives)
		legs = append(legs, leg)
	}
	s.gives = after
	if len(legs) < 2 {
		s.add(d.legs.at, CodeRequired, "legs has fewer than two legs", "write its steps among the others")
	}
	return legs
}

// env are the variables of the expressions of a step.
func (s *services) env(p at, more ...expr.Var) *expr.Env {
	return s.compiler.env(p, append([]expr.Var{s.paramsVar(), {Name: "steps", Type: expr.Object(s.gives)}}, more...)...)
}

func (s *services) task(d *stepDoc, legs bool) flow.Task {
	t := flow.Task{Name: d.step.value, Deadline: s.duration(d.deadline, 0)}
	if name := d.step.value; name != "" {
		switch _, twice := s.gives[name]; {
		case !identifiers.pattern.MatchString(name) || slices.Contains(reserved, name):
			s.add(d.step.at, CodeID, fmt.Sprintf("%q is no name of a step", clip(name)), "use "+identifiers.what)
		case twice || s.named(name):
			s.add(d.step.at, CodeDuplicateKey, fmt.Sprintf("two steps are named %s", name), "rename one of the two")
		}
	}
	if d.when.node != nil {
		t.When = d.when.source
		s.compile(s.env(d.when.at), &d.when, expr.Scalar(flow.Bool), noBetter)
	}
	gives := expr.Anything
	connection, table, isTable := strings.Cut(d.call.value, ".")
	switch {
	case kinds(legs, d.call.given(), d.await.given(), d.emit.given()) != 1:
		s.add(d.at, CodeRequired, fmt.Sprintf("the step %s has to have call, await, emit or legs, and one of them only", d.step.value), "write call: CONNECTION.TABLE, call: FLOW, await: EVENT or emit: EVENT")
	case legs:
		s.only(d, "has legs")
	case d.await.given():
		gives = s.awaits(d, &t)
	case d.emit.given():
		gives = s.emits(d, &t)
	case !isTable:
		t.Flow = d.call.value
		gives = s.flow(d, &t)
	case d.columns.given():
		gives = s.reads(d, &t, tableRef{at: d.call.at, connection: connection, table: table, tableAt: d.call.at})
	default:
		gives = s.writes(d, &t, tableRef{at: d.call.at, connection: connection, table: table, tableAt: d.call.at})
	}
	if t.Name != "" {
		s.gives[t.Name] = expr.Object(map[string]expr.Type{"row": gives, "rows": expr.List(gives), "count": expr.Scalar(flow.Int), "state": expr.Scalar(flow.String)})
	}
	return t
}

func kinds(given ...bool) (n int) {
	for _, one := range given {
		if one {
			n++
		}
	}
	return n
}

// named reports whether a step of the plan has a name, in whatever leg.
func (s *services) named(name string) bool { return s.saga.Task(name) != nil }

// only refuses what a step of its kind does not have.
func (s *services) only(d *stepDoc, kind string, may ...string) {
	may = append(may, "step", "call", "when", "deadline")
	for _, f := range d.fields() {
		if p := *f.into.place(); p.given() && !slices.Contains(may, f.key) {
			s.add(p, CodePattern, fmt.Sprintf("the step %s %s, and %s says nothing there", d.step.value, kind, f.key), "remove it")
		}
	}
}

func (s *services) reads(d *stepDoc, t *flow.Task, from tableRef) expr.Type {
	s.only(d, "reads", "where", "select")
	read, row := s.compiler.reads(&readDoc{at: d.at, from: from, where: d.where, columns: d.columns}, d.step.value, s.env(d.at))
	t.Read = read
	return row
}

func (s *services) writes(d *stepDoc, t *flow.Task, to tableRef) expr.Type {
	s.only(d, "writes", "each", "key", "with", "returns", "undo", "repeat")
	if !d.with.given() {
		s.add(d.at, CodeRequired, fmt.Sprintf("the step %s neither reads nor writes", d.step.value), "add select: with the columns to read, or key: and with: with what to write")
		return expr.Anything
	}
	write, table := s.compiler.writes(&writeDoc{at: d.at, to: to, key: d.key, repeat: d.repeat}, d.step.value, &d.with)
	t.Write = write
	env := s.eachOf(d, t)
	t.Map = s.columns(&d.with, d.step.value+".with", env, table)
	columns := map[string]expr.Type{}
	typed := func(name string) {
		columns[name] = expr.Anything
		if table != nil && table.Columns[name] != "" {
			columns[name] = expr.Scalar(table.Columns[name])
		}
	}
	for _, m := range t.Map {
		typed(m.Name)
	}
	for _, k := range d.key.items {
		if _, filled := columns[k.value]; k.value != "" && !filled {
			s.add(k.at, CodeUnknownColumn, fmt.Sprintf("%s.key: with does not fill the column %q", d.step.value, k.value), "add it to with")
		}
	}
	for _, r := range d.returns.items {
		if t.Write.Document != "" {
			s.add(r.at, CodePattern, fmt.Sprintf("%s.returns: nothing is read back of a document that was stored", d.step.value), "remove it")
		} else if r.value != "" && s.column(r.at, r.value, d.step.value+".returns", table) {
			t.Returns = append(t.Returns, r.value)
			typed(r.value)
		}
	}
	row := expr.Object(columns)
	t.Undo = s.columns(&d.undo, d.step.value+".undo", s.env(d.undo.at, expr.Var{Name: "row", Type: row}), table)
	s.unstored(d, t)
	for _, u := range d.undo.entries {
		if slices.ContainsFunc(d.key.items, func(k *column) bool { return k.value == u.key }) {
			s.add(u.keyAt, CodeDuplicateKey, fmt.Sprintf("%s.undo writes the key %s, which would take back another row", d.step.value, u.key), "remove it; the key is that of what was written")
		}
	}
	return row
}

// flow compiles a step that runs another flow. Whether that exists, and takes these
// parameters, is known to who sees all flows.
func (s *services) flow(d *stepDoc, t *flow.Task) expr.Type {
	s.only(d, "runs a flow", "with")
	if !slugs.pattern.MatchString(t.Flow) {
		s.add(d.call.at, CodeUnknownRef, fmt.Sprintf("call is %q, which names neither a table nor a flow", clip(t.Flow)), "write CONNECTION.TABLE, or the name of a flow")
	}
	t.Map = s.columns(&d.with, d.step.value+".with", s.env(d.at), nil)
	return expr.Anything
}

// eachOf gives the variables of what is written, with item where there is one.
func (s *services) eachOf(d *stepDoc, t *flow.Task) *expr.Env {
	if d.each.node == nil {
		return s.env(d.at)
	}
	t.Each = d.each.source
	item := expr.Anything
	if p := s.compile(s.env(d.each.at), &d.each, expr.List(expr.Anything), noBetter); p != nil {
		item = p.Type().Elem()
	}
	return s.env(d.at, expr.Var{Name: "item", Type: item})
}

// columns compiles an expression for each column.
func (s *services) columns(d *dict[cel, *cel], name string, env *expr.Env, table *flow.Table) []flow.Column {
	var out []flow.Column
	for _, e := range d.entries {
		want := expr.Anything
		if s.column(e.keyAt, e.key, name, table) && table != nil {
			want = expr.Scalar(table.Columns[e.key])
		}
		s.compile(env, e.value, want, noBetter)
		out = append(out, flow.Column{Name: e.key, Expr: e.value.source})
	}
	return out
}
