package contract

import (
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// The instant pattern: read, answer, write.
var (
	Instant  = DeclareWorkflow[InstantInput, InstantResult]("patchbay.instant.v1", Main)
	Read     = DeclareActivity[Batch, ReadResult]("instant.read.v1", Interactive, Main)
	Write    = DeclareActivity[Batch, WriteResult]("instant.write.v1", Delivery, Main)
	CloseRun = DeclareActivity[CloseInput, CloseResult]("run.close.v1", Bookkeeping, Main)
)

type (
	// Batch refers to the rows of table work that carry this batch_id, and to the
	// plan they were accepted under.
	Batch struct {
		BatchID string `json:"batch_id"`
		Flow    string `json:"flow"`
		Digest  string `json:"digest"`
	}

	// InstantInput starts the workflow of one batch of presses.
	InstantInput struct {
		Batch
		Size     int           `json:"size"` // items in the batch; 1 so far
		Skeleton flow.Skeleton `json:"skeleton"`
	}

	// InstantResult counts what became of the items.
	InstantResult struct {
		Rows      int         `json:"rows"`      // answered
		Confirmed int         `json:"confirmed"` // rows the target holds because of this run
		Status    flow.Status `json:"status"`
	}

	// ReadResult counts what a read answered with.
	ReadResult struct {
		Rows int `json:"rows"`
	}

	// WriteResult counts the outcomes of a write.
	WriteResult struct {
		Confirmed int         `json:"confirmed"` // written, now or by an earlier attempt
		Refused   int         `json:"refused"`
		Status    flow.Status `json:"status"` // of the run, which the write closes
	}

	// CloseInput ends a run that did not complete: Fault says why it failed; nil
	// means that Temporal cancelled it. A run whose own cancel was asked is
	// cancelled in either case.
	CloseInput struct {
		Batch
		Fault *fault.Fault `json:"fault,omitempty"`
	}

	// CloseResult is how the run ended; a run that had ended before keeps its status.
	CloseResult struct {
		Status flow.Status `json:"status"`
	}
)
