package contract

import (
	"encoding/json"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// The second door: Instant, started by SignalWithStart without an input.
const (
	PressSignalName = "press.v1"  // a PressSignal
	AnswerQueryName = "answer.v1" // a DoorAnswer; its Status is accepted before there is an answer
)

// MostAnswer is how many bytes of JSON an answer may have that travels through
// Temporal; a larger one stays in the database (promise 8).
const MostAnswer = 60 << 10

// The activities of the second door.
var (
	DoorAccept = DeclareActivity[PressSignal, DoorAccepted]("door.accept.v1", Bookkeeping, Main)
	DoorRead   = DeclareActivity[DoorAccepted, DoorAnswer]("door.answer.v1", Bookkeeping, Main)
)

type (
	// PressSignal is the payload of press.v1. Label is a name for people and never a
	// right: the principal is temporal:NAMESPACE.
	PressSignal struct {
		Flow   string          `json:"flow"`
		Params json.RawMessage `json:"params"` // a JSON object; validated as the API does
		Label  string          `json:"label,omitempty"`
	}

	// DoorAccepted is the run of a signal. Replayed means that an earlier workflow
	// under the same ID made it: there is nothing to carry out.
	DoorAccepted struct {
		Batch
		RunID    string        `json:"run_id"`
		Skeleton flow.Skeleton `json:"skeleton"`
		Replayed bool          `json:"replayed,omitempty"`
	}

	// DoorAnswer is what the second door answers: the result itself, or its count
	// where it is larger than MostAnswer.
	DoorAnswer struct {
		RunID  string       `json:"run_id,omitempty"`
		Status flow.Status  `json:"status"`
		Result *flow.Result `json:"result,omitempty"`
		Count  int          `json:"count"`           // rows of the answer, shown or not
		Large  bool         `json:"large,omitempty"` // read it with GET /v1/runs/{run_id}
		Fault  *fault.Fault `json:"fault,omitempty"` // why there is no answer
	}
)
