//go:build residency

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// mostShared is how many bytes of a record cross: more than those of any that is planted.
const mostShared = 256

// stands is how what is shared stands, as a region sees it.
func (r *regions) stands(region string) (s flow.SyncStanding) {
	r.t.Helper()
	r.do(http.MethodGet, r.where.Regions[region].HTTP+"/v1/flows/account-sync/regions", nil, "", &s)
	return s
}

// provoke has everything happen to what is shared that makes errors, reasons and messages:
// edits of both kinds of columns at once in two regions, systems that fail, refuse and
// truncate, what is too large, tokens that expire, deletions, conflicts, and processes
// that die. Each is waited for: what did not happen proves nothing.
func (r *regions) provoke() {
	r.t.Helper()
	r.fault("dataverse-fr", `[{"status":400,"match":"refuse me"},{"status":503,"rate":0.5,"count":10},{"status":401,"count":2},{"truncate":"account/30"}]`)
	r.edit("de", "PLANT-0", map[string]any{"name": "Edited", "msx_diagnosis": r.set.Text(0) + " (2)", "telephone1": "+49 1"})
	r.edit("de", "PLANT-4", map[string]any{"description": r.set.Text(5) + " (2)"})
	r.edit("de", "PLANT-12", map[string]any{"name": strings.Repeat("cut ", 15), "msx_diagnosis": r.set.Text(12) + " (2)"})
	r.edit("de", "PLANT-16", map[string]any{"name": "refuse me", "msx_diagnosis": r.set.Text(16) + " (2)"})
	r.edit("de", "PLANT-20", map[string]any{"name": strings.Repeat("large ", 26), "emailaddress1": strings.Repeat("e", 90) + "@x.test", "telephone1": strings.Repeat("+49 ", 12), "msx_diagnosis": r.set.Text(20) + " (2)"})
	status, _ := r.dataverse("de", http.MethodDelete, "accounts(accountnumber='PLANT-24')", nil)
	require.Less(r.t, status, 300)

	open := func(region string, outcome flow.SyncOutcome) (n int64) {
		for _, t := range r.stands(region).Tables {
			n += t.Open[outcome]
		}
		return n
	}
	r.await("refused in fr", time.Minute, func() bool { return open("fr", flow.SyncRejected) > 0 })
	r.await("failed, not signed in, and truncated in fr", time.Minute, func() bool {
		return !slices.Contains(r.struck("dataverse-fr"), 0)
	})
	r.await("too large in de", time.Minute, func() bool {
		for _, t := range r.stands("de").Tables {
			if t.Refused > 0 {
				return true
			}
		}
		return false
	})
	r.seldom("deleted in ch", time.Minute, func() bool { return r.name("ch", "PLANT-24") == "" })
	r.seldom("edited in fr", time.Minute, func() bool { return r.name("fr", "PLANT-0") == "Edited" })
	r.heal("dataverse-fr")

	r.conflict("de", "ch")
	r.await("held for a person", time.Minute, func() bool { return r.stands("de").Held > 0 && r.stands("fr").Held > 0 })

	r.fault("dataverse-de", `{"expire_tokens":true,"count":2}`)
	r.await("read anew", time.Minute, func() bool { return !slices.Contains(r.struck("dataverse-de"), 0) })
	r.heal("dataverse-de")
	for _, child := range []string{"region-de", "region-fr", "temporal-fr"} {
		old := regional{r.patchbay}.pid(child)
		require.NoError(r.t, syscall.Kill(old, syscall.SIGKILL))
		r.await(child+" back", 40*time.Second, func() bool {
			now := regional{r.patchbay}.pid(child)
			return now != 0 && now != old && serves(r.Regions["fr"].HTTP) == http.StatusOK && serves(r.Regions["de"].HTTP) == http.StatusOK
		})
	}
	r.locate()
	for i, region := range []string{"fr", "ch"} {
		name := fmt.Sprintf("Edited again %d", i)
		r.edit("de", "PLANT-0", map[string]any{"name": name, "msx_diagnosis": r.set.Text(0) + " (3)"})
		r.seldom("edited again in "+region, 2*time.Minute, func() bool { return r.name(region, "PLANT-0") == name })
	}
}

// struck is how often each fault of a system has struck.
func (r *regions) struck(system string) (times []int) {
	r.t.Helper()
	var text json.RawMessage // of one, or of several
	r.do(http.MethodGet, r.Sandbox+"/_sandbox/faults/"+system, nil, "", &text)
	var rules []struct{ Struck int }
	if json.Unmarshal(text, &rules) != nil {
		rules = make([]struct{ Struck int }, 1)
		require.NoError(r.t, json.Unmarshal(text, &rules[0]))
	}
	for _, rule := range rules {
		times = append(times, rule.Struck)
	}
	return times
}

// conflict has two regions write a value without knowing of each other: one that does not
// hear of the other for a while.
func (r *regions) conflict(one, other string) {
	r.t.Helper()
	hold := func(verb, body string) {
		for _, region := range []string{one, other} {
			resp := r.do(http.MethodPost, r.where.Regions[region].HTTP+"/v1/flows/account-sync/regions/"+verb, nil, body, nil)
			require.Less(r.t, resp.StatusCode, 300)
		}
	}
	hold("hold", `{"table":"account","reason":"a conflict is to arise"}`)
	r.edit(other, "PLANT-8", map[string]any{"telephone1": "+41 1"})
	r.edit(one, "PLANT-8", map[string]any{"telephone1": "+49 2", "description": r.set.Text(9) + " (2)"})
	began := time.Now()
	r.await("read", time.Minute, func() bool { return time.Since(began) > 2*time.Second })
	hold("resume", `{"table":"account"}`)
}
