package contract

import (
	"encoding/json"
	"time"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// The service pattern: tasks, one after the other or side by side, and what takes them
// back. Rows stay in our own database; names and counts travel here (promise 8).
var (
	Service = DeclareWorkflow[InstantInput, ServiceResult]("patchbay.service.v1", Main)
	// DoTask does one task, CallFlow gives the run of another flow that a task calls its
	// row, and UndoTask takes one back, past a cancel too.
	DoTask   = DeclareActivity[TaskInput, TaskResult]("service.do.v1", Delivery, Main)
	CallFlow = DeclareActivity[TaskInput, Called]("service.call.v1", Bookkeeping, Main)
	UndoTask = DeclareActivity[TaskInput, UndoResult]("service.undo.v1", Undoing, Main)
	// KeepShadow compares what a calculator in the shadow gave, and keeps that.
	KeepShadow = DeclareActivity[ShadowInput, ShadowResult]("hybrid.shadow.v1", Bookkeeping, Main)
	EndService = DeclareActivity[EndInput, CloseResult]("service.end.v1", Bookkeeping, Main)

	// Hybrid is the workflow of the pattern hybrid. It does its tasks by DoTask, too; figures travel
	// between our own database and the compute fleet, without names, and it looks at none.
	Hybrid = DeclareWorkflow[InstantInput, ServiceResult]("patchbay.hybrid.v1", Main)
)

// MostShadow is the size of two outputs that are compared.
const MostShadow = 56 << 10

// Came is the name of the signal by which a task hears that its event may have come. It has
// no arguments: the event is in our own database.
func Came(task string) string { return "service.came.v1/" + task }

type (
	// TaskInput is one task of a run. Fault, of an undo, is why; nil: a cancel. Of a task that reads
	// or computes for a decision it is why nothing came.
	TaskInput struct {
		Batch
		Task  string       `json:"task"`
		Fault *fault.Fault `json:"fault,omitempty"`
		Child string       `json:"child,omitempty"` // run_id of the flow that the task called
		// Within is how long the task may wait for its event, from when it began to.
		Within time.Duration `json:"within,omitempty"`
		// Computed is what the compute fleet gave for the task.
		Computed *ComputeResult `json:"computed,omitempty"`
	}

	// TaskResult counts what a task gave. Left is, of one whose event has not come, how
	// long that may still take.
	TaskResult struct {
		Rows    int           `json:"rows"`
		Skipped bool          `json:"skipped,omitempty"`
		Left    time.Duration `json:"left,omitempty"`
		// Compute is what the compute fleet has to compute for the task before it can go on.
		Compute *ComputeInput `json:"compute,omitempty"`
		User    string        `json:"user,omitempty"` // whose turn on the fleet that is: a pseudonym
		Run     string        `json:"run,omitempty"`  // run_id, of what is computed in a shadow, too
	}

	// ShadowInput is what the calculator of a task gave, and what the one in its shadow did: figures,
	// together at most MostShadow; else Fault says why there is nothing to compare.
	ShadowInput struct {
		Run    string          `json:"run"`
		Flow   string          `json:"flow"`
		Task   string          `json:"task"`
		Live   string          `json:"live"` // name and version
		Beside string          `json:"beside"`
		Output json.RawMessage `json:"output,omitempty"`
		Other  json.RawMessage `json:"other,omitempty"`
		Fault  *fault.Fault    `json:"fault,omitempty"`
	}

	// ShadowResult says whether the two are the same, digit for digit.
	ShadowResult struct {
		Equal bool `json:"equal"`
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
	// failed, says which. Where that fails the run is open, and what it did is to be taken
	// back.
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
