package app

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/dataverse"
	"patchbay/internal/fault"
	"patchbay/internal/sandbox"
)

var hookTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// signer makes deliveries as Standard Webhooks has them.
type signer struct {
	secret, id, body string
	at               time.Duration
	header           http.Header
}

func (s signer) delivery(media string) connector.Delivery {
	h := http.Header{"Content-Type": {media}}
	stamp := strconv.FormatInt(hookTime.Add(s.at).Unix(), 10)
	key, _ := base64.StdEncoding.DecodeString(s.secret) // of this test
	m := hmac.New(sha256.New, key)
	m.Write([]byte(s.id + "." + stamp + "." + s.body))
	h.Set("Webhook-Id", s.id)
	h.Set("Webhook-Timestamp", stamp)
	h.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(m.Sum(nil)))
	for name, values := range s.header {
		h[name] = values
	}
	return connector.Delivery{Header: h, Body: []byte(s.body), At: hookTime}
}

// The webhook cases that are a receiver's, by their number in the catalogue of bad inputs, for every receiver.
// W10 to W13 are decided by the inbox; what it needs for them, an ID and a version, is asserted here. W15 to W20 and
// W26 are the gateway's.
func TestEveryReceiverKeepsTheTableOfWebhookCases(t *testing.T) {
	t.Parallel()
	secret := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	const id = "0a0a0a0a-0000-4000-8000-000000000001"
	context := `{"MessageName":"Update","PrimaryEntityName":"incident","PrimaryEntityId":"` + id + `","OperationId":"5f0a7c4e-0000-4000-8000-000000000002","SharedVariables":[{"key":"tag","value":"ours"}],` +
		`"InputParameters":[{"key":"Target","value":{"Attributes":[{"key":"title","value":"x"}],"RowVersion":"41"}}]}`
	for system, c := range map[string]struct {
		media, body, reserialised string
		batch                     func(n int) string // nil: it has no batches
		event                     connector.Event
	}{
		"cloudevents": {
			media:        "application/cloudevents+json",
			body:         `{"specversion":"1.0","id":"1","source":"/s","type":"incident","subject":"` + id + `","sequence":"41","patchbayorigin":"ours","data":{"title":"x"}}`,
			reserialised: `{"specversion": "1.0", "id": "1", "source": "/s", "type": "incident", "subject": "` + id + `", "sequence": "41", "patchbayorigin": "ours", "data": {"title": "x"}}`,
			batch:        func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat(`{},`, n), ",") + "]" },
			event:        connector.Event{ID: "/s 1", Table: "incident", Record: id, Change: "update", Version: 41, At: hookTime, After: connector.Row{"title": "x"}, Origin: "ours"},
		},
		"webhook": {
			media: "application/json", body: `{"id":"e1","by":"ours","version":41,"record":"` + id + `","row":{"title":"x"}}`,
			reserialised: `{"id": "e1", "by": "ours", "version": 41, "record": "` + id + `", "row": {"title": "x"}}`,
			batch:        func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat(`{},`, n), ",") + "]" },
			event:        connector.Event{ID: "e1", Table: "incident", Record: id, Change: "update", Version: 41, At: hookTime, After: connector.Row{"title": "x"}, Origin: "ours"},
		},
		"dataverse": {
			media: "application/json", body: context,
			reserialised: strings.NewReplacer(`":`, `": `, `,"`, `, "`, `},{`, `}, {`).Replace(context),
			event: connector.Event{ID: "Update incident(" + id + ") 5f0a7c4e-0000-4000-8000-000000000002", Table: "incident", Record: id, Change: "update", Version: 41, At: hookTime,
				After: connector.Row{"title": "x", "incidentid": id}, Sent: []string{"title"}, Origin: "ours"},
		},
	} {
		t.Run(system, func(t *testing.T) {
			t.Parallel()
			built, err := registry().Build(connector.Config{
				Name: "c", System: system, URL: "https://crm.example", Tables: map[string]connector.Table{"incident": {Path: "incident"}},
				Options: map[string]string{"id": "/id", "record": "/record", "version": "/version", "origin": "/by", "after": map[string]string{"webhook": "/row"}[system]},
				Hook:    connector.Hook{Scheme: "standard", Secrets: []string{"whsec_" + secret("new"), secret("overlap")}, Retired: []string{secret("old")}},
			}, connector.Deps{Now: func() time.Time { return hookTime }})
			require.NoError(t, err)
			r := built.(connector.Receiver)
			good := signer{secret: secret("new"), id: "msg_1", body: c.body}
			vary := func(change func(*signer)) connector.Delivery {
				s := good
				s.header = http.Header{}
				change(&s)
				return s.delivery(c.media)
			}
			set := func(name, value string) connector.Delivery {
				return vary(func(s *signer) { s.header[http.CanonicalHeaderKey(name)] = []string{value} })
			}
			swapped := vary(func(s *signer) { s.body = c.reserialised })
			swapped.Body = []byte(strings.ReplaceAll(c.body, `"x"`, `"x" `)) // what was signed came in other bytes
			cases := map[string]struct {
				delivery connector.Delivery
				code     string
			}{
				"W01 no signature":       {set("webhook-signature", ""), "hook.unsigned"},
				"W02 wrong":              {vary(func(s *signer) { s.secret = secret("other") }), "hook.signature"},
				"W03 of another":         {set("webhook-id", "msg_2"), "hook.signature"},
				"W04 too old":            {vary(func(s *signer) { s.at = -301 * time.Second }), "hook.too_old"},
				"W05 too new":            {vary(func(s *signer) { s.at = 301 * time.Second }), "hook.too_new"},
				"W06 empty":              {set("webhook-timestamp", ""), "hook.timestamp"},
				"W06 negative":           {set("webhook-timestamp", "-1"), "hook.timestamp"},
				"W06 exponent":           {set("webhook-timestamp", "1e9"), "hook.timestamp"},
				"W06 2^63":               {set("webhook-timestamp", "9223372036854775808"), "hook.timestamp"},
				"W07 point":              {vary(func(s *signer) { s.id = "msg.1" }), "hook.id"},
				"W07 line":               {vary(func(s *signer) { s.id = "msg\r\n1" }), "hook.id"},
				"W07 long":               {vary(func(s *signer) { s.id = strings.Repeat("m", 257) }), "hook.id"},
				"W08 v0":                 {set("webhook-signature", "v0,AAAA"), "hook.signature"},
				"W08 seventeen":          {set("webhook-signature", strings.Repeat("v1,AAAA ", 17)), "hook.signature"},
				"W09 written anew":       {swapped, "hook.signature"},
				"W14 in overlap":         {vary(func(s *signer) { s.secret = secret("overlap") }), ""},
				"W14 retired":            {vary(func(s *signer) { s.secret = secret("old") }), "hook.secret_retired"},
				"W23 document type":      {vary(func(s *signer) { s.body = `<!DOCTYPE x><x/>` }), "xml.doctype"},
				"W23 entity":             {vary(func(s *signer) { s.body = `<x><!ENTITY a "b"></x>` }), "xml.doctype"},
				"W10 the same again":     {good.delivery(c.media), ""},
				"the secret stays ours":  {vary(func(s *signer) { s.secret = "" }), "hook.signature"},
				"a body that breaks off": {vary(func(s *signer) { s.body = c.body[:len(c.body)-1] }), "json.syntax"},
			}
			if c.batch != nil {
				batch := vary(func(s *signer) { s.body = c.batch(1001) })
				batch.Header["Content-Type"] = []string{strings.Replace(c.media, "cloudevents+json", "cloudevents-batch+json", 1)}
				cases["W21 too many"] = struct {
					delivery connector.Delivery
					code     string
				}{batch, "hook.batch_too_large"}
			}
			for name, x := range cases {
				events, err := r.Receive(t.Context(), x.delivery)
				if x.code == "" {
					require.NoError(t, err, name)
					require.Equal(t, []connector.Event{c.event}, events, name)
					continue
				}
				require.Equal(t, x.code, fault.Of(err).Code, name)
				require.Empty(t, events, name)
				if strings.HasPrefix(name, "W09") {
					require.Contains(t, fault.Of(err).Text, "sign the raw bytes", name)
				}
			}
		})
	}
}

