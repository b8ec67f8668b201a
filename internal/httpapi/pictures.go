package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

type (
	// Pictures knows what consolidations have of their sources, and lets a person approve
	// of a column that was lost or gained.
	Pictures interface {
		Sources(ctx context.Context, flow string) ([]flow.SourceStanding, error)
		Drifts(ctx context.Context, flow string) ([]flow.ColumnDrift, error)
		Rejects(ctx context.Context, f flow.RejectFilter) ([]flow.Reject, error)
		Approve(ctx context.Context, flow, source, column, by string) error
	}

	// ActionPlans knows what models and rules proposed, and decides on what waits for a
	// person: Conflict "review.decided" when it does not wait any more.
	ActionPlans interface {
		List(ctx context.Context, f flow.PlanFilter) ([]flow.ActionPlan, error)
		Get(ctx context.Context, id int64) (flow.ActionPlan, error)
		Decide(ctx context.Context, id int64, d flow.PlanDecision) (flow.ActionPlan, error)
	}
)

type (
	sourcesInput struct {
		Call
		Flow string `path:"flow" example:"customer-360"`
	}

	sourcesOutput struct {
		Body struct {
			Sources []flow.SourceStanding `json:"sources" doc:"What was read last of each source, and whether it answers"`
			Drifts  []flow.ColumnDrift    `json:"drifts" doc:"Columns that sources have lost or gained"`
		}
	}

	rejectsInput struct {
		Call
		Flow     string `path:"flow" example:"customer-360"`
		Source   string `query:"source" doc:"Only rows of this source"`
		Run      string `query:"run" doc:"Only rows that this run rejected"`
		Resolved string `query:"resolved" doc:"true: those that are over, too"`
		Before   string `query:"before" doc:"The next of the page before"`
		Limit    string `query:"limit" doc:"Rows on a page: 1 to 500, 100 where absent"`
	}

	rejectsOutput struct {
		Body struct {
			Rejects []flow.Reject `json:"rejects" doc:"The newest first; each is tried again when it is read again, one of the target by the next run"`
			Next    int64         `json:"next" doc:"Send as before to get the next page; 0 on the last"`
		}
	}

	approveInput struct {
		Call
		Flow   string `path:"flow"`
		Source string `path:"source"`
		Column string `path:"column"`
	}

	actionPlansInput struct {
		Call
		Flow   string `query:"flow" doc:"Only plans of this flow"`
		Run    string `query:"run" doc:"Only plans of this run"`
		Key    string `query:"key" doc:"Only plans of this customer"`
		State  string `query:"state" doc:"due, review, approved, rejected, superseded, written or refused"`
		Before string `query:"before" doc:"The next of the page before"`
		Limit  string `query:"limit" doc:"Plans on a page: 1 to 200, 50 where absent"`
	}

	actionPlansOutput struct {
		Body struct {
			Plans []flow.ActionPlan `json:"plans"`
			Next  int64             `json:"next" doc:"Send as before to get the next page; 0 on the last"`
		}
	}

	actionPlanInput struct {
		Call
		ID int64 `path:"id" minimum:"1"`
	}

	actionPlanOutput struct {
		Body flow.ActionPlan
	}
)

func (a *api) pictureRoutes() {
	if a.o.Pictures == nil {
		return
	}
	route(a, huma.Operation{
		OperationID: "sources", Method: http.MethodGet, Path: "/v1/flows/{flow}/sources", Tags: []string{"consolidations"},
		Summary: "What a consolidation has of its sources", Description: "For the roles operate and admin.",
	}, a.sources)
	route(a, huma.Operation{
		OperationID: "rejects", Method: http.MethodGet, Path: "/v1/flows/{flow}/rejects", Tags: []string{"consolidations"},
		Summary: "Rows that were read, or made, and not used", Description: "Each with its reason, without its values. For the roles operate and admin.",
	}, a.rejects)
	route(a, huma.Operation{
		OperationID: "approve-column", Method: http.MethodPost, Path: "/v1/flows/{flow}/sources/{source}/columns/{column}/approve", Tags: []string{"consolidations"},
		Summary: "Go on with a source that has lost or gained a column", DefaultStatus: http.StatusNoContent,
	}, a.approveColumn)
	route(a, huma.Operation{
		OperationID: "plans", Method: http.MethodGet, Path: "/v1/plans", Tags: []string{"action plans"},
		Summary: "Action plans that models and rules proposed", Description: "The newest first. For the roles operate and admin.",
	}, a.actionPlans)
	route(a, huma.Operation{
		OperationID: "plan", Method: http.MethodGet, Path: "/v1/plans/{id}", Tags: []string{"action plans"}, Summary: "One action plan with its evidence",
	}, a.actionPlan)
	route(a, huma.Operation{
		OperationID: "decide-plan", Method: http.MethodPost, Path: "/v1/plans/{id}/decide", Tags: []string{"action plans"},
		Summary: "Approve of an action plan, change it or reject it",
		Description: "Only of one that waits for a person. What is approved of is written by the next run of the flow. With action another one of the flow's is " +
			"chosen, for the reason given.",
	}, a.decidePlan)
	a.huma.OpenAPI().Paths["/v1/plans/{id}/decide"].Post.RequestBody = a.body(flow.PlanDecision{})
}

