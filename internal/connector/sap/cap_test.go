package sap_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/sap"
	"patchbay/internal/fault"
)

// capVersion is the CAP that tools/install fetches into the user's cache.
const capVersion = "9.9.3"

var listening = regexp.MustCompile(`listening on \{ url: '(http://[^']+)'`)

// capServer runs SAP's own OData server on testdata/cap and returns its address.
func capServer(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	modules := filepath.Join(cache, "patchbay", "cap-"+capVersion, "node_modules")
	if _, err := os.Stat(filepath.Join(modules, "@sap", "cds")); err != nil {
		t.Fatalf("no SAP CAP at %s; fetch it with: tools/install cap", modules)
	}
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "cap"))))
	require.NoError(t, os.Symlink(modules, filepath.Join(dir, "node_modules")))
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join("node_modules", "@sap", "cds", "bin", "serve.js"), "all", "--in-memory", "--port", "0")
	cmd.Dir = dir
	said, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var failed bytes.Buffer
	cmd.Stderr = &failed
	cmd.WaitDelay = 10 * time.Second
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Wait() }) // it is killed with the test's context
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			go func() { _, _ = io.Copy(io.Discard, said) }()
			return m[1]
		}
	}
	t.Fatalf("the server ended before it listened: %v\n%s", cmd.Wait(), failed.String())
	return ""
}

func capConnection(t *testing.T, url, version string, options map[string]string) *sap.SAP {
	t.Helper()
	root := "/odata/" + version + "/API_ORDERS/"
	s, err := sap.New(connector.Config{
		Name: "cap", System: sap.System, URL: url, Options: options,
		Auth: connector.Auth{Kind: "basic", Username: "reader", Password: "reading"},
		Tables: map[string]connector.Table{
			"orders":   {Path: root + "A_Order", Expand: map[string]string{"items": "to_Item($select=SalesOrderItem,Material,NetAmount)"}},
			"items":    {Path: root + "A_Item"},
			"partners": {Path: root + "A_Partner"},
		},
	}, connector.Deps{})
	require.NoError(t, err)
	return s
}

func everything(t *testing.T, s *sap.SAP, q connector.Query) (rows []connector.Row, pages int) {
	t.Helper()
	for token := ""; ; {
		page, err := s.ReadPage(t.Context(), q, token)
		require.NoError(t, err)
		pages++
		rows = append(rows, page.Rows...)
		if token = page.Next; token == "" {
			return rows, pages
		}
	}
}

func TestConnectorReadsAndWritesAServerMadeBySAP(t *testing.T) {
	t.Parallel()
	url := capServer(t)
	for _, version := range []string{"v2", "v4"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := capConnection(t, url, version, map[string]string{"client": "100", "create": "items"})
			require.NoError(t, s.Probe(t.Context()))

			columns := []string{"TotalNetAmount", "Pages", "Big", "Paid", "CreationDate", "LastChangeDateTime", "At", "Ref"}
			for paging, limit := range map[string]int{"the server's pages": 0, "ours": 3, "ours and the server's": 8} {
				rows, pages := everything(t, s, connector.Query{Table: "orders", Select: columns, Limit: limit})
				require.Len(t, rows, 11, paging)
				require.Greater(t, pages, 2, paging)
				seen := map[any]bool{}
				for _, row := range rows {
					seen[row["Ref"]] = true
					require.Len(t, row, len(columns), "the columns asked for, not the key that pages follow")
				}
				require.Len(t, seen, 11, paging)
			}
			where := []connector.Match{{Column: "SalesOrder", Value: "7"}}
			rows, _ := everything(t, s, connector.Query{Table: "orders", Select: columns, Where: where})
			require.Equal(t, []connector.Row{{
				"TotalNetAmount": json.Number("7.057"), "Pages": json.Number("7"), "Big": json.Number("9000000000000007"), "Paid": false,
				"CreationDate": "2026-01-07", "LastChangeDateTime": "2026-01-15T09:00:07.125Z", "At": "12:30:07", "Ref": "11111111-2222-4333-8444-000000000007",
			}}, rows)
			for column, value := range rows[0] {
				again, _ := everything(t, s, connector.Query{Table: "orders", Select: columns, Where: []connector.Match{where[0], {Column: column, Value: value}}})
				require.Equal(t, rows, again, "a filter by %s, in the form of its type", column)
			}

			changed, _ := everything(t, s, connector.Query{Table: "orders", Select: []string{"SalesOrder"}, Since: &connector.Since{Column: "LastChangeDateTime", Value: "2026-01-15T09:00:10.125Z"}})
			require.ElementsMatch(t, []connector.Row{{"SalesOrder": "10"}, {"SalesOrder": "11"}}, changed)

			deep, _ := everything(t, s, connector.Query{Table: "orders", Select: []string{"SalesOrder"}, Expand: map[string]string{"items": "items"}, Where: []connector.Match{{Column: "SalesOrder", Value: "2"}}})
			require.Equal(t, []connector.Row{{"SalesOrder": "2", "items": []any{
				connector.Row{"SalesOrderItem": "10", "Material": "TG11", "NetAmount": json.Number("52.65")},
				connector.Row{"SalesOrderItem": "20", "Material": "O'Neil", "NetAmount": json.Number("1.1")}}}}, deep)

			partners, _ := everything(t, s, connector.Query{Table: "partners", Select: []string{"ID", "Name"}, Limit: 5})
			require.Len(t, partners, 7, "keys without an order are read by $skip")
			sameAsCells(t, s, connector.Query{Table: "orders", Select: columns, Limit: 4})

			d, err := s.Describe(t.Context(), "orders")
			require.NoError(t, err)
			require.Equal(t, [][]string{{"SalesOrder"}}, d.Keys)
			require.Contains(t, d.Columns, connector.Described{Name: "TotalNetAmount", Type: "decimal", Nullable: true, Precision: 16, Scale: 3})
			require.Contains(t, d.Columns, connector.Described{Name: "CreationDate", Type: "date", Nullable: true})
			require.Contains(t, d.Columns, connector.Described{Name: "LastChangeDateTime", Type: "timestamp", Nullable: true})
			require.Contains(t, d.Columns, connector.Described{Name: "Big", Type: "int", Nullable: true})

			writes(t, s, version)
		})
	}
}

