package ibm_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"patchbay/internal/connector"
	"patchbay/internal/connector/ibm"
	"patchbay/internal/fault"
	"patchbay/internal/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serverOnly are exchanges that only stand-ins are held to: this connector never
// sends them.
var serverOnly = map[string]bool{"ibm/11-no-cookie": true, "ibm/12-wrong-field": true}

// kept is a token of ReadPage around the system's own.
func kept(wire string) string {
	return "1.0000000000000000." + base64.RawURLEncoding.EncodeToString([]byte(wire))
}

func TestConnectorSendsWhatIsNotedAndReadsWhatIsAnswered(t *testing.T) {
	t.Parallel()
	fails := func(q connector.Query, token string, class fault.Class, code string) func(*testing.T, *ibm.IBM) {
		return func(t *testing.T, i *ibm.IBM) {
			t.Helper()
			_, err := i.ReadPage(t.Context(), q, token)
			require.Equal(t, class, fault.Of(err).Class, err)
			require.Equal(t, code, fault.Of(err).Code)
		}
	}
	probes := func(class fault.Class) func(*testing.T, *ibm.IBM) {
		return func(t *testing.T, i *ibm.IBM) {
			t.Helper()
			err := i.Probe(t.Context())
			if class == "" {
				require.NoError(t, err)
				return
			}
			require.Equal(t, class, fault.Of(err).Class, err)
		}
	}
	papers := connector.Query{Table: "papers", Select: []string{"id", "DocumentType"}, Limit: 2, Where: []connector.Match{{Column: "CustomerNumber", Value: "ACC-00005"}}}
	acts := map[string]func(*testing.T, *ibm.IBM){
		"ibm/01-who-is-there": probes(""),
		"ibm/02-page-one": func(t *testing.T, i *ibm.IBM) {
			t.Helper()
			got, err := i.ReadPage(t.Context(), papers, "")
			require.NoError(t, err)
			require.Equal(t, []connector.Row{
				{"id": "{3064C586-0000-C11F-9C5B-2F0D3B0C6E71}", "DocumentType": "CONTRACT"}, {"id": "{3064C586-0000-C11F-9C5B-2F0D3B0C6E72}", "DocumentType": "KYC"},
			}, got.Rows)
			next, err := connector.Continuation(got.Next)
			require.NoError(t, err)
			require.Equal(t, base64.RawURLEncoding.EncodeToString([]byte("eyJwYWdlIjoyfQ")), next)
		},
		"ibm/03-page-two": func(t *testing.T, i *ibm.IBM) {
			t.Helper()
			got, err := i.ReadPage(t.Context(), papers, kept("eyJwYWdlIjoyfQ"))
			require.NoError(t, err)
			require.Equal(t, connector.Page{Rows: []connector.Row{{"id": "{3064C586-0000-C11F-9C5B-2F0D3B0C6E73}", "DocumentType": "LETTER"}}}, got)
		},
		"ibm/04-since": func(t *testing.T, i *ibm.IBM) {
			t.Helper()
			got, err := i.ReadPage(t.Context(), connector.Query{Table: "invoices", Select: []string{"id", "dateLastModified", "Amount"},
				Where: []connector.Match{{Column: "DocumentType", Value: "it's"}}, Since: &connector.Since{Column: "dateLastModified", Value: "2026-01-15T08:00:00.999+01:00"}}, "")
			require.NoError(t, err)
			require.Empty(t, got.Rows)
		},
		"ibm/05-by-key": func(t *testing.T, i *ibm.IBM) {
			t.Helper()
			got, err := i.ReadByKey(t.Context(), "invoices", []string{"DocumentNumber"}, []connector.Row{{"DocumentNumber": "90000003"}, {"DocumentNumber": "none"}}, []string{"CustomerNumber"})
			require.NoError(t, err)
			require.Equal(t, []connector.Row{{"DocumentNumber": "90000003", "CustomerNumber": "ACC-00001"}, nil}, got)
		},
		"ibm/06-class": func(t *testing.T, i *ibm.IBM) {
			t.Helper()
			got, err := i.Describe(t.Context(), "papers")
			require.NoError(t, err)
			require.Equal(t, connector.Description{Keys: [][]string{{"id"}}, Columns: []connector.Described{
				{Name: "DocumentTitle", Type: "string", Nullable: true, Length: 255}, {Name: "Id", Type: "string", Nullable: true},
				{Name: "className", Type: "string"}, {Name: "cmRetentionDate", Type: "timestamp", Nullable: true},
			}}, got)
		},
		"ibm/07-no-such-property": fails(connector.Query{Table: "papers", Select: []string{"id"}, Where: []connector.Match{{Column: "NoSuchProperty", Value: "1"}}}, "", fault.Rejected, "ibm.query_refused"),
		"ibm/08-no-such-token":    fails(connector.Query{Table: "papers", Select: []string{"id"}}, kept("no-such-token"), fault.Conflict, "connector.cursor_expired"),
		"ibm/09-unauthorized":     probes(fault.Unauthorized),
		"ibm/10-throttled":        probes(fault.Throttled),
	}
	exchanges, err := wiretest.Load("ibm")
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
func playedBy(t *testing.T, x wiretest.Exchange) *ibm.IBM {
	t.Helper()
	vars := wiretest.Vars{"token": "noted", "page": "eyJwYWdlIjoyfQ"}
	return answering(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for _, wrong := range x.CheckRequest(r, body, vars) {
			t.Errorf("%s: %s", x.Name, wrong)
		}
		if err := x.Answer(w, vars); err != nil {
			t.Error(err)
		}
	}, x.Sent.Header.Get("Authorization"))
}

