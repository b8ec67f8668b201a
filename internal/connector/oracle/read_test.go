package oracle_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/oracle"
	"patchbay/internal/fault"
)

const resources = "/fscmRestApi/resources/11.13.18.05/"

// pod is an Oracle that answers by path and remembers the queries it was asked.
type pod struct {
	server  *httptest.Server
	oracle  *oracle.Oracle
	mu      sync.Mutex
	queries []url.Values
}

func newPod(t *testing.T, table connector.Table, options map[string]string, answer func(p *pod, path string, q url.Values) string) *pod {
	t.Helper()
	p := &pod{}
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.queries = append(p.queries, r.URL.Query())
		p.mu.Unlock()
		body := answer(p, strings.TrimPrefix(r.URL.Path, resources), r.URL.Query())
		if body == "" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(p.server.Close)
	var err error
	p.oracle, err = oracle.New(connector.Config{Name: "plm", System: oracle.System, URL: p.server.URL, Options: options,
		Tables: map[string]connector.Table{"items": table}}, connector.Deps{Client: p.server.Client()})
	require.NoError(t, err)
	return p
}

func (p *pod) self(path string) string {
	return fmt.Sprintf(`"links":[{"rel":"parent","href":"x"},{"rel":"self","href":"%s%s%s"}]`, p.server.URL, resources, path)
}

var specs = connector.Query{Table: "items", Select: []string{"ItemNumber"}, Expand: map[string]string{"specs": "ItemEffCategory"}}

var effs = connector.Table{Path: "itemsV2", Expand: map[string]string{"ItemEffCategory": "ItemEffCategory.Electrical_Private, ItemEffCategory.Size_Private"}}

func names(rows any) string {
	var out []string
	for _, row := range rows.([]any) {
		r := row.(connector.Row)
		out = append(out, fmt.Sprintf("%v/%v", r["CategoryCode"], r["AttributeName"]))
	}
	return strings.Join(out, " ")
}

func TestFlexfieldLinesOfSeveralContextsBecomeChildRows(t *testing.T) {
	t.Parallel()
	for version, form := range map[string]string{"collections": `{"items":[%s],"count":%d,"hasMore":false}`, "arrays": `[%s]`} {
		list := func(items ...string) string {
			if strings.Contains(form, "%d") {
				return fmt.Sprintf(form, strings.Join(items, ","), len(items))
			}
			return fmt.Sprintf(form, strings.Join(items, ","))
		}
		p := newPod(t, effs, nil, func(*pod, string, url.Values) string {
			category := func(code string, contexts ...string) string {
				return `{"CategoryCode":"` + code + `","ItemId":1,"links":[]` + strings.Join(contexts, "") + `}`
			}
			return `{"items":[{"ItemNumber":"A","Secret":"x","ItemEffCategory":` + list(
				category("ROOT_ICC", `,"Electrical_Private":`+list(`{"AttributeName":"a","links":[]}`, `{"AttributeName":"b"}`), `,"Size_Private":`+list()),
				category("PUMP", `,"Size_Private":`+list(`{"AttributeName":"c"}`), `,"Electrical_Private":null`),
			) + `}],"hasMore":false}`
		})
		page, err := p.oracle.ReadPage(t.Context(), specs, "")
		require.NoError(t, err, version)
		require.Len(t, page.Rows, 1)
		require.Equal(t, "ROOT_ICC/a ROOT_ICC/b PUMP/c", names(page.Rows[0]["specs"]), version)
		require.Equal(t, "A", page.Rows[0]["ItemNumber"])
		require.Len(t, page.Rows[0], 2, "expand brings every column; only those selected leave")
		require.Equal(t, "ItemEffCategory.Electrical_Private,ItemEffCategory.Size_Private", p.queries[0].Get("expand"))
		require.False(t, p.queries[0].Has("fields"), "fields would win over expand")
	}
}

