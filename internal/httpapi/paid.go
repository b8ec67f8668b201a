package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

type (
	// Paid knows what was paid to providers on a day, written as 2006-01-02; empty is today, in UTC.
	Paid interface {
		PaidOn(ctx context.Context, day string) (flow.PaidDay, error)
	}

	paidInput struct {
		Call
		Day string `query:"day" doc:"A date such as 2026-12-01; without it today, in UTC"`
	}

	paidOutput struct{ Body flow.PaidDay }
)

func (a *api) paidRoutes() {
	if a.o.Paid == nil {
		return
	}
	route(a, huma.Operation{OperationID: "paid", Method: http.MethodGet, Path: "/v1/paid", Tags: []string{"paid"},
		Summary: "What was paid to providers on a day, for which run, and how often it was used again",
		Description: "By connection: what was paid, what is in doubt and counts as paid, and what is left of the day's budget. " +
			"Inquiries, the newest first, at most 1,000, tell neither what was asked nor what was answered. For the roles operate and admin."}, a.paid)
}

func (a *api) paid(ctx context.Context, in *paidInput) (*paidOutput, error) {
	if err := operator(in.principal(), "what was paid"); err != nil {
		return nil, err
	}
	if _, err := time.Parse(time.DateOnly, in.Day); in.Day != "" && err != nil {
		return nil, fault.Invalidf("params.invalid", "day is a date such as 2026-12-01").
			With(fault.Field{Path: "query.day", Code: "field.pattern", Detail: "is no date", Fix: "write 2026-12-01"})
	}
	d, err := a.o.Paid.PaidOn(ctx, in.Day)
	return &paidOutput{Body: d}, err
}
