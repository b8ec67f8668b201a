package contract

import "time"

// The canary: a workflow of one activity, which reads one row of the database.
// When it ends well, a start has reached Temporal, Temporal a worker, and the
// worker the database; "SERVING" proves none of that.
var (
	Canary     = DeclareWorkflow[CanaryInput, CanaryResult]("patchbay.canary.v1", Main)
	CanaryRead = DeclareActivity[CanaryInput, CanaryResult]("canary.read.v1", Probing, Main)
)

// CanaryLife is how long a canary may take; Temporal ends it then.
const CanaryLife = 5 * time.Second

type (
	// CanaryInput starts a canary.
	CanaryInput struct{}

	// CanaryResult is the row that was read: the version of the schema.
	CanaryResult struct {
		Schema int64 `json:"schema"`
	}
)
