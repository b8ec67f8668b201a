package ruling

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"patchbay/internal/expr"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

type (
	// Rules are the requirements and rules of a plan, made ready once.
	Rules struct {
		require []condition
		rules   []rule
		review  *review // nil: nobody reviews
	}

	condition struct {
		flow.Require
		that *expr.Program
	}

	rule struct {
		flow.DecideRule
		when, factors *expr.Program // nil: always, none
	}

	review struct {
		fourEyes, conflicts *expr.Program
		show                map[string]*expr.Program
	}

	// Care is what a review has to mind.
	Care struct {
		FourEyes  bool
		Conflicts []string
		Show      flow.Row
	}
)

// partialReason is what a customer is told where figures are substitutes.
const partialReason = "Not every figure could be confirmed: %s."

// unknownReviewers is why nobody decides what the rules would refer.
const unknownReviewers = "A person would have to decide, and it is not known who may: %s."

// New compiles the rules of a plan. What does not compile is a Bug: flowfile has compiled it before.
func New(plan *flow.Plan) (*Rules, error) {
	env, err := expr.New(expr.Var{Name: "params", Type: expr.Params(plan.Params)}, expr.Var{Name: "steps"})
	if err != nil {
		return nil, err
	}
	compile := func(source string) *expr.Program {
		if source == "" {
			return nil
		}
		p, issues := env.Compile(source, expr.Anything)
		if p == nil && err == nil {
			err = fault.New(fault.Bug, "bug.plan", fmt.Sprintf("an expression of %s does not compile: %s", plan.Flow, issues[0].Message), nil)
		}
		return p
	}
	r := &Rules{}
	for _, one := range plan.Decide.Require {
		r.require = append(r.require, condition{one, compile(one.That)})
	}
	for _, one := range plan.Decide.Rules {
		r.rules = append(r.rules, rule{one, compile(one.When), compile(one.Factors)})
	}
	if plan.Review != nil {
		r.review = &review{fourEyes: compile(plan.Review.FourEyes), conflicts: compile(plan.Review.Conflicts), show: map[string]*expr.Program{}}
		for _, column := range plan.Review.Show {
			r.review.show[column.Name] = compile(column.Expr)
		}
	}
	return r, err
}

// Require gives the requirements that do not hold: nil where all do. in are the variables of
// package expr, see expr.Inputs.
func (r *Rules) Require(in flow.Row) *flow.Ruling {
	var refused *flow.Ruling
	for _, c := range r.require {
		if v, err := c.that.Eval(maps.Clone(in)); err == nil && v == true {
			continue
		}
		if refused == nil {
			refused = &flow.Ruling{Outcome: flow.Refuse, Rule: flow.RequireStep + " " + c.Name}
		}
		refused.Reasons = append(refused.Reasons, c.Reason)
	}
	return refused
}

// Judge gives what is decided of a case. What would be referred is refused where it cannot be
// known who may not decide.
func (r *Rules) Judge(c flow.Case) flow.Ruling {
	ruling := r.judge(Inputs(c), c.Gaps)
	partial := []string{}
	for _, one := range c.Inputs {
		if one.Substitute {
			partial = append(partial, one.Name)
		}
	}
	ruling.Partial = partial
	if ruling.Outcome == flow.Approve && len(partial) > 0 {
		ruling.Outcome, ruling.Reasons = flow.Refer, append(ruling.Reasons, fmt.Sprintf(partialReason, strings.Join(partial, ", ")))
	}
	if ruling.Outcome != flow.Refer {
		return ruling
	}
	if _, err := r.conflicts(Inputs(c)); err != nil {
		ruling.Outcome, ruling.Reasons = flow.Refuse, []string{fmt.Sprintf(unknownReviewers, fault.Of(err).Text)}
	}
	return ruling
}

func (r *Rules) judge(in flow.Row, gaps []flow.Gap) flow.Ruling {
	var missing, failed []flow.Gap
	for _, g := range gaps {
		if g.Kind == flow.TaskCollect {
			missing = append(missing, g)
		} else if g.Kind == flow.TaskCalculate {
			failed = append(failed, g)
		}
	}
	switch {
	case len(missing) > 0:
		return refusal(missing)
	case r.Require(in) != nil:
		return *r.Require(in)
	case len(failed) > 0:
		return refusal(failed)
	}
	for _, one := range r.rules {
		if one.when != nil {
			v, err := one.when.Eval(maps.Clone(in))
			switch {
			case err != nil:
				return r.cannot(one, err)
			case v == false:
				continue
			case v != true:
				return r.cannot(one, fault.New(fault.Rejected, expr.CodeType, "the condition is neither true nor false", nil))
			}
		}
		reasons, err := one.reasons(in)
		if err != nil {
			return r.cannot(one, err)
		}
		return flow.Ruling{Outcome: one.Then, Rule: one.Name, Reasons: reasons}
	}
	return flow.Ruling{Outcome: flow.Refuse, Rule: flow.DecideStep, Reasons: []string{"No rule says anything about this application."}}
}

