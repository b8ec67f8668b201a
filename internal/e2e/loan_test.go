package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// inquiry is what the bureau charged, as it says itself.
type inquiry struct {
	Reference string `json:"reference"`
	Subject   string `json:"subject_id"`
	Times     int    `json:"times"`
}

// charged are the inquiries that the bureau charged, of one person or of all.
func (p *patchbay) charged(subject string) (list []inquiry) {
	p.t.Helper()
	require.Equal(p.t, http.StatusOK, p.do(http.MethodGet, p.Sandbox+"/_sandbox/bureau/inquiries?subject="+subject, nil, "", &list).StatusCode)
	return list
}

// loan starts a decision on an application of the sandbox.
func (p *patchbay) loan(application string) string {
	p.t.Helper()
	var run flow.Run
	resp := p.do(http.MethodPost, p.HTTP+"/v1/flows/loan-qualification/runs", http.Header{"Prefer": {"wait=0"}}, fmt.Sprintf(`{"application":%q}`, application), &run)
	require.Less(p.t, resp.StatusCode, 300, "%+v", run.Problem)
	return run.RunID
}

// application is what Dataverse holds of one.
func (p *patchbay) application(number string) map[string]any {
	p.t.Helper()
	var found struct{ Value []map[string]any }
	address := p.Sandbox + "/dataverse/api/data/v9.2/msx_loanapplications?$filter=" + url.QueryEscape("msx_applicationnumber eq '"+number+"'")
	require.Equal(p.t, http.StatusOK, p.do(http.MethodGet, address, http.Header{"Authorization": {"Bearer " + p.token()}}, "", &found).StatusCode)
	require.Len(p.t, found.Value, 1)
	return found.Value[0]
}

// reopen is what somebody at the bank does to have an application decided again.
func (p *patchbay) reopen(number string) {
	p.t.Helper()
	address := p.Sandbox + "/dataverse/api/data/v9.2/msx_loanapplications(msx_applicationnumber='" + number + "')"
	resp := p.do(http.MethodPatch, address, http.Header{"Authorization": {"Bearer " + p.token()}, "If-Match": {"*"}}, `{"msx_status":"open"}`, nil)
	require.Less(p.t, resp.StatusCode, 300)
}

func loanNumber(n int) string { return fmt.Sprintf("LA-%05d", n) }

// The example decides each application of the sandbox as it is meant to be: what is decided stands in
// Dataverse, a person decides what is referred, and each report is paid once.
func TestTheLoanExampleDecidesEveryApplicationOfTheSandbox(t *testing.T) {
	t.Parallel()
	p := start(t, dataDir(t))
	const all = 40
	refused := map[int]string{31: "require bureau", 32: "require salary", 33: "require income", 34: "require currency", 35: "require age", 36: "require adviser",
		37: "collect report", 38: "collect customer", 39: "require term", 40: "require amount"}
	runs := map[int]string{}
	for n := 1; n <= all; n++ {
		runs[n] = p.loan(loanNumber(n))
	}
	for n := 22; n <= 30; n++ {
		var r flow.Referral
		p.await("the referral of "+loanNumber(n), 2*time.Minute, func() bool {
			return p.do(http.MethodGet, p.HTTP+"/v1/reviews/"+runs[n], nil, "", &r).StatusCode == http.StatusOK
		})
		require.Equal(t, "otherwise", r.Ruling.Rule)
		require.Equal(t, n >= 27, r.FourEyes, "above 17,000 euros")
		require.Len(t, r.Computed, 5, "score, stress, loss, capital and price")
		require.Nil(t, p.application(loanNumber(n))["msx_decision"], "nothing is written before it is decided")
		decision := flow.Approve
		if r.FourEyes {
			decision = flow.Decline
		}
		require.Equal(t, http.StatusOK, p.do(http.MethodPost, p.HTTP+"/v1/reviews/"+runs[n], nil, fmt.Sprintf(`{"decision":%q,"reason":"As it is."}`, decision), nil).StatusCode)
	}
	for n := 1; n <= all; n++ {
		run := p.final(runs[n], 2*time.Minute)
		require.Equal(t, flow.Completed, run.Status, "%s: %+v", loanNumber(n), run.Problem)
		want, rule, by := flow.Approve, "good", "rules"
		switch {
		case n > 30:
			want, rule = flow.Refuse, refused[n]
		case n > 26:
			want, rule, by = flow.Decline, "otherwise", "dev"
		case n > 21:
			rule, by = "otherwise", "dev"
		case n > 12:
			want, rule = flow.Decline, "score-too-low"
		}
		require.Equal(t, []any{want, rule, by}, []any{run.Result.Decision, run.Result.Rule, run.Result.By}, loanNumber(n))
		written := p.application(loanNumber(n))
		require.Equal(t, string(want), written["msx_decision"], loanNumber(n))
		require.Equal(t, strings.Join(run.Result.Reasons, " "), written["msx_reasons"])
		require.Equal(t, want == flow.Refuse, written["msx_status"] == "open", "%v", written)
		require.Equal(t, want != flow.Refuse, written["msx_score"] != nil && written["msx_price"] != nil, "%v", written)
	}
	// The same people again: nothing is paid, and the score is the same.
	paid := p.charged("")
	require.Len(t, paid, all-1, "one is not known there")
	for _, i := range paid {
		require.Equal(t, 1, i.Times, i.Subject)
	}
	decided := p.application(loanNumber(1))
	refusal := p.final(p.loan(loanNumber(1)), time.Minute)
	require.Equal(t, []any{flow.Refuse, "require open"}, []any{refusal.Result.Decision, refusal.Result.Rule}, "an application is decided once")
	require.Equal(t, decided, p.application(loanNumber(1)), "and nothing is written of it again")
	p.reopen(loanNumber(1))
	again := p.final(p.loan(loanNumber(1)), time.Minute)
	require.Equal(t, flow.Approve, again.Result.Decision)
	require.Equal(t, p.final(runs[1], time.Minute).Result.Rows, again.Result.Rows)
	require.Len(t, p.charged(""), all-1)

	// The ledger says what was paid, for which decision, and who used it.
	var day flow.PaidDay
	require.Equal(t, http.StatusOK, p.do(http.MethodGet, p.HTTP+"/v1/paid", nil, "", &day).StatusCode)
	require.Len(t, day.Totals, 1)
	require.Equal(t, "97.50 EUR", day.Totals[0].Paid.String())
	require.Equal(t, "402.50 EUR", day.Totals[0].Left.String())
	require.Equal(t, 2, day.Totals[0].Reused)
	for _, i := range day.Inquiries {
		require.Equal(t, "loan-qualification", i.Flow)
		if i.Run == runs[1] {
			require.ElementsMatch(t, []string{refusal.RunID, again.RunID}, i.UsedBy)
		}
	}
	// The capsule of a decision that used a report again is whole.
	for _, run := range []string{runs[1], again.RunID, runs[13], runs[22]} {
		file := filepath.Join(p.dir, run+".capsule")
		_, said, status := p.cli("capsule", "export", run, "-o", file, "--server", p.HTTP)
		require.Zero(t, status, said)
		_, said, status = p.cli("capsule", "rerun", file, "--key", filepath.Join(p.dir, "capsule.pem.pub"))
		require.Zero(t, status, said)
	}
}

