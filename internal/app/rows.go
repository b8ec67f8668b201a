package app

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"patchbay/activities"
	"patchbay/internal/connector"
	"patchbay/internal/expr"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// Rows reads every page of the plan's read. More rows than the flow allows is a
// refusal, not a cut: a short answer would look complete.
func (s *systems) Rows(ctx context.Context, plan *flow.Plan, params flow.Row) ([]flow.Row, error) {
	if plan.Reaction != nil {
		return s.items(ctx, plan, params)
	}
	return s.read(ctx, plan, params)
}

func (s *systems) read(ctx context.Context, plan *flow.Plan, params flow.Row) ([]flow.Row, error) {
	r, err := s.reading(ctx, plan, params)
	if err != nil {
		return nil, err
	}
	rows, err := r.all(ctx)
	if err == nil && len(rows) == 0 && plan.Read.OneRow {
		return nil, notFound(plan)
	}
	return rows, err
}

// reading is the read of a plan, ready to be asked.
type reading struct {
	plan   *flow.Plan
	reader connector.PageReader
	query  connector.Query
}

func (s *systems) reading(ctx context.Context, plan *flow.Plan, params flow.Row) (*reading, error) {
	name := plan.Read.Connection
	system, err := s.open(ctx, plan, name)
	if err != nil {
		return nil, err
	}
	reader, ok := system.(connector.PageReader)
	if !ok {
		return nil, lacking(name, "read pages")
	}
	c, err := s.mappers.of(plan)
	if err != nil {
		return nil, err
	}
	where, err := c.mapper.Where(params)
	if err != nil {
		return nil, fmt.Errorf("evaluating the where clause: %w", err)
	}
	r := &reading{plan: plan, reader: reader, query: connector.Query{Table: plan.Read.Table, Select: plan.Read.Select, Expand: plan.Read.Expand}}
	if plan.Read.Document != "" {
		if r.query.Select, err = s.besides(ctx, plan.Read); err != nil {
			return nil, err
		}
	}
	for _, m := range where {
		r.query.Where = append(r.query.Where, connector.Match{Column: m.Column, Value: m.Value})
	}
	return r, nil
}

// all reads every page.
func (r *reading) all(ctx context.Context) ([]flow.Row, error) {
	name := r.plan.Read.Connection
	var rows []flow.Row
	for token := ""; ; {
		page, err := r.reader.ReadPage(ctx, r.query, token)
		if err != nil {
			return nil, fmt.Errorf("reading %s.%s: %w", name, r.plan.Read.Table, err)
		}
		rows = append(rows, page.Rows...)
		if len(rows) > r.plan.Limits.Rows {
			return nil, tooMany(r.plan)
		}
		if page.Next == "" {
			return rows, nil
		}
		if page.Next == token {
			return nil, fault.New(fault.Bug, "vendor.page_loop", name+" gave the same page token twice", nil)
		}
		token = page.Next
	}
}

// notFound names the columns that were asked by, never their values.
func notFound(plan *flow.Plan) error {
	var columns []string
	for _, m := range plan.Read.Where {
		if strings.Contains(m.Expr, "params.") {
			columns = append(columns, m.Column)
		}
	}
	return fault.NotFoundf("source.not_found", "there is no row in %s.%s with this %s", plan.Read.Connection, plan.Read.Table, strings.Join(columns, " and "))
}

func tooMany(plan *flow.Plan) error {
	return fault.New(fault.Rejected, expr.CodeRows,
		fmt.Sprintf("more than the %d rows that limits.rows of %s allows", plan.Limits.Rows, plan.Flow), nil)
}

