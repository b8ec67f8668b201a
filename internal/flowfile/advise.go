package flowfile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"patchbay/internal/advice"
	"patchbay/internal/expr"
	"patchbay/internal/flow"
)

const maxAsk = 10 * time.Minute // of one attempt of a model

// advise compiles the section advise and gives the sources that it uses.
func (c *compiler) advise() (used []string) {
	d := &c.doc.advise
	if !d.given() {
		return nil
	}
	a := &flow.Advise{
		Connection: d.model.connection, Version: d.version.value, Instructions: d.instructions.value,
		Attempts: flow.DefaultAdviseAttempts, Timeout: c.duration(d.timeout, flow.DefaultAdviseTimeout), Patience: c.duration(d.patience, flow.DefaultAdvisePatience),
		Review: flow.AdviseReview(cmp.Or(d.review.value, string(flow.ReviewRejected))),
		Limits: flow.AdviseLimits{
			Reason: count(d.limits.reason, flow.DefaultAdviseReason), Evidence: count(d.limits.evidence, flow.DefaultAdviseEvidence), Request: count(d.limits.request, flow.DefaultAdviseRequest),
		},
	}
	c.out.Advise = a
	if d.attempts.given() {
		a.Attempts = int(d.attempts.value)
	}
	if t := d.timeout; t.ok && (t.value <= 0 || t.value > maxAsk) {
		c.add(t.at, CodeTimeout, "advise.timeout is zero or longer than 10m", "write a duration such as 20s")
	}
	if model := c.table(d.model, "advise.model"); model != nil {
		a.Model = model.Path
		if system := c.connections[d.model.connection].System; system != modelSystem {
			c.add(d.model.at, CodeUnknownRef, fmt.Sprintf("advise.model: the connector %s asks no models", system), "name a connection of the system "+modelSystem)
		}
	}
	for _, e := range d.sources.entries {
		if s := c.evidence(e); s != nil {
			a.Sources = append(a.Sources, *s)
			used = append(used, s.Name)
		}
	}
	c.facts(a)
	facts := c.env(d.at, advice.FactsVar(*a))
	c.actions(a, facts)
	c.rules(a, facts)
	c.adviseWrite(a)
	return used
}

// evidence compiles a source that the model is shown; nil where gather has none of its
// name.
func (c *compiler) evidence(e entry[evidenceDoc]) *flow.AdviseSource {
	d, name := e.value, "advise.sources."+e.key
	i := slices.Index(sourceNames(c.out.Gather), e.key)
	if i < 0 {
		c.add(e.keyAt, CodeUnknownRef, fmt.Sprintf("%s: gather has no source %q", name, clip(e.key)), suggest(e.key, sourceNames(c.out.Gather), ""))
		return nil
	}
	from := &c.out.Gather.Sources[i]
	known := len(from.Select) > 0
	s := &flow.AdviseSource{
		Name: e.key, ID: c.selected(d.id, name+".id", from, known), Columns: c.selected(d.show, name+".show", from, known),
		Newest: d.newest.value, Most: count(d.most, flow.DefaultAdviseRows),
	}
	for _, l := range []struct {
		name string
		list list[column, *column]
	}{{"id", d.id}, {"show", d.show}} {
		if l.list.ok && len(l.list.items) == 0 {
			c.add(l.list.at, CodeRequired, fmt.Sprintf("%s.%s names no column", name, l.name), "name one")
		}
	}
	if known && s.Newest != "" && !slices.Contains(from.Select, s.Newest) {
		c.notSelected(d.newest.at, s.Newest, name+".newest", from)
	}
	return s
}

// facts compiles what is computed, each with the type of its column.
func (c *compiler) facts(a *flow.Advise) {
	names := adviseSources(a)
	for _, e := range c.doc.advise.facts.entries {
		d, name := e.value, "advise.facts."+e.key
		f := flow.AdviseFact{Name: e.key, Do: flow.AdviseDo(d.do.value), Source: d.of.source, Column: d.of.column, Where: d.where.source, Type: flow.Any, By: d.by.value}
		if d.of.source != "" && !slices.Contains(names, d.of.source) {
			c.add(d.of.at, CodeUnknownRef, fmt.Sprintf("%s.of: advise.sources has no %q", name, clip(d.of.source)), suggest(d.of.source, names, "add it there"))
		} else if d.of.source != "" {
			c.fact(&f, d, name)
		}
		a.Facts = append(a.Facts, f)
	}
}

