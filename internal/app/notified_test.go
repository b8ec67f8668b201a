package app

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

var paperFlows = fstest.MapFS{
	"connections.yaml": {Data: []byte(`connections:
  sharepoint:
    system: graph
    url: https://graph.microsoft.com
    auth: { kind: none }
    hook: { scheme: client-state, secrets: ["${env:GRAPH_STATE}"] }
    tables:
      papers: { path: "sites/contoso.sharepoint.com:/sites/ops", keys: [[id]], columns: { id: string, name: string, eTag: string } }
  mail:
    system: smtp
    url: smtp://mail.example.com
    auth: { kind: none }
    options: { from: service@example.com }
    tables: { message: { path: message, keys: [[id]], columns: { id: string, recipient: string, subject: string, text: string, html: string } } }
`)},
	"papers.yaml": {Data: []byte(`flow: papers
pattern: event
summary: Somebody is told of a document
on: [{ source: sharepoint.papers, change: [create, update], select: [eTag], key: row.id }]
sweep: 1h
collapse: { quiet: 1h, max_wait: 2h }
send: { to: mail, template: paper.html, recipient: "'a@example.com'", subject: "{{.Row.name}}" }
`)},
	"paper.html": {Data: []byte("<p>{{.Row.name}}</p>\n")},
}

// W18 and W19: what Microsoft Graph sends to a hook.
func TestANotificationOfGraphIsProvedAndBringsTheSweepForward(t *testing.T) {
	t.Setenv("GRAPH_STATE", "the-state")
	g := newGatewayOf(t, straight, paperFlows)
	send := func(path, body string) (int, http.Header, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+g.addr+"/v1/hooks/papers"+path, strings.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/json")
		r.Host = host
		res, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res.StatusCode, res.Header, string(text)
	}
	status, header, body := send("?validationToken=Validation%3A+abc%3C1%3E", "")
	require.Equal(t, http.StatusOK, status, body)
	require.Equal(t, "Validation: abc<1>", body)
	require.Equal(t, "text/plain; charset=utf-8", header.Get("Content-Type"))
	require.Equal(t, "nosniff", header.Get("X-Content-Type-Options"))
	status, _, body = send("?validationToken="+strings.Repeat("x", 257), "")
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, body, "hook.validation")

	due := func() (n int) {
		t.Helper()
		require.NoError(t, g.db.QueryRow(t.Context(), `select count(*) from cursor where flow = 'papers' and source = 'sharepoint.papers' and due_at <= now()`).Scan(&n))
		return n
	}
	_, err := g.db.Exec(t.Context(), `insert into cursor (flow, source, due_at) values ('papers', 'sharepoint.papers', now() + interval '1 hour')
		on conflict (flow, source) do update set due_at = excluded.due_at`)
	require.NoError(t, err)
	const one = `{"subscriptionId":"1","clientState":"STATE","changeType":"updated","resource":"drives/b!1/root","resourceData":null}`
	status, _, body = send("", `{"value":[`+strings.Replace(one, "STATE", "the-state", 1)+","+strings.Replace(one, "STATE", "another", 1)+"]}")
	require.Equal(t, http.StatusUnauthorized, status)
	require.Contains(t, body, "hook.client_state")
	require.NotContains(t, body, "another")
	require.Zero(t, due(), "one that is not proved makes all of the delivery void")
	status, _, body = send("", `{"value":[`+strings.Replace(one, "STATE", "the-state", 1)+"]}")
	require.Equal(t, http.StatusAccepted, status, body)
	require.Equal(t, 1, due())
}
