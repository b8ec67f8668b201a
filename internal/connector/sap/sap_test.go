package sap_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/sap"
	"patchbay/internal/fault"
)

// bundle is a connector and the system it talks to; what aside does not answer goes
// to the test's handler.
type bundle struct {
	*sap.SAP
	t   *testing.T
	url string

	mu   sync.Mutex
	seen []string // method, path and query of what the handler was asked
}

func newBundle(t *testing.T, options map[string]string, answer http.HandlerFunc) *bundle {
	t.Helper()
	b := &bundle{t: t}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/$metadata") && aside(w, r) {
			return
		}
		b.mu.Lock()
		b.seen = append(b.seen, r.Method+" "+r.URL.Path+"?"+r.URL.RawQuery)
		b.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	b.url = server.URL
	var err error
	b.SAP, err = sap.New(connector.Config{Name: "erp", System: sap.System, URL: server.URL, Options: options, Tables: map[string]connector.Table{
		"orders":   {Path: "O_SRV/Orders", Expand: map[string]string{"items": "to_Item($select=Item,NetAmount)"}},
		"items":    {Path: "O_SRV/Items"},
		"typed":    {Path: "O_SRV/Orders", Columns: []string{"SalesOrder", "Text", "When"}, Types: map[string]string{"Text": "decimal", "When": "date"}},
		"newer":    {Path: newerRoot + "/Orders"},
		"lost":     {Path: "O_SRV/Nowhere"},
		"misspelt": {Path: "O_SRV/../Orders"},
	}}, connector.Deps{Client: server.Client()})
	require.NoError(t, err)
	return b
}

func (b *bundle) calls() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seen
}

func (b *bundle) fails(q connector.Query) *fault.Fault {
	b.t.Helper()
	_, err := b.ReadPage(b.t.Context(), q, "")
	require.Error(b.t, err)
	return fault.Of(err)
}

func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

func TestValuesOfEveryTypeAreReadInOneForm(t *testing.T) {
	t.Parallel()
	b := newBundle(t, nil, says(`{"d":{"results":[
		{"SalesOrder":"1","Text":"00012.50","Amount":"9007199254740993.10","Count":7,"Big":"9007199254740993","Paid":true,"On":"\/Date(1471392000000)\/","When":"/Date(1471392000001)/","At":"/Date(1472796947125+0060)/","Clock":"PT12H30M00S","Ref":"x"},
		{"SalesOrder":"2","Text":"12.50","Amount":null,"On":null,"At":"/Date(99999999999999999)/","Amount2":1},
		{"SalesOrder":"3","Amount":"1,5","On":"/Date(1471392000001)/","Clock":"PT25H","When":"/Date(1471392000000)/"}]}}`))
	columns := []string{"SalesOrder", "Text", "Amount", "Count", "Big", "Paid", "On", "When", "At", "Clock"}
	page, err := b.ReadPage(t.Context(), connector.Query{Table: "orders", Select: columns}, "")
	require.NoError(t, err)
	require.Equal(t, []connector.Row{
		{"SalesOrder": "1", "Text": "00012.50", "Amount": json.Number("9007199254740993.10"), "Count": json.Number("7"), "Big": json.Number("9007199254740993"), "Paid": true,
			"On": "2016-08-17", "When": "2016-08-17T00:00:00.001Z", "At": "2016-09-02T06:15:47.125Z", "Clock": "12:30:00"},
		{"SalesOrder": "2", "Text": "12.50", "Amount": nil, "On": nil, "At": "/Date(99999999999999999)/"},
		{"SalesOrder": "3", "Amount": "1,5", "On": "/Date(1471392000001)/", "Clock": "PT25H", "When": "2016-08-17T00:00:00Z"},
	}, page.Rows, "what is no value of its type stays as it is, for whoever checks rows")
	sameAsCells(t, b.SAP, connector.Query{Table: "orders", Select: columns})

	page, err = b.ReadPage(t.Context(), connector.Query{Table: "typed", Select: []string{"Text", "When"}}, "")
	require.NoError(t, err)
	require.Equal(t, []connector.Row{{"Text": "00012.50", "When": "/Date(1471392000001)/"}, {"Text": json.Number("12.50")}, {"When": "2016-08-17"}}, page.Rows, "the declared type comes first")
}

