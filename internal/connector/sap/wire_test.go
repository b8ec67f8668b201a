package sap_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/sap"
	"patchbay/internal/fault"
	"patchbay/internal/wiretest"
)

const v4Root = "/sap/opu/odata4/sap/api_salesorder/srvd_a2x/sap/salesorder/0001/"

// serverOnly are exchanges that only stand-ins are held to: this connector refuses
// by itself what they ask, or asks it otherwise.
var serverOnly = map[string]bool{
	"sap/10-update-unconditional": true,
	"sap/11-no-token":             true,
	"sap/18-bad-property":         true,
	"sap/19-error-in-xml":         true,
	"sap/26-newer-error":          true,
}

// play is what a connector does, and the exchanges it takes, in order.
type play struct {
	exchanges []string
	options   map[string]string
	act       func(*testing.T, *sap.SAP)
}

func partner(number, name string) connector.Upsert {
	return connector.Upsert{Table: "partner", Key: []string{"BusinessPartner"}, Rows: []connector.Row{{"BusinessPartner": number, "OrganizationBPName1": name}}}
}

func written(u connector.Upsert) func(*testing.T, *sap.SAP) {
	return func(t *testing.T, s *sap.SAP) {
		t.Helper()
		results, err := s.Upsert(t.Context(), u)
		require.NoError(t, err)
		require.Equal(t, []connector.Result{{}}, results)
	}
}

func readBack(number string, want connector.Row) func(*testing.T, *sap.SAP) {
	return func(t *testing.T, s *sap.SAP) {
		t.Helper()
		rows, err := s.ReadByKey(t.Context(), "partner", []string{"BusinessPartner"}, []connector.Row{{"BusinessPartner": number}},
			[]string{"OrganizationBPName1", "BusinessPartnerIsBlocked", "BusinessPartnerUUID", "LastChangeDate", "LastChangeTime"})
		require.NoError(t, err)
		require.Equal(t, []connector.Row{want}, rows)
	}
}

func probed(class fault.Class, code string) func(*testing.T, *sap.SAP) {
	return func(t *testing.T, s *sap.SAP) {
		t.Helper()
		f := fault.Of(s.Probe(t.Context()))
		require.Equal(t, code, f.Code)
		require.Equal(t, class, f.Class)
	}
}

func pages(q connector.Query, want ...[]connector.Row) func(*testing.T, *sap.SAP) {
	return func(t *testing.T, s *sap.SAP) {
		t.Helper()
		token := ""
		for i, rows := range want {
			page, err := s.ReadPage(t.Context(), q, token)
			require.NoError(t, err)
			require.Equal(t, rows, page.Rows)
			if token = page.Next; token == "" {
				require.Len(t, want, i+1)
			}
		}
	}
}

