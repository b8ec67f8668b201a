package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// actionPlans reads the plans that Dataverse holds, by customer, following its pages.
func (p *patchbay) actionPlans() map[string]map[string]any {
	p.t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"patchbay"}, "client_secret": {"sandbox-secret"}, "scope": {p.Sandbox + "/dataverse/.default"}}
	resp, err := http.PostForm(p.Sandbox+"/login/contoso/oauth2/v2.0/token", form)
	require.NoError(p.t, err)
	defer resp.Body.Close()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	require.NoError(p.t, json.NewDecoder(resp.Body).Decode(&token))
	all := map[string]map[string]any{}
	for next := p.Sandbox + "/dataverse/api/data/v9.2/msx_salesactionplans"; next != ""; {
		var page struct {
			Value []map[string]any `json:"value"`
			Next  string           `json:"@odata.nextLink"`
		}
		p.do(http.MethodGet, next, http.Header{"Authorization": {"Bearer " + token.AccessToken}}, "", &page)
		for _, row := range page.Value {
			account, _ := row["msx_accountnumber"].(string)
			all[account] = row
		}
		next = page.Next
	}
	return all
}

// consolidate makes the picture of all customers, and plans for them.
func (p *patchbay) consolidate() {
	p.t.Helper()
	var run flow.Run
	resp := p.do(http.MethodPost, p.HTTP+"/v1/flows/customer-360/runs", http.Header{"Prefer": {"wait=0"}}, `{}`, &run)
	require.Less(p.t, resp.StatusCode, 300)
	require.Equal(p.t, flow.Completed, p.final(run.RunID, 2*time.Minute).Status)
}

// The same model, once as it is and once with a hostile one in its place most of the
// time. The model answers the same question the same way, so that whatever else stands
// in the table of plans came from the hostile one.
func TestWhatAHostileModelSaysNeverReachesTheActionPlans(t *testing.T) {
	t.Parallel()
	good := start(t, dataDir(t))
	good.consolidate()
	right := good.actionPlans()
	good.stop()
	require.Len(t, right, 200)

	bad := start(t, dataDir(t))
	bad.fault("model", `[{"model":"schema","rate":0.2},{"model":"evidence","rate":0.2},{"model":"numbers","rate":0.2},{"model":"obeys","rate":0.3},
		{"model":"prose","rate":0.2},{"body":"endless","count":3},{"status":429,"retry_after":1,"count":10}]`)
	bad.consolidate()
	plans := bad.actionPlans()
	waiting := map[string]flow.ActionPlan{}
	var listed struct {
		Plans []flow.ActionPlan `json:"plans"`
	}
	bad.do(http.MethodGet, bad.HTTP+"/v1/plans?state=review&limit=200", nil, "", &listed)
	for _, p := range listed.Plans {
		waiting[p.Key] = p
	}
	models, rules := 0, 0
	for account, want := range right {
		got, there := plans[account]
		if !there {
			require.Contains(t, waiting, account, "it is written, or waits for a person")
			require.NotContains(t, string(waiting[account].Plan), "IGNORE")
			rules++
			continue
		}
		if got["msx_source"] == flow.AdviceOfModel {
			models++
			for _, column := range []string{"msx_action", "msx_reason", "msx_evidence"} {
				require.Equal(t, want[column], got[column], "%s of %s", column, account)
			}
			continue
		}
		rules++
		require.Equal(t, flow.AdviceOfRules, got["msx_source"], account)
		require.NotEmpty(t, got["msx_failure"], "%s: it is said why the model was not believed", account)
	}
	require.Positive(t, models, "it was believed where it was right")
	require.Positive(t, rules, "and the rules decided where it was not")
}
