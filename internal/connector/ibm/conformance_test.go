package ibm_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"patchbay/internal/connector"
	"patchbay/internal/connector/conformance"
	"patchbay/internal/connector/ibm"
)

// asked is a query as it comes over the wire.
type asked struct {
	Query     string         `json:"query"`
	Variables map[string]any `json:"variables"`
}

func TestIBMKeepsTheContract(t *testing.T) {
	t.Parallel()
	page := func(r *http.Request, rows []connector.Row, circle bool) []byte {
		var q asked
		_ = json.NewDecoder(r.Body).Decode(&q) // what is no query gets the first page
		field, offset := "documents", 0
		if strings.Contains(q.Query, "moreDocuments") {
			field = "moreDocuments"
			offset, _ = strconv.Atoi(strings.TrimPrefix(fmt.Sprint(q.Variables["token"]), "at "))
		}
		const limit = 3
		documents := []any{}
		for _, row := range rows[min(offset, len(rows)):min(offset+limit, len(rows))] {
			documents = append(documents, map[string]any{"id": row["id"], "unasked": row["unasked"], "properties": []any{
				map[string]any{"id": "CustomerNumber", "value": row["CustomerNumber"]}, map[string]any{"id": "Unasked", "value": row["unasked"]}}})
		}
		var token any
		if offset+limit < len(rows) {
			token = fmt.Sprintf("at %d", offset+limit)
		}
		if circle {
			token = "at 0"
		}
		body, err := json.Marshal(map[string]any{"data": map[string]any{field: map[string]any{"documents": documents, "pageInfo": map[string]any{"token": token}}}})
		if err != nil {
			panic(err)
		}
		return body
	}
	conformance.Run(t, conformance.Harness{
		Build: ibm.Build,
		Config: connector.Config{System: ibm.System, Options: map[string]string{"repository": "OS1"}, Tables: map[string]connector.Table{
			"documents": {Path: "CustomerDocument", Keys: [][]string{{"id"}}},
		}},
		Query:  connector.Query{Table: "documents", Select: []string{"CustomerNumber", "id"}, Limit: 3},
		Page:   func(r *http.Request, _ string, rows []connector.Row) []byte { return page(r, rows, false) },
		Circle: func(r *http.Request, _ string, rows []connector.Row) []byte { return page(r, rows, true) },
		Failure: func(status int) []byte {
			return fmt.Appendf(nil, `{"errors":[{"message":"FNRCE0000E: canary","extensions":{"statusCode":%d}}]}`, status)
		},
	})
}
