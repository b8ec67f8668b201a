package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"patchbay/internal/advice"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/review"
	"patchbay/internal/run"
)

// decisions are the action plans of all flows, and what people decide about them.
type decisions struct {
	*review.Reviews
	plans   *run.Plans
	mappers *mappers
}

// Decide approves of a plan that waits, changes or rejects it. Another action is one of
// the flow's, as it is by now, that is possible for the customer.
func (d decisions) Decide(ctx context.Context, id int64, by flow.PlanDecision) (flow.ActionPlan, error) {
	if !by.Approve || by.Action == "" {
		return d.Reviews.Decide(ctx, id, by, nil, nil)
	}
	item, err := d.Get(ctx, id)
	if err != nil {
		return item, err
	}
	plan, _, err := d.plans.Current(ctx, item.Flow)
	if err != nil {
		return item, fmt.Errorf("loading the plan: %w", err)
	}
	c, err := d.mappers.of(plan)
	if err != nil {
		return item, err
	}
	if c.advice == nil {
		return item, fault.New(fault.Conflict, "review.no_advice", "the flow "+item.Flow+" does not ask for advice any more; approve of the plan as it is, or reject it", nil)
	}
	var proposed advice.Plan
	if err := exact(item.Plan, &proposed); err != nil {
		return item, err
	}
	chosen, err := c.advice.Choose(proposed, by.Action, by.Reason)
	if err != nil {
		return item, err
	}
	row, err := c.advice.Row(chosen)
	if err != nil {
		return item, fmt.Errorf("mapping the plan: %w", err)
	}
	body, err := json.Marshal(chosen)
	if err != nil {
		return item, fault.New(fault.Bug, "advise.plan", "a plan that cannot be encoded", err)
	}
	return d.Reviews.Decide(ctx, id, by, body, row)
}

// exact decodes what we have encoded, numbers exact.
func exact(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return fault.New(fault.Bug, "bug.stored", "what is stored cannot be read", err)
	}
	return nil
}
