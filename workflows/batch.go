package workflows

import (
	"fmt"
	"strings"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// together carries a batch of several presses, once. What goes wrong with one of
// them leaves the batch and never fails it; what a lost worker left is put back.
func together(ctx workflow.Context, in contract.InstantInput) (contract.InstantResult, error) {
	b := &batch{in: in}
	carried, err := contract.Carry.Run(ctx, in.Batch, fmt.Sprintf("carry %d presses of %s", in.Size, in.Flow))
	b.count = carried
	switch {
	case ctx.Err() != nil:
		err = b.cancelled(ctx)
	case err != nil || carried.Left > 0:
		err = b.release(ctx, contract.FromTemporal(err))
	}
	if err == nil {
		err = b.tell(ctx)
	}
	return contract.InstantResult{Items: &b.count}, err
}

// batch is the state of an Instant workflow that carries several presses.
type batch struct {
	in    contract.InstantInput
	count contract.CarryResult
	lost  bool // its worker never said what became of the items
}

// release puts back what has no outcome: each item comes again, in a smaller batch.
func (b *batch) release(ctx workflow.Context, why *fault.Fault) error {
	released, err := contract.Release.Run(ctx, contract.ReleaseInput{Batch: b.in.Batch, Fault: why}, "put back what the batch left open")
	b.lost = why != nil
	b.count.Left = 0
	b.count.Open += released.Open
	return err
}

// cancelled ends every item that is still open, out of reach of the cancel
// (promises 3 and 4).
func (b *batch) cancelled(ctx workflow.Context) error {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	_, err := contract.CloseRun.Run(ctx, contract.CloseInput{Batch: b.in.Batch}, "record how the runs ended")
	if f := contract.FromTemporal(err); f != nil && f.Class != fault.NotFound { // a batch whose items were all put back has none
		return err
	}
	b.count.Left = 0
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("%d presses, cancelled", b.in.Size))
	return temporal.NewCanceledError()
}

// tell shows the counts. The outcome attribute speaks of presses that failed for
// good: one that was put back comes again under another workflow, which tells how
// it ended.
func (b *batch) tell(ctx workflow.Context) error {
	workflow.SetCurrentDetails(ctx, b.String())
	if b.count.Failed == 0 {
		return nil
	}
	outcome := contract.OutcomePartial
	if b.count.Failed == b.in.Size {
		outcome = contract.OutcomeFailed
	}
	return workflow.UpsertTypedSearchAttributes(ctx, contract.OutcomeAttribute.ValueSet(outcome))
}

// String is the counts in words: "12 presses: 10 done, 1 failed, 1 put back".
func (b *batch) String() string {
	words := []string{fmt.Sprintf("%d done", b.count.Done)}
	if b.lost {
		words = []string{"carried by a worker that was lost"}
	}
	if b.count.Failed > 0 {
		words = append(words, fmt.Sprintf("%d %s", b.count.Failed, flow.Failed))
	}
	if back := b.count.Later + b.count.Open; back > 0 {
		words = append(words, fmt.Sprintf("%d put back", back))
	}
	return fmt.Sprintf("%d presses: %s", b.in.Size, strings.Join(words, ", "))
}
