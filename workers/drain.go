package workers

import (
	"context"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
)

// drainLook is the pause between two looks at what a build still carries.
const drainLook = 200 * time.Millisecond

// Drain waits, when new runs begin on another build, until no run of this one is
// open or ctx ends: pinned runs reach no worker of another build by themselves,
// so a worker that is asked to stop first lets short ones end. While this build
// is the current one it returns at once: its runs go on with the next worker of
// the build, and new ones would never cease. It returns how many are left, and
// none where Temporal does not answer: then there is nothing to wait for.
func Drain(ctx context.Context, temporal client.Client) (open int64) {
	current, err := Current(ctx, temporal)
	if err != nil || current {
		return 0
	}
	tick := time.NewTicker(drainLook)
	defer tick.Stop()
	for none := 0; ; {
		count, err := temporal.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: openRuns("=")})
		switch {
		case ctx.Err() != nil:
			return open
		case err != nil:
			return 0
		}
		open = count.GetCount()
		if open > 0 {
			none = 0
		} else if none++; none == 2 { // visibility follows the runs: one that has just begun shows by the second look
			return 0
		}
		select {
		case <-ctx.Done():
			return open
		case <-tick.C:
		}
	}
}