func adviseSources(a *flow.Advise) []string {
	out := make([]string, len(a.Sources))
	for i, s := range a.Sources {
		out[i] = s.Name
	}
	return out
}

func (c *compiler) fact(f *flow.AdviseFact, d *factDoc, name string) {
	from := &c.out.Gather.Sources[slices.Index(sourceNames(c.out.Gather), f.Source)]
	row := expr.Anything
	if len(from.Select) > 0 {
		row = expr.RowVars(*from)[0].Type
	}
	c.compile(c.env(d.at, expr.Var{Name: "row", Type: row}), &d.where, expr.Scalar(flow.Bool), c.selectFrom("gather."+from.Name, c.tableOf(from)))
	column := func(p at, column, of string) flow.Type {
		i := slices.Index(from.Select, column)
		if i < 0 && len(from.Select) > 0 {
			c.notSelected(p, column, name+of, from)
		}
		if i < 0 {
			return flow.Any
		}
		return from.Types[i]
	}
	switch {
	case f.Do == flow.AdviseCount:
		f.Type = flow.Int
		if f.Column != "" {
			c.add(d.of.columnAt, CodeUnused, name+": a count is of rows, and names no column", "write of: "+f.Source)
		}
	case f.Column == "":
		c.add(d.of.at, CodeRequired, fmt.Sprintf("%s.of names no column", name), fmt.Sprintf("write of: %s.COLUMN", f.Source))
	default:
		f.Type = column(d.of.columnAt, f.Column, ".of")
		if f.Do == flow.AdviseSum && f.Type != flow.Any && f.Type != flow.Int && f.Type != flow.Decimal {
			c.add(d.of.columnAt, CodeType, fmt.Sprintf("%s: %s is a %s, and a sum is of numbers", name, f.Column, f.Type), "")
		}
		if f.Type == flow.Bool {
			c.add(d.of.columnAt, CodeType, fmt.Sprintf("%s: %s is a bool, and a fact is a number or a text", name, f.Column), "count the rows: do: count, where: row."+f.Column)
		}
	}
	switch {
	case f.Do == flow.AdviseNewest && f.By == "" && !d.by.given():
		c.add(d.at, CodeRequired, name+".by is missing", "add by: with the column whose greatest value chooses the row")
	case f.Do == flow.AdviseNewest && f.By != "":
		column(d.by.at, f.By, ".by")
	case f.Do != flow.AdviseNewest && d.by.given():
		c.add(d.by.at, CodeUnused, name+".by is for newest", "remove it")
	}
}

func (c *compiler) tableOf(s *flow.Source) *flow.Table {
	t, ok := c.connections[s.Connection].Tables[s.Table]
	if !ok {
		return nil
	}
	return &t
}

func (c *compiler) actions(a *flow.Advise, facts *expr.Env) {
	d := &c.doc.advise
	for _, e := range d.actions.entries {
		action := flow.AdviseAction{Name: e.key, Title: e.value.title.value, When: e.value.when.source, Review: e.value.review.value}
		c.compile(facts, &e.value.when, expr.Scalar(flow.Bool), noBetter)
		for _, n := range e.value.needs.items {
			switch {
			case n.value == "":
			case !slices.Contains(adviseSources(a), n.value):
				c.add(n.at, CodeUnknownRef, fmt.Sprintf("advise.actions.%s.needs: advise.sources has no %q", e.key, clip(n.value)), suggest(n.value, adviseSources(a), ""))
			default:
				action.Needs = append(action.Needs, n.value)
			}
		}
		a.Actions = append(a.Actions, action)
	}
	if d.actions.given() && len(d.actions.entries) == 0 {
		c.add(d.actions.at, CodeRequired, "advise.actions names none, so nothing could be proposed", "write NAME: { title: … } below it")
	}
}

