package workers_test

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/durationpb"

	"patchbay/activities"
	"patchbay/internal/contract"
	"patchbay/internal/devenv/testenv"
	"patchbay/internal/durable"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/workers"
	"patchbay/workflows"
)

// A run begun by an earlier build is moved when this build replays it, and named
// when it does not: either way no run is silently stuck.
func TestOpenRunsOfAnEarlierBuildAreMovedOrNamed(t *testing.T) {
	t.Parallel()
	address, _ := testenv.Temporal(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := dial(ctx, t, address)

	// The earlier build: the same read, and for one run a workflow that did more.
	read := make(chan struct{}, 2)
	old := worker.New(c, string(contract.Main), durable.WorkerOptions("earlier", zap.NewNop()))
	contract.Instant.Register(old, func(ctx workflow.Context, in contract.InstantInput) (contract.InstantResult, error) {
		if in.Flow == "changed" {
			if err := workflow.Sleep(ctx, time.Hour); err != nil {
				return contract.InstantResult{}, err
			}
		}
		return workflows.Instant(ctx, in)
	})
	contract.Read.Register(old, func(context.Context, contract.Batch) (contract.ReadResult, error) {
		return contract.ReadResult{Rows: 1}, nil
	})
	contract.Write.Register(old, func(context.Context, contract.Batch) (contract.WriteResult, error) {
		read <- struct{}{}
		return contract.WriteResult{}, fault.New(fault.Unavailable, "crm.unavailable", "not now", nil)
	})
	require.NoError(t, old.Start())
	require.NoError(t, durable.SetCurrent(ctx, c, contract.Deployment, "earlier"))
	start := func(name string) client.WorkflowRun {
		run, err := contract.Instant.Start(ctx, c, client.StartWorkflowOptions{ID: name}, contract.InstantInput{
			Batch: contract.Batch{BatchID: name, Flow: name}, Size: 1,
			Skeleton: flow.Skeleton{Respond: flow.AfterRead, Reads: true, Writes: true, Source: "plm", Target: "crm", Timeout: 30 * time.Second}})
		require.NoError(t, err)
		return run
	}
	same, changed := start("same"), start("changed")
	<-read
	require.Eventually(t, func() bool {
		events := 0
		for i := c.GetWorkflowHistory(ctx, changed.GetID(), "", false, 1); i.HasNext(); events++ {
			if _, err := i.Next(); err != nil {
				return false
			}
		}
		return events >= 5 // its timer has started
	}, time.Minute, 50*time.Millisecond)
	old.Stop()

	now := workers.New(c, activities.Set{
		Reader: &activities.Reader{}, Closer: &activities.Closer{}, Writer: &activities.Writer{Plans: gone{}},
	}, zap.NewNop())
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- now.Run(running) }()
	defer func() { stop(); require.NoError(t, <-done) }()
	require.NoError(t, workers.Promote(ctx, c))

	present, asked := map[string]bool{"earlier": true}, false
	heir, err := workers.NewHeir(c, func(_ context.Context, build string) (bool, error) { asked = true; return !present[build], nil })
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		estate, err := heir.Look(ctx)
		require.NoError(t, err)
		require.Empty(t, estate, "their own build may go on with them")
		return asked
	}, time.Minute, 100*time.Millisecond)

	delete(present, "earlier")
	var moved, named int
	require.Eventually(t, func() bool { // visibility follows the runs
		estate, err := heir.Look(ctx)
		require.NoError(t, err)
		moved += estate.Moved
		for _, l := range estate.Left {
			require.Equal(t, "earlier", l.Build)
			require.Equal(t, changed.GetID(), l.WorkflowID)
			if l.New {
				named++
			}
		}
		return moved == 1 && len(estate.Left) == 1
	}, time.Minute, 100*time.Millisecond)
	require.Eventually(t, func() bool {
		estate, err := heir.Look(ctx)
		require.NoError(t, err)
		moved += estate.Moved
		return len(estate.Left) == 1 // it stays named, as long as it waits
	}, time.Minute, 100*time.Millisecond)
	require.Equal(t, 1, moved, "once")
	require.Equal(t, 1, named, "new once")
	require.Eventually(t, func() bool {
		d, err := c.DescribeWorkflowExecution(ctx, same.GetID(), same.GetRunID())
		require.NoError(t, err)
		for _, p := range d.GetPendingActivities() {
			if p.GetAttempt() > 1 && p.GetLastFailure().GetMessage() == "the plan is gone" {
				return true // this build's own activity has run
			}
		}
		return false
	}, time.Minute, 100*time.Millisecond)
}

// dial gives a client of a namespace of the test's own.
func dial(ctx context.Context, t *testing.T, address string) client.Client {
	t.Helper()
	namespace := "test-" + strings.ToLower(rand.Text())
	c, err := durable.Dial(ctx, durable.Options{Address: address, Namespace: namespace})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	_, err = c.WorkflowService().RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: namespace, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour)})
	require.NoError(t, err)
	require.NoError(t, durable.RegisterSearchAttributes(ctx, c, namespace))
	return c
}

// gone is a store of plans that has none.
type gone struct{}

func (gone) ByDigest(context.Context, string) (*flow.Plan, error) {
	return nil, fault.New(fault.Unavailable, "plan.gone", "the plan is gone", nil)
}
