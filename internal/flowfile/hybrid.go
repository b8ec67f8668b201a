package flowfile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"patchbay/calculator"
	"patchbay/internal/calendar"
	"patchbay/internal/expr"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// What hybrid flows take where they say nothing.
const (
	computeQueue       = "risk"
	defaultComputeTime = 5 * time.Minute
)

// writeStep is the step that writes what was decided.
const writeStep = "write"

// hybrid compiles a flow that collects, computes, decides and writes.
type hybrid struct {
	services
	personal map[string][]string // columns of a step
}

func (c *compiler) hybrid() {
	h := &hybrid{services: services{compiler: c, saga: &flow.Saga{}, gives: map[string]expr.Type{}}, personal: map[string][]string{}}
	c.out.Saga, c.out.Respond, c.out.Decide = h.saga, flow.AfterWrite, &flow.Decide{}
	c.params()
	c.order()
	for _, p := range c.doc.personal.items {
		step, column, ok := strings.Cut(p.value, ".")
		if !ok {
			if p.value != "" {
				c.add(p.at, CodeUnknownRef, fmt.Sprintf("personal: %q names no column of a source", clip(p.value)), "write NAME.COLUMN")
			}
			continue
		}
		h.personal[step] = append(h.personal[step], column)
	}
	for _, e := range c.doc.collect.entries {
		h.collect(e)
	}
	if c.doc.collect.given() && len(c.doc.collect.entries) == 0 {
		c.add(c.doc.collect.at, CodeRequired, "collect names no source", "write NAME: { from: CONNECTION.TABLE, select: [COLUMN, …], deadline: 10s, refuse: … }")
	}
	h.known()
	sources := h.names()
	h.require(sources)
	for _, e := range c.doc.calculate.entries {
		h.calculate(e, append(slices.Clone(sources), flow.RequireStep))
	}
	h.decides()
	h.reviews()
	h.writes()
	h.saga.Answer = h.columns(&c.doc.answer, "answer", h.env(c.doc.answer.at), nil)
	if n := len(h.saga.Tasks); n > maxTasks {
		c.add(c.doc.at, CodeRange, fmt.Sprintf("the flow has %d sources and calculations, and at most %d are possible", n, maxTasks), "split it")
	}
	c.limits()
	d := &c.doc.limits
	c.out.Limits.Timeout = c.duration(d.timeout, defaultServiceTime)
	switch review := c.doc.review.deadline; {
	case d.timeout.value > maxServiceTime:
		c.add(d.timeout.at, CodeTimeout, "limits.timeout is longer than 366 days", "write at most 366d")
	case d.timeout.given() && d.timeout.value <= review.value:
		c.add(d.timeout.at, CodeTimeout, "limits.timeout ends before a person has to decide", "make it longer than review.deadline, nights and holidays included")
	}
}

// names are the steps so far.
func (h *hybrid) names() []string {
	out := make([]string, len(h.saga.Tasks))
	for i, t := range h.saga.Tasks {
		out[i] = t.Name
	}
	return out
}

// name takes the name of a step.
func (h *hybrid) name(p at, name string) {
	words := append([]string{flow.RequireStep, flow.DecideStep, flow.ReviewStep, flow.DecisionStep, writeStep}, reserved...)
	switch {
	case slices.Contains(words, name):
		h.add(p, CodeID, fmt.Sprintf("%q is no name of a step", name), "choose another: the word has a meaning of its own")
	case h.named(name):
		h.add(p, CodeDuplicateKey, fmt.Sprintf("two steps are named %s", name), "rename one of the two")
	}
}

// gave makes what a step gives known to those after it.
func (h *hybrid) gave(name string, row expr.Type) {
	h.gives[name] = expr.Object(map[string]expr.Type{"row": row, "rows": expr.List(row), "count": expr.Scalar(flow.Int), "state": expr.Scalar(flow.String)})
}

