package check_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"patchbay/internal/check"
	"patchbay/internal/flowfile"
)

// reactor is a generated flow, in the few facts that decide about loops.
type reactor struct {
	gathers  bool // a consolidation, else an event flow
	on       int
	created  bool
	columns  []string // selected; nil: any
	foreign  bool     // refuses what is tagged as ours
	to       int
	writes   []string
	tagged   bool // fills tag with a constant
	accepted bool
}

func (r reactor) yaml(name string) string {
	var b strings.Builder
	change, where, sel := "update", "", ""
	if r.created {
		change = "create, update"
	}
	if r.foreign {
		where = `, where: 'row.tag != "ours" && row.a != "x"'`
	}
	if r.columns != nil {
		sel = ", select: [" + strings.Join(r.columns, ", ") + "]"
	}
	if r.gathers {
		return r.consolidation(name)
	}
	fmt.Fprintf(&b, "flow: %s\npattern: event\nsummary: One of many\non: [{ source: crm.t%d, change: [%s]%s%s, key: row.id }]\n", name, r.on, change, sel, where)
	fmt.Fprint(&b, "map:\n  id: row.id\n")
	for _, c := range r.writes {
		fmt.Fprintf(&b, "  %s: row.%s\n", c, c)
	}
	if r.tagged {
		fmt.Fprint(&b, "  tag: '\"ours\"'\n")
	}
	// The same system under another name is the same system.
	fmt.Fprintf(&b, "write: { to: %s.t%d, key: [id] }\n", []string{"crm", "again"}[r.to%2], r.to)
	if r.accepted {
		fmt.Fprint(&b, "loop: accepted\n")
	}
	return b.String()
}

func (r reactor) consolidation(name string) string {
	var b strings.Builder
	selected := "a, b, tag"
	if r.columns != nil {
		selected = strings.Join(r.columns, ", ")
	}
	fmt.Fprintf(&b, "flow: %s\npattern: consolidation\nsummary: One of many\ngather: { s: { from: crm.t%d, select: [id, %s], key: row.id, identity: [id] } }\n", name, r.on, selected)
	fmt.Fprint(&b, "map:\n  id: key\n")
	for _, c := range r.writes {
		fmt.Fprintf(&b, "  %s: string(size(s))\n", c)
	}
	if r.tagged {
		fmt.Fprint(&b, "  tag: '\"ours\"'\n")
	}
	fmt.Fprintf(&b, "write: { to: %s.t%d, key: [id] }\n", []string{"crm", "again"}[r.to%2], r.to)
	return b.String()
}

// reaches: own says that other is the flow itself.
func (r reactor) reaches(other reactor, own bool) bool {
	switch {
	case r.to != other.on, !other.gathers && other.foreign && r.tagged:
		return false
	case !other.gathers && other.created, other.gathers && !own:
		return true
	}
	written := slices.Clone(r.writes)
	if r.tagged {
		written = append(written, "tag")
	}
	return slices.ContainsFunc(written, func(c string) bool { return other.columns == nil || slices.Contains(other.columns, c) })
}

func graphConnections(tables int) string {
	var b strings.Builder
	b.WriteString("connections:\n")
	for _, name := range []string{"crm", "again"} {
		fmt.Fprintf(&b, "  %s:\n    system: dataverse\n    url: https://crm.example.com\n    auth: { kind: none }\n    hook: { scheme: none }\n    tables:\n", name)
		for i := range tables {
			fmt.Fprintf(&b, "      t%d: { path: t%ds, keys: [[id]], columns: { id: string, a: string, b: string, tag: string } }\n", i, i)
		}
	}
	return b.String()
}

// onCycle enumerates all paths without repetition, which is slow and plain.
func onCycle(flows []reactor) map[int]bool {
	found := map[int]bool{}
	var walk func(path []int)
	walk = func(path []int) {
		for next := range flows {
			last := path[len(path)-1]
			if flows[next].accepted || !flows[last].reaches(flows[next], next == last) {
				continue
			}
			if next == path[0] {
				for _, i := range path {
					found[i] = true
				}
			}
			if !slices.Contains(path, next) {
				walk(append(slices.Clone(path), next))
			}
		}
	}
	for i := range flows {
		if !flows[i].accepted {
			walk([]int{i})
		}
	}
	return found
}

func TestEveryLoopOfGeneratedFlowsIsFoundAndNoOther(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 9))
	looped, free := 0, 0
	for n := range 200 {
		tables := 2 + r.IntN(3)
		flows := make([]reactor, 2+r.IntN(4))
		dir := fstest.MapFS{"connections.yaml": {Data: []byte(graphConnections(tables))}}
		for i := range flows {
			f := reactor{on: r.IntN(tables), to: r.IntN(tables), created: r.IntN(4) == 0, foreign: r.IntN(3) == 0, tagged: r.IntN(3) == 0, accepted: r.IntN(8) == 0, gathers: r.IntN(4) == 0}
			f.accepted = f.accepted && !f.gathers
			for _, c := range []string{"a", "b"} {
				if r.IntN(2) == 0 {
					f.writes = append(f.writes, c)
				}
			}
			if r.IntN(3) > 0 {
				f.columns = []string{[]string{"a", "b", "tag"}[r.IntN(3)]}
			}
			flows[i] = f
			dir[fmt.Sprintf("f%d.yaml", i)] = &fstest.MapFile{Data: []byte(f.yaml(fmt.Sprintf("f%d", i)))}
		}
		report := run(t, dir, check.Options{})
		named := map[int]bool{}
		for _, d := range report.Problems {
			if d.Severity == flowfile.Warning {
				continue // the second name, where nobody writes by it; a source that no column needs; two that write one column
			}
			require.Equal(t, flowfile.CodeLoop, d.Code, d)
			_, text, ok := strings.Cut(d.Message, "without end: ")
			require.True(t, ok)
			var path []int
			for i, part := range strings.Split(text, " → ") {
				if i%2 == 0 {
					path = append(path, int(part[1]-'0'))
				}
			}
			require.Equal(t, path[0], path[len(path)-1], "a path that comes back")
			for i := range len(path) - 1 {
				require.True(t, flows[path[i]].reaches(flows[path[i+1]], path[i] == path[i+1]), "graph %d: %s", n, d)
				named[path[i]] = true
			}
		}
		want := onCycle(flows)
		require.Equal(t, want, named, "graph %d: %+v", n, flows)
		if len(want) > 0 {
			looped++
		} else {
			free++
		}
	}
	require.Greater(t, looped, 40)
	require.Greater(t, free, 40)
}

func TestALoopIsToldAsItsPath(t *testing.T) {
	t.Parallel()
	dir := fstest.MapFS{
		"connections.yaml": {Data: []byte(graphConnections(2))},
		"one.yaml":         {Data: []byte(reactor{on: 0, to: 1, writes: []string{"a"}}.yaml("one"))},
		"two.yaml":         {Data: []byte(reactor{on: 1, to: 0, writes: []string{"b"}, columns: []string{"a"}}.yaml("two"))},
	}
	require.Equal(t, []string{
		`one.yaml:8:14: a change would go round without end: one → again.t1 (a) → two → crm.t0 (b) → one; ` +
			`select columns that no flow of the cycle writes, refuse by where what it writes (a column that it fills with a constant), or write loop: accepted in one of them (flow.loop)`,
	}, lines(run(t, dir, check.Options{})))

	dir["two.yaml"].Data = append(dir["two.yaml"].Data, "loop: accepted\n"...)
	require.Empty(t, lines(run(t, dir, check.Options{})))
}
