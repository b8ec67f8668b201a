package app

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/dataverse"
	"patchbay/internal/fault"
	"patchbay/internal/sandbox"
	"patchbay/internal/store/storetest"
)

// The picture of a customer is written to the stand-in and read from it as the
// consolidation does it: by sheets.
func TestSheetsGoToDataverseAndComeBack(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]sandbox.Options{"lean": {Lean: true, Products: 50}, "on PostgreSQL": {DatabaseURL: storetest.Empty(t), Products: 50}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := sandbox.New(t.Context(), opts)
			require.NoError(t, err)
			t.Cleanup(s.Close)
			server := httptest.NewServer(s.Handler())
			t.Cleanup(server.Close)
			client := connector.NewClient()
			t.Cleanup(client.CloseIdleConnections)
			connect := func(options map[string]string) *dataverse.Dataverse {
				v, err := dataverse.New(connector.Config{Name: "crm", System: dataverse.System, URL: server.URL + "/dataverse", Options: options,
					Auth:   connector.Auth{Kind: "oauth2", TokenURL: server.URL + "/login/contoso/oauth2/v2.0/token", ClientID: "patchbay", ClientSecret: "sandbox-secret", Scope: "x/.default"},
					Tables: map[string]connector.Table{"account": {Path: "accounts"}, "product": {Path: "products"}, "nowhere": {Path: "nowheres"}}}, connector.Deps{Client: client})
				require.NoError(t, err)
				return v
			}
			v := connect(nil)
			columns := []string{"accountnumber", "name", "msx_openorders", "msx_ordervalue", "msx_lastorder", "msx_asof"}
			sheet := connector.Sheet{Columns: columns}
			for i := range 450 {
				sheet.Cells = append(sheet.Cells, fmt.Appendf(nil, `"ACC-%05d"`, i+1), fmt.Appendf(nil, `"Customer \"%d\""`, i), fmt.Append(nil, i),
					fmt.Appendf(nil, "900719925474.%02d", i%90+11), []byte(`"2026-01-14"`), []byte(`"2026-01-15T06:00:00Z"`))
			}
			sheet.Cells[7*len(columns)+1] = []byte(`"` + strings.Repeat("x", 161) + `"`)
			sheet.Cells[300*len(columns)+2] = []byte(`"many"`)
			for _, v := range []*dataverse.Dataverse{v, connect(map[string]string{"batch": "account"}), connect(map[string]string{"batch": "account", "batch_form": "change-sets", "bulk": "1000"})} {
				refusals, err := v.Load(t.Context(), connector.Load{Table: "account", Key: []string{"accountnumber"}, Sheet: sheet})
				require.NoError(t, err)
				require.Len(t, refusals, 2)
				require.Equal(t, []int{7, 300}, []int{refusals[0].Row, refusals[1].Row})
				require.Equal(t, "dataverse.too_long", fault.Of(refusals[0].Err).Code)
				require.Equal(t, "dataverse.bad_payload", fault.Of(refusals[1].Err).Code)
			}
			keys := make([]connector.Row, 450)
			for i := range keys {
				keys[i] = connector.Row{"accountnumber": fmt.Sprintf("acc-%05d", 450-i)}
			}
			found, err := v.ReadByKey(t.Context(), "account", []string{"accountnumber"}, keys, []string{"msx_ordervalue"})
			require.NoError(t, err)
			require.Equal(t, json.Number("900719925474.11"), found[449]["msx_ordervalue"], "to the digit")

			read := map[string]string{}
			pages := 0
			for token := ""; ; pages++ {
				got, err := v.ExtractPage(t.Context(), connector.Query{Table: "account", Select: []string{"accountnumber", "msx_openorders", "msx_lastorder"}, Limit: 150,
					Since: &connector.Since{Column: "msx_asof", Value: "2026-01-15T06:00:00Z"}}, token)
				require.NoError(t, err)
				for i := range got.Rows() {
					row := got.Row(i)
					read[string(row[0])] = string(row[1]) + string(row[2])
				}
				if token = got.Next; token == "" {
					break
				}
			}
			require.Equal(t, 2, pages)
			require.Len(t, read, 449, "all that were written, and the one whose time is not known")
			require.Equal(t, `449"2026-01-14"`, read[`"ACC-00450"`])

			refusals, err := v.Load(t.Context(), connector.Load{Table: "product", Key: []string{"productnumber"}, Sheet: connector.Sheet{Columns: []string{"productnumber", "name"},
				Cells: []connector.Cell{[]byte(`"SHEET-1"`), []byte(`"One"`), []byte(`"SHEET-2"`), []byte(`"Two"`)}}})
			require.NoError(t, err)
			require.Empty(t, refusals, "a table without bulk actions is written all the same")

			d, err := v.Describe(t.Context(), "account")
			require.NoError(t, err)
			require.Equal(t, [][]string{{"accountid"}, {"accountnumber"}}, d.Keys)
			for _, want := range []connector.Described{{Name: "name", Type: "string", Nullable: true, Length: 160}, {Name: "_primarycontactid_value", Type: "string", Nullable: true},
				{Name: "msx_ordervalue", Type: "decimal", Nullable: true}, {Name: "msx_lastorder", Type: "date", Nullable: true}, {Name: "msx_asof", Type: "timestamp", Nullable: true}} {
				require.Contains(t, d.Columns, want)
			}
			_, err = v.Describe(t.Context(), "nowhere")
			require.Error(t, err)
		})
	}
}