func (h *hybrid) collect(e entry[collectDoc]) {
	d := e.value
	h.name(e.keyAt, e.key)
	env := h.env(d.at)
	read, row := h.compiler.reads(&readDoc{at: d.at, from: d.from, where: d.where, columns: d.columns, expand: d.expand}, "collect."+e.key, env)
	t := flow.Task{Name: e.key, Read: read, Deadline: h.duration(d.deadline, 0), Collect: &flow.Collect{Refuse: d.refuse.value, Reuse: h.duration(d.reuse, 0)}}
	if table, known := h.connections[d.from.connection].Tables[d.from.table]; d.reuse.given() && known && table.Price == (flow.Money{}) {
		h.add(d.reuse.at, CodeUnknownField, fmt.Sprintf("collect.%s.reuse: asking %s.%s costs nothing, so it is always asked", e.key, d.from.connection, d.from.table), "leave it out, or say in connections.yaml what it costs: price: 2.50 EUR")
	}
	if d.deadline.ok && d.deadline.value <= 0 {
		h.add(d.deadline.at, CodeTimeout, fmt.Sprintf("collect.%s.deadline is zero, so no source could answer in time", e.key), "write a duration such as 10s")
	}
	h.asksAbout(d, e.key)
	for _, w := range d.where.entries {
		t.Needs = h.needs(t.Needs, env, w.value)
	}
	switch {
	case d.substitute.given() == d.refuse.given():
		h.add(d.at, CodeRequired, fmt.Sprintf("collect.%s has to say what stands in its place when it gives no row in time: substitute or refuse, and one of them only", e.key),
			"add refuse: with a sentence for the customer, or substitute: { COLUMN: VALUE, … }")
	case d.substitute.given():
		for _, s := range d.substitute.entries {
			if !slices.Contains(read.Select, s.key) && read.Expand[s.key] == "" {
				h.add(s.keyAt, CodeUnknownColumn, fmt.Sprintf("collect.%s.substitute: select has no column %q", e.key, clip(s.key)), suggest(s.key, read.Select, ""))
			}
			want, _ := row.Column(s.key)
			h.compile(env, s.value, want, noBetter)
			t.Needs = h.needs(t.Needs, env, s.value)
			t.Collect.Substitute = append(t.Collect.Substitute, flow.Column{Name: s.key, Expr: s.value.source})
		}
		for _, column := range slices.Concat(read.Select, slices.Sorted(maps.Keys(read.Expand))) {
			if !slices.ContainsFunc(t.Collect.Substitute, func(c flow.Column) bool { return c.Name == column }) {
				h.add(d.substitute.at, CodeRequired, fmt.Sprintf("collect.%s.substitute leaves out %s", e.key, column), "add "+column+", or null where nothing can stand for it")
			}
		}
	}
	h.saga.Tasks = append(h.saga.Tasks, t)
	h.gave(e.key, row)
}

// needs adds the steps that an expression names.
func (h *hybrid) needs(all []string, env *expr.Env, e *cel) []string {
	if env == nil || e.node == nil {
		return all
	}
	p, _ := env.Compile(e.source, expr.Anything)
	if p == nil {
		return all // what is wrong with it is said elsewhere
	}
	for _, path := range p.Takes("steps") {
		names := h.names()
		if len(path) > 0 && slices.Contains(names, path[0]) {
			names = path[:1]
		}
		for _, n := range names {
			if !slices.Contains(all, n) {
				all = append(all, n)
			}
		}
	}
	return all
}

// known reports personal columns that no source has.
func (h *hybrid) known() {
	for _, p := range h.doc.personal.items {
		step, column, ok := strings.Cut(p.value, ".")
		if t := h.saga.Task(step); ok && (t == nil || !slices.Contains(t.Read.Select, column) && t.Read.Expand[column] == "") {
			var known []string
			for _, t := range h.saga.Tasks {
				for _, c := range t.Read.Select {
					known = append(known, t.Name+"."+c)
				}
			}
			h.add(p.at, CodeUnknownRef, fmt.Sprintf("personal: no source gives %q", clip(p.value)), suggest(p.value, known, ""))
		}
	}
}

func (h *hybrid) require(sources []string) {
	seen := map[string]bool{}
	for _, d := range h.doc.require.items {
		h.once(d.require, seen, "requirements")
		h.compile(h.env(d.that.at), &d.that, expr.Scalar(flow.Bool), noBetter)
		h.out.Decide.Require = append(h.out.Decide.Require, flow.Require{Name: d.require.value, That: d.that.source, Reason: d.reason.value})
	}
	h.saga.Tasks = append(h.saga.Tasks, flow.Task{Name: flow.RequireStep, Deciding: flow.TaskRequire, Needs: sources})
}

