package app

import (
	"context"

	"patchbay/internal/flow"
	"patchbay/internal/paid"
	"patchbay/internal/run"
)

// payments are what was paid, beside the budgets of the connections that flows use now.
type payments struct {
	*paid.Paid
	plans *run.Plans
}

// PaidOn implements httpapi.Paid.
func (p payments) PaidOn(ctx context.Context, day string) (flow.PaidDay, error) {
	applied, err := p.plans.List(ctx)
	if err != nil {
		return flow.PaidDay{}, err
	}
	var budgets []flow.Connection
	seen := map[string]bool{}
	for _, a := range applied {
		for name := range a.Plan.Bindings {
			if seen[name] {
				continue
			}
			seen[name] = true
			c, err := p.plans.Connection(ctx, name)
			if err != nil {
				return flow.PaidDay{}, err
			}
			if c.Budget != nil {
				budgets = append(budgets, c)
			}
		}
	}
	return p.Day(ctx, day, budgets)
}
