package dataverse_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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
	}
	// One act may take several exchanges.
	followedBy := map[string]string{"dataverse/09-page-one": "dataverse/10-page-two"}

	exchanges, err := wiretest.Load("dataverse")
	require.NoError(t, err)
	byName := map[string]wiretest.Exchange{}
	for _, x := range exchanges {
		byName[x.Name] = x
	}
	require.Len(t, exchanges, len(acts)+len(serverOnly)+len(followedBy), "every noted exchange has its test")
	for name, act := range acts {
		x, ok := byName[name]
		require.True(t, ok, name)
		script := []wiretest.Exchange{x}
		if next, ok := followedBy[name]; ok {
			script = append(script, byName[next])
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			act(t, playedBy(t, script...))
		})
	}
}

// playedBy returns a connector whose system answers with the script, in order,
// and objects to every other request.
func playedBy(t *testing.T, script ...wiretest.Exchange) *dataverse.Dataverse {
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
		Name: "dataverse", System: dataverse.System, URL: s.URL + "/",
		Auth: connector.Auth{Kind: "oauth2", TokenURL: s.URL + "/token", ClientID: "patchbay", ClientSecret: "s"},
		Tables: map[string]connector.Table{
			"msx_specification": specifications,
			"misspelt":          {Path: "Msx_Specifications"},
		},
	}, connector.Deps{Client: s.Client()})
	require.NoError(t, err)
	return v
}
