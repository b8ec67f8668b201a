package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"patchbay/internal/contract"
	"patchbay/internal/devenv/testenv"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// painting is a scenario of a consolidation of three sources.
type painting struct {
	name    string
	opened  contract.Opened
	extract func(ctx context.Context, source string) (contract.ExtractResult, error)
	join    contract.JoinResult
	deliver contract.DeliverResult
	cancel  bool // by Temporal, while sources are read
	status  flow.Status
	why     string // code of what the run is finished with; empty: it did all it was to do
	missing int    // sources that the join is told of
	steps   []string
	ends    enums.WorkflowExecutionStatus
	outcome string
}

func fresh(_ context.Context, source string) (contract.ExtractResult, error) {
	return contract.ExtractResult{Source: source, State: flow.Fresh, Rows: 1000, Pages: 1}, nil
}

func paintings() []painting {
	completed, failed, cancelled := enums.WORKFLOW_EXECUTION_STATUS_COMPLETED, enums.WORKFLOW_EXECUTION_STATUS_FAILED, enums.WORKFLOW_EXECUTION_STATUS_CANCELED
	three := contract.Opened{RunID: "r", Sources: []string{"orders", "stock", "documents"}, Target: "dataverse", Parallel: 2}
	advised := three
	advised.Advises = true
	changed := contract.JoinResult{Keys: 200, Changed: 20, Unchanged: 180}
	return []painting{
		{name: "written-and-advised", opened: advised, extract: fresh, join: changed, deliver: contract.DeliverResult{Written: 20}, status: flow.Completed,
			steps: []string{"join", "deliver", "advise"}, ends: completed},
		{name: "nothing-differs", opened: three, extract: fresh, join: contract.JoinResult{Keys: 200, Unchanged: 200}, status: flow.Completed, steps: []string{"join"}, ends: completed},
		{name: "some-refused", opened: three, extract: fresh, join: changed, deliver: contract.DeliverResult{Written: 18, Rejected: 2}, status: flow.Completed,
			steps: []string{"join", "deliver"}, ends: completed, outcome: contract.OutcomePartial},
		{name: "held", opened: three, extract: fresh, join: contract.JoinResult{Held: fault.New(fault.Rejected, "guard.zero", "orders has no rows", nil)}, status: flow.Failed,
			why: "guard.zero", steps: []string{"join"}, ends: failed, outcome: contract.OutcomeFailed},
		{name: "a-source-is-missing", opened: three, join: changed, deliver: contract.DeliverResult{Written: 20}, status: flow.Completed, missing: 1,
			extract: func(ctx context.Context, source string) (contract.ExtractResult, error) {
				if source == "stock" {
					return contract.ExtractResult{Source: source, State: flow.Missing, Fault: fault.New(fault.Unavailable, "oracle.unavailable", "oracle does not answer", nil)}, nil
				}
				return fresh(ctx, source)
			}, steps: []string{"join", "deliver"}, ends: completed},
		{name: "a-source-that-cannot-be-read", opened: three, status: flow.Failed, why: "connection.moved", ends: failed, outcome: contract.OutcomeFailed,
			extract: func(ctx context.Context, source string) (contract.ExtractResult, error) {
				if source == "orders" {
					return contract.ExtractResult{}, fault.New(fault.Conflict, "connection.moved", "the connection names another system", nil)
				}
				return untilCancelled[contract.ExtractResult](ctx)
			}},
		{name: "cancelled-while-reading", opened: three, cancel: true, status: flow.Cancelled, ends: cancelled,
			extract: func(ctx context.Context, _ string) (contract.ExtractResult, error) {
				return untilCancelled[contract.ExtractResult](ctx)
			}},
		{name: "skipped", opened: contract.Opened{Skipped: "run x is open"}, ends: completed},
	}
}

// Every end of a consolidation is recorded once, by the activity that also closes its
// slot, and what was begun is heard out before.
func TestRecordOfConsolidations(t *testing.T) {
	t.Parallel()
	address, _ := testenv.Temporal(t)
	for _, s := range paintings() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			st := newStage(t, address, "picture-"+s.name)
			st.kind = "Consolidation"
			s.play(st)
		})
	}
}

func (s painting) play(st *stage) {
	st.Helper()
	reading, steps := make(chan struct{}, 64), make(chan string, 64)
	finished := make(chan contract.FinishInput, 64)
	joins := make(chan contract.JoinInput, 64)
	contract.OpenSlot.Register(st.worker, func(context.Context, contract.ConsolidationInput) (contract.Opened, error) {
		o := s.opened
		o.Batch = st.batch()
		return o, nil
	})
	contract.Extract.Register(st.worker, func(ctx context.Context, in contract.ExtractInput) (contract.ExtractResult, error) {
		reading <- struct{}{}
		return s.extract(ctx, in.Source)
	})
	contract.Join.Register(st.worker, func(_ context.Context, in contract.JoinInput) (contract.JoinResult, error) {
		joins <- in
		steps <- "join"
		return s.join, nil
	})
	contract.Deliver.Register(st.worker, func(context.Context, contract.Batch) (contract.DeliverResult, error) {
		steps <- "deliver"
		return s.deliver, nil
	})
	contract.Advise.Register(st.worker, func(context.Context, contract.Batch) (contract.AdviseResult, error) {
		steps <- "advise"
		return contract.AdviseResult{Written: 19, Review: 1}, nil
	})
	contract.Finish.Register(st.worker, func(_ context.Context, in contract.FinishInput) (contract.CloseResult, error) {
		finished <- in
		return contract.CloseResult{Status: s.status}, nil
	})
	st.work()
	started, err := st.client.ExecuteWorkflow(st.ctx, client.StartWorkflowOptions{
		ID: contract.WorkflowID("consolidation", "customer-360", "record-"+st.name), TaskQueue: "record-" + st.name,
	}, contract.Consolidation.Name(), contract.ConsolidationInput{Batch: contract.Batch{Flow: "customer-360"}})
	require.NoError(st, err)
	if s.cancel {
		st.await(reading)
		require.NoError(st, st.client.CancelWorkflow(st.ctx, started.GetID(), started.GetRunID()))
	}
	var result contract.ConsolidationResult
	_ = st.ended(started, s.ends, &result)

	close(steps)
	var got []string
	for step := range steps {
		got = append(got, step)
	}
	require.Equal(st, s.steps, got)
	if s.opened.Skipped != "" {
		require.Empty(st, finished, "what never began is not closed")
		require.Equal(st, s.opened.Skipped, result.Skipped)
		return
	}
	require.Len(st, finished, 1, "each end is recorded once")
	in := <-finished
	require.Equal(st, "r", in.RunID)
	require.Equal(st, s.cancel, in.Cancelled)
	if s.why == "" {
		require.Nil(st, in.Fault)
	} else {
		require.Equal(st, s.why, in.Fault.Code)
	}
	if len(s.steps) > 0 {
		require.Len(st, (<-joins).Missing, s.missing)
	}
	require.Eventually(st, func() bool {
		described, err := st.client.DescribeWorkflow(st.ctx, started.GetID(), started.GetRunID())
		require.NoError(st, err)
		outcome, _ := described.TypedSearchAttributes.GetKeyword(contract.OutcomeAttribute)
		return outcome == s.outcome
	}, time.Minute, 50*time.Millisecond)
}
