package review_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/review"
	"patchbay/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func proposal(key, action, why string, stale ...string) review.Proposal {
	return review.Proposal{Key: key, Plan: json.RawMessage(`{"action":"` + action + `","source":"rules","state":"proposed"}`), Row: flow.Row{"key": key, "action": action}, Why: why, Stale: stale}
}

func states(t *testing.T, r *review.Reviews, key string) (all []string) {
	t.Helper()
	list, err := r.List(t.Context(), flow.PlanFilter{Flow: "f", Key: key})
	require.NoError(t, err)
	for _, p := range list {
		all = append(all, p.State)
	}
	return all
}

func TestAPlanIsKeptOnceForARunAndAKey(t *testing.T) {
	t.Parallel()
	r := review.New(storetest.New(t))
	require.NoError(t, r.Keep(t.Context(), "f", "run-1", []review.Proposal{proposal("A", "call", ""), proposal("B", "visit", "every plan is looked at")}))
	require.NoError(t, r.Keep(t.Context(), "f", "run-1", []review.Proposal{proposal("A", "something else", "")}))
	due, err := r.Due(t.Context(), "f", "", 10)
	require.NoError(t, err)
	require.Len(t, due, 1, "one waits for a person")
	require.JSONEq(t, `{"key":"A","action":"call"}`, string(due[0].Row), "an attempt that asks a second time finds the first answer")
	known, err := r.Known(t.Context(), "run-1", []string{"A", "B", "C"})
	require.NoError(t, err)
	require.Equal(t, map[string]bool{"A": true, "B": true}, known)
	require.NoError(t, r.Wrote(t.Context(), []int64{due[0].ID}))
	require.Equal(t, []string{review.Written}, states(t, r, "A"))
	tally, err := r.Tally(t.Context(), "run-1")
	require.NoError(t, err)
	require.Equal(t, flow.AdviceTally{Made: 2, Written: 1, Rules: 2, Review: 1}, tally)
}

func TestOnlyWhatAPersonApprovedIsWritten(t *testing.T) {
	t.Parallel()
	r := review.New(storetest.New(t))
	require.NoError(t, r.Keep(t.Context(), "f", "run-1", []review.Proposal{proposal("A", "call", "look"), proposal("B", "call", "look"), proposal("C", "call", "look")}))
	waiting, err := r.List(t.Context(), flow.PlanFilter{Flow: "f", State: review.Waiting})
	require.NoError(t, err)
	require.Len(t, waiting, 3)
	c, b, a := waiting[0], waiting[1], waiting[2]

	_, err = r.Decide(t.Context(), a.ID, flow.PlanDecision{Approve: true, By: "anna", Reason: "right"}, nil, nil)
	require.NoError(t, err)
	_, err = r.Decide(t.Context(), b.ID, flow.PlanDecision{By: "anna", Reason: "wrong"}, nil, nil)
	require.NoError(t, err)
	changed, err := r.Decide(t.Context(), c.ID, flow.PlanDecision{Approve: true, By: "anna", Reason: "better", Action: "visit"}, json.RawMessage(`{"action":"visit"}`), flow.Row{"action": "visit"})
	require.NoError(t, err)
	require.JSONEq(t, `{"action":"call","source":"rules","state":"proposed"}`, string(changed.Proposed), "what was proposed is kept")
	_, err = r.Decide(t.Context(), b.ID, flow.PlanDecision{Approve: true, By: "ben"}, nil, nil)
	require.Equal(t, "review.decided", fault.Of(err).Code, "a decision is made once")
	_, err = r.Decide(t.Context(), 999, flow.PlanDecision{Approve: true}, nil, nil)
	require.Equal(t, fault.NotFound, fault.Of(err).Class)

	due, err := r.Due(t.Context(), "f", "", 10)
	require.NoError(t, err)
	require.Len(t, due, 2)
	require.Equal(t, "anna", due[0].DecidedBy)
	require.NoError(t, r.Heard(t.Context(), map[int64]string{due[1].ID: "too long"}))
	again, err := r.Due(t.Context(), "f", "", 10)
	require.NoError(t, err)
	require.Len(t, again, 2, "until the ledger has it, both are looked at again")
	require.NoError(t, r.Wrote(t.Context(), []int64{due[0].ID, due[1].ID}))
	require.Equal(t, []string{review.Written}, states(t, r, "A"))
	require.Equal(t, []string{review.Refused}, states(t, r, "C"))
}

func TestTheNewestPlanOfAKeyCounts(t *testing.T) {
	t.Parallel()
	r := review.New(storetest.New(t))
	require.NoError(t, r.Keep(t.Context(), "f", "run-1", []review.Proposal{proposal("A", "call", "look"), proposal("B", "call", "", "stock")}))
	require.NoError(t, r.Keep(t.Context(), "f", "run-2", []review.Proposal{proposal("A", "visit", "")}))
	require.NoError(t, r.Keep(t.Context(), "f", "run-1", []review.Proposal{proposal("A", "call", "look")}), "an old attempt that comes late")
	require.Equal(t, []string{review.Due, review.Superseded}, states(t, r, "A"))

	keys, err := r.Outdated(t.Context(), "f", "run-3", []string{"stock"}, 10)
	require.NoError(t, err)
	require.Equal(t, []string{"B"}, keys, "stock is there by now")
	require.NoError(t, r.Keep(t.Context(), "f", "run-3", []review.Proposal{proposal("B", "call", "")}))
	keys, err = r.Outdated(t.Context(), "f", "run-4", []string{"stock"}, 10)
	require.NoError(t, err)
	require.Empty(t, keys)
}
