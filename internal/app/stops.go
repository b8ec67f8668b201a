package app

import (
	"context"
	"slices"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/quota"
	"patchbay/internal/run"
	"patchbay/internal/stop"
)

// stops tells people what is stopped, and what waits for that.
type stops struct {
	*stop.Stops
	plans  *run.Plans
	book   *run.Book
	quotas *quota.Quotas
}

// Stopped implements httpapi.Stops.
func (s stops) Stopped(ctx context.Context) ([]flow.Stopped, error) {
	list, err := s.List(ctx)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	applied, err := s.plans.List(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]flow.Stopped, len(list))
	for i, one := range list {
		out[i] = flow.Stopped{Stop: one, Flows: []string{}}
		for _, a := range applied {
			if stops := one.Kind == flow.StopFlow && one.Name == a.Plan.Flow ||
				one.Kind == flow.StopConnection && slices.Contains(append(a.Plan.Needs(false), a.Plan.Needs(true)...), one.Name); stops {
				out[i].Flows = append(out[i].Flows, a.Plan.Flow)
			}
		}
		if out[i].Runs, err = s.book.Unclaimed(ctx, out[i].Flows); err != nil {
			return nil, err
		}
		if out[i].Drains, err = s.drains(ctx, out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// drains gives how many seconds what waits will take once a connection is in use again;
// nil where it states no quota.
func (s stops) drains(ctx context.Context, of flow.Stopped) (*float64, error) {
	if of.Kind != flow.StopConnection || of.Runs == 0 {
		return nil, nil
	}
	c, err := s.plans.Connection(ctx, of.Name)
	if err != nil || len(c.Quotas) == 0 {
		return nil, err
	}
	look, err := s.quotas.Look(ctx, c)
	if err != nil {
		return nil, err
	}
	messages := 0
	for _, name := range of.Flows {
		if plan, _, err := s.plans.Current(ctx, name); err == nil {
			messages = max(messages, messagesOf(plan))
		}
	}
	wait, _ := look.Drain(messages, of.Runs)
	seconds := wait.Seconds()
	return &seconds, nil
}

// Hold implements httpapi.Stops.
func (s stops) Hold(ctx context.Context, kind flow.StopKind, name, by, reason string) error {
	if err := s.there(ctx, kind, name); err != nil {
		return err
	}
	return s.Stops.Hold(ctx, kind, name, by, reason)
}

// there finds what is to be held.
func (s stops) there(ctx context.Context, kind flow.StopKind, name string) error {
	if kind == flow.StopConnection {
		all, err := s.plans.Connections(ctx)
		if err != nil {
			return err
		}
		names := make([]string, len(all))
		for i, c := range all {
			if names[i] = c.Name; c.Name == name {
				return nil
			}
		}
		if meant := fault.Closest(name, names); meant != "" {
			return fault.NotFoundf("connection.not_found", "there is no connection %.60q; did you mean %q?", name, meant)
		}
		return fault.NotFoundf("connection.not_found", "there is no connection %.60q; connections.yaml has those that there are", name)
	}
	plan, _, err := s.plans.Current(ctx, name)
	switch {
	case err != nil:
		return err
	case plan.Schedule != nil:
		return fault.Invalidf("stop.scheduled", "%s runs by a schedule, which is paused by POST /v1/flows/%s/hold", name, name)
	case plan.Sync != nil:
		return fault.Invalidf("stop.regions", "%s is a synchronization: hold one of its tables, or a region, by POST /v1/flows/%s/regions/hold", name, name)
	}
	return nil
}
