package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"patchbay/internal/contract"
	"patchbay/internal/flow"
)

// await waits until the event of a task has come, or its time is over; or until a person has
// decided. An activity looks for it; while there is none the workflow sleeps, for weeks if need be, and a signal wakes
// it when one may be there.
func (s *service) await(ctx workflow.Context, t flow.TaskShape) error {
	within, err := s.left(ctx, t)
	if err != nil {
		return err
	}
	came := workflow.GetSignalChannel(ctx, contract.Came(t.Name))
	in := contract.TaskInput{Batch: s.in.Batch, Task: t.Name, Within: within}
	for {
		done, err := contract.DoTask.Run(ctx, in, words(t))
		if err != nil {
			return err
		}
		if done.Left == 0 {
			s.did(t, done.Skipped)
			return nil
		}
		if err := sleep(ctx, came, done.Left); err != nil {
			return err
		}
	}
}

// sleep waits for a signal, or so long. Signals that came together wake once.
func sleep(ctx workflow.Context, came workflow.ReceiveChannel, most time.Duration) error {
	timed, stop := workflow.WithCancel(ctx)
	defer stop()
	workflow.NewSelector(ctx).
		AddReceive(came, func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, nil) }).
		AddReceive(ctx.Done(), func(workflow.ReceiveChannel, bool) {}).
		AddFuture(workflow.NewTimer(timed, most), func(workflow.Future) {}).
		Select(ctx)
	for came.ReceiveAsync(nil) {
	}
	return ctx.Err()
}
