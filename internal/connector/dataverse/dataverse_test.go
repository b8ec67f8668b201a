package dataverse_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/dataverse"
	"patchbay/internal/fault"
)

type (
	// environment is a Dataverse that answers by a function and remembers what it
	// was asked.
	environment struct {
		server    *httptest.Server
		dataverse *dataverse.Dataverse
		mu        sync.Mutex
		asked     []asked
		answer    func(w http.ResponseWriter, a asked)
	}

	asked struct {
		method, path string
		query        url.Values
		body         string
		kind, prefer string
	}
)

func newEnvironment(t *testing.T, options map[string]string, answer func(w http.ResponseWriter, a asked)) *environment {
	t.Helper()
	e := &environment{answer: answer}
	e.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		a := asked{r.Method, strings.TrimPrefix(r.URL.Path, "/api/data/v9.2/"), r.URL.Query(), string(body), r.Header.Get("Content-Type"), r.Header.Get("Prefer")}
		e.mu.Lock()
		e.asked = append(e.asked, a)
		e.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		e.answer(w, a)
	}))
	t.Cleanup(e.server.Close)
	var err error
	e.dataverse, err = dataverse.New(connector.Config{Name: "crm", System: dataverse.System, URL: e.server.URL, Options: options,
		Tables: map[string]connector.Table{
			"msx_specification": specifications,
			"account": {Path: "accounts", Expand: map[string]string{
				"tasks": "Account_Tasks($select=subject)", "primary": "primarycontactid($select=fullname)"}},
		}}, connector.Deps{Client: e.server.Client()})
	require.NoError(t, err)
	return e
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":{"code":"%s","message":"canary"}}`, code)
}

func (e *environment) upsert(t *testing.T, rows ...connector.Row) ([]connector.Result, error) {
	t.Helper()
	return e.dataverse.Upsert(t.Context(), connector.Upsert{Table: "msx_specification", Key: key, Rows: rows})
}

func code(err error) string {
	if err == nil {
		return ""
	}
	return fault.Of(err).Code
}

func codes(results []connector.Result) []string {
	out := make([]string, len(results))
	for i, r := range results {
		out[i] = code(r.Err)
	}
	return out
}

func many(n int) []connector.Row {
	rows := make([]connector.Row, n)
	for i := range rows {
		rows[i] = spec(fmt.Sprintf("A%d", i), connector.Row{"msx_value": "v"})
	}
	return rows
}

func TestARefusedBulkCallIsRepeatedRowByRow(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, nil, func(w http.ResponseWriter, a asked) {
		switch {
		case a.method == http.MethodPost:
			refuse(w, http.StatusBadRequest, "0x80044331")
		case strings.Contains(a.path, "'A3'"):
			refuse(w, http.StatusBadRequest, "0x80044331")
		case strings.Contains(a.path, "'A7'"):
			refuse(w, http.StatusPreconditionFailed, "0x80060892")
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	})
	results, err := e.upsert(t, many(30)...)
	require.NoError(t, err)
	want := make([]string, 30)
	want[3], want[7] = "dataverse.too_long", "dataverse.duplicate_key"
	require.Equal(t, want, codes(results))
	require.Len(t, e.asked, 31)
}

