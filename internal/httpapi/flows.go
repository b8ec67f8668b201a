package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// FlowView is a flow as its callers need it. Where it reads and writes, and how,
// is in Plan, for principals that operate.
type FlowView struct {
	Flow      string       `json:"flow"`
	Pattern   flow.Pattern `json:"pattern"`
	Summary   string       `json:"summary"`
	Why       string       `json:"why,omitempty"`
	Params    []flow.Param `json:"params"`
	Respond   flow.Respond `json:"respond,omitempty"`
	Timeout   float64      `json:"timeout_seconds" doc:"A press is answered within this"`
	Digest    string       `json:"plan_digest" doc:"A run keeps the plan it was accepted under"`
	AppliedAt time.Time    `json:"applied_at"`
	Plan      *flow.Plan   `json:"plan,omitempty" doc:"With GET of one flow, for the roles operate and admin"`
}

type flowInput struct {
	Call
	Flow string `path:"flow" doc:"Name of an applied flow" example:"product-specs"`
}

type flowOutput struct{ Body FlowView }

type flowsOutput struct {
	Body struct {
		Flows []FlowView `json:"flows"`
	}
}

type explainInput struct {
	Call
	Key string `path:"key" doc:"A run_id or a business key, for example a product or case number" example:"AS54888"`
}

type explainOutput struct {
	Body struct {
		Key     string         `json:"key"`
		Entries []flow.Entry   `json:"entries"`
		Runs    []flow.Account `json:"runs" doc:"The runs that the entries are of, the last 20 with an entry, the newest first: each step with its effects and what a person can do about each"`
	}
}

func (a *api) flowRoutes() {
	route(a, huma.Operation{
		OperationID: "flows", Method: http.MethodGet, Path: "/v1/flows", Tags: []string{"flows"},
		Summary: "The applied flows",
	}, func(ctx context.Context, _ *struct{}) (*flowsOutput, error) {
		applied, err := a.o.Flows.Flows(ctx)
		if err != nil {
			return nil, err
		}
		out := &flowsOutput{}
		out.Body.Flows = make([]FlowView, len(applied))
		for i, f := range applied {
			out.Body.Flows[i] = view(f)
		}
		return out, nil
	})
	route(a, huma.Operation{
		OperationID: "flow", Method: http.MethodGet, Path: "/v1/flows/{flow}", Tags: []string{"flows"},
		Summary: "One flow and its parameters",
	}, func(ctx context.Context, in *flowInput) (*flowOutput, error) {
		applied, err := a.o.Flows.Flow(ctx, in.Flow)
		if err != nil {
			return nil, err
		}
		out := &flowOutput{Body: view(applied)}
		if operates(in.principal()) {
			out.Body.Plan = applied.Plan
		}
		return out, nil
	})
}

func view(f flow.Applied) FlowView {
	v := FlowView{
		Flow: f.Plan.Flow, Pattern: f.Plan.Pattern, Summary: f.Plan.Summary, Why: f.Plan.Why,
		Params: f.Plan.Params, Respond: f.Plan.Respond, Timeout: f.Plan.Limits.Timeout.Seconds(),
		Digest: f.Digest, AppliedAt: f.AppliedAt,
	}
	if v.Params == nil {
		v.Params = []flow.Param{}
	}
	return v
}

func (a *api) explainRoute() {
	route(a, huma.Operation{
		OperationID: "explain", Method: http.MethodGet, Path: "/v1/explain/{key}", Tags: []string{"runs"},
		Summary:     "What happened to a business key or a run, and why",
		Description: "Entries oldest first, then the runs step by step. A key that nobody has heard of has no entries. For the roles operate and admin.",
	}, func(ctx context.Context, in *explainInput) (*explainOutput, error) {
		if !operates(in.principal()) {
			return nil, fault.New(fault.Unauthorized, "auth.forbidden", "explain needs a key of role operate", nil)
		}
		entries, err := a.o.Explainer.Explain(ctx, in.Key)
		if err != nil {
			return nil, err
		}
		out := &explainOutput{}
		out.Body.Key, out.Body.Entries = in.Key, entries
		if entries == nil {
			out.Body.Entries = []flow.Entry{}
		}
		out.Body.Runs, err = a.accounts(ctx, entries)
		return out, err
	})
}

type doctorOutput struct {
	Body struct {
		Version string  `json:"version" doc:"Of the build that answers"`
		Checks  []Check `json:"checks"`
	}
}

func (a *api) doctorRoute() {
	route(a, huma.Operation{
		OperationID: "doctor", Method: http.MethodGet, Path: "/v1/doctor", Tags: []string{"operation"},
		Summary: "Everything that this Patchbay stands on, looked at now",
		Description: "200 whatever the checks say; each is ok, warn or fail. It takes seconds where something hangs, and signs in at every " +
			"connection. `patchbay doctor` prints it. For the roles operate and admin.",
	}, func(ctx context.Context, in *struct{ Call }) (*doctorOutput, error) {
		if !operates(in.principal()) {
			return nil, fault.New(fault.Unauthorized, "auth.forbidden", "the doctor needs a key of role operate", nil)
		}
		out := &doctorOutput{}
		out.Body.Version, out.Body.Checks = a.o.Version, a.o.Doctor.Examine(ctx)
		return out, nil
	})
}

// accounts tells the runs that entries are of.
func (a *api) accounts(ctx context.Context, entries []flow.Entry) ([]flow.Account, error) {
	all := []flow.Account{}
	for _, id := range flow.RunsOf(entries) {
		run, err := a.o.Runs.Get(ctx, id)
		if fault.Is(err, fault.NotFound) {
			continue // the journal outlives the runs
		}
		if err != nil {
			return nil, err
		}
		var letter flow.Letter
		if run.Status == flow.Failed {
			letter, err = a.o.Dead.Letter(ctx, id)
			if err != nil && !fault.Is(err, fault.NotFound) {
				return nil, err
			}
		}
		all = append(all, flow.AccountOf(run, letter.State))
	}
	return all, nil
}
