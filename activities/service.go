package activities

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/ledger"
	"patchbay/internal/run"
	"patchbay/internal/topic"
)

// The codes of tasks that failed.
const (
	codeRefused = "write.refused"
	codeDoubt   = "write.in_doubt"
	codeCalled  = "service.called"
)

// heldFor is after what time a call of a flow that a person holds is tried again.
const heldFor = time.Minute

type (
	// TaskBook is the part of the book of runs that a service needs.
	TaskBook interface {
		Presses
		TakeTask(ctx context.Context, batchID, name string, undo bool) (run.Item, map[string]run.Task, error)
		KeepTask(ctx context.Context, item run.Item, n run.TaskNews) error
		EndTasks(ctx context.Context, batchID string, answer flow.Result, why *fault.Fault) (flow.Status, error)
		States(ctx context.Context, runID, step string) (map[string]ledger.Standing, error)
		Wait(ctx context.Context, item run.Item, status flow.Status, note string) error
		Await(ctx context.Context, item run.Item, w topic.Wait) (topic.Taken, error)
		Pseudonym(ctx context.Context, principal string) (string, error)
		Held(flow string) string
	}

	// Steps are the expressions of a service and what they are about: in are the inputs
	// of a task, params and what the tasks before it gave. They do no I/O.
	Steps interface {
		// Plan is the plan of one task alone, Undo that of what takes it back.
		Plan(plan *flow.Plan, task string) (*flow.Plan, error)
		Undo(plan *flow.Plan, task string) (*flow.Plan, error)
		// Inputs are the variables of the expressions of a service.
		Inputs(plan *flow.Plan, params flow.Row, tasks map[string]run.Task) flow.Row
		// When says whether a task is to be done.
		When(plan *flow.Plan, task string, in flow.Row) (bool, error)
		// Matches are the fields that an event must have, of the plan of a task that awaits one.
		Matches(plan *flow.Plan, in flow.Row) (flow.Row, error)
		// Answer is the answer of a run whose tasks are done.
		Answer(plan *flow.Plan, in flow.Row, tasks map[string]run.Task) (flow.Result, error)
	}

	// Look reads columns of rows by the key of a plan's write; nil where there is none.
	Look interface {
		Look(ctx context.Context, plan *flow.Plan, rows []flow.Row, columns []string) ([]flow.Row, error)
	}

	// Tasker is the activities of a service: it does one task, or takes one back.
	Tasker struct {
		Plans   Plans
		Source  Source
		Mapper  Mapper
		Steps   Steps
		Target  Target
		Look    Look
		Runs    TaskBook
		Effects Effects
		Events  Emitted

		Rulings      Rulings
		Decisions    Decisions
		Documents    Documents
		Collects     Collects
		Computations Computations
		Shadows      Shadows
	}

	// doing is one task in hands.
	doing struct {
		*Tasker
		whole *flow.Plan
		task  *flow.Task
		plan  *flow.Plan // of the task
		item  run.Item
		tasks map[string]run.Task
		in    flow.Row               // the inputs of its expressions
		left  time.Duration          // of a task that goes on waiting
		ask   *contract.ComputeInput // of a task that goes on when that is computed
		held  func() error
	}
)

// take takes a task in hands.
func (a *Tasker) take(ctx context.Context, in contract.TaskInput, undo bool) (*doing, error) {
	plan, err := a.Plans.ByDigest(ctx, in.Digest)
	if err != nil {
		return nil, fmt.Errorf("loading the plan: %w", err)
	}
	d := &doing{Tasker: a, whole: plan, task: plan.Saga.Task(in.Task)}
	if d.task == nil {
		return nil, fault.New(fault.Bug, "service.task", "the plan has no such task", nil)
	}
	if d.plan, err = a.Steps.Plan(plan, in.Task); err != nil {
		return nil, err
	}
	if d.item, d.tasks, err = a.Runs.TakeTask(ctx, in.BatchID, in.Task, undo); err != nil {
		return nil, fmt.Errorf("beginning with a task: %w", err)
	}
	d.in = a.Steps.Inputs(plan, d.item.Params, d.tasks)
	return d, nil
}

