package activities

import (
	"context"
	"fmt"
	"time"

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
	there, err := d.there(ctx, rows)
	if err != nil || len(there) == 0 {
		return nothing, err
	}
	plan, err := d.Steps.Undo(d.whole, d.task.Name)
	if err != nil {
		return run.TaskNews{}, err
	}
	if rows, err = d.rows(plan, there); err != nil {
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
// attempt nobody heard the end, the target is asked.
func (d *doing) there(ctx context.Context, rows []flow.Row) ([]flow.Row, error) {
	states, err := d.Runs.States(ctx, d.item.RunID, d.task.Name)
	if err != nil || len(states) == 0 {
		return nil, err
	}
	var there, unsure []flow.Row
	var open []ledger.Open
	keys := keysOf(d.task.Write.Key, rows)
	for i, row := range rows {
		key := keys[i]
		switch s := states[key]; s.State {
		case flow.Confirmed, flow.Settled:
			there = append(there, row)
		case flow.Attempt, flow.Doubtful:
			open, unsure = append(open, ledger.Open{Key: key, Fence: s.Fence, Retried: true}), append(unsure, row)
		case flow.Intent, flow.Refused:
		}
	}
	if len(unsure) == 0 {
		return there, nil
	}
	byKey := make(map[string]flow.Row, len(open))
	for i, o := range open {
		byKey[o.Key] = unsure[i]
	}
	w := d.writer(d.task.Name)
	held, missing, sight, err := w.readBack(ctx, d.plan, d.item, open, byKey, 0)
	if err != nil {
		return nil, err
	}
	for _, o := range held {
		there = append(there, byKey[o.Key])
	}
	for _, o := range missing {
		if !sight.Conditional && sight.Applied == nil && sight.SettleAfter > 0 && time.Since(d.item.AcceptedAt) < sight.SettleAfter {
			return nil, fault.ThrottledFor(sight.SettleAfter, unsettledCode, "what was sent to "+d.task.Write.Connection+" before may still show; then it is looked for again", nil)
		}
		held = append(held, ledger.Outcome{Key: o.Key, Fence: o.Fence, State: flow.Doubtful, Reason: "it does not show, and was not sent again"})
	}
	if err := d.Effects.Record(ctx, d.item, d.task.Name, held); err != nil {
		return nil, fmt.Errorf("recording outcomes: %w", err)
	}
	return there, nil
}
