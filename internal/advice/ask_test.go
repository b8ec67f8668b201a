package advice_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/advice"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

func TestAProvedAnswerBecomesThePlan(t *testing.T) {
	t.Parallel()
	s, m := compiled(t), &says{answers: []string{good}}
	p := ask(t, s, m, customer())
	require.Equal(t, flow.AdviceProposed, p.State)
	require.Equal(t, "collect_payment", p.Action)
	require.Equal(t, "Ask for what is overdue", p.Title)
	require.Equal(t, []string{"receivables/R-9"}, p.Evidence)
	require.Equal(t, []string{flow.AdviceOfModel, "nba", "3"}, []string{p.Source, p.Model, p.Version}, "as the server reports them")
	require.Len(t, p.Digest, 64)
	require.Empty(t, p.Review)
	require.Empty(t, p.Failure)
	require.Equal(t, 1, p.Attempts)
	row, err := s.Row(p)
	require.NoError(t, err)
	require.Equal(t, flow.Row{"customer": "C-1", "action": "collect_payment", "why": "Invoice R-9 over €300.10 was due 2026-04-20.", "note": "",
		"evidence": "receivables/R-9", "overdue": json.Number("300.1"), "ordered": json.Number("1296")}, row)
}

func TestFactsAreExact(t *testing.T) {
	t.Parallel()
	p := ask(t, compiled(t), &says{answers: []string{good}}, customer())
	require.Equal(t, flow.Row{"orders": json.Number("4"), "ordered": json.Number("1296"), "overdue": json.Number("300.1"), "oldest": "2026-04-20",
		"complaints": json.Number("0"), "latest": json.Number("7")}, p.Facts)
	in := customer()
	rows := make([]flow.Row, 10)
	for i := range rows {
		rows[i] = flow.Row{"number": json.Number("1"), "amount": json.Number("0.1"), "ordered": "2026-01-01"}
	}
	in.Sources["orders"] = advice.Source{AsOf: time.Now(), Rows: rows}
	require.Equal(t, json.Number("1"), ask(t, compiled(t), &says{answers: []string{good}}, in).Facts["ordered"], "ten times a tenth is one")
}

func TestTheModelIsShownWhatTheSectionNamesAndNothingElse(t *testing.T) {
	t.Parallel()
	m := &says{answers: []string{good}}
	ask(t, compiled(t), m, customer())
	q := m.asked[0]
	var seen struct {
		Evidence []struct {
			ID  string
			Row map[string]any
		}
	}
	require.NoError(t, json.Unmarshal(q.Evidence, &seen))
	var ids []string
	for _, e := range seen.Evidence {
		ids = append(ids, e.ID)
		require.NotContains(t, e.Row, "secret", "a column that is not declared")
		require.NotContains(t, e.Row, "overdue", "a column that only a fact uses")
	}
	require.Equal(t, []string{"orders/4713", "orders/4712", "orders/4711", "receivables/R-8", "receivables/R-9", "documents/d1"}, ids,
		"the newest orders, as many as may be shown")
	require.NotContains(t, string(q.Evidence)+q.Instructions, "C-1", "a model does not need to know who it is")
	require.NotContains(t, q.Instructions, "raise_limit", "what is impossible is not offered")
	require.NotContains(t, string(q.Schema), "raise_limit")
	require.Contains(t, q.Instructions, "propose_offer: Propose an offer")
}

func TestTheSameRowsInAnyOrderAreTheSameQuestion(t *testing.T) {
	t.Parallel()
	in := customer()
	a, b := &says{answers: []string{good}}, &says{answers: []string{good}}
	first := ask(t, compiled(t), a, in)
	slices.Reverse(in.Sources["orders"].Rows)
	slices.Reverse(in.Sources["receivables"].Rows)
	second := ask(t, compiled(t), b, in)
	require.Equal(t, first, second)
	require.Equal(t, a.asked, b.asked)
	in.Sources["receivables"].Rows[0]["amount"] = json.Number("300.11")
	require.NotEqual(t, first.Digest, ask(t, compiled(t), &says{answers: []string{good}}, in).Digest)
}

