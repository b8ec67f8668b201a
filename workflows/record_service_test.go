package workflows_test

import (
	"context"
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

// saga is a scenario of a service of three tasks, two of which can be undone.
type saga struct {
	name    string
	tasks   []flow.TaskShape
	refuses string // the task that fails for good
	hangs   string // the task during which Temporal cancels, or "call NAME"
	skips   string
	late    string        // the task that takes longer than the run may
	awaits  time.Duration // how long the task "came" still waits when it is first looked at
	signals bool          // an event comes for it
	timeout time.Duration
	status  flow.Status
	steps   []string     // tasks that were done, and "undo NAME"
	side    bool         // some of them side by side
	open    *fault.Fault // why the run is not ended when its tasks are done
	ends    enums.WorkflowExecutionStatus
	why     string // code that the run is closed with
}

func sagas() []saga {
	completed, failed, cancelled := enums.WORKFLOW_EXECUTION_STATUS_COMPLETED, enums.WORKFLOW_EXECUTION_STATUS_FAILED, enums.WORKFLOW_EXECUTION_STATUS_CANCELED
	write := func(name string, undo bool) flow.TaskShape {
		return flow.TaskShape{Name: name, Kind: flow.TaskWrite, Target: "erp", Undo: undo}
	}
	three := []flow.TaskShape{write("sale", true), write("stock", true), write("booking", false)}
	legs := []flow.TaskShape{{Name: "ways", Kind: flow.TaskLegs, Legs: []flow.LegShape{
		{Name: "a", Tasks: []flow.TaskShape{write("sale", true), write("stock", false)}}, {Name: "b", Tasks: []flow.TaskShape{write("booking", false)}}}}}
	after := []flow.TaskShape{{Name: "ways", Kind: flow.TaskLegs, Legs: []flow.LegShape{
		{Name: "a", Tasks: []flow.TaskShape{write("sale", true), write("stock", false)}}, {Name: "b", Tasks: []flow.TaskShape{write("booking", true)}}}}, write("told", false)}
	await := []flow.TaskShape{write("sale", true), {Name: "came", Kind: flow.TaskAwait, Target: "shipped.v1", Deadline: time.Hour}, write("booking", false)}
	carry := []flow.TaskShape{{Name: "file", Kind: flow.TaskRead, Target: "sharepoint", Document: true},
		{Name: "order", Kind: flow.TaskWrite, Target: "sap", Undo: true, Document: true}, write("booking", false)}
	call := []flow.TaskShape{write("sale", true), {Name: "told", Kind: flow.TaskFlow, Target: "tell"}}
	return []saga{
		{name: "all-done", tasks: three, skips: "stock", status: flow.Completed, steps: []string{"sale", "stock", "booking"}, ends: completed},
		{name: "refused-and-undone", tasks: three, refuses: "booking", status: flow.Failed, steps: []string{"sale", "stock", "booking", "undo stock", "undo sale"}, ends: failed, why: "write.refused"},
		{name: "cancelled-and-undone", tasks: three, hangs: "stock", status: flow.Cancelled, steps: []string{"sale", "stock", "undo stock", "undo sale"}, ends: cancelled},
		{name: "too-late-and-undone", tasks: three, late: "sale", timeout: 3 * time.Second, status: flow.Failed, steps: []string{"sale", "undo sale"}, ends: failed, why: flow.DeadlineCode},
		{name: "a-leg-fails", tasks: legs, refuses: "stock", status: flow.Failed, side: true, steps: []string{"sale", "stock", "booking", "undo sale"}, ends: failed, why: "service.legs"},
		{name: "refused-after-legs-and-undone", tasks: after, refuses: "told", status: flow.Failed, side: true, steps: []string{"sale", "stock", "booking", "told", "undo sale", "undo booking"}, ends: failed, why: "write.refused"},
		{name: "no-answer-and-undone", tasks: three, open: fault.New(fault.Rejected, "expr.index", "there is no such row", nil), status: flow.Failed,
			steps: []string{"sale", "stock", "booking", "undo stock", "undo sale"}, ends: failed, why: "expr.index"},
		{name: "cancelled-before-its-end", tasks: three, open: fault.New(fault.Conflict, "ledger.sealed", "the run was cancelled", nil), status: flow.Cancelled,
			steps: []string{"sale", "stock", "booking", "undo stock", "undo sale"}, ends: cancelled, why: "ledger.sealed"},
		{name: "cancelled-before-what-it-calls-began", tasks: call, hangs: "call told", refuses: "told", status: flow.Cancelled,
			steps: []string{"sale", "call told", "close child", "told", "undo sale"}, ends: cancelled},
		{name: "awaited", tasks: await, awaits: time.Hour, signals: true, status: flow.Completed, steps: []string{"sale", "came", "came", "booking"}, ends: completed},
		{name: "awaited-in-vain", tasks: await, awaits: 100 * time.Millisecond, status: flow.Failed, steps: []string{"sale", "came", "came", "undo sale"}, ends: failed, why: flow.AwaitLateCode},
		{name: "awaited-and-cancelled", tasks: await, awaits: time.Hour, hangs: "came", status: flow.Cancelled, steps: []string{"sale", "came", "undo sale"}, ends: cancelled},
		{name: "document-carried-and-undone", tasks: carry, refuses: "booking", status: flow.Failed, steps: []string{"file", "order", "booking", "undo order"}, ends: failed, why: "write.refused"},
		{name: "called", tasks: call, status: flow.Completed, steps: []string{"sale", "call told", "told"}, ends: completed},
	}
}

// What was done is undone in reverse, out of reach of the cancel, and each end is recorded once.
func TestRecordOfServices(t *testing.T) {
	t.Parallel()
	address, _ := testenv.Temporal(t)
	for _, s := range sagas() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			st := newStage(t, address, "service-"+s.name)
			st.kind = "Service"
			s.play(st)
		})
	}
}