// Upsert writes rows by the plan's key.
func (s *systems) Upsert(ctx context.Context, plan *flow.Plan, call activities.Call) ([]error, error) {
	name := plan.Write.Connection
	system, err := s.open(ctx, plan, name)
	if err != nil {
		return nil, err
	}
	if plan.Write.Document != "" {
		return s.carry(ctx, plan, system, call)
	}
	writer, ok := system.(connector.Upserter)
	if !ok {
		return nil, lacking(name, "write by key")
	}
	in := connector.Upsert{Table: plan.Write.Table, Key: plan.Write.Key, Rows: call.Rows, Origin: call.Origin, Held: call.Held, Existing: plan.Write.Existing}
	if _, keeps := system.(connector.Marker); keeps {
		in.Marks = marksOf(call.Marks)
	}
	results, err := writer.Upsert(ctx, in)
	if err != nil {
		return nil, err
	}
	errs := make([]error, len(results))
	for i, r := range results {
		errs[i] = r.Err
	}
	return errs, nil
}

func marksOf(marks []activities.Mark) []connector.Mark {
	out := make([]connector.Mark, len(marks))
	for i, m := range marks {
		out[i] = connector.Mark(m)
	}
	return out
}

// ReadBack asks the target for its marks, or else reads what it holds under the
// keys of rows.
func (s *systems) ReadBack(ctx context.Context, plan *flow.Plan, rows []flow.Row, marks []activities.Mark) (activities.Sight, error) {
	name := plan.Write.Connection
	system, err := s.open(ctx, plan, name)
	if err != nil {
		return activities.Sight{}, err
	}
	if plan.Write.Document != "" {
		return s.sight(ctx, plan, system, rows)
	}
	if marker, keeps := system.(connector.Marker); keeps {
		applied, err := marker.Applied(ctx, marksOf(marks))
		return activities.Sight{Applied: applied}, err
	}
	reader, ok := system.(connector.KeyReader)
	if !ok {
		return activities.Sight{Rows: make([]flow.Row, len(rows))}, nil // it shows nothing, ever: a mail server
	}
	var sight activities.Sight
	if c, says := system.(connector.Conditional); says && c.Conditional(plan.Write.Table, plan.Write.Key, plan.Write.Existing) {
		sight.Conditional = true
	} else if sight.SettleAfter, err = s.settleAfter(ctx, name); err != nil {
		return activities.Sight{}, err
	}
	keys := keyRows(plan.Write.Key, rows)
	columns := make([]string, len(plan.Map))
	for i, column := range plan.Map {
		columns[i] = column.Name
	}
	sight.Rows, err = reader.ReadByKey(ctx, plan.Write.Table, plan.Write.Key, keys, columns)
	return sight, err
}

// settleAfter is how long the system behind a connection may take to show a write.
func (s *systems) settleAfter(ctx context.Context, name string) (time.Duration, error) {
	c, err := s.connections.Connection(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("looking up connection %s: %w", name, err)
	}
	if s.speed > 0 {
		return time.Duration(float64(c.SettleAfter) / s.speed), nil
	}
	return c.SettleAfter, nil
}

// FoldKeys gives each row's key as the target compares it.
func (s *systems) FoldKeys(ctx context.Context, plan *flow.Plan, rows []flow.Row) ([]string, error) {
	system, err := s.open(ctx, plan, plan.Write.Connection)
	if err != nil {
		return nil, err
	}
	fold := exactKey
	if folder, ok := system.(connector.KeyFolder); ok && plan.Write.Document == "" {
		fold = folder.FoldKey
	}
	folded := make([]string, len(rows))
	for i, row := range rows {
		folded[i] = fold(plan.Write.Key, row)
	}
	return folded, nil
}

// exactKey tells every two keys apart. Values of rows can be encoded.
func exactKey(key []string, row connector.Row) string {
	values := make([]any, len(key))
	for i, k := range key {
		values[i] = row[k]
	}
	b, _ := json.Marshal(values)
	return string(b)
}

// keyRows are the keys of rows, as rows.
func keyRows(key []string, rows []flow.Row) []connector.Row {
	keys := make([]connector.Row, len(rows))
	for i, row := range rows {
		keys[i] = connector.Row{}
		for _, k := range key {
			keys[i][k] = row[k]
		}
	}
	return keys
}
