package app

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"patchbay/calculator"
	"patchbay/internal/calendar"
	"patchbay/internal/decision"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/ruling"
)

// rulings implements activities.Rulings.
type rulings struct{ mappers *mappers }

func (r rulings) of(plan *flow.Plan) (*ruling.Rules, error) {
	c, err := r.mappers.of(plan)
	if err == nil && c.rules == nil {
		err = fault.New(fault.Bug, "bug.plan", "the plan decides nothing", nil)
	}
	return c.rules, err
}

// Require implements activities.Rulings.
func (r rulings) Require(plan *flow.Plan, of flow.Case) (*flow.Ruling, error) {
	rules, err := r.of(plan)
	if err != nil {
		return nil, err
	}
	return rules.Require(ruling.Inputs(of)), nil
}

// Propose implements activities.Rulings.
func (r rulings) Propose(plan *flow.Plan, of flow.Case, now time.Time) (decision.Proposal, error) {
	rules, err := r.of(plan)
	if err != nil {
		return decision.Proposal{}, err
	}
	p := decision.Proposal{Summary: plan.Summary, RulesDigest: plan.RulesDigest(), Case: of, Ruling: rules.Judge(of)}
	if p.Rules, err = json.Marshal(plan.Rules()); err != nil {
		return p, fault.New(fault.Bug, "bug.plan", "rules that cannot be encoded", err)
	}
	if p.Ruling.Outcome != flow.Refer {
		return p, nil
	}
	care, err := rules.Care(of)
	if err != nil {
		return p, err
	}
	p.FourEyes, p.Conflicts, p.Show, p.Late = care.FourEyes, care.Conflicts, care.Show, plan.Review.Late
	p.Due = now.Add(plan.Review.Deadline)
	if plan.Review.Hours != nil {
		if p.Due, err = calendar.Within(*plan.Review.Hours, p.Due); err != nil {
			return p, fmt.Errorf("finding the working day after the deadline: %w", err)
		}
	}
	return p, nil
}

// Question implements activities.Rulings: figures by their paths become one object.
func (r rulings) Question(plan *flow.Plan, in flow.Row) (json.RawMessage, error) {
	rows, err := r.mappers.Map(plan, in, []flow.Row{{}})
	if err != nil {
		return nil, fmt.Errorf("mapping the figures: %w", err)
	}
	root := flow.Row{}
	for path, v := range rows[0] {
		parts := strings.Split(path, ".")
		at := root
		for _, part := range parts[:len(parts)-1] {
			below, ok := at[part].(flow.Row)
			if !ok {
				below = flow.Row{}
				at[part] = below
			}
			at = below
		}
		at[parts[len(parts)-1]] = v
	}
	body, err := json.Marshal(root)
	if err != nil {
		return nil, fault.New(fault.Rejected, "hybrid.figures", "the figures are no JSON", err)
	}
	return calculator.Canonical(body)
}

// decided is the answer of a hybrid run: what was decided and, unless that was nothing, the
// columns of answer.
func (c compiled) decided(in flow.Row) (flow.Result, error) {
	steps, _ := in["steps"].(flow.Row)
	gave, _ := steps[flow.DecisionStep].(flow.Row)
	row, _ := gave["row"].(flow.Row)
	if row == nil {
		return flow.Result{}, fault.New(fault.Bug, "hybrid.decision", "a run has ended without a decision", nil)
	}
	text := func(name string) string { v, _ := row[name].(string); return v }
	list := func(name string) (out []string) {
		for _, v := range row[name].([]any) {
			if one, ok := v.(string); ok {
				out = append(out, one)
			}
		}
		return out
	}
	r := flow.Result{Decision: flow.Outcome(text("outcome")), Rule: text("rule"), By: text("by"), Reasons: list("reasons"), Partial: list("partial")}
	if c.saga.answer == nil || r.Decision == flow.Refuse {
		return r, nil
	}
	var err error
	if r.Rows, err = c.saga.answer.Map(in, []flow.Row{{}}); err != nil {
		return flow.Result{}, fmt.Errorf("making the answer: %w", err)
	}
	r.Count = len(r.Rows)
	return r, nil
}
