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
	// Synchronizations knows what regions share, as ours sees it, and carries out what
	// people decide. A flow that is none is a NotFound fault.
	Synchronizations interface {
		Synchronizations(ctx context.Context) ([]flow.SyncStanding, error)
		Synchronization(ctx context.Context, name string) (flow.SyncStanding, error)
		Residency(ctx context.Context, name string) ([]flow.ResidencyReport, error)
		Conflicts(ctx context.Context, f flow.SyncFilter) ([]flow.SyncConflict, error)
		Decide(ctx context.Context, name string, id int64, d flow.SyncDecision, by string) error
		Pause(ctx context.Context, name string, p flow.SyncPause) error
		Resume(ctx context.Context, name, table, peer string) error
	}

	standingsOutput struct {
		Body struct {
			Synchronizations []flow.SyncStanding `json:"synchronizations" doc:"By the name of the flow"`
		}
	}

	standingOutput struct{ Body flow.SyncStanding }

	residencyOutput struct {
		Body struct {
			Reports []flow.ResidencyReport `json:"reports" doc:"The newest first; one for each deploy that changed the plan or what crosses"`
		}
	}

	conflictsInput struct {
		Call
		Flow   string `path:"flow" example:"account-sync"`
		Table  string `query:"table" doc:"Only conflicts of this table"`
		All    string `query:"all" doc:"true: those that are decided, too"`
		Before string `query:"before" doc:"The next of the page before"`
		Limit  string `query:"limit" doc:"Conflicts on a page: 1 to 200, 50 where absent"`
	}

	conflictsOutput struct {
		Body struct {
			Conflicts []flow.SyncConflict `json:"conflicts" doc:"The newest first"`
			Next      int64               `json:"next" doc:"Send as before to get the next page; 0 on the last"`
		}
	}

	decideConflictInput struct {
		Call
		Flow string `path:"flow"`
		ID   int64  `path:"id" minimum:"1"`
	}

	leaveBody struct {
		Table  string `json:"table,omitempty" doc:"Leave this table alone: nothing of it goes out or comes in"`
		Region string `json:"region,omitempty" doc:"Leave this region alone: nothing goes to it or comes from it"`
		Reason string `json:"reason,omitempty" doc:"Why, in a sentence; shown to everybody"`
	}
)

func (a *api) regionRoutes() {
	if a.o.Regions == nil {
		return
	}
	tags := []string{"regions"}
	route(a, huma.Operation{OperationID: "regions", Method: http.MethodGet, Path: "/v1/regions", Tags: tags,
		Summary: "How synchronizations stand, seen from this region", Description: "For the roles operate and admin."}, a.standings)
	route(a, huma.Operation{OperationID: "region", Method: http.MethodGet, Path: "/v1/flows/{flow}/regions", Tags: tags,
		Summary: "How one synchronization stands"}, a.standing)
	route(a, huma.Operation{OperationID: "residency", Method: http.MethodGet, Path: "/v1/flows/{flow}/residency", Tags: tags,
		Summary: "What the latest deploys of a flow let cross which border", Description: "For the roles operate and admin."}, a.residency)
	route(a, huma.Operation{OperationID: "conflicts", Method: http.MethodGet, Path: "/v1/flows/{flow}/conflicts", Tags: tags,
		Summary: "Values that two regions wrote without knowing of each other", Description: "Those that wait for a person, unless all are asked for. For the roles operate and admin."}, a.conflicts)
	route(a, huma.Operation{OperationID: "decide-conflict", Method: http.MethodPost, Path: "/v1/flows/{flow}/conflicts/{id}/decide", Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary: "Decide which value counts", Description: "The decision is a writing of this region that knows all others: it goes to every region."}, a.decideConflict)
	a.huma.OpenAPI().Paths["/v1/flows/{flow}/conflicts/{id}/decide"].Post.RequestBody = a.body(flow.SyncDecision{})
	asked(a, huma.Operation{OperationID: "hold-region", Method: http.MethodPost, Path: "/v1/flows/{flow}/regions/hold", Tags: tags,
		Summary:     "Leave a table, or another region, alone",
		Description: "Nothing of it crosses the border in either direction, for as long as the pause lasts. What changes meanwhile is kept, and crosses after it; nothing is lost. The other tables and regions go on."}, leaveBody{}, a.holdRegion)
	asked(a, huma.Operation{OperationID: "resume-region", Method: http.MethodPost, Path: "/v1/flows/{flow}/regions/resume", Tags: tags,
		Summary:     "Go on with a table, or another region",
		Description: "Columns of the table that are others than they were when they were allowed are allowed as they are now."}, leaveBody{}, a.resumeRegion)
}