func (a *api) sources(ctx context.Context, in *sourcesInput) (*sourcesOutput, error) {
	if err := a.consolidation(ctx, in.Call, in.Flow); err != nil {
		return nil, err
	}
	out := &sourcesOutput{}
	var err error
	if out.Body.Sources, err = a.o.Pictures.Sources(ctx, in.Flow); err != nil {
		return nil, err
	}
	if out.Body.Drifts, err = a.o.Pictures.Drifts(ctx, in.Flow); err != nil {
		return nil, err
	}
	out.Body.Sources, out.Body.Drifts = listed(out.Body.Sources), listed(out.Body.Drifts)
	return out, nil
}

// consolidation lets an operator ask about a flow that there is.
func (a *api) consolidation(ctx context.Context, c Call, name string) error {
	if err := operator(c.principal(), "sources"); err != nil {
		return err
	}
	_, err := a.o.Flows.Flow(ctx, name)
	return err
}

// listed is a list that is [] and not null where there is nothing.
func listed[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (a *api) rejects(ctx context.Context, in *rejectsInput) (*rejectsOutput, error) {
	if err := a.consolidation(ctx, in.Call, in.Flow); err != nil {
		return nil, err
	}
	f := flow.RejectFilter{Flow: in.Flow, Source: in.Source, RunID: in.Run, Resolved: in.Resolved == "true"}
	var err error
	if f.Limit, err = number("limit", in.Limit, 100, 500); err != nil {
		return nil, err
	}
	if f.Before, err = after(in.Before); err != nil {
		return nil, err
	}
	out := &rejectsOutput{}
	list, err := a.o.Pictures.Rejects(ctx, f)
	if len(list) == f.Limit {
		out.Body.Next = list[len(list)-1].ID
	}
	out.Body.Rejects = listed(list)
	return out, err
}

func (a *api) approveColumn(ctx context.Context, in *approveInput) (*struct{}, error) {
	if err := a.consolidation(ctx, in.Call, in.Flow); err != nil {
		return nil, err
	}
	return nil, a.o.Pictures.Approve(ctx, in.Flow, in.Source, in.Column, in.principal().Name)
}

func (a *api) actionPlans(ctx context.Context, in *actionPlansInput) (*actionPlansOutput, error) {
	if err := operator(in.principal(), "action plans"); err != nil {
		return nil, err
	}
	f := flow.PlanFilter{Flow: in.Flow, RunID: in.Run, Key: in.Key, State: in.State}
	var err error
	if f.Limit, err = number("limit", in.Limit, 50, 200); err != nil {
		return nil, err
	}
	if f.Before, err = after(in.Before); err != nil {
		return nil, err
	}
	out := &actionPlansOutput{}
	list, err := a.o.Plans.List(ctx, f)
	if len(list) == f.Limit {
		out.Body.Next = list[len(list)-1].ID
	}
	out.Body.Plans = listed(list)
	return out, err
}

func (a *api) actionPlan(ctx context.Context, in *actionPlanInput) (*actionPlanOutput, error) {
	if err := operator(in.principal(), "action plans"); err != nil {
		return nil, err
	}
	p, err := a.o.Plans.Get(ctx, in.ID)
	return &actionPlanOutput{p}, err
}

func (a *api) decidePlan(ctx context.Context, in *actionPlanInput) (*actionPlanOutput, error) {
	var d flow.PlanDecision
	if err := letterBody(in.Call, &d); err != nil {
		return nil, err
	}
	d.Reason, d.By = strings.TrimSpace(d.Reason), in.principal().Name
	if d.Reason == "" || len(d.Reason) > 500 {
		return nil, fault.Invalidf("params.invalid", "say in reason why you decide so, in 1 to 500 bytes").
			With(fault.Field{Path: "/reason", Code: "field.required", Detail: "reason is missing or too long", Fix: "give a sentence"})
	}
	p, err := a.o.Plans.Decide(ctx, in.ID, d)
	return &actionPlanOutput{p}, err
}

// number reads a query parameter from 1 to most.
func number(name, text string, otherwise, most int) (int, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, badQuery(name, "must be a number from 1 to "+strconv.Itoa(most))
	}
	return n, nil
}

// after reads where a page begins.
func after(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return 0, badQuery("before", "must be the next of the page before")
	}
	return n, nil
}