// crm is a connection to a stand-in for Dataverse that tells url of what happens.
func crm(t *testing.T, hook connector.Hook) *dataverse.Dataverse {
	t.Helper()
	v, _ := crmAt(t, hook)
	return v
}

func crmAt(t *testing.T, hook connector.Hook) (*dataverse.Dataverse, string) {
	t.Helper()
	s, err := sandbox.New(t.Context(), sandbox.Options{Lean: true, Products: 50})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	delivered := make(chan error, 1)
	go func() { delivered <- s.Deliver(t.Context()) }() // the context ends before the cleanups
	t.Cleanup(func() { <-delivered })
	client := connector.NewClient()
	t.Cleanup(client.CloseIdleConnections)
	v, err := dataverse.New(connector.Config{
		Name: "crm", System: dataverse.System, URL: server.URL + "/dataverse", Hook: hook,
		Auth: connector.Auth{Kind: "oauth2", TokenURL: server.URL + "/login/contoso/oauth2/v2.0/token", ClientID: "patchbay", ClientSecret: "sandbox-secret", Scope: "x/.default"},
		Tables: map[string]connector.Table{
			"incident": {Path: "incidents", Columns: caseColumns, Keys: [][]string{{"ticketnumber"}}},
			"account":  {Path: "accounts", Columns: []string{"revenue", "accountnumber"}},
			// Of the platform itself, to look at what was registered.
			"sdkmessageprocessingstep": {Path: "sdkmessageprocessingsteps"},
		},
	}, connector.Deps{Client: client})
	require.NoError(t, err)
	return v, server.URL
}