// Do does one task. A second execution finds what the first came to.
func (a *Tasker) Do(ctx context.Context, in contract.TaskInput) (contract.TaskResult, error) {
	ctx, held, stop := alive(ctx)
	defer stop()
	d, err := a.take(ctx, in, false)
	if err != nil {
		return contract.TaskResult{}, err
	}
	d.held = held
	if known := d.tasks[in.Task]; known.State != flow.TaskRunning {
		return d.result(known)
	}
	news, err := d.do(ctx, in)
	switch {
	case err == nil && d.left > 0:
		return contract.TaskResult{Left: d.left}, nil
	case err == nil && d.ask != nil:
		user, err := d.Runs.Pseudonym(ctx, d.item.Principal)
		return contract.TaskResult{Compute: d.ask, User: user, Run: d.item.RunID}, err
	}
	if f := hopeless(ctx, err); f != nil {
		news = run.TaskNews{State: flow.TaskFailed, Note: f.Text, Problem: &flow.Problem{Code: f.Code, Detail: f.Text}}
		if kept := d.keep(ctx, news); kept != nil {
			return contract.TaskResult{}, kept
		}
	}
	if err != nil {
		return contract.TaskResult{}, d.pending(ctx, err)
	}
	if err := d.keep(ctx, news); err != nil {
		return contract.TaskResult{}, err
	}
	return d.result(run.Task{State: news.State, Gave: news.Gave, Problem: news.Problem})
}

// result is what the workflow hears of the task. What cannot be collected or computed is a
// part of the decision, and no failure.
func (d *doing) result(t run.Task) (contract.TaskResult, error) {
	if t.State == flow.TaskFailed && d.task.Kind().Settles() {
		return contract.TaskResult{}, nil
	}
	return ofTask(t)
}

// hopeless is the fault of a task that trying again does not help; nil where it does, or where
// a person has to put something right first.
func hopeless(ctx context.Context, err error) *fault.Fault {
	f := fault.Of(err)
	if err == nil || ctx.Err() != nil || f.Retryable() || f.Class == fault.InDoubt || configured(f) {
		return nil
	}
	return f
}

// pending says on the task what it waits for. One whose connection is not set up right is
// tried until a person has put that right, or cancels.
func (d *doing) pending(ctx context.Context, err error) error {
	err = asleep(ctx, err)
	if f := fault.Of(err); configured(f) && ctx.Err() == nil {
		err = fault.New(fault.Unavailable, f.Code, f.Text, err)
	}
	tell(ctx, d.Runs, d.item, flow.Running, d.connection(), err)
	return err
}

// ofTask is what the workflow hears of a task that has ended.
func ofTask(t run.Task) (contract.TaskResult, error) {
	switch t.State {
	case flow.TaskFailed:
		p := t.Problem
		if p == nil {
			p = &flow.Problem{Code: "service.failed", Detail: "the task failed"}
		}
		return contract.TaskResult{}, fault.New(fault.Rejected, p.Code, p.Detail, nil)
	case flow.TaskUndoing, flow.TaskUndone, flow.TaskStands: // its workflow was lost on the way back
		return contract.TaskResult{}, fault.New(fault.Rejected, "service.undone", "what the run did is being taken back", nil)
	case flow.TaskRunning, flow.TaskDone, flow.TaskSkipped:
	}
	return contract.TaskResult{Rows: len(t.Gave), Skipped: t.State == flow.TaskSkipped}, nil
}

// keep keeps what a task came to: what is known is recorded, whoever cancels.
func (d *doing) keep(ctx context.Context, n run.TaskNews) error {
	ctx, done := committed(ctx)
	defer done()
	n.Step = cmp.Or(n.Step, d.task.Name)
	if err := d.Runs.KeepTask(ctx, d.item, n); err != nil {
		return fmt.Errorf("keeping what became of a task: %w", err)
	}
	return nil
}

