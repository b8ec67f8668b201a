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
		Close(ctx context.Context, batchID string, why *fault.Fault) (flow.Status, error)
	}

	// Closer is the activity run.close.v1.
	Closer struct {
		Runs Closes
	}
)

// Close records how a run that did not complete ended; a run that had ended
// before keeps its status.
func (a *Closer) Close(ctx context.Context, in contract.CloseInput) (contract.CloseResult, error) {
	status, err := a.Runs.Close(ctx, in.BatchID, in.Fault)
	if err != nil {
		return contract.CloseResult{}, fmt.Errorf("closing the run: %w", persist(err))
	}
	return contract.CloseResult{Status: status}, nil
}
