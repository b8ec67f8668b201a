package dataverse_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"patchbay/internal/connector"
	"patchbay/internal/connector/dataverse"
	"patchbay/internal/fault"
	"patchbay/internal/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var specifications = connector.Table{
	Name: "msx_specification", Path: "msx_specifications",
	Keys: [][]string{{"msx_productnumber", "msx_attribute"}},
}

var key = []string{"msx_productnumber", "msx_attribute"}

func spec(attribute string, values connector.Row) connector.Row {
	row := connector.Row{"msx_productnumber": "WIRE-1", "msx_attribute": attribute}
	for column, value := range values {
		row[column] = value
	}
	return row
}

// serverOnly are exchanges that only stand-ins are held to: this connector never
// asks for the row back and knows no versions.
var serverOnly = map[string]bool{
	"dataverse/03-upsert-creates":  true,
	"dataverse/04-upsert-updates":  true,
	"dataverse/13-version-differs": true,
	"dataverse/14-exists-already":  true,
	"dataverse/19-change":          true,
	"dataverse/20-delete":          true,
	"dataverse/34-batch-stops":     true, // it always asks to go on
	"dataverse/44-lookups":         true, // see TestALookupIsWrittenByThePropertyOfItsTable
}

func TestConnectorSendsWhatIsNotedAndReadsWhatIsAnswered(t *testing.T) {
	t.Parallel()
	type act = func(*testing.T, *dataverse.Dataverse)
	upsert := func(rows ...connector.Row) act {
		return func(t *testing.T, v *dataverse.Dataverse) {
			t.Helper()
			results, err := v.Upsert(t.Context(), connector.Upsert{Table: "msx_specification", Key: key, Rows: rows})
			require.NoError(t, err)
			require.Equal(t, make([]connector.Result, len(rows)), results)
		}
	}
	refused := func(code string, row connector.Row) act {
		return func(t *testing.T, v *dataverse.Dataverse) {
			t.Helper()
			results, err := v.Upsert(t.Context(), connector.Upsert{Table: "msx_specification", Key: key, Rows: []connector.Row{row}})
			require.NoError(t, err, "the row has an outcome of its own")
			require.Equal(t, code, fault.Of(results[0].Err).Code)
			require.Equal(t, fault.Rejected, fault.Of(results[0].Err).Class)
		}
	}
	fails := func(class fault.Class, code string) act {
		return func(t *testing.T, v *dataverse.Dataverse) {
			t.Helper()
			f := fault.Of(v.Probe(t.Context()))
			require.Equal(t, code, f.Code)
			require.Equal(t, class, f.Class)
		}
	}
	values := func(of ...string) []connector.Row {
		rows := []connector.Row{}
		for _, v := range of {
			rows = append(rows, connector.Row{"msx_value": v})
		}
		return rows
	}
	ofProduct := connector.Query{Table: "msx_specification", Where: []connector.Match{{Column: "msx_productnumber", Value: "WIRE-1"}}, Select: []string{"msx_value"}}
	acts := map[string]act{
		"dataverse/01-who-am-i": func(t *testing.T, v *dataverse.Dataverse) {
			t.Helper()
			require.NoError(t, v.Probe(t.Context()))
		},
		"dataverse/02-key-not-found": func(t *testing.T, v *dataverse.Dataverse) {
			t.Helper()
			rows, err := v.ReadByKey(t.Context(), "msx_specification", key, []connector.Row{spec("Weight", nil)}, []string{"msx_value"})
			require.NoError(t, err)
			require.Equal(t, []connector.Row{nil}, rows)
		},
		"dataverse/05-upsert": upsert(spec("Weight", connector.Row{"msx_value": "1.6", "msx_unit": nil})),
		"dataverse/06-upsert-multiple": upsert(
			spec("Weight", connector.Row{"msx_value": "1.7"}),
			spec("Battery life", connector.Row{"msx_value": "11", "msx_unit": "h"}),
			spec("Operator's colour", connector.Row{"msx_value": "grey"})),
		"dataverse/07-row-by-key": func(t *testing.T, v *dataverse.Dataverse) {
			t.Helper()
			rows, err := v.ReadByKey(t.Context(), "msx_specification", key, []connector.Row{spec("Operator's colour", nil)}, []string{"msx_value", "msx_unit"})
			require.NoError(t, err)
			require.Equal(t, []connector.Row{spec("Operator's colour", connector.Row{"msx_value": "grey", "msx_unit": nil})}, rows)
		},
		"dataverse/08-select-filter": func(t *testing.T, v *dataverse.Dataverse) {
			t.Helper()
			q := ofProduct
			q.Where = append(q.Where[:1:1], connector.Match{Column: "msx_attribute", Value: "Operator's colour"})
			page, err := v.ReadPage(t.Context(), q, "")
			require.NoError(t, err)
			require.Equal(t, connector.Page{Rows: values("grey")}, page)
		},
		"dataverse/09-page-one": func(t *testing.T, v *dataverse.Dataverse) {
			t.Helper()
			q := ofProduct
			q.Limit = 2
			page, err := v.ReadPage(t.Context(), q, "")
			require.NoError(t, err)
			require.Equal(t, values("1.7", "11"), page.Rows)
			page, err = v.ReadPage(t.Context(), q, page.Next)
			require.NoError(t, err)
			require.Equal(t, connector.Page{Rows: values("grey")}, page)
		},
		"dataverse/11-unknown-property": refused("dataverse.bad_payload", spec("Weight", connector.Row{"msx_nosuchcolumn": "1"})),
		"dataverse/12-too-long":         refused("dataverse.too_long", spec("Weight", connector.Row{"msx_unit": strings.Repeat("x", 51)})),
		"dataverse/15-unknown-set": func(t *testing.T, v *dataverse.Dataverse) {
			t.Helper()
			_, err := v.ReadPage(t.Context(), connector.Query{Table: "misspelt", Select: []string{"msx_value"}}, "")
			require.Equal(t, "dataverse.unknown_resource", fault.Of(err).Code)
		},
		"dataverse/16-unauthorized": fails(fault.Unauthorized, "dataverse.unauthorized"),
		"dataverse/17-throttled":    fails(fault.Throttled, "dataverse.request_limit"),
		"dataverse/18-changes-first": func(t *testing.T, v *dataverse.Dataverse) {
			t.Helper()
			first, err := v.ReadChanges(t.Context(), "msx_specification", []string{"msx_value"}, "")
			require.NoError(t, err)
			require.Len(t, first.Rows, 1)
			require.False(t, first.More)
			next, err := v.ReadChanges(t.Context(), "msx_specification", []string{"msx_value"}, first.Cursor)
			require.NoError(t, err)
			require.Equal(t, []connector.Row{{"msx_value": "1.8", "msx_specificationid": "00000000-0000-4000-8000-000000000001"}}, next.Rows)
			require.Equal(t, []string{"2e450000-0000-4000-8000-000000000001"}, next.Deleted)
			_, err = v.ReadChanges(t.Context(), "msx_specification", []string{"msx_value"}, first.Cursor)
			require.Equal(t, "connector.cursor_expired", fault.Of(err).Code)
			require.Equal(t, fault.Conflict, fault.Of(err).Class)
		},
		"dataverse/23-endpoint-missing": func(t *testing.T, v *dataverse.Dataverse) {
			t.Helper()
			require.NoError(t, v.Subscribe(t.Context(), "http://127.0.0.1:9/v1/hooks/cases", []connector.Subscription{
				{Table: "incident", Changes: []string{"update"}, Select: []string{"statuscode", "_customerid_value"}, Columns: []string{"title", "statuscode", "_customerid_value"}}}))
		},
	}
	products := func(names ...string) []connector.Row {
		rows := make([]connector.Row, len(names))
		for i, name := range names {
			rows[i] = connector.Row{"productnumber": fmt.Sprintf("WIRE-%d", i+1), "name": name}
		}
		return rows
	}
	acts["dataverse/32-no-bulk"] = func(t *testing.T, v *dataverse.Dataverse) {
		t.Helper()
		results, err := v.Upsert(t.Context(), connector.Upsert{Table: "product", Key: []string{"productnumber"}, Rows: products("One", strings.Repeat("x", 101))})
		require.NoError(t, err)
		require.NoError(t, results[0].Err)
		require.Equal(t, "dataverse.too_long", fault.Of(results[1].Err).Code)
	}
	acts["dataverse/35-change-sets"] = func(t *testing.T, v *dataverse.Dataverse) {
		t.Helper()
		sheet, err := connector.SheetOf([]string{"productnumber", "name"}, products("One", "Two"))
		require.NoError(t, err)
		refusals, err := v.Load(t.Context(), connector.Load{Table: "product", Key: []string{"productnumber"}, Sheet: sheet})
		require.NoError(t, err)
		require.Empty(t, refusals)
	}
	acts["dataverse/36-definition"] = func(t *testing.T, v *dataverse.Dataverse) {
		t.Helper()
		got, err := v.Describe(t.Context(), "msx_specification")
		require.NoError(t, err)
		require.Equal(t, connector.Description{Keys: [][]string{{"msx_specificationid"}, {"msx_productnumber", "msx_attribute"}}, Columns: []connector.Described{
			{Name: "msx_specificationid", Type: "string", Nullable: true}, {Name: "msx_name", Type: "string", Nullable: true, Length: 300}}}, got)
	}
	weight := []connector.Row{spec("Weight", nil)}
	acts["dataverse/40-versions"] = func(t *testing.T, v *dataverse.Dataverse) {
		t.Helper()
		now, err := v.ReadVersions(t.Context(), "msx_specification", key, weight, []string{"msx_value"})
		require.NoError(t, err)
		require.Equal(t, []connector.VersionedRow{{Row: spec("Weight", connector.Row{"msx_value": "1.8"}), Version: `W/"919058"`, At: time.Date(2017, 8, 22, 8, 11, 0, 0, time.UTC)}}, now)
		results, err := v.UpsertAt(t.Context(), connector.Upsert{Table: "msx_specification", Key: key, Rows: []connector.Row{
			spec("Weight", connector.Row{"msx_value": "1.9"}), spec("Weight", connector.Row{"msx_value": "2.0"}), spec("Operator's colour", connector.Row{"msx_value": "red"})}},
			[]string{now[0].Version, `W/"1"`, ""})
		require.NoError(t, err)
		require.NoError(t, results[0].Err)
		for _, r := range results[1:] {
			require.Equal(t, "connector.version", fault.Of(r.Err).Code)
			require.Equal(t, fault.Conflict, fault.Of(r.Err).Class)
		}
	}
	acts["dataverse/42-delete-by-version"] = func(t *testing.T, v *dataverse.Dataverse) {
		t.Helper()
		results, err := v.DeleteAt(t.Context(), connector.Delete{Table: "msx_specification", Key: key, Keys: []connector.Row{spec("Weight", nil), spec("Nowhere", nil)}}, []string{`W/"1"`, `W/"1"`})
		require.NoError(t, err)
		require.Equal(t, "connector.version", fault.Of(results[0].Err).Code)
		require.NoError(t, results[1].Err, "it is gone")
	}
	acts["dataverse/43-identities"] = func(t *testing.T, v *dataverse.Dataverse) {
		t.Helper()
		list, err := v.Identities(t.Context(), "msx_specification")
		require.NoError(t, err)
		require.Equal(t, []connector.Identity{{Column: "msx_specificationid", ID: "aaaaaaaa-0000-4000-8000-000000000001", Type: "string"}, {Column: "msx_name", ID: "aaaaaaaa-0000-4000-8000-000000000002", Type: "string"}}, list)
	}
	options := map[string]map[string]string{"dataverse/35-change-sets": {"batch": "product", "batch_form": "change-sets"}}
	// One act may take several exchanges.
	followedBy := map[string][]string{
		"dataverse/32-no-bulk":       {"dataverse/33-batch"},
		"dataverse/36-definition":    {"dataverse/37-texts", "dataverse/38-long-texts", "dataverse/39-dates"},
		"dataverse/09-page-one":      {"dataverse/10-page-two"},
		"dataverse/18-changes-first": {"dataverse/21-changes-next", "dataverse/22-changes-expired"},
		"dataverse/23-endpoint-missing": {"dataverse/24-endpoint", "dataverse/25-message", "dataverse/26-filter", "dataverse/27-step-missing", "dataverse/28-step",
			"dataverse/29-image-missing", "dataverse/30-image", "dataverse/31-steps"},
		"dataverse/40-versions":   {"dataverse/37-texts", "dataverse/38-long-texts", "dataverse/39-dates", "dataverse/41-write-by-version"},
		"dataverse/43-identities": {"dataverse/39-dates"},
	}

	exchanges, err := wiretest.Load("dataverse")
	require.NoError(t, err)
	byName := map[string]wiretest.Exchange{}
	for _, x := range exchanges {
		byName[x.Name] = x
	}
	later := map[string]bool{}
	for _, names := range followedBy {
		for _, name := range names {
			later[name] = true
		}
	}
	require.Len(t, exchanges, len(acts)+len(serverOnly)+len(later), "every noted exchange has its test")
	for name, act := range acts {
		x, ok := byName[name]
		require.True(t, ok, name)
		script := []wiretest.Exchange{x}
		for _, next := range followedBy[name] {
			script = append(script, byName[next])
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			act(t, playedWith(t, options[name], script...))
		})
	}
}