func TestRowsWithTheSameIDAreToldApart(t *testing.T) {
	t.Parallel()
	in := customer()
	in.Sources["documents"] = advice.Source{AsOf: time.Now(), Rows: []flow.Row{{"id": "d", "class": "x"}, {"id": "d", "class": "a"}, {"id": "d/e", "class": "x"}, {"class": "y"}}}
	m := &says{answers: []string{good}}
	ask(t, compiled(t), m, in)
	for _, id := range []string{`"documents/d","row":{"class":"a"`, `"documents/d~2","row":{"class":"x"`, `"documents/d_e"`, `"documents/_"`} {
		require.Contains(t, string(m.asked[0].Evidence), id)
	}
}

func TestRowsBeyondTheLimitAreNeitherShownNorEvidence(t *testing.T) {
	t.Parallel()
	m := &says{answers: []string{good}}
	p := ask(t, compiled(t, func(a *flow.Advise) { a.Limits.Request = 250; a.Attempts = 1 }), m, customer())
	require.NotContains(t, string(m.asked[0].Evidence), "receivables/R-9")
	require.Equal(t, string(advice.UnknownRow), p.Failure, "what was not shown cannot be cited")
}

func TestARefusedAnswerIsAskedForAgainWithTheReasonAndThenTheRulesDecide(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	m := &says{answers: []string{`{"action":"collect_payment","reason":"Overdue is 12345.","evidence":["receivables/R-9"]}`}}
	p := ask(t, s, m, customer())
	require.Len(t, m.asked, 2)
	require.NotEqual(t, m.asked[0].ID, m.asked[1].ID)
	require.Contains(t, m.asked[1].Instructions, "has a number that is neither")
	require.NotContains(t, m.asked[1].Instructions, "12345", "nothing of an answer goes back")
	require.Equal(t, flow.AdviceOfRules, p.Source)
	require.Equal(t, "collect_payment", p.Action)
	require.Equal(t, "Overdue is 300.1", p.Reason)
	require.Equal(t, []string{"receivables/R-9"}, p.Evidence, "the rows behind the facts of the rule")
	require.Equal(t, string(advice.UnknownNumber), p.Failure)
	require.Equal(t, "the model failed: answer.number_unknown", p.Review)

	m = &says{answers: []string{"no", good}}
	p = ask(t, s, m, customer())
	require.Equal(t, flow.AdviceOfModel, p.Source)
	require.Empty(t, p.Failure)
	require.Empty(t, p.Review)
	require.Equal(t, 2, p.Attempts)
}

func TestFailuresOfTheModelAreBoundedAndNeverAnError(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err     error
		asked   int
		code    string
		review  bool // by the policy "rejected"
		refused bool
	}{
		"throttled for longer than we wait": {fault.ThrottledFor(time.Hour, "model.throttled", "x", nil), 1, "model.throttled", false, false},
		"throttled for a moment":            {fault.ThrottledFor(time.Millisecond, "model.throttled", "x", nil), 2, "model.throttled", false, false},
		"not available":                     {fault.New(fault.Unavailable, "model.unavailable", "x", nil), 2, "model.unavailable", false, false},
		"credentials that are wrong":        {fault.New(fault.Unauthorized, "model.unauthorized", "x", nil), 1, "model.unauthorized", false, false},
		"an endless answer":                 {fault.New(fault.Rejected, "vendor.too_large", "x", nil), 2, "vendor.too_large", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := 0
			p := ask(t, compiled(t), asks(func(context.Context, advice.Question) (advice.Reply, error) { n++; return advice.Reply{}, c.err }), customer())
			require.Equal(t, c.asked, n)
			require.Equal(t, flow.AdviceOfRules, p.Source)
			require.Equal(t, c.code, p.Failure)
			require.Equal(t, c.review, p.Review != "")
			require.Equal(t, c.refused, p.Refused)
			require.Equal(t, []string{"next-best-action", ""}, []string{p.Model, p.Version}, "what was asked for")
		})
	}
}

