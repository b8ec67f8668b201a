package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"patchbay/internal/connector"
	"patchbay/internal/flow"
)

// subscribe has the systems that can be told so deliver the events of each flow to
// this Patchbay, at base. What fails is said of each flow by itself, and the sweep
// finds its events meanwhile.
func (c *core) subscribe(ctx context.Context, base string) []error {
	applied, err := c.plans.List(ctx)
	if err != nil {
		return []error{err}
	}
	var failed []error
	for _, a := range applied {
		for _, name := range sourcesOf(a.Plan, c.Region) {
			if err := c.subscribeOne(ctx, a.Plan, name, hookOf(base, a.Plan)); err != nil {
				failed = append(failed, fmt.Errorf("subscribing %s at %s: %w", a.Plan.Flow, name, err))
			}
		}
	}
	return failed
}

func (c *core) subscribeOne(ctx context.Context, plan *flow.Plan, name, url string) error {
	system, err := c.systems.open(ctx, plan, name)
	if err != nil {
		return err
	}
	subscriber, can := system.(connector.Subscriber)
	if !can {
		return nil
	}
	if plan.Sync == nil {
		return subscriber.Subscribe(ctx, url, subscriptions(plan, name))
	}
	if err := subscriber.Subscribe(ctx, url, awakening(plan.Sync)); err != nil {
		return err
	}
	return c.replica.Hooked(ctx, plan.Flow, url)
}

const (
	// hooksSetting is where sources deliver to an installation, as `apply --hooks` was told.
	hooksSetting = "hooks"
	// renewEvery is how often subscriptions are looked at, and subscribeEvery how often while
	// one of them is missing: who is to be told may not be there yet.
	renewEvery     = time.Hour
	subscribeEvery = time.Minute
)

// subscribed keeps the subscriptions of sources until ctx ends. base is where they deliver;
// empty: where apply was told. What is missing is made, and what ends by itself is
// lengthened. What fails is tried again; the sweep finds what is told to nobody meanwhile.
// tried is called when all was tried for the first time.
func (c *core) subscribed(ctx context.Context, base string, tried func()) {
	tried = sync.OnceFunc(tried)
	ticks := time.NewTicker(c.sooner(subscribeEvery))
	defer ticks.Stop()
	var at string
	var kept time.Time
	for {
		now, err := base, error(nil)
		if base == "" {
			var chosen []byte
			chosen, err = c.store.Chosen(ctx, hooksSetting)
			now = string(chosen)
		}
		if err == nil && (now != at || time.Since(kept) > c.sooner(renewEvery)) {
			if err = c.keepSubscriptions(ctx, now); err == nil {
				at, kept = now, time.Now()
			}
		}
		if err != nil && ctx.Err() == nil {
			c.Log.Warn("not every source delivers; the sweep finds what is told to nobody, and it is tried again", zap.Error(err))
		}
		tried()
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return
		}
	}
}

// sooner is a duration in the time of this installation.
func (c *core) sooner(d time.Duration) time.Duration {
	return max(time.Duration(float64(d)/max(c.Speed, 1)), time.Second)
}

// keepSubscriptions makes and lengthens what is due. Where nobody said where to deliver, who
// subscribed by hand has subscriptions lengthened.
func (c *core) keepSubscriptions(ctx context.Context, base string) error {
	if base == "" {
		return c.renew(ctx)
	}
	return errors.Join(c.subscribe(ctx, base)...)
}

func (c *core) renew(ctx context.Context) error {
	applied, err := c.plans.List(ctx)
	if err != nil {
		return err
	}
	done := map[string]bool{}
	var failed []error
	for _, a := range applied {
		for _, name := range sourcesOf(a.Plan, c.Region) {
			if done[name] {
				continue
			}
			done[name] = true
			system, err := c.systems.open(ctx, a.Plan, name)
			if renewer, ok := system.(connector.Renewer); err == nil && ok {
				err = renewer.Renew(ctx)
			}
			if err != nil {
				failed = append(failed, fmt.Errorf("renewing the subscriptions of %s: %w", name, err))
			}
		}
	}
	return errors.Join(failed...)
}

func hookOf(base string, plan *flow.Plan) string {
	return strings.TrimRight(base, "/") + "/v1/hooks/" + plan.Flow
}

// awakening is what wakes an export: that one of the columns changed that may cross. What
// it tells is the key and nothing else; the export reads what it needs (promise 5).
func awakening(s *flow.Sync) []connector.Subscription {
	list := make([]connector.Subscription, len(s.Tables))
	for i := range s.Tables {
		t := &s.Tables[i]
		list[i] = connector.Subscription{Table: t.Name, Changes: []string{string(flow.Created), string(flow.Updated), string(flow.Deleted)}, Select: crossing(t), Columns: t.Key}
	}
	return list
}

// sourcesOf gives the connections that a flow reacts to, or follows in a region.
func sourcesOf(plan *flow.Plan, region string) []string {
	var names []string
	if plan.Sync != nil && plan.Sync.Region(region) != nil {
		return []string{plan.Sync.Region(region).Connection}
	}
	if plan.Reaction == nil {
		return nil
	}
	for _, t := range plan.Reaction.On {
		if !slices.Contains(names, t.Connection) {
			names = append(names, t.Connection)
		}
	}
	return names
}

// subscriptions are what a flow wants to be told of by one connection: one for each
// table, which covers all of its triggers.
func subscriptions(plan *flow.Plan, name string) []connector.Subscription {
	var list []connector.Subscription
	at := map[string]int{}
	whole := map[string]bool{} // an update of whatever column counts
	for _, t := range plan.Reaction.On {
		if t.Connection != name {
			continue
		}
		i, there := at[t.Table]
		if !there {
			i = len(list)
			at[t.Table] = i
			list = append(list, connector.Subscription{Table: t.Table})
		}
		s := &list[i]
		for _, change := range t.Change {
			s.Changes = union(s.Changes, string(change))
			whole[t.Table] = whole[t.Table] || change == flow.Updated && len(t.Select) == 0
		}
		s.Select, s.Columns = union(s.Select, t.Select...), union(s.Columns, t.Columns...)
	}
	for i := range list {
		if whole[list[i].Table] {
			list[i].Select = nil
		}
	}
	return list
}

func union(list []string, more ...string) []string {
	for _, m := range more {
		if !slices.Contains(list, m) {
			list = append(list, m)
		}
	}
	return list
}