// answering returns a connector whose system is a handler.
func answering(t *testing.T, system http.HandlerFunc, authorization string) *ibm.IBM {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			token := "noted"
			if authorization == "Bearer not-a-token" {
				token = "not-a-token"
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"token_type": "Bearer", "expires_in": 3599, "access_token": token})
			return
		}
		system(w, r)
	}))
	t.Cleanup(s.Close)
	i, err := ibm.New(connector.Config{
		Name: "archive", System: ibm.System, URL: s.URL, Options: map[string]string{"repository": "OS1"},
		Auth: connector.Auth{Kind: "oauth2", TokenURL: s.URL + "/token", ClientID: "patchbay", ClientSecret: "s"},
		Tables: map[string]connector.Table{
			"papers": {Path: "CustomerDocument", Keys: [][]string{{"id"}}}, "invoices": {Path: "FinancialDocument", Keys: [][]string{{"DocumentNumber"}}},
		},
	}, connector.Deps{Client: s.Client()})
	require.NoError(t, err)
	return i
}

func TestASuccessThatHoldsErrorsIsNone(t *testing.T) {
	t.Parallel()
	const data = `"data":{"documents":{"documents":[{"id":"{canary}"}],"pageInfo":{"token":null}}}`
	for errors, want := range map[string]struct {
		class fault.Class
		code  string
	}{
		`[{"message":"FNRCE0051E: canary","extensions":{"statusCode":404}}]`:                                {fault.Rejected, "ibm.query_refused"},
		`[{"message":"canary","extensions":{"statusCode":503}}]`:                                            {fault.Unavailable, "ibm.unavailable"},
		`[{"message":"canary","extensions":{"statusCode":429}}]`:                                            {fault.Throttled, "ibm.throttled"},
		`[{"message":"canary","extensions":{"statusCode":403}}]`:                                            {fault.Unauthorized, "ibm.forbidden"},
		`[{"message":"canary"}]`:                                                                            {fault.Unavailable, "ibm.server_error"},
		`[{"message":"Validation error of type FieldUndefined: canary"}]`:                                   {fault.Rejected, "ibm.query_refused"},
		`[{"message":"canary","extensions":{"classification":"InvalidSyntax"}}]`:                            {fault.Rejected, "ibm.query_refused"},
		`[{"message":"a","extensions":{"statusCode":404}},{"message":"b","extensions":{"statusCode":500}}]`: {fault.Unavailable, "ibm.server_error"},
		`{"canary":1}`: {fault.Unavailable, "ibm.server_error"},
	} {
		i := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{`+data+`,"errors":`+errors+`}`)
		}, "")
		page, err := i.ReadPage(t.Context(), connector.Query{Table: "papers", Select: []string{"id"}}, "")
		require.Error(t, err, errors)
		require.Empty(t, page.Rows, "what stands beside an error is not data")
		require.Equal(t, want.class, fault.Of(err).Class, errors)
		require.Equal(t, want.code, fault.Of(err).Code, errors)
		require.NotContains(t, err.Error(), "canary")
	}
}

func TestAnExactNumberStaysExactAndAnUnknownPropertyIsAbsent(t *testing.T) {
	t.Parallel()
	i := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"data":{"documents":{"documents":[{"properties":[{"id":"Amount","value":12345678901234567.10},{"id":"Currency","value":null}]}],"pageInfo":{"token":null}}}}`)
	}, "")
	page, err := i.ReadPage(t.Context(), connector.Query{Table: "invoices", Select: []string{"Amount", "Currency", "NotOfThisClass"}}, "")
	require.NoError(t, err)
	require.Equal(t, []connector.Row{{"Amount": json.Number("12345678901234567.10"), "Currency": nil}}, page.Rows)
}

func TestWhatCannotBeComparedIsRefusedBeforeAnything(t *testing.T) {
	t.Parallel()
	i := answering(t, func(http.ResponseWriter, *http.Request) { t.Error("asked") }, "")
	for _, m := range []connector.Match{{Column: "id", Value: "1' OR 1=1"}, {Column: "className", Value: "x"}, {Column: "dateCreated", Value: "yesterday"}, {Column: "Amount", Value: map[string]any{}}} {
		_, err := i.ReadPage(t.Context(), connector.Query{Table: "papers", Select: []string{"id"}, Where: []connector.Match{m}}, "")
		require.Equal(t, fault.Invalid, fault.Of(err).Class, m.Column)
	}
}

func TestHeaderAndCookieAgree(t *testing.T) {
	t.Parallel()
	i := answering(t, func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie("ECM-CS-XSRF-Token")
		if err != nil || len(cookie.Value) != 36 || cookie.Value != r.Header.Get("ECM-CS-XSRF-Token") {
			t.Errorf("cookie %v, header %q", cookie, r.Header.Get("ECM-CS-XSRF-Token"))
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"data":{"_apiInfo":{"cpeInfo":{}}}}`)
	}, "")
	require.NoError(t, i.Probe(t.Context()))
}
