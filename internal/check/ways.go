package check

import (
	"maps"
	"slices"
	"strings"

	"patchbay/internal/expr"
	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
)

type (
	// cell is a column of a table of a system; path is set for a column of child rows,
	// and column is then empty where it is not known which ones there are.
	cell struct{ connection, table, path, column string }

	// step is a place of a flow file that a value passes.
	step struct {
		name string
		path []string // as of flowfile.Find
	}

	// origin is a value that an expression may hold: where it comes from, and by which way.
	origin struct {
		cell
		steps   []step
		derived bool // by way of a name that the flow gives it, and not by its own
	}

	// sink is where a value ends: a column of a system, a system (column is empty), or what
	// no system is (connection is empty, and what says it).
	sink struct{ connection, table, column, what string }

	// way is how a value of a column gets out of its system by one flow. Implied: not the
	// value, but whether something happens depends on it.
	way struct {
		origin
		to      sink
		implied bool
	}

	// variable is what an expression may take: some columns, variables below it, and what
	// any use of it depends on.
	variable struct {
		columns map[string][]origin
		nested  map[string]variable
		always  []origin
		open    []origin // rows of which the columns are not known: each that is named may be there
	}

	scope map[string]variable

	// tracer follows the values of one flow.
	tracer struct {
		file        flowfile.File
		plan        *flow.Plan
		connections map[string]flow.Connection
		out         []way
		uses        []use
	}
)

// The sinks that are no systems. Whoever is in a region may see what the others see.
var (
	asker = sink{what: "the answer to whoever presses"}
	keys  = sink{what: "a key, which IDs, search attributes, explain and logs show"}
	mark  = sink{what: "a cursor, which logs and the console show"}
)

func (c cell) String() string {
	s := c.connection + "." + c.table
	for _, part := range []string{c.path, c.column} {
		if part != "" {
			s += "." + part
		}
	}
	return s
}

func (s sink) String() string {
	switch {
	case s.connection == "":
		return s.what
	case s.table == "":
		return s.connection
	}
	return s.connection + "." + s.table
}

// trace follows all values of a flow, and notes what it names on the way.
func trace(f Flow, connections map[string]flow.Connection) *tracer {
	t := &tracer{file: f.File, plan: f.Plan, connections: connections}
	switch p := f.Plan; {
	case p.Sync != nil:
		t.synchronization(p.Sync)
	case p.Gather != nil:
		t.consolidation(p)
	case p.Reaction != nil:
		t.event(p)
	case p.Decide != nil:
		t.hybrid(p)
	case p.Saga != nil:
		t.service(p)
		t.contracts(p)
	default:
		t.instant(p)
	}
	return t
}

// emit notes where values end.
func (t *tracer) emit(to sink, implied bool, via step, origins []origin) {
	t.takes(via, origins)
	for _, o := range origins {
		w := way{origin: then(o, via), to: to, implied: implied}
		t.out = append(t.out, w)
	}
}

func then(o origin, via step) origin {
	o.steps = append(slices.Clone(o.steps), via)
	return o
}

// known makes origins those of another name that the flow gives to what it made of them.
func known(origins []origin, via ...step) []origin {
	out := make([]origin, len(origins))
	for i, o := range origins {
		for _, s := range via {
			o = then(o, s)
		}
		o.derived = true
		out[i] = o
	}
	return out
}

func at(name string, path ...string) step { return step{name, path} }

// columns are those of a table, read by a step; the path of a column is below the step's.
func columnsOf(connection, table string, names []string, via step) variable {
	v := variable{columns: map[string][]origin{}}
	for _, name := range names {
		s := step{via.name, append(slices.Clone(via.path), name)}
		v.columns[name] = []origin{{cell: cell{connection: connection, table: table, column: name}, steps: []step{s}}}
	}
	return v
}

// children are the columns of child rows.
func (t *tracer) children(connection, table, path string, via step) variable {
	v := variable{columns: map[string][]origin{}}
	known := t.connections[connection].Tables[table].Children[path]
	for _, name := range slices.Sorted(maps.Keys(known)) {
		v.columns[name] = []origin{{cell: cell{connection, table, path, name}, steps: []step{via}}}
	}
	if len(known) == 0 {
		v.open = []origin{{cell: cell{connection, table, path, ""}, steps: []step{via}}}
	}
	return v
}

func (v variable) whole() []origin {
	out := slices.Concat(v.always, v.open)
	for _, name := range slices.Sorted(maps.Keys(v.columns)) {
		out = append(out, v.columns[name]...)
	}
	for _, name := range slices.Sorted(maps.Keys(v.nested)) {
		out = append(out, v.nested[name].whole()...)
	}
	return out
}

// under gives what lies under a path that an expression takes, as of expr.Takes.
func (v variable) under(path []string) []origin {
	for len(path) > 0 && path[0] == expr.Element {
		path = path[1:]
	}
	switch {
	case len(path) == 0:
		return v.whole()
	case path[0] == expr.Presence:
		return v.always
	}
	if below, is := v.nested[path[0]]; is {
		return slices.Concat(v.always, below.under(path[1:]))
	}
	return v.take(path[0])
}

func (v variable) take(column string) []origin {
	out := slices.Clone(v.always)
	for _, o := range v.open {
		o.column = column
		out = append(out, o)
	}
	for _, name := range slices.Sorted(maps.Keys(v.columns)) {
		if sameColumn(name, column) {
			out = append(out, v.columns[name]...)
		}
	}
	return out
}

// add joins another variable: a value may come from either.
func (v variable) add(other variable) variable {
	out := variable{columns: maps.Clone(v.columns), nested: maps.Clone(v.nested), always: slices.Concat(v.always, other.always), open: slices.Concat(v.open, other.open)}
	if out.columns == nil {
		out.columns = map[string][]origin{}
	}
	for name, origins := range other.columns {
		out.columns[name] = slices.Concat(out.columns[name], origins)
	}
	return out
}

// of gives what an expression may hold. One that cannot be looked into holds all that
// there is.
func (s scope) of(source string) []origin {
	if source == "" {
		return nil
	}
	var out []origin
	p := s.program(source)
	for _, name := range slices.Sorted(maps.Keys(s)) {
		if p == nil {
			out = append(out, s[name].whole()...)
			continue
		}
		for _, path := range p.Takes(name) {
			out = append(out, s[name].under(path)...)
		}
	}
	return out
}

func (s scope) program(source string) *expr.Program {
	vars := make([]expr.Var, 0, len(s))
	for _, name := range slices.Sorted(maps.Keys(s)) {
		vars = append(vars, expr.Var{Name: name})
	}
	env, err := expr.New(vars...)
	if err != nil {
		return nil
	}
	p, _ := env.Compile(source, expr.Anything)
	return p
}

// sameColumn reports whether two names may be of one column, or one be part of the
// other: systems tell of a lookup as _name_value and of a text that stands for a value
// as name@annotation, and some do not mind about capitals.
func sameColumn(a, b string) bool {
	a, b = plainColumn(a), plainColumn(b)
	return a == b || strings.HasPrefix(a, b+".") || strings.HasPrefix(b, a+".")
}

func plainColumn(name string) string {
	name, _, _ = strings.Cut(strings.ToLower(name), "@")
	if strings.HasPrefix(name, "_") && strings.HasSuffix(name, "_value") {
		name = strings.TrimSuffix(name[1:], "_value")
	}
	return name
}