var caseColumns = []string{"title", "ticketnumber", "statuscode", "followupby", "_customerid_value", "customer_email", "msx_customerfacing", "description"}

// What a webhook tells and what change tracking tells of one change are the same row: only so can the sweep find what
// a webhook missed, and nothing else.
func TestAWebhookAndChangeTrackingTellTheSameRow(t *testing.T) {
	t.Parallel()
	for _, hook := range []connector.Hook{
		{Scheme: "key", Secrets: []string{"s&cret+1"}}, {Scheme: "header", Name: "x-key", Secrets: []string{`a"b<c`}}, {Scheme: "query", Name: "k", Secrets: []string{"s&cret+1"}},
	} {
		t.Run(hook.Scheme, func(t *testing.T) {
			t.Parallel()
			v, base := crmAt(t, hook)
			came := make(chan connector.Delivery, 100)
			listener := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if body, err := io.ReadAll(r.Body); err == nil {
					came <- connector.Delivery{Header: r.Header, Query: r.URL.Query(), Body: body, At: time.Now()}
				}
			}))
			t.Cleanup(listener.Close)
			told := []connector.Subscription{{Table: "incident", Changes: []string{"create", "update", "delete"}, Select: []string{"statuscode"}, Columns: caseColumns}}
			require.NoError(t, v.Subscribe(t.Context(), listener.URL+"/hook", told))
			before := counts(t, base)
			require.NoError(t, v.Subscribe(t.Context(), listener.URL+"/hook", told))
			require.Equal(t, before["POST"], counts(t, base)["POST"], "what is there is left alone")
			require.Equal(t, before["PATCH"], counts(t, base)["PATCH"])

			cursor := ""
			for more := true; more; {
				page, err := v.ReadChanges(t.Context(), "incident", caseColumns, cursor)
				require.NoError(t, err)
				cursor, more = page.Cursor, page.More
			}
			_, err := v.Upsert(t.Context(), connector.Upsert{Table: "incident", Key: []string{"ticketnumber"}, Origin: "flow 7",
				Rows: []connector.Row{{"ticketnumber": "CAS-00001-SEED", "statuscode": 4, "followupby": "2026-05-01T10:00:00Z", "description": nil}}})
			require.NoError(t, err)
			d := <-came
			require.True(t, v.Recognises(d))
			events, err := v.Receive(t.Context(), d)
			require.NoError(t, err)
			require.Len(t, events, 1)
			e := events[0]
			require.Equal(t, "flow 7", e.Origin)
			require.True(t, e.Whole)
			require.Positive(t, e.Version)
			require.Contains(t, e.Sent, "statuscode")
			require.NotContains(t, e.Sent, "title")

			page, err := v.ReadChanges(t.Context(), "incident", caseColumns, cursor)
			require.NoError(t, err)
			require.Len(t, page.Rows, 1)
			delete(e.After, "versionnumber") // no column of the connection
			require.Equal(t, page.Rows[0], e.After)
			again, err := v.ReadByKey(t.Context(), "incident", []string{v.Identify("incident")}, []connector.Row{{v.Identify("incident"): e.Record}}, caseColumns)
			require.NoError(t, err)
			require.Equal(t, e.After, again[0], "as a record that was left out is read back")

			require.NoError(t, v.Unsubscribe(t.Context(), listener.URL+"/hook"))
			require.NoError(t, v.Unsubscribe(t.Context(), listener.URL+"/hook"), "ending what is no more is no failure")
		})
	}
}