// playedBy returns a connector whose system answers with the script, in order,
// and objects to every other request.
func playedBy(t *testing.T, script ...wiretest.Exchange) *dataverse.Dataverse {
	t.Helper()
	return playedWith(t, nil, script...)
}

func playedWith(t *testing.T, options map[string]string, script ...wiretest.Exchange) *dataverse.Dataverse {
	t.Helper()
	vars := wiretest.Vars{"token": "noted"}
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			token := "noted"
			if script[0].Sent.Header.Get("Authorization") == "Bearer not-a-token" {
				token = "not-a-token"
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"token_type": "Bearer", "expires_in": 3599, "access_token": token})
			return
		}
		x := script[min(n, len(script)-1)]
		n++
		body, _ := io.ReadAll(r.Body)
		for _, wrong := range x.CheckRequest(r, body, vars) {
			t.Errorf("%s: %s", x.Name, wrong)
		}
		if err := x.Answer(w, vars); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	vars["base"] = s.URL
	v, err := dataverse.New(connector.Config{
		Name: "dataverse", System: dataverse.System, URL: s.URL + "/", Options: options,
		Auth: connector.Auth{Kind: "oauth2", TokenURL: s.URL + "/token", ClientID: "patchbay", ClientSecret: "s"},
		Hook: connector.Hook{Scheme: "header", Name: "x-key", Secrets: []string{"wire-secret"}},
		Tables: map[string]connector.Table{
			"incident":          {Path: "incidents", Columns: []string{"title", "statuscode", "_customerid_value", "followupby"}},
			"msx_specification": specifications,
			"product":           {Path: "products"},
			"misspelt":          {Path: "Msx_Specifications"},
		},
	}, connector.Deps{Client: s.Client()})
	require.NoError(t, err)
	return v
}

