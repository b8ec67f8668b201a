package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"patchbay/internal/contract"
	"patchbay/internal/flow"
)

// Hybrid collects, computes, decides and writes for one run: each task begins when those that
// it needs have ended. What a source or a calculator cannot give is a part of the decision and
// no failure. The workflow sees names and states; the figures that it hands to the compute
// fleet it does not look at.
func Hybrid(ctx workflow.Context, in contract.InstantInput) (contract.ServiceResult, error) {
	s := &service{in: in, began: workflow.GetInfo(ctx).WorkflowStartTime, result: contract.ServiceResult{Tasks: map[string]flow.TaskState{}}}
	return s.result, s.end(ctx, nil, s.weave(ctx, in.Skeleton.Tasks))
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
			_, err := s.task(ctx, t)
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
