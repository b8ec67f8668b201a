package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"

	"patchbay/internal/contract"
	"patchbay/internal/devenv/testenv"
	"patchbay/internal/fault"
)

// A standing workflow goes from round to round, takes another plan when it is told of
// one, and ends when it is cancelled and not before.
func TestRecordOfStandingWorkflows(t *testing.T) {
	t.Parallel()
	address, _ := testenv.Temporal(t)
	for _, s := range []struct {
		name    string
		stub    contract.Workflow[contract.SyncInput, contract.SyncResult]
		kind    string
		signals []string // while it works; the last is what it goes on with
		cancel  bool
		fails   bool // the first try
		ends    enums.WorkflowExecutionStatus
	}{
		{name: "another-plan", stub: contract.Export, kind: "Export", signals: []string{"2"}, ends: enums.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW},
		{name: "the-same-plan-and-another", stub: contract.Import, kind: "Import", signals: []string{"1", "2"}, ends: enums.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW},
		{name: "cancelled", stub: contract.Reconcile, kind: "Reconcile", cancel: true, ends: enums.WORKFLOW_EXECUTION_STATUS_CANCELED},
		{name: "tried-again-then-another-plan", stub: contract.Export, kind: "Export", fails: true, signals: []string{"2"}, ends: enums.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			st := newStage(t, address, "standing-"+s.name)
			st.kind = s.kind
			working, digests := make(chan struct{}, 256), make(chan string, 256)
			round := func(ctx context.Context, in contract.SyncInput) (contract.SyncCounts, error) {
				digests <- in.Digest
				if s.fails && activity.GetInfo(ctx).Attempt == 1 && in.Digest == "1" {
					return contract.SyncCounts{}, fault.New(fault.Unavailable, "store.unavailable", "not now", nil)
				}
				working <- struct{}{}
				_, err := untilCancelled[struct{}](ctx)
				if s.kind == "Import" { // it says what it had done
					return contract.SyncCounts{Changes: 3, Batches: 1, Outcomes: map[string]int64{"applied": 2, "stale": 1}}, nil
				}
				return contract.SyncCounts{}, err
			}
			contract.ExportChanges.Register(st.worker, round)
			contract.ImportBatches.Register(st.worker, round)
			contract.CompareRegions.Register(st.worker, round)
			st.work()
			in := contract.SyncInput{Flow: "account-sync", Digest: "1", Region: "de", From: "fr"}
			id := contract.WorkflowID("synchronization", "account-sync", "record-"+st.name)
			started, err := st.client.ExecuteWorkflow(st.ctx, client.StartWorkflowOptions{ID: id, TaskQueue: "record-" + st.name}, s.stub.Name(), in)
			require.NoError(st, err)
			first := started.GetRunID()
			st.await(working)
			for _, digest := range s.signals {
				require.NoError(st, st.client.SignalWorkflow(st.ctx, id, first, contract.SupersedeSignal, digest))
			}
			if s.cancel {
				require.NoError(st, st.client.CancelWorkflow(st.ctx, id, first))
			}
			require.Eventually(st, func() bool {
				d, err := st.client.DescribeWorkflowExecution(st.ctx, id, first)
				return err == nil && d.GetWorkflowExecutionInfo().GetStatus() == s.ends
			}, time.Minute, 50*time.Millisecond)
			st.keep(id, first)
			if s.cancel {
				return
			}
			st.await(working) // of the next, which must be of the other plan
			var last string
			for len(digests) > 0 {
				last = <-digests
			}
			require.Equal(st, "2", last)
			require.NoError(st, st.client.TerminateWorkflow(st.ctx, id, "", "the scenario is over"))
		})
	}
}
