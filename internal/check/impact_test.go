package check_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/check"
	"patchbay/internal/fault"
	"patchbay/internal/flowfile"
)

// flowsThere is how many flows the generated landscape has.
const flowsThere = 200

func indexed(t *testing.T, seed uint64) (*landscape, *check.Index, check.Report) {
	t.Helper()
	l := newLandscape(seed, flowsThere)
	report, err := check.Dir(l.files, check.Options{})
	require.NoError(t, err)
	for _, d := range report.Problems {
		if d.Severity == flowfile.Error && d.Code != flowfile.CodeLoop && slices.Contains(report.Broken(), d.File) {
			t.Fatal(d)
		}
	}
	require.Len(t, report.Flows, flowsThere)
	return l, check.NewIndex(report), report
}

// placesOf are what impact says, as the ledger writes it.
func placesOf(t *testing.T, x *check.Index, item string) []string {
	t.Helper()
	found, err := x.Impact(item)
	require.NoError(t, err, item)
	places := map[string]bool{}
	for _, f := range found.Flows {
		for _, s := range f.Steps {
			places[fmt.Sprintf("%s %s:%d %s", f.Flow, s.File, s.Line, s.How)] = true
		}
	}
	return slices.Sorted(maps.Keys(places))
}

func TestImpactIsCompleteAndExactOnALandscapeOf200Flows(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{1, 2} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			l, x, _ := indexed(t, seed)
			asked, places := 0, 0
			same := func(names ...string) {
				t.Helper()
				want := l.under(names[0])
				for _, name := range names {
					require.Equal(t, want, placesOf(t, x, name), name)
					asked++
				}
				places += len(want)
			}
			for s := range systemsThere {
				for i := range tablesThere {
					table := fmt.Sprintf("s%d.t%d", s, i)
					other := fmt.Sprintf("s%d-too.other_t%d", s, i)
					same(table, other, fmt.Sprintf("s%d.t%ds", s, i))
					same(table+".id", other+".id")
					same(table+".at", other+".at")
					for c := range columnsThere {
						column := fmt.Sprintf(".c%d", c)
						same(table+column, other+column, fmt.Sprintf("s%d.T%dS%s", s, i, column))
					}
				}
				same(fmt.Sprintf("s%d.t0.kids", s))
				same(fmt.Sprintf("s%d.t0.kids.sku", s))
			}
			same("model.best")
			same("mail.message")
			for _, name := range l.callable {
				same(name)
			}
			require.Greater(t, places, 5000, "the landscape has something to find")
			t.Logf("%d questions, %d places", asked, places)
		})
	}
}

// A program that knows nothing of uses: it gives a column another name in
// connections.yaml, and sees which flows do not compile any more.
func TestImpactNamesTheFlowsThatARenamedColumnBreaks(t *testing.T) {
	t.Parallel()
	l, x, _ := indexed(t, 3)
	for i := range 12 {
		system, table, column := i%systemsThere, l.pick(tablesThere), fmt.Sprintf("c%d", l.pick(columnsThere))
		text := renamed(string(l.files["connections.yaml"].Data), system, table, column)
		connections, problems := flowfile.ParseConnections(flowfile.File{Name: "connections.yaml", Data: []byte(text)})
		require.Empty(t, problems)
		broken := map[string]bool{}
		for name, file := range l.files {
			if strings.HasSuffix(name, ".yaml") && name != "connections.yaml" {
				plan, _ := flowfile.Compile(flowfile.File{Name: name, Data: file.Data}, connections.List, flowfile.Options{File: l.files.ReadFile})
				if plan == nil {
					broken[strings.TrimSuffix(name, ".yaml")] = true
				}
			}
		}
		found, err := x.Impact(fmt.Sprintf("s%d.t%d.%s", system, table, column))
		require.NoError(t, err)
		named := map[string]bool{}
		for _, f := range found.Flows {
			if f.Steps[0].How != "restricted" { // which may be of a column that nobody declares
				named[f.Flow] = true
			}
		}
		require.NotEmpty(t, broken)
		require.Equal(t, broken, named, "s%d.t%d.%s", system, table, column)
	}
}

