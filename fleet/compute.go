package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"

	"patchbay/calculator"
	"patchbay/internal/contract"
	"patchbay/internal/fault"
)

const (
	// beat is how often a computation reports how far it is. A cancel reaches it with the answer.
	beat = 500 * time.Millisecond
	// grace is that of a Tuning that says nothing. docker-compose.yml grants 30 s.
	grace = 20 * time.Second
	// mostOutput is the size of an output in bytes. It travels with its model and the names of
	// its task in one payload, see durable.MaxPayload.
	mostOutput = 60 << 10
)

// Why a computation was stopped, as the cause of its context.
var (
	errDraining = errors.New("the worker is ending")
	errOverdue  = errors.New("its time is over")
)

// computer is the activity compute.v1.
type computer struct {
	calculators *calculator.Registry
	runaways    *runaways
	grace       time.Duration
}

// Compute does one computation.
func (c *computer) Compute(ctx context.Context, in contract.ComputeInput) (contract.ComputeResult, error) {
	info := activity.GetInfo(ctx)
	last := contract.ComputeBeat{}
	if activity.HasHeartbeatDetails(ctx) {
		_ = activity.GetHeartbeatDetails(ctx, &last) // one that cannot be read counts nothing
	}
	if died := info.Attempt - 1 - last.Returned; died >= contract.Deaths {
		return contract.ComputeResult{}, fault.New(fault.Rejected, contract.PoisonCode, fmt.Sprintf(
			"%d workers ended while they computed %s %s with these figures; it is not given to another", died, in.Function, in.Version), nil)
	}
	found, err := c.calculators.Find(in.Function, in.Version)
	if err != nil {
		return contract.ComputeResult{}, err
	}
	now := &progress{beat: contract.ComputeBeat{Returned: last.Returned}}
	activity.RecordHeartbeat(ctx, now.get())
	limited, stop := c.limits(ctx, info, in.Within, now)
	defer stop()

	watch := c.runaways.watch()
	output, err := found.Compute(limited, in.Input, calculator.Run{Seed: in.Seed, Progress: now.set, Ended: watch.ended})
	if err == nil && size(output) > mostOutput {
		err = fault.New(fault.Rejected, "calculator.size", fmt.Sprintf("%s %s gave more than %d KiB", in.Function, in.Version, mostOutput>>10), nil)
	}
	if err == nil {
		return contract.ComputeResult{Output: output, Model: found.Model()}, nil
	}
	f := fault.Of(err)
	if f.Code == calculator.RunawayCode {
		watch.leave()
	}
	if f.Code != calculator.RunawayCode && f.Code != calculator.OverdueCode {
		return contract.ComputeResult{}, final(f)
	}
	switch cause := context.Cause(limited); {
	case errors.Is(cause, errDraining):
		activity.RecordHeartbeat(ctx, now.returned())
		return contract.ComputeResult{}, fault.New(fault.Unavailable, "compute.returned", "the worker ended before the computation did", err)
	case errors.Is(cause, errOverdue):
		return contract.ComputeResult{}, final(f)
	}
	return contract.ComputeResult{}, ctx.Err() // cancelled
}

// limits gives the context of a computation: it ends with the time that the computation has,
// with a cancel, and some time after the worker was asked to end. Until stop is called it reports
// that the computation lives.
func (c *computer) limits(ctx context.Context, info activity.Info, within time.Duration, now *progress) (limited context.Context, stop func()) {
	most := info.Deadline.Sub(info.StartedTime) * 4 / 5 // so that it has ended before Temporal begins another
	if within <= 0 || within > most {
		within = most
	}
	limited, drain := context.WithCancelCause(ctx)
	limited, release := context.WithTimeoutCause(limited, within, errOverdue)
	stopping := activity.GetWorkerStopChannel(ctx)
	go func() {
		tick := time.NewTicker(beat)
		defer tick.Stop()
		var over <-chan time.Time
		for {
			select {
			case <-limited.Done():
				return
			case <-tick.C:
				activity.RecordHeartbeat(ctx, now.get())
			case <-stopping:
				over, stopping = time.After(c.grace), nil
			case <-over:
				drain(errDraining)
			}
		}
	}()
	return limited, func() { release(); drain(nil) }
}

// final is a fault that is not tried again: the same figures give the same.
func final(f *fault.Fault) *fault.Fault {
	if !f.Retryable() {
		return f
	}
	return fault.New(fault.Bug, f.Code, f.Text, f).With(f.Fields...)
}

// size is that of an output on its way through Temporal, in bytes.
func size(output json.RawMessage) int {
	body, _ := json.Marshal(output) // a calculator gives JSON
	return len(body)
}

// progress is how far a computation is.
type progress struct {
	mu   sync.Mutex
	beat contract.ComputeBeat
}

func (p *progress) set(done, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.beat.Done, p.beat.Total = done, total
}

func (p *progress) get() contract.ComputeBeat {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.beat
}

// returned counts that this attempt gives its computation back.
func (p *progress) returned() contract.ComputeBeat {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.beat.Returned++
	return p.beat
}
