package check_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/check"
	"patchbay/internal/flowfile"
)

// wide are connections to so many systems, each with a table.
func wide(n int) string {
	var b strings.Builder
	b.WriteString("connections:\n")
	for i := range n {
		fmt.Fprintf(&b, "  s%d: { system: dataverse, url: https://s%d.example.com, auth: { kind: none }, tables: { t: { path: ts, keys: [[id]], columns: { id: string, a: string, b: string } } } }\n", i, i)
	}
	return b.String()
}

func advised(t *testing.T, files map[string]string) []string {
	t.Helper()
	dir := fstest.MapFS{}
	for name, text := range files {
		dir[name] = &fstest.MapFile{Data: []byte(text)}
	}
	var out []string
	for _, d := range run(t, dir, check.Options{}).Problems {
		require.NotEqual(t, flowfile.Error, d.Severity, d.String())
		if d.Code == check.CodeMonolith || d.Code == check.CodeRepeated {
			require.Equal(t, flowfile.Info, d.Severity)
			out = append(out, d.String())
		}
	}
	return out
}

const serviceHead = "flow: %s\npattern: service\nsummary: One of many\nparams: { p: { type: string, title: P } }\nsteps:\n"

func step(name, connection, value string) string {
	return fmt.Sprintf("  - { step: %s, call: %s.t, key: [id], with: { id: params.p, a: '%s' } }\n", name, connection, value)
}

func TestALargeServiceIsAdvisedWhereToCut(t *testing.T) {
	t.Parallel()
	text := fmt.Sprintf(serviceHead, "large") + step("one", "s0", "params.p") + step("two", "s1", "steps.one.row.a") + step("three", "s2", "steps.two.row.a + steps.one.row.a") +
		step("four", "s3", "steps.one.row.a") + step("five", "s4", "steps.four.row.a") + step("six", "s5", "steps.five.row.a + steps.four.row.a")
	require.Equal(t, []string{"large.yaml:1:7: large touches 6 systems (s0, s1, s2, s3, s4, s5): what stops one of them stops all; " +
		"make a service of the steps from four on, which need of the steps before only one, give it that as params, and call it (info) (flow.monolith)"},
		advised(t, map[string]string{"connections.yaml": wide(6), "large.yaml": text}))
	again := strings.Replace(wide(6), "https://s5.", "https://s4.", 1)
	require.Empty(t, advised(t, map[string]string{"connections.yaml": again, "large.yaml": text}), "two connections to one system are one system")
}

func TestALargeConsolidationFallsIntoPartsAlongItsSources(t *testing.T) {
	t.Parallel()
	var gather, columns strings.Builder
	for i := range 9 {
		fmt.Fprintf(&gather, "  g%d: { from: s0.t, where: { b: '\"%d\"' }, select: [id, a], key: row.id, identity: [id] }\n", i, i)
	}
	fmt.Fprint(&columns, "map:\n  id: key\n  a: string(size(g0) + size(g1) + size(g2) + size(g3))\n  b: g4.map(r, r.a).join(\"\") + string(size(g5) + size(g6) + size(g7) + size(g8))\n")
	text := "flow: large\npattern: consolidation\nsummary: One of many\ngather:\n" + gather.String() + columns.String() + "write: { to: s1.t, key: [id] }\n"
	require.Equal(t, []string{"large.yaml:1:7: large has 9 sources: what stops one of them stops all; it falls into parts that share no source but the base, and each can be a flow of its own: " +
		"a of g0, g1, g2, g3; b of g4, g5, g6, g7, g8 (info) (flow.monolith)"}, advised(t, map[string]string{"connections.yaml": wide(2), "large.yaml": text}))
}

func TestWhatTwoServicesDoAlikeIsAdvisedToBeShared(t *testing.T) {
	t.Parallel()
	alike := step("book", "s0", "params.p") + step("tell", "s1", "steps.book.row.a")
	files := map[string]string{
		"connections.yaml": wide(2),
		"a.yaml":           fmt.Sprintf(serviceHead, "first") + alike + step("end", "s0", "\"x\""),
		"b.yaml":           fmt.Sprintf(serviceHead, "second") + step("begin", "s0", "\"y\"") + alike,
	}
	require.Equal(t, []string{"b.yaml:7:5: second has 2 steps in a row as first has them; make a service of them, and call it from both (info) (flow.repeated)"}, advised(t, files))
	files["b.yaml"] = strings.Replace(files["b.yaml"], "steps.book.row.a", "steps.book.row.id", 1)
	require.Empty(t, advised(t, files), "one step alone may be the same")
}

func TestACredentialThatEndsSoonIsAWarningAhead(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 1, 10, 12, 0, 0, 0, time.UTC)
	said := func(expires string) []string {
		connections := strings.Replace(wide(1), "auth: { kind: none }", "auth: { kind: none, expires: "+expires+" }", 1)
		report := run(t, fstest.MapFS{"connections.yaml": {Data: []byte(connections)}, "one.yaml": {Data: []byte(fmt.Sprintf(serviceHead, "one") + step("only", "s0", "params.p"))}},
			check.Options{Compile: flowfile.Options{Now: now}})
		var out []string
		for _, d := range report.Problems {
			out = append(out, d.String())
		}
		return out
	}
	require.Empty(t, said("2027-03-01"))
	require.Equal(t, []string{"connections.yaml:2:86: the credential of s0 expires in 21 days, after 2027-01-31; replace it at its provider and where the reference leads to, and write its new last day (warning) (flow.expires)"}, said("2027-01-31"))
	require.Contains(t, said("2027-01-09")[0], "the credential of s0 has expired, on 2027-01-09")
	require.Contains(t, said("2027-13-09")[0], "auth.expires is text where a date is due; write year, month and day: 2027-01-31")
}