func TestFiltersHaveTheFormOfTheirType(t *testing.T) {
	t.Parallel()
	for table, want := range map[string]map[string]string{
		"orders": {"Text": "Text eq 'O''Neil & %'", "Amount": "Amount eq 52.650", "Big": "Big eq 5", "Paid": "Paid eq true", "On": "On eq datetime'2016-08-17T00:00:00'",
			"At": "At eq datetimeoffset'2016-09-02T06:15:47.125Z'", "Clock": "Clock eq time'PT12H30M05S'", "Ref": "Ref eq guid'11111111-2222-4333-8444-000000000001'"},
		"newer": {"On": "On eq 2016-08-17", "At": "At eq 2016-09-02T06:15:47.125Z", "Clock": "Clock eq 12:30:05", "Ref": "Ref eq 11111111-2222-4333-8444-000000000001", "Text": "Text eq 'O''Neil & %'"},
	} {
		b := newBundle(t, nil, says(`{"d":{"results":[]},"value":[]}`))
		values := map[string]any{"Text": "O'Neil & %", "Amount": json.Number("52.650"), "Big": "5", "Paid": true, "On": "2016-08-17", "At": "2016-09-02T08:15:47.125+02:00", "Clock": "12:30:05", "Ref": "11111111-2222-4333-8444-000000000001"}
		for column, filter := range want {
			_, err := b.ReadPage(t.Context(), connector.Query{Table: table, Select: []string{"SalesOrder"}, Where: []connector.Match{{Column: column, Value: values[column]}}}, "")
			require.NoError(t, err)
			calls := b.calls()
			require.Contains(t, calls[len(calls)-1], "$filter="+connector.EscapeQuery(filter)+"&")
		}
		n := len(b.calls())
		for column, value := range map[string]any{"Amount": "1 or 1 eq 1", "On": "today", "Ref": "x' or '1", "Paid": "yes", "Clock": "noon"} {
			f := b.fails(connector.Query{Table: table, Select: []string{"SalesOrder"}, Where: []connector.Match{{Column: column, Value: value}}})
			require.Equal(t, fault.Invalid, f.Class, column)
		}
		require.Len(t, b.calls(), n, "nothing is sent that cannot be meant")
	}
	b := newBundle(t, nil, says(`{"d":[]}`))
	_, err := b.ReadPage(t.Context(), connector.Query{Table: "orders", Select: []string{"SalesOrder"}, Since: &connector.Since{Column: "On", Value: "2026-01-15T09:30:00Z"}}, "")
	require.NoError(t, err)
	require.Contains(t, b.calls()[0], connector.EscapeQuery("On ge datetime'2026-01-15T00:00:00'"), "a column of days takes the day")
	require.Equal(t, fault.Invalid, b.fails(connector.Query{Table: "items", Select: []string{"Item"}, Where: []connector.Match{{Column: "Raw", Value: "x"}}}).Class)
}

func TestPagesFollowTheKeyWhateverItsParts(t *testing.T) {
	t.Parallel()
	b := newBundle(t, map[string]string{"client": "100", "language": "EN"}, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.RawQuery, "gt") {
			_, _ = io.WriteString(w, `{"d":{"results":[]}}`)
			return
		}
		_, _ = io.WriteString(w, `{"d":{"results":[{"SalesOrder":"1","Item":"10","NetAmount":"1"},{"SalesOrder":"1","Item":"O'20","NetAmount":"2"}]}}`)
	})
	q := connector.Query{Table: "items", Select: []string{"NetAmount"}, Limit: 2}
	page, err := b.ReadPage(t.Context(), q, "")
	require.NoError(t, err)
	require.Equal(t, []connector.Row{{"NetAmount": json.Number("1")}, {"NetAmount": json.Number("2")}}, page.Rows)
	page, err = b.ReadPage(t.Context(), q, page.Next)
	require.NoError(t, err)
	require.Empty(t, page.Next)
	require.Equal(t, []string{
		"GET /sap/opu/odata/sap/O_SRV/Items?$select=NetAmount,SalesOrder,Item&$orderby=SalesOrder,Item&$top=2&sap-client=100&sap-language=EN",
		"GET /sap/opu/odata/sap/O_SRV/Items?$select=NetAmount,SalesOrder,Item&$filter=" + connector.EscapeQuery("(SalesOrder gt '1' or (SalesOrder eq '1' and Item gt 'O''20'))") +
			"&$orderby=SalesOrder,Item&$top=2&sap-client=100&sap-language=EN",
	}, b.calls())
}