// connection is what the task waits for when it waits.
func (d *doing) connection() string {
	switch d.task.Kind() {
	case flow.TaskRead:
		return d.task.Read.Connection
	case flow.TaskCollect:
		return d.task.Read.Connection
	case flow.TaskWrite:
		return d.task.Write.Connection
	case flow.TaskDecide, flow.TaskReview:
		return "the decision"
	case flow.TaskFlow, flow.TaskAwait, flow.TaskEmit, flow.TaskLegs, flow.TaskRequire, flow.TaskCalculate:
	}
	return d.task.Flow
}

// do gives what becomes of the task. A final fault is one of the task.
func (d *doing) do(ctx context.Context, in contract.TaskInput) (run.TaskNews, error) {
	switch d.task.Kind() {
	case flow.TaskFlow:
		return d.called(ctx, in.Child)
	case flow.TaskCollect:
		return d.collect(ctx, in.Fault)
	case flow.TaskRequire:
		return d.require()
	case flow.TaskCalculate:
		return d.calculate(ctx, in)
	case flow.TaskDecide:
		return d.decide(ctx)
	case flow.TaskReview:
		return d.review(ctx)
	case flow.TaskRead, flow.TaskWrite, flow.TaskAwait, flow.TaskEmit, flow.TaskLegs:
	}
	due, err := d.Steps.When(d.whole, d.task.Name, d.in)
	switch {
	case err != nil:
		return run.TaskNews{}, err
	case !due:
		return run.TaskNews{State: flow.TaskSkipped, Note: "not needed"}, nil
	case d.task.Kind() == flow.TaskRead:
		return d.read(ctx)
	case d.task.Kind() == flow.TaskAwait:
		return d.await(ctx, in.Within)
	case d.task.Kind() == flow.TaskEmit:
		return d.emit(ctx)
	}
	return d.write(ctx)
}

func (d *doing) read(ctx context.Context) (run.TaskNews, error) {
	rows, err := d.Source.Rows(ctx, d.plan, d.in)
	if err != nil {
		return run.TaskNews{}, fmt.Errorf("reading: %w", err)
	}
	if d.task.Read.Document != "" {
		return d.fetch(ctx, rows)
	}
	return run.TaskNews{State: flow.TaskDone, Gave: given(rows), Note: fmt.Sprintf("%s from %s", counted(len(rows)), d.task.Read.Connection)}, nil
}

// counted is so many rows, in words.
func counted(n int) string {
	if n == 1 {
		return "1 row"
	}
	return fmt.Sprintf("%d rows", n)
}

func given(rows []flow.Row) []flow.Row {
	if rows == nil {
		return []flow.Row{}
	}
	return rows
}

// rows are what the task writes: the same for every attempt.
func (d *doing) rows(plan *flow.Plan, of []flow.Row) ([]flow.Row, error) {
	rows, err := d.Mapper.Map(plan, d.in, of)
	if err != nil {
		return nil, fmt.Errorf("mapping: %w", err)
	}
	return rows, nil
}

// writer writes under a name of the ledger.
func (d *doing) writer(step string) *Writer {
	return &Writer{Plans: d.Plans, Target: d.Target, Effects: d.Effects, Step: step}
}

