package oracle_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"patchbay/internal/connector"
	"patchbay/internal/connector/conformance"
	"patchbay/internal/connector/oracle"
)

func TestOracleKeepsTheContract(t *testing.T) {
	t.Parallel()
	page := func(rows []connector.Row, offset, limit int) []byte {
		items := rows[min(offset, len(rows)):min(offset+limit, len(rows))]
		body, err := json.Marshal(map[string]any{
			"items": append([]connector.Row{}, items...), "count": len(items), "hasMore": offset+limit < len(rows), "limit": limit, "offset": offset,
		})
		if err != nil {
			panic(err)
		}
		return body
	}
	h := conformance.Harness{
		Build: oracle.Build,
		Config: connector.Config{System: oracle.System, Tables: map[string]connector.Table{
			"items":        {Path: "itemsV2", Keys: [][]string{{"ItemNumber"}}},
			"reservations": {Path: "inventoryReservations"},
		}, Options: map[string]string{"reference": "reservations.DemandSourceName"}},
		Query: connector.Query{Table: "items", Select: []string{"ItemNumber", "ItemDescription"}, Limit: 3},
		Page: func(r *http.Request, _ string, rows []connector.Row) []byte {
			offset, _ := strconv.Atoi(r.URL.Query().Get("offset"))
			limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
			return page(rows, offset, limit)
		},
		Circle: func(_ *http.Request, _ string, rows []connector.Row) []byte { return page(rows, 0, 3) },
		Aside: func(w http.ResponseWriter, r *http.Request) bool {
			asks := r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/inventoryReservations")
			if asks { // none has the reference
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write(page(nil, 0, 1))
			}
			return asks
		},
		Upserts: map[string]connector.Upsert{"one row": {Table: "reservations", Key: []string{"DemandSourceName"},
			Rows: []connector.Row{{"DemandSourceName": "SO-1", "ItemNumber": "AS54888", "ReservationQuantity": json.Number("5")}}}},
		Accepted: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.oracle.adf.resourceitem+json")
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(`{"ReservationId":1}`))
		},
		Failure: func(status int) []byte {
			if status == http.StatusInternalServerError {
				return nil // often empty
			}
			return fmt.Appendf(nil, `{"title":"t","status":"%d","o:errorDetails":[{"detail":"canary","o:errorCode":"27014","o:errorPath":"/ItemNumber"}]}`, status)
		},
	}
	t.Run("rows", func(t *testing.T) { t.Parallel(); conformance.Run(t, h) })
	h.Upserts = nil
	t.Run("sheets", func(t *testing.T) { t.Parallel(); conformance.Run(t, conformance.Sheets(h)) })
}
