package activities

import (
	"context"
	"fmt"
	"time"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/stage"
)

type (
	// Joining makes target rows of what a run has read, once.
	Joining interface {
		Join(ctx context.Context, plan *flow.Plan, runID string, accepted bool) (stage.Joined, error)
	}

	// Turns tells whether a run that began earlier is open.
	Turns interface {
		Ahead(ctx context.Context, runID string) (bool, error)
	}

	// Joiner is the activity consolidation.join.v1. An attempt that is lost leaves
	// nothing behind: the next one begins anew.
	Joiner struct {
		Plans   Plans
		Runs    Reads
		Joining Joining
		Turns   Turns
	}
)

// turnWait is how soon a run that overlaps another asks again whether it may write.
const turnWait = 2 * time.Second

// Join joins what a run has read and freezes what differs from what the target holds.
// Which sources are missing stands where they were read; the run's own list of them is
// for people.
func (a *Joiner) Join(ctx context.Context, in contract.JoinInput) (contract.JoinResult, error) {
	ctx, _, stop := alive(ctx)
	defer stop()
	plan, err := a.Plans.ByDigest(ctx, in.Digest)
	if err != nil {
		return contract.JoinResult{}, fmt.Errorf("loading the plan: %w", err)
	}
	item, err := alone(ctx, a.Runs, in.BatchID, "joining")
	if err != nil {
		return contract.JoinResult{}, fmt.Errorf("beginning to join: %w", err)
	}
	// Of runs that overlap the later one knows more: it must not be the first to write.
	ahead, err := a.Turns.Ahead(ctx, item.RunID)
	if err != nil {
		return contract.JoinResult{}, fmt.Errorf("asking for the turn of the run: %w", err)
	}
	if ahead {
		f := fault.ThrottledFor(turnWait, "run.turn", "a run of the flow that began earlier is still open", nil)
		tell(ctx, a.Runs, item, flow.Running, plan.Flow, f)
		return contract.JoinResult{}, f
	}
	joined, err := a.Joining.Join(ctx, plan, item.RunID, asked(item, flow.ParamAccept))
	if err != nil {
		return contract.JoinResult{}, fmt.Errorf("joining: %w", err)
	}
	return contract.JoinResult(joined), nil
}
