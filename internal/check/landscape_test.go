package check_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing/fstest"
)

// landscape is a generated directory of flows whose author wrote down every use as the
// file was written: it knows nothing of plans or of the index.
type landscape struct {
	rnd   *rand.Rand
	files fstest.MapFS
	// uses are, of each thing that is named, its places: "f12 f12.yaml:7 reads".
	uses map[string]map[string]bool
	// callable are flows that take the parameter p.
	callable []string

	flow string
	text []string // lines of the flow that is being written
}

// The landscape has systems s0 … with the tables t0 … of columns c0 … and id; the table
// kids of t0 is child rows. Two connections lead to each system: s0, and s0-too, which
// calls the tables otherwise.
const (
	systemsThere = 5
	tablesThere  = 4
	columnsThere = 8
)

// table is one table by one of the connections to its system.
type table struct{ system, table, ref string }

func newLandscape(seed uint64, flows int) *landscape {
	l := &landscape{rnd: rand.New(rand.NewPCG(seed, 8)), files: fstest.MapFS{}, uses: map[string]map[string]bool{}}
	l.files["connections.yaml"] = &fstest.MapFile{Data: []byte(landscapeConnections())}
	writers := []func(){l.instant, l.event, l.message, l.consolidation, l.service, l.instant, l.event, l.consolidation, l.service, l.shared}
	for i := range flows {
		l.flow, l.text = fmt.Sprintf("f%d", i), nil
		writers[i%len(writers)]()
		l.files[l.flow+".yaml"] = &fstest.MapFile{Data: []byte(strings.Join(l.text, "\n") + "\n")}
	}
	return l
}

func landscapeConnections() string {
	var b strings.Builder
	b.WriteString("regions:\n  aa: { egress: \"${env:EGRESS_AA}\" }\n  bb: { egress: \"${env:EGRESS_BB}\" }\nconnections:\n")
	for s := range systemsThere {
		for _, too := range []string{"", "-too"} {
			fmt.Fprintf(&b, "  s%d%s:\n    system: dataverse\n    url: https://s%d.example.com\n    auth: { kind: basic, username: u, password: \"${env:SECRET_%d%s}\" }\n    hook: { scheme: none }\n    tables:\n", s, too, s, s, strings.ToUpper(strings.ReplaceAll(too, "-", "_")))
			for t := range tablesThere {
				name := fmt.Sprintf("t%d", t)
				if too != "" {
					name = "other_" + name
				}
				fmt.Fprintf(&b, "      %s:\n        path: t%ds\n        keys: [[id]]\n        columns:\n          id: string\n          at: timestamp\n", name, t)
				for c := range columnsThere {
					fmt.Fprintf(&b, "          c%d: string\n", c)
				}
				if t == 0 {
					b.WriteString("        children: { kids: { sku: string, lot: string } }\n")
				}
			}
		}
	}
	b.WriteString("  model:\n    system: model\n    url: https://model.example.com\n    auth: { kind: none }\n    tables: { best: { path: best } }\n")
	b.WriteString("  mail:\n    system: smtp\n    url: smtp://mail.example.com:587\n    auth: { kind: none }\n    options: { from: a@example.com }\n")
	return b.String()
}

// line writes a line and what it names: pairs of an item and how it is used.
func (l *landscape) line(text string, pairs ...string) {
	l.text = append(l.text, text)
	l.named(fmt.Sprintf("%s.yaml:%d", l.flow, len(l.text)), pairs...)
}

func (l *landscape) named(place string, pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		if l.uses[pairs[i]] == nil {
			l.uses[pairs[i]] = map[string]bool{}
		}
		l.uses[pairs[i]][l.flow+" "+place+" "+pairs[i+1]] = true
	}
}

func (l *landscape) begin(pattern string) {
	l.line("flow: " + l.flow)
	l.line("pattern: " + pattern)
	l.line("summary: One of many")
}

func (l *landscape) pick(n int) int { return l.rnd.IntN(n) }

func (l *landscape) table() table {
	s, t := l.pick(systemsThere), l.pick(tablesThere)
	ref := fmt.Sprintf("s%d.t%d", s, t)
	if l.pick(3) == 0 {
		ref = fmt.Sprintf("s%d-too.other_t%d", s, t)
	}
	return table{fmt.Sprintf("s%d", s), fmt.Sprintf("t%d", t), ref}
}

// col is the item of a column.
func (t table) col(name string) string { return t.name() + "." + name }
func (t table) name() string           { return t.system + "." + t.table }

// some are so many different columns.
func (l *landscape) some(n int) []string {
	all := make([]string, columnsThere)
	for i := range all {
		all[i] = fmt.Sprintf("c%d", i)
	}
	l.rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:n]
}

func (l *landscape) of(columns []string) string { return columns[l.pick(len(columns))] }