func TestPagesBySkipWhereTheServiceCannotCompareKeys(t *testing.T) {
	t.Parallel()
	b := newBundle(t, map[string]string{"paging": "skip"}, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.RawQuery, "skip=4") {
			_, _ = io.WriteString(w, `{"d":{"results":[{"SalesOrder":"5"}]}}`)
			return
		}
		_, _ = io.WriteString(w, `{"d":{"results":[{"SalesOrder":"1"},{"SalesOrder":"2"}]}}`)
	})
	rows, n := everything(t, b.SAP, connector.Query{Table: "orders", Select: []string{"SalesOrder"}, Limit: 2})
	require.Len(t, rows, 5)
	require.Equal(t, 3, n)
}

func TestNextLinksDecideTheQueryAndNeverTheHost(t *testing.T) {
	t.Parallel()
	for name, link := range map[string]string{
		"absolute":                   "SELF/sap/opu/odata/sap/O_SRV/Orders?$select=SalesOrder&$skiptoken='1'",
		"of a host behind the proxy": "https://s4hana.internal:44300/elsewhere/sap/opu/odata/sap/O_SRV/Orders?$select=SalesOrder&$skiptoken='1'",
		"relative":                   "Orders?$select=SalesOrder&$skiptoken='1'",
		"only a query":               "?$select=SalesOrder&$skiptoken='1'",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t, map[string]string{"client": "100"}, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("$skiptoken") == "'1'" {
					_, _ = io.WriteString(w, `{"d":{"results":[{"SalesOrder":"2"}]}}`)
					return
				}
				_, _ = fmt.Fprintf(w, `{"d":{"results":[{"SalesOrder":"1"}],"__next":%q}}`, strings.ReplaceAll(link, "SELF", "http://"+r.Host))
			})
			rows, _ := everything(t, b.SAP, connector.Query{Table: "orders", Select: []string{"SalesOrder"}})
			require.Equal(t, []connector.Row{{"SalesOrder": "1"}, {"SalesOrder": "2"}}, rows)
			require.Equal(t, "GET /sap/opu/odata/sap/O_SRV/Orders?$select=SalesOrder&$skiptoken='1'&sap-client=100", b.calls()[1])
		})
	}
}

func TestAServerThatRepeatsAPageIsFound(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"by its link":         `{"d":{"results":[{"SalesOrder":"1"}],"__next":"Orders?$skiptoken=1"}}`,
		"by ignoring the key": `{"d":{"results":[{"SalesOrder":"1"},{"SalesOrder":"2"}]}}`,
	} {
		for _, extract := range []bool{false, true} {
			b := newBundle(t, nil, says(body))
			q := connector.Query{Table: "orders", Select: []string{"SalesOrder"}, Limit: 2}
			token := ""
			for range 10 {
				var err error
				if extract {
					var page connector.Sheet
					page, err = b.ExtractPage(t.Context(), q, token)
					token = page.Next
				} else {
					var page connector.Page
					page, err = b.ReadPage(t.Context(), q, token)
					token = page.Next
				}
				if err != nil {
					require.Equal(t, "vendor.page_loop", fault.Of(err).Code)
					token = "found"
					break
				}
				require.NotEmpty(t, token, "a page that repeats is not the last one")
			}
			require.Equal(t, "found", token, name)
		}
	}
}

