package check_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"patchbay/internal/check"
)

// emitter and acceptor are flows of one business event.
const (
	emitter = `
flow: pack
pattern: service
summary: Packs
params: { nr: { type: string } }
emits:
  shipped.%s: { key: [%s], schema: { type: object, required: [nr, status, at], properties: { nr: { type: string }, at: { type: string, format: date-time }, status: { type: string, enum: [departed, arrived] }, boxes: { type: integer, minimum: 1 }, note: { type: string } } } }
steps:
  - { step: one, emit: shipped.%[1]s, with: { nr: params.nr, status: '"departed"', at: timestamp("2026-01-01T00:00:00Z") } }
`
	acceptor = `
flow: follow
pattern: service
summary: Follows
%s
accepts:
  shipped.v1: { key: [nr], schema: { type: object, required: [nr, %s], properties: { nr: { type: string }, %s } } }
%s
steps:
  - { step: one, %s }
`
	awaits = `await: shipped.v1, where: { nr: params.nr }, deadline: 1d`
)

func TestWhoEmitsAnEventSaysWhatOthersNeedOfIt(t *testing.T) {
	t.Parallel()
	params := `params: { nr: { type: string } }`
	for name, c := range map[string]struct {
		emitter, acceptor, want string
	}{
		"fits":               {fmt.Sprintf(emitter, "v1", "nr"), fmt.Sprintf(acceptor, params, "status", "status: { type: string, enum: [arrived, departed, lost] }, boxes: { type: number }, at: { type: string }", "", awaits), ""},
		"no such field":      {fmt.Sprintf(emitter, "v1", "nr"), fmt.Sprintf(acceptor, params, "port", "port: { type: string }", "", awaits), "follow accepts it and requires the field port, which is not declared here"},
		"may be missing":     {fmt.Sprintf(emitter, "v1", "nr"), fmt.Sprintf(acceptor, params, "note", "note: { type: string }", "", awaits), "requires the field note, which may be missing here"},
		"another type":       {fmt.Sprintf(emitter, "v1", "nr"), fmt.Sprintf(acceptor, params, "status", "status: { type: boolean }", "", awaits), "takes of the field status a bool, and it is a string here"},
		"an optional field":  {fmt.Sprintf(emitter, "v1", "nr"), fmt.Sprintf(acceptor, params, "status", "status: { type: string }, boxes: { type: string }", "", awaits), "takes of the field boxes a string, and it is a int here"},
		"fewer values":       {fmt.Sprintf(emitter, "v1", "nr"), fmt.Sprintf(acceptor, params, "status", "status: { type: string, enum: [arrived] }", "", awaits), `takes of the field status only arrived, and "departed" is allowed here`},
		"a greater least":    {fmt.Sprintf(emitter, "v1", "nr"), fmt.Sprintf(acceptor, params, "status", "status: { type: string }, boxes: { type: integer, minimum: 2 }", "", awaits), "takes of the field boxes at least 2"},
		"another key":        {fmt.Sprintf(emitter, "v1", "status"), fmt.Sprintf(acceptor, params, "status", "status: { type: string }", "", awaits), "the business key is status here, and nr in follow"},
		"another version":    {fmt.Sprintf(emitter, "v2", "nr"), fmt.Sprintf(acceptor, params, "status", "status: { type: string }", "", awaits), "no flow emits shipped.v1, and emitted is shipped.v2"},
		"starts its emitter": {fmt.Sprintf(emitter, "v1", "nr"), fmt.Sprintf(acceptor, "on: [{ event: shipped.v1 }]", "status", "status: { type: string }", "", `call: pack, with: { nr: params.nr }`), "shipped.v1 starts what emits it: pack → follow → pack"},
	} {
		report := run(t, fstest.MapFS{
			"connections.yaml": {Data: []byte("connections: {}\n")}, "pack.yaml": {Data: []byte(c.emitter)}, "follow.yaml": {Data: []byte(c.acceptor)},
		}, check.Options{})
		found := strings.Join(lines(report), "\n")
		if c.want == "" {
			require.Empty(t, found, name)
		} else {
			require.Contains(t, found, c.want, name)
		}
	}
}

