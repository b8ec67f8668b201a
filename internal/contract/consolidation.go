package contract

import (
	"time"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// The consolidation pattern: read every source, join, write what differs, advise. Rows
// stay in our own database; what travels here are names and counts (promise 8).
var (
	Consolidation = DeclareWorkflow[ConsolidationInput, ConsolidationResult]("patchbay.consolidation.v1", Main)
	OpenSlot      = DeclareActivity[ConsolidationInput, Opened]("consolidation.open.v1", Bookkeeping, Main)
	Extract       = DeclareActivity[ExtractInput, ExtractResult]("consolidation.extract.v1", Extraction, Main)
	Join          = DeclareActivity[JoinInput, JoinResult]("consolidation.join.v1", Crunching, Main)
	Deliver       = DeclareActivity[Batch, DeliverResult]("consolidation.deliver.v1", Bulk, Main)
	Advise        = DeclareActivity[Batch, AdviseResult]("consolidation.advise.v1", Bulk, Main)
	Finish        = DeclareActivity[FinishInput, CloseResult]("consolidation.finish.v1", Bookkeeping, Main)
)

type (
	// ConsolidationInput starts one run. The relay gives the batch of a run that a
	// person asked for; a schedule gives the flow alone: OpenSlot makes the run's row
	// then. ScheduledAt is what the workflow finds among its own search attributes, and
	// nobody else gives.
	ConsolidationInput struct {
		Batch
		ScheduledAt *time.Time `json:"scheduled_at,omitempty"`
	}

	// Opened is the run. Skipped says that there is nothing to do: the run has ended
	// before, or another one of the flow is open.
	Opened struct {
		Batch    Batch    `json:"batch"`
		RunID    string   `json:"run_id"`
		Sources  []string `json:"sources"`
		Target   string   `json:"target"`
		Advises  bool     `json:"advises,omitempty"`
		Parallel int      `json:"parallel"` // sources read at a time
		Skipped  string   `json:"skipped,omitempty"`
	}

	// ExtractInput reads one source.
	ExtractInput struct {
		Batch
		Source string `json:"source"`
	}

	// ExtractResult counts what was read; State is Missing, with the reason in Fault,
	// when the source could not be read and the flow goes on without it.
	ExtractResult struct {
		Source   string           `json:"source"`
		State    flow.SourceState `json:"state"`
		Rows     int64            `json:"rows"`
		Pages    int64            `json:"pages"`
		Rejected int64            `json:"rejected"`
		Fault    *fault.Fault     `json:"fault,omitempty"`
	}

	// JoinInput joins what was read.
	JoinInput struct {
		Batch
		Missing []ExtractResult `json:"missing,omitempty"`
	}

	// JoinResult counts the rows of the target. Held is why they are not to be written.
	JoinResult struct {
		Keys      int64        `json:"keys"`
		Changed   int64        `json:"changed"`
		Unchanged int64        `json:"unchanged"`
		Rejected  int64        `json:"rejected"`
		Held      *fault.Fault `json:"held,omitempty"`
	}

	// DeliverResult counts what the target took.
	DeliverResult struct {
		Written  int64 `json:"written"`
		Rejected int64 `json:"rejected"`
		Doubtful int64 `json:"doubtful,omitempty"`
	}

	// AdviseResult counts action plans.
	AdviseResult struct {
		Written  int64 `json:"written"`
		Fallback int64 `json:"fallback"` // of these by the flow's own rules
		Review   int64 `json:"review"`   // that wait for a person
		Withheld int64 `json:"withheld"` // because what they depend on is stale
	}

	// FinishInput closes the run. Fault is why it failed, or was held; nil: it did not.
	// Cancelled: Temporal cancelled it.
	FinishInput struct {
		Batch
		RunID     string       `json:"run_id"`
		Fault     *fault.Fault `json:"fault,omitempty"`
		Cancelled bool         `json:"cancelled,omitempty"`
	}

	// ConsolidationResult is how a run ended, for the Web UI.
	ConsolidationResult struct {
		Status  flow.Status     `json:"status,omitempty"`
		Skipped string          `json:"skipped,omitempty"`
		Sources []ExtractResult `json:"sources,omitempty"`
		Join    JoinResult      `json:"join"`
		Deliver DeliverResult   `json:"deliver"`
		Advise  *AdviseResult   `json:"advise,omitempty"`
	}
)
