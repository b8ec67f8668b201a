package activities

import (
	"context"
	"fmt"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

type (
	// Closes is the part of the book of runs that ends a run.
	Closes interface {
		// GoOn reports whether a run that nobody carries any more is to be carried on,
		// since it was answered while it was read, or has time left; late: it has its
		// whole time again.
		GoOn(ctx context.Context, batchID string, reading, late bool) (bool, error)
		Close(ctx context.Context, batchID string, why *fault.Fault) (flow.Status, error)
	}

	// Closer is the activity run.close.v1.
	Closer struct {
		Runs Closes
	}
)

// Close records how a run that did not complete ended; a run that had ended
// before keeps its status. One that only lacked time goes on if an outage cost it, and
// one that was answered without Temporal's hearing of it goes on to write.
func (a *Closer) Close(ctx context.Context, in contract.CloseInput) (contract.CloseResult, error) {
	if in.GoesOn && in.Fault != nil && (in.Fault.Retryable() || in.Fault.Class == fault.InDoubt) {
		on, err := a.Runs.GoOn(ctx, in.BatchID, in.Reading, in.Late)
		switch {
		case err != nil:
			return contract.CloseResult{}, fmt.Errorf("asking for the time of the run: %w", persist(err))
		case on:
			return contract.CloseResult{Status: flow.Running}, nil
		}
	}
	status, err := a.Runs.Close(ctx, in.BatchID, in.Fault)
	if err != nil {
		return contract.CloseResult{}, fmt.Errorf("closing the run: %w", persist(err))
	}
	return contract.CloseResult{Status: status}, nil
}
