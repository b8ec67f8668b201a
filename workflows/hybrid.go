package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// Hybrid collects, computes, decides and writes for one run: each task begins when those that
// it needs have ended. What a source or a calculator cannot give is a part of the decision and
// no failure. The workflow sees names and states; the figures that it hands to the compute
// fleet it does not look at.
func Hybrid(ctx workflow.Context, in contract.InstantInput) (contract.ServiceResult, error) {
	s := &service{in: in, began: workflow.GetInfo(ctx).WorkflowStartTime, result: contract.ServiceResult{Tasks: map[string]flow.TaskState{}}}
	s.shadows = workflow.NewWaitGroup(ctx)
	err := s.end(ctx, nil, nil, s.weave(ctx, in.Skeleton.Tasks))
	s.shadows.Wait(ctx) // nobody waits for these: what was decided is known
	return s.result, err
}

// shadow has another calculator compute the same, behind all that has an effect, and keeps how the
// two compare. Nothing of the run needs it, and whatever becomes of it fails nothing.
func (s *service) shadow(ctx workflow.Context, t flow.TaskShape, asked contract.TaskResult, live contract.ComputeResult) {
	s.shadows.Add(1)
	workflow.GoNamed(ctx, t.Name+" in the shadow", func(ctx workflow.Context) {
		defer s.shadows.Done()
		in := contract.ShadowInput{
			Run: asked.Run, Flow: s.in.Flow, Task: t.Name, Output: live.Output,
			Live: asked.Compute.Function + " " + asked.Compute.Version, Beside: t.Shadow.Function + " " + t.Shadow.Version,
		}
		beside := *asked.Compute
		beside.Function, beside.Version = t.Shadow.Function, t.Shadow.Version
		other, err := contract.Compute(contract.Queue(t.Target), contract.Shadowed, asked.User).Tighten(t.Deadline).Run(ctx, beside, in.Beside+", in the shadow")
		if ctx.Err() != nil {
			return
		}
		in.Fault, in.Other = contract.FromTemporal(err), other.Output
		if len(in.Output)+len(in.Other) > contract.MostShadow {
			in.Fault, in.Output, in.Other = fault.New(fault.Rejected, "shadow.size", "the outputs are too large to be compared", nil), nil, nil
		}
		_, _ = contract.KeepShadow.Run(ctx, in, t.Name+": compare with "+in.Beside)
	})
}

// weave does tasks side by side as far as they do not need each other, and gives the first
// failure in their order. What needs a task that failed is not begun.
func (s *service) weave(ctx workflow.Context, tasks []flow.TaskShape) error {
	ended := make(map[string]workflow.Future, len(tasks))
	for _, t := range tasks {
		future, end := workflow.NewFuture(ctx)
		ended[t.Name] = future
		workflow.GoNamed(ctx, t.Name, func(ctx workflow.Context) {
			for _, need := range t.Needs {
				if err := ended[need].Get(ctx, nil); err != nil {
					end.SetError(err)
					return
				}
			}
			_, _, err := s.task(ctx, t)
			end.Set(nil, err)
		})
	}
	var first error
	for _, t := range tasks {
		if err := ended[t.Name].Get(ctx, nil); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// settle does a task that reads or computes for a decision. Where nothing came, an activity is
// told why, and keeps what the flow says of that.
func (s *service) settle(ctx workflow.Context, t flow.TaskShape) error {
	within, err := s.left(ctx, t)
	if err != nil {
		return err
	}
	in := contract.TaskInput{Batch: s.in.Batch, Task: t.Name}
	var asked contract.TaskResult
	first := contract.DoTask
	if t.Kind == flow.TaskCollect {
		first = first.Tighten(within)
	}
	done, err := first.Run(ctx, in, words(t))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch {
	case err != nil && t.Kind != flow.TaskCollect:
		return err
	case err == nil && done.Compute == nil:
		s.did(t, done.Skipped)
		return nil
	case err == nil:
		asked = done
		summary := fmt.Sprintf("%s: %s %s", t.Name, done.Compute.Function, done.Compute.Version)
		computed, failed := s.fleet(ctx, t, done.User).Tighten(within).Run(ctx, *done.Compute, summary)
		if in.Computed = &computed; failed != nil {
			err, in.Computed = failed, nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	in.Fault = contract.FromTemporal(err)
	done, err = contract.DoTask.Run(ctx, in, t.Name+": keep what came of it")
	s.did(t, done.Skipped)
	if t.Shadow != nil && in.Computed != nil && err == nil {
		s.shadow(ctx, t, asked, *in.Computed)
	}
	return err
}

// awaited is the priority of runs that somebody waits for; larger ones go behind.
const awaited = 3

// fleet is where the task is computed: ahead of others where somebody waits, and fair between
// those who started the runs.
func (s *service) fleet(ctx workflow.Context, t flow.TaskShape, user string) contract.Activity[contract.ComputeInput, contract.ComputeResult] {
	urgency := contract.Awaited
	if workflow.GetInfo(ctx).Priority.PriorityKey > awaited {
		urgency = contract.Batched
	}
	return contract.Compute(contract.Queue(t.Target), urgency, user)
}
