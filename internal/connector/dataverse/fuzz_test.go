package dataverse_test

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
	"patchbay/internal/connector/dataverse"
	"patchbay/internal/fault"
)

// given is an answer on its way, and where it breaks off.
type given struct {
	body string
	cut  int // of its bytes are sent; the whole of it where that is its length
}

// FuzzReadPage hands whatever a server may say to a real read over HTTP. What is
// taken for a page must be one: every row of the answer, every number as it stood,
// a next page wherever one is named; and no beginning of an answer is an answer.
func FuzzReadPage(f *testing.F) {
	for _, seed := range []string{
		`{"value":[]}`,
		`{"value":[{"name":"A","amount":9007199254740993.10}],"@odata.nextLink":"SELF/api/data/v9.2/accounts?$skiptoken=2"}`,
		`{"value":[{"name":null,"Account_Tasks":[{"subject":"x","n":1e-7}],"Account_Tasks@odata.nextLink":"SELF/t"}]}`,
		`{"value":[{"name":"A","Account_Tasks":[]}],"@odata.nextLink":"https://elsewhere.example/x"}`,
		`{"value":[null],"@odata.nextLink":null}`,
		`{"value":[{"Account_Tasks":[1]}]}`,
		`{"value":[{"Account_Tasks":[],"Account_Tasks@odata.nextLink":7}]}`,
		`{"value":[],"@odata.nextLink":"a","@odata.nextLink":""}`,
		`{"Value":[]}`,
		`{"value":{}}`,
	} {
		f.Add(seed, 3)
	}
	var now atomic.Pointer[given]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		g := now.Load()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(g.body)))
		_, _ = w.Write([]byte(g.body[:g.cut]))
	}))
	f.Cleanup(server.Close)
	crm, err := dataverse.New(connector.Config{Name: "crm", System: dataverse.System, URL: server.URL,
		Tables: map[string]connector.Table{"account": {Path: "accounts", Expand: map[string]string{"tasks": "Account_Tasks($select=subject)"}}},
	}, connector.Deps{Client: server.Client()})
	require.NoError(f, err)
	q := connector.Query{Table: "account", Select: []string{"name", "amount"}, Expand: map[string]string{"tasks": "tasks"}}

	f.Fuzz(func(t *testing.T, body string, at int) {
		body = strings.ReplaceAll(body, "SELF", server.URL)
		now.Store(&given{body, len(body)})
		page, err := crm.ReadPage(t.Context(), q, "")
		if err != nil {
			require.NotEqual(t, fault.Bug, fault.Of(err).Class, "only a circle of pages is called a bug: %s", body)
			return
		}
		said := map[string]any{}
		dec := json.NewDecoder(strings.NewReader(body))
		dec.UseNumber()
		require.NoError(t, dec.Decode(&said))
		rows, ok := said["value"].([]any)
		require.True(t, ok, body)
		require.Len(t, page.Rows, len(rows), "no row is lost")
		for i, row := range page.Rows {
			item, ok := rows[i].(map[string]any)
			require.True(t, ok, "a row is an object: %s", body)
			if tasks, ok := item["Account_Tasks"].([]any); ok {
				require.GreaterOrEqual(t, len(row["tasks"].([]any)), len(tasks), "no child is lost: %s", body)
				if next := item["Account_Tasks@odata.nextLink"]; next != nil && next != "" {
					require.Len(t, row["tasks"], len(tasks)+len(rows), "the next page of children, whose address gives this very answer: %s", body)
				}
			}
			exact(t, body, row)
		}
		if next := said["@odata.nextLink"]; next != nil && next != "" {
			require.NotEmpty(t, page.Next, "a page that is not the last is not taken for it: %s", body)
			_, err := crm.ReadPage(t.Context(), q, page.Next)
			require.Error(t, err, "it leads to itself, or to where nobody goes: %s", body)
		}
		whole := strings.TrimRight(body, " \t\r\n")
		for _, cut := range []int{len(whole) - 1, (at%len(whole) + len(whole)) % len(whole)} {
			now.Store(&given{body, cut})
			_, err := crm.ReadPage(t.Context(), q, "")
			require.Error(t, err, "the connection broke after %d of %d bytes", cut, len(body))
			now.Store(&given{body[:cut], cut})
			_, err = crm.ReadPage(t.Context(), q, "")
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