// counts is how often the stand-in was called, by method.
func counts(t *testing.T, base string) map[string]int64 {
	t.Helper()
	res, err := http.Get(base + "/_sandbox/counts")
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	all := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		name, n, ok := strings.Cut(strings.Trim(strings.TrimSpace(line), `,`), `": `)
		if method, _, isCall := strings.Cut(strings.Trim(name, `"`), " "); ok && isCall {
			count, err := strconv.ParseInt(n, 10, 64)
			require.NoError(t, err, fmt.Sprint(line))
			all[method] += count
		}
	}
	return all
}

func TestASubscriptionThatChangesIsMadeEqualToWhatIsAsked(t *testing.T) {
	t.Parallel()
	v := crm(t, connector.Hook{Scheme: "key", Secrets: []string{"s"}})
	url := "http://127.0.0.1:9/hook"
	steps := func() []string {
		t.Helper()
		page, err := v.ReadPage(t.Context(), connector.Query{Table: "sdkmessageprocessingstep", Select: []string{"name", "filteringattributes"}}, "")
		require.NoError(t, err)
		list := []string{}
		for _, row := range page.Rows {
			list = append(list, fmt.Sprintf("%v (%v)", row["name"], row["filteringattributes"]))
		}
		slices.Sort(list)
		return list
	}
	require.NoError(t, v.Subscribe(t.Context(), url, []connector.Subscription{{Table: "incident", Changes: []string{"create", "update"}, Select: []string{"title"}}}))
	require.Equal(t, []string{"patchbay: Create of incident (<nil>)", "patchbay: Update of incident (title)"}, steps())
	require.NoError(t, v.Subscribe(t.Context(), url, []connector.Subscription{{Table: "incident", Changes: []string{"update"}, Select: []string{"statuscode"}}, {Table: "account", Changes: []string{"delete"}}}))
	require.Equal(t, []string{"patchbay: Delete of account (<nil>)", "patchbay: Update of incident (statuscode)"}, steps())
	require.NoError(t, v.Subscribe(t.Context(), "http://127.0.0.1:9/other", []connector.Subscription{{Table: "account", Changes: []string{"create"}}}))
	require.Len(t, steps(), 3, "the subscriptions of one address are no matter of another's")
	require.NoError(t, v.Subscribe(t.Context(), url, nil))
	require.NoError(t, v.Unsubscribe(t.Context(), url))
	require.Equal(t, []string{"patchbay: Create of account (<nil>)"}, steps())
	require.Equal(t, "connector.change", fault.Of(v.Subscribe(t.Context(), url, []connector.Subscription{{Table: "incident", Changes: []string{"merge"}}})).Code)
}
