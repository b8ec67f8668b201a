package workflows_test

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"

	"patchbay/internal/contract"
	"patchbay/internal/devenv/testenv"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// verdict is a scenario of a flow that collects from two sources, computes, decides and writes.
type verdict struct {
	name    string
	silent  string // the source that does not answer in its time
	fails   bool   // the computation
	refers  bool   // and a person decides
	refused string // the task that fails for good
	hangs   string // the task during which Temporal cancels
	status  flow.Status
	ends    enums.WorkflowExecutionStatus
	told    []string // tasks that an activity was told the end of: "bureau", or "score" with or without a figure
	never   []string // tasks that are not begun
}

func verdicts() []verdict {
	completed, failed, cancelled := enums.WORKFLOW_EXECUTION_STATUS_COMPLETED, enums.WORKFLOW_EXECUTION_STATUS_FAILED, enums.WORKFLOW_EXECUTION_STATUS_CANCELED
	return []verdict{
		{name: "rules", status: flow.Completed, ends: completed, told: []string{"score computed"}},
		{name: "a-source-is-silent", silent: "bureau", status: flow.Completed, ends: completed, told: []string{"bureau run.deadline", "score computed"}},
		{name: "a-computation-fails", fails: true, status: flow.Completed, ends: completed, told: []string{"score calculator.panicked"}},
		{name: "a-person", refers: true, status: flow.Completed, ends: completed, told: []string{"score computed"}},
		{name: "a-refused-write", refused: "write", status: flow.Failed, ends: failed, told: []string{"score computed"}},
		{name: "a-cancelled-review", refers: true, hangs: "review", status: flow.Cancelled, ends: cancelled, told: []string{"score computed"}, never: []string{"write"}},
	}
}

// Each task begins when those that it needs have ended; what cannot be collected or computed is
// told, and is no failure.
func TestRecordOfHybrids(t *testing.T) {
	t.Parallel()
	address, _ := testenv.Temporal(t)
	for _, v := range verdicts() {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			st := newStage(t, address, "hybrid-"+v.name)
			st.kind = "Hybrid"
			v.play(st)
		})
	}
}

func (v verdict) shape(queue string) []flow.TaskShape {
	return []flow.TaskShape{
		{Name: "application", Kind: flow.TaskCollect, Target: "dataverse", Deadline: 10 * time.Second},
		{Name: "bureau", Kind: flow.TaskCollect, Target: "bureau", Deadline: time.Second, Needs: []string{"application"}},
		{Name: "require", Kind: flow.TaskRequire, Needs: []string{"application", "bureau"}},
		{Name: "score", Kind: flow.TaskCalculate, Target: queue, Deadline: 20 * time.Second, Needs: []string{"application", "bureau", "require"}},
		{Name: "decide", Kind: flow.TaskDecide, Needs: []string{"application", "bureau", "require", "score"}},
		{Name: "review", Kind: flow.TaskReview, Needs: []string{"decide"}},
		{Name: "write", Kind: flow.TaskWrite, Target: "dataverse", Needs: []string{"review"}},
	}
}

func (v verdict) play(st *stage) {
	st.Helper()
	var mu sync.Mutex
	var begun, told []string
	var looked atomic.Int32
	asleep := make(chan struct{}, 64)
	shape := v.shape("record-" + st.name)
	contract.DoTask.Register(st.worker, func(ctx context.Context, in contract.TaskInput) (contract.TaskResult, error) {
		mu.Lock()
		for _, need := range shape[slices.IndexFunc(shape, func(t flow.TaskShape) bool { return t.Name == in.Task })].Needs {
			if !slices.Contains(begun, need) {
				st.Errorf("%s is begun before %s", in.Task, need)
			}
		}
		begun = append(begun, in.Task)
		switch {
		case in.Fault != nil:
			told = append(told, in.Task+" "+in.Fault.Code)
		case in.Computed != nil:
			told = append(told, in.Task+" computed")
		}
		mu.Unlock()
		switch {
		case in.Task == v.refused:
			return contract.TaskResult{}, fault.New(fault.Rejected, "write.refused", "dataverse refused it", nil)
		case in.Task == v.silent && in.Fault == nil:
			<-ctx.Done()
			return contract.TaskResult{}, ctx.Err()
		case in.Task == "score" && in.Computed == nil && in.Fault == nil:
			return contract.TaskResult{Compute: &contract.ComputeInput{Function: "risk.score", Version: "v1", Seed: 7, Input: json.RawMessage(`{"figures":{"a":1}}`)}, User: "0123456789abcdef"}, nil
		case in.Task == "review" && v.refers && looked.Add(1) == 1:
			asleep <- struct{}{}
			return contract.TaskResult{Left: time.Hour}, nil
		}
		return contract.TaskResult{Rows: 1, Skipped: in.Task == "review" && !v.refers}, nil
	})
	contract.RegisterCompute(st.worker, func(context.Context, contract.ComputeInput) (contract.ComputeResult, error) {
		if v.fails {
			return contract.ComputeResult{}, fault.New(fault.Bug, "calculator.panicked", "risk.score v1 panicked", nil)
		}
		return contract.ComputeResult{Output: json.RawMessage(`{"points":600}`), Model: "m"}, nil
	})
	closed := contract.CloseResult{Status: v.status}
	contract.EndService.Register(st.worker, func(context.Context, contract.EndInput) (contract.CloseResult, error) { return closed, nil })
	contract.CloseRun.Register(st.worker, func(context.Context, contract.CloseInput) (contract.CloseResult, error) { return closed, nil })
	st.work()
	started, err := st.client.ExecuteWorkflow(st.ctx, st.options("1 run of loan-qualification"), contract.Hybrid.Name(), contract.InstantInput{
		Batch: st.batch(), Size: 1, Skeleton: flow.Skeleton{Tasks: shape},
	})
	require.NoError(st, err)
	if v.refers {
		st.await(asleep)
		if v.hangs != "" {
			require.NoError(st, st.client.CancelWorkflow(st.ctx, started.GetID(), started.GetRunID()))
		} else {
			require.NoError(st, st.client.SignalWorkflow(st.ctx, started.GetID(), started.GetRunID(), contract.Came(flow.ReviewStep), nil))
		}
	}
	_ = st.ended(started, v.ends, nil)
	require.Equal(st, v.told, told)
	for _, name := range v.never {
		require.NotContains(st, begun, name)
	}
}
