package flowfile_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flowfile"
)

// gathers runs one flow test against the consolidation of testdata and gives its diff.
func gathers(t *testing.T, test string) string {
	t.Helper()
	text := "tests:\n  - name: one\n    " + strings.ReplaceAll(strings.TrimSpace(test), "\n", "\n    ") + "\n"
	results, diags := flowfile.RunTests(consolidation(t, 0), flowfile.File{Name: "t.yaml", Data: []byte(text)})
	require.Empty(t, diags)
	require.Len(t, results, 1)
	return results[0].Diff
}

const given = `
sources:
  account:
    - { accountnumber: "17", name: Ada }
    - { accountnumber: "18", name: Bob }
  orders:
    - { SalesOrder: "1", SoldToParty: "0000000017", TotalNetAmount: 10.50, CreationDate: '2026-01-02', LastChangeDateTime: '2026-01-02T00:00:00Z' }
    - { SalesOrder: "2", SoldToParty: "0000000017", TotalNetAmount: 0.5, CreationDate: '2026-01-03', LastChangeDateTime: '2026-01-03T00:00:00Z' }
    - { SalesOrder: "2", SoldToParty: "0000000017", TotalNetAmount: 1.5, CreationDate: '2026-01-04', LastChangeDateTime: '2026-01-04T00:00:00Z' }
    - { SalesOrder: "3", SoldToParty: "99", TotalNetAmount: 1, CreationDate: '2026-01-04', LastChangeDateTime: '2026-01-04T00:00:00Z' }
    - { SalesOrder: "4", SoldToParty: null, TotalNetAmount: 1, CreationDate: '2026-01-04', LastChangeDateTime: '2026-01-04T00:00:00Z' }
    - { SalesOrder: "5", SoldToParty: "17", TotalNetAmount: much, CreationDate: '2026-01-04', LastChangeDateTime: '2026-01-04T00:00:00Z' }
    - { SalesOrder: "6", SoldToParty: "18", TotalNetAmount: 1, CreationDate: '2026-01-04', LastChangeDateTime: '2026-01-04T00:00:00Z' }
    - { SalesOrder: "6", SoldToParty: "17", TotalNetAmount: 2, CreationDate: '2026-01-04', LastChangeDateTime: '2026-01-04T00:00:00Z' }
`

const owed = `
  receivables:
    - { CompanyCode: "1", FiscalYear: "2026", AccountingDocument: "9", AccountingDocumentItem: "1", Customer: "17", Amount: 2000.10, NetDueDate: '2026-01-20' }
    - { CompanyCode: "1", FiscalYear: "2026", AccountingDocument: "9", AccountingDocumentItem: "2", Customer: "17", Amount: 5, NetDueDate: '2026-03-20' }
`

func TestAConsolidationIsTestedByTheRowsOfItsSources(t *testing.T) {
	t.Parallel()
	require.Empty(t, gathers(t, given+owed[1:]+`
at: '2026-02-01T00:00:00Z'
expect:
  rows:
    - { accountnumber: "17", name: Ada, msx_openorders: 3, msx_ordervalue: 14.0, msx_lastorder: '2026-01-04', msx_overdue: 2000.10 }
    - { accountnumber: "18", name: Bob, msx_openorders: 0, msx_ordervalue: 0, msx_lastorder: null, msx_overdue: 0 }
  rejects:
    - { source: orders, identity: "4", code: stage.key_missing }
    - { source: orders, code: stage.decimal }
  counts:
    sources:
      account: { read: 2, staged: 2, used: 2, unmatched: 0, duplicate: 0, rejected: 0 }
      orders: { read: 8, staged: 6, used: 3, unmatched: 1, duplicate: 2, rejected: 2 }
    target: { keys: 2, written: 2, rejected: 0 }
  plans:
    - { msx_accountnumber: "17", msx_action: collect, msx_evidence: "receivables/1/9, receivables/1/9~2", msx_overdue: 2005.1 }
    - { msx_accountnumber: "18", msx_action: offer, msx_evidence: "", msx_overdue: 0 }
`))
}