// pairs are uses of columns of tables, all in one way.
func pairs(how string, columns []string, tables ...table) []string {
	var out []string
	for _, t := range tables {
		for _, c := range columns {
			out = append(out, t.col(c), how)
		}
	}
	return out
}

// list writes "name: [a, b]" and what it names.
func (l *landscape) list(name string, columns []string, how string, tables ...table) {
	l.line(name+": ["+strings.Join(columns, ", ")+"]", pairs(how, columns, tables...)...)
}

// value is an expression over a record that gives a text, and the columns it takes.
func (l *landscape) value(v string, columns []string) (string, []string) {
	a, b := l.of(columns), l.of(columns)
	switch l.pick(5) {
	case 0:
		return fmt.Sprintf("%s.%s + %s.%s", v, a, v, b), []string{a, b}
	case 1:
		return fmt.Sprintf(`%s.?%s.orValue("")`, v, a), []string{a}
	case 2:
		return fmt.Sprintf(`%s.%s == "x" ? "yes" : %s.%s`, v, a, v, b), []string{a, b}
	case 3:
		return `"fixed"`, nil
	}
	return v + "." + a, []string{a}
}

// values is an expression over rows that gives a text.
func (l *landscape) values(v string, columns []string) (string, []string) {
	a, b := l.of(columns), l.of(columns)
	switch l.pick(5) {
	case 0:
		return fmt.Sprintf(`string(size(%s))`, v), nil
	case 1:
		return fmt.Sprintf(`string(size(%s.filter(r, r.%s != "x")))`, v, a), []string{a}
	case 2:
		return fmt.Sprintf(`%s.filter(r, r.%s != "x").map(r, r.%s).join(" ")`, v, a, b), []string{a, b}
	case 3:
		return fmt.Sprintf(`%s.sortBy(r, r.%s).map(r, r.%s).join(" ")`, v, a, b), []string{a, b}
	}
	return fmt.Sprintf(`%s.map(r, r.%s).join(" ")`, v, a), []string{a}
}

// mapped writes columns of a target, each made of an expression that make gives.
func (l *landscape) mapped(indent string, to table, expression func() (string, []string)) {
	for _, c := range l.some(2 + l.pick(3)) {
		text, items := expression()
		l.line(fmt.Sprintf("%s%s: '%s'", indent, c, text), append([]string{to.col(c), "writes"}, items...)...)
	}
}

func (l *landscape) target(to table) {
	l.line("write:")
	l.line("  to: "+to.ref, to.name(), "writes")
	l.line("  key: [id]", to.col("id"), "key")
}

func (l *landscape) instant() {
	from, to, columns := l.table(), l.table(), l.some(3)
	l.begin("instant")
	l.line("params: { p: { type: string, title: P } }")
	l.callable = append(l.callable, l.flow)
	l.line("read:")
	l.line("  from: "+from.ref, from.name(), "reads")
	by := l.of(columns)
	l.line("  where: { "+by+": params.p }", from.col(by), "filter")
	l.list("  select", columns, "reads", from)
	kids := from.table == "t0" && !strings.Contains(from.ref, "too")
	if kids {
		l.line("  expand: { k: kids }", from.name()+".kids", "reads", from.name()+".kids.sku", "reads")
		l.line("each: row.k")
	}
	l.line("map:")
	text, used := l.value("row", columns)
	l.line("  id: '"+text+"'", append([]string{to.col("id"), "writes"}, pairs("value", used, from)...)...)
	l.mapped("  ", to, func() (string, []string) {
		if kids && l.pick(2) == 0 {
			return "item.sku", []string{from.name() + ".kids.sku", "value"}
		}
		text, used := l.value("row", columns)
		return text, pairs("value", used, from)
	})
	l.target(to)
}

// reacts writes the triggers of an event flow.
func (l *landscape) reacts() []table {
	l.begin("event")
	l.line("on:")
	sources := []table{l.table()}
	if other := l.table(); l.pick(2) == 0 && other.name() != sources[0].name() {
		sources = append(sources, other)
	}
	for _, s := range sources {
		l.line("  - source: "+s.ref, s.name(), "reacts")
		l.line("    change: [create, update]")
		if l.pick(2) == 0 {
			l.list("    select", l.some(2), "condition", s)
		}
		a, b := l.some(1)[0], l.some(1)[0]
		l.line(fmt.Sprintf("    where: 'row.%s != \"x\" || has(row.%s)'", a, b), pairs("condition", []string{a, b}, s)...)
		if l.pick(2) == 0 {
			l.line(fmt.Sprintf("    transitions: was.%s != row.%s", a, b), pairs("condition", []string{a, b}, s)...)
		}
		l.line("    key: row."+b, s.col(b), "key")
	}
	l.line("sweep: 5m")
	if l.pick(3) == 0 {
		c := l.some(1)[0]
		l.line("throttle: { rate: 60/m, per: row."+c+" }", pairs("key", []string{c}, sources...)...)
	}
	return sources
}

