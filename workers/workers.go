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
	"patchbay/internal/contract"
	"patchbay/internal/durable"
	"patchbay/workflows"
)

// Tuning. Slots bound memory, not throughput: an activity mostly waits.
const (
	activitySlots = 200
	workflowSlots = 200
)

// Worker polls the main queue.
type Worker struct {
	temporal client.Client
	worker   worker.Worker
	build    string
}

// New builds a worker that hosts every workflow and the given activities. It
// polls nothing before Run.
func New(temporal client.Client, set activities.Set, log *zap.Logger) *Worker {
	build := durable.BuildID(workflows.Sources, contract.Sources)
	options := durable.WorkerOptions(build, log)
	options.MaxConcurrentActivityExecutionSize = activitySlots
	options.MaxConcurrentWorkflowTaskExecutionSize = workflowSlots
	w := worker.New(temporal, string(contract.Main), options)
	workflows.Register(w)
	set.Register(w)
	return &Worker{temporal: temporal, worker: w, build: build}
}

// Build is the worker's build ID.
func (w *Worker) Build() string { return w.build }

// Run polls until ctx ends, then drains.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.worker.Start(); err != nil {
		return fmt.Errorf("starting the worker: %w", err)
	}
	<-ctx.Done()
	w.worker.Stop()
	return nil
}

// Promote makes this build the one that new runs begin on. It waits for the
// first poll, which is what makes the build known to the server.
func (w *Worker) Promote(ctx context.Context) error {
	if err := durable.SetCurrent(ctx, w.temporal, contract.Deployment, w.build); err != nil {
		return fmt.Errorf("making build %s current: %w", w.build, err)
	}
	return nil
}
