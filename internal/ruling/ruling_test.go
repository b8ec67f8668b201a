package ruling_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/capsule"
	"patchbay/internal/flow"
	"patchbay/internal/ruling"
)

func plan() *flow.Plan {
	return &flow.Plan{
		Flow: "loan", Pattern: flow.Hybrid, Params: []flow.Param{{Name: "amount", Type: flow.Decimal}},
		Decide: &flow.Decide{
			Require: []flow.Require{
				{Name: "income", That: "steps.application.row.income > 0", Reason: "The income has to be above zero."},
				{Name: "currency", That: "steps.application.row.currency == 'EUR'", Reason: "We lend in euros."},
			},
			Rules: []flow.DecideRule{
				{Name: "low", When: "steps.score.row.points < 500", Then: flow.Decline, Reason: "The score is low.", Factors: "steps.score.row.reasons"},
				{Name: "high", When: "steps.score.row.points > 600 && params.amount < 1000", Then: flow.Approve, Reason: "You can afford it."},
				{Name: "otherwise", Then: flow.Refer, Reason: "A person looks at it."},
			},
		},
		Review: &flow.Review{FourEyes: "params.amount > 500", Conflicts: "[steps.application.row.adviser]", Show: []flow.Column{{Name: "points", Expr: "steps.score.row.points"}}},
	}
}

// facts are of an application; score is what the calculator gave, "" for nothing.
func facts(application flow.Row, score string) flow.Case {
	c := flow.Case{
		Params: flow.Row{"amount": json.Number("700.00")}, Gaps: []flow.Gap{}, Computed: []flow.Computed{},
		Inputs: []flow.Collected{{Name: "application", AsOf: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), Rows: []flow.Row{application}}},
	}
	if score != "" {
		c.Computed = append(c.Computed, flow.Computed{Name: "score", Output: json.RawMessage(score)})
	}
	return c
}

func TestWhatCannotBeKnownIsRefusedAndNeverApproved(t *testing.T) {
	t.Parallel()
	rules, err := ruling.New(plan())
	require.NoError(t, err)
	good := flow.Row{"income": json.Number("3000"), "currency": "EUR", "adviser": "smith"}
	gap := func(kind flow.TaskKind) func(*flow.Case) {
		return func(c *flow.Case) {
			c.Gaps = append(c.Gaps, flow.Gap{Task: "x", Kind: kind, Why: "It does not answer."})
		}
	}
	for name, c := range map[string]struct {
		of      flow.Case
		change  func(*flow.Case)
		outcome flow.Outcome
		rule    string
		reasons []string
	}{
		"approved":           {of: facts(good, `{"points":650,"reasons":[]}`), outcome: flow.Approve, rule: "high", reasons: []string{"You can afford it."}},
		"declined":           {of: facts(good, `{"points":499,"reasons":["Late payments.","Savings."]}`), outcome: flow.Decline, rule: "low", reasons: []string{"The score is low.", "Late payments.", "Savings."}},
		"referred":           {of: facts(good, `{"points":550,"reasons":[]}`), outcome: flow.Refer, rule: "otherwise", reasons: []string{"A person looks at it."}},
		"partial":            {of: facts(good, `{"points":650,"reasons":[]}`), change: func(c *flow.Case) { c.Inputs[0].Substitute = true }, outcome: flow.Refer, rule: "high", reasons: []string{"You can afford it.", "Not every figure could be confirmed: application."}},
		"partial and low":    {of: facts(good, `{"points":1,"reasons":[]}`), change: func(c *flow.Case) { c.Inputs[0].Substitute = true }, outcome: flow.Decline, rule: "low", reasons: []string{"The score is low."}},
		"no score":           {of: facts(good, ``), outcome: flow.Refuse, rule: "low"},
		"a score of null":    {of: facts(good, `{"points":null,"reasons":[]}`), outcome: flow.Refuse, rule: "low"},
		"a score of text":    {of: facts(good, `{"points":"high","reasons":[]}`), outcome: flow.Refuse, rule: "low"},
		"reasons of null":    {of: facts(good, `{"points":1,"reasons":null}`), outcome: flow.Refuse, rule: "low"},
		"two requirements":   {of: facts(flow.Row{"income": json.Number("-1"), "currency": "XXX"}, `{"points":650,"reasons":[]}`), outcome: flow.Refuse, rule: "require income", reasons: []string{"The income has to be above zero.", "We lend in euros."}},
		"an income of null":  {of: facts(flow.Row{"income": nil, "currency": "EUR"}, `{"points":650,"reasons":[]}`), outcome: flow.Refuse, rule: "require income", reasons: []string{"The income has to be above zero."}},
		"no currency":        {of: facts(flow.Row{"income": json.Number("1")}, `{"points":650,"reasons":[]}`), outcome: flow.Refuse, rule: "require currency", reasons: []string{"We lend in euros."}},
		"a silent source":    {of: facts(good, `{"points":650,"reasons":[]}`), change: gap(flow.TaskCollect), outcome: flow.Refuse, rule: "collect x", reasons: []string{"It does not answer."}},
		"a failed computing": {of: facts(good, `{"points":650,"reasons":[]}`), change: gap(flow.TaskCalculate), outcome: flow.Refuse, rule: "calculate x", reasons: []string{"It does not answer."}},
	} {
		if c.change != nil {
			c.change(&c.of)
		}
		got := rules.Judge(c.of)
		require.Equal(t, c.outcome, got.Outcome, "%s: %+v", name, got)
		require.Equal(t, c.rule, got.Rule, name)
		if c.reasons != nil {
			require.Equal(t, c.reasons, got.Reasons, name)
		}
	}
}