func (l *landscape) event() {
	sources, to := l.reacts(), l.table()
	columns := l.some(4)
	if l.pick(2) == 0 { // what the map is over is read
		from := l.table()
		l.line("read:")
		l.line("  from: "+from.ref, from.name(), "reads")
		by := l.of(columns)
		l.line("  where: { "+by+": params.key }", from.col(by), "filter")
		l.list("  select", columns, "reads", from)
		sources = []table{from}
	}
	l.line("map:")
	l.line("  id: row."+columns[0], append([]string{to.col("id"), "writes"}, pairs("value", columns[:1], sources...)...)...)
	l.mapped("  ", to, func() (string, []string) {
		text, used := l.value("row", columns)
		return text, pairs("value", used, sources...)
	})
	l.target(to)
}

func (l *landscape) message() {
	sources := l.reacts()
	a, b, c := l.some(1)[0], l.some(1)[0], l.some(1)[0]
	l.line("send:")
	l.line("  to: mail", "mail.message", "sends")
	l.line("  template: " + l.flow + ".html")
	l.line("  recipient: row."+a, pairs("recipient", []string{a}, sources...)...)
	l.line(`  subject: "About {{.Row.`+b+`}}"`, pairs("template", []string{b}, sources...)...)
	l.line("  repeat: ask")
	l.files[l.flow+".html"] = &fstest.MapFile{Data: []byte("<p>News</p>\n<p>\n{{.Row." + c + "}} and {{.Row." + b + "}}</p>\n")}
	l.named(l.flow+".html:3", pairs("template", []string{c, b}, sources...)...)
}

func (l *landscape) consolidation() {
	l.begin("consolidation")
	l.line("gather:")
	type source struct {
		table
		name    string
		columns []string
		one     bool
	}
	var sources []source
	for i := range 1 + l.pick(3) {
		s := source{l.table(), fmt.Sprintf("src%d", i), l.some(4), l.pick(3) == 0}
		sources = append(sources, s)
		l.line("  " + s.name + ":")
		l.line("    from: "+s.ref, s.table.name(), "reads")
		if l.pick(2) == 0 {
			c := l.some(1)[0]
			l.line("    where: { "+c+": '\"x\"' }", s.col(c), "filter")
		}
		changed := l.pick(3) == 0
		if changed {
			l.list("    select", append(slices.Clone(s.columns), "at"), "reads", s.table)
		} else {
			l.list("    select", s.columns, "reads", s.table)
		}
		l.line("    key: row."+s.columns[0], s.col(s.columns[0]), "key")
		l.list("    identity", s.columns[:2], "key", s.table)
		if s.one {
			l.line("    one: true")
		}
		if changed {
			l.line("    changed: { by: at, overlap: 5m }", s.col("at"), "watermark")
		}
	}
	to := l.table()
	l.line("map:")
	l.line("  id: key", to.col("id"), "writes")
	l.mapped("  ", to, func() (string, []string) {
		s := sources[l.pick(len(sources))]
		if s.one {
			text, used := l.value(s.name, s.columns)
			return fmt.Sprintf(`%s == null ? "" : %s`, s.name, text), pairs("value", used, s.table)
		}
		text, used := l.values(s.name, s.columns)
		return text, pairs("value", used, s.table)
	})
	l.target(to)
	if l.pick(3) == 0 {
		l.advised(sources[0].name, sources[0].columns, sources[0].table)
	}
}

func (l *landscape) advised(name string, columns []string, from table) {
	to := l.table()
	l.line("advise:")
	l.line("  model: model.best", "model.best", "asks")
	l.line("  instructions: Help")
	l.line("  sources:")
	l.line("    " + name + ":")
	l.list("      id", columns[:1], "key", from)
	l.list("      show", columns[1:3], "shown", from)
	l.line("      newest: "+columns[3], from.col(columns[3]), "key")
	l.line("  facts:")
	l.line(fmt.Sprintf("    many: { do: count, of: %s, where: 'row.%s == \"x\"' }", name, columns[2]), from.col(columns[2]), "fact")
	l.line(fmt.Sprintf("    least: { do: min, of: %s.%s }", name, columns[1]), from.col(columns[1]), "fact")
	l.line("  actions: { call: { title: Call, when: facts.many > 0 }, wait: { title: Wait } }")
	l.line("  rules: [{ action: wait, reason: '\"none\"' }]")
	l.line("  write:")
	l.line("    to: "+to.ref, to.name(), "writes")
	l.line("    key: [id]", to.col("id"), "key")
	l.line("    map:")
	l.line("      id: key", to.col("id"), "writes")
	l.line("      c0: plan.title", to.col("c0"), "writes")
	l.line("      c1: string(facts.many)", to.col("c1"), "writes")
}