func TestChildrenAreCompleteOrTheReadFails(t *testing.T) {
	t.Parallel()
	q := connector.Query{Table: "orders", Select: []string{"SalesOrder"}, Expand: map[string]string{"lines": "items"}}
	b := newBundle(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/to_Item") {
			_, _ = io.WriteString(w, `{"d":{"results":[{"Item":"20","NetAmount":"2.50","Unasked":1}]}}`)
			return
		}
		_, _ = io.WriteString(w, `{"d":{"results":[{"SalesOrder":"1","to_Item":{"results":[{"__metadata":{},"Item":"10","NetAmount":"1.50"}],"__next":"http://inside/sap/opu/odata/sap/O_SRV/Orders('1')/to_Item?$skiptoken=1"}},{"SalesOrder":"2","to_Item":null}]}}`)
	})
	page, err := b.ReadPage(t.Context(), q, "")
	require.NoError(t, err)
	require.Equal(t, []connector.Row{
		{"SalesOrder": "1", "lines": []any{connector.Row{"Item": "10", "NetAmount": json.Number("1.50")}, connector.Row{"Item": "20", "NetAmount": json.Number("2.50")}}},
		{"SalesOrder": "2", "lines": nil}}, page.Rows)
	for _, body := range []string{`{"d":{"results":[{"SalesOrder":"1"}]}}`, `{"d":{"results":[{"SalesOrder":"1","to_Item":{"__deferred":{"uri":"x"}}}]}}`, `{"d":{"results":[{"SalesOrder":"1","to_Item":7}]}}`} {
		require.Equal(t, "vendor.malformed", newBundle(t, nil, says(body)).fails(q).Code, body)
	}
	_, err = b.ExtractPage(t.Context(), q, "")
	require.Equal(t, fault.Invalid, fault.Of(err).Class)
}

func TestWhatIsNoPageIsAFault(t *testing.T) {
	t.Parallel()
	q := connector.Query{Table: "orders", Select: []string{"SalesOrder"}}
	for body, want := range map[string]string{
		`{"d":{"results":[{"SalesOrder":"1","SalesOrder":"2"}]}}`: "vendor.malformed: the answer of erp gives a key of one object twice",
		"{\"d\":{\"results\":[{\"SalesOrder\":\"\xfc\"}]}}":       "vendor.malformed: the answer of erp is not UTF-8",
		`{"d":{"results":[{"SalesOrder":"1"}]`:                    "vendor.truncated: the answer of erp ends in the middle",
		`{"d":{"results":[1]}}`:                                   "vendor.malformed: the answer of erp is not what is documented",
		`{"d":{"results":[],"__next":7}}`:                         "vendor.malformed: the answer of erp is not what is documented",
	} {
		b := newBundle(t, nil, says(body))
		_, err := b.ReadPage(t.Context(), q, "")
		require.ErrorContains(t, err, want)
		_, err = b.ExtractPage(t.Context(), q, "")
		require.ErrorContains(t, err, want)
	}
	b := newBundle(t, nil, says(`{"d":{"results":[{"Text":"a"},{"Text":"b"}]}}`))
	_, err := b.ReadPage(t.Context(), connector.Query{Table: "orders", Select: []string{"Text"}, Limit: 2}, "")
	require.Equal(t, "vendor.malformed", fault.Of(err).Code, "a full page without the key that the next one follows")
	require.Equal(t, "sap.unknown_column", b.fails(connector.Query{Table: "orders", Select: []string{"Lost"}}).Code)
	require.Equal(t, "sap.unknown_resource", b.fails(connector.Query{Table: "lost", Select: []string{"A"}}).Code)
	require.Equal(t, "connector.path", b.fails(connector.Query{Table: "misspelt", Select: []string{"A"}}).Code)
}

func TestErrorsAreReadInEveryForm(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status     int
		kind, body string
		class      fault.Class
		code, text string
	}{
		"V2": {400, "application/json", `{"error":{"code":"/IWBEP/X/020","message":{"lang":"en","value":"canary"},"innererror":{"transactionid":"D25C4F000000000018ECCCF9643C2E1B","errordetails":[{"code":"i","severity":"info"},{"code":"V1/555","severity":"error","message":"canary"}]}}}`,
			fault.Rejected, "sap.bad_request", "/IWBEP/X/020 V1/555 transaction D25C4F000000000018ECCCF9643C2E1B"},
		"V4":      {400, "application/json", `{"error":{"code":"A/1","message":"canary","details":[{"code":"V1/555"}]}}`, fault.Rejected, "sap.bad_request", "A/1 V1/555"},
		"XML":     {404, "application/xml", `<?xml version="1.0"?><error xmlns="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata"><code>005056</code><message>canary</message></error>`, fault.Rejected, "sap.unknown_resource", "005056"},
		"a page":  {500, "text/html", `<html>canary</html>`, fault.Unavailable, "sap.server_error", "500"},
		"a lock":  {400, "application/json", `{"error":{"code":"V1/042","message":{"value":"Order 1 is currently being processed by user CANARY"}}}`, fault.Conflict, "sap.locked", "V1/042"},
		"nothing": {503, "", "", fault.Unavailable, "sap.unavailable", "503"},
	} {
		b := newBundle(t, nil, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = []string{c.kind}
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		})
		f := b.fails(connector.Query{Table: "orders", Select: []string{"SalesOrder"}})
		require.Equal(t, c.class, f.Class, name)
		require.Equal(t, c.code, f.Code, name)
		require.Contains(t, f.Text, c.text, name)
		require.NotContains(t, strings.ToLower(f.Error()), "canary", name)
	}
}

