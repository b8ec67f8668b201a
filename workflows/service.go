package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// Service carries out the tasks of one run, one after the other. When one fails, or a
// person cancels, what the tasks before it wrote is taken back in reverse, out of reach of
// the cancel; what cannot be taken back is told to a person. Rows stay in our own database.
func Service(ctx workflow.Context, in contract.InstantInput) (contract.ServiceResult, error) {
	s := &service{in: in, began: workflow.GetInfo(ctx).WorkflowStartTime, result: contract.ServiceResult{Tasks: map[string]flow.TaskState{}}}
	undo, broken, err := s.tasks(ctx, in.Skeleton.Tasks)
	return s.result, s.end(ctx, undo, broken, err)
}

// service is the state of one run. Legs share it: a workflow runs one of them at a time.
type service struct {
	in     contract.InstantInput
	began  time.Time // its time runs from there
	result contract.ServiceResult
	// shadows are computed until the run has long ended, but for them.
	shadows workflow.WaitGroup
}

// tasks does tasks in their order, and takes back those that are done when one cannot be. Else
// it gives what is to be taken back when the run fails later, in reverse, and the names of
// legs that failed while all else went on.
func (s *service) tasks(ctx workflow.Context, tasks []flow.TaskShape) (undo []flow.TaskShape, broken []string, err error) {
	for _, t := range tasks {
		if ctx.Err() != nil {
			return nil, broken, s.back(ctx, undo, ctx.Err())
		}
		begun, failed, err := s.task(ctx, t)
		undo, broken = slices.Concat(begun, undo), append(broken, failed...)
		if err != nil {
			return nil, broken, s.back(ctx, undo, err)
		}
	}
	return undo, broken, nil
}

// task does one task, and gives what of it is to be taken back, in reverse.
func (s *service) task(ctx workflow.Context, t flow.TaskShape) (undo []flow.TaskShape, broken []string, err error) {
	if t.Undo { // begun is enough: nobody knows how far it came
		undo = []flow.TaskShape{t}
	}
	s.result.Tasks[t.Name] = flow.TaskRunning
	defer func() {
		if err != nil {
			s.result.Tasks[t.Name] = flow.TaskFailed
		}
		s.tell(ctx)
	}()
	s.tell(ctx)
	switch t.Kind {
	case flow.TaskLegs:
		undo, broken = s.legs(ctx, t)
		s.result.Tasks[t.Name] = flow.TaskDone
		return undo, broken, ctx.Err()
	case flow.TaskFlow:
		return undo, nil, s.call(ctx, t)
	case flow.TaskAwait, flow.TaskReview:
		return undo, nil, s.await(ctx, t)
	case flow.TaskCollect, flow.TaskCalculate:
		return undo, nil, s.settle(ctx, t)
	case flow.TaskRead, flow.TaskWrite, flow.TaskEmit, flow.TaskRequire, flow.TaskDecide:
	}
	within, err := s.left(ctx, t)
	if err != nil {
		return undo, nil, err
	}
	do := contract.DoTask
	if t.Document {
		do = do.As(contract.Transfer)
	}
	done, err := do.Tighten(within).Run(ctx, contract.TaskInput{Batch: s.in.Batch, Task: t.Name}, words(t))
	s.did(t, done.Skipped)
	return undo, nil, err
}

// left is how long a task may take: its own time, and no more than is left of that of the
// run; 0 is as long as an accepted effect may.
func (s *service) left(ctx workflow.Context, t flow.TaskShape) (time.Duration, error) {
	whole := s.in.Skeleton.Timeout
	if whole <= 0 {
		return t.Deadline, nil
	}
	left := whole - workflow.Now(ctx).Sub(s.began)
	switch {
	case left <= 0:
		return 0, contract.ToTemporal(fault.New(fault.Unavailable, flow.DeadlineCode, "the run did not come to its end within the time the flow allows", nil))
	case t.Deadline > 0:
		return min(t.Deadline, left), nil
	}
	return left, nil
}

// did notes that a task is done.
func (s *service) did(t flow.TaskShape, skipped bool) {
	s.result.Tasks[t.Name] = flow.TaskDone
	if skipped {
		s.result.Tasks[t.Name] = flow.TaskSkipped
	}
}

// words say what a task does.
func words(t flow.TaskShape) string {
	switch t.Kind {
	case flow.TaskRead:
		return t.Name + ": read from " + t.Target
	case flow.TaskFlow:
		return t.Name + ": call " + t.Target
	case flow.TaskAwait:
		return t.Name + ": await " + t.Target
	case flow.TaskCollect:
		return t.Name + ": collect from " + t.Target
	case flow.TaskCalculate:
		return t.Name + ": compute on " + t.Target
	case flow.TaskRequire, flow.TaskDecide, flow.TaskReview:
		return t.Name
	case flow.TaskEmit:
		return t.Name + ": tell of " + t.Target
	case flow.TaskWrite, flow.TaskLegs:
	}
	return t.Name + ": write to " + t.Target
}

// legs takes several ways side by side, each to its end. It gives what those that came to
// theirs wrote, to be taken back when the run fails later, and names those that failed.
func (s *service) legs(ctx workflow.Context, t flow.TaskShape) (undo []flow.TaskShape, broken []string) {
	all := workflow.NewWaitGroup(ctx)
	failed := make([]bool, len(t.Legs))
	for i, leg := range t.Legs {
		all.Add(1)
		workflow.GoNamed(ctx, t.Name+"/"+leg.Name, func(ctx workflow.Context) {
			defer all.Done()
			done, within, err := s.tasks(ctx, leg.Tasks)
			undo = slices.Concat(done, undo) // who ended last comes first
			failed[i] = err != nil || len(within) > 0
		})
	}
	all.Wait(ctx)
	for i, leg := range t.Legs {
		if failed[i] {
			broken = append(broken, t.Name+"/"+leg.Name)
		}
	}
	return undo, broken
}

