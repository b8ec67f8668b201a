package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// Instant carries presses: read and map the rows, answer, write them. The answer
// and the outcome are committed by the activities; the workflow decides what comes
// next and makes sure that every end is recorded. A press alone is Temporal's to
// retry; a batch is carried once, and one without an input waits for its press.
func Instant(ctx workflow.Context, in contract.InstantInput) (contract.InstantResult, error) {
	switch {
	case in.Size == 0:
		return throughTheDoor(ctx)
	case in.Size > 1:
		return together(ctx, in)
	}
	p := &press{in: in, began: workflow.Now(ctx)}
	err := p.read(ctx)
	if err == nil {
		err = p.write(ctx)
	}
	if err != nil {
		err = p.end(ctx, err)
	}
	return p.result, err
}

// press is the state of an Instant workflow that carries one press.
type press struct {
	in     contract.InstantInput
	began  time.Time
	result contract.InstantResult
}

func (p *press) read(ctx workflow.Context) error {
	plan := p.in.Skeleton
	read, err := contract.Read.Tighten(plan.Timeout).Run(ctx, p.in.Batch, "read and map from "+plan.Source)
	if err != nil {
		return err
	}
	p.result.Rows, p.result.Status = read.Rows, flow.Completed
	return nil
}

// write delivers what was read, for a flow that writes.
func (p *press) write(ctx workflow.Context) error {
	plan, rows := p.in.Skeleton, p.result.Rows
	if !plan.Writes {
		return nil
	}
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("%d rows read from %s; writing to %s", rows, plan.Source, plan.Target))
	write, err := p.delivery(ctx).Run(ctx, p.in.Batch, fmt.Sprintf("write %d rows to %s", rows, plan.Target))
	if err != nil {
		return err
	}
	p.result.Confirmed, p.result.Status = write.Confirmed, write.Status
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("%d rows read from %s; %d confirmed, %d refused by %s",
		rows, plan.Source, write.Confirmed, write.Refused, plan.Target))
	switch write.Status {
	case flow.Cancelled:
		return temporal.NewCanceledError()
	case flow.Failed:
		if write.Doubtful > 0 && write.Refused == 0 {
			return contract.ToTemporal(fault.New(fault.Rejected, "write.in_doubt", "whether "+plan.Target+" has rows is not known", nil))
		}
		return contract.ToTemporal(fault.New(fault.Rejected, "write.refused", plan.Target+" refused rows", nil))
	}
	return nil
}

// delivery is the write stub: an answer that waits for the write has the rest of
// the flow's timeout; one that was given before leaves the write all the time it needs.
func (p *press) delivery(ctx workflow.Context) contract.Activity[contract.Batch, contract.WriteResult] {
	if p.in.Skeleton.Respond != flow.AfterWrite {
		return contract.Write
	}
	return contract.Write.Tighten(max(time.Second, p.in.Skeleton.Timeout-workflow.Now(ctx).Sub(p.began)))
}

// end records how a run that did not complete ended, out of reach of a cancel
// (promises 3 and 4), and hands Temporal the reason: the run is red, or cancelled.
// A run that an attempt had completed before it was lost keeps its status.
func (p *press) end(ctx workflow.Context, err error) error {
	why := contract.CloseInput{Batch: p.in.Batch, Fault: contract.FromTemporal(err)}
	if ctx.Err() != nil {
		why.Fault = nil // what a cancelled attempt says of itself is not why it ended
	}
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	closed, closeErr := contract.CloseRun.Run(ctx, why, "record how the run ended")
	if closeErr != nil {
		return closeErr
	}
	p.result.Status = closed.Status
	switch closed.Status {
	case flow.Completed:
		return nil
	case flow.Cancelled:
		return temporal.NewCanceledError()
	}
	if saErr := workflow.UpsertTypedSearchAttributes(ctx, contract.OutcomeAttribute.ValueSet(p.outcome())); saErr != nil {
		return saErr
	}
	return err
}

// outcome is the value of PatchbayOutcome for a run that failed.
func (p *press) outcome() string {
	if p.result.Confirmed > 0 {
		return contract.OutcomePartial
	}
	return contract.OutcomeFailed
}
