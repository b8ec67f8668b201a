// Package workers hosts workflows and activities: task queues → registrations,
// tuning and versioning.
//
// App builds one per process that works. It may import workflows, activities,
// contract, durable and the SDK's worker package.
//
// Invariants: every worker is versioned, and every run stays on the build it
// began with (promise 6); the build ID is the digest of workflows and contract,
// so a build that could replay differently never shares an ID with another;
// names are registered explicitly, never taken from Go.
package workers

import (
	"context"
	"fmt"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.uber.org/zap"

	"patchbay/activities"
	"patchbay/fleet"
	"patchbay/internal/contract"
	"patchbay/internal/durable"
	"patchbay/internal/fault"
	"patchbay/workflows"
)

// Tuning. Slots bound memory, not throughput: an activity mostly waits.
const (
	// Slots is how many activities a worker carries at a time, each batch being one.
	Slots         = 200
	workflowSlots = 200
)

// Worker polls the main queue.
type Worker struct{ worker worker.Worker }

// New builds a worker that hosts every workflow and the given activities. It
// polls nothing before Run.
func New(temporal client.Client, set activities.Set, log *zap.Logger) *Worker {
	options := durable.WorkerOptions(Build(), log)
	options.MaxConcurrentActivityExecutionSize = Slots
	options.MaxConcurrentWorkflowTaskExecutionSize = workflowSlots
	w := worker.New(temporal, string(contract.Main), options)
	workflows.Register(w)
	set.Register(w)
	return &Worker{worker: w}
}

// Run polls until ctx ends, then drains. It ends with an error when Temporal
// refuses the worker for good, as for a namespace that is gone: the SDK stops
// polling then, and a process that lived on would only look like a worker.
func (w *Worker) Run(ctx context.Context) error {
	interrupt := make(chan any)
	defer context.AfterFunc(ctx, func() { close(interrupt) })()
	err := w.worker.Run(interrupt)
	if err == nil || ctx.Err() != nil {
		return nil
	}
	f := fault.Of(durable.Classify(err))
	return fault.New(f.Class, "worker.stopped", "the worker has stopped: "+f.Text, err)
}

// Build is the build ID of this process.
func Build() string { return fleet.Build() }

// Promote makes this build the one that new runs begin on. It waits for the
// first poll of a worker of the build's main queue: the fleet alone carries no run.
func Promote(ctx context.Context, temporal client.Client) error {
	if err := durable.SetCurrent(ctx, temporal, contract.Deployment, Build(), string(contract.Main)); err != nil {
		return fmt.Errorf("making build %s current: %w", Build(), err)
	}
	return nil
}

// Ramp has percent of the runs that are new begin on this build, 1 to 99; 0: none does any
// more on another build than the current one.
func Ramp(ctx context.Context, temporal client.Client, percent int) error {
	if err := durable.SetRamp(ctx, temporal, contract.Deployment, Build(), percent, string(contract.Main)); err != nil {
		return fmt.Errorf("having %d %% of the new runs begin on build %s: %w", percent, Build(), err)
	}
	return nil
}

// Current reports whether new runs begin on this build.
func Current(ctx context.Context, temporal client.Client) (bool, error) {
	build, err := durable.Current(ctx, temporal, contract.Deployment)
	return build == Build(), err
}
