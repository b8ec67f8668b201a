package oracle_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"patchbay/internal/connector"
	"patchbay/internal/connector/oracle"
	"patchbay/internal/fault"
	"patchbay/internal/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serverOnly are exchanges that only stand-ins are held to: this connector never
// sends them.
var serverOnly = map[string]bool{
	"oracle/02-item-with-links":        true,
	"oracle/06-categories-of-item":     true,
	"oracle/07-specifications-by-page": true,
	"oracle/08-version-one-arrays":     true,
	"oracle/11-error-in-text":          true,
	"oracle/12-no-such-id":             true,
}

func TestConnectorSendsWhatIsNotedAndReadsWhatIsAnswered(t *testing.T) {
	t.Parallel()
	byNumber := connector.Query{Table: "items", Where: []connector.Match{{Column: "ItemNumber", Value: "AS54888"}}}
	with := func(change func(*connector.Query)) connector.Query {
		q := byNumber
		change(&q)
		return q
	}
	one := with(func(q *connector.Query) { q.Select = []string{"ItemNumber"} })
	read := func(q connector.Query, token string, want connector.Page) func(*testing.T, *oracle.Oracle) {
		return func(t *testing.T, o *oracle.Oracle) {
			t.Helper()
			got, err := o.ReadPage(t.Context(), q, token)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	}
	fails := func(q connector.Query, class fault.Class, code string) func(*testing.T, *oracle.Oracle) {
		return func(t *testing.T, o *oracle.Oracle) {
			t.Helper()
			_, err := o.ReadPage(t.Context(), q, "")
			require.Equal(t, class, fault.Of(err).Class, err)
			require.Equal(t, code, fault.Of(err).Code)
		}
	}
	paged := connector.Query{Table: "items", Select: []string{"ItemNumber"}, Limit: 2}
	acts := map[string]func(*testing.T, *oracle.Oracle){
		"oracle/01-item-by-number": read(with(func(q *connector.Query) { q.Select = []string{"ItemNumber", "ItemDescription"} }), "",
			connector.Page{Rows: []connector.Row{{"ItemNumber": "AS54888", "ItemDescription": "Laptop"}}}),
		"oracle/03-page-one": read(paged, "", connector.Page{Rows: []connector.Row{{"ItemNumber": "A-0001"}, {"ItemNumber": "A-0002"}}, Next: "2"}),
		"oracle/04-page-two": read(paged, "2", connector.Page{Rows: []connector.Row{{"ItemNumber": "A-0003"}, {"ItemNumber": "A-0004"}}}),
		"oracle/05-item-with-specifications": read(with(func(q *connector.Query) {
			q.Select = []string{"ItemNumber"}
			q.Expand = map[string]string{"specs": "ItemEffCategory"}
		}), "", connector.Page{Rows: []connector.Row{{"ItemNumber": "AS54888", "specs": []any{connector.Row{
			"CategoryCode": "ROOT_ICC", "ContextCode": "TechnicalSpecifications", "EffLineId": json.Number("300000001234601"),
			"AttributeName": "Processor", "AttributeValue": "8 cores, 3.2 GHz", "UnitOfMeasure": nil,
		}}}}}),
		"oracle/09-no-such-item": read(connector.Query{Table: "items", Where: []connector.Match{{Column: "ItemNumber", Value: "NO-SUCH'ITEM"}}, Select: []string{"ItemNumber"}}, "",
			connector.Page{Rows: []connector.Row{}}),
		"oracle/10-error-in-q": fails(connector.Query{Table: "items", Where: []connector.Match{{Column: "NoSuchAttribute", Value: "1"}}, Select: []string{"ItemNumber"}},
			fault.Rejected, "oracle.bad_request"),
		"oracle/13-unauthorized": fails(one, fault.Unauthorized, "oracle.unauthorized"),
		"oracle/14-throttled":    fails(one, fault.Throttled, "oracle.throttled"),
		"oracle/16-onhand-balances": func(t *testing.T, o *oracle.Oracle) {
			t.Helper()
			q := connector.Query{Table: "stock", Select: []string{"ItemNumber", "SubinventoryCode", "PrimaryQuantity", "PrimaryUOMCode", "LotNumber"}, Limit: 2,
				Where: []connector.Match{{Column: "OrganizationCode", Value: "V1"}, {Column: "SummaryLevel", Value: "Subinventory"}}}
			got, err := o.ExtractPage(t.Context(), q, "")
			require.NoError(t, err)
			require.Equal(t, "2", got.Next)
			require.Equal(t, 2, got.Rows())
			require.Equal(t, []connector.Cell{[]byte(`"AS54888"`), []byte(`"STORES"`), []byte(`7.125`), []byte(`"Ea"`), []byte(`null`)}, got.Row(1))
		},
		"oracle/17-onhand-without-level": fails(connector.Query{Table: "stock", Select: []string{"ItemNumber"}}, fault.Rejected, "oracle.bad_request"),
		"oracle/18-since": read(connector.Query{Table: "items", Select: []string{"ItemNumber"}, Since: &connector.Since{Column: "LastUpdateDateTime", Value: "2026-01-15T09:30:00+00:00"}}, "",
			connector.Page{Rows: []connector.Row{{"ItemNumber": "AS54888"}}}),
		"oracle/19-describe-balances": func(t *testing.T, o *oracle.Oracle) {
			t.Helper()
			got, err := o.Describe(t.Context(), "stock")
			require.NoError(t, err)
			require.Equal(t, connector.Description{Columns: []connector.Described{
				{Name: "OrganizationId", Type: "int", Nullable: true}, {Name: "OrganizationCode", Type: "string", Nullable: true, Length: 18}}}, got)
		},
		"oracle/15-describe": func(t *testing.T, o *oracle.Oracle) {
			t.Helper()
			require.NoError(t, o.Probe(t.Context()))
		},
	}
	exchanges, err := wiretest.Load("oracle")
	require.NoError(t, err)
	require.Len(t, exchanges, len(acts)+len(serverOnly), "every noted exchange has its test")
	for _, x := range exchanges {
		act := acts[x.Name]
		require.True(t, act != nil || serverOnly[x.Name], x.Name)
		if act == nil {
			continue
		}
		t.Run(x.Name, func(t *testing.T) {
			t.Parallel()
			act(t, playedBy(t, x))
		})
	}
}

// playedBy returns a connector whose system answers with one exchange and
// objects to every other request.
func playedBy(t *testing.T, x wiretest.Exchange) *oracle.Oracle {
	t.Helper()
	vars := wiretest.Vars{"token": "noted"}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			token := "noted"
			if x.Sent.Header.Get("Authorization") == "Bearer not-a-token" {
				token = "not-a-token"
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"token_type": "Bearer", "expires_in": 3599, "access_token": token})
			return
		}
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
	items := connector.Table{Path: "itemsV2", Keys: [][]string{{"ItemNumber"}},
		Expand: map[string]string{"ItemEffCategory": "ItemEffCategory.ItemEFFBTechnicalSpecifications_Private"}}
	if x.Name == "oracle/10-error-in-q" {
		items.Keys = nil // a read that no key pins would be ordered by it
	}
	o, err := oracle.New(connector.Config{
		Name: "oracle-plm", System: oracle.System, URL: s.URL,
		Auth: connector.Auth{Kind: "oauth2", TokenURL: s.URL + "/token", ClientID: "patchbay", ClientSecret: "s"},
		Tables: map[string]connector.Table{"items": items,
			"stock": {Path: "inventoryOnhandBalances", Keys: [][]string{{"ItemNumber", "SubinventoryCode"}}}},
	}, connector.Deps{Client: s.Client()})
	require.NoError(t, err)
	return o
}
