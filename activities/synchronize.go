package activities

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"

	"patchbay/internal/contract"
	"patchbay/internal/flow"
)

type (
	// Mirrors is the regions' work, each call as long as until; what one table suffers from
	// is in the counts, and an error is about all of it. held is as of the writes of a run.
	Mirrors interface {
		Export(ctx context.Context, plan *flow.Plan, in contract.SyncInput, until time.Time, held func() error) (contract.SyncCounts, error)
		Import(ctx context.Context, plan *flow.Plan, in contract.SyncInput, until time.Time, held func() error) (contract.SyncCounts, error)
		Compare(ctx context.Context, plan *flow.Plan, in contract.SyncInput, until time.Time, held func() error) (contract.SyncCounts, error)
	}

	// Synchronizer is the activities synchronization.export.v1, .import.v1 and
	// .reconcile.v1.
	Synchronizer struct {
		Plans   Plans
		Mirrors Mirrors
		// Round is how long one activity works; its workflow begins the next one.
		Round time.Duration
	}

	mirrored func(ctx context.Context, plan *flow.Plan, in contract.SyncInput, until time.Time, held func() error) (contract.SyncCounts, error)
)

// Export gathers what changes in the region for a round.
func (a *Synchronizer) Export(ctx context.Context, in contract.SyncInput) (contract.SyncCounts, error) {
	return a.round(ctx, in, a.Mirrors.Export)
}

// Import takes what another region has for this one for a round.
func (a *Synchronizer) Import(ctx context.Context, in contract.SyncInput) (contract.SyncCounts, error) {
	return a.round(ctx, in, a.Mirrors.Import)
}

// Compare compares with another region when that is due.
func (a *Synchronizer) Compare(ctx context.Context, in contract.SyncInput) (contract.SyncCounts, error) {
	return a.round(ctx, in, a.Mirrors.Compare)
}

// round works until the round is over, or until the workflow is told of another plan; both
// are its end, and everything that was done is kept elsewhere.
func (a *Synchronizer) round(ctx context.Context, in contract.SyncInput, work mirrored) (contract.SyncCounts, error) {
	ctx, held, stop := alive(ctx)
	defer stop()
	plan, err := a.Plans.ByDigest(ctx, in.Digest)
	if err != nil {
		return contract.SyncCounts{}, fmt.Errorf("loading the plan: %w", err)
	}
	ctx, give := untilStop(ctx)
	defer give()
	return work(ctx, plan, in, time.Now().Add(a.Round), held)
}

// untilStop gives a context that ends as soon as the worker is to stop: what a round has
// done is kept, and the next one begins elsewhere at once.
func untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	stopping := activity.GetWorkerStopChannel(ctx)
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
