package sandbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/sandbox"
	"patchbay/internal/sandbox/seed"
)

type report struct {
	Inquiry struct {
		Charged bool
		Price   json.Number
	}
	Report map[string]any
}

// inquire asks the bureau about a person under a reference.
func (b *bundle) inquire(subject, reference string) (int, report) {
	b.t.Helper()
	r := b.do(http.MethodPost, "/bureau/v1/inquiries", fmt.Sprintf(`{"subject_id":%q,"purpose":"loan"}`, subject), "Content-Type", "application/json", "Inquiry-Reference", reference)
	var got report
	_ = json.Unmarshal(r.body, &got) // a refusal has none
	return r.status, got
}

func TestTheBureauChargesAReferenceOnceAndTellsWhatItCharged(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		for n, charged := range []bool{true, false, false} {
			status, got := b.inquire("P-10001", "reference-1")
			require.Equal(t, http.StatusOK, status)
			require.Equal(t, charged, got.Inquiry.Charged, n)
			require.Equal(t, "P-10001", got.Report["subject_id"])
			require.InDelta(t, 640, got.Report["score"], 0)
		}
		status, _ := b.inquire("P-10002", "reference-1")
		require.Equal(t, http.StatusConflict, status, "the reference is somebody else's")
		status, _ = b.inquire("P-99999", "reference-2")
		require.Equal(t, http.StatusNotFound, status)
		status, _ = b.inquire("P-10001", "")
		require.Equal(t, http.StatusBadRequest, status)
		var paid []map[string]any
		require.NoError(t, json.Unmarshal(b.do(http.MethodGet, "/_sandbox/bureau/inquiries", "").body, &paid))
		require.Len(t, paid, 1)
		require.Equal(t, "2.50", paid[0]["price"])
		require.InDelta(t, 3, paid[0]["times"], 0)
	})
}

func TestTheBureauTakesNoMoreThanADayHasHoweverManyAskAtOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		require.Equal(t, http.StatusNoContent, b.do(http.MethodPut, "/_sandbox/bureau/budget", `{"per_day":"10.00"}`).status)
		var all sync.WaitGroup
		var mu sync.Mutex
		counts := map[int]int{}
		for i := range 12 {
			all.Go(func() {
				status, _ := b.inquire(fmt.Sprintf("P-%05d", 10_001+i), fmt.Sprintf("reference-%d", i))
				mu.Lock()
				defer mu.Unlock()
				counts[status]++
			})
		}
		all.Wait()
		require.Equal(t, map[int]int{http.StatusOK: 4, http.StatusTooManyRequests: 8}, counts)
		require.Equal(t, http.StatusUnprocessableEntity, b.do(http.MethodPut, "/_sandbox/bureau/budget", `{"per_day":"ten"}`).status)
	})
}

func TestRulesMakeTheBureauAnswerWrongly(t *testing.T) {
	t.Parallel()
	b := newBundle(t, sandbox.Options{Lean: true})
	for rule, wrong := range map[string]func(map[string]any) bool{
		"other-subject":    func(r map[string]any) bool { return r["subject_id"] != "P-10001" },
		"missing":          func(r map[string]any) bool { return r["score"] == nil },
		"malformed":        func(r map[string]any) bool { return r["score"] == "six hundred" },
		"contradictory":    func(r map[string]any) bool { return fmt.Sprint(r["card_use_percent"]) == "-12.5" },
		"unknown-currency": func(r map[string]any) bool { return r["currency"] == "XQZ" },
	} {
		require.Equal(t, http.StatusNoContent, b.do(http.MethodPut, "/_sandbox/bureau/rules/*", `{"answer":"`+rule+`"}`).status)
		_, got := b.inquire("P-10001", "reference-"+rule)
		require.True(t, wrong(got.Report), "%s: %v", rule, got.Report)
		require.Equal(t, http.StatusNoContent, b.do(http.MethodDelete, "/_sandbox/bureau/rules/*", "").status)
		_, got = b.inquire("P-10001", "reference-"+rule)
		require.False(t, wrong(got.Report), rule)
	}
	require.Equal(t, http.StatusUnprocessableEntity, b.do(http.MethodPut, "/_sandbox/bureau/rules/*", `{"answer":"kind"}`).status)
}

func TestThereAreFortyApplicationsOfEveryKind(t *testing.T) {
	t.Parallel()
	b := newBundle(t, sandbox.Options{Lean: true})
	r := b.do(http.MethodGet, "/dataverse/api/data/v9.2/msx_loanapplications?$select=msx_applicationnumber,msx_amount,msx_subjectid", "")
	var got struct{ Value []map[string]any }
	require.NoError(t, json.Unmarshal(r.body, &got))
	require.Len(t, got.Value, 40)
	kinds := map[string]int{}
	for _, a := range seed.Applicants() {
		kinds[a.Kind]++
		require.NotContains(t, a.Number(), a.Subject, "a number says nothing of the person")
	}
	require.Len(t, kinds, 13)
	require.JSONEq(t, `{"application":"LA-00001"}`, string(b.do(http.MethodGet, "/_sandbox/samples/loan-qualification", "").body))
}