func TestConnectorReadsTheNotedWebhook(t *testing.T) {
	t.Parallel()
	exchanges, err := wiretest.Load("dataverse-webhook")
	require.NoError(t, err)
	require.Len(t, exchanges, 1)
	const id = "00a20000-5eed-4000-8000-000000000001"
	r, err := exchanges[0].NewRequest(wiretest.Vars{"base": "http://127.0.0.1:9", "id": id})
	require.NoError(t, err)
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	d := connector.Delivery{Header: r.Header, Query: r.URL.Query(), Body: body}
	v := playedBy(t)
	require.True(t, v.Recognises(d))
	events, err := v.Receive(t.Context(), d)
	require.NoError(t, err)
	account := "00a00000-5eed-4000-8000-000000000001"
	require.Equal(t, []connector.Event{{
		ID: "Update incident(" + id + ") 5f0a7c4e-0000-4000-8000-000000000002", Table: "incident", Record: id, Change: "update", Version: 20003,
		At:     time.UnixMilli(1767225600000).UTC(),
		After:  connector.Row{"incidentid": id, "title": "Wire", "_customerid_value": account, "statuscode": json.Number("3"), "followupby": nil, "versionnumber": json.Number("20003")},
		Before: connector.Row{"incidentid": id, "title": "Wire", "_customerid_value": account, "statuscode": json.Number("1"), "followupby": nil, "versionnumber": json.Number("20001")},
		Whole:  true, Sent: []string{"_modifiedby_value", "followupby", "modifiedon", "statuscode"}, Origin: "engine",
	}}, events)
}