func (d *doing) write(ctx context.Context) (run.TaskNews, error) {
	rows, err := d.rows(d.plan, []flow.Row{{}})
	if err != nil {
		return run.TaskNews{}, err
	}
	what := counted(len(rows))
	if d.task.Write.Document != "" {
		what = d.told(rows)
		if n, all, err := d.stored(ctx, rows); err != nil || all {
			return n, err
		}
	}
	w := d.writer(d.task.Name)
	members, err := w.freeze(ctx, d.plan, rows)
	if err != nil {
		return run.TaskNews{}, err
	}
	outcomes, err := w.send(ctx, d.plan, d.item, members, patience{held: d.held})
	if err != nil {
		return run.TaskNews{}, err
	}
	n := run.TaskNews{State: flow.TaskDone, Outcomes: outcomes, Note: what + " in " + d.task.Write.Connection}
	if n.Problem = problemOf(outcomes, d.task.Write.Connection); n.Problem != nil {
		n.State, n.Note = flow.TaskFailed, n.Problem.Detail
		return n, nil
	}
	n.Gave = make([]flow.Row, len(members))
	for i, m := range members {
		n.Gave[i] = m.row
	}
	if len(d.task.Returns) == 0 {
		return n, nil
	}
	ctx, done := committed(ctx)
	defer done()
	if err := d.Effects.Record(ctx, d.item, d.task.Name, outcomes); err != nil {
		return run.TaskNews{}, fmt.Errorf("recording outcomes: %w", err)
	}
	n.Outcomes = nil
	return n, d.returns(ctx, n.Gave)
}

// returns reads back what the target has made of rows.
func (d *doing) returns(ctx context.Context, rows []flow.Row) error {
	found, err := d.Look.Look(ctx, d.plan, rows, d.task.Returns)
	if err != nil {
		return fmt.Errorf("reading what was written: %w", err)
	}
	for i, f := range found {
		if f == nil {
			return fault.New(fault.Unavailable, "service.returns", "what was written to "+d.task.Write.Connection+" does not show yet", nil)
		}
		for _, column := range d.task.Returns {
			rows[i][column] = f[column]
		}
	}
	return nil
}

// problemOf is why a write failed; nil when all of it took effect.
func problemOf(outcomes []ledger.Outcome, connection string) *flow.Problem {
	for _, o := range outcomes {
		switch o.State {
		case flow.Refused:
			return &flow.Problem{Code: codeRefused, Detail: connection + " refused it: " + o.Reason}
		case flow.Doubtful:
			return &flow.Problem{Code: codeDoubt, Detail: "whether " + connection + " has it is not known"}
		case flow.Intent, flow.Attempt, flow.Confirmed, flow.Settled:
		}
	}
	return nil
}

// called takes the answer of the flow that the task called.
func (d *doing) called(ctx context.Context, child string) (run.TaskNews, error) {
	found, err := d.Runs.Get(ctx, child)
	if err != nil {
		return run.TaskNews{}, fmt.Errorf("reading the answer of %s: %w", d.task.Flow, err)
	}
	switch found.Status {
	case flow.Completed:
		n := run.TaskNews{State: flow.TaskDone, Child: child, Note: "run " + child + " of " + d.task.Flow, Gave: []flow.Row{}}
		if found.Result != nil {
			n.Gave = given(found.Result.Rows)
		}
		return n, nil
	case flow.Failed, flow.Cancelled:
		p := &flow.Problem{Code: codeCalled, Detail: d.task.Flow + " was cancelled"}
		if found.Problem != nil {
			p = &flow.Problem{Code: codeCalled, Detail: d.task.Flow + " failed: " + found.Problem.Detail}
		}
		return run.TaskNews{State: flow.TaskFailed, Child: child, Note: p.Detail, Problem: p}, nil
	case flow.Accepted, flow.Running, flow.Parked:
	}
	return run.TaskNews{}, fault.New(fault.Unavailable, codeCalled, d.task.Flow+" has not ended", nil)
}