func refusal(gaps []flow.Gap) flow.Ruling {
	ruling := flow.Ruling{Outcome: flow.Refuse, Rule: string(gaps[0].Kind) + " " + gaps[0].Task}
	for _, g := range gaps {
		ruling.Reasons = append(ruling.Reasons, g.Why)
	}
	return ruling
}

// cannot refuses where a rule cannot be evaluated: it might have declined.
func (r *Rules) cannot(one rule, err error) flow.Ruling {
	return flow.Ruling{Outcome: flow.Refuse, Rule: one.Name, Reasons: []string{fmt.Sprintf("The rule %s could not be applied: %s.", one.Name, fault.Of(err).Text)}}
}

// reasons are the rule's own and those it computes, each once.
func (r rule) reasons(in flow.Row) ([]string, error) {
	out := []string{}
	if r.Reason != "" {
		out = append(out, r.Reason)
	}
	if r.factors == nil {
		return out, nil
	}
	list, err := listOf(r.factors, in)
	if err != nil {
		return out, err
	}
	for _, one := range list {
		if text, ok := one.(string); ok && text != "" {
			out = append(out, text)
		}
	}
	return out, nil
}

// conflicts are who may not decide. One who is null, or has no name, may be anybody: a Rejected fault.
func (r *Rules) conflicts(in flow.Row) ([]string, error) {
	out := []string{}
	if r.review == nil || r.review.conflicts == nil {
		return out, nil
	}
	list, err := listOf(r.review.conflicts, in)
	if err != nil {
		return nil, fmt.Errorf("finding out who may not decide: %w", err)
	}
	for _, one := range list {
		text, _ := one.(string)
		if text = strings.TrimSpace(text); text == "" {
			return nil, fault.New(fault.Rejected, expr.CodeType, "one of those who may not decide has no name", nil)
		}
		out = append(out, text)
	}
	return out, nil
}

func listOf(p *expr.Program, in flow.Row) ([]any, error) {
	v, err := p.Eval(maps.Clone(in))
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		return nil, fault.New(fault.Rejected, expr.CodeType, "what has to be a list of texts is none", nil)
	}
	return list, nil
}

// Inputs are the variables of the expressions of a hybrid flow, of recorded data alone.
func Inputs(c flow.Case) flow.Row {
	steps := make(flow.Row, len(c.Inputs)+len(c.Computed))
	for _, one := range c.Inputs {
		steps[one.Name] = gave(one.Rows)
	}
	for _, one := range c.Computed {
		var row flow.Row
		d := json.NewDecoder(bytes.NewReader(one.Output))
		d.UseNumber()
		if err := d.Decode(&row); err == nil {
			steps[one.Name] = gave([]flow.Row{row})
		}
	}
	return expr.Inputs(c.Params, steps)
}

func gave(rows []flow.Row) flow.Row {
	list := make([]any, len(rows))
	for i, row := range rows {
		list[i] = row
	}
	out := flow.Row{"rows": list, "count": int64(len(rows)), "state": string(flow.TaskDone)}
	if len(rows) > 0 {
		out["row"] = rows[0]
	}
	return out
}

// Care gives what a review has to mind. What cannot be evaluated needs two people; what cannot be
// shown is null; conflicts that cannot be known are an error, and so nobody decides.
func (r *Rules) Care(of flow.Case) (c Care, err error) {
	in := Inputs(of)
	c = Care{Conflicts: []string{}, Show: flow.Row{}}
	if r.review == nil {
		return c, fault.New(fault.Bug, "ruling.review", "the plan has no review", nil)
	}
	if r.review.fourEyes != nil {
		v, err := r.review.fourEyes.Eval(maps.Clone(in))
		c.FourEyes = err != nil || v != false
	}
	for name, show := range r.review.show {
		v, err := show.Eval(maps.Clone(in))
		if err != nil || v == expr.Absent {
			v = nil
		}
		c.Show[name] = v
	}
	c.Conflicts, err = r.conflicts(in)
	return c, err
}
