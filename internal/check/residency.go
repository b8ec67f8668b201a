package check

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
)

type (
	// Crossing is what one flow carries over one border. A region is empty where
	// connections.yaml does not say where a system is. Its JSON is an interface.
	Crossing struct {
		Flow    string   `json:"flow"`
		File    string   `json:"file"`
		From    string   `json:"from"`
		To      string   `json:"to"`
		Source  string   `json:"source"`  // connection.table
		Target  string   `json:"target"`  // connection.table, or the connection of a message or a model
		Columns []string `json:"columns"` // of the source, sorted
	}

	// taint is a column that holds what must not leave its region.
	taint struct {
		system, table, column string // the table by its path there
		origin                string // connection.table.column, where it is restricted
		home                  string // region; empty: none, and it leaves its system for no other
		homeSystem            string
		way                   string // " → select of customer-360.yaml:12 → …", where it was copied
		by                    string // who says that it is restricted
	}

	// residency is what is known of where systems are and what must stay there.
	residency struct {
		connections map[string]flow.Connection
		regions     map[string]string  // system → region
		identities  map[string]string  // connection → identity, where it is known
		systems     map[string]string  // connection → system
		ways        [][]way            // by flow
		uses        [][]use            // by flow
		taints      map[string][]taint // by system
		places      map[string]flowfile.Places
	}
)

// noLeaks proves that no restricted value leaves its region by any flow: not as a
// value, not by what is filtered by it, and not by way of a column that another flow
// has copied it to (promise 5).
func noLeaks(l Loaded) []flowfile.Diagnostic {
	r := newResidency(l)
	out := r.contradictions(l)
	r.seed(l)
	r.spread(l)
	type key struct {
		file      string
		line, col int
		origin    string
	}
	told := map[key]bool{}
	for i, f := range l.Flows {
		for _, w := range r.ways[i] {
			for _, t := range r.taintsOf(w.cell) {
				if r.allowed(t, w.to) {
					continue
				}
				last := w.steps[len(w.steps)-1]
				line, col := r.find(f, last.path)
				_, column, _ := strings.Cut(t.origin, ".") // the same of several regions is said once
				k := key{f.File.Name, line, col, column}
				if told[k] {
					continue
				}
				told[k] = true
				out = append(out, flowfile.Diagnostic{
					File: f.File.Name, Line: line, Col: col, Code: flowfile.CodeRestricted, Severity: flowfile.Error,
					Message: fmt.Sprintf("a restricted column would leave %s: %s", region(t.home, "its system"), r.path(f, w, t)),
					Fix:     fix(t, w),
				})
			}
		}
	}
	return out
}

func region(name, otherwise string) string {
	if name == "" {
		return otherwise
	}
	return "the region " + name
}

func fix(t taint, w way) string {
	what := "leave it out"
	if w.implied {
		what = "decide by something else"
	}
	if w.to.connection != "" && t.home != "" {
		what += ", or give it to a system that connections.yaml says is in " + t.home
	}
	return what + "; it is restricted by " + t.by
}

// path writes the whole way of a value.
func (r *residency) path(f Flow, w way, t taint) string {
	text := t.origin + t.way + r.steps(f, w)
	if w.implied {
		return text + " → whether " + w.to.String() + " is told"
	}
	return text + " → " + w.to.String()
}

func (r *residency) steps(f Flow, w way) string {
	var text strings.Builder
	for i, s := range w.steps {
		text.WriteString(" → " + s.name)
		if i == 0 {
			line, _ := r.find(f, s.path)
			fmt.Fprintf(&text, " of %s:%d", path.Base(f.File.Name), line)
		}
	}
	return text.String()
}

// find gives the place of a path of keys, or of the nearest one above that is there.
func (r *residency) find(f Flow, path []string) (line, col int) {
	places, read := r.places[f.File.Name]
	if !read {
		places = flowfile.Open(f.File)
		r.places[f.File.Name] = places
	}
	return nearest(places, path)
}

func nearest(in flowfile.Places, path []string) (line, col int) {
	for n := len(path); n > 0; n-- {
		if line, col = in.Find(path[:n]...); line != 1 || col != 1 {
			return line, col
		}
	}
	return 1, 1
}

