package run

import (
	"context"

	"patchbay/internal/flow"
)

type (
	// Stops knows which flows and connections are not to be used now; package stop has
	// them.
	Stops interface {
		// Of gives what keeps runs of a flow that needs these connections from starting,
		// nil when nothing does. over says that one of them may try. It returns at once.
		Of(flow string, needs []string) (stop *flow.Stop, over bool)
		// Allow gives how many of them may start now; below 0: any number. Who is told that
		// one may has to start it.
		Allow(ctx context.Context, flow string, needs []string) (int, error)
	}

	// nothing is stopped.
	nothing struct{}
)

func (nothing) Of(string, []string) (*flow.Stop, bool)               { return nil, false }
func (nothing) Allow(context.Context, string, []string) (int, error) { return -1, nil }

// stopped reports which rows of a flow are not to be claimed, by its plan in force: those
// without an answer, and those that have one.
func (b *Book) stopped(ctx context.Context, name string) (unanswered, answered bool) {
	plan, _, err := b.plans.Current(ctx, name)
	if err != nil {
		return false, false
	}
	is := func(answered bool) bool {
		stop, over := b.stops.Of(name, plan.Needs(answered))
		return stop != nil && !over
	}
	return is(false), is(true)
}

// allowed gives the rows that may start now, by the plan of each.
func (b *Book) allowed(ctx context.Context, name string, rows []waitingRow) ([]waitingRow, error) {
	type kind struct {
		digest   string
		answered bool
	}
	most := map[kind]int{}
	left := rows[:0]
	for _, row := range rows {
		k := kind{row.digest, row.answered}
		n, known := most[k]
		if !known {
			n = -1
			plan, err := b.plans.ByDigest(ctx, row.digest)
			switch {
			case err == nil:
				if n, err = b.stops.Allow(ctx, name, plan.Needs(row.answered)); err != nil {
					return nil, err
				}
			case !unreadable(err):
				return nil, err
			}
		}
		if n != 0 {
			left = append(left, row)
		}
		most[k] = max(n-1, min(n, 0))
	}
	return left, nil
}

// Look has whoever claims look at once: something is not stopped any more.
func (b *Book) Look() { b.hub.rowsWait() }

// hindered says of a run that waits to be claimed what keeps it from that; what it left
// its last batch for is over.
func (b *Book) hindered(ctx context.Context, run *flow.Run) {
	if run.Status.Final() || run.WorkflowID != "" || run.Shared != "" {
		return
	}
	if plan, err := b.plans.ByDigest(ctx, run.Digest); err == nil {
		if why := b.hindrance(plan, run.AnsweredAt != nil); why != "" {
			run.Waiting = why
		}
	}
}

// Held says who holds a flow, and why; "" while nobody does.
func (b *Book) Held(name string) string {
	stop, _ := b.stops.Of(name, nil)
	if stop == nil {
		return ""
	}
	return stop.Obstacle()
}

func (b *Book) hindrance(plan *flow.Plan, answered bool) string {
	stop, _ := b.stops.Of(plan.Flow, plan.Needs(answered))
	if stop == nil {
		return ""
	}
	return stop.Obstacle()
}
