package app

import (
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"patchbay/flows"
	"patchbay/internal/check"
	"patchbay/internal/config"
	"patchbay/internal/connector"
	"patchbay/internal/flow"
	"patchbay/internal/sandbox"
)

const moreConnections = `
  archive:
    system: ibm
    url: ${env:PATCHBAY_SANDBOX}/ibm
    auth: { kind: basic, username: patchbay, password: "${env:PATCHBAY_SANDBOX_SECRET}" }
    options: { repository: OS1 }
    tables:
      invoices:
        path: FinancialDocument
        keys: [[id]]
        columns: { id: string, name: string, dateLastModified: timestamp, updateSequenceNumber: int, CustomerNumber: string, Amount: decimal, FiscalYear: int, PostingDate: timestamp }
`

// The sandbox speaks as the vendors do: what the connectors make of its metadata is
// what the example flows declare.
func TestTheExamplesAreWhatTheSystemsSay(t *testing.T) {
	server, err := sandbox.New(t.Context(), sandbox.Options{Lean: true, Products: 300})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	web := httptest.NewServer(server.Handler())
	t.Cleanup(web.Close)
	t.Setenv("PATCHBAY_SANDBOX", web.URL)
	t.Setenv("PATCHBAY_SANDBOX_SECRET", sandboxSecret)
	t.Setenv("PATCHBAY_SANDBOX_SMTP", "127.0.0.1:25")
	for _, region := range []string{"de", "fr", "ch"} {
		t.Setenv("PATCHBAY_SANDBOX_SECRET_"+strings.ToUpper(region), sandboxSecret+"-"+region)
	}
	read := func(name string) string {
		b, err := flows.Files.ReadFile(name)
		require.NoError(t, err)
		return string(b)
	}
	online := func(connections string) check.Report {
		files := fstest.MapFS{"connections.yaml": {Data: []byte(connections)}, "product-specs.yaml": {Data: []byte(read("product-specs.yaml"))},
			"customer-360.yaml": {Data: []byte(read("customer-360.yaml"))}, "account-sync.yaml": {Data: []byte(read("account-sync.yaml"))}}
		report, err := check.Dir(files, check.Options{Name: "flows"})
		require.NoError(t, err)
		report, err = CheckOnline(t.Context(), report, t.TempDir())
		require.NoError(t, err)
		return report
	}
	said := func(r check.Report) (lines []string) {
		for _, p := range r.Problems {
			if strings.HasPrefix(p.Code, "online.") && p.Code != check.CodeGained {
				lines = append(lines, p.Code+" "+p.Message)
			}
		}
		return lines
	}
	text := read("connections.yaml") + moreConnections
	require.Empty(t, said(online(text)))
	require.Equal(t, []string{"online.type table items of oracle-plm has ItemDescription as string, not as int"},
		said(online(strings.Replace(text, "ItemDescription: string", "ItemDescription: int", 1))))
	require.Equal(t, []string{"online.column table msx_specification of dataverse has no column msx_gone; no flow uses it"},
		said(online(strings.Replace(text, "msx_specificationid: string", "msx_gone: string", 1))))
	require.Equal(t, []string{"online.table table items of oracle-plm: oracle-plm has no such table or operation; check path and table of the connection (404, 25020)"},
		said(online(strings.Replace(text, "path: itemsV2", "path: itemsV9", 1))))
	require.Len(t, said(online(strings.Replace(text, "${env:PATCHBAY_SANDBOX}/oracle ", "http://127.0.0.1:1/oracle ", 1))), 1)

	// Of what regions share, those are asked whose credentials are here.
	t.Setenv("PATCHBAY_SANDBOX_SECRET_FR", "")
	t.Setenv("PATCHBAY_SANDBOX_SECRET_CH", "")
	shared, err := check.Dir(fstest.MapFS{"connections.yaml": {Data: []byte(text)}, "account-sync.yaml": {Data: []byte(read("account-sync.yaml"))}}, check.Options{Name: "flows"})
	require.NoError(t, err)
	shared, err = CheckOnline(t.Context(), shared, t.TempDir())
	require.NoError(t, err)
	require.Equal(t, []string{
		"online.region dataverse-fr was not compared: its credentials are those of the region fr, and are not known here",
		"online.region dataverse-ch was not compared: its credentials are those of the region ch, and are not known here",
	}, said(shared))

	report := online(text)
	s := newSystems(declared(report.Connections), nil, registry(), config.Resolve, 1)
	archive := report.Connections[len(report.Connections)-1]
	shape, err := s.describe(t.Context(), archive, "invoices")
	require.NoError(t, err)
	for column, kind := range archive.Tables["invoices"].Columns {
		require.Equal(t, kind, shape.Columns[column], column)
	}
	o, err := s.shared(archive)
	require.NoError(t, err)
	rows := 0
	query := connector.Query{Table: "invoices", Select: []string{"id", "CustomerNumber", "Amount"}, Limit: 300}
	for token := ""; ; {
		page, err := o.system.(connector.PageReader).ReadPage(t.Context(), query, token)
		require.NoError(t, err)
		rows += len(page.Rows)
		if token = page.Next; token == "" {
			break
		}
	}
	require.Equal(t, 806, rows)
	found, err := o.system.(connector.KeyReader).ReadByKey(t.Context(), "invoices", []string{"id"}, []flow.Row{{"id": "{00D00000-5EED-4000-8000-000000000004}"}}, []string{"CustomerNumber"})
	require.NoError(t, err)
	require.Equal(t, "ACC-00001", found[0]["CustomerNumber"])
	require.NoError(t, o.system.(connector.Prober).Probe(t.Context()))
}
