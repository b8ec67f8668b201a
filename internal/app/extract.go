package app

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/expr"
	"patchbay/internal/flow"
	"patchbay/internal/stage"
)

// patience is how long a source may give no answer before a consolidation does
// without it, as its flow says. The speed of the environment divides it.
const patience = 10 * time.Minute

// ExtractPage reads one page of a source, as sheets where its connector has them.
func (s *systems) ExtractPage(ctx context.Context, plan *flow.Plan, source flow.Source, since, token string) (flow.Sheet, error) {
	system, err := s.open(ctx, plan, source.Connection)
	if err != nil {
		return flow.Sheet{}, err
	}
	reader, ok := system.(connector.Extractor)
	if !ok {
		pages, reads := system.(connector.PageReader)
		if !reads {
			return flow.Sheet{}, lacking(source.Connection, "read pages")
		}
		reader = connector.Extracting(pages)
	}
	query := connector.Query{Table: source.Table, Select: source.Select, Limit: source.Page}
	where, err := expr.Conditions(plan.Flow, source)
	if err != nil {
		return flow.Sheet{}, fmt.Errorf("evaluating the where clause of %s: %w", source.Name, err)
	}
	for _, m := range where {
		query.Where = append(query.Where, connector.Match{Column: m.Column, Value: m.Value})
	}
	if since != "" && source.Changed != nil {
		mark := connector.Since{Column: source.Changed.Column}
		if err := exact([]byte(since), &mark.Value); err != nil {
			return flow.Sheet{}, fmt.Errorf("reading a watermark: %w", err)
		}
		query.Since = &mark
	}
	sheet, err := reader.ExtractPage(ctx, query, token)
	if err != nil {
		return flow.Sheet{}, fmt.Errorf("reading %s.%s: %w", source.Connection, source.Table, err)
	}
	return flow.Sheet(sheet), nil
}

// SourceColumns asks the system what columns the table of a source has.
func (s *systems) SourceColumns(ctx context.Context, plan *flow.Plan, source flow.Source) ([]string, error) {
	system, err := s.open(ctx, plan, source.Connection)
	if err != nil {
		return nil, err
	}
	describer, ok := system.(connector.Describer)
	if !ok {
		return nil, nil
	}
	d, err := describer.Describe(ctx, source.Table)
	if err != nil {
		return nil, fmt.Errorf("describing %s.%s: %w", source.Connection, source.Table, err)
	}
	columns := make([]string, len(d.Columns))
	for i, c := range d.Columns {
		columns[i] = c.Name
	}
	return columns, nil
}

// joins serves activities.Joining: it makes the plans of joins ready, and asks the
// target which keys are one to it.
type joins struct {
	stage   *stage.Stage
	systems *systems
}

// Join joins what a run has read.
func (j joins) Join(ctx context.Context, plan *flow.Plan, runID string, accepted bool) (stage.Joined, error) {
	c, err := j.systems.mappers.of(plan)
	if err != nil {
		return stage.Joined{}, err
	}
	fold, err := j.fold(ctx, plan)
	if err != nil {
		return stage.Joined{}, err
	}
	return j.stage.Join(ctx, plan, c.join, runID, stage.JoinOptions{Accepted: accepted, Fold: fold})
}

// fold is how the target compares keys; nil when it compares them exactly.
func (j joins) fold(ctx context.Context, plan *flow.Plan) (func([][]byte) string, error) {
	system, err := j.systems.open(ctx, plan, plan.Write.Connection)
	if err != nil {
		return nil, err
	}
	folder, ok := system.(connector.KeyFolder)
	if !ok {
		return nil, nil
	}
	return func(cells [][]byte) string {
		rows, err := connector.RowsOf(connector.Sheet{Columns: plan.Write.Key, Cells: cells})
		if err != nil {
			return string(bytes.Join(cells, []byte{','})) // what is no value is folded with nothing
		}
		return folder.FoldKey(plan.Write.Key, rows[0])
	}, nil
}
