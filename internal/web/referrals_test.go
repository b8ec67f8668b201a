package web_test

import (
	"context"
	_ "embed"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/web/browser"
)

// referred has what the calculators of internal/risk gave, so that what is drawn is of their shape.
//
//go:embed testdata/referral.json
var referred []byte

// desk keeps what rules left to people.
type desk struct{ w *world }

func (d desk) Referral(_ context.Context, runID string) (flow.Referral, error) {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	for _, r := range d.w.referred {
		if r.RunID == runID {
			return r, nil
		}
	}
	return flow.Referral{}, fault.NotFoundf("review.not_found", "nobody has to decide about this run")
}

func (d desk) Referrals(_ context.Context, f flow.ReferralFilter) (all []flow.Referral, err error) {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	for _, r := range d.w.referred {
		if (f.State == "decided") == (r.Decision != nil) && (f.Flow == "" || f.Flow == r.Flow) {
			all = append(all, r)
		}
	}
	return all, nil
}

func (d desk) Opine(_ context.Context, runID string, o flow.Opinion) (flow.Referral, error) {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	i := slices.IndexFunc(d.w.referred, func(r flow.Referral) bool { return r.RunID == runID })
	r := &d.w.referred[i]
	o.At = time.Now()
	r.Opinions = append(r.Opinions, o)
	if o.Decision == flow.Decline || !r.FourEyes || len(r.Opinions) > 1 {
		r.State, r.May = "decided", []flow.Outcome{}
		r.Decision = &flow.Decision{RunID: runID, Outcome: o.Decision, Reasons: []string{o.Reason}, By: o.By, At: o.At}
	}
	return *r, nil
}

// lending is a world with one application that waits.
func lending(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	var r flow.Referral
	d := json.NewDecoder(strings.NewReader(string(referred)))
	d.UseNumber()
	require.NoError(t, d.Decode(&r))
	r.OpenedAt, r.DueAt = time.Now().Add(-time.Hour), time.Now().Add(30*time.Hour)
	plan := &flow.Plan{Flow: r.Flow, Pattern: flow.Hybrid, Summary: "An application for a loan is decided"}
	w.plans = append(w.plans, flow.Applied{Plan: plan, Digest: plan.Digest(), AppliedAt: time.Now()})
	w.referred = []flow.Referral{r}
	return w
}

func TestAReviewShowsAllThatAPersonNeedsToDecide(t *testing.T) {
	t.Parallel()
	w := lending(t)
	_, _, body := w.page(t, "/reviews")
	for _, want := range []string{"Loan application LA-2041", "Waits for you", "two people", "A person looks at your application", `href="/reviews/mzxw6ytboi2gk3tuobqwg00007"`} {
		require.Contains(t, body, want)
	}
	_, _, body = w.page(t, "/")
	require.Contains(t, body, "For somebody to decide")
	require.Contains(t, body, `<a href="/reviews">`)
	_, _, body = w.page(t, "/reviews/mzxw6ytboi2gk3tuobqwg00007")
	require.NotContains(t, body, "<b>Lind</b>", "text of a system is text")
	for _, want := range []string{"Ada &lt;b&gt;Lind", "Approve, first of two", "Use of card and overdraft limits", "probability of default", "are below zero", "dataverse.msx_loanapplication", "180000.00",
		"risk.capital v1", "Risk weight", `class="bin below"`} {
		require.Contains(t, body, want)
	}
	require.NotContains(t, body, "counts", "bins are drawn and not listed")
	// What counts most against the applicant stands first.
	require.Less(t, strings.Index(body, "Use of card"), strings.Index(body, "Applications for credit"))

	w.referred[0].May, w.referred[0].Ruling.Partial = []flow.Outcome{flow.Decline}, []string{"report"}
	_, _, body = w.page(t, "/reviews/mzxw6ytboi2gk3tuobqwg00007")
	require.Contains(t, body, "a substitute stands for report")
	require.NotContains(t, body, `value="approve"`)
	require.Contains(t, body, `value="decline"`)

	w.referred[0].Conflicts = []string{"DEV"}
	_, _, body = w.page(t, "/reviews/mzxw6ytboi2gk3tuobqwg00007")
	require.Contains(t, body, "You may not decide about this")
	require.NotContains(t, body, "data-review=")

	status, _, _ := w.page(t, "/reviews/none")
	require.Equal(t, http.StatusNotFound, status)
	require.NotContains(t, page(t, newWorld(t), "/"), `href="/reviews"`, "no flow leaves anything to a person")
}

func TestAnOutputOfAnyShapeIsShown(t *testing.T) {
	t.Parallel()
	for _, output := range []string{`null`, `[]`, `12`, `{"lowest": {"low": 1, "high": 1, "counts": [1, 2]}}`, `{"points": 3, "parts": []}`, `{"points": "x", "parts": [{"effect": "y"}]}`, `{"a": {"b": [1, {"c": null}]}}`, `{"value": 1}`, `not json`} {
		w := lending(t)
		w.referred[0].Computed = []flow.Computed{{Name: "own", Function: "acme.own", Version: "v2", Output: json.RawMessage(output)}}
		status, _, body := w.page(t, "/reviews/mzxw6ytboi2gk3tuobqwg00007")
		require.Equal(t, http.StatusOK, status, output)
		require.Contains(t, body, "acme.own v2")
	}
}

func TestAPersonDecidesByKeysAlone(t *testing.T) {
	t.Parallel()
	w, tab := lending(t), browser.New(t)
	tab.Go(w.URL + "/reviews")
	tab.Look(1280, 900, "light")
	tab.Type("main", "j\r")
	tab.Shows("h1", "Loan application LA-2041")
	tab.Type("#reason", "\t\r") // an empty reason is not sent
	tab.Type("#reason", "The income is secure.\t\r")
	tab.Shows(".said-of", "The income is secure.")
	tab.Shows(".note", "the second has to be somebody else")
	w.mu.Lock()
	require.Len(t, w.referred[0].Opinions, 1)
	require.Equal(t, flow.Approve, w.referred[0].Opinions[0].Decision)
	w.referred[0].Opinions[0].By = "key:berg-else"
	w.mu.Unlock()
	tab.Go(w.URL + "/reviews/mzxw6ytboi2gk3tuobqwg00007")
	tab.Look(390, 844, "dark")
	tab.Type("#reason", "Too much for the income.")
	tab.Click(`[value="decline"]`)
	tab.Shows("aside", "Declined")
	tab.Go(w.URL + "/reviews?state=decided")
	tab.Shows(".reviews", "Too much for the income.")
}
