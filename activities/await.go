package activities

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/run"
	"patchbay/internal/topic"
)

// Emitted makes events ready to be kept with what became of their task; see topic.Prepare.
type Emitted interface {
	Prepare(ctx context.Context, emitted flow.Topic, id string, data flow.Row, from string) (*topic.Prepared, error)
}

// leastLeft is how soon a task that awaits an event is looked at again at the soonest: the
// clocks of Temporal and of the database differ.
const leastLeft = 100 * time.Millisecond

// await looks for the event that the task awaits. While none is there and one may still
// come it says how long.
func (d *doing) await(ctx context.Context, within time.Duration) (run.TaskNews, error) {
	accepted := d.whole.Accepted(d.task.Await.Topic)
	if accepted == nil {
		return run.TaskNews{}, fault.New(fault.Bug, "service.await", "the plan does not accept "+d.task.Await.Topic, nil)
	}
	if gave := d.tasks[d.task.Name].Gave; len(gave) == 1 { // by an attempt before
		return came(accepted, gave[0])
	}
	match, err := d.Steps.Matches(d.plan, d.in)
	if err != nil {
		return run.TaskNews{}, err
	}
	key, known := accepted.KeyOf(match)
	if !known {
		return run.TaskNews{}, fault.New(fault.Rejected, "await.key", "the business key of "+accepted.Name+" is empty", nil)
	}
	taken, err := d.Runs.Await(ctx, d.item, topic.Wait{
		Topic: accepted.Name, Key: key, Match: match, Within: within, Workflow: activity.GetInfo(ctx).WorkflowExecution.ID,
	})
	switch {
	case err != nil:
		return run.TaskNews{}, fmt.Errorf("looking for an event: %w", err)
	case taken.Event != nil:
		return came(accepted, taken.Event)
	case taken.Left > 0:
		d.left = max(taken.Left, leastLeft)
		return run.TaskNews{State: flow.TaskRunning}, nil
	}
	late := fmt.Sprintf("no %s of %s came until %s UTC", accepted.Name, key, taken.Until.Format(time.DateTime))
	if len(d.task.Await.Otherwise) == 0 {
		return run.TaskNews{State: flow.TaskFailed, Note: late, Problem: &flow.Problem{Code: flow.AwaitLateCode, Detail: late}}, nil
	}
	rows, err := d.rows(d.plan, []flow.Row{{}})
	return run.TaskNews{State: flow.TaskDone, Gave: given(rows), Note: late + "; it went on without"}, err
}

// came is what becomes of a task whose event came. It was kept as the flows accepted it
// then, and this run may be of another plan.
func came(accepted *flow.Topic, event flow.Row) (run.TaskNews, error) {
	row, err := accepted.Validate(event)
	if err != nil {
		return run.TaskNews{}, err
	}
	key, _ := accepted.KeyOf(row)
	return run.TaskNews{State: flow.TaskDone, Gave: []flow.Row{row}, Note: accepted.Name + " of " + key}, nil
}

// emit makes the event that the task tells of. Its ID is that of the run and the step, so that
// a second attempt tells of no second one.
func (d *doing) emit(ctx context.Context) (run.TaskNews, error) {
	emitted := d.whole.Emitted(d.task.Emit)
	if emitted == nil {
		return run.TaskNews{}, fault.New(fault.Bug, "service.emit", "the plan does not emit "+d.task.Emit, nil)
	}
	rows, err := d.rows(d.plan, []flow.Row{{}})
	if err != nil {
		return run.TaskNews{}, err
	}
	event, err := d.Events.Prepare(ctx, *emitted, d.item.RunID+"/"+d.task.Name, rows[0], d.item.Flow)
	if err != nil {
		return run.TaskNews{}, fmt.Errorf("telling of %s: %w", emitted.Name, err)
	}
	key, _ := emitted.KeyOf(rows[0])
	return run.TaskNews{State: flow.TaskDone, Gave: rows, Event: event, Note: emitted.Name + " of " + key}, nil
}