var plays = map[string]play{
	"an entity by its key": {[]string{"01-metadata", "02-partner"}, nil, readBack("ACC-00001", connector.Row{
		"BusinessPartner": "ACC-00001", "OrganizationBPName1": "Alpenwerk Clinics SpA", "BusinessPartnerIsBlocked": false,
		"BusinessPartnerUUID": "00b10000-5eed-4000-8000-000000000001", "LastChangeDate": "2025-11-02", "LastChangeTime": "08:00:00"})},
	"a key that no row has": {[]string{"01-metadata", "03-no-partner"}, nil, readBack("NOBODY", nil)},
	"a change":              {[]string{"01-metadata", "05-version", "04-session", "06-update"}, nil, written(partner("ACC-00003", "Wire O'Neil"))},
	"a change of what changed in between": {[]string{"01-metadata", "05-version", "04-session", "07-update-stale", "08-version-again", "09-update-again"}, nil,
		written(partner("ACC-00003", "Wire O'Neil"))},
	"a creation": {[]string{"01-metadata", "12-missing", "04-session", "13-create"}, map[string]string{"client": "100", "create": "partner"}, written(partner("WIRE-1", "Wire Ltd"))},
	"a page": {[]string{"14-orders-metadata", "15-page"}, nil, pages(connector.Query{Table: "orders", Select: []string{"SalesOrder", "TotalNetAmount", "LastChangeDateTime"}, Limit: 2},
		[]connector.Row{{"SalesOrder": "1", "TotalNetAmount": json.Number("96246.50"), "LastChangeDateTime": "2025-11-03T04:44:16.469Z"},
			{"SalesOrder": "10", "TotalNetAmount": json.Number("65.10"), "LastChangeDateTime": "2025-11-03T04:44:16Z"}})},
	"rows since a watermark": {[]string{"14-orders-metadata", "16-since"}, nil,
		pages(connector.Query{Table: "orders", Select: []string{"SalesOrder"}, Since: &connector.Since{Column: "LastChangeDateTime", Value: "2030-01-01T00:00:00Z"}}, []connector.Row{})},
	"rows with their children": {[]string{"14-orders-metadata", "17-items"}, nil,
		pages(connector.Query{Table: "orders", Select: []string{"SalesOrder"}, Expand: map[string]string{"items": "items"}, Where: []connector.Match{{Column: "SalesOrder", Value: "1"}}},
			[]connector.Row{{"SalesOrder": "1", "items": []any{connector.Row{"Material": "LT10060", "NetAmount": json.Number("96246.50")}}}})},
	"the pages of a server that pages by itself": {[]string{"14-orders-metadata", "22-short-page", "23-linked-page"}, nil,
		pages(connector.Query{Table: "orders", Select: []string{"SalesOrder"}, Limit: 3}, []connector.Row{{"SalesOrder": "1"}, {"SalesOrder": "10"}}, []connector.Row{{"SalesOrder": "100"}})},
	"a page of V4": {[]string{"24-newer-metadata", "25-newer-page"}, nil,
		pages(connector.Query{Table: "newer", Select: []string{"SalesOrder", "SalesOrderDate", "TotalNetAmount", "LastChangeDateTime"}, Expand: map[string]string{"items": "items"}, Limit: 3},
			[]connector.Row{
				{"SalesOrder": "1", "SalesOrderDate": "2025-11-02", "TotalNetAmount": json.Number("96246.50"), "LastChangeDateTime": "2025-11-03T04:44:16.469Z", "items": []any{connector.Row{"Product": "LT10060"}}},
				{"SalesOrder": "10", "SalesOrderDate": "2025-11-03", "TotalNetAmount": json.Number("65.1"), "LastChangeDateTime": "2025-11-03T04:44:16Z", "items": []any{}}})},
	"a logon that fails": {[]string{"20-unauthorized"}, nil, probed(fault.Unauthorized, "sap.unauthorized")},
	"a limit":            {[]string{"21-throttled"}, nil, probed(fault.Throttled, "sap.throttled")},
}

func TestConnectorSendsWhatIsNotedAndReadsWhatIsAnswered(t *testing.T) {
	t.Parallel()
	exchanges, err := wiretest.Load("sap")
	require.NoError(t, err)
	byName := map[string]wiretest.Exchange{}
	untested := map[string]bool{}
	for _, x := range exchanges {
		byName[x.Name] = x
		untested[x.Name] = !serverOnly[x.Name]
	}
	for name, p := range plays {
		script := make([]wiretest.Exchange, len(p.exchanges))
		for i, x := range p.exchanges {
			var ok bool
			script[i], ok = byName["sap/"+x]
			require.True(t, ok, x)
			delete(untested, "sap/"+x)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p.act(t, playedBy(t, p.options, script...))
		})
	}
	for name, missing := range untested {
		require.False(t, missing, "%s has no test", name)
	}
}

// playedBy returns a connector whose system answers with the script, in order, and
// objects to every other request.
func playedBy(t *testing.T, options map[string]string, script ...wiretest.Exchange) *sap.SAP {
	t.Helper()
	if options == nil {
		options = map[string]string{"client": "100"}
	}
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
	v, err := sap.New(connector.Config{
		Name: "sap", System: sap.System, URL: s.URL + "/", Options: options,
		Auth: connector.Auth{Kind: "oauth2", TokenURL: s.URL + "/token", ClientID: "patchbay", ClientSecret: "s"},
		Tables: map[string]connector.Table{
			"partner": {Path: "API_BUSINESS_PARTNER/A_BusinessPartner"},
			"orders":  {Path: "API_SALES_ORDER_SRV/A_SalesOrder", Expand: map[string]string{"items": "to_Item($select=Material,NetAmount)"}},
			"newer":   {Path: v4Root + "SalesOrder", Expand: map[string]string{"items": "_Item($select=Product)"}},
		},
	}, connector.Deps{Client: s.Client()})
	require.NoError(t, err)
	t.Cleanup(func() { require.GreaterOrEqual(t, n, len(script), "every exchange of the script took place") })
	return v
}