func TestASourceThatIsDownDoesWhatItsPolicySays(t *testing.T) {
	t.Parallel()
	rejects := "  rejects: [{ source: orders, code: stage.decimal }, { source: orders, code: stage.key_missing }]\n"
	require.Empty(t, gathers(t, given+"missing: [receivables]\nexpect:\n"+rejects+`  rows:
    - { accountnumber: "17", name: Ada, msx_openorders: 3, msx_ordervalue: 14, msx_lastorder: '2026-01-04' }
    - { accountnumber: "18", name: Bob, msx_openorders: 0, msx_ordervalue: 0, msx_lastorder: null }
  plans:
    - { msx_accountnumber: "17", msx_action: "", msx_evidence: "" }
    - { msx_accountnumber: "18", msx_action: "", msx_evidence: "" }
`), "columns of a missing source are not written, and what depends on it is withheld")
	require.Empty(t, gathers(t, given+"stale: { receivables: 1h, orders: 5h }\nexpect:\n"+rejects), "orders may be six hours old")
	require.Empty(t, gathers(t, given+"stale: { orders: 7h }\nexpect_fault: source.too_old\n"))
	require.Empty(t, gathers(t, given+"missing: [account]\nexpect_fault: source.missing\n"))
	require.Empty(t, gathers(t, given+"stale: { account: 1m }\nexpect_fault: source.missing\n"))
	require.Empty(t, gathers(t, given+"missing: [orders]\nexpect_fault: source.missing\n"), "last_good, and nothing was ever read")
}

func TestWhatATestOfAConsolidationGetsWrongIsSaid(t *testing.T) {
	t.Parallel()
	for test, want := range map[string]string{
		"sources: { order: [] }\nexpect: { rows: [] }":                                              `sources: the flow has no source "order"; did you mean "orders"?`,
		"sources: { orders: [{ Salesorder: x }] }\nexpect: { rows: [] }":                            `sources.orders, row 0: the flow does not read "Salesorder"; did you mean "SalesOrder"?`,
		"sources: {}\nstale: { x: 1h }\nexpect: { rows: [] }":                                       `stale: the flow has no source "x"; known: account, orders, receivables`,
		"missing: [x]\nexpect: { rows: [] }":                                                        `missing: the flow has no source "x"; known: account, orders, receivables`,
		"given: []\nexpect: { rows: [] }":                                                           `a consolidation is tested by sources, and the test gives none`,
		"given: []\nsources: {}\nexpect: { rows: [] }":                                              `a consolidation is tested by sources, and the test gives params, events or given`,
		"sources: {}\nexpect_fault: source.missing":                                                 "- fault source.missing\n+ 0 rows",
		"sources: {}\nat: yesterday\nexpect_fault: test.at":                                         "",
		"sources: {}\nexpect: { counts: { sources: { order: { read: 1 } }, target: { keys: 1 } } }": "- counts of the source order, which the flow does not have\n- order.read: 1\n+ order.read: 0\n- target.keys: 1\n+ target.keys: 0",
		"sources: { account: [{ accountnumber: a, name: 1 }] }\nexpect: { rows: [], rejects: [{ source: account, code: stage.key_missing }], plans: [{ a: 1 }] }": "- plan 0 {\"a\":1}\n- reject account, stage.key_missing\n+ reject account, row a, stage.type: name",
	} {
		got := gathers(t, test)
		if want == "" {
			require.Empty(t, got, test)
			continue
		}
		require.True(t, strings.HasPrefix(got, want), "%s: %s", test, got)
	}
	results, diags := flowfile.RunTests(eventPlan(t, "event.yaml", 0), flowfile.File{Name: "t.yaml", Data: []byte("tests: [{ name: one, sources: {}, expect: { rows: [] } }]")})
	require.Empty(t, diags)
	require.Equal(t, "the test gives sources, and the flow gathers none", results[0].Diff)
}
