package starters

import (
	"context"

	"go.temporal.io/sdk/client"

	"patchbay/internal/flow"
	"patchbay/internal/run"
)

type (
	// Cancellable is the part of the book of runs that a cancel needs.
	Cancellable interface {
		Get(ctx context.Context, runID string) (flow.Run, error)
		Seal(ctx context.Context, runID, by string) (flow.Run, error)
		SealedOpen(ctx context.Context) ([]run.Handed, error)
		Certificate(ctx context.Context, runID string) (flow.Certificate, error)
		Watch(ctx context.Context, runID string) (<-chan struct{}, func())
		ender
	}

	// Control cancels runs.
	Control struct {
		book     Cancellable
		temporal client.Client
	}
)

// NewControl builds a Control.
func NewControl(book Cancellable, temporal client.Client) *Control {
	return &Control{book: book, temporal: temporal}
}

// Cancel seals the run, so that no new attempt of an effect begins, has whatever
// carries it hear of that, waits until no attempt is open, and returns the
// certificate (promise 3). A run that had ended returns the certificate of how it
// ended. When ctx ends first the error is ctx's; the cancel goes on and asking
// again returns the same certificate.
func (c *Control) Cancel(ctx context.Context, by flow.Principal, runID string) (flow.Certificate, error) {
	changed, stop := c.book.Watch(ctx, runID)
	defer stop()
	sealed, err := c.book.Seal(ctx, runID, by.Name)
	if err != nil {
		return flow.Certificate{}, err
	}
	if !sealed.Status.Final() && sealed.WorkflowID != "" {
		// A Temporal that is away hears it from the relay; the seal holds meanwhile.
		_ = c.tell(ctx, sealed.WorkflowID)
	}
	for !sealed.Status.Final() {
		select {
		case <-ctx.Done():
			return flow.Certificate{}, ctx.Err()
		case <-changed:
		}
		if sealed, err = c.book.Get(ctx, runID); err != nil {
			return flow.Certificate{}, err
		}
	}
	return c.book.Certificate(ctx, runID)
}

// tell makes the workflow of a sealed run end it. A run that is alone in its
// workflow is cancelled with it. A batch of several reads the seals of its items
// itself, so only one whose workflow is gone needs to be ended.
func (c *Control) tell(ctx context.Context, workflowID string) error {
	alone, err := c.book.SealedOpen(ctx)
	if err != nil {
		return err
	}
	for _, h := range alone {
		if h.WorkflowID == workflowID {
			return cancelBatch(ctx, c.book, c.temporal, h)
		}
	}
	f, err := fateOf(ctx, c.temporal, workflowID)
	if err != nil || f == nil {
		return err
	}
	return f.end(ctx, c.book, run.BatchOf(workflowID))
}