func TestAQueueOfOurOwnIsNoFailureOfTheModel(t *testing.T) {
	t.Parallel()
	n := 0
	p := ask(t, compiled(t, func(a *flow.Advise) { a.Attempts = 1 }), asks(func(context.Context, advice.Question) (advice.Reply, error) {
		if n++; n < 3 {
			return advice.Reply{}, fault.ThrottledFor(60*time.Millisecond, "quota.used_up", "x", nil)
		}
		return advice.Reply{Answer: []byte(good)}, nil
	}), customer())
	require.Equal(t, 3, n, "beyond the patience that the model has, and beyond its attempts")
	require.Equal(t, flow.AdviceOfModel, p.Source)
	require.Equal(t, 1, p.Attempts)
	require.Empty(t, p.Failure)
}

func TestARuleThatDoesNotFitACustomerIsNoErrorOfTheRest(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(*flow.Advise){
		"condition": func(a *flow.Advise) { a.Rules[0].When = "divide(1, facts.complaints, 2) > 0" },
		"reason":    func(a *flow.Advise) { a.Rules[1].Reason = "string(divide(1, facts.complaints, 2))" },
	} {
		p := ask(t, compiled(t, change, func(a *flow.Advise) { a.Attempts = 0 }), nil, customer())
		require.Equal(t, flow.AdviceWithheld, p.State)
		require.Contains(t, p.Note, "the "+field+" of rule")
	}
}

func TestAModelThatHangsIsGivenUpAndACallerThatLeavesIsObeyed(t *testing.T) {
	t.Parallel()
	hang := asks(func(ctx context.Context, _ advice.Question) (advice.Reply, error) {
		<-ctx.Done()
		return advice.Reply{}, ctx.Err()
	})
	p := ask(t, compiled(t, func(a *flow.Advise) { a.Timeout = time.Millisecond; a.Patience = 0 }), hang, customer())
	require.Equal(t, "model.timeout", p.Failure)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := compiled(t).Ask(ctx, hang, customer())
	require.ErrorIs(t, err, context.Canceled)
}

func TestAModelIsNotAskedForNothing(t *testing.T) {
	t.Parallel()
	never := asks(func(context.Context, advice.Question) (advice.Reply, error) { panic("asked") })
	p := ask(t, compiled(t, func(a *flow.Advise) { a.Attempts = 0 }), never, customer())
	require.Equal(t, "collect_payment", p.Action)
	require.Empty(t, p.Failure)
	now := time.Now()
	p = ask(t, compiled(t), never, advice.Input{Key: "C-2", Sources: map[string]advice.Source{"orders": {AsOf: now}, "receivables": {AsOf: now}, "documents": {AsOf: now}}})
	require.Equal(t, "model.nothing_to_show", p.Failure)
	require.Equal(t, "Orders so far: 0", p.Reason)
}

func TestWhoAnsweredIsKeptOnlyIfItLooksLikeAName(t *testing.T) {
	t.Parallel()
	p := ask(t, compiled(t), asks(func(context.Context, advice.Question) (advice.Reply, error) {
		return advice.Reply{Model: "<script>", Version: "org/m:1@x", Answer: []byte(good)}, nil
	}), customer())
	require.Equal(t, []string{"next-best-action", "org/m:1@x"}, []string{p.Model, p.Version})
}

func TestReviewFollowsThePolicyOfTheSection(t *testing.T) {
	t.Parallel()
	bad, down := &says{answers: []string{"no"}}, asks(func(context.Context, advice.Question) (advice.Reply, error) {
		return advice.Reply{}, fault.New(fault.Unavailable, "model.unavailable", "x", nil)
	})
	for policy, want := range map[flow.AdviseReview][3]bool{
		flow.ReviewNever: {false, false, false}, flow.ReviewRejected: {false, true, false}, flow.ReviewFailed: {false, true, true}, flow.ReviewAlways: {true, true, true},
	} {
		s := compiled(t, func(a *flow.Advise) { a.Review = policy })
		for i, m := range []advice.Model{&says{answers: []string{good}}, bad, down} {
			require.Equal(t, want[i], ask(t, s, m, customer()).Review != "", "%s, %d", policy, i)
		}
	}
	s := compiled(t, func(a *flow.Advise) { a.Review, a.Actions[0].Review = flow.ReviewNever, true })
	require.Equal(t, "each collect_payment is looked at", ask(t, s, &says{answers: []string{good}}, customer()).Review)
}
