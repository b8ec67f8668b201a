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

// closer ends the open runs of a batch: those whose cancel was asked are
// cancelled, the others fail with why, and one that has ended stays as it is.
type closer interface {
	Close(ctx context.Context, batchID string, why *fault.Fault) (flow.Status, error)
}

// cancelBatch asks Temporal to cancel the workflow of a batch. One that has closed
// takes the cancel and does nothing, and one that Temporal does not know ends no
// run either: what it left open is closed here. A workflow records the end of its
// runs before its own, so none that ended by itself has left any.
func cancelBatch(ctx context.Context, book closer, temporal client.Client, h run.Handed) error {
	why, err := fate(ctx, temporal, h.WorkflowID)
	if err != nil {
		return err
	}
	if why != nil {
		_, err := book.Close(ctx, h.BatchID, why)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	err = temporal.CancelWorkflow(ctx, h.WorkflowID, "")
	var gone *serviceerror.NotFound
	if err == nil || errors.As(err, &gone) { // gone since: the relay looks again
		return nil
	}
	return fault.New(fault.Unavailable, unavailable, "Temporal did not take the cancel", err)
}

// away reports whether err is that Temporal did not answer, as opposed to
// something about one run.
func away(err error) bool { return err != nil && fault.Of(err).Code == unavailable }

// fate says why a workflow will not end its runs; nil while it may.
func fate(ctx context.Context, temporal client.Client, workflowID string) (*fault.Fault, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	d, err := temporal.DescribeWorkflowExecution(ctx, workflowID, "")
	var gone *serviceerror.NotFound
	switch {
	case errors.As(err, &gone):
		return lost(), nil
	case err != nil:
		return nil, fault.New(fault.Unavailable, unavailable, "Temporal did not say how a run stands", err)
	}
	switch d.GetWorkflowExecutionInfo().GetStatus() {
	case enums.WORKFLOW_EXECUTION_STATUS_TERMINATED:
		return fault.New(fault.Unavailable, "run.terminated", "the workflow of this run was terminated in Temporal", nil), nil
	case enums.WORKFLOW_EXECUTION_STATUS_TIMED_OUT:
		return fault.New(fault.Unavailable, "run.timed_out", "the workflow of this run ran out of time in Temporal", nil), nil
	case enums.WORKFLOW_EXECUTION_STATUS_COMPLETED, enums.WORKFLOW_EXECUTION_STATUS_FAILED, enums.WORKFLOW_EXECUTION_STATUS_CANCELED:
		return fault.New(fault.Unavailable, "run.lost", "the workflow of this run ended in Temporal without a word of how", nil), nil
	}
	return nil, nil
}

func lost() *fault.Fault {
	return fault.New(fault.Unavailable, "run.lost", "Temporal does not have the workflow of this run any more", nil)
}