func TestALookupIsWrittenByThePropertyOfItsTable(t *testing.T) {
	t.Parallel()
	exchanges, err := wiretest.Load("dataverse")
	require.NoError(t, err)
	i := slices.IndexFunc(exchanges, func(x wiretest.Exchange) bool { return x.Name == "dataverse/44-lookups" })
	require.NotEqual(t, -1, i)
	vars := wiretest.Vars{"token": "noted"}
	var written []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case strings.HasSuffix(r.URL.Path, "/ManyToOneRelationships"):
			r.Header.Set("Authorization", "Bearer noted") // this connection has none
			for _, wrong := range exchanges[i].CheckRequest(r, body, vars) {
				t.Error(wrong)
			}
			if err := exchanges[i].Answer(w, vars); err != nil {
				t.Error(err)
			}
		case strings.Contains(r.URL.Path, "EntityDefinitions"):
			describesNothing(w, r)
		default:
			written = append(written, string(body))
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	t.Cleanup(s.Close)
	vars["base"] = s.URL
	v, err := dataverse.New(connector.Config{Name: "crm", System: dataverse.System, URL: s.URL, Tables: map[string]connector.Table{
		"incident": {Path: "incidents", Refers: map[string]string{"customerid": "account"}}, "account": {Path: "accounts"},
	}}, connector.Deps{Client: s.Client()})
	require.NoError(t, err)
	const id = "00a00000-5eed-4000-8000-000000000001"
	for _, value := range []any{id, nil} {
		results, err := v.Upsert(t.Context(), connector.Upsert{Table: "incident", Key: []string{"ticketnumber"}, Rows: []connector.Row{{"ticketnumber": "1", "customerid": value}}})
		require.NoError(t, err)
		require.NoError(t, results[0].Err)
	}
	sheet, err := connector.SheetOf([]string{"ticketnumber", "customerid", "title"}, []connector.Row{{"ticketnumber": "1", "customerid": id, "title": "A"}})
	require.NoError(t, err)
	refusals, err := v.Load(t.Context(), connector.Load{Table: "incident", Key: []string{"ticketnumber"}, Sheet: sheet})
	require.NoError(t, err)
	require.Empty(t, refusals)
	require.Equal(t, []string{`{"customerid_account@odata.bind":"/accounts(` + id + `)"}`, `{"customerid_account@odata.bind":null}`,
		`{"customerid_account@odata.bind":"/accounts(` + id + `)","title":"A"}`}, written)
}
