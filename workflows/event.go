package workflows

import (
	"go.temporal.io/sdk/workflow"

	"patchbay/internal/contract"
	"patchbay/internal/flow"
)

// Event carries what windows came to: prepare what is to be delivered, and deliver
// it once. A run alone is Temporal's to retry for as long as a delivery may take; a
// batch is carried once, and what goes wrong with one of its items leaves it.
func Event(ctx workflow.Context, in contract.InstantInput) (contract.InstantResult, error) {
	if in.Size > 1 {
		return together(ctx, in)
	}
	p := &press{in: in, began: workflow.Now(ctx)}
	err := p.prepare(ctx)
	if err == nil { // a flow that tells of a business event has told of it, and ended
		err = p.write(ctx)
	}
	if err != nil {
		_, err = p.end(ctx, err, final)
	}
	return p.result, err
}

// prepare reads what the flow reads besides the event, and makes what is delivered.
func (p *press) prepare(ctx workflow.Context) error {
	prepared, err := contract.Prepare.Run(ctx, p.in.Batch, "prepare the delivery to "+p.in.Skeleton.Target)
	if err != nil {
		return err
	}
	if p.result.Rows = prepared.Rows; !p.in.Skeleton.Writes {
		p.result.Status = flow.Completed
	}
	return nil
}