func (h *hybrid) once(name text, seen map[string]bool, what string) {
	if name.value != "" && seen[name.value] {
		h.add(name.at, CodeDuplicateKey, fmt.Sprintf("two %s are named %s", what, name.value), "rename one of the two")
	}
	seen[name.value] = true
}

func (h *hybrid) calculate(e entry[calculateDoc], before []string) {
	d := e.value
	h.name(e.keyAt, e.key)
	t := flow.Task{Name: e.key, Needs: before, Deadline: h.duration(d.deadline, defaultComputeTime), Calculate: &flow.Calculate{Queue: computeQueue}}
	if d.queue.value != "" {
		t.Calculate.Queue = d.queue.value
	}
	t.Calculate.Seed, t.Calculate.Reuse = h.seed(d.seed, e.key), h.duration(d.reuse, 0)
	var given []string
	in, out := h.contract(d, e.key, t.Calculate)
	h.shadow(d, e.key, t.Calculate)
	env := h.env(d.at)
	for _, w := range d.with.entries {
		want := expr.Anything
		if in != nil {
			if s := in.at(w.key); s != nil {
				want = s.typ()
			} else {
				h.add(w.keyAt, CodeCalculator, fmt.Sprintf("calculate.%s.with: %s has no input %q", e.key, d.function.value, clip(w.key)), suggest(w.key, in.paths(""), ""))
			}
		}
		h.compile(env, w.value, want, noBetter)
		h.impersonal(w, "calculate."+e.key+".with."+w.key, env)
		t.Needs = h.needs(t.Needs, env, w.value)
		for _, other := range given {
			if strings.HasPrefix(w.key+".", other+".") || strings.HasPrefix(other+".", w.key+".") {
				h.add(w.keyAt, CodeDuplicateKey, fmt.Sprintf("calculate.%s.with: %s and %s are the same figure", e.key, other, w.key), "remove one of the two")
			}
		}
		given = append(given, w.key)
		t.Map = append(t.Map, flow.Column{Name: w.key, Expr: w.value.source})
	}
	if in != nil {
		isGiven := func(path string) bool {
			s := in.at(path)
			return slices.Contains(given, path) || s.each != nil && !s.list && slices.ContainsFunc(given, func(g string) bool { return strings.HasPrefix(g, path+".") })
		}
		for _, path := range in.missing("", isGiven) {
			h.add(d.with.at, CodeCalculator, fmt.Sprintf("calculate.%s.with: %s needs the input %s", e.key, d.function.value, path), "add "+path+" with an expression over params and steps")
		}
	}
	row := expr.Anything
	if out != nil {
		row = out.typ()
	}
	h.saga.Tasks = append(h.saga.Tasks, t)
	h.gave(e.key, row)
}

// shadow finds the calculator in the shadow. It is given the figures of the other.
func (h *hybrid) shadow(d *calculateDoc, name string, c *flow.Calculate) {
	if !d.shadow.given() {
		return
	}
	if d.reuse.given() {
		h.add(d.reuse.at, CodePattern, fmt.Sprintf("calculate.%s has reuse and shadow: what is not computed is not compared", name), "leave out reuse while a calculator runs in the shadow")
	}
	beside := flow.Calculate{}
	h.contract(&calculateDoc{at: d.shadow.at, function: d.shadow.function, contract: d.shadow.contract}, name+".shadow", &beside)
	if beside.Function == c.Function && beside.Version == c.Version {
		h.add(d.shadow.function.at, CodeCalculator, fmt.Sprintf("calculate.%s.shadow is the calculator that decides", name), "name another version")
	}
	c.Shadow = &flow.Shadow{Function: beside.Function, Version: beside.Version, Contract: beside.Contract}
}

func (h *hybrid) seed(d literal, name string) string {
	if d.node == nil || d.value == nil {
		return ""
	}
	text := fmt.Sprint(d.value)
	if _, err := strconv.ParseUint(text, 10, 64); err != nil && text != flow.SeedOfRun {
		h.add(d.at, CodeType, fmt.Sprintf("calculate.%s.seed is neither a whole number of 64 bits nor run", name), "write 42, or run, or leave it out")
	}
	return text
}