func (c *compiler) rules(a *flow.Advise, facts *expr.Env) {
	d := &c.doc.advise
	last := len(d.rules.items) - 1
	for i, r := range d.rules.items {
		c.compile(facts, &r.when, expr.Scalar(flow.Bool), noBetter)
		c.compile(facts, &r.reason, expr.Scalar(flow.String), noBetter)
		if name := r.action.value; name != "" && !slices.ContainsFunc(a.Actions, func(x flow.AdviseAction) bool { return x.Name == name }) {
			c.add(r.action.at, CodeUnknownRef, fmt.Sprintf("advise.rules: there is no action %q", clip(name)), suggest(name, entryNames(d.actions.entries), "declare it in advise.actions"))
		}
		switch {
		case i == last && r.when.given():
			c.add(r.when.at, CodeRequired, "the last of advise.rules has a condition, so there might be no plan", "add a rule without when")
		case i < last && !r.when.given():
			c.add(r.at, CodeUnused, "this rule of advise.rules has no condition, so no later one is reached", "add when:, or put it last")
		}
		a.Rules = append(a.Rules, flow.AdviseRule{When: r.when.source, Action: r.action.value, Reason: r.reason.source})
	}
	if d.rules.ok && last < 0 {
		c.add(d.rules.at, CodeRequired, "advise.rules has none, so there might be no plan", "write - { action: NAME, reason: … }")
	}
}

func entryNames[T any](entries []entry[T]) []string {
	out := make([]string, len(entries))
	for i, e := range entries {
		out[i] = e.key
	}
	return out
}

// adviseWrite compiles the write of plans, which is by key as any other.
func (c *compiler) adviseWrite(a *flow.Advise) {
	d := &c.doc.advise.write
	if !d.given() {
		return
	}
	table := c.table(d.to, "advise.write.to")
	w := &a.Write
	w.Connection, w.Table = d.to.connection, d.to.table
	env := c.env(d.at, advice.WriteVars(*a)...)
	mapped := map[string]bool{}
	for _, e := range d.mapping.entries {
		want := expr.Anything
		if c.column(e.keyAt, e.key, "advise.write.map", table) && table != nil {
			want = expr.Scalar(table.Columns[e.key])
		}
		c.compile(env, e.value, want, noBetter)
		mapped[e.key] = true
		w.Map = append(w.Map, flow.Column{Name: e.key, Expr: e.value.source})
	}
	for _, k := range d.key.items {
		switch {
		case k.value == "" || !c.column(k.at, k.value, "advise.write.key", table):
		case slices.Contains(w.Key, k.value):
			c.add(k.at, CodeDuplicateKey, fmt.Sprintf("%s stands twice in advise.write.key", k.value), "remove one of the two")
		case d.mapping.given() && !mapped[k.value]:
			c.add(k.at, CodeUnknownColumn, fmt.Sprintf("advise.write.key: map does not fill the column %q", k.value), suggest(k.value, slices.Sorted(maps.Keys(mapped)), "add it to advise.write.map"))
		default:
			w.Key = append(w.Key, k.value)
		}
	}
	c.adviseSafe(d, w, table)
}

// adviseSafe keeps promise 2 for the writes of plans.
func (c *compiler) adviseSafe(d *adviseWriteDoc, w *flow.AdviseWrite, table *flow.Table) {
	system := c.connections[w.Connection].System
	why, _ := c.unwritable(w.Connection, w.Table)
	switch {
	case table == nil || len(w.Key) == 0 || len(w.Key) < len(d.key.items):
	case why != "" || Forgets(system):
		c.add(d.to.at, CodeRetryUnsafe, fmt.Sprintf("advise.write.to: the connector %s offers no write by key or version and no read-back", system), "write to another system")
	case !slices.ContainsFunc(table.Keys, func(key []string) bool { return sameColumns(key, w.Key) }):
		fix := "declare the key in connections.yaml if the system keeps it unique"
		if len(table.Keys) > 0 {
			fix = fmt.Sprintf("use key: [%s]", strings.Join(table.Keys[0], ", "))
		}
		c.add(d.key.at, CodeRetryUnsafe, fmt.Sprintf("%s declares no key of %s, so a retry may write a plan twice", w.Table, strings.Join(w.Key, ", ")), fix)
	}
}
