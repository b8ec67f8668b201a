package check_test

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"patchbay/internal/check"
	"patchbay/internal/flowfile"
)

const erp = `
  erp:
    system: sap
    url: https://erp.example.com
    auth: { kind: none }
    quotas: [{ requests: 100, per: 1m, reserve: 10 }, { concurrent: 4 }]
    tables:
      order: { path: API_SALES_ORDER_SRV/A_SalesOrder, keys: [[id]], columns: { id: string, customer: string, net: decimal } }
`

func consolidation(name, schedule, source, more string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte("flow: " + name + "\npattern: consolidation\nsummary: One of some\n" + schedule +
		"gather: { s: { from: " + source + ", key: row.id, identity: [id] } }\n" + more)}
}

func TestAConsolidationIsPartOfALoop(t *testing.T) {
	t.Parallel()
	dir := fstest.MapFS{
		"connections.yaml": {Data: []byte(graphConnections(2))},
		"one.yaml":         consolidation("one", "", "crm.t0, select: [id, a]", "map: { id: key, a: string(size(s)) }\nwrite: { to: again.t1, key: [id] }\n"),
		"two.yaml":         {Data: []byte(reactor{on: 1, to: 0, writes: []string{"b"}, columns: []string{"a"}}.yaml("two"))},
	}
	require.Equal(t, []string{
		`one.yaml:6:14: a change would go round without end: one → again.t1 (a) → two → crm.t0 → one; ` +
			`select columns that no flow of the cycle writes, refuse by where what it writes (a column that it fills with a constant), or write loop: accepted in one of them (flow.loop)`,
	}, lines(run(t, dir, check.Options{})))

	dir["one.yaml"] = consolidation("one", "", "crm.t0, select: [id, a]", "map: { id: key, b: string(size(s)) }\nwrite: { to: again.t1, key: [id] }\n")
	require.Empty(t, lines(run(t, dir, check.Options{})), "two does not react to b")
	dir["one.yaml"] = consolidation("one", "", "again.t1, select: [id, a]", "map: { id: key, b: string(size(s)) }\nwrite: { to: crm.t1, key: [id] }\n")
	delete(dir, "two.yaml")
	require.Empty(t, lines(run(t, dir, check.Options{})), "a consolidation may add to the rows that it reads")
	dir["one.yaml"] = consolidation("one", "", "again.t1, select: [id, a]", "map: { id: key, a: \"s[0].a\" }\nwrite: { to: crm.t1, key: [id] }\n")
	require.Equal(t, []string{`one.yaml:6:14: a change would go round without end: one → crm.t1 (a) → one; select columns that no flow of the cycle writes (flow.loop)`}, lines(run(t, dir, check.Options{})))
}

func TestAColumnWithTwoWritersIsAWarning(t *testing.T) {
	t.Parallel()
	dir := fstest.MapFS{
		"connections.yaml": {Data: []byte(graphConnections(2))},
		"one.yaml":         consolidation("one", "", "crm.t0, select: [id]", "map: { id: key, a: string(size(s)), b: '\"x\"' }\nwrite: { to: again.t1, key: [id] }\n"),
		"two.yaml":         {Data: []byte(reactor{on: 0, to: 1, writes: []string{"a"}}.yaml("two"))},
	}
	report := run(t, dir, check.Options{})
	require.Equal(t, []string{`two.yaml:8:14: one also writes a of again.t1, and the later of two writes wins; let one flow fill each column (warning) (flow.contested)`}, lines(report))
	require.False(t, report.Failed())
	dir["two.yaml"] = &fstest.MapFile{Data: []byte(reactor{on: 0, to: 1, writes: []string{"tag"}}.yaml("two"))}
	require.Empty(t, lines(run(t, dir, check.Options{})), "they share the row and the key, and no column")
}

func TestSchedulesThatAskForMoreThanAQuotaAreAWarning(t *testing.T) {
	t.Parallel()
	dir := fstest.MapFS{"connections.yaml": {Data: []byte(graphConnections(1) + erp[1:])}}
	often := func(every string) {
		for _, name := range []string{"one", "two"} {
			dir[name+".yaml"] = consolidation(name, "schedule: { every: "+every+", overlap: skip, catch_up: 10s }\n", "erp.order, select: [id]",
				"map: { id: key, "+map[string]string{"one": "a", "two": "b"}[name]+": string(size(s)) }\nwrite: { to: crm.t0, key: [id] }\n")
		}
	}
	unused := func(lines []string) []string { return lines[1:] } // of the second name of the system
	often("1s")
	require.Equal(t, []string{`one.yaml:4:11: schedules ask erp for 120 requests in 1m at the least, and its quota leaves them 90; let slots come less often (warning) (flow.quota)`},
		unused(lines(run(t, dir, check.Options{}))))
	require.Len(t, lines(run(t, dir, check.Options{Compile: flowfile.Options{Speed: 10}})), 1, "slots stay a second apart, and the window of the quota is shorter")
	often("2s")
	require.Empty(t, unused(lines(run(t, dir, check.Options{}))))
}