// sameAsCells reads a query as rows and as cells, which must agree.
func sameAsCells(t *testing.T, s *sap.SAP, q connector.Query) {
	t.Helper()
	rows, _ := everything(t, s, q)
	var cells []connector.Row
	for token := ""; ; {
		page, err := s.ExtractPage(t.Context(), q, token)
		require.NoError(t, err)
		require.Positive(t, page.Bytes)
		of, err := connector.RowsOf(page)
		require.NoError(t, err)
		cells = append(cells, of...)
		if token = page.Next; token == "" {
			break
		}
	}
	require.Equal(t, rows, cells)
}

func writes(t *testing.T, s *sap.SAP, version string) {
	t.Helper()
	key := []string{"SalesOrder", "SalesOrderItem"}
	item := func(n int, amount string) connector.Row {
		return connector.Row{"SalesOrder": "1" + version, "SalesOrderItem": strconv.Itoa(n), "Material": "M'" + amount, "NetAmount": json.Number(amount)}
	}
	for _, rows := range [][]connector.Row{
		{item(10, "1.5")}, // created
		{item(10, "2.5")}, // changed
		{item(10, "3.125"), item(20, "4.25"), item(30, "12345.5")}, // both, in one $batch
	} {
		results, err := s.Upsert(t.Context(), connector.Upsert{Table: "items", Key: key, Rows: rows})
		require.NoError(t, err)
		require.Equal(t, make([]connector.Result, len(rows)), results)
		back, err := s.ReadByKey(t.Context(), "items", key, append(rows, item(99, "0")), []string{"Material", "NetAmount"})
		require.NoError(t, err)
		require.Equal(t, append(append([]connector.Row{}, rows...), nil), back)
	}
	order := connector.Row{"SalesOrder": "4", "TotalNetAmount": json.Number("99.5"), "CreationDate": "2026-02-03", "At": "01:02:03", "Big": json.Number("9000000000000001")}
	results, err := s.Upsert(t.Context(), connector.Upsert{Table: "orders", Key: []string{"SalesOrder"}, Rows: []connector.Row{order}})
	require.NoError(t, err)
	require.Equal(t, []connector.Result{{}}, results, "changed under the version that it had")
	back, err := s.ReadByKey(t.Context(), "orders", []string{"SalesOrder"}, []connector.Row{{"SalesOrder": "4"}}, []string{"TotalNetAmount", "CreationDate", "At", "Big"})
	require.NoError(t, err)
	require.Equal(t, []connector.Row{order}, back)
	results, err = s.Upsert(t.Context(), connector.Upsert{Table: "orders", Key: []string{"SalesOrder"}, Rows: []connector.Row{{"SalesOrder": "404", "Pages": json.Number("1")}}})
	require.NoError(t, err)
	require.Equal(t, "sap.no_row", fault.Of(results[0].Err).Code, "its keys are not ours to give")
	_, err = s.ReadPage(t.Context(), connector.Query{Table: "orders", Select: []string{"Nothing"}}, "")
	require.Equal(t, fault.Rejected, fault.Of(err).Class, "what it does not know is its own refusal")
}