func (a *api) standings(ctx context.Context, in *struct{ Call }) (*standingsOutput, error) {
	if err := operator(in.principal(), "regions"); err != nil {
		return nil, err
	}
	out := &standingsOutput{}
	var err error
	out.Body.Synchronizations, err = a.o.Regions.Synchronizations(ctx)
	return out, err
}

func (a *api) standing(ctx context.Context, in *flowInput) (*standingOutput, error) {
	if err := operator(in.principal(), "regions"); err != nil {
		return nil, err
	}
	s, err := a.o.Regions.Synchronization(ctx, in.Flow)
	return &standingOutput{s}, err
}

func (a *api) residency(ctx context.Context, in *flowInput) (*residencyOutput, error) {
	if err := operator(in.principal(), "residency reports"); err != nil {
		return nil, err
	}
	out := &residencyOutput{}
	var err error
	if out.Body.Reports, err = a.o.Regions.Residency(ctx, in.Flow); out.Body.Reports == nil {
		out.Body.Reports = []flow.ResidencyReport{}
	}
	return out, err
}

func (a *api) conflicts(ctx context.Context, in *conflictsInput) (*conflictsOutput, error) {
	if err := operator(in.principal(), "conflicts"); err != nil {
		return nil, err
	}
	f := flow.SyncFilter{Flow: in.Flow, Table: in.Table, Open: in.All != "true"}
	var err error
	if f.Limit, err = pageSize(in.Limit); err != nil {
		return nil, err
	}
	if in.Before != "" {
		if f.Before, err = strconv.ParseInt(in.Before, 10, 64); err != nil || f.Before < 1 {
			return nil, fault.Invalidf("params.invalid", "before is the next of a page, a number")
		}
	}
	out := &conflictsOutput{}
	if out.Body.Conflicts, err = a.o.Regions.Conflicts(ctx, f); err != nil {
		return nil, err
	}
	if n := len(out.Body.Conflicts); n > 0 && n == f.Limit {
		out.Body.Next = out.Body.Conflicts[n-1].ID
	}
	return out, nil
}

func (a *api) decideConflict(ctx context.Context, in *decideConflictInput) (*struct{}, error) {
	var d flow.SyncDecision
	if err := letterBody(in.Call, &d); err != nil {
		return nil, err
	}
	return nil, a.o.Regions.Decide(ctx, in.Flow, in.ID, d, in.principal().Name)
}

func (a *api) holdRegion(ctx context.Context, in *flowInput) (*standingOutput, error) {
	var body leaveBody
	if err := a.operatorBody(in, &body); err != nil {
		return nil, err
	}
	if why := strings.TrimSpace(body.Reason); why == "" || len(why) > 500 {
		return nil, fault.Invalidf("params.invalid", "say in reason why it is left alone, in 1 to 500 bytes").
			With(fault.Field{Path: "/reason", Code: "field.required", Detail: "reason is missing or too long", Fix: "give a sentence"})
	}
	err := a.o.Regions.Pause(ctx, in.Flow, flow.SyncPause{Table: body.Table, Peer: body.Region, By: in.principal().Name, Why: strings.TrimSpace(body.Reason)})
	return a.stands(ctx, in.Flow, err)
}

func (a *api) resumeRegion(ctx context.Context, in *flowInput) (*standingOutput, error) {
	var body leaveBody
	if err := a.operatorBody(in, &body); err != nil {
		return nil, err
	}
	return a.stands(ctx, in.Flow, a.o.Regions.Resume(ctx, in.Flow, body.Table, body.Region))
}

func (a *api) stands(ctx context.Context, name string, err error) (*standingOutput, error) {
	if err != nil {
		return nil, err
	}
	s, err := a.o.Regions.Synchronization(ctx, name)
	return &standingOutput{s}, err
}