// contract finds what a calculator takes and gives.
func (h *hybrid) contract(d *calculateDoc, name string, c *flow.Calculate) (in, out *shape) {
	function, version, ok := strings.Cut(d.function.value, " ")
	if d.function.value == "" {
		return nil, nil
	}
	if !ok || version == "" {
		h.add(d.function.at, CodeCalculator, fmt.Sprintf("calculate.%s.function is %q, which is no name with a version", name, clip(d.function.value)), "write NAME VERSION: risk.score v1")
		return nil, nil
	}
	c.Function, c.Version = function, version
	text, known := h.options.Contracts[d.function.value]
	if d.contract.value != "" {
		if text = calculator.Contract(h.file(&d.contract, "calculate."+name+".contract")); text == "" {
			return nil, nil
		}
		known = true
	}
	if !known {
		h.add(d.function.at, CodeCalculator, fmt.Sprintf("calculate.%s: there is no calculator %q here", name, clip(d.function.value)),
			suggest(d.function.value, slices.Sorted(maps.Keys(h.options.Contracts)), "")+"; of one of your own add contract: with the file of its contract")
		return nil, nil
	}
	if in, out, ok = shapesOf(text, function, version); !ok {
		h.add(d.contract.at, CodeCalculator, fmt.Sprintf("calculate.%s.contract is not the contract of %s", name, d.function.value), "write what its Contract() prints into the file")
		return nil, nil
	}
	c.Contract = text.Digest()
	return in, out
}

// impersonal refuses what is somebody's name in a figure: it would leave our database.
func (h *hybrid) impersonal(e entry[cel], name string, env *expr.Env) {
	if env == nil {
		return
	}
	p, _ := env.Compile(e.value.source, expr.Anything)
	if p == nil {
		return
	}
	refuse := func(what string) {
		h.add(e.value.at, CodePersonal, fmt.Sprintf("%s is made of %s, which is personal and stays in our database", name, what), "give the calculator figures only")
	}
	for _, path := range p.Takes("params") {
		for _, param := range h.out.Params {
			if param.Personal && (len(path) == 0 || path[0] == param.Name) {
				refuse("params." + param.Name)
			}
		}
	}
	for _, path := range p.Takes("steps") {
		for _, step := range slices.Sorted(maps.Keys(h.personal)) {
			if len(path) > 0 && path[0] != step {
				continue
			}
			column := slices.IndexFunc(path, func(part string) bool { return slices.Contains(h.personal[step], part) })
			counts := len(path) > 1 && (path[1] == "count" || path[1] == "state")
			if column >= 0 {
				refuse("steps." + step + ".row." + path[column])
			} else if !counts && len(h.plain(path)) < 3 {
				refuse("all of steps." + step)
			}
		}
	}
}

// plain is a path without the elements of lists: step, row or rows, column.
func (h *hybrid) plain(path []string) []string {
	return slices.DeleteFunc(slices.Clone(path), func(part string) bool { return part == expr.Element || part == expr.Presence })
}

func (h *hybrid) decides() {
	seen := map[string]bool{}
	rules := h.doc.decide.items
	for i, d := range rules {
		h.once(d.rule, seen, "rules")
		env := h.env(d.at)
		h.compile(env, &d.when, expr.Scalar(flow.Bool), noBetter)
		h.compile(env, &d.factors, expr.List(expr.Scalar(flow.String)), noBetter)
		if !d.reason.given() && !d.factors.given() {
			h.add(d.at, CodeRequired, fmt.Sprintf("the rule %s gives no reason", d.rule.value), "add reason: with a sentence for the customer, or factors: with a list of them")
		}
		switch always, last := d.when.node == nil, i == len(rules)-1; {
		case always && !last:
			h.add(d.at, CodeCatchAll, fmt.Sprintf("the rule %s always decides, so those after it never do", d.rule.value), "add when, or move it to the end")
		case !always && last:
			h.add(d.at, CodeCatchAll, "the last rule has a condition, so nothing may be decided", "add a rule without when at the end: - { rule: otherwise, then: refer, reason: … }")
		case always && d.then.value == string(flow.Approve):
			h.add(d.at, CodeCatchAll, "what no rule says anything about would be approved", "say when an approval is due, and refer or decline at the end")
		}
		h.out.Decide.Rules = append(h.out.Decide.Rules, flow.DecideRule{Name: d.rule.value, When: d.when.source, Then: flow.Outcome(d.then.value), Reason: d.reason.value, Factors: d.factors.source})
	}
	if h.doc.decide.ok && len(rules) == 0 {
		h.add(h.doc.decide.at, CodeCatchAll, "decide has no rule", "write - { rule: otherwise, then: decline, reason: … }")
	}
	h.saga.Tasks = append(h.saga.Tasks, flow.Task{Name: flow.DecideStep, Deciding: flow.TaskDecide, Needs: h.names()})
	decision := expr.Object(map[string]expr.Type{
		"outcome": expr.Scalar(flow.String), "rule": expr.Scalar(flow.String), "by": expr.Scalar(flow.String), "at": expr.Scalar(flow.Timestamp),
		"reasons": expr.List(expr.Scalar(flow.String)), "partial": expr.List(expr.Scalar(flow.String)),
	})
	h.gave(flow.DecisionStep, decision)
}