func TestDescriptionsAreWhatTheServiceSays(t *testing.T) {
	t.Parallel()
	b := newBundle(t, nil, says(`{}`))
	older, err := b.Describe(t.Context(), "orders")
	require.NoError(t, err)
	require.Equal(t, [][]string{{"SalesOrder"}}, older.Keys)
	require.Equal(t, []connector.Described{
		{Name: "SalesOrder", Type: "string", Length: 10}, {Name: "Text", Type: "string", Nullable: true, Length: 40}, {Name: "Amount", Type: "decimal", Nullable: true, Precision: 16, Scale: 3},
		{Name: "Count", Type: "int", Nullable: true}, {Name: "Big", Type: "int", Nullable: true}, {Name: "Paid", Type: "bool", Nullable: true}, {Name: "On", Type: "date", Nullable: true},
		{Name: "When", Type: "timestamp", Nullable: true}, {Name: "At", Type: "timestamp", Nullable: true}, {Name: "Clock", Type: "string", Nullable: true}, {Name: "Ref", Type: "string", Nullable: true},
		{Name: "Raw", Type: "bytes", Nullable: true}}, older.Columns)
	newer, err := b.Describe(t.Context(), "newer")
	require.NoError(t, err)
	require.Contains(t, newer.Columns, connector.Described{Name: "On", Type: "date", Nullable: true})
	_, err = b.Describe(t.Context(), "lost")
	require.Equal(t, "sap.unknown_resource", fault.Of(err).Code)
}

func TestAUselessDescriptionIsAFault(t *testing.T) {
	t.Parallel()
	for body, code := range map[string]string{
		olderModel[:900]: "vendor.truncated", `<feed xmlns="http://www.w3.org/2005/Atom"></feed>`: "vendor.malformed", `{}`: "vendor.malformed", ``: "vendor.truncated",
		`<edmx:Edmx Version="1.0" xmlns:edmx="x"><edmx:DataServices/></edmx:Edmx>`: "vendor.malformed", `<!DOCTYPE html><html>Sign in</html>`: "vendor.login_page",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, body)
		}))
		s, err := sap.New(connector.Config{Name: "erp", System: sap.System, URL: server.URL, Tables: map[string]connector.Table{"orders": {Path: "O_SRV/Orders"}}}, connector.Deps{Client: server.Client()})
		require.NoError(t, err)
		_, err = s.Describe(t.Context(), "orders")
		require.Equal(t, code, fault.Of(err).Code, "%.60q", body)
		server.Close()
	}
	_, err := sap.New(connector.Config{Name: "erp", URL: "https://h", Options: map[string]string{"page": "0"}}, connector.Deps{Now: time.Now})
	require.Equal(t, "connector.option", fault.Of(err).Code)
}

func TestAnEmptyPageBehindALinkIsNotTheEndOfAFullRequest(t *testing.T) {
	t.Parallel()
	for _, paging := range []string{"key", "skip"} {
		b := newBundle(t, map[string]string{"paging": paging}, func(w http.ResponseWriter, r *http.Request) {
			switch q := r.URL.Query(); {
			case strings.Contains(q.Get("$filter"), "gt '2'"), q.Get("$skip") == "2":
				_, _ = io.WriteString(w, `{"d":{"results":[{"SalesOrder":"3"}]}}`)
			case q.Get("$skiptoken") != "":
				_, _ = io.WriteString(w, `{"d":{"results":[]}}`)
			default:
				_, _ = io.WriteString(w, `{"d":{"results":[{"SalesOrder":"1"},{"SalesOrder":"2"}],"__next":"Orders?$skiptoken=a|b"}}`)
			}
		})
		rows, n := everything(t, b.SAP, connector.Query{Table: "orders", Select: []string{"SalesOrder"}, Limit: 2})
		require.Len(t, rows, 3, paging)
		require.Equal(t, 3, n)
	}
}