func TestATableWithoutUpsertMultipleOrBatchIsWrittenRowByRow(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, nil, func(w http.ResponseWriter, a asked) {
		if a.method == http.MethodPost {
			refuse(w, http.StatusNotFound, "")
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	results, err := e.upsert(t, many(3)...)
	require.NoError(t, err)
	require.Equal(t, []string{"", "", ""}, codes(results))
}

func TestKeysThatDataverseCannotAddressAreRefusedForTheirRowsAlone(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, nil, func(w http.ResponseWriter, _ asked) { w.WriteHeader(http.StatusNoContent) })
	results, err := e.upsert(t, spec("Weight", nil), spec("in/out", nil), spec("a+b", nil), spec("Größe (außen), 50 ’x’", nil),
		connector.Row{"msx_productnumber": "P"}, spec("x", connector.Row{"bad name": 1}), connector.Row{"msx_productnumber": []any{}, "msx_attribute": "x"})
	require.NoError(t, err)
	require.Equal(t, []string{"", "dataverse.key_characters", "dataverse.key_characters", "",
		"dataverse.key_missing", "connector.unknown_column", "connector.value"}, codes(results))
	require.Len(t, e.asked, 1)
	var sent struct{ Targets []map[string]any }
	require.NoError(t, json.Unmarshal([]byte(e.asked[0].body), &sent))
	require.Len(t, sent.Targets, 2)
	at, err := url.PathUnescape(sent.Targets[1]["@odata.id"].(string))
	require.NoError(t, err)
	require.Equal(t, "msx_specifications(msx_productnumber='WIRE-1',msx_attribute='Größe (außen), 50 ’x’')", at)
}

// A worker that was frozen between two requests of one write, and was given up
// meanwhile, sends none of the rest: neither of its chunks nor row by row.
func TestAWriterThatMayNotSendAnyMoreSendsNoFurtherRequest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, a asked)
		asked  int // requests before the worker was away
		first  string
	}{
		"between two chunks": {func(w http.ResponseWriter, _ asked) { w.WriteHeader(http.StatusNoContent) }, 1, ""},
		"row by row": {func(w http.ResponseWriter, a asked) {
			if a.method == http.MethodPost {
				refuse(w, http.StatusBadRequest, "0x80044331")
				return
			}
			t.Error("a row was sent")
		}, 1, "worker.frozen"},
	} {
		var away atomic.Bool
		e := newEnvironment(t, map[string]string{"bulk": "10"}, func(w http.ResponseWriter, a asked) {
			c.answer(w, a)
			away.Store(true)
		})
		results, err := e.dataverse.Upsert(t.Context(), connector.Upsert{Table: "msx_specification", Key: key, Rows: many(30), Held: func() error {
			if away.Load() {
				return fault.New(fault.Unavailable, "worker.frozen", "its worker stood still for a while", nil)
			}
			return nil
		}})
		require.Len(t, e.asked, c.asked, name)
		if c.first != "" { // no row has an outcome of its own
			require.Equal(t, c.first, code(err), name)
			continue
		}
		require.NoError(t, err, name)
		for i, got := range codes(results) {
			want := "dataverse.not_sent"
			switch {
			case i < 10:
				want = ""
			case i < 20:
				want = "worker.frozen"
			}
			require.Equal(t, want, got, "%s: row %d", name, i)
		}
	}
}