func newResidency(l Loaded) *residency {
	r := &residency{connections: systemsOf(l), regions: map[string]string{}, identities: map[string]string{}, systems: map[string]string{}, taints: map[string][]taint{}, places: map[string]flowfile.Places{}}
	for _, f := range l.Flows {
		for name, b := range f.Plan.Bindings {
			if b.Identity != "" {
				r.identities[name] = b.Identity
			}
		}
	}
	r.group(l)
	for _, c := range l.Connections.List {
		if c.Region != "" {
			r.regions[r.system(c.Name)] = c.Region
		}
	}
	for _, f := range l.Flows {
		if f.Plan.Sync == nil {
			continue
		}
		for _, one := range f.Plan.Sync.Regions {
			if r.regions[r.system(one.Connection)] == "" {
				r.regions[r.system(one.Connection)] = one.Name
			}
		}
	}
	for _, f := range l.Flows {
		t := trace(f, r.connections)
		r.ways, r.uses = append(r.ways, t.out), append(r.uses, t.uses)
	}
	return r
}

// system names what is behind a connection: two connections name one system if what they
// say or what they mean is the same.
func (r *residency) system(connection string) string { return r.systems[connection] }

// group finds the connections of each system. One whose address is another region's has
// an identity of its own form, so that either may tell.
func (r *residency) group(l Loaded) {
	same := map[string]string{} // what says it → system
	for _, c := range l.Connections.List {
		signs := []string{c.System + " " + strings.ToLower(strings.TrimRight(c.URL, "/"))}
		if id := r.identities[c.Name]; id != "" {
			signs = append(signs, "= "+id)
		}
		r.systems[c.Name] = c.Name
		for _, sign := range signs {
			if other, known := same[sign]; known {
				r.join(r.systems[c.Name], other, same)
			}
		}
		for _, sign := range signs {
			same[sign] = r.systems[c.Name]
		}
	}
}

// join makes one system of two.
func (r *residency) join(a, b string, same map[string]string) {
	for _, of := range []map[string]string{r.systems, same} {
		for name, system := range of {
			if system == a {
				of[name] = b
			}
		}
	}
}

func (r *residency) tablePath(connection, table string) string {
	name := strings.ToLower(strings.Trim(cmp.Or(r.connections[connection].Tables[table].Path, table), "/"))
	if r.connections[connection].System == "postgres" {
		name = strings.TrimPrefix(strings.ReplaceAll(name, `"`, ""), "public.") // where names without a schema are found
	}
	return name
}

// contradictions: a system is in one region.
func (r *residency) contradictions(l Loaded) []flowfile.Diagnostic {
	var out []flowfile.Diagnostic
	for _, c := range l.Connections.List {
		if other := r.regions[r.system(c.Name)]; c.Region != "" && other != c.Region {
			line, col := flowfile.Find(l.Declared, "connections", c.Name, "region")
			out = append(out, flowfile.Diagnostic{
				File: l.Connections.File, Line: line, Col: col, Code: flowfile.CodeRegion, Severity: flowfile.Error,
				Message: fmt.Sprintf("%s is in %s, and another connection to the same system is in %s", c.Name, c.Region, other), Fix: "say the same of both",
			})
		}
	}
	for _, f := range l.Flows {
		if f.Plan.Sync == nil {
			continue
		}
		for _, one := range f.Plan.Sync.Regions {
			if other := r.regions[r.system(one.Connection)]; other != one.Name {
				line, col := flowfile.Find(f.File, "regions", one.Name)
				out = append(out, flowfile.Diagnostic{
					File: f.File.Name, Line: line, Col: col, Code: flowfile.CodeRegion, Severity: flowfile.Error,
					Message: fmt.Sprintf("regions.%s: the system of %s is in %s, as connections.yaml or another flow says", one.Name, one.Connection, other), Fix: "name the system of this region",
				})
			}
		}
	}
	return out
}

