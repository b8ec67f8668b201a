package advice_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/advice"
	"patchbay/internal/flow"
)

func stale(name string) advice.Input {
	in := customer()
	s := in.Sources[name]
	s.Stale = true
	in.Sources[name] = s
	return in
}

func TestAStaleSourceIsNotShownAndWhatNeedsItIsNotOffered(t *testing.T) {
	t.Parallel()
	m := &says{answers: []string{`{"action":"resolve_complaint","reason":"There is a complaint.","evidence":["documents/d2"]}`}}
	in := stale("receivables")
	docs := in.Sources["documents"]
	docs.Rows = append(docs.Rows, flow.Row{"id": "d2", "class": "complaint"})
	in.Sources["documents"] = docs
	s := compiled(t)
	p := ask(t, s, m, in)
	require.Equal(t, "resolve_complaint", p.Action, "what does not need it is proposed as ever")
	require.Equal(t, []string{"receivables"}, p.Stale)
	q := m.asked[0]
	require.NotContains(t, string(q.Evidence), "R-9")
	require.Contains(t, string(q.Evidence), `"withheld":["receivables"]`)
	require.NotContains(t, q.Instructions, "collect_payment")
	require.NotContains(t, q.Instructions, "propose_offer", "it needs receivables, whatever its condition says")
	for _, f := range q.Facts {
		require.NotEqual(t, "overdue", f.Name)
	}
	row, err := s.Row(p)
	require.NoError(t, err)
	require.NotContains(t, row, "overdue", "the target keeps what it has")
	require.Contains(t, row, "ordered")
}

func TestAPlanThatNeedsAStaleSourceIsWithheldAndSaysSo(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	// Both: a model that names an action which it was not offered, and the rules, whose
	// search ends at the condition that is not known.
	complains := stale("receivables")
	complains.Sources["documents"].Rows[0]["class"] = "complaint"
	named := ask(t, s, &says{answers: []string{`{"action":"propose_offer","reason":"A good time.","evidence":["orders/4711"]}`}}, complains)
	ruled := ask(t, compiled(t, func(a *flow.Advise) { a.Attempts = 0 }), nil, stale("receivables"))
	require.Equal(t, flow.AdviceOfModel, named.Source)
	require.Equal(t, "withheld: propose_offer depends on what is not known now: receivables is as of 2026-05-04T06:00:00Z", named.Note)
	require.Equal(t, flow.AdviceOfRules, ruled.Source)
	require.Equal(t, "withheld: collect_payment depends on what is not known now: receivables is as of 2026-05-04T06:00:00Z", ruled.Note)
	for _, p := range []advice.Plan{named, ruled} {
		require.Equal(t, flow.AdviceWithheld, p.State)
		require.True(t, p.Withheld())
		require.Empty(t, p.Action)
		require.Empty(t, p.Evidence)
		require.Empty(t, p.Review)
		row, err := s.Row(p)
		require.NoError(t, err)
		require.Empty(t, row["action"], "the target says that there is none, and why")
		require.Equal(t, p.Note, row["note"])
	}
}

func TestASourceThatIsMissingIsAsGoodAsStale(t *testing.T) {
	t.Parallel()
	in := customer()
	delete(in.Sources, "receivables")
	p := ask(t, compiled(t, func(a *flow.Advise) { a.Attempts = 0 }), nil, in)
	require.Equal(t, "withheld: collect_payment depends on what is not known now: receivables is missing", p.Note)
}

func TestAValueThatDoesNotFitMakesItsFactUnknown(t *testing.T) {
	t.Parallel()
	in := customer()
	in.Sources["receivables"].Rows[0]["amount"] = "1.200,50"
	p := ask(t, compiled(t, func(a *flow.Advise) { a.Attempts = 0 }), nil, in)
	require.Equal(t, flow.AdviceWithheld, p.State)
	require.Equal(t, "withheld: collect_payment depends on what is not known now: a row of receivables has no number where overdue needs one", p.Note)
	require.NotContains(t, p.Note, "1.200")
}

func TestAPersonMayChooseAnotherActionThatIsPossible(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	p := ask(t, s, &says{answers: []string{good}}, customer())
	got, err := s.Choose(p, "propose_offer", "Agreed by telephone.")
	require.NoError(t, err)
	require.Equal(t, []string{"propose_offer", "Propose an offer", "Agreed by telephone."}, []string{got.Action, got.Title, got.Reason})
	for _, c := range [][2]string{{"give_away", "x"}, {"raise_limit", "x"}, {"propose_offer", ""}} {
		_, err := s.Choose(p, c[0], c[1])
		require.Error(t, err, c)
	}
	held := ask(t, compiled(t, func(a *flow.Advise) { a.Attempts = 0 }), nil, stale("receivables"))
	got, err = s.Choose(held, "collect_payment", "Accounts told me.")
	require.NoError(t, err, "of what is not known a person may know more")
	require.Equal(t, flow.AdviceProposed, got.State)
	require.Empty(t, got.Note)
}
