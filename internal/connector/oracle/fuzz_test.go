package oracle_test

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
	"patchbay/internal/connector/oracle"
	"patchbay/internal/fault"
)

// given is an answer on its way, and where it breaks off.
type given struct {
	body string
	cut  int // of its bytes are sent; the whole of it where that is its length
}

// FuzzReadPage hands whatever a server may say to a real read over HTTP. What is
// taken for a page must be one: every row of the answer, every number as it stood,
// a next page wherever there is more; and no beginning of an answer is an answer.
func FuzzReadPage(f *testing.F) {
	for _, seed := range []string{
		`{"items":[],"count":0,"hasMore":false,"limit":200,"offset":0}`,
		`{"items":[{"ItemNumber":"A","Weight":9007199254740993.10,"ItemEffCategory":{"items":[{"n":1e-7}],"count":1,"hasMore":false}}],"count":1,"hasMore":true,"offset":0}`,
		`{"items":[{"ItemNumber":"A","ItemEffCategory":{"items":[{}],"hasMore":true},"links":[{"rel":"self","href":"SELF/x"}]}],"count":1,"hasMore":false}`,
		`{"items":[{"ItemNumber":"A","ItemEffCategory":{"items":[{}],"hasMore":"true"}}],"hasMore":false}`,
		`{"items":[{"ItemNumber":"A","ItemEffCategory":[{}]}],"hasMore":false}`,
		`{"items":[{"ItemNumber":"A","ItemEffCategory":null}],"hasMore":false}`,
		`{"items":[null],"hasMore":false}`,
		`{"items":[{"ItemEffCategory":[]}]}`,
		`{"items":[],"hasMore":true,"hasMore":false}`,
		`{"Items":[],"HASMORE":false}`,
		`{"items":{}}`,
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
	plm, err := oracle.New(connector.Config{Name: "plm", System: oracle.System, URL: server.URL,
		Tables: map[string]connector.Table{"items": {Path: "itemsV2"}}}, connector.Deps{Client: server.Client()})
	require.NoError(f, err)
	q := connector.Query{Table: "items", Select: []string{"ItemNumber", "Weight"}, Expand: map[string]string{"specs": "ItemEffCategory"}}

	f.Fuzz(func(t *testing.T, body string, at int) {
		body = strings.ReplaceAll(body, "SELF", server.URL)
		now.Store(&given{body, len(body)})
		page, err := plm.ReadPage(t.Context(), q, "")
		if err != nil {
			if f := fault.Of(err); f.Class == fault.Bug {
				require.Equal(t, "vendor.page_loop", f.Code, body)
			}
			return
		}
		said := map[string]any{}
		dec := json.NewDecoder(strings.NewReader(body))
		dec.UseNumber()
		require.NoError(t, dec.Decode(&said))
		items, ok := said["items"].([]any)
		require.True(t, ok, body)
		require.Len(t, page.Rows, len(items), "no row is lost")
		for i, row := range page.Rows {
			item, ok := items[i].(map[string]any)
			require.True(t, ok, "a row is an object: %s", body)
			children, ok := item["ItemEffCategory"].([]any)
			if collection, is := item["ItemEffCategory"].(map[string]any); is {
				if children, ok = collection["items"].([]any); collection["hasMore"] == true {
					children = append(children, items...) // the rest, whose address gives this very answer
				}
			}
			if ok {
				require.Len(t, row["specs"], len(children), "no child is lost: %s", body)
			}
			exact(t, body, row)
		}
		more, ok := said["hasMore"].(bool)
		require.True(t, ok, "an answer says whether it is the last: %s", body)
		require.Equal(t, more, page.Next != "", "a page that is not the last is not taken for it: %s", body)
		whole := strings.TrimRight(body, " \t\r\n")
		for _, cut := range []int{len(whole) - 1, (at%len(whole) + len(whole)) % len(whole)} {
			now.Store(&given{body, cut})
			_, err := plm.ReadPage(t.Context(), q, "")
			require.Error(t, err, "the connection broke after %d of %d bytes", cut, len(body))
			now.Store(&given{body[:cut], cut})
			_, err = plm.ReadPage(t.Context(), q, "")
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
