package flow

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

type (
	// Saga is what a flow of the pattern service does: tasks, one after the other. What
	// they wrote is undone in reverse when one of them fails or a person cancels.
	Saga struct {
		Tasks []Task `json:"tasks"`
		// Answer makes the run's one row of answer, CEL over params and steps; empty: the
		// rows of the last task.
		Answer []Column `json:"answer,omitempty"`
	}

	// Task is one step of a service or of a hybrid. Exactly one of Read, Write, Flow, Await, Emit,
	// Calculate and Legs says what it does, or Deciding; Collect goes with Read. Its expressions know params, steps (what the tasks before it gave, by name)
	// and, where Each is set, item.
	Task struct {
		Name string `json:"name"`           // distinct in the flow
		When string `json:"when,omitempty"` // CEL; false: the task is skipped
		Each string `json:"each,omitempty"` // CEL list: it is done for each item of it
		// Read asks a connection for rows, which are what the task gives.
		Read *Read `json:"read,omitempty"`
		// Write puts the rows that Map makes where they belong. Returns are columns that are
		// read back under the key, and part of what the task gives.
		Write   *Write   `json:"write,omitempty"`
		Map     []Column `json:"map,omitempty"`
		Returns []string `json:"returns,omitempty"`
		// Flow runs another flow with the parameters of Map; its answer is what the task gives.
		Flow string `json:"flow,omitempty"`
		// Await waits for a business event, whose fields are what the task gives.
		Await *Await `json:"await,omitempty"`
		// Emit tells of a business event, whose fields Map makes.
		Emit string `json:"emit,omitempty"`
		// Collect, Calculate and Deciding belong to the pattern hybrid, whose tasks each begin when
		// those that they need have ended. Deciding is TaskRequire, TaskDecide or TaskReview.
		Collect   *Collect   `json:"collect,omitempty"`
		Calculate *Calculate `json:"calculate,omitempty"`
		Deciding  TaskKind   `json:"deciding,omitempty"`
		Needs     []string   `json:"needs,omitempty"`
		// Legs are done side by side, each to its end, whatever becomes of the others.
		Legs []Leg `json:"legs,omitempty"`
		// Undo are columns that take back what the task has written, under the same key; CEL
		// as of Map. Empty: it cannot be undone.
		Undo []Column `json:"undo,omitempty"`
		// Deadline is how long the task may take with all its attempts; 0: as long as an
		// accepted effect may.
		Deadline time.Duration `json:"deadline,omitempty"`
	}

	// Leg is one of several ways that are taken side by side.
	Leg struct {
		Name  string `json:"name"`
		Tasks []Task `json:"tasks"`
	}

	// TaskKind is what a task does.
	TaskKind string

	// TaskShape is all of a task that a workflow may know.
	TaskShape struct {
		Name     string        `json:"name"`
		Kind     TaskKind      `json:"kind"`
		Target   string        `json:"target,omitempty"` // connection, or flow, for summaries
		Undo     bool          `json:"undo,omitempty"`
		Document bool          `json:"document,omitempty"` // it carries one, which may take its time
		Deadline time.Duration `json:"deadline,omitempty"`
		Legs     []LegShape    `json:"legs,omitempty"`
		Needs    []string      `json:"needs,omitempty"`
		Shadow   *Shadow       `json:"shadow,omitempty"` // of one that computes
	}

	// LegShape is all of a leg that a workflow may know.
	LegShape struct {
		Name  string      `json:"name"`
		Tasks []TaskShape `json:"tasks"`
	}

	// TaskState is where a task of a run stands.
	TaskState string

	// TaskView is one task of a run, seen from outside.
	TaskView struct {
		Name    string     `json:"name"`
		State   TaskState  `json:"state"`
		Note    string     `json:"note,omitempty"` // in words, safe to show: "1 row in sap"
		Waiting string     `json:"waiting,omitempty"`
		Await   *AwaitView `json:"await,omitempty"`
		Problem *Problem   `json:"problem,omitempty"`
		Run     string     `json:"run,omitempty"` // run_id of the flow that it called
		BegunAt time.Time  `json:"begun_at"`
		EndedAt *time.Time `json:"ended_at,omitempty"`
		// Settled, of one that stands: a person has put it right.
		Settled *Settlement `json:"settled,omitempty"`
	}
)

// What tasks do.
const (
	TaskRead  TaskKind = "read"
	TaskWrite TaskKind = "write"
	TaskFlow  TaskKind = "flow"
	TaskAwait TaskKind = "await"
	TaskEmit  TaskKind = "emit"
	TaskLegs  TaskKind = "legs"

	TaskCollect   TaskKind = "collect"
	TaskRequire   TaskKind = "require"
	TaskCalculate TaskKind = "calculate"
	TaskDecide    TaskKind = "decide"
	TaskReview    TaskKind = "review"
)

// The states of a task.
const (
	TaskRunning TaskState = "running"
	TaskDone    TaskState = "done"
	TaskSkipped TaskState = "skipped"
	TaskFailed  TaskState = "failed"
	TaskUndoing TaskState = "undoing"
	TaskUndone  TaskState = "undone"
	// TaskStands means that what it wrote could not be taken back: a person has to.
	TaskStands TaskState = "stands"
)