func TestAReviewThatCannotBeEvaluatedIsTheStrictOne(t *testing.T) {
	t.Parallel()
	rules, err := ruling.New(plan())
	require.NoError(t, err)
	care, err := rules.Care(facts(flow.Row{"adviser": "smith"}, `{"points":550}`))
	require.NoError(t, err)
	require.Equal(t, ruling.Care{FourEyes: true, Conflicts: []string{"smith"}, Show: flow.Row{"points": json.Number("550")}}, care)
	of := facts(flow.Row{"adviser": "smith"}, `{"points":550}`)
	delete(of.Params, "amount")
	care, err = rules.Care(of)
	require.NoError(t, err)
	require.True(t, care.FourEyes, "nobody knows the amount")
	_, err = rules.Care(facts(flow.Row{}, `{"points":550}`))
	require.Error(t, err, "nobody knows who may not decide")
	care, err = rules.Care(facts(flow.Row{"adviser": "smith"}, `{"score":550}`))
	require.NoError(t, err)
	require.Equal(t, flow.Row{"points": nil}, care.Show, "what cannot be shown refuses nobody")
}

// Who has no name may be anybody: nobody decides then, and the record of that says the same again.
func TestAConflictThatIsNotKnownIsNotNone(t *testing.T) {
	t.Parallel()
	p := plan()
	rules, err := ruling.New(p)
	require.NoError(t, err)
	for name, adviser := range map[string]any{"null": nil, "empty": "", "blank": " ", "a number": json.Number("7"), "an object": flow.Row{"name": "smith"}} {
		of := facts(flow.Row{"income": json.Number("3000"), "currency": "EUR", "adviser": adviser}, `{"points":550,"reasons":[]}`)
		_, err := rules.Care(of)
		require.Error(t, err, name)
		got := rules.Judge(of)
		require.Equal(t, flow.Refuse, got.Outcome, name)
		require.Equal(t, "otherwise", got.Rule, name)
		require.Contains(t, got.Reasons[0], "it is not known who may", name)
		require.NoError(t, ruling.Again(sealed(t, p, of, got)), name)
	}
	of := facts(flow.Row{"income": json.Number("3000"), "currency": "EUR", "adviser": nil}, `{"points":650,"reasons":[]}`)
	require.Equal(t, flow.Approve, rules.Judge(of).Outcome, "where nobody has to decide, nobody is barred")
}

// sealed is what a capsule holds of a decision by rules.
func sealed(t *testing.T, p *flow.Plan, of flow.Case, r flow.Ruling) capsule.Capsule {
	t.Helper()
	encode := func(v any) json.RawMessage {
		b, err := json.Marshal(v)
		require.NoError(t, err)
		return b
	}
	return capsule.Capsule{
		Inputs:   []capsule.Input{{Name: "params", Data: encode(of.Params)}, {Name: "application", AsOf: of.Inputs[0].AsOf, Data: encode(of.Inputs[0].Rows)}},
		Computed: []capsule.Computation{{Task: "score", Output: of.Computed[0].Output}}, Rules: encode(p.Rules()), Gaps: encode(of.Gaps), Ruling: encode(r),
		Decision: capsule.Decision{Outcome: string(r.Outcome), By: "rules", Rules: p.RulesDigest()},
	}
}

func TestRulesSayTheSameAgainOfACapsule(t *testing.T) {
	t.Parallel()
	p := plan()
	rules, err := ruling.New(p)
	require.NoError(t, err)
	encode := func(v any) json.RawMessage {
		b, err := json.Marshal(v)
		require.NoError(t, err)
		return b
	}
	of := facts(flow.Row{"income": json.Number("3000.10"), "currency": "EUR"}, `{"points":650,"reasons":[]}`)
	c := sealed(t, p, of, rules.Judge(of))
	require.NoError(t, ruling.Again(c))
	for want, change := range map[string]func(*capsule.Capsule){
		"capsule.rules": func(c *capsule.Capsule) {
			other := plan()
			other.Decide.Rules[0].When = "steps.score.row.points < 700"
			c.Rules = encode(other.Rules())
		},
		"capsule.ruling":   func(c *capsule.Capsule) { c.Computed[0].Output = json.RawMessage(`{"points":499,"reasons":[]}`) },
		"capsule.decision": func(c *capsule.Capsule) { c.Decision.Outcome = "decline" },
		"capsule.data":     func(c *capsule.Capsule) { c.Inputs[1].Data = json.RawMessage(`7`) },
	} {
		touched := c
		touched.Inputs, touched.Computed = append([]capsule.Input{}, c.Inputs...), append([]capsule.Computation{}, c.Computed...)
		change(&touched)
		require.ErrorContains(t, ruling.Again(touched), want)
	}
}
