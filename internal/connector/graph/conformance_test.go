package graph_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"patchbay/internal/connector"
	"patchbay/internal/connector/conformance"
	"patchbay/internal/connector/graph"
)

func TestGraphKeepsTheContract(t *testing.T) {
	t.Parallel()
	const size = 3
	page := func(r *http.Request, base string, rows []connector.Row, circle bool) []byte {
		_, token, _ := strings.Cut(r.URL.Path, "token='")
		from, _ := strconv.Atoi(strings.TrimSuffix(token, "')"))
		to := min(from+size, len(rows))
		list := []map[string]any{{"id": "folder", "name": "canary", "folder": map[string]any{}}}
		for _, row := range rows[min(from, to):to] {
			list = append(list, map[string]any{"id": row["id"], "name": row["name"], "eTag": "canary", "file": map[string]any{}, "unasked": row["unasked"]})
		}
		body := map[string]any{"value": list}
		next := ""
		if to < len(rows) {
			next = strconv.Itoa(to)
		}
		if circle {
			next = "0"
		}
		if next != "" {
			body["@odata.nextLink"] = fmt.Sprintf("%s/v1.0/drives/d/root/delta(token='%s')", base, next)
		}
		text, err := json.Marshal(body)
		if err != nil {
			panic(err)
		}
		return text
	}
	codes := map[int]string{429: "activityLimitReached", 401: "InvalidAuthenticationToken", 503: "serviceNotAvailable", 404: "itemNotFound"}
	conformance.Run(t, conformance.Harness{
		Build:  graph.Build,
		Config: connector.Config{System: graph.System, Tables: map[string]connector.Table{"documents": {Path: "drives/d", Keys: [][]string{{"id"}}}}},
		Query:  connector.Query{Table: "documents", Select: []string{"id", "name"}, Limit: size},
		Page:   func(r *http.Request, base string, rows []connector.Row) []byte { return page(r, base, rows, false) },
		Circle: func(r *http.Request, base string, rows []connector.Row) []byte { return page(r, base, rows, true) },
		Failure: func(status int) []byte {
			code := codes[status]
			if code == "" {
				code = "generalException"
			}
			return fmt.Appendf(nil, `{"error":{"code":"%s","message":"canary"}}`, code)
		},
	})
}
