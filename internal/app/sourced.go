package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"patchbay/activities"
	"patchbay/calculator"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/paid"
)

// sources implements activities.Collects: what costs money is asked once, and paid within
// its budget (docs/loans.md).
type sources struct {
	*systems
	paid *paid.Paid
}

// Collect implements activities.Collects.
func (s sources) Collect(ctx context.Context, plan *flow.Plan, params flow.Row, q activities.Inquiry) (activities.Collection, error) {
	c, err := s.connections.Connection(ctx, plan.Read.Connection)
	if err != nil {
		return activities.Collection{}, fmt.Errorf("looking up connection %s: %w", plan.Read.Connection, err)
	}
	table := c.Tables[plan.Read.Table]
	if table.Price == (flow.Money{}) {
		rows, err := s.Rows(ctx, plan, params)
		return activities.Collection{Rows: rows}, err
	}
	r, err := s.reading(ctx, plan, params)
	if err != nil {
		return activities.Collection{}, err
	}
	question := paid.Question{
		Connection: c.Name, Identity: plan.Bindings[c.Name].Identity, Asked: []any{r.query.Table, r.query.Select, r.query.Where}, Price: table.Price,
		Reuse: q.Reuse, Flow: plan.Flow, Run: q.Run, Source: q.Source,
	}
	if c.Budget != nil {
		question.Budget = *c.Budget
	}
	answer, err := s.paid.Ask(ctx, question, func(ctx context.Context, reference string) (paid.Reply, error) {
		r.query.Reference = reference
		rows, err := r.all(ctx)
		if err == nil {
			err = fit(c, table, r.query.Select, rows)
		}
		if err != nil {
			return paid.Reply{}, err
		}
		body, err := json.Marshal(rows)
		return paid.Reply{Body: body}, err
	})
	if err != nil {
		return activities.Collection{}, err
	}
	found := activities.Collection{AsOf: answer.AsOf, Price: answer.Price.String()}
	if answer.Run != q.Run {
		found.PaidBy = answer.Run
	}
	numbers := json.NewDecoder(bytes.NewReader(answer.Body))
	numbers.UseNumber()
	if err := numbers.Decode(&found.Rows); err != nil {
		return found, fault.New(fault.Bug, "paid.malformed", "a paid answer that was kept cannot be read", err)
	}
	if len(found.Rows) == 0 && plan.Read.OneRow {
		return found, notFound(plan)
	}
	return found, nil
}

// fit refuses rows with a value of another type than its column has: such an answer is of no
// use, and must not be used again.
func fit(c flow.Connection, table flow.Table, columns []string, rows []flow.Row) error {
	for _, row := range rows {
		for _, column := range columns {
			if v := row[column]; v != nil && !fits(table.Columns[column], v) {
				return fault.New(fault.Bug, "paid.type", fmt.Sprintf("the answer of %s has a %s that is no %s; it is not used", c.Name, column, table.Columns[column]), nil)
			}
		}
	}
	return nil
}

func fits(kind flow.Type, v any) bool {
	text, isText := v.(string)
	number, isNumber := v.(json.Number)
	_, isBool := v.(bool)
	switch kind {
	case flow.String:
		return isText
	case flow.Int:
		_, err := number.Int64()
		return isNumber && err == nil
	case flow.Decimal:
		return isNumber
	case flow.Bool:
		return isBool
	case flow.Date:
		_, err := time.Parse(time.DateOnly, text)
		return err == nil
	case flow.Timestamp:
		_, err := time.Parse(time.RFC3339, text)
		return err == nil
	}
	return true
}

// outputs implements activities.Computations. The model of a calculator that this program does not
// host is a part of its version.
type outputs struct {
	computed *paid.Computed
	known    []calculator.Calculator
}

func (o outputs) with(q paid.Calculation) paid.Calculation {
	if i := slices.IndexFunc(o.known, func(c calculator.Calculator) bool { return c.Name() == q.Function && c.Version() == q.Version }); i >= 0 {
		q.Model += " " + o.known[i].Model()
	}
	return q
}

// Find implements activities.Computations.
func (o outputs) Find(ctx context.Context, q paid.Calculation) (paid.Output, bool, error) {
	return o.computed.Find(ctx, o.with(q))
}

// Keep implements activities.Computations.
func (o outputs) Keep(ctx context.Context, q paid.Calculation, body json.RawMessage) error {
	return o.computed.Keep(ctx, o.with(q), body)
}