func TestAfterAFailureOfTheConnectionNoFurtherRowIsSent(t *testing.T) {
	t.Parallel()
	n := 0
	e := newEnvironment(t, map[string]string{"bulk": "10", "tag": ""}, func(w http.ResponseWriter, a asked) {
		require.NotContains(t, a.query, "tag")
		if n++; n == 2 {
			w.Header().Set("Retry-After", "30")
			refuse(w, http.StatusTooManyRequests, "0x80072321")
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	results, err := e.upsert(t, many(25)...)
	require.NoError(t, err, "the first ten have an outcome")
	require.NoError(t, results[9].Err)
	require.Equal(t, "dataverse.time_limit", code(results[10].Err))
	require.Equal(t, "dataverse.not_sent", code(results[24].Err))
	require.Equal(t, 30*time.Second, fault.Of(results[24].Err).After, "what stayed behind may come when the rest may")
	require.Len(t, e.asked, 2)

	_, err = e.upsert(t, many(25)...)
	require.Equal(t, "connector.silent", code(err), "nothing was sent and no row has an outcome")
}

func TestATableThatIsNotThereIsNoMatterOfRows(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, nil, func(w http.ResponseWriter, _ asked) { refuse(w, http.StatusNotFound, "0x8006088a") })
	for _, n := range []int{1, 2} {
		_, err := e.upsert(t, many(n)...)
		require.Equal(t, "dataverse.unknown_resource", code(err))
	}
	require.Len(t, e.asked, 2)
}

func TestKeysAndValuesTravelApartAndKeepTheirTypes(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, map[string]string{"tag": "a b&c"}, func(w http.ResponseWriter, _ asked) { w.WriteHeader(http.StatusNoContent) })
	guid := "0a0b0c0d-1111-2222-3333-444455556666"
	_, err := e.dataverse.Upsert(t.Context(), connector.Upsert{Table: "account", Key: []string{"_parent_value", "number", "code"}, Rows: []connector.Row{
		{"_parent_value": guid, "number": json.Number("7"), "code": guid, "price": json.Number("0.10"), "primarycontactid@odata.bind": "/contacts(1)", "gone": nil}}})
	require.NoError(t, err)
	require.Equal(t, http.MethodPatch, e.asked[0].method)
	require.Equal(t, "accounts(_parent_value="+guid+",number=7,code='"+guid+"')", e.asked[0].path)
	require.JSONEq(t, `{"gone":null,"price":0.10,"primarycontactid@odata.bind":"/contacts(1)"}`, e.asked[0].body)
	require.Contains(t, e.asked[0].body, "0.10", "a decimal is sent as it was read")
	require.Equal(t, "a b&c", e.asked[0].query.Get("tag"))
}

func TestRowsAreReadBackByKeyInTheOrderOfTheKeys(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, nil, batching(t, func(w http.ResponseWriter, a asked) {
		rows := []connector.Row{}
		for i := 44; i >= 0; i-- {
			if name := fmt.Sprintf("a%d", i); i != 5 && strings.Contains(a.query.Get("$filter"), "'A"+name[1:]+"'") {
				rows = append(rows, spec(name, connector.Row{"msx_value": fmt.Sprint(i), "msx_specificationid": "x", "@odata.etag": "1"}))
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"value": rows})
	}))
	keys := many(45)
	rows, err := e.dataverse.ReadByKey(t.Context(), "msx_specification", key, keys, []string{"msx_value", "msx_attribute"})
	require.NoError(t, err)
	require.Len(t, rows, 45)
	for i, row := range rows {
		if i == 5 {
			require.Nil(t, row)
			continue
		}
		require.Equal(t, spec(fmt.Sprintf("a%d", i), connector.Row{"msx_value": fmt.Sprint(i)}), row, "Dataverse compares text without case")
	}
	require.Len(t, e.asked, 1)
	require.Equal(t, 3, strings.Count(e.asked[0].body, "GET "), "twenty keys a read, the reads in one $batch")

	_, err = e.dataverse.ReadByKey(t.Context(), "msx_specification", key, []connector.Row{spec("in/out", nil)}, nil)
	require.NoError(t, err)
	require.Equal(t, "(msx_productnumber eq 'WIRE-1' and msx_attribute eq 'in/out')", e.asked[1].query.Get("$filter"),
		"what cannot be addressed can be filtered by")
	rows, err = e.dataverse.ReadByKey(t.Context(), "msx_specification", key, nil, nil)
	require.NoError(t, err)
	require.Empty(t, rows)
	_, err = e.dataverse.ReadByKey(t.Context(), "msx_specification", nil, keys, nil)
	require.Equal(t, "connector.key", code(err))
}

func TestALongKeyListIsSplitByTheLengthOfTheAddress(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, nil, batching(t, func(w http.ResponseWriter, a asked) {
		require.Less(t, len(a.query.Encode()), 10_000)
		_, _ = w.Write([]byte(`{"value":[]}`))
	}))
	keys := make([]connector.Row, 20)
	for i := range keys {
		keys[i] = spec(strings.Repeat("ö", 150)+fmt.Sprint(i), nil)
	}
	rows, err := e.dataverse.ReadByKey(t.Context(), "msx_specification", key, keys, nil)
	require.NoError(t, err)
	require.Equal(t, make([]connector.Row, 20), rows)
	require.Greater(t, strings.Count(e.asked[0].body, "GET "), 1)
}

