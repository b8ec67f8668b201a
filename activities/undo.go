package activities

import (
	"context"
	"fmt"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/ledger"
	"patchbay/internal/run"
)

// Undo takes back what a task has written. What the target refuses to take back stands, and
// a person is told; that is no error of the activity, for other tasks are taken back too.
func (a *Tasker) Undo(ctx context.Context, in contract.TaskInput) (contract.UndoResult, error) {
	ctx, held, stop := alive(ctx)
	defer stop()
	d, err := a.take(ctx, in, true)
	if err != nil {
		return contract.UndoResult{}, err
	}
	d.held = held
	known, begun := d.tasks[in.Task]
	switch {
	case !begun:
		return contract.UndoResult{State: flow.TaskSkipped}, nil
	case known.State != flow.TaskUndoing:
		return contract.UndoResult{State: known.State}, nil
	}
	n, err := d.undo(ctx, known)
	if f := hopeless(ctx, err); f != nil {
		n, err = run.TaskNews{State: flow.TaskStands, Note: f.Text, Problem: &flow.Problem{Code: f.Code, Detail: f.Text}}, nil
	}
	if err != nil {
		return contract.UndoResult{}, d.pending(ctx, err)
	}
	return contract.UndoResult{State: n.State}, d.keep(ctx, n)
}

func (d *doing) undo(ctx context.Context, known run.Task) (run.TaskNews, error) {
	nothing := run.TaskNews{State: flow.TaskUndone, Note: "nothing had been written"}
	rows := known.Gave
	if rows == nil {
		var err error
		if rows, err = d.rows(d.plan, []flow.Row{{}}); err != nil {
			return nothing, nil //nolint:nilerr // what cannot be mapped was not sent
		}
	}
	there, doubt, err := d.there(ctx, rows)
	if err != nil {
		return nothing, err
	}
	n := nothing
	if len(there) > 0 {
		if n, err = d.takeBack(ctx, there); err != nil {
			return run.TaskNews{}, err
		}
	}
	if n.Problem == nil && doubt != nil {
		n.State, n.Note, n.Problem = flow.TaskStands, doubt.Detail, doubt
	}
	return n, nil
}

// takeBack writes what undoes rows that are there.
func (d *doing) takeBack(ctx context.Context, there []flow.Row) (run.TaskNews, error) {
	plan, err := d.Steps.Undo(d.whole, d.task.Name)
	if err != nil {
		return run.TaskNews{}, err
	}
	rows, err := d.rows(plan, there)
	if err != nil {
		return run.TaskNews{}, err
	}
	step := flow.UndoPrefix + d.task.Name
	w := d.writer(step)
	members, err := w.freeze(ctx, plan, rows)
	if err != nil {
		return run.TaskNews{}, err
	}
	outcomes, err := w.send(ctx, plan, d.item, members, patience{held: d.held})
	if err != nil {
		return run.TaskNews{}, err
	}
	n := run.TaskNews{State: flow.TaskUndone, Outcomes: outcomes, Step: step, Note: fmt.Sprintf("taken back in %s", d.task.Write.Connection)}
	if n.Problem = problemOf(outcomes, d.task.Write.Connection); n.Problem != nil {
		n.State, n.Note = flow.TaskStands, n.Problem.Detail
	}
	return n, nil
}

// there are those of the rows that the target has because of this task. Of one whose
// attempt nobody heard the end, the target is asked; doubt is, where it does not show one that
// may still come, that nobody knows.
func (d *doing) there(ctx context.Context, rows []flow.Row) (there []flow.Row, doubt *flow.Problem, err error) {
	states, err := d.Runs.States(ctx, d.item.RunID, d.task.Name)
	if err != nil || len(states) == 0 {
		return nil, nil, err
	}
	var open []ledger.Open
	byKey := map[string]flow.Row{}
	keys := keysOf(d.task.Write.Key, rows)
	for i, row := range rows {
		key := keys[i]
		switch s := states[key]; s.State {
		case flow.Confirmed, flow.Settled:
			there = append(there, row)
		case flow.Attempt, flow.Doubtful:
			// A target that keeps marks lets nothing of an earlier fence take effect any more.
			open, byKey[key] = append(open, ledger.Open{Key: key, Fence: s.Fence + 1, Retried: true}), row
		case flow.Intent, flow.Refused:
		}
	}
	if len(open) == 0 {
		return there, nil, nil
	}
	outcomes, missing, sight, err := d.writer(d.task.Name).readBack(ctx, d.plan, d.item, open, byKey, 0)
	if err != nil {
		return nil, nil, err
	}
	for _, o := range outcomes {
		there = append(there, byKey[o.Key])
	}
	for _, o := range missing {
		left := sight.SettleAfter - states[o.Key].Since
		switch {
		case sight.Applied != nil:
			outcomes = append(outcomes, ledger.Outcome{Key: o.Key, State: flow.Intent, Reason: "it did not take effect, and cannot any more"})
			continue
		case !sight.Conditional && left > 0:
			return nil, nil, fault.ThrottledFor(left, unsettledCode, "what was sent to "+d.task.Write.Connection+" before may still show; then it is looked for again", nil)
		}
		outcomes = append(outcomes, ledger.Outcome{Key: o.Key, State: flow.Doubtful, Reason: "it does not show, and was not sent again"})
	}
	for i := range outcomes {
		outcomes[i].Fence = states[outcomes[i].Key].Fence
	}
	if err := d.Effects.Record(ctx, d.item, d.task.Name, outcomes); err != nil {
		return nil, nil, fmt.Errorf("recording outcomes: %w", err)
	}
	return there, problemOf(outcomes, d.task.Write.Connection), nil
}