// call runs another flow as a workflow of its own, with limits of its own, and takes its
// answer. A cancel reaches it, and it is waited for.
func (s *service) call(ctx workflow.Context, t flow.TaskShape) error {
	in := contract.TaskInput{Batch: s.in.Batch, Task: t.Name}
	called, err := contract.CallFlow.Run(ctx, in, words(t))
	if err != nil {
		return err
	}
	if called.Skipped {
		s.did(t, true)
		return nil
	}
	in.Child = called.RunID
	free, _ := workflow.NewDisconnectedContext(ctx) // how it ended is kept, whoever cancels
	if !called.Ended && !s.child(ctx, t, called) {
		// A cancel came first. Nobody else starts it either.
		_, _ = contract.CloseRun.Run(free, contract.CloseInput{Batch: called.Batch}, t.Name+": not called")
	}
	done, err := contract.DoTask.Run(free, in, t.Name+": take the answer")
	s.did(t, done.Skipped)
	if err == nil {
		err = ctx.Err()
	}
	return err
}

// child carries the run that a task called to its end; its row says how it ended. False: it was
// cancelled before it was started.
func (s *service) child(ctx workflow.Context, t flow.TaskShape, called contract.Called) (started bool) {
	ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            called.Workflow,
		WaitForCancellation:   true,
		ParentClosePolicy:     enums.PARENT_CLOSE_POLICY_REQUEST_CANCEL,
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		StaticSummary:         t.Name + " of " + s.in.Flow,
		TypedSearchAttributes: temporal.NewSearchAttributes(
			contract.FlowAttribute.ValueSet(called.Flow), contract.RunsAttribute.ValueSet([]string{called.RunID})),
	})
	name := contract.Instant.Name()
	if called.Pattern == flow.Service {
		name = contract.Service.Name()
	}
	in := contract.InstantInput{Batch: called.Batch, Size: 1, Skeleton: called.Skeleton}
	run := workflow.ExecuteChildWorkflow(ctx, name, in)
	_ = run.Get(ctx, nil)
	return !temporal.IsCanceledError(run.GetChildWorkflowExecution().Get(ctx, nil))
}

// back takes tasks back, each as far as it goes, and gives why.
func (s *service) back(ctx workflow.Context, undo []flow.TaskShape, why error) error {
	free, _ := workflow.NewDisconnectedContext(ctx)
	in := contract.TaskInput{Batch: s.in.Batch, Fault: contract.FromTemporal(why)}
	if ctx.Err() != nil {
		in.Fault = nil
	}
	for _, t := range undo {
		in.Task = t.Name
		s.result.Tasks[t.Name] = flow.TaskUndoing
		s.tell(free)
		undo := contract.UndoTask
		if t.Document {
			undo = undo.As(contract.Transfer)
		}
		undone, err := undo.Run(free, in, "undo "+t.Name+" in "+t.Target)
		if err != nil { // the activity has told a person, unless its worker never came to it
			undone.State = flow.TaskStands
		}
		s.result.Tasks[t.Name] = undone.State
		s.tell(free)
	}
	return why
}

// end records how the run ended, out of reach of a cancel (promises 3 and 4). A cancel that came
// before that, or an answer that cannot be made, has everything taken back.
func (s *service) end(ctx workflow.Context, undo []flow.TaskShape, broken []string, err error) error {
	free, _ := workflow.NewDisconnectedContext(ctx)
	var closed contract.CloseResult
	closing := err
	if err == nil {
		in := contract.EndInput{Batch: s.in.Batch}
		if len(broken) > 0 {
			in.Fault = fault.New(fault.Rejected, "service.legs", "not every leg came to its end: "+strings.Join(broken, ", "), nil)
			err = contract.ToTemporal(in.Fault)
		}
		if closed, closing = contract.EndService.Run(free, in, "record how the run ended"); closing != nil {
			err = s.back(ctx, undo, closing)
		}
	}
	if closing != nil {
		why := contract.CloseInput{Batch: s.in.Batch, Fault: contract.FromTemporal(err)}
		if ctx.Err() != nil {
			why.Fault = nil
		}
		if closed, closing = contract.CloseRun.Run(free, why, "record how the run ended"); closing != nil {
			return closing
		}
	}
	s.result.Status = closed.Status
	switch closed.Status {
	case flow.Completed:
		return nil
	case flow.Cancelled:
		return temporal.NewCanceledError()
	}
	outcome := contract.OutcomeFailed
	if len(broken) > 0 {
		outcome = contract.OutcomePartial
	}
	if saErr := workflow.UpsertTypedSearchAttributes(free, contract.OutcomeAttribute.ValueSet(outcome)); saErr != nil {
		return saErr
	}
	return err
}

// tell shows where the tasks stand, in the order of the file.
func (s *service) tell(ctx workflow.Context) {
	var lines []string
	var list func(tasks []flow.TaskShape)
	list = func(tasks []flow.TaskShape) {
		for _, t := range tasks {
			if state, begun := s.result.Tasks[t.Name]; begun {
				lines = append(lines, fmt.Sprintf("%s: %s", t.Name, state))
			}
			for _, leg := range t.Legs {
				list(leg.Tasks)
			}
		}
	}
	list(s.in.Skeleton.Tasks)
	if text := strings.Join(slices.Clip(lines), "\n"); text != workflow.GetCurrentDetails(ctx) {
		workflow.SetCurrentDetails(ctx, text)
	}
}
