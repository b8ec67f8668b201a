package app

import (
	"context"
	"slices"
	"sync"
	"time"

	"patchbay/internal/flow"
	"patchbay/internal/quota"
	"patchbay/internal/run"
)

// gathering is how long a flow whose provider has little room waits for more, so that
// what it claims is worth a run of its own.
const gathering = 5 * time.Second

// allowance knows how many runs of an event flow the provider of its target takes. What
// it does not take stays in windows, which go on collecting.
type allowance struct {
	plans  *run.Plans
	book   *run.Book
	quotas *quota.Quotas
	speed  float64

	mu      sync.Mutex
	short   map[string]time.Time // since when a flow gathers
	sharing map[string][]string  // flows by target
	known   time.Time            // that
}

// allow implements Allow of starters.Inlet. Runs that are open will use what is free
// before new ones do.
func (a *allowance) allow(ctx context.Context, name string, want int) int {
	plan, _, err := a.plans.Current(ctx, name)
	if err != nil || plan.Write == nil {
		return want // nothing to hold back, or nothing that this could decide
	}
	c, err := a.plans.Connection(ctx, plan.Write.Connection)
	if err != nil || len(c.Quotas) == 0 {
		return want
	}
	flows, err := a.flows(ctx, c.Name)
	if err != nil {
		return 0 // the database is away
	}
	open, err := a.book.Unfinished(ctx, flows)
	if err != nil {
		return 0
	}
	look, err := a.quotas.Look(ctx, c)
	if err != nil {
		return 0
	}
	messages := messagesOf(plan)
	return a.gather(name, look.Room(messages, want+open)-open, min(want, int(look.Rate(messages)*a.gathers().Seconds())+1))
}

func (a *allowance) gathers() time.Duration {
	return time.Duration(float64(gathering) / max(a.speed, 1e-3))
}

// gather gives n when it is enough, or nothing came together in time.
func (a *allowance) gather(name string, n, enough int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	since, gathers := a.short[name]
	switch {
	case n >= enough, gathers && time.Since(since) >= a.gathers():
		delete(a.short, name)
		return max(n, 0)
	case !gathers:
		if a.short == nil {
			a.short = map[string]time.Time{}
		}
		a.short[name] = time.Now()
	}
	return 0
}

// flows gives those that write to a connection.
func (a *allowance) flows(ctx context.Context, connection string) ([]string, error) {
	a.mu.Lock()
	known := time.Since(a.known) < 2*time.Second
	list := a.sharing[connection]
	a.mu.Unlock()
	if known {
		return list, nil
	}
	all, err := a.plans.List(ctx)
	if err != nil {
		return nil, err
	}
	sharing := map[string][]string{}
	for _, f := range all {
		if w := f.Plan.Write; w != nil && !slices.Contains(sharing[w.Connection], f.Plan.Flow) {
			sharing[w.Connection] = append(sharing[w.Connection], f.Plan.Flow)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sharing, a.known = sharing, time.Now()
	return sharing[connection], nil
}

// messagesOf is how many messages to people a run of a flow sends.
func messagesOf(plan *flow.Plan) int {
	if plan.Write != nil && plan.Write.Table == "message" {
		return 1
	}
	return 0
}

// forecast implements Forecast of inbox.Options.
func forecast(plans *run.Plans, quotas *quota.Quotas) func(context.Context, *flow.Plan) (func(int64) (time.Duration, bool), error) {
	return func(ctx context.Context, plan *flow.Plan) (func(int64) (time.Duration, bool), error) {
		if plan.Write == nil {
			return nil, nil
		}
		c, err := plans.Connection(ctx, plan.Write.Connection)
		if err != nil || len(c.Quotas) == 0 {
			return nil, err
		}
		look, err := quotas.Look(ctx, c)
		if err != nil {
			return nil, err
		}
		return func(n int64) (time.Duration, bool) { return look.Drain(messagesOf(plan), n) }, nil
	}
}
