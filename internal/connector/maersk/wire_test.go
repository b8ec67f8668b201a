package maersk_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/maersk"
	"patchbay/internal/fault"
	"patchbay/internal/wiretest"
)

// serverOnly are exchanges that only stand-ins are held to: this connector never sends them.
var serverOnly = map[string]bool{"maersk/02-token-without-key": true, "maersk/07-no-reference": true, "maersk/14-processing": true, "maersk/17-without-key": true}

const hookSecret = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="

func reading(where ...connector.Match) connector.Query {
	return connector.Query{Table: "events", Select: []string{"eventID", "code", "carrierBookingReference", "reference", "UNLocationCode", "equipmentReference"}, Where: where}
}

func TestConnectorSendsWhatIsNotedAndReadsWhatIsAnswered(t *testing.T) {
	t.Parallel()
	read := func(q connector.Query, token string, check func(t *testing.T, page connector.Page, err error)) func(*testing.T, *maersk.Maersk) {
		return func(t *testing.T, m *maersk.Maersk) {
			t.Helper()
			page, err := m.ReadPage(t.Context(), q, token)
			check(t, page, err)
		}
	}
	fails := func(class fault.Class, code string) func(*testing.T, connector.Page, error) {
		return func(t *testing.T, _ connector.Page, err error) {
			t.Helper()
			require.Equal(t, class, fault.Of(err).Class, err)
			require.Equal(t, code, fault.Of(err).Code)
		}
	}
	none := func(t *testing.T, page connector.Page, err error) {
		t.Helper()
		require.NoError(t, err)
		require.Empty(t, page.Rows)
		require.Empty(t, page.Next)
	}
	signsIn := func(t *testing.T, m *maersk.Maersk) {
		t.Helper()
		require.NoError(t, m.Probe(t.Context()))
	}
	of := func(column string, value any) connector.Match { return connector.Match{Column: column, Value: value} }
	one := reading(of("carrierBookingReference", "400000001"), of("eventType", "SHIPMENT,TRANSPORT"))
	one.Limit = 1
	load := reading(of("equipmentReference", "MSKU0000109"), of("equipmentEventTypeCode", "LOAD"))
	load.Since = &connector.Since{Column: "eventCreatedDateTime", Value: "2026-01-01T00:00:00Z"}
	const subscriber = "https://me.example/v1/hooks/f"
	acts := map[string]func(*testing.T, *maersk.Maersk){
		"maersk/01-token":             signsIn,
		"maersk/03-token-second-path": signsIn,
		"maersk/04-events": read(one, "", func(t *testing.T, page connector.Page, err error) {
			t.Helper()
			require.NoError(t, err)
			require.Equal(t, []connector.Row{{"eventID": "84db923d-2a19-4eb0-beb5-446c1ec57d34", "code": "CONF", "carrierBookingReference": "400000001", "reference": "SO-SEED-1"}}, page.Rows)
			next, err := connector.Continuation(page.Next)
			require.NoError(t, err)
			require.Contains(t, next, "/track-and-trace-private/events?cursor=c2")
		}),
		"maersk/05-events-next": read(one, "1.0000000000000000./track-and-trace-private/events?cursor=c2", func(t *testing.T, page connector.Page, err error) {
			t.Helper()
			require.NoError(t, err)
			require.Equal(t, "DKAAR", page.Rows[0]["UNLocationCode"])
			require.Empty(t, page.Next)
		}),
		"maersk/06-events-since": read(load, "", func(t *testing.T, page connector.Page, err error) {
			t.Helper()
			require.NoError(t, err)
			require.Len(t, page.Rows, 2)
			require.Equal(t, "MSKU0000109", page.Rows[1]["equipmentReference"])
		}),
		"maersk/08-no-party":      read(reading(of("transportDocumentReference", "999999999")), "", none),
		"maersk/09-contradiction": read(reading(of("eventType", "TRANSPORT"), of("equipmentReference", "MSKU0000109")), "", none),
		"maersk/10-subscribe": func(t *testing.T, m *maersk.Maersk) {
			t.Helper()
			require.NoError(t, m.Subscribe(t.Context(), subscriber, []connector.Subscription{{Table: "events", Changes: []string{"create"}}}))
		},
		"maersk/11-subscriptions": func(t *testing.T, m *maersk.Maersk) { // the one that is there is as it should be
			t.Helper()
			require.NoError(t, m.Subscribe(t.Context(), subscriber, []connector.Subscription{{Table: "events", Changes: []string{"create"}}}))
		},
		"maersk/12-unsubscribe": func(t *testing.T, m *maersk.Maersk) {
			t.Helper()
			require.NoError(t, m.Unsubscribe(t.Context(), subscriber))
		},
		"maersk/13-book": func(t *testing.T, m *maersk.Maersk) {
			t.Helper()
			results, err := m.Upsert(t.Context(), connector.Upsert{Table: "bookings", Key: []string{"reference"}, Rows: []connector.Row{noted("SO-0000012345", "2026-03-01")}})
			require.NoError(t, err)
			require.NoError(t, results[0].Err)
		},
		"maersk/15-invalid": func(t *testing.T, m *maersk.Maersk) {
			t.Helper()
			results, err := m.Upsert(t.Context(), connector.Upsert{Table: "bookings", Key: []string{"reference"}, Rows: []connector.Row{noted("SO-2", "next week")}})
			require.NoError(t, err)
			f := fault.Of(results[0].Err)
			require.Equal(t, fault.Rejected, f.Class)
			require.Equal(t, "maersk.bad_request", f.Code)
			require.Contains(t, f.Text, "7003 invalidData at $.expectedDepartureDate")
			require.NotContains(t, f.Text, "next week", "no value")
		},
		"maersk/16-no-booking": signsIn,
		"maersk/18-throttled": read(reading(of("carrierBookingReference", "400000002")), "", func(t *testing.T, page connector.Page, err error) {
			t.Helper()
			fails(fault.Throttled, "maersk.throttled")(t, page, err)
			require.EqualValues(t, 7, fault.Of(err).After.Seconds())
		}),
	}
	exchanges, err := wiretest.Load("maersk")
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

// noted is the row behind the booking of the exchanges.
func noted(reference, departure string) connector.Row {
	return connector.Row{"reference": reference, "serviceContractReference": "HHL51800000", "freightPaymentTermCode": "PRE", "expectedDepartureDate": departure,
		"portOfLoading": "DKAAR", "equipmentCode": "42G1", "equipmentUnits": json.Number("2"), "commodity": "Spare parts", "hsCode": "847989", "cargoWeight": "12000", "bookingAgent": "Acme Forwarding"}
}

// playedBy returns a connector whose system answers with one exchange, and to what has to
// come before or after it in the way that is usual.
func playedBy(t *testing.T, x wiretest.Exchange) *maersk.Maersk {
	t.Helper()
	vars := wiretest.Vars{"token": "noted", "subscription": "b80d923d-e8ac-4c34-9506-55d3de347034", "booking": request}
	options := map[string]string{"token_send_consumer_key": "true"}
	tokenAt := "/token"
	if strings.HasPrefix(x.Target, "/customer-identity") || strings.HasPrefix(x.Target, "/oauth2") {
		tokenAt = x.Target
		options["token_send_consumer_key"] = map[bool]string{true: "true", false: "false"}[x.Sent.Header.Get("Consumer-Key") != ""]
	}
	if x.Name == "maersk/06-events-since" || x.Name == "maersk/09-contradiction" || strings.Contains(x.Target, "booking") {
		options["events_path"], options["events_by"] = "/v2/events", "created"
	}
	played := false
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		at := vars["base"] + strings.SplitN(x.Target, "?", 2)[0]
		if strings.Contains(x.Target, "<page>") {
			at = "/track-and-trace-private/events"
		}
		at = strings.ReplaceAll(strings.ReplaceAll(strings.TrimPrefix(at, vars["base"]), "<subscription>", vars["subscription"]), "<booking>", request)
		if r.Method == x.Method && r.URL.Path == at {
			played = true
			for _, wrong := range x.CheckRequest(r, body, vars) {
				t.Errorf("%s: %s", x.Name, wrong)
			}
			if err := x.Answer(w, vars); err != nil {
				t.Error(err)
			}
			return
		}
		switch {
		case r.URL.Path == "/token":
			_, _ = io.WriteString(w, `{"token_type":"Bearer","expires_in":3599,"access_token":"noted"}`)
		case r.URL.Path == "/v2/event-subscriptions" && strings.HasSuffix(x.Name, "12-unsubscribe"):
			_, _ = io.WriteString(w, `[{"subscriptionID":"`+vars["subscription"]+`","callbackUrl":"https://me.example/v1/hooks/f?key=old"},{"subscriptionID":"another","callbackUrl":"https://me.example/v1/hooks/g"}]`)
		case r.URL.Path == "/v2/event-subscriptions", r.URL.Path == "/v2/events":
			_, _ = io.WriteString(w, `[]`)
		case r.URL.Path == "/v2/bookings/"+request:
			_, _ = io.WriteString(w, known)
		case strings.HasPrefix(r.URL.Path, "/v2/bookings/"):
			w.WriteHeader(http.StatusNotFound)
		default:
			t.Errorf("%s: also asked for %s %s", x.Name, r.Method, r.URL)
		}
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { require.True(t, played, "the noted request was sent") })
	vars["base"], vars["page"] = s.URL, s.URL+"/track-and-trace-private/events?cursor=c2"
	return built(t, s, connector.Config{Options: options, Auth: connector.Auth{Kind: "oauth2", TokenURL: s.URL + tokenAt, ClientID: "patchbay", ClientSecret: "sandbox-secret"}})
}

// built is a connector of a server.
func built(t *testing.T, s *httptest.Server, c connector.Config) *maersk.Maersk {
	t.Helper()
	c.Name, c.System, c.URL, c.Tables = "maersk", maersk.System, s.URL, tables
	c.Hook = connector.Hook{Scheme: "hmac", Secrets: []string{hookSecret}}
	m, err := maersk.New(c, connector.Deps{Client: s.Client()})
	require.NoError(t, err)
	return m
}
