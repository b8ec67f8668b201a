package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"

	"patchbay/internal/contract"
	"patchbay/internal/devenv/testenv"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// crowd is a scenario of a batch of twelve presses.
type crowd struct {
	name     string
	carry    func(context.Context) (contract.CarryResult, error)
	cancel   bool // by Temporal, once the batch is carried
	gone     bool // the batch has no row left when it is to be closed
	released int  // what Release puts back; -1: it is not asked
	why      string
	ends     enums.WorkflowExecutionStatus
	outcome  string
	count    contract.CarryResult
}

func counted(c contract.CarryResult) func(context.Context) (contract.CarryResult, error) {
	return func(context.Context) (contract.CarryResult, error) { return c, nil }
}

// silent never says a word until the test has ended.
func silent(t *testing.T) func(context.Context) (contract.CarryResult, error) {
	return func(context.Context) (contract.CarryResult, error) {
		<-t.Context().Done()
		return contract.CarryResult{}, nil
	}
}

func crowds(t *testing.T) []crowd {
	completed, cancelled := enums.WORKFLOW_EXECUTION_STATUS_COMPLETED, enums.WORKFLOW_EXECUTION_STATUS_CANCELED
	mixed := contract.CarryResult{Done: 8, Failed: 1, Later: 2, Open: 1}
	return []crowd{
		{name: "batch-all-done", carry: counted(contract.CarryResult{Done: 12}), released: -1, ends: completed, count: contract.CarryResult{Done: 12}},
		{name: "batch-mixed-outcomes", carry: counted(mixed), released: -1, ends: completed, outcome: contract.OutcomePartial, count: mixed},
		{name: "batch-all-failed", carry: counted(contract.CarryResult{Failed: 12}), released: -1, ends: completed,
			outcome: contract.OutcomeFailed, count: contract.CarryResult{Failed: 12}},
		{name: "batch-one-item-cancelled", carry: counted(contract.CarryResult{Done: 12}), released: -1, ends: completed, count: contract.CarryResult{Done: 12}},
		{name: "batch-some-left-without-an-outcome", carry: counted(contract.CarryResult{Done: 7, Left: 5}), released: 4, ends: completed,
			count: contract.CarryResult{Done: 7, Open: 4}},
		{name: "batch-lost-worker", carry: silent(t), released: 9, why: flow.DeadlineCode, ends: completed, count: contract.CarryResult{Open: 9}},
		{name: "batch-that-could-not-begin", carry: fails[contract.CarryResult](fault.New(fault.Unavailable, "store.unavailable", "the database is away", nil)),
			released: 12, why: "store.unavailable", ends: completed, count: contract.CarryResult{Open: 12}},
		{name: "batch-cancelled-by-temporal", carry: untilCancelled[contract.CarryResult], cancel: true, released: -1, ends: cancelled},
		{name: "batch-cancelled-when-all-was-put-back", carry: untilCancelled[contract.CarryResult], cancel: true, gone: true, released: -1, ends: cancelled},
	}
}

// A batch never fails for an item's sake, and what it did not bring to an end is
// put back or, when Temporal cancels it, closed.
func TestRecordOfBatches(t *testing.T) {
	t.Parallel()
	address, _ := testenv.Temporal(t)
	for _, s := range crowds(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.play(newStage(t, address, s.name))
		})
	}
}

func (s crowd) play(st *stage) {
	st.Helper()
	carrying := make(chan struct{}, 64)
	released := make(chan contract.ReleaseInput, 64)
	closed := make(chan contract.CloseInput, 64)
	contract.Carry.Register(st.worker, func(ctx context.Context, _ contract.Batch) (contract.CarryResult, error) {
		carrying <- struct{}{}
		return s.carry(ctx)
	})
	contract.Release.Register(st.worker, func(_ context.Context, in contract.ReleaseInput) (contract.ReleaseResult, error) {
		released <- in
		return contract.ReleaseResult{Open: s.released}, nil
	})
	contract.CloseRun.Register(st.worker, func(_ context.Context, in contract.CloseInput) (contract.CloseResult, error) {
		closed <- in
		if s.gone {
			return contract.CloseResult{}, fault.NotFoundf("run.not_found", "there is no such run")
		}
		return contract.CloseResult{Status: flow.Cancelled}, nil
	})
	st.work()
	started, err := st.client.ExecuteWorkflow(st.ctx, st.options("12 presses of product-specs"), contract.Instant.Name(), contract.InstantInput{
		Batch: st.batch(), Size: 12,
		Skeleton: flow.Skeleton{Respond: flow.AfterRead, Reads: true, Writes: true, Source: "oracle-plm", Target: "dataverse", Timeout: 30 * time.Second},
	})
	require.NoError(st, err)
	if s.cancel {
		st.await(carrying)
		require.NoError(st, st.client.CancelWorkflow(st.ctx, started.GetID(), started.GetRunID()))
	}
	var result contract.InstantResult
	_ = st.ended(started, s.ends, &result)

	require.Len(st, closed, map[bool]int{true: 1}[s.cancel], "only a cancel of Temporal closes a batch")
	if s.cancel {
		require.Nil(st, (<-closed).Fault)
	} else {
		require.Equal(st, &s.count, result.Items)
	}
	require.Len(st, released, map[bool]int{true: 1}[s.released >= 0])
	if s.released >= 0 {
		in := <-released
		require.Equal(st, st.batch(), in.Batch)
		require.Equal(st, s.why != "", in.Fault != nil)
		if in.Fault != nil {
			require.Equal(st, s.why, in.Fault.Code)
		}
	}
	described, err := st.client.DescribeWorkflow(st.ctx, started.GetID(), started.GetRunID())
	require.NoError(st, err)
	outcome, _ := described.TypedSearchAttributes.GetKeyword(contract.OutcomeAttribute)
	require.Equal(st, s.outcome, outcome)
}