func TestChildrenThatOracleCutsOffAreReadToTheEnd(t *testing.T) {
	t.Parallel()
	table := connector.Table{Path: "itemsV2", Expand: map[string]string{"ItemEffCategory": "ItemEffCategory.Electrical_Private"}}
	line := func(n int) string { return fmt.Sprintf(`{"AttributeName":"%d"}`, n) }
	p := newPod(t, table, nil, func(p *pod, path string, q url.Values) string {
		lines := func(from int, more bool) string {
			return fmt.Sprintf(`{"items":[%s,%s],"count":2,"hasMore":%t,"offset":%d}`, line(from), line(from+1), more, from)
		}
		category := func(n int) string {
			return fmt.Sprintf(`{"CategoryCode":"C%d",%s,"Electrical_Private":%s}`, n, p.self(fmt.Sprintf("itemsV2/I/child/ItemEffCategory/C%d", n)), lines(0, n == 0))
		}
		switch path {
		case "itemsV2":
			return fmt.Sprintf(`{"items":[{"ItemNumber":"A",%s,"ItemEffCategory":{"items":[%s],"hasMore":true}}],"hasMore":true}`, p.self("itemsV2/I"), category(0))
		case "itemsV2/I/child/ItemEffCategory":
			return fmt.Sprintf(`{"items":[%s],"hasMore":false,"offset":1}`, category(1))
		case "itemsV2/I/child/ItemEffCategory/C0/child/Electrical_Private":
			if q.Get("offset") == "2" {
				return lines(2, true)
			}
			return lines(4, false)
		}
		return ""
	})
	page, err := p.oracle.ReadPage(t.Context(), specs, "")
	require.NoError(t, err)
	require.Equal(t, "C0/0 C0/1 C0/2 C0/3 C0/4 C0/5 C1/0 C1/1", names(page.Rows[0]["specs"]))
	require.Equal(t, "1", page.Next)
	require.Len(t, p.queries, 5)
	require.Equal(t, "true", p.queries[0].Get("onlyData"), "links cost more than rows; they are asked for only where needed")
	require.Equal(t, "self", p.queries[1].Get("links"))
	require.Equal(t, "Electrical_Private", p.queries[2].Get("expand"), "a later category brings its lines along")
	for _, row := range page.Rows[0]["specs"].([]any) {
		require.NotContains(t, row, "links")
	}
}

func TestAChildListIsNeverSilentlyShort(t *testing.T) {
	t.Parallel()
	table := connector.Table{Path: "itemsV2", Expand: map[string]string{"ItemEffCategory": "ItemEffCategory"}}
	for name, c := range map[string]struct{ item, code string }{
		"cut off and no way to the rest":     {`"ItemEffCategory":{"items":[{}],"hasMore":true}`, "vendor.malformed"},
		"the rest lies on another host":      {`"links":[{"rel":"self","href":"http://elsewhere.invalid/x"}],"ItemEffCategory":{"items":[{}],"hasMore":true}`, "egress.blocked"},
		"the child is missing":               {`"Other":1`, "vendor.malformed"},
		"the child is a text":                {`"ItemEffCategory":"x"`, "vendor.malformed"},
		"the child has no items":             {`"ItemEffCategory":{"links":[]}`, "vendor.malformed"},
		"the child holds something else":     {`"ItemEffCategory":[1]`, "vendor.malformed"},
		"fewer items than the child counted": {`"ItemEffCategory":{"items":[{}],"count":2,"hasMore":false}`, "vendor.malformed"},
	} {
		p := newPod(t, table, nil, func(*pod, string, url.Values) string {
			return `{"items":[{"ItemNumber":"A",` + c.item + `}],"hasMore":false}`
		})
		_, err := p.oracle.ReadPage(t.Context(), specs, "")
		require.Equal(t, c.code, fault.Of(err).Code, name)
	}
	p := newPod(t, effs, nil, func(*pod, string, url.Values) string {
		return `{"items":[{"ItemNumber":"A"}],"count":2,"hasMore":false}`
	})
	_, err := p.oracle.ReadPage(t.Context(), connector.Query{Table: "items", Select: []string{"ItemNumber"}}, "")
	require.Equal(t, "vendor.malformed", fault.Of(err).Code, "nor is a page")
}

