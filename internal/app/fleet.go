package app

import (
	"context"
	"slices"

	"patchbay/fleet"
	"patchbay/internal/contract"
	"patchbay/internal/durable"
	"patchbay/internal/risk/calculators"
	"patchbay/internal/telemetry"

	"patchbay/calculator"
)

// Compute runs a process that hosts the calculators of this program and nothing else, until
// ctx ends. It opens no database and resolves no reference.
func Compute(ctx context.Context, o fleet.Options) error {
	all, err := calculators.All()
	if err != nil {
		return err
	}
	return fleet.Run(ctx, o, all...)
}

// MainQueue is the queue of all that is not computed.
const MainQueue = string(contract.Main)

// Computes gives the queues among names whose tasks are computations; of none, those of
// the example flows.
func Computes(names []string) []string {
	if len(names) == 0 {
		return []string{string(contract.Risk)}
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == MainQueue })
}

// hosted are the calculators of this program.
func hosted() []calculator.Calculator {
	all, err := calculators.All()
	if err != nil { // the committed scorecard, which a test opens
		panic("app: " + err.Error())
	}
	return all
}

// computing is the Host of a process that does more than compute.
func (c *core) computing(queues []string, t fleet.Tuning) (*fleet.Host, error) {
	all, err := calculators.All()
	if err != nil {
		return nil, err
	}
	registry, err := calculator.Register(all...)
	if err != nil {
		return nil, err
	}
	named := make([]contract.Queue, len(queues))
	for i, q := range queues {
		named[i] = contract.Queue(q)
	}
	return fleet.NewHost(c.temporal, named, registry, t, c.Log), nil
}

// backlogs are what waits for the fleet, by queue: that of the examples, and those that flows
// in force name.
func (c *core) backlogs(ctx context.Context) ([]telemetry.Queue, error) {
	applied, err := c.plans.List(ctx)
	if err != nil {
		return nil, err
	}
	names := Computes(nil)
	for _, a := range applied {
		if a.Plan == nil || a.Plan.Saga == nil {
			continue
		}
		for _, t := range a.Plan.Saga.Tasks {
			if t.Calculate != nil && !slices.Contains(names, t.Calculate.Queue) {
				names = append(names, t.Calculate.Queue)
			}
		}
	}
	var list []telemetry.Queue
	for _, name := range names {
		for _, lane := range []contract.Queue{contract.Queue(name), contract.Queue(name).Batch()} {
			found, err := durable.ActivityBacklog(ctx, c.temporal, c.Namespace, string(lane))
			if err != nil {
				return nil, err
			}
			list = append(list, telemetry.Queue{Name: string(lane), Waiting: found.Waiting, Age: found.Age, Pollers: found.Pollers})
		}
	}
	return list, nil
}
