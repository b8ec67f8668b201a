package contract

import (
	"encoding/json"
	"time"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// The second door: Instant, started by SignalWithStart without an input.
const (
	PressSignalName = "press.v1"  // a PressSignal
	AnswerQueryName = "answer.v1" // a DoorAnswer; its Status is accepted before there is an answer
)

// Bounds of the second door.
const (
	// DoorPatience is how long a workflow that was started without an input and
	// without a signal waits for one.
	DoorPatience = time.Minute
	// MostSignal is how many bytes the payload of a press.v1 may have.
	MostSignal = 32 << 10
)

// MostAnswer is how many bytes of JSON an answer may have that travels through
// Temporal; a larger one stays in the database (promise 8).
const MostAnswer = 60 << 10

// The activities of the second door.
var (
	DoorAccept = DeclareActivity[DoorSignal, DoorAccepted]("door.accept.v1", Bookkeeping, Main)
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

	// DoorSignal is the payload of a press.v1 as it came, read by nobody yet: what is
	// wrong with it has to be said and not to be dropped.
	DoorSignal struct {
		Payload []byte `json:"payload"`
	}

	// DoorAccepted is the run of a signal. Replayed means that it has ended, under an
	// earlier workflow of the same ID: there is nothing to carry out.
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
		// Rejected counts further signals that asked for something else: a workflow ID
		// stands for one press.
		Rejected int `json:"rejected,omitempty"`
	}
)
