package starters

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/run"
)

// askTimeout bounds one question to Temporal.
const askTimeout = 2 * time.Second

// unavailable is the code of the fault of a Temporal that does not answer.
const unavailable = "temporal.unavailable"

type (
	// ender ends what a workflow left open.
	ender interface {
		// Close ends the open runs of a batch: those whose cancel was asked are
		// cancelled, the others fail with why or, where it is nil, are cancelled too.
		// One that has ended stays as it is.
		Close(ctx context.Context, batchID string, why *fault.Fault) (flow.Status, error)
		// PutBackAll makes the open runs of a batch wait again, one try older; those
		// whose cancel was asked are cancelled.
		PutBackAll(ctx context.Context, batchID string, why *fault.Fault) (int, error)
		// Settle frees the slot of a batch.
		Settle(ctx context.Context, batchID string) error
	}

	// fate is how the workflow of a batch ended without having ended its runs.
	fate struct {
		why *fault.Fault
		// final: a person ended the workflow in Temporal, so its runs end with it. Else
		// nobody meant it, and the runs are carried out anew.
		final bool
	}
)

// end ends what the workflow of a batch left open.
func (f fate) end(ctx context.Context, book ender, batchID string) error {
	if !f.final {
		_, err := book.PutBackAll(ctx, batchID, f.why)
		return err
	}
	if _, err := book.Close(ctx, batchID, f.why); err != nil {
		return err
	}
	return book.Settle(ctx, batchID)
}

// fateOf says what became of a workflow; nil while it may end its runs itself. A
// workflow records the end of its runs before its own, so none that ended by
// itself has left any.
func fateOf(ctx context.Context, temporal client.Client, workflowID string) (*fate, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	d, err := temporal.DescribeWorkflowExecution(ctx, workflowID, "")
	switch {
	case gone(err):
		return &fate{why: fault.New(fault.Unavailable, "run.lost", "Temporal does not have the workflow of this run any more", nil)}, nil
	case err != nil:
		return nil, fault.New(fault.Unavailable, unavailable, "Temporal did not say how a run stands", err)
	}
	switch d.GetWorkflowExecutionInfo().GetStatus() {
	case enums.WORKFLOW_EXECUTION_STATUS_TERMINATED:
		return &fate{why: fault.New(fault.Unavailable, flow.TerminatedCode, "the workflow of this run was terminated in Temporal", nil), final: true}, nil
	case enums.WORKFLOW_EXECUTION_STATUS_CANCELED:
		return &fate{final: true}, nil
	case enums.WORKFLOW_EXECUTION_STATUS_TIMED_OUT:
		return &fate{why: fault.New(fault.Unavailable, "run.timed_out", "the workflow of this run ran out of time in Temporal", nil)}, nil
	case enums.WORKFLOW_EXECUTION_STATUS_COMPLETED, enums.WORKFLOW_EXECUTION_STATUS_FAILED:
		return &fate{why: fault.New(fault.Unavailable, "run.lost", "the workflow of this run ended in Temporal without a word of how", nil)}, nil
	}
	return nil, nil
}

// cancelBatch asks Temporal to cancel the workflow of a batch; what a workflow
// that is gone left open is ended here.
func cancelBatch(ctx context.Context, book ender, temporal client.Client, h run.Handed) error {
	f, err := fateOf(ctx, temporal, h.WorkflowID)
	if err != nil {
		return err
	}
	if f != nil {
		return f.end(ctx, book, h.BatchID)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	err = temporal.CancelWorkflow(ctx, h.WorkflowID, "")
	if err == nil || gone(err) { // gone since: the relay looks again
		return nil
	}
	return fault.New(fault.Unavailable, unavailable, "Temporal did not take the cancel", err)
}

// away reports whether err is that Temporal did not answer, as opposed to
// something about one run.
func away(err error) bool { return err != nil && fault.Of(err).Code == unavailable }

// gone reports that Temporal does not have what it was asked about, or not any more.
func gone(err error) bool { return errors.As(err, new(*serviceerror.NotFound)) }