// A report is paid once whatever dies, and however many ask; the budget of a day holds; an answer about
// somebody else or of no use decides nothing, and is never used again.
func TestAReportIsPaidOnceAndNeverBeyondTheBudget(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	files := filepath.Join(dir, "flows")
	require.NoError(t, os.CopyFS(files, os.DirFS("../../flows")))
	edit := func(name string, changes ...string) {
		text, err := os.ReadFile(filepath.Join(files, name))
		require.NoError(t, err)
		for i := 0; i < len(changes); i += 2 {
			require.Contains(t, string(text), changes[i])
		}
		require.NoError(t, os.WriteFile(filepath.Join(files, name), []byte(strings.NewReplacer(changes...).Replace(string(text))), 0o600))
	}
	edit("connections.yaml", "per_day: 500.00 EUR", "per_day: 20.00 EUR")
	// Without its order, and without looking at what is decided, as many ask at once as press.
	edit("loan-qualification.yaml", "order: [application]", "", "steps.application.row.msx_status != 'decided', reason", "steps.application.count > 0, reason",
		"deadline: 60s\n    reuse: 30d                                   # also", "deadline: 5m\n    reuse: 30d                                   # also", "deadline: 30s", "deadline: 5m")
	p := start(t, dir, "--flows", files)

	bend := func(method, subject, body string) {
		t.Helper()
		require.Less(t, p.do(method, p.Sandbox+"/_sandbox/bureau/rules/"+subject, nil, body, nil).StatusCode, 300)
	}
	for subject, wrong := range map[string]string{"P-10001": "other-subject", "P-10002": "malformed"} {
		bend(http.MethodPut, subject, fmt.Sprintf(`{"answer":%q}`, wrong))
		application := "LA-0" + subject[3:]
		run := p.final(p.loan(application), 2*time.Minute)
		require.Equal(t, []any{flow.Refuse, "collect report"}, []any{run.Result.Decision, run.Result.Rule}, wrong)
		bend(http.MethodDelete, subject, "")
		run = p.final(p.loan(application), 2*time.Minute)
		require.Equal(t, flow.Approve, run.Result.Decision, "the wrong answer is not used")
		require.Len(t, p.charged(subject), 1, "asked again under its reference, for nothing")
	}

	// Three presses each of four people, at once, and everything dies while the bureau thinks.
	p.fault("bureau", `{"latency_ms":1500}`)
	var runs []string
	var mu sync.Mutex
	var pressing sync.WaitGroup
	for n := 3; n <= 6; n++ {
		for range 3 {
			pressing.Go(func() {
				run := p.loan(loanNumber(n))
				mu.Lock()
				defer mu.Unlock()
				runs = append(runs, run)
			})
		}
	}
	pressing.Wait()
	p.await("the bureau to be asked", time.Minute, func() bool { return p.count(`select count(*) from paid_inquiry where state = 'asking'`) > 0 })
	p.kill()
	p = start(t, dir, "--flows", files)
	for _, run := range runs {
		require.Equal(t, flow.Approve, p.final(run, 3*time.Minute).Result.Decision)
	}
	for n := 3; n <= 6; n++ {
		require.Len(t, p.charged(fmt.Sprintf("P-%05d", 10_000+n)), 1)
	}
	p.heal("bureau")

	// Six are paid, 15.00 of 20.00: for two more there is money, whoever comes first.
	runs = nil
	for n := 7; n <= 12; n++ {
		runs = append(runs, p.loan(loanNumber(n)))
	}
	outcomes := map[flow.Outcome]int{}
	for _, id := range runs {
		run := p.final(id, 6*time.Minute)
		outcomes[run.Result.Decision]++
	}
	require.Equal(t, map[flow.Outcome]int{flow.Approve: 2, flow.Refuse: 4}, outcomes)
	require.Len(t, p.charged(""), 8)
	out, said, status := p.cli("paid", "--server", p.HTTP)
	require.Zero(t, status, said)
	require.Contains(t, out, "20.00 EUR")
}