func (s saga) play(st *stage) {
	st.Helper()
	hanging, steps := make(chan struct{}, 64), make(chan string, 64)
	closed := make(chan *fault.Fault, 64)
	var looked atomic.Int32
	contract.DoTask.Register(st.worker, func(ctx context.Context, in contract.TaskInput) (contract.TaskResult, error) {
		steps <- in.Task
		if in.Task == "came" {
			return s.look(int(looked.Add(1)), hanging)
		}
		switch in.Task {
		case s.refuses:
			return contract.TaskResult{}, fault.New(fault.Rejected, "write.refused", "erp refused it", nil)
		case s.hangs:
			hanging <- struct{}{}
			return untilCancelled[contract.TaskResult](ctx)
		case s.late:
			<-ctx.Done()
			return contract.TaskResult{}, ctx.Err()
		}
		return contract.TaskResult{Rows: 1, Skipped: in.Task == s.skips}, nil
	})
	asked := make(chan struct{}) // Temporal knows of the cancel
	contract.CallFlow.Register(st.worker, func(ctx context.Context, in contract.TaskInput) (contract.Called, error) {
		steps <- "call " + in.Task
		called := contract.Called{Batch: in.Batch, RunID: "child", Pattern: flow.Service, Workflow: "record-child-" + st.name, Ended: true}
		if s.hangs == "call "+in.Task {
			called.BatchID, called.Ended = "child", false
			hanging <- struct{}{}
			select {
			case <-asked:
			case <-ctx.Done():
			}
		}
		return called, nil
	})
	contract.UndoTask.Register(st.worker, func(_ context.Context, in contract.TaskInput) (contract.UndoResult, error) {
		steps <- "undo " + in.Task
		return contract.UndoResult{State: flow.TaskUndone}, nil
	})
	contract.EndService.Register(st.worker, func(_ context.Context, in contract.EndInput) (contract.CloseResult, error) {
		if s.open != nil {
			return contract.CloseResult{}, s.open
		}
		closed <- in.Fault
		return contract.CloseResult{Status: s.status}, nil
	})
	contract.CloseRun.Register(st.worker, func(_ context.Context, in contract.CloseInput) (contract.CloseResult, error) {
		if in.BatchID == "child" {
			steps <- "close child"
			return contract.CloseResult{Status: flow.Cancelled}, nil
		}
		closed <- in.Fault
		return contract.CloseResult{Status: s.status}, nil
	})
	st.work()
	started, err := st.client.ExecuteWorkflow(st.ctx, st.options("1 run of order-to-shipment"), contract.Service.Name(), contract.InstantInput{
		Batch: st.batch(), Size: 1, Skeleton: flow.Skeleton{Tasks: s.tasks, Timeout: s.timeout},
	})
	require.NoError(st, err)
	if s.signals {
		st.await(hanging)
		require.NoError(st, st.client.SignalWorkflow(st.ctx, started.GetID(), started.GetRunID(), contract.Came("came"), nil))
	}
	if s.hangs != "" {
		st.await(hanging)
		require.NoError(st, st.client.CancelWorkflow(st.ctx, started.GetID(), started.GetRunID()))
		close(asked)
	}
	_ = st.ended(started, s.ends, nil)
	close(steps)
	var got []string
	for step := range steps {
		got = append(got, step)
	}
	if s.side {
		require.ElementsMatch(st, s.steps, got)
	} else {
		require.Equal(st, s.steps, got)
	}
	require.Len(st, closed, 1, "each end is recorded once")
	if f := <-closed; s.why == "" {
		require.Nil(st, f)
	} else {
		require.Equal(st, s.why, f.Code)
	}
}

// look is what the task that awaits an event finds, the first time and the second.
func (s saga) look(nth int, looked chan<- struct{}) (contract.TaskResult, error) {
	switch {
	case nth == 1:
		looked <- struct{}{}
		return contract.TaskResult{Left: s.awaits}, nil
	case s.signals:
		return contract.TaskResult{Rows: 1}, nil
	}
	return contract.TaskResult{}, fault.New(fault.Rejected, flow.AwaitLateCode, "none came", nil)
}
