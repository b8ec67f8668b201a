package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// desk is the customer service: it changes cases in Dataverse, as a client of its own.
type desk struct {
	*patchbay
	token string
}

type sampleCase struct {
	ID     string         `json:"incidentid"`
	Change map[string]any `json:"change"`
	Client string         `json:"client_id"`
	Secret string         `json:"client_secret"`
}

func (p *patchbay) desk() *desk {
	p.t.Helper()
	s := p.sampleCase()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {s.Client}, "client_secret": {s.Secret}, "scope": {p.Sandbox + "/dataverse/.default"}}
	resp, err := http.PostForm(p.Sandbox+"/login/contoso/oauth2/v2.0/token", form)
	require.NoError(p.t, err)
	defer resp.Body.Close()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	require.NoError(p.t, json.NewDecoder(resp.Body).Decode(&token))
	require.NotEmpty(p.t, token.AccessToken)
	return &desk{p, token.AccessToken}
}

// sampleCase is a case whose change leads to a mail; another at each call.
func (p *patchbay) sampleCase() sampleCase {
	p.t.Helper()
	var s sampleCase
	resp := p.do(http.MethodGet, p.Sandbox+"/_sandbox/samples/case-notifications", nil, "", &s)
	require.Equal(p.t, http.StatusOK, resp.StatusCode)
	return s
}

func (d *desk) call(method, path string, body any) {
	d.t.Helper()
	text, err := json.Marshal(body)
	require.NoError(d.t, err)
	resp := d.do(method, d.Sandbox+"/dataverse/api/data/v9.2/"+path, http.Header{"Authorization": {"Bearer " + d.token}}, string(text), nil)
	require.Equal(d.t, http.StatusNoContent, resp.StatusCode)
}

func (d *desk) change(s sampleCase) {
	d.t.Helper()
	d.call(http.MethodPatch, "incidents("+s.ID+")", s.Change)
}

// told waits until nothing of an event is under way and n mails are in the drop.
func (d *desk) told(n int, what string) {
	d.t.Helper()
	count := func() int {
		var list []json.RawMessage
		d.do(http.MethodGet, d.Sandbox+"/_sandbox/mail", nil, "", &list)
		return len(list)
	}
	d.await(what, 2*time.Minute, func() bool { return count() >= n && d.quiet() })
	require.Equal(d.t, n, count(), what)
}

// fates are the reasons of the events of a case, in the order they came.
func (p *patchbay) fates(key string) []string {
	p.t.Helper()
	var told struct {
		Entries []flow.Entry `json:"entries"`
	}
	p.do(http.MethodGet, p.HTTP+"/v1/explain/"+url.PathEscape(key), nil, "", &told)
	var reasons []string
	for _, e := range told.Entries {
		if e.What == "event" {
			reasons = append(reasons, e.Reason)
		}
	}
	return reasons
}

// The example flow, as `patchbay dev` applies it: sixty times as fast.
func TestACaseThatChangesInDataverseTellsItsCustomerOnce(t *testing.T) {
	t.Parallel()
	p := start(t, dataDir(t), "--speed", "60")
	d := p.desk()
	p.await("swept once", 2*time.Minute, func() bool {
		return p.count(`select count(*) from cursor where swept_at is not null and flow = 'case-notifications'`) == 2
	})
	require.Zero(t, p.count(`select count(*) from event`), "what is there at the beginning is no event")

	first := p.sampleCase()
	d.change(first)
	d.told(1, "told of a change")
	require.Equal(t, []string{"delivered"}, p.fates(first.ID))
	d.change(first)
	p.await("known to be the same", time.Minute, func() bool { return len(p.fates(first.ID)) == 2 })
	require.Equal(t, []string{"delivered", "unchanged"}, p.fates(first.ID), "an update that writes the same value starts nothing")

	p.fault("dataverse", `{"webhook":{"duplicate":5}}`)
	second := p.sampleCase()
	d.change(second)
	d.told(2, "told once of what came five times")
	require.Equal(t, []string{"delivered"}, p.fates(second.ID))
	p.heal("dataverse")

	p.fault("dataverse", `{"webhook":{"drop":1}}`)
	third := p.sampleCase()
	d.change(third)
	d.told(3, "told of what no webhook said")
	require.Equal(t, []string{"delivered"}, p.fates(third.ID), "the sweep found it")
	p.heal("dataverse")

	fourth := p.sampleCase()
	d.call(http.MethodPost, "annotations", map[string]any{
		"subject": "From the lab", "isdocument": true, "filename": "report.pdf", "documentbody": strings.Repeat("QUJD", 75_000), "objectid_incident@odata.bind": "/incidents(" + fourth.ID + ")",
	})
	d.told(4, "told of a note that is too large for a webhook")
	require.Equal(t, []string{"delivered"}, p.fates(fourth.ID), "its record was read back")
}

const echoFlow = `
flow: shout
pattern: event
summary: The names of accounts are written in capitals
loop: accepted
on:
  - source: dataverse.account
    change: [create, update]
    select: [name]
    key: row.accountnumber
map: { accountnumber: row.accountnumber, name: row.name + "!" }
write: { to: dataverse.account, key: [accountnumber] }
`

// The flow writes what it watches, and each write would cause the next.
func TestAnEchoOfOurOwnWriteIsCutAtItsFirstReturn(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	flows := filepath.Join(dir, "flows")
	require.NoError(t, os.MkdirAll(flows, 0o755))
	connections, err := os.ReadFile("../../flows/connections.yaml")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(flows, "connections.yaml"), connections, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(flows, "shout.yaml"), []byte(echoFlow), 0o644))
	p := start(t, dir)
	d := p.desk()
	d.call(http.MethodPost, "accounts", map[string]any{"accountnumber": "LOUD-1", "name": "Acme"})
	p.await("the echo came back", 2*time.Minute, func() bool { return len(p.fates("LOUD-1")) >= 2 && p.quiet() })
	require.Equal(t, []string{"delivered", "echo"}, p.fates("LOUD-1"))
	var account struct {
		Name string `json:"name"`
	}
	p.do(http.MethodGet, fmt.Sprintf("%s/dataverse/api/data/v9.2/accounts(accountnumber='LOUD-1')?$select=name", p.Sandbox),
		http.Header{"Authorization": {"Bearer " + d.token}}, "", &account)
	require.Equal(t, "Acme!", account.Name, "written once")
}