// Call gives the run of a flow that a task calls its row, under the ID of the workflow
// that will carry it. It waits while a person holds that flow.
func (a *Tasker) Call(ctx context.Context, in contract.TaskInput) (contract.Called, error) {
	d, err := a.take(ctx, in, false)
	if err != nil {
		return contract.Called{}, persist(err)
	}
	known := d.tasks[in.Task]
	switch {
	case known.State == flow.TaskSkipped:
		return contract.Called{Skipped: true}, nil
	case known.Child == "" && d.item.Sealed:
		return contract.Called{}, fault.New(fault.Conflict, sealedCode, "the run was cancelled; nothing more is called", nil)
	}
	due, err := a.Steps.When(d.whole, in.Task, d.in)
	if err == nil && !due {
		return contract.Called{Skipped: true}, d.keep(ctx, run.TaskNews{State: flow.TaskSkipped, Note: "not needed"})
	}
	var rows []flow.Row
	if err == nil {
		rows, err = d.rows(d.plan, []flow.Row{{}})
	}
	if err != nil {
		return contract.Called{}, d.failed(ctx, err)
	}
	if held := a.Runs.Held(d.task.Flow); held != "" && known.Child == "" {
		return contract.Called{}, d.pending(ctx, fault.ThrottledFor(heldFor, "flow.held", held, nil))
	}
	id := contract.WorkflowID(string(flow.Service), d.item.Flow, d.item.RunID+"/"+in.Task)
	accepted, start, err := a.Runs.Accept(ctx, flow.Press{
		Flow: d.task.Flow, Principal: "flow:" + d.item.Flow, Params: rows[0], Workflow: id, Class: flow.Background,
	})
	if err != nil {
		return contract.Called{}, d.failed(ctx, fmt.Errorf("calling %s: %w", d.task.Flow, err))
	}
	n := run.TaskNews{State: flow.TaskRunning, Child: accepted.RunID, Note: "run " + accepted.RunID + " of " + d.task.Flow}
	if err := d.keep(ctx, n); err != nil {
		return contract.Called{}, err
	}
	return contract.Called{
		Batch: contract.Batch{BatchID: start.BatchID, Flow: start.Flow, Digest: start.Digest}, RunID: accepted.RunID,
		Pattern: flow.Pattern(start.Pattern), Workflow: id, Skeleton: start.Skeleton, Ended: accepted.Replayed && accepted.Status.Final(),
	}, nil
}

// failed keeps that a task cannot be done, where that is so for good.
func (d *doing) failed(ctx context.Context, err error) error {
	f := hopeless(ctx, err)
	if f == nil {
		return d.pending(ctx, err)
	}
	if kept := d.keep(ctx, run.TaskNews{State: flow.TaskFailed, Note: f.Text, Problem: &flow.Problem{Code: f.Code, Detail: f.Text}}); kept != nil {
		return kept
	}
	return err
}

// End closes a run all of whose tasks have ended. One whose answer cannot be made, or whose
// cancel was asked before (Conflict "ledger.sealed"), stays open: what it did is to be taken back
// before it is closed.
func (a *Tasker) End(ctx context.Context, in contract.EndInput) (contract.CloseResult, error) {
	plan, err := a.Plans.ByDigest(ctx, in.Digest)
	if err != nil {
		return contract.CloseResult{}, fmt.Errorf("loading the plan: %w", persist(err))
	}
	var answer flow.Result
	if in.Fault == nil {
		item, tasks, err := a.Runs.TakeTask(ctx, in.BatchID, "", true) // none: what they gave
		switch {
		case err != nil && !ended(err):
			return contract.CloseResult{}, fmt.Errorf("reading what the tasks gave: %w", persist(err))
		case err == nil:
			if answer, err = a.Steps.Answer(plan, a.Steps.Inputs(plan, item.Params, tasks), tasks); err != nil {
				return contract.CloseResult{}, err
			}
		}
	}
	status, err := a.Runs.EndTasks(ctx, in.BatchID, answer, in.Fault)
	switch {
	case err != nil && fault.Of(err).Code == sealedCode:
		return contract.CloseResult{}, err
	case err != nil:
		return contract.CloseResult{}, fmt.Errorf("closing the run: %w", persist(err))
	}
	return contract.CloseResult{Status: status}, nil
}
