package dataverse_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"patchbay/internal/connector"
	"patchbay/internal/connector/conformance"
	"patchbay/internal/connector/dataverse"
)

func TestDataverseKeepsTheContract(t *testing.T) {
	t.Parallel()
	page := func(base string, rows []connector.Row, from, size int) []byte {
		to := min(from+size, len(rows))
		body := map[string]any{"@odata.context": base + "/$metadata", "value": append([]connector.Row{}, rows[min(from, to):to]...)}
		if to < len(rows) {
			body["@odata.nextLink"] = fmt.Sprintf("%s/api/data/v9.2/msx_specifications?$skiptoken=%d", base, to)
		}
		text, err := json.Marshal(body)
		if err != nil {
			panic(err)
		}
		return text
	}
	codes := map[int]string{429: "0x80072326", 500: "0x80044150", 401: "", 503: "0x0"}
	h := conformance.Harness{
		Build:  dataverse.Build,
		Config: connector.Config{System: dataverse.System, Tables: map[string]connector.Table{"msx_specification": specifications}},
		Query:  connector.Query{Table: "msx_specification", Select: []string{"msx_value", "msx_unit"}, Limit: 3},
		Page: func(r *http.Request, base string, rows []connector.Row) []byte {
			from, _ := strconv.Atoi(r.URL.Query().Get("$skiptoken"))
			size, _ := strconv.Atoi(strings.TrimPrefix(r.Header.Get("Prefer"), "odata.maxpagesize="))
			return page(base, rows, from, size)
		},
		Circle: func(r *http.Request, base string, rows []connector.Row) []byte {
			from := 0
			if r.URL.Query().Get("$skiptoken") == "3" {
				from = 3
			}
			return []byte(strings.ReplaceAll(string(page(base, rows, from, 3)), "$skiptoken=6", "$skiptoken=3"))
		},
		Failure: func(status int) []byte {
			return fmt.Appendf(nil, `{"error":{"code":"%s","message":"canary"}}`, codes[status])
		},
		Upserts: map[string]connector.Upsert{
			"one row": {Table: "msx_specification", Key: key, Rows: []connector.Row{spec("Weight", connector.Row{"msx_value": "canary"})}},
			"several rows": {Table: "msx_specification", Key: key, Rows: []connector.Row{
				spec("Weight", connector.Row{"msx_value": "canary"}), spec("Height", connector.Row{"msx_value": "canary"})}},
		},
		Accepted: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
	}
	t.Run("rows", func(t *testing.T) { t.Parallel(); conformance.Run(t, h) })
	t.Run("versions", func(t *testing.T) {
		t.Parallel()
		h := h
		h.Accepted, h.Aside = keeps, describesNothing
		conformance.Run(t, conformance.Versions(h))
	})
	t.Run("sheets", func(t *testing.T) { t.Parallel(); conformance.Run(t, conformance.Sheets(h)) })
}

var sentRow = regexp.MustCompile(`(?m)^\{.*\}\r?$`)

// keeps answers a $batch as a system that holds each row as it was sent.
func keeps(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "multipart/mixed; boundary=r")
	for _, row := range sentRow.FindAll(body, -1) {
		fmt.Fprintf(w, "--r\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 201 Created\r\nContent-Type: application/json\r\n\r\n%s\r\n", row)
	}
	fmt.Fprint(w, "--r--\r\n")
}

// describesNothing answers questions about metadata: texts have no length.
func describesNothing(w http.ResponseWriter, r *http.Request) bool {
	if !strings.Contains(r.URL.Path, "/EntityDefinitions") {
		return false
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, `{"value":[]}`)
	return true
}
