package contract

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

type (
	// Activity is the typed stub of one activity: its name on the wire, where it
	// runs and how it is retried.
	Activity[In, Out any] struct {
		name    string
		profile Profile
		queue   Queue
		rank    temporal.Priority
	}

	// Workflow is the typed stub of one workflow type.
	Workflow[In, Out any] struct {
		name  string
		queue Queue
	}
)

// DeclareActivity declares an activity; name ends with its version, ".v1".
func DeclareActivity[In, Out any](name string, profile Profile, queue Queue) Activity[In, Out] {
	return Activity[In, Out]{name: name, profile: profile, queue: queue}
}

// Tighten returns the stub with at most total for all attempts; zero changes nothing.
func (a Activity[In, Out]) Tighten(total time.Duration) Activity[In, Out] {
	a.profile = a.profile.Tighten(total)
	return a
}

// As returns the stub with another profile.
func (a Activity[In, Out]) As(p Profile) Activity[In, Out] {
	a.profile = p
	return a
}

// Run executes the activity and waits for it. Summary is shown in the Temporal
// Web UI: counts and names, never data.
func (a Activity[In, Out]) Run(ctx workflow.Context, in In, summary string) (Out, error) {
	var out Out
	err := a.Begin(ctx, in, summary).Get(ctx, &out)
	return out, err
}

// Begin executes the activity; the future gives its Out. Summary is as of Run.
func (a Activity[In, Out]) Begin(ctx workflow.Context, in In, summary string) workflow.Future {
	options := a.profile.options(a.queue, summary)
	options.Priority = a.rank
	return workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options), a.name, in)
}

// Register makes fn the implementation of the activity.
func (a Activity[In, Out]) Register(r worker.ActivityRegistry, fn func(context.Context, In) (Out, error)) {
	r.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: a.name})
}

// DeclareWorkflow declares a workflow type; name ends with its version, ".v1".
func DeclareWorkflow[In, Out any](name string, queue Queue) Workflow[In, Out] {
	return Workflow[In, Out]{name: name, queue: queue}
}

// Name is the workflow type on the wire.
func (w Workflow[In, Out]) Name() string { return w.name }

// Register makes fn the implementation. Runs stay on the build they began with.
func (w Workflow[In, Out]) Register(r worker.WorkflowRegistry, fn func(workflow.Context, In) (Out, error)) {
	r.RegisterWorkflowWithOptions(fn, workflow.RegisterOptions{Name: w.name, VersioningBehavior: workflow.VersioningBehaviorPinned})
}

// Start starts the workflow under options.ID. The queue is the stub's.
func (w Workflow[In, Out]) Start(ctx context.Context, c client.Client, options client.StartWorkflowOptions, in In) (client.WorkflowRun, error) {
	options.TaskQueue = string(w.queue)
	return c.ExecuteWorkflow(ctx, options, w.name, in)
}
