package activities

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/run"
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
		return overdue()
	}
	return nil
}

func overdue() error {
	return fault.New(fault.Unavailable, flow.DeadlineCode, "no answer within the time the flow allows", nil)
}

// patience is how long one item waits for a system; zero is as long as the
// attempt may. A batch has little: what takes longer leaves it.
type patience struct {
	call time.Duration // one request, the wait for its turn included
	look time.Duration // the look after a write that had no answer
	held func() error  // why nothing may be sent any more; nil: nobody asks
}

// within bounds ctx by d, if d is not zero.
func within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d)
}

// taker hands out the open items of a batch.
type taker interface {
	Take(ctx context.Context, batchID, step string) ([]run.Item, error)
}

// alone takes the item of a batch of one.
func alone(ctx context.Context, runs taker, batchID, step string) (run.Item, error) {
	items, err := runs.Take(ctx, batchID, step)
	if err != nil {
		return run.Item{}, err
	}
	if len(items) != 1 {
		return run.Item{}, fault.New(fault.Bug, "batch.size", fmt.Sprintf("a batch of %d items is carried as a batch of one", len(items)), nil)
	}
	return items[0], nil
}

// alive returns a context that ends at 80 % of the attempt's timeout, so that an
// attempt has stopped before Temporal begins the next one, and heartbeats until
// the returned function is called. held is nil as long as this worker was never away
// for so long that Temporal may have given the work to another: a process that was
// frozen and goes on must not send what it was about to (promise 2).
func alive(ctx context.Context) (alive context.Context, held func() error, stop func()) {
	info := activity.GetInfo(ctx)
	ctx, cancel := context.WithDeadline(ctx, info.StartedTime.Add(info.Deadline.Sub(info.StartedTime)*4/5))
	stopped := make(chan struct{})
	beat := context.WithoutCancel(ctx) // an attempt that hears out what it sent is alive after a cancel, too
	away := &absence{most: info.HeartbeatTimeout * 4 / 5, last: time.Now()}
	go func() {
		tick := time.NewTicker(pulse)
		defer tick.Stop()
		for {
			select {
			case <-stopped:
				return
			case <-tick.C:
				_ = away.check(true)
				activity.RecordHeartbeat(beat)
			}
		}
	}()
	return ctx, func() error { return away.check(false) }, func() { close(stopped); cancel() }
}

// absence notices that a process did not run for a while.
type absence struct {
	most time.Duration // 0: nobody takes over
	mu   sync.Mutex
	last time.Time // beat
	lost bool
}

func (a *absence) check(beat bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.lost = a.lost || a.most > 0 && now.Sub(a.last) > a.most
	if beat {
		a.last = now
	}
	if a.lost {
		return fault.New(fault.Unavailable, "worker.frozen", "its worker stood still for a while; another one may have taken over", nil)
	}
	return nil
}
