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
		Certificate(ctx context.Context, runID string) (flow.Certificate, error)
		Watch(ctx context.Context, runID string) (<-chan struct{}, func())
		closer
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

// Cancel seals the run, so that no new attempt of an effect begins, tells
// Temporal, waits until no attempt is open, and returns the certificate
// (promise 3). A run that had ended returns the certificate of how it ended. When
// ctx ends first the error is ctx's; the cancel goes on and asking again returns
// the same certificate.
func (c *Control) Cancel(ctx context.Context, by flow.Principal, runID string) (flow.Certificate, error) {
	changed, stop := c.book.Watch(ctx, runID)
	defer stop()
	sealed, err := c.book.Seal(ctx, runID, by.Name)
	if err != nil {
		return flow.Certificate{}, err
	}
	if !sealed.Status.Final() {
		// A Temporal that is away hears it from the relay; the seal holds meanwhile.
		_ = cancelBatch(ctx, c.book, c.temporal, run.Handed{BatchID: run.BatchOf(sealed.WorkflowID), WorkflowID: sealed.WorkflowID})
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