func (l *landscape) service() {
	l.begin("service")
	l.line("params: { p: { type: string, title: P } }")
	from, columns, to := l.table(), l.some(4), l.table()
	l.line("steps:")
	l.line("  - step: look")
	l.line("    call: "+from.ref, from.name(), "reads")
	by := l.some(1)[0]
	l.line("    where: { "+by+": params.p }", from.col(by), "filter")
	l.list("    select", columns, "reads", from)
	value := func() (string, []string) {
		if l.pick(3) == 0 {
			text, used := l.values("steps.look.rows", columns)
			return text, pairs("value", used, from)
		}
		text, used := l.value("steps.look.row", columns)
		return text, pairs("value", used, from)
	}
	write := func(name, indent string, to table) {
		l.line(indent + "- step: " + name)
		l.line(indent+"  call: "+to.ref, to.name(), "writes")
		if c := l.of(columns); l.pick(2) == 0 {
			l.line(fmt.Sprintf("%s  when: 'steps.look.row.%s != \"x\" && steps.look.count > 0'", indent, c), from.col(c), "condition")
		}
		l.line(indent+"  key: [id]", to.col("id"), "key")
		l.line(indent + "  with:")
		l.line(indent+"    id: params.p", to.col("id"), "writes")
		l.mapped(indent+"    ", to, value)
		back := l.some(1)[0]
		l.line(indent+"  returns: ["+back+"]", to.col(back), "reads")
		undo := l.some(1)[0]
		l.line(fmt.Sprintf("%s  undo: { %s: row.%s }", indent, undo, back), to.col(undo), "writes", to.col(back), "value")
	}
	write("put", "  ", to)
	if l.pick(2) == 0 {
		l.line("  - step: both")
		if c := l.of(columns); l.pick(2) == 0 {
			l.line(fmt.Sprintf("    when: steps.look.row.%s == \"x\"", c), from.col(c), "condition")
		}
		l.line("    legs:")
		for _, leg := range []string{"left", "right"} {
			l.line("      " + leg + ":")
			write("put_"+leg, "        ", l.table())
		}
	}
	if other := l.table(); l.pick(2) == 0 { // each row of what was looked up
		l.line("  - step: copy")
		l.line("    call: "+other.ref, other.name(), "writes")
		l.line("    each: steps.look.rows")
		l.line("    key: [id]", other.col("id"), "key")
		l.line("    with:")
		l.line("      id: item."+columns[0], other.col("id"), "writes", from.col(columns[0]), "value")
		l.mapped("      ", other, func() (string, []string) {
			text, used := l.value("item", columns)
			return text, pairs("value", used, from)
		})
	}
	if len(l.callable) > 0 && l.pick(2) == 0 {
		called := l.of(l.callable)
		l.line("  - step: ask")
		l.line("    call: "+called, called, "calls")
		text, used := value()
		l.line("    with: { p: '"+text+"' }", used...)
	}
	if text, used := value(); l.pick(2) == 0 {
		l.line("answer: { got: '"+text+"' }", used...)
	}
}

func (l *landscape) shared() {
	l.begin("synchronization")
	a := l.pick(systemsThere)
	b := (a + 1 + l.pick(systemsThere-1)) % systemsThere
	regions := []string{fmt.Sprintf("s%d", a), fmt.Sprintf("s%d", b)}
	l.line("regions: { aa: " + regions[0] + ", bb: " + regions[1] + " }")
	l.line("tables:")
	name := fmt.Sprintf("t%d", l.pick(tablesThere))
	columns := l.some(4)
	tables := []table{{regions[0], name, ""}, {regions[1], name, ""}}
	var here []string
	for _, t := range tables {
		here = append(here, t.name(), "shares")
	}
	all := slices.Concat(here, pairs("key", []string{"id"}, tables...), pairs("shares", columns[:2], tables...))
	l.line(fmt.Sprintf("  %s: { key: [id], allow: [%s] }", name, strings.Join(columns[:2], ", ")), all...)
	l.line(fmt.Sprintf("restricted: [%s.%s]", name, columns[3]), pairs("restricted", columns[3:], tables...)...)
	l.line(fmt.Sprintf("conflict: { default: latest, %s.%s: hold }", name, columns[0]), pairs("conflict", columns[:1], tables...)...)
}

// under are the uses of everything at or below an item.
func (l *landscape) under(item string) []string {
	found := map[string]bool{}
	for name, places := range l.uses {
		if name == item || strings.HasPrefix(name, item+".") {
			maps.Copy(found, places)
		}
	}
	return slices.Sorted(maps.Keys(found))
}
