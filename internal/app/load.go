package app

import (
	"context"
	"fmt"

	"patchbay/activities"
	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/stage"
)

// Load writes a sheet by the plan's key: in one go where the system has a way, else
// row by row.
func (s *systems) Load(ctx context.Context, plan *flow.Plan, l activities.Load) ([]stage.Refusal, error) {
	name := plan.Write.Connection
	system, err := s.open(ctx, plan, name)
	if err != nil {
		return nil, err
	}
	loader, ok := system.(connector.Loader)
	if !ok {
		return upsertSheet(ctx, system, plan, l)
	}
	in := connector.Load{Table: plan.Write.Table, Key: plan.Write.Key, Sheet: connector.Sheet(l.Sheet), Held: l.Held, Origin: l.Origin}
	if _, keeps := system.(connector.Marker); keeps {
		mark := connector.Mark(l.Mark)
		in.Mark = &mark
	}
	refusals, err := loader.Load(ctx, in)
	if err != nil {
		return nil, err
	}
	refused := make([]stage.Refusal, len(refusals))
	for i, r := range refusals {
		refused[i] = refusal(r.Row, fault.Of(r.Err))
	}
	return refused, nil
}

func refusal(row int, f *fault.Fault) stage.Refusal {
	return stage.Refusal{Row: row, Code: f.Code, Reason: f.Text}
}

// upsertSheet writes a sheet by way of rows. When some of them have no answer the whole
// is in doubt: what the others got is found when it is looked for.
func upsertSheet(ctx context.Context, system any, plan *flow.Plan, l activities.Load) ([]stage.Refusal, error) {
	writer, ok := system.(connector.Upserter)
	if !ok {
		return nil, lacking(plan.Write.Connection, "write by key")
	}
	rows, err := connector.RowsOf(connector.Sheet(l.Sheet))
	if err != nil {
		return nil, err
	}
	results, err := writer.Upsert(ctx, connector.Upsert{Table: plan.Write.Table, Key: plan.Write.Key, Rows: rows, Held: l.Held, Origin: l.Origin})
	if err != nil {
		return nil, err
	}
	var refused []stage.Refusal
	for i, r := range results {
		switch f := fault.Of(r.Err); {
		case f == nil:
		case f.Retryable() || f.Class == fault.InDoubt || f.Class == fault.Unauthorized:
			doubt := fault.New(fault.InDoubt, f.Code, f.Text, r.Err)
			doubt.After = f.After
			return nil, doubt
		default:
			refused = append(refused, refusal(i, f))
		}
	}
	return refused, nil
}

// LookBack reads what a target holds under the keys of a sheet's rows. One that keeps
// marks need not be asked: it knows what it was sent before.
func (s *systems) LookBack(ctx context.Context, plan *flow.Plan, l activities.Load) (activities.SheetSight, error) {
	name := plan.Write.Connection
	system, err := s.open(ctx, plan, name)
	if err != nil {
		return activities.SheetSight{}, err
	}
	if _, keeps := system.(connector.Marker); keeps {
		return activities.SheetSight{Conditional: true}, nil
	}
	var sight activities.SheetSight
	if c, says := system.(connector.Conditional); says {
		sight.Conditional = c.Conditional(plan.Write.Table, plan.Write.Key, plan.Write.Existing)
	}
	reader, ok := system.(connector.KeyReader)
	if !ok {
		return sight, nil
	}
	rows, err := connector.RowsOf(connector.Sheet(l.Sheet))
	if err != nil {
		return sight, err
	}
	keys := keyRows(plan.Write.Key, rows)
	found, err := reader.ReadByKey(ctx, plan.Write.Table, plan.Write.Key, keys, l.Sheet.Columns)
	if err != nil {
		return sight, fmt.Errorf("reading back from %s: %w", name, err)
	}
	sight.Holds = make([]bool, len(rows))
	for i, row := range rows {
		sight.Holds[i] = found[i] != nil && activities.Holds(found[i], row)
	}
	return sight, nil
}
