package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// pulse is how often a working activity reports that it lives. A cancel reaches
// an activity only with the answer to a heartbeat, so this is also how long a
// cancel waits; an activity that is done sooner sends none.
const pulse = 500 * time.Millisecond

// enough is the least time that makes an attempt worth beginning. One with less
// would be cut off in our own bookkeeping and hide why the run is late.
const enough = 250 * time.Millisecond

// late is the fault of an attempt that has no time left, nil when it has.
func late(ctx context.Context) error {
	if end, ok := ctx.Deadline(); ok && time.Until(end) < enough {
		return fault.New(fault.Unavailable, flow.DeadlineCode, "no answer within the time the flow allows", nil)
	}
	return nil
}

// alive returns a context that ends at 80 % of the attempt's timeout, so that an
// attempt has stopped before Temporal begins the next one, and heartbeats until
// the returned function is called.
func alive(ctx context.Context) (context.Context, func()) {
	info := activity.GetInfo(ctx)
	ctx, cancel := context.WithDeadline(ctx, info.StartedTime.Add(info.Deadline.Sub(info.StartedTime)*4/5))
	stopped := make(chan struct{})
	beat := context.WithoutCancel(ctx) // an attempt that hears out what it sent is alive after a cancel, too
	go func() {
		tick := time.NewTicker(pulse)
		defer tick.Stop()
		for {
			select {
			case <-stopped:
				return
			case <-tick.C:
				activity.RecordHeartbeat(beat)
			}
		}
	}()
	return ctx, func() { close(stopped); cancel() }
}