// renamed gives a column of a table of a system another name, by every connection.
func renamed(text string, system, table int, column string) string {
	lines := strings.Split(text, "\n")
	connection, of := "", ""
	for i, line := range lines {
		switch trimmed := strings.TrimSpace(line); {
		case strings.HasPrefix(line, "  ") && line[2] != ' ':
			connection = strings.TrimSuffix(trimmed, ":")
		case strings.HasPrefix(line, "      ") && line[6] != ' ':
			of = strings.TrimSuffix(trimmed, ":")
		case trimmed == column+": string" && strings.TrimSuffix(connection, "-too") == fmt.Sprintf("s%d", system) && strings.TrimPrefix(of, "other_") == fmt.Sprintf("t%d", table):
			lines[i] = strings.Replace(line, column, "another", 1)
		}
	}
	return strings.Join(lines, "\n")
}

func TestImpactOfAConnectionAndItsCredentialIsWhatFlowsHaveByIt(t *testing.T) {
	t.Parallel()
	l, x, _ := indexed(t, 3)
	by := map[string]map[string]bool{}
	for name, file := range l.files {
		for _, ref := range []string{"s1", "s1-too"} {
			text := string(file.Data)
			if strings.HasSuffix(name, ".yaml") && name != "connections.yaml" && (strings.Contains(text, " "+ref+".") || strings.Contains(text, ": "+ref+" ") || strings.Contains(text, ": "+ref+",")) {
				if by[ref] == nil {
					by[ref] = map[string]bool{}
				}
				by[ref][strings.TrimSuffix(name, ".yaml")] = true
			}
		}
	}
	for item, want := range map[string]map[string]bool{"s1": by["s1"], "s1-too": by["s1-too"], "SECRET_1": by["s1"], "env:SECRET_1_TOO": by["s1-too"], "${env:SECRET_1}": by["s1"]} {
		found, err := x.Impact(item)
		require.NoError(t, err)
		got := map[string]bool{}
		for _, f := range found.Flows {
			got[f.Flow] = true
		}
		require.Equal(t, want, got, item)
		require.NotEmpty(t, found.Declared)
	}
}

func TestWhatImpactDoesNotKnowItSaysWithWhatMayBeMeant(t *testing.T) {
	t.Parallel()
	report := run(t, files(t, nil), check.Options{Name: "flows"})
	x := check.NewIndex(report)
	for item, want := range map[string]string{
		"":                         `"" names nothing; name CONNECTION.TABLE.COLUMN, CONNECTION.TABLE, CONNECTION, a credential, a flow or a business event`,
		"sap.":                     `"sap." names nothing; name CONNECTION.TABLE.COLUMN, CONNECTION.TABLE, CONNECTION, a credential, a flow or a business event`,
		"datavers.account":         `there is no connection "datavers"; did you mean "dataverse.account"?`,
		"dataverse.acount.name":    `the connection dataverse has no table "acount"; did you mean "dataverse.account.name"?`,
		"dataverse.account.nam":    `connections.yaml declares no column "nam" of dataverse.account, so no flow can name it; did you mean "dataverse.account.name"?`,
		"product-spec":             `there is no connection, credential or flow "product-spec"; did you mean "product-specs"?`,
		"PATCHBAY_SANDBOX_SECRETS": `there is no connection, credential or flow "PATCHBAY_SANDBOX_SECRETS"; did you mean "PATCHBAY_SANDBOX_SECRET"?`,
	} {
		_, err := x.Impact(item)
		require.Error(t, err, item)
		require.Equal(t, want, fault.Of(err).Text)
		require.Equal(t, fault.Invalid, fault.Of(err).Class)
	}
}

func TestTheMapHasWhatFlowsAndConnectionsSay(t *testing.T) {
	t.Parallel()
	l, x, report := indexed(t, 3)
	m := x.Map()
	count := map[string]int{}
	for _, n := range m.Nodes {
		count[n.Kind]++
	}
	require.Equal(t, flowsThere, count["flow"])
	edges := map[string]bool{}
	for _, e := range m.Edges {
		edges[e.From+" "+e.How+" "+e.To] = true
	}
	calls := 0
	for item, places := range l.uses {
		for place := range places {
			parts := strings.Fields(place)
			if parts[2] == "calls" {
				calls++
				require.True(t, edges["flow:"+parts[0]+" calls flow:"+item], place)
			}
		}
	}
	require.Positive(t, calls)
	for _, f := range report.Flows {
		if p := f.Plan; p.Write != nil && p.Send == nil {
			require.True(t, edges["flow:"+p.Flow+" writes table:"+p.Write.Connection+"."+p.Write.Table], p.Flow)
		}
	}
}
