package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"go.temporal.io/sdk/activity"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/run"
	"patchbay/internal/strictjson"
)

type (
	// Presses is the part of the book of runs that the second door needs.
	Presses interface {
		Accept(ctx context.Context, press flow.Press) (flow.Run, run.Start, error)
		Get(ctx context.Context, runID string) (flow.Run, error)
	}

	// Doorman is the activities door.accept.v1 and door.answer.v1: a press that came
	// to Temporal as a signal gets its row, and its answer goes back the same way.
	Doorman struct {
		Runs Presses
	}

	// signalled is the payload of press.v1, read strictly. The label is for people.
	signalled struct {
		Flow   string         `json:"flow"`
		Params map[string]any `json:"params"`
		Label  string         `json:"label"`
	}
)

// Accept makes a run of the signal of the workflow it runs in: the workflow's ID is
// the batch and the key of the press, and its namespace is who asks. A press that
// was accepted before gives the same run. What is wrong with the signal is Invalid
// and stays so, with the fields named.
func (a *Doorman) Accept(ctx context.Context, in contract.DoorSignal) (contract.DoorAccepted, error) {
	info := activity.GetInfo(ctx)
	id := info.WorkflowExecution.ID
	if err := free(id); err != nil {
		return contract.DoorAccepted{}, err
	}
	var press signalled
	if err := strictjson.Unmarshal(in.Payload, &press); err != nil {
		return contract.DoorAccepted{}, fmt.Errorf("reading the signal: %w", err)
	}
	if press.Flow == "" {
		return contract.DoorAccepted{}, wrongFlow("field.required", "the signal names no flow")
	}
	accepted, start, err := a.Runs.Accept(ctx, flow.Press{
		Flow: press.Flow, Principal: "temporal:" + info.Namespace, Params: press.Params, Workflow: id,
	})
	if f := fault.Of(err); f != nil {
		switch f.Code {
		case "flow.not_found":
			err = wrongFlow("field.unknown", f.Text)
		case "idem.reused":
			err = fault.New(fault.Conflict, f.Code, "this workflow ID stands for a press with other parameters; use another ID", err)
		}
		return contract.DoorAccepted{}, fmt.Errorf("accepting the press: %w", err)
	}
	return contract.DoorAccepted{
		Batch: contract.Batch{BatchID: start.BatchID, Flow: start.Flow, Digest: start.Digest},
		RunID: accepted.RunID, Skeleton: start.Skeleton,
		// An open one is carried on, whoever began it: this workflow, in an attempt whose
		// answer was lost, or one that was terminated.
		Replayed: accepted.Replayed && accepted.Status.Final(),
	}, nil
}

// free refuses the workflow IDs that are ours to give, and those that no database
// holds.
func free(id string) error {
	first, _, _ := strings.Cut(id, "/")
	ours := []flow.Pattern{flow.Instant, flow.Event, flow.Consolidation, flow.Service, flow.Synchronization, flow.Hybrid}
	if first != id && slices.Contains(ours, flow.Pattern(first)) {
		return fault.Invalidf("door.id_reserved", "workflow IDs that begin with %s/ are Patchbay's own; use another", first)
	}
	if strings.ContainsFunc(id, unicode.IsControl) {
		return fault.Invalidf("door.id_invalid", "the workflow ID has a control character; use another")
	}
	return nil
}

func wrongFlow(code, text string) error {
	return fault.New(fault.Invalid, "door.flow", text, nil).With(fault.Field{Path: "flow", Code: code, Detail: text})
}

// Read gives the answer of a run as far as there is one: itself, or its count
// where it is larger than contract.MostAnswer.
func (a *Doorman) Read(ctx context.Context, in contract.DoorAccepted) (contract.DoorAnswer, error) {
	found, err := a.Runs.Get(ctx, in.RunID)
	if err != nil {
		return contract.DoorAnswer{}, fmt.Errorf("reading the answer: %w", err)
	}
	answer := contract.DoorAnswer{RunID: found.RunID, Status: found.Status}
	if p := found.Problem; p != nil {
		class := fault.Rejected
		if p.Retry {
			class = fault.Unavailable
		}
		answer.Fault = fault.New(class, p.Code, p.Detail, nil)
	}
	if found.Result == nil {
		return answer, nil
	}
	body, err := json.Marshal(found.Result)
	if err != nil {
		return contract.DoorAnswer{}, fault.New(fault.Bug, "door.answer", "an answer that cannot be encoded", err)
	}
	answer.Count = found.Result.Count
	if answer.Large = len(body) > contract.MostAnswer; !answer.Large {
		answer.Result = found.Result
	}
	return answer, nil
}
