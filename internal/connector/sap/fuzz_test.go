package sap_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/sap"
	"patchbay/internal/fault"
)

// given is an answer on its way, and where it breaks off.
type given struct {
	body string
	cut  int // of its bytes are sent; the whole of it where that is its length
}

// FuzzReadPage hands whatever a server may say to a real read over HTTP, as rows and
// as cells. What is taken for a page must be one: every row of the answer, every
// number as it stood, a next page wherever one is named; rows and cells agree; and
// no beginning of an answer is an answer.
func FuzzReadPage(f *testing.F) {
	for _, seed := range []string{
		`{"d":{"results":[]}}`, `{"d":[]}`, `{"d":{"results":[{"SalesOrder":"1","Amount":"9007199254740993.10","On":"\/Date(1471392000000)\/"}],"__next":"Orders?$skiptoken=2"}}`,
		`{"d":{"results":[{"SalesOrder":"1","Amount":9007199254740993.10},{"SalesOrder":"2"}]}}`, `{"d":{"results":[{"SalesOrder":null},{"Amount":"1e-7"}]}}`,
		`{"d":{"results":[null]}}`, `{"d":{"results":[],"__next":7}}`, `{"d":{"results":[],"__next":"https://elsewhere.example/x"}}`, `{"d":{"results":{}}}`, `{"D":[]}`,
		`{"d":{"results":[{"SalesOrder":"1","SalesOrder":"2"}]}}`, `{"d":{"results":[{"On":"/Date(-1+0000)/","Amount":"-0.50"}],"__next":""}}`,
	} {
		f.Add(seed, 3)
	}
	var now atomic.Pointer[given]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/$metadata") {
			aside(w, r)
			return
		}
		g := now.Load()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(g.body)))
		_, _ = w.Write([]byte(g.body[:g.cut]))
	}))
	f.Cleanup(server.Close)
	erp, err := sap.New(connector.Config{Name: "erp", System: sap.System, URL: server.URL, Tables: map[string]connector.Table{"orders": {Path: "O_SRV/Orders"}}}, connector.Deps{Client: server.Client()})
	require.NoError(f, err)
	q := connector.Query{Table: "orders", Select: []string{"SalesOrder", "Amount", "On"}, Limit: 2}

	f.Fuzz(func(t *testing.T, body string, at int) {
		now.Store(&given{body, len(body)})
		page, err := erp.ReadPage(t.Context(), q, "")
		cells, failed := erp.ExtractPage(t.Context(), q, "")
		require.Equal(t, err == nil, failed == nil, "rows and cells are taken from the same answers: %s", body)
		if err != nil {
			require.Equal(t, fault.Of(err).Code, fault.Of(failed).Code)
			require.NotEqual(t, fault.Bug, fault.Of(err).Class, "only a circle of pages is called a bug: %s", body)
			return
		}
		said := map[string]any{}
		dec := json.NewDecoder(strings.NewReader(body))
		dec.UseNumber()
		require.NoError(t, dec.Decode(&said))
		rows, isList := said["d"].([]any)
		var next any
		if d, ok := said["d"].(map[string]any); ok {
			rows, isList = d["results"].([]any)
			next = d["__next"]
		}
		require.True(t, isList, body)
		require.Len(t, page.Rows, len(rows), "no row is lost")
		require.Equal(t, len(rows), cells.Rows())
		require.Equal(t, page.Next, cells.Next)
		require.Equal(t, next != nil && next != "" || len(rows) >= q.Limit, page.Next != "", "a page that is not the last is not taken for it: %s", body)
		same, err := connector.RowsOf(cells)
		require.NoError(t, err)
		require.Equal(t, page.Rows, same)
		for _, row := range page.Rows {
			exact(t, body, row)
		}
		whole := strings.TrimRight(body, " \t\r\n")
		for _, cut := range []int{len(whole) - 1, (at%len(whole) + len(whole)) % len(whole)} {
			now.Store(&given{body, cut})
			_, err := erp.ReadPage(t.Context(), q, "")
			require.Error(t, err, "the connection broke after %d of %d bytes", cut, len(body))
			now.Store(&given{body[:cut], cut})
			_, err = erp.ExtractPage(t.Context(), q, "")
			require.Error(t, err, "%q is the beginning of an answer", body[:cut])
		}
	})
}

// exact requires that every number in v stands in the answer as it is.
func exact(t *testing.T, body string, v any) {
	t.Helper()
	switch v := v.(type) {
	case connector.Row:
		for _, inner := range v {
			exact(t, body, inner)
		}
	case []any:
		for _, inner := range v {
			exact(t, body, inner)
		}
	case json.Number:
		require.Contains(t, body, v.String())
	case nil, bool, string:
	default:
		t.Fatalf("a value came as %T", v)
	}
}
