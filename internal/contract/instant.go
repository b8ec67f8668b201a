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

	// Carry takes every item of a batch of several as far as it goes; Release puts
	// back what a batch left.
	Carry   = DeclareActivity[Batch, CarryResult]("instant.carry.v1", Carrying, Main)
	Release = DeclareActivity[ReleaseInput, ReleaseResult]("batch.release.v1", Bookkeeping, Main)
)

type (
	// Batch refers to the rows of table work that carry this batch_id, and to the
	// plan they were accepted under.
	Batch struct {
		BatchID string `json:"batch_id"`
		Flow    string `json:"flow"`
		Digest  string `json:"digest"`
	}

	// InstantInput starts the workflow of one batch of presses. The zero value is
	// what the workflow gets by the second door: it waits for a PressSignal then.
	InstantInput struct {
		Batch
		Size     int           `json:"size"` // items in the batch
		Skeleton flow.Skeleton `json:"skeleton"`
	}

	// InstantResult counts what became of the items. Rows, Confirmed and Status
	// belong to a run of one, Items to a larger batch, Answer to the second door.
	InstantResult struct {
		Rows      int          `json:"rows"`      // answered
		Confirmed int          `json:"confirmed"` // rows the target holds because of this run
		Status    flow.Status  `json:"status"`
		Items     *CarryResult `json:"items,omitempty"`
		Answer    *DoorAnswer  `json:"answer,omitempty"`
	}

	// CarryResult counts the outcomes of the items of a batch.
	CarryResult struct {
		Done   int `json:"done"`   // completed, or cancelled as somebody asked
		Failed int `json:"failed"` // ended for good
		Later  int `json:"later"`  // put back with a due time, no try counted
		Open   int `json:"open"`   // put back, a try counted
		Left   int `json:"left"`   // without an outcome: Release puts them back
	}

	// ReleaseInput puts back what a batch left open; Fault is why, nil when the
	// batch was carried to its end.
	ReleaseInput struct {
		Batch
		Fault *fault.Fault `json:"fault,omitempty"`
	}

	// ReleaseResult counts the items put back.
	ReleaseResult struct {
		Open int `json:"open"`
	}

	// ReadResult counts what a read answered with.
	ReadResult struct {
		Rows int `json:"rows"`
	}

	// WriteResult counts the outcomes of a write.
	WriteResult struct {
		Confirmed int         `json:"confirmed"` // written, now or by an earlier attempt
		Refused   int         `json:"refused"`
		Doubtful  int         `json:"doubtful,omitempty"` // nobody can know
		Status    flow.Status `json:"status"`             // of the run, which the write closes
	}

	// CloseInput ends a run that did not complete: Fault says why it failed; nil
	// means that Temporal cancelled it. A run whose own cancel was asked is
	// cancelled in either case. GoesOn says that its workflow would carry it on; then
	// Reading, that it was being read, and Late, that it ran out of time long after it
	// should have: Temporal or every worker was away.
	CloseInput struct {
		Batch
		Fault   *fault.Fault `json:"fault,omitempty"`
		GoesOn  bool         `json:"goes_on,omitempty"`
		Reading bool         `json:"reading,omitempty"`
		Late    bool         `json:"late,omitempty"`
	}

	// CloseResult is how the run ended; a run that had ended before keeps its status.
	// Running: it has not, and goes on; an outage has cost its time, or the word that it
	// was answered.
	CloseResult struct {
		Status flow.Status `json:"status"`
	}
)