func TestAnEventNamesEveryFlowThatSpeaksOfIt(t *testing.T) {
	t.Parallel()
	params := `params: { nr: { type: string } }`
	root := fstest.MapFS{
		"connections.yaml": {Data: []byte("connections: {}\n")},
		"pack.yaml":        {Data: []byte(fmt.Sprintf(emitter, "v1", "nr"))},
		"follow.yaml":      {Data: []byte(fmt.Sprintf(acceptor, params, "status", "status: { type: string, enum: [arrived, departed] }", "", awaits))},
		"bill.yaml": {Data: []byte(strings.NewReplacer("flow: follow", "flow: bill", "steps:",
			"emits:\n  billed.v1: { key: [nr], schema: { type: object, required: [nr], properties: { nr: { type: string } } } }\nsteps:").
			Replace(fmt.Sprintf(acceptor, "", "at", "at: { type: string }", "on: [{ event: shipped.v1 }]", "emit: billed.v1, with: { nr: params.nr }")))},
	}
	report := run(t, root, check.Options{})
	require.Len(t, report.Flows, 3, "%+v", lines(report))
	x := check.NewIndex(report)
	of := func(item string) (lines []string) {
		found, err := x.Impact(item)
		require.NoError(t, err)
		for _, f := range found.Flows {
			for _, s := range f.Steps {
				require.NotZero(t, s.Line, "%s %s", f.Flow, s.Step)
				lines = append(lines, f.Flow+" "+s.How+" "+s.Item)
			}
		}
		return lines
	}
	all := of("shipped.v1")
	for _, want := range []string{"pack emits shipped.v1", "pack emits shipped.v1.status", "follow accepts shipped.v1", "follow awaits shipped.v1", "follow filter shipped.v1.nr", "bill accepts shipped.v1.at", "bill reacts shipped.v1"} {
		require.Contains(t, all, want)
	}
	require.NotContains(t, strings.Join(all, "\n"), "billed.v1")
	require.ElementsMatch(t, []string{"pack emits shipped.v1.at", "pack emits shipped.v1.at", "pack emits shipped.v1", "bill accepts shipped.v1.at", "bill reacts shipped.v1"}, of("shipped.v1.at"), "follow keeps nothing of it")
	_, err := x.Impact("shipped.v1.colour")
	require.ErrorContains(t, err, `no contract of shipped.v1 has a field "colour"`)
	m := x.Map()
	edges := []string{}
	for _, e := range m.Edges {
		edges = append(edges, e.From+" "+e.How+" "+e.To)
	}
	for _, want := range []string{"flow:pack emits event:shipped.v1", "event:shipped.v1 awaits flow:follow", "event:shipped.v1 reacts flow:bill", "flow:bill emits event:billed.v1"} {
		require.Contains(t, edges, want)
	}
}

// A change becomes an event, which starts a service, which writes what the change was of.
func TestAChangeThatComesBackByABusinessEventIsFound(t *testing.T) {
	t.Parallel()
	const contract = `moved.v1: { key: [nr], schema: { type: object, required: [nr], properties: { nr: { type: string } } } }`
	seen := `
flow: seen
pattern: event
summary: Tells of it
on: [{ source: crm.t0, change: [update], select: [a], %s key: row.id }]
emits: { ` + contract + ` }
emit: moved.v1
map: { nr: row.id }
`
	follow := `
flow: follow
pattern: service
summary: Does something about it
on: [{ event: moved.v1 }]
accepts: { ` + contract + ` }
steps:
  - { step: one, call: crm.t0, key: [id], with: { id: params.nr, a: '"%s"' }, undo: { a: '"%s"' } }
`
	for name, c := range map[string]struct{ where, does, undoes, want string }{
		"it comes back":            {"", "done", "undone", "seen → moved.v1 → follow → crm.t0 (a) → seen"},
		"it is refused":            {`where: 'row.a == "asked"',`, "done", "undone", ""},
		"it comes back by an undo": {`where: 'row.a == "asked"',`, "done", "asked", "seen → moved.v1 → follow → crm.t0 (a) → seen"},
	} {
		report := run(t, fstest.MapFS{
			"connections.yaml": {Data: []byte(graphConnections(1))},
			"seen.yaml":        {Data: fmt.Appendf(nil, seen, c.where)}, "follow.yaml": {Data: fmt.Appendf(nil, follow, c.does, c.undoes)},
		}, check.Options{})
		found := strings.Join(lines(report), "\n")
		if c.want == "" {
			require.NotContains(t, found, "flow.loop", name)
		} else {
			require.Contains(t, found, c.want, name)
		}
	}
}
