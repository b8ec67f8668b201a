package app

import (
	"context"
	"fmt"
	"maps"

	"patchbay/internal/connector"
	"patchbay/internal/expr"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/run"
)

type (
	// saga is the tasks of a service, made ready once.
	saga struct {
		tasks  map[string]sagaTask
		answer *expr.Mapper // nil: the rows of the last task
	}

	sagaTask struct {
		plan, undo *flow.Plan
		when       *expr.Program // nil: always
	}

	// sagas implements activities.Steps.
	sagas struct{ mappers *mappers }
)

func newSaga(plan *flow.Plan) (*saga, error) {
	s := &saga{tasks: map[string]sagaTask{}}
	env, err := expr.New(expr.Var{Name: "params", Type: expr.Params(plan.Params)}, expr.Var{Name: "steps"})
	if err != nil {
		return nil, err
	}
	plan.Saga.Walk(func(t *flow.Task) {
		one := sagaTask{plan: plan.Of(t)}
		if len(t.Undo) > 0 {
			one.undo = plan.UndoOf(t)
		}
		if t.When != "" {
			program, issues := env.Compile(t.When, expr.Scalar(flow.Bool))
			if program == nil && err == nil {
				err = fault.New(fault.Bug, "bug.plan", fmt.Sprintf("an expression of %s does not compile: %s", plan.Flow, issues[0].Message), nil)
			}
			one.when = program
		}
		s.tasks[t.Name] = one
	})
	if len(plan.Saga.Answer) > 0 && err == nil {
		s.answer, err = expr.NewMapper(&flow.Plan{Flow: plan.Flow, Pattern: plan.Pattern, Params: plan.Params, Map: plan.Saga.Answer})
	}
	return s, err
}

func (s sagas) task(plan *flow.Plan, name string) (sagaTask, error) {
	c, err := s.mappers.of(plan)
	if err != nil {
		return sagaTask{}, err
	}
	return c.saga.tasks[name], nil
}

// Plan implements activities.Steps.
func (s sagas) Plan(plan *flow.Plan, task string) (*flow.Plan, error) {
	t, err := s.task(plan, task)
	return t.plan, err
}

// Undo implements activities.Steps.
func (s sagas) Undo(plan *flow.Plan, task string) (*flow.Plan, error) {
	t, err := s.task(plan, task)
	return t.undo, err
}

// Inputs implements activities.Steps. Of a task that gave nothing row is absent. What was decided
// has a name of its own, whoever did.
func (sagas) Inputs(plan *flow.Plan, params flow.Row, tasks map[string]run.Task) flow.Row {
	steps := make(flow.Row, len(tasks))
	for name, t := range tasks {
		rows := make([]any, len(t.Gave))
		for i, row := range t.Gave {
			rows[i] = row
		}
		gave := flow.Row{"rows": rows, "count": int64(len(rows)), "state": string(t.State)}
		if len(t.Gave) > 0 {
			gave["row"] = t.Gave[0]
		}
		steps[name] = gave
	}
	if plan.Decide != nil {
		for _, by := range []string{flow.DecideStep, flow.ReviewStep} {
			if len(tasks[by].Gave) > 0 {
				steps[flow.DecisionStep] = steps[by]
			}
		}
	}
	return expr.Inputs(params, steps)
}

// When implements activities.Steps.
func (s sagas) When(plan *flow.Plan, task string, in flow.Row) (bool, error) {
	t, err := s.task(plan, task)
	if err != nil || t.when == nil {
		return err == nil, err
	}
	v, err := t.when.Eval(maps.Clone(in))
	if err != nil {
		return false, fmt.Errorf("evaluating when: %w", err)
	}
	due, is := v.(bool)
	if !is {
		return false, fault.New(fault.Rejected, expr.CodeType, "when of "+task+" is neither true nor false", nil)
	}
	return due, nil
}

// Matches implements activities.Steps.
func (s sagas) Matches(plan *flow.Plan, in flow.Row) (flow.Row, error) {
	c, err := s.mappers.of(plan)
	if err != nil {
		return nil, err
	}
	conditions, err := c.mapper.Where(in)
	match := make(flow.Row, len(conditions))
	for _, m := range conditions {
		match[m.Column] = m.Value
	}
	return match, err
}

// Answer implements activities.Steps.
func (s sagas) Answer(plan *flow.Plan, in flow.Row, tasks map[string]run.Task) (flow.Result, error) {
	c, err := s.mappers.of(plan)
	if err != nil {
		return flow.Result{}, err
	}
	if plan.Decide != nil {
		return c.decided(in)
	}
	rows := tasks[plan.Saga.Tasks[len(plan.Saga.Tasks)-1].Name].Gave
	if c.saga.answer != nil {
		if rows, err = c.saga.answer.Map(in, []flow.Row{{}}); err != nil {
			return flow.Result{}, fmt.Errorf("making the answer: %w", err)
		}
	}
	return flow.Result{Rows: rows, Count: len(rows)}, nil
}

// Look implements activities.Look.
func (s *systems) Look(ctx context.Context, plan *flow.Plan, rows []flow.Row, columns []string) ([]flow.Row, error) {
	system, err := s.open(ctx, plan, plan.Write.Connection)
	if err != nil {
		return nil, err
	}
	reader, ok := system.(connector.KeyReader)
	if !ok {
		return nil, lacking(plan.Write.Connection, "read by key")
	}
	return readBack(ctx, reader, plan.Write.Table, plan.Write.Key, keyRows(plan.Write.Key, rows), columns)
}

// readBack reads rows that were written. One that the system has refused since is a fault.
func readBack(ctx context.Context, from connector.KeyReader, table string, key []string, keys []flow.Row, columns []string) ([]flow.Row, error) {
	found, err := from.ReadByKey(ctx, table, key, keys, columns)
	refuser, refuses := from.(connector.Refuser)
	if err != nil || !refuses {
		return found, err
	}
	for i, row := range found {
		if row != nil {
			continue
		}
		if err := refuser.Refused(ctx, table, key, keys[i]); err != nil {
			return nil, err
		}
	}
	return found, nil
}
