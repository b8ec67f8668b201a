package check_test

import (
	"encoding/json"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"patchbay/flows"
	"patchbay/internal/check"
	"patchbay/internal/fault"
	"patchbay/internal/flowfile"
)

// files is the example directory, with some files replaced; an empty text
// removes one.
func files(t *testing.T, with map[string]string) fstest.MapFS {
	t.Helper()
	out := fstest.MapFS{}
	entries, err := flows.Files.ReadDir(".")
	require.NoError(t, err)
	for _, entry := range entries {
		data, err := flows.Files.ReadFile(entry.Name())
		require.NoError(t, err)
		out[entry.Name()] = &fstest.MapFile{Data: data}
	}
	for name, text := range with {
		if text == "" {
			delete(out, name)
			continue
		}
		out[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return out
}

func run(t *testing.T, dir fs.FS, o check.Options) check.Report {
	t.Helper()
	report, err := check.Dir(dir, o)
	require.NoError(t, err)
	return report
}

func lines(r check.Report) []string {
	var out []string
	for _, d := range r.Problems {
		out = append(out, d.String())
	}
	return out
}

func TestTheExamplesAreClean(t *testing.T) {
	t.Parallel()
	report := run(t, flows.Files, check.Options{Name: "flows", Tests: true})
	require.Empty(t, lines(report))
	require.Equal(t, 0, report.Tests.Failed)
	require.Positive(t, report.Tests.Passed)
	names := make([]string, len(report.Flows))
	for i, f := range report.Flows {
		names[i] = f.Plan.Flow
	}
	require.Equal(t, []string{"account-sync", "case-notifications", "contract-changes", "contract-distribution-ibm", "contract-distribution", "customer-360", "loan-qualification", "order-approved", "order-to-shipment", "product-specs", "shipment-tracking"}, names)
	require.Len(t, report.Connections, 14)
	require.Len(t, report.Peers, 3)
	require.Equal(t, 17, report.Files)

	b, err := json.Marshal(run(t, flows.Files, check.Options{}))
	require.NoError(t, err)
	require.JSONEq(t, `{"problems":[]}`, string(b), "no problem is an empty list, not null")
}

func TestEveryFileIsReportedInOnePass(t *testing.T) {
	t.Parallel()
	dir := files(t, map[string]string{
		"broken.yaml":             "flow: broken\npattern: instant\n",
		"orphan_test.yaml":        "tests:\n  - name: nothing\n    expect: { rows: [] }\n",
		"other.yml":               "flow: x\n",
		"product-specs_test.yaml": "tests:\n  - name: wrong\n    given: []\n    params: { product_id: AS54888 }\n    expect: { rows: [{ a: 1 }] }\n",
	})
	require.Equal(t, []string{
		`flows/broken.yaml:1:1: summary is missing; add summary: one sentence that says what the flow does (flow.required)`,
		`flows/broken.yaml:1:1: read is missing; add read: { from: CONNECTION.TABLE, select: [COLUMN, …] } (flow.required)`,
		`flows/orphan_test.yaml:1:1: there is no flow file orphan.yaml to test; name the tests of FLOW.yaml FLOW_test.yaml (flow.unknown_ref)`,
		`flows/other.yml:1:1: the file ends in .yml and is not read; rename it to .yaml (warning) (flow.unused)`,
		"flows/product-specs_test.yaml:2:5: the test \"wrong\" fails (- expected, + given):\n- row 0 {\"a\":1} (flow.test_failed)",
	}, lines(run(t, dir, check.Options{Name: "flows", Tests: true})))
}

func TestAConnectionThatNoFlowUsesIsAWarning(t *testing.T) {
	t.Parallel()
	connections, err := flows.Files.ReadFile("connections.yaml")
	require.NoError(t, err)
	more := string(connections) + "\n  spare:\n    system: oracle\n    url: https://spare.example.com\n    auth: { kind: none }\n    tables: { t: { path: t } }\n"
	report := run(t, files(t, map[string]string{"connections.yaml": more}), check.Options{})
	require.Len(t, report.Problems, 1)
	require.Equal(t, flowfile.CodeUnused, report.Problems[0].Code)
	require.Equal(t, flowfile.Warning, report.Problems[0].Severity)
	require.False(t, report.Failed(), "a warning does not stop a directory from being applied")

	broken := files(t, map[string]string{"connections.yaml": more, "product-specs.yaml": "flow: product-specs\n"})
	for _, d := range run(t, broken, check.Options{}).Problems {
		require.NotEqual(t, flowfile.CodeUnused, d.Code, "a broken flow may be the one that uses it")
	}
}

func TestTwoFlowsOfOneNameAreRefused(t *testing.T) {
	t.Parallel()
	same, err := flows.Files.ReadFile("product-specs.yaml")
	require.NoError(t, err)
	report := run(t, files(t, map[string]string{"second.yaml": string(same)}), check.Options{})
	require.Equal(t, []string{`second.yaml:7:7: the flow product-specs is also in product-specs.yaml; give one of them another name (flow.id)`}, lines(report))
	require.True(t, report.Failed())
}

func TestADirectoryWithoutConnectionsSaysSo(t *testing.T) {
	t.Parallel()
	report := run(t, files(t, map[string]string{"connections.yaml": "", "account-sync.yaml": "", "case-notifications.yaml": "", "case-notifications_test.yaml": "", "customer-360.yaml": "", "customer-360_test.yaml": ""}), check.Options{})
	require.Equal(t, flowfile.CodeRequired, report.Problems[0].Code)
	require.Equal(t, "connections.yaml", report.Problems[0].File)
}

func TestADirectoryWithoutFlowsIsAnError(t *testing.T) {
	t.Parallel()
	_, err := check.Dir(fstest.MapFS{}, check.Options{Name: "nowhere"})
	require.Equal(t, "check.empty", fault.Of(err).Code)
}
