package check

import (
	"cmp"
	"encoding/json"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
)

type (
	// Index knows every place where a flow names a connection, a table, a column or
	// another flow. It is made of flows that compiled, and safe for concurrent use.
	Index struct {
		report    Report
		declared  flowfile.Places // connections.yaml
		residency *residency
		uses      [][]indexed // by flow, in the order of their places
		leaving   map[spot][]leaving
	}

	// indexed is a use with its place.
	indexed struct {
		flow.Use
		use
	}
)

type (
	// spot is a table of a system, by its path there.
	spot struct{ system, table string }

	// leaving is a way that a value of a table takes to a column elsewhere.
	leaving struct {
		way
		flow string
	}
)

// NewIndex makes the index of a directory that was checked.
func NewIndex(report Report) *Index {
	l := Loaded{Connections: &flowfile.Connections{List: report.Connections}, Flows: report.Flows}
	x := &Index{report: report, residency: newResidency(l), uses: make([][]indexed, len(report.Flows))}
	x.declared = flowfile.Open(report.Declared)
	for i, f := range report.Flows {
		p := placer{f, flowfile.Open(f.File), report.Declared.Name, x.declared}
		for _, u := range x.residency.uses[i] {
			x.uses[i] = append(x.uses[i], p.place(u))
		}
		slices.SortStableFunc(x.uses[i], byPlace)
		x.uses[i] = slices.CompactFunc(x.uses[i], func(a, b indexed) bool { return byPlace(a, b) == 0 })
	}
	x.leaving = map[spot][]leaving{}
	for i, f := range report.Flows {
		for _, w := range x.residency.ways[i] {
			if !w.implied && w.to.column != "" {
				from := spot{x.residency.system(w.connection), x.residency.tablePath(w.connection, w.table)}
				x.leaving[from] = append(x.leaving[from], leaving{w, f.Plan.Flow})
			}
		}
	}
	return x
}

func byPlace(a, b indexed) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col), cmp.Compare(a.Item, b.Item), cmp.Compare(a.How, b.How), cmp.Compare(a.Step, b.Step))
}

// placer finds where the uses of one flow stand.
type placer struct {
	flow     Flow
	file     flowfile.Places
	declared string // connections.yaml
	shared   flowfile.Places
}

func (p placer) place(u use) indexed {
	out := indexed{use: u, Use: flow.Use{Item: u.item(), Step: p.step(u), How: string(u.how)}}
	switch {
	case p.flow.File.Name == "": // only the plan is known
	case u.template.line > 0:
		out.Place = flow.Place{File: path.Join(path.Dir(p.flow.File.Name), u.template.file), Line: u.template.line, Col: u.template.col}
	default:
		out.Place = p.find(u)
	}
	return out
}

func (p placer) find(u use) flow.Place {
	line, col := p.file.Find(u.at...)
	if line != 1 || col != 1 {
		return flow.Place{File: p.flow.File.Name, Line: line, Col: col}
	}
	if u.how == Filter { // by what connections.yaml restricts each read of the table to
		line, col := p.shared.Find("connections", u.connection, "tables", u.table, "where", u.column)
		if line != 1 || col != 1 {
			return flow.Place{File: p.declared, Line: line, Col: col}
		}
	}
	line, col = nearest(p.file, u.at)
	return flow.Place{File: p.flow.File.Name, Line: line, Col: col}
}

func (u use) item() string {
	switch {
	case u.called != "":
		return u.called
	case u.topic != "":
		return strings.TrimSuffix(u.topic+"."+u.field, ".")
	}
	return strings.TrimSuffix(u.cell.String(), ".")
}

// listing are the sections whose entries are columns of what is read: their step is the
// section itself.
var listing = []string{"select", "key", "identity", "show", "id", "allow", "returns", "where"}

// step writes the path of a place with the names of steps.
func (p placer) step(u use) string {
	at := slices.Clone(u.at)
	if n := len(at); n > 1 && at[n-1] == u.column && slices.Contains(listing, at[n-2]) {
		at = at[:n-1]
	}
	if at[0] == "steps" && len(at) > 1 {
		tasks := p.flow.Plan.Saga.Tasks
		i := entry(at[1])
		at[1] = tasks[i].Name
		if len(at) > 4 && at[2] == "legs" {
			for _, leg := range tasks[i].Legs {
				if leg.Name == at[3] {
					at = append([]string{"steps", leg.Tasks[entry(at[4])].Name}, at[5:]...)
					break
				}
			}
		}
	}
	return strings.ReplaceAll(strings.Join(at, "."), ".[", "[")
}

// entry reads "[2]".
func entry(text string) int {
	n := 0
	for _, c := range strings.Trim(text, "[]") {
		n = 10*n + int(c-'0')
	}
	return n
}

// credentials are the references that a connection holds, sorted: "env:SAP_PASSWORD".
func credentials(c flow.Connection) []string {
	text, err := json.Marshal(c)
	if err != nil {
		return nil
	}
	found := map[string]bool{}
	for _, m := range references.FindAllStringSubmatch(string(text), -1) {
		found[m[1]] = true
	}
	return slices.Sorted(maps.Keys(found))
}

var references = regexp.MustCompile(`\$\{((?:env|file):[^{}$]+)\}`)
