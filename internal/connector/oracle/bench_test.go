package oracle_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
)

// BenchmarkBalances is what a page of 499 balances costs by rows and by sheets, beside
// what encoding/json alone takes for the same bytes.
func BenchmarkBalances(b *testing.B) {
	const rows = 499
	items := make([]string, rows)
	for i := range items {
		items[i] = fmt.Sprintf(`{"OrganizationCode":"V1","ItemNumber":"PU%05d","SubinventoryCode":"FGI","PrimaryQuantity":%d.125,"PrimaryUOMCode":"Ea","LotNumber":null}`, i, i)
	}
	body := `{"items":[` + strings.Join(items, ",") + `],"count":499,"hasMore":false,"limit":499,"offset":0}`
	o := extractor(b, func(*http.Request) string { return body })
	q := connector.Query{Table: "balances", Select: []string{"ItemNumber", "SubinventoryCode", "PrimaryQuantity", "PrimaryUOMCode", "LotNumber"}, Limit: rows}
	per := func(b *testing.B) { b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s") }
	b.Run("encoding/json", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			var v map[string]any
			require.NoError(b, json.Unmarshal([]byte(body), &v))
		}
		per(b)
	})
	b.Run("rows", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			_, err := o.ReadPage(b.Context(), q, "")
			require.NoError(b, err)
		}
		per(b)
	})
	b.Run("sheets", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			_, err := o.ExtractPage(b.Context(), q, "")
			require.NoError(b, err)
		}
		per(b)
	})
}
