package contract

import (
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// The service pattern: tasks, one after the other or side by side, and what takes them
// back. Rows stay in our own database; names and counts travel here (promise 8).
var (
	Service = DeclareWorkflow[InstantInput, ServiceResult]("patchbay.service.v1", Main)
	// DoTask does one task, CallFlow gives the run of another flow that a task calls its
	// row, and UndoTask takes one back, past a cancel too.
	DoTask     = DeclareActivity[TaskInput, TaskResult]("service.do.v1", Delivery, Main)
	CallFlow   = DeclareActivity[TaskInput, Called]("service.call.v1", Bookkeeping, Main)
	UndoTask   = DeclareActivity[TaskInput, UndoResult]("service.undo.v1", Undoing, Main)
	EndService = DeclareActivity[EndInput, CloseResult]("service.end.v1", Bookkeeping, Main)
)

type (
	// TaskInput is one task of a run. Fault, of an undo, is why; nil: a cancel.
	TaskInput struct {
		Batch
		Task  string       `json:"task"`
		Fault *fault.Fault `json:"fault,omitempty"`
		Child string       `json:"child,omitempty"` // run_id of the flow that the task called
	}

	// TaskResult counts what a task gave.
	TaskResult struct {
		Rows    int  `json:"rows"`
		Skipped bool `json:"skipped,omitempty"`
	}

	// Called is the run that a task calls: its workflow carries Batch. Skipped says that
	// there is none to carry; Ended that it had ended before.
	Called struct {
		Batch
		RunID    string        `json:"run_id"`
		Pattern  flow.Pattern  `json:"pattern"`
		Workflow string        `json:"workflow"`
		Skeleton flow.Skeleton `json:"skeleton"`
		Skipped  bool          `json:"skipped,omitempty"`
		Ended    bool          `json:"ended,omitempty"`
	}

	// UndoResult is how an undo ended.
	UndoResult struct {
		State flow.TaskState `json:"state"`
	}

	// EndInput closes a run that did all its tasks; Fault, of a run some of whose legs
	// failed, says which.
	EndInput struct {
		Batch
		Fault *fault.Fault `json:"fault,omitempty"`
	}

	// ServiceResult is how a run ended, for the Web UI.
	ServiceResult struct {
		Status flow.Status               `json:"status"`
		Tasks  map[string]flow.TaskState `json:"tasks"`
	}
)
