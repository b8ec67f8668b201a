package app

import (
	"context"
	"time"

	"go.uber.org/zap"

	"patchbay/internal/connector"
	"patchbay/internal/replica"
)

const (
	// retireEvery is how often is looked for feeds that nobody follows any more.
	retireEvery = 5 * time.Second
	// retireFor is how long one is looked after that is gone: whoever followed it by the plan
	// before may make it once more, until its round ends.
	retireFor = 2 * mirrorRound
)

// retire removes, until ctx ends, what systems keep for tables that no flow in force
// follows: the log of a system is kept as long as a slot is not read, until its disk is
// full. What cannot be removed is tried again.
func (c *core) retire(ctx context.Context) {
	ticks := time.NewTicker(retireEvery)
	defer ticks.Stop()
	failed := map[replica.Feed]bool{}
	for {
		feeds, err := c.replica.Feeds(ctx)
		for _, f := range feeds {
			if err != nil || c.follows(ctx, f) {
				continue
			}
			err := c.drop(ctx, f)
			if err != nil && ctx.Err() == nil && !failed[f] { // once
				c.Log.Warn("a slot that nobody reads any more could not be removed; it is tried again",
					zap.String("flow", f.Flow), zap.String("table", f.Table), zap.String("connection", f.Connection), zap.Error(err))
			}
			failed[f] = err != nil
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

// follows reports whether a feed is of use. Only a plan that can be read says that it is
// not.
func (c *core) follows(ctx context.Context, f replica.Feed) bool {
	plan, _, err := c.plans.Current(ctx, f.Flow)
	if err != nil {
		return true
	}
	if plan.Sync == nil {
		return false
	}
	r := plan.Sync.Region(c.Region)
	return r != nil && r.Connection == f.Connection && plan.Sync.Table(f.Table) != nil
}

func (c *core) drop(ctx context.Context, f replica.Feed) error {
	system, err := c.systems.current(ctx, f.Connection)
	if err != nil {
		return err
	}
	if tailer, ok := system.(connector.Tailer); ok {
		if err := tailer.DropFeed(ctx, f.Name); err != nil {
			return err
		}
	}
	return c.replica.Unfollow(ctx, f, retireFor)
}