func TestPagesAreOrderedByAKeyUnlessOneKeyIsAskedFor(t *testing.T) {
	t.Parallel()
	table := connector.Table{Path: "itemsV2", Keys: [][]string{{"OrganizationCode", "ItemNumber"}, {"ItemId"}}}
	order := func(options map[string]string, where ...connector.Match) string {
		p := newPod(t, table, options, func(*pod, string, url.Values) string { return `{"items":[],"hasMore":false}` })
		_, err := p.oracle.ReadPage(t.Context(), connector.Query{Table: "items", Select: []string{"ItemNumber"}, Where: where}, "")
		require.NoError(t, err)
		return p.queries[0].Get("orderBy")
	}
	require.Equal(t, "OrganizationCode:asc,ItemNumber:asc", order(nil))
	require.Equal(t, "OrganizationCode:asc,ItemNumber:asc", order(nil, connector.Match{Column: "ItemNumber", Value: "A"}))
	require.Empty(t, order(nil, connector.Match{Column: "ItemNumber", Value: "A"}, connector.Match{Column: "OrganizationCode", Value: "V1"}))
	require.Empty(t, order(nil, connector.Match{Column: "ItemId", Value: 1}))
	require.Equal(t, "LastUpdateDateTime:asc,ItemId:asc", order(map[string]string{"order_by": "LastUpdateDateTime:asc,ItemId:asc"}))
}

func TestValuesStayValuesInQ(t *testing.T) {
	t.Parallel()
	p := newPod(t, connector.Table{Path: "itemsV2"}, map[string]string{"version": "latest"}, func(*pod, string, url.Values) string { return `{"items":[],"hasMore":false}` })
	_, err := p.oracle.ReadPage(t.Context(), connector.Query{Table: "items", Select: []string{"ItemNumber"}, Limit: 10_000, Where: []connector.Match{
		{Column: "A", Value: "it's' or 1=1 &limit=1+1%20"}, {Column: "B", Value: json.Number("12.50")}, {Column: "C", Value: true}, {Column: "D", Value: nil},
	}}, "")
	require.NoError(t, err)
	require.Equal(t, `A='it''s'' or 1=1 &limit=1+1%20' and B=12.50 and C=true and D is null`, p.queries[0].Get("q"))
	require.Equal(t, []string{"499"}, p.queries[0]["limit"])
}

func TestAnAttributeThatOracleLeavesOutIsNull(t *testing.T) {
	t.Parallel()
	p := newPod(t, connector.Table{Path: "itemsV2"}, nil, func(*pod, string, url.Values) string { return `{"items":[{"ItemNumber":"A"}],"hasMore":false}` })
	page, err := p.oracle.ReadPage(t.Context(), connector.Query{Table: "items", Select: []string{"ItemNumber", "LifecyclePhaseValue"}}, "")
	require.NoError(t, err)
	require.Equal(t, []connector.Row{{"ItemNumber": "A", "LifecyclePhaseValue": nil}}, page.Rows)
}

func TestAnErrorNamesTheVendorsCodeAndAttributeAndNothingElse(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.oracle.adf.error+json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"title":"Bad Request","o:errorDetails":[{"detail":"Patient Smith is unknown","o:errorCode":"27014","o:errorPath":"/ItemNumber"}]}`))
	}))
	defer s.Close()
	o, err := oracle.New(connector.Config{Name: "plm", URL: s.URL}, connector.Deps{Client: s.Client()})
	require.NoError(t, err)
	require.EqualError(t, o.Probe(t.Context()), "oracle.bad_request: plm refused the request as wrong (400, 27014 at /ItemNumber)")
}