// seed takes what flows and connections.yaml say is restricted.
func (r *residency) seed(l Loaded) {
	add := func(connection, table, column, home, by string) {
		system := r.system(connection)
		r.taints[system] = append(r.taints[system], taint{
			system: system, table: r.tablePath(connection, table), column: column, origin: connection + "." + table + "." + column,
			home: home, homeSystem: system, by: by,
		})
	}
	for _, f := range l.Flows {
		if f.Plan.Sync == nil {
			continue
		}
		for _, one := range f.Plan.Sync.Regions {
			for _, name := range f.Plan.Sync.Restricted {
				table, column, _ := strings.Cut(name, ".")
				add(one.Connection, table, column, one.Name, f.Plan.Flow)
			}
		}
	}
	for _, c := range l.Connections.List {
		for _, name := range slices.Sorted(maps.Keys(c.Tables)) {
			for _, column := range c.Tables[name].Restricted {
				add(c.Name, name, column, r.regions[r.system(c.Name)], path.Base(l.Connections.File))
			}
		}
	}
}

// spread follows copies within a region until there are no new ones.
func (r *residency) spread(l Loaded) {
	for more := true; more; {
		more = false
		for i, f := range l.Flows {
			for _, w := range r.ways[i] {
				if w.implied || w.to.column == "" {
					continue
				}
				for _, t := range r.taintsOf(w.cell) {
					if !r.allowed(t, w.to) {
						continue
					}
					copied := t
					copied.system, copied.table, copied.column = r.system(w.to.connection), r.tablePath(w.to.connection, w.to.table), w.to.column
					if r.known(copied) {
						continue
					}
					copied.way += r.steps(f, w) + " → " + w.to.String() + "." + w.to.column
					r.taints[copied.system] = append(r.taints[copied.system], copied)
					more = true
				}
			}
		}
	}
}

func (r *residency) known(t taint) bool {
	return slices.ContainsFunc(r.taints[t.system], func(o taint) bool {
		return o.table == t.table && sameColumn(o.column, t.column) && o.origin == t.origin && o.home == t.home
	})
}

// taintsOf are what a column may hold. Of child rows it counts what their columns are
// called: whose rows they are only the system knows.
func (r *residency) taintsOf(c cell) []taint {
	system, table := r.system(c.connection), r.tablePath(c.connection, c.table)
	var out []taint
	for _, t := range r.taints[system] {
		last := t.column[strings.LastIndexByte(t.column, '.')+1:]
		switch {
		case c.path == "" && t.table == table && (c.column == "" || sameColumn(c.column, t.column)):
		case c.path != "" && (c.column == "" || sameColumn(c.column, last)):
		default:
			continue
		}
		out = append(out, t)
	}
	return out
}

// allowed reports whether a value may get there: to a system of its region, or back to
// the one that it is of.
func (r *residency) allowed(t taint, to sink) bool {
	if to.connection == "" {
		return false
	}
	system := r.system(to.connection)
	return system == t.homeSystem || t.home != "" && r.regions[system] == t.home
}

// Crossings are what the flows of a directory carry over borders, by flow, border and
// table. Flows that did not compile are not among them.
func Crossings(report Report) []Crossing {
	l := Loaded{Connections: &flowfile.Connections{List: report.Connections}, Flows: report.Flows}
	r := newResidency(l)
	out := []Crossing{}
	for i, f := range l.Flows {
		for _, w := range r.ways[i] {
			if w.to.connection == "" || w.implied {
				continue
			}
			from, to := r.regions[r.system(w.connection)], r.regions[r.system(w.to.connection)]
			if from == to || r.system(w.connection) == r.system(w.to.connection) {
				continue
			}
			c := Crossing{Flow: f.Plan.Flow, File: f.File.Name, From: from, To: to, Source: w.connection + "." + w.table, Target: w.to.String()}
			at := slices.IndexFunc(out, func(o Crossing) bool {
				return o.Flow == c.Flow && o.Source == c.Source && o.Target == c.Target
			})
			if at < 0 {
				at = len(out)
				out = append(out, c)
			}
			name := strings.TrimPrefix(w.path+"."+cmp.Or(w.column, "…"), ".")
			if !slices.Contains(out[at].Columns, name) {
				out[at].Columns = append(out[at].Columns, name)
				slices.Sort(out[at].Columns)
			}
		}
	}
	return out
}