// UndoPrefix begins the name under which the ledger knows what takes a task back.
const UndoPrefix = "undo "

// Undoes gives the step that an effect of this step takes back; "" for any other.
func Undoes(step string) string {
	of, undo := strings.CutPrefix(step, UndoPrefix)
	if !undo {
		return ""
	}
	return of
}

// TakenBack is the reason of an effect that a later one took back.
const TakenBack = "taken back"

// WithUndone gives the effects of a run, of which those that were taken back say so: what
// undoes their step took effect, all of it.
func WithUndone(effects []Effect) []Effect {
	back := map[string]bool{}
	for _, e := range effects {
		if of := Undoes(e.Step); of != "" {
			all, seen := back[of]
			back[of] = (all || !seen) && (e.State == Confirmed || e.State == Settled)
		}
	}
	if len(back) == 0 {
		return effects
	}
	out := slices.Clone(effects)
	for i, e := range out {
		if back[e.Step] && (e.State == Confirmed || e.State == Settled) {
			out[i].Reason = TakenBack
		}
	}
	return out
}

// Kind is what the task does.
func (t *Task) Kind() TaskKind {
	switch {
	case t.Collect != nil:
		return TaskCollect
	case t.Calculate != nil:
		return TaskCalculate
	case t.Deciding != "":
		return t.Deciding
	case t.Read != nil:
		return TaskRead
	case t.Write != nil:
		return TaskWrite
	case t.Flow != "":
		return TaskFlow
	case t.Await != nil:
		return TaskAwait
	case t.Emit != "":
		return TaskEmit
	}
	return TaskLegs
}

// Settles reports whether what a task of this kind cannot do is a part of the decision, and no
// failure of the run.
func (k TaskKind) Settles() bool { return k == TaskCollect || k == TaskRequire || k == TaskCalculate }

// Walk visits every task, those of legs after the task that has them.
func (s *Saga) Walk(visit func(*Task)) { walk(s.Tasks, visit) }

func walk(tasks []Task, visit func(*Task)) {
	for i := range tasks {
		visit(&tasks[i])
		for _, leg := range tasks[i].Legs {
			walk(leg.Tasks, visit)
		}
	}
}

// Task finds a task by its name; nil when there is none.
func (s *Saga) Task(name string) (found *Task) {
	s.Walk(func(t *Task) {
		if t.Name == name {
			found = t
		}
	})
	return found
}

// Shape is what the workflow branches on.
func (s *Saga) Shape() []TaskShape { return shapes(s.Tasks) }

func shapes(tasks []Task) []TaskShape {
	out := make([]TaskShape, len(tasks))
	for i, t := range tasks {
		out[i] = TaskShape{Name: t.Name, Kind: t.Kind(), Undo: len(t.Undo) > 0, Deadline: t.Deadline, Needs: t.Needs}
		switch out[i].Kind {
		case TaskRead, TaskCollect:
			out[i].Target, out[i].Document = t.Read.Connection, t.Read.Document != ""
		case TaskCalculate:
			out[i].Target, out[i].Shadow = t.Calculate.Queue, t.Calculate.Shadow
		case TaskRequire, TaskDecide, TaskReview:
		case TaskWrite:
			out[i].Target, out[i].Document = t.Write.Connection, t.Write.Document != ""
		case TaskFlow:
			out[i].Target = t.Flow
		case TaskAwait:
			out[i].Target = t.Await.Topic
		case TaskEmit:
			out[i].Target = t.Emit
		case TaskLegs:
			for _, leg := range t.Legs {
				out[i].Legs = append(out[i].Legs, LegShape{Name: leg.Name, Tasks: shapes(leg.Tasks)})
			}
		}
	}
	return out
}

// Of is the plan of one task alone, as what reads, maps and writes knows plans. Expressions of
// it are over the variables params and steps.
func (p *Plan) Of(t *Task) *Plan {
	one := &Plan{Flow: p.Flow, Pattern: p.Pattern, Summary: p.Summary, Params: p.Params, Read: t.Read, Each: t.Each, Map: t.Map, Write: t.Write,
		Respond: AfterWrite, Limits: p.Limits, Bindings: p.Bindings}
	if t.Collect != nil {
		one.Map = t.Collect.Substitute
	}
	if t.Await != nil { // what it looks for, and what stands in its place
		one.Read, one.Map = &Read{Where: t.Await.Where}, t.Await.Otherwise
	}
	return one
}

// UndoOf is the plan of what takes a task back: its rows are those that the task wrote.
func (p *Plan) UndoOf(t *Task) *Plan {
	undo := p.Of(t)
	undo.Read, undo.Each = nil, ""
	write := *t.Write
	write.Existing = true
	undo.Write = &write
	undo.Map = make([]Column, 0, len(t.Write.Key)+len(t.Undo))
	for _, key := range t.Write.Key {
		undo.Map = append(undo.Map, Column{Name: key, Expr: "row[" + strconv.Quote(key) + "]"})
	}
	if t.Write.Document != "" { // no document is what takes one back
		undo.Write.Remove = true
		undo.Map = append(undo.Map, Column{Name: t.Write.Document, Expr: "row[" + strconv.Quote(t.Write.Document) + "]"})
		return undo
	}
	undo.Map = append(undo.Map, t.Undo...)
	return undo
}