// refers is why somebody has to review: what a rule refers, and approvals that a substitute forbids.
func (h *hybrid) refers() string {
	for _, d := range h.out.Decide.Rules {
		if d.Then == flow.Refer {
			return "the rule " + d.Name + " refers to a person"
		}
		if d.Then != flow.Approve {
			continue
		}
		for _, t := range h.saga.Tasks {
			if t.Collect != nil && len(t.Collect.Substitute) > 0 {
				return fmt.Sprintf("an approval with a substitute for %s goes to a person", t.Name)
			}
		}
	}
	return ""
}

func (h *hybrid) reviews() {
	d, why := &h.doc.review, h.refers()
	switch {
	case !d.given() && why != "":
		h.add(h.doc.decide.at, CodeRequired, "review is missing: "+why, "add review: { deadline: 2d, late: expire }")
		return
	case !d.given():
		return
	}
	env := h.env(d.at)
	r := &flow.Review{Deadline: h.duration(d.deadline, 0), Late: flow.Outcome(d.late.value), FourEyes: d.fourEyes.source, Conflicts: d.conflicts.source, Others: d.others.value, Show: h.columns(&d.show, "review.show", env, nil)}
	if d.deadline.ok && d.deadline.value <= 0 {
		h.add(d.deadline.at, CodeTimeout, "review.deadline is zero, so nobody could decide", "write a duration such as 2d")
	}
	h.compile(env, &d.fourEyes, expr.Scalar(flow.Bool), noBetter)
	h.compile(env, &d.conflicts, expr.List(expr.Scalar(flow.String)), noBetter)
	if hours := &d.hours; hours.given() {
		r.Hours = &flow.Hours{Zone: hours.zone.value, From: hours.from.value, To: hours.to.value}
		for _, day := range hours.days.items {
			r.Hours.Days = append(r.Hours.Days, day.value)
		}
		for _, day := range hours.holidays.items {
			r.Hours.Holidays = append(r.Hours.Holidays, day.value)
		}
		if _, err := calendar.Within(*r.Hours, time.Unix(0, 0)); err != nil && hours.from.value != "" && hours.to.value != "" {
			h.add(hours.at, CodeSchedule, "review.hours: "+fault.Of(err).Text, "")
		}
	}
	h.out.Review = r
	h.saga.Tasks = append(h.saga.Tasks, flow.Task{Name: flow.ReviewStep, Deciding: flow.TaskReview, Needs: []string{flow.DecideStep}})
}

// writes compiles what is written once it is decided.
func (h *hybrid) writes() {
	d := &h.doc.write
	if !d.given() {
		return
	}
	write, table := h.compiler.writes(d, writeStep, &h.doc.mapping)
	t := flow.Task{Name: writeStep, Write: write, When: d.when.source, Needs: h.names()[len(h.saga.Tasks)-1:]}
	h.compile(h.env(d.when.at), &d.when, expr.Scalar(flow.Bool), noBetter)
	t.Map = h.columns(&h.doc.mapping, "map", h.env(h.doc.mapping.at), table)
	if !h.doc.mapping.given() {
		h.add(d.at, CodeRequired, "map is missing", "say which columns are written: map: { column: expression }")
	}
	for _, k := range d.key.items {
		if k.value != "" && !slices.ContainsFunc(t.Map, func(c flow.Column) bool { return c.Name == k.value }) {
			h.add(k.at, CodeUnknownColumn, fmt.Sprintf("write.key: map does not fill the column %q", k.value), "add it to map")
		}
	}
	h.saga.Tasks = append(h.saga.Tasks, t)
}
