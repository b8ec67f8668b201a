package activities

import (
	"context"
	"fmt"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

type (
	// Backs is the part of the book of runs that takes a whole batch back.
	Backs interface {
		// PutBackAll puts back every open item of a batch, a try counted, and settles
		// the batch; it tells how many they were.
		PutBackAll(ctx context.Context, batchID string, why *fault.Fault) (int, error)
	}

	// Releaser is the activity batch.release.v1: what a batch left open comes again,
	// in smaller batches.
	Releaser struct {
		Runs Backs
	}
)

// Release puts back what the batch left. A second execution finds nothing.
func (a *Releaser) Release(ctx context.Context, in contract.ReleaseInput) (contract.ReleaseResult, error) {
	why := in.Fault
	switch {
	case why == nil:
		why = fault.New(fault.Unavailable, "batch.left", "how this run ended could not be recorded", nil)
	case why.Code == flow.DeadlineCode: // of the batch, and not of the run
		why = fault.New(fault.Unavailable, "batch.lost", "the worker that carried this run was lost", nil)
	}
	n, err := a.Runs.PutBackAll(ctx, in.BatchID, why)
	if err != nil {
		return contract.ReleaseResult{}, fmt.Errorf("putting the batch back: %w", persist(err))
	}
	return contract.ReleaseResult{Open: n}, nil
}

// persist makes a failure worth another try, whatever is in the way; but what is
// not there will not be.
func persist(err error) error {
	f := fault.Of(err)
	if f == nil || f.Class == fault.NotFound {
		return err
	}
	return fault.New(fault.Unavailable, f.Code, f.Text, err)
}
