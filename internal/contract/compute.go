package contract

import (
	"context"
	"encoding/json"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
)

// The compute fleet: one computation of a registered function, a calculator, in a program
// that hosts it. Such a program knows nothing else of Patchbay and holds no credentials.
// All that goes wrong for good has a name and is not tried again: the calculator's own
// faults, calculator.unknown, .missing, .panicked, .not-finite, .failed, .overdue and
// .runaway, and PoisonCode. Begin it by Compute.
var compute = DeclareActivity[ComputeInput, ComputeResult]("compute.v1", Computing, Risk)

// Risk is the queue of the compute fleet, unless a flow names another.
const Risk Queue = "risk"

// Batch is the lane of a compute queue for what nobody waits for. Its slots are its own,
// so that a computation that somebody waits for finds one.
func (q Queue) Batch() Queue { return q + ".batch" }

// Urgency is how a computation stands among the others.
type Urgency int

// The urgencies. What a shadow computes goes behind all that has an effect.
const (
	Awaited Urgency = iota
	Batched
	Shadowed
)

// Compute is the stub of a computation on the fleet of a queue. User is whose turn it uses
// up among the others that wait: a pseudonym, never a name (promise 5).
//
//	contract.Compute("risk", contract.Awaited, pseudonym).Tighten(total).Run(ctx, in, "risk.stress v1")
func Compute(queue Queue, u Urgency, user string) Activity[ComputeInput, ComputeResult] {
	a := compute
	a.queue, a.rank = queue, temporal.Priority{PriorityKey: 3 + int(u), FairnessKey: user}
	if u != Awaited {
		a.queue = queue.Batch()
	}
	return a
}

// RegisterCompute makes fn the implementation.
func RegisterCompute(r worker.ActivityRegistry, fn func(context.Context, ComputeInput) (ComputeResult, error)) {
	compute.Register(r, fn)
}

// PoisonCode is the code of a computation that its worker died of, Deaths times: it is
// not given to another.
const (
	PoisonCode = "compute.poison"
	Deaths     = 3
)

type (
	// ComputeInput is one computation: figures, and nothing that says whose they are.
	ComputeInput struct {
		Function string          `json:"function"` // name of the calculator, as "risk.stress"
		Version  string          `json:"version"`
		Seed     uint64          `json:"seed"`
		Input    json.RawMessage `json:"input"` // canonical JSON, together with the rest at most 64 KiB
		// Within is how long the computation may take from when a worker has begun it; 0
		// is what the profile allows.
		Within time.Duration `json:"within,omitempty"`
	}

	// ComputeResult is what it gave: the same bits for the same ComputeInput.
	ComputeResult struct {
		Output json.RawMessage `json:"output"`          // canonical JSON
		Model  string          `json:"model,omitempty"` // digest of the model that the calculator computes with
	}

	// ComputeBeat is what a computation tells with its heartbeats.
	ComputeBeat struct {
		Done  int `json:"done"`  // of Total, in units of the calculator's own
		Total int `json:"total"` // 0: not known yet
		// Returned counts the attempts that gave the computation back alive; the other
		// earlier ones are deaths of a worker.
		Returned int32 `json:"returned,omitempty"`
	}
)