func TestExpandedChildrenAreCompleteAndFreeOfAnnotations(t *testing.T) {
	t.Parallel()
	var e *environment
	e = newEnvironment(t, nil, func(w http.ResponseWriter, a asked) {
		if a.query.Has("$skiptoken") {
			_, _ = w.Write([]byte(`{"value":[{"@odata.etag":"3","subject":"c"}]}`))
			return
		}
		fmt.Fprintf(w, `{"value":[{"accountid":"1","name":"Acme","primarycontactid":{"@odata.etag":"1","fullname":"N"},
			"Account_Tasks":[{"@odata.etag":"2","subject":"a"},{"subject":"b"}],"Account_Tasks@odata.nextLink":"%s/api/data/v9.2/accounts(1)/Account_Tasks?$skiptoken=x"},
			{"name":"Bare","primarycontactid":null,"Account_Tasks":[]}]}`, e.server.URL)
	})
	q := connector.Query{Table: "account", Select: []string{"name"}, Expand: map[string]string{"todo": "tasks", "contact": "primary"}}
	page, err := e.dataverse.ReadPage(t.Context(), q, "")
	require.NoError(t, err)
	require.Equal(t, []connector.Row{
		{"name": "Acme", "contact": connector.Row{"fullname": "N"}, "todo": []any{connector.Row{"subject": "a"}, connector.Row{"subject": "b"}, connector.Row{"subject": "c"}}},
		{"name": "Bare", "contact": nil, "todo": []any{}},
	}, page.Rows)
	require.Equal(t, "primarycontactid($select=fullname),Account_Tasks($select=subject)", e.asked[0].query.Get("$expand"))

	q.Expand = map[string]string{"all": "Account_Tasks"}
	_, err = e.dataverse.ReadPage(t.Context(), q, "")
	require.Equal(t, "connector.expand", code(err), "an expand without columns would bring all")
}

func TestErrorCodesDecideTheClass(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		code   string
		class  fault.Class
		want   string
	}{
		{404, "0x80040217", fault.NotFound, "not_found"},
		{404, "0x80060891", fault.NotFound, "not_found"},
		{404, "0x8006088A", fault.Rejected, "unknown_resource"},
		{404, "", fault.Rejected, "unknown_operation"},
		{412, "0x80040237", fault.Conflict, "duplicate_key"},
		{412, "0x80060892", fault.Conflict, "duplicate_key"},
		{412, "0x80060882", fault.Conflict, "version_differs"},
		{412, "0x80040333", fault.Conflict, "duplicate_detected"},
		{500, "0x80040333", fault.Conflict, "duplicate_detected"},
		{400, "0x0", fault.Rejected, "bad_request"},
		{400, "0x80048d19", fault.Rejected, "bad_payload"},
		{400, "0x80044331", fault.Rejected, "too_long"},
		{400, "0x80040265", fault.Rejected, "plugin_refused"},
		{403, "0x80040220", fault.Unauthorized, "no_privilege"},
		{403, "0x80048306", fault.Unauthorized, "no_privilege"},
		{403, "0x80072560", fault.Unauthorized, "not_a_member"},
		{403, "0x12345678", fault.Unauthorized, "forbidden"},
		{429, "0x80072322", fault.Throttled, "request_limit"},
		{429, "0x80072321", fault.Throttled, "time_limit"},
		{429, "0x80072326", fault.Throttled, "concurrency_limit"},
		{429, "0x0", fault.Throttled, "throttled"},
		{500, "0x80044150", fault.Unavailable, "sql_error"},
		{500, "0x80044151", fault.Unavailable, "sql_timeout"},
		{503, "0x0", fault.Unavailable, "unavailable"},
		{405, "0x0", fault.Rejected, "bad_request"},
		{400, "0xcanary<script>", fault.Rejected, "bad_request"},
	} {
		e := newEnvironment(t, nil, func(w http.ResponseWriter, _ asked) { refuse(w, c.status, c.code) })
		f := fault.Of(e.dataverse.Probe(t.Context()))
		require.Equal(t, "dataverse."+c.want, f.Code, "%+v", c)
		require.Equal(t, c.class, f.Class, "%+v", c)
		require.NotContains(t, f.Text, "canary")
	}
}

func TestWrongOptionsAreRefused(t *testing.T) {
	t.Parallel()
	for _, bulk := range []string{"0", "1001", "many"} {
		_, err := dataverse.New(connector.Config{Name: "crm", URL: "http://x", Options: map[string]string{"bulk": bulk}}, connector.Deps{})
		require.Equal(t, "connector.option", code(err))
	}
}
