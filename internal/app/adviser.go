package app

import (
	"context"
	"encoding/json"
	"fmt"

	"patchbay/internal/advice"
	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/review"
	"patchbay/internal/stage"
)

// adviser has plans proposed as the section advise of a flow says.
type adviser struct {
	mappers *mappers
	systems *systems
}

// Advise implements activities.Adviser.
func (a adviser) Advise(ctx context.Context, plan *flow.Plan, c stage.Customer) (review.Proposal, error) {
	compiled, err := a.mappers.of(plan)
	if err != nil {
		return review.Proposal{}, err
	}
	in := advice.Input{Key: c.Key, Sources: make(map[string]advice.Source, len(c.Sources))}
	for name, s := range c.Sources {
		in.Sources[name] = advice.Source(s)
	}
	proposed, err := compiled.advice.Ask(ctx, prophet{a.systems, plan}, in)
	if err != nil {
		return review.Proposal{}, fmt.Errorf("asking for advice: %w", err)
	}
	body, err := json.Marshal(proposed)
	if err != nil {
		return review.Proposal{}, fault.New(fault.Bug, "advise.plan", "a plan that cannot be encoded", err)
	}
	p := review.Proposal{Key: c.Key, Plan: body, Why: proposed.Review, Stale: proposed.Stale}
	if p.Row, err = compiled.advice.Row(proposed); err != nil { // of this customer alone
		p.Refused = fault.Of(err).Text
	}
	return p, nil
}

// Delivery implements activities.Adviser.
func (a adviser) Delivery(plan *flow.Plan) (*flow.Plan, error) {
	compiled, err := a.mappers.of(plan)
	if err != nil {
		return nil, err
	}
	return compiled.delivery, nil
}

// delivery writes the plans of a flow, and nothing else of it.
func delivery(plan *flow.Plan) *flow.Plan {
	only := *plan
	w := plan.Advise.Write
	only.Write, only.Map = &flow.Write{Connection: w.Connection, Table: w.Table, Key: w.Key}, w.Map
	only.Gather, only.Advise, only.Schedule = nil, nil, nil
	return &only
}

// prophet is the model of a plan, opened when it is asked: one that cannot be opened has
// failed, and the rules decide.
type prophet struct {
	systems *systems
	plan    *flow.Plan
}

// Ask implements advice.Model.
func (m prophet) Ask(ctx context.Context, q advice.Question) (advice.Reply, error) {
	system, err := m.systems.open(ctx, m.plan, m.plan.Advise.Connection)
	if err != nil {
		return advice.Reply{}, err
	}
	p, ok := system.(connector.Predictor)
	if !ok {
		return advice.Reply{}, lacking(m.plan.Advise.Connection, "predict")
	}
	return predictor{p}.Ask(ctx, q)
}
