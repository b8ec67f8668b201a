package workflows

import (
	"go.temporal.io/sdk/workflow"

	"patchbay/internal/contract"
)

// Canary shows that every process on the way of a run works: whoever started it
// learns by its end that Temporal, a worker and the database do.
func Canary(ctx workflow.Context, in contract.CanaryInput) (contract.CanaryResult, error) {
	return contract.CanaryRead.Run(ctx, in, "read one row of the database")
}
