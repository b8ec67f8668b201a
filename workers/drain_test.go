package workers_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.uber.org/zap"

	"patchbay/internal/contract"
	"patchbay/internal/devenv/testenv"
	"patchbay/internal/durable"
	"patchbay/internal/flow"
	"patchbay/workers"
	"patchbay/workflows"
)

func TestAWorkerOfAnEarlierBuildWaitsForTheRunsThatBeganWithIt(t *testing.T) {
	t.Parallel()
	address, _ := testenv.Temporal(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := dial(ctx, t, address)
	reading, gate := make(chan struct{}, 1), make(chan struct{})
	work := func(build string) {
		w := worker.New(c, string(contract.Main), durable.WorkerOptions(build, zap.NewNop()))
		contract.Instant.Register(w, workflows.Instant)
		contract.Read.Register(w, func(ctx context.Context, _ contract.Batch) (contract.ReadResult, error) {
			reading <- struct{}{}
			select {
			case <-gate:
			case <-ctx.Done():
			}
			return contract.ReadResult{Rows: 1}, ctx.Err()
		})
		require.NoError(t, w.Start())
		t.Cleanup(w.Stop)
	}
	work(workers.Build())
	require.NoError(t, workers.Promote(ctx, c))
	run, err := contract.Instant.Start(ctx, c, client.StartWorkflowOptions{ID: "slow"}, contract.InstantInput{
		Batch: contract.Batch{BatchID: "slow", Flow: "slow"}, Size: 1,
		Skeleton: flow.Skeleton{Respond: flow.AfterRead, Reads: true, Source: "plm", Timeout: 30 * time.Second}})
	require.NoError(t, err)
	<-reading
	require.Zero(t, workers.Drain(ctx, c), "a current build has successors: it waits for nothing")

	work("next")
	require.NoError(t, durable.SetCurrent(ctx, c, contract.Deployment, "next"))
	require.Eventually(t, func() bool { // visibility follows the run
		short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
		defer stop()
		return workers.Drain(short, c) == 1
	}, time.Minute, time.Millisecond)
	drained := make(chan int64)
	go func() { drained <- workers.Drain(ctx, c) }()
	close(gate)
	require.Zero(t, <-drained)
	require.NoError(t, ctx.Err(), "the run has ended, not the patience")
	require.NoError(t, run.Get(ctx, nil))
}
