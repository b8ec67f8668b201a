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
	p := &press{in: in, began: workflow.GetInfo(ctx).WorkflowStartTime}
	err := p.carry(ctx, func(ctx workflow.Context) error {
		if err := p.read(ctx); err != nil {
			return err
		}
		return p.write(ctx)
	})
	return p.result, err
}

// press is the state of an Instant workflow that carries one press.
type press struct {
	in     contract.InstantInput
	began  time.Time // its time runs from there
	unread bool      // nobody has said that it is read
	result contract.InstantResult
}

// carry takes the press to its end, once more where an outage of ours cost its time.
func (p *press) carry(ctx workflow.Context, way func(workflow.Context) error) error {
	for {
		err := way(ctx)
		if err == nil {
			return nil
		}
		again, err := p.end(ctx, err, unlessTimeIsLeft)
		if !again {
			return err
		}
		if err := workflow.Sleep(ctx, time.Second); err != nil { // clocks that disagree about its end must not spin
			_, err = p.end(ctx, err, final)
			return err
		}
		p.began = workflow.Now(ctx)
	}
}

func (p *press) read(ctx workflow.Context) error {
	plan := p.in.Skeleton
	p.unread = true
	read, err := contract.Read.Tighten(plan.Timeout).Run(ctx, p.in.Batch, "read and map from "+plan.Source)
	if err != nil {
		return err
	}
	p.unread = false
	p.result.Rows, p.result.Status = read.Rows, flow.Completed
	return nil
}

// write delivers what was read, for a flow that writes.
func (p *press) write(ctx workflow.Context) error {
	plan, rows := p.in.Skeleton, p.result.Rows
	if !plan.Writes {
		return nil
	}
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("%s; writing to %s", p.had(), plan.Target))
	write, err := p.delivery(ctx).Run(ctx, p.in.Batch, fmt.Sprintf("write %d rows to %s", rows, plan.Target))
	if err != nil {
		return err
	}
	p.result.Confirmed, p.result.Status = write.Confirmed, write.Status
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("%s; %d confirmed, %d refused by %s", p.had(), write.Confirmed, write.Refused, plan.Target))
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

// had says what there is to write.
func (p *press) had() string {
	if source := p.in.Skeleton.Source; source != "" {
		return fmt.Sprintf("%d rows read from %s", p.result.Rows, source)
	}
	return fmt.Sprintf("%d prepared", p.result.Rows)
}

// delivery is the write stub: an answer that waits for the write has the rest of
// the flow's timeout; one that was given before leaves the write all the time it needs.
func (p *press) delivery(ctx workflow.Context) contract.Activity[contract.Batch, contract.WriteResult] {
	if p.in.Skeleton.Respond != flow.AfterWrite {
		return contract.Write
	}
	return contract.Write.Tighten(max(time.Second, p.in.Skeleton.Timeout-workflow.Now(ctx).Sub(p.began)))
}

// punctual is how late a run may be told that its time is over: what tells it, and
// who hears it, take turns with others.
const punctual = 2 * time.Second

// late reports whether the time of the press was over long ago.
func (p *press) late(ctx workflow.Context) bool {
	limit := p.in.Skeleton.Timeout
	if limit <= 0 {
		limit = contract.Interactive.Total
	}
	return workflow.Now(ctx).Sub(p.began) > limit+punctual
}

// ending says whether a run that did not complete may go on.
type ending bool

const (
	final            ending = true
	unlessTimeIsLeft ending = false
)

// end records how a run that did not complete ended, out of reach of a cancel
// (promises 3 and 4), and hands Temporal the reason: the run is red, or cancelled.
// A run that an attempt had completed before it was lost keeps its status. again: it
// has not ended, and is to be carried once more; never where the end is final.
func (p *press) end(ctx workflow.Context, err error, how ending) (again bool, _ error) {
	why := contract.CloseInput{Batch: p.in.Batch, Fault: contract.FromTemporal(err)}
	if how == unlessTimeIsLeft {
		why.GoesOn, why.Reading, why.Late = true, p.unread, p.late(ctx)
	}
	if ctx.Err() != nil {
		why.Fault = nil // what a cancelled attempt says of itself is not why it ended
	}
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	closed, closeErr := contract.CloseRun.Run(ctx, why, "record how the run ended")
	if closeErr != nil {
		return false, closeErr
	}
	p.result.Status = closed.Status
	switch closed.Status {
	case flow.Running:
		return true, nil
	case flow.Completed:
		return false, nil
	case flow.Cancelled:
		return false, temporal.NewCanceledError()
	}
	if saErr := workflow.UpsertTypedSearchAttributes(ctx, contract.OutcomeAttribute.ValueSet(p.outcome())); saErr != nil {
		return false, saErr
	}
	return false, err
}

// outcome is the value of PatchbayOutcome for a run that failed.
func (p *press) outcome() string {
	if p.result.Confirmed > 0 {
		return contract.OutcomePartial
	}
	return contract.OutcomeFailed
}
