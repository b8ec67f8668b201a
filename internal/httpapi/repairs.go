package httpapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// Repairs knows what services wrote and nobody took back, which people have to put right.
// What does not stand is a NotFound fault, what somebody has settled a Conflict.
type Repairs interface {
	Repairs(ctx context.Context, f flow.RepairFilter) ([]flow.Repair, error)
	Repaired(ctx context.Context, runID, step, by, note string) (steps []string, err error)
}

type (
	repairsInput struct {
		Call
		Flow    string `query:"flow" doc:"Only of this flow"`
		Run     string `query:"run" doc:"Only of this run"`
		Settled bool   `query:"settled" doc:"Those that people have settled, the newest first, instead of those that wait, the oldest first"`
		Limit   int    `query:"limit" minimum:"1" maximum:"500" default:"100" doc:"How many at most"`
	}

	repairsOutput struct {
		Body struct {
			Repairs []flow.Repair `json:"repairs"`
		}
	}

	settleBody struct {
		Run  string `json:"run" doc:"Its run_id"`
		Step string `json:"step,omitempty" doc:"Name of the step; empty: all steps of the run that stand"`
		Note string `json:"note" doc:"What was done to put it right, in a sentence; shown to everybody"`
	}

	settleOutput struct {
		Body struct {
			Settled []string `json:"settled" doc:"Names of the steps"`
		}
	}
)

func (a *api) repairRoutes() {
	if a.o.Repairs == nil {
		return
	}
	route(a, huma.Operation{
		OperationID: "repairs", Method: http.MethodGet, Path: "/v1/repairs", Tags: []string{"dead letters"},
		Summary: "What has to be put right by a person",
		Description: "Steps of services whose undo was refused, or of which nobody knows whether it took effect, and steps of runs that were ended from outside. " +
			"For the roles operate and admin.",
	}, a.repairs)
	bodied(a, huma.Operation{
		OperationID: "settle-repair", Method: http.MethodPost, Path: "/v1/repairs/settle", Tags: []string{"dead letters"},
		Summary: "Say that it has been put right", Description: "Patchbay writes nothing: it keeps who says so, when and what was done, and ends the alert. For the roles operate and admin.",
	}, settleBody{}, a.settleRepair)
}

func (a *api) repairs(ctx context.Context, in *repairsInput) (*repairsOutput, error) {
	if err := operator(in.principal(), "repairs"); err != nil {
		return nil, err
	}
	list, err := a.o.Repairs.Repairs(ctx, flow.RepairFilter{Flow: in.Flow, RunID: in.Run, Settled: in.Settled, Limit: in.Limit})
	out := &repairsOutput{}
	if out.Body.Repairs = list; list == nil {
		out.Body.Repairs = []flow.Repair{}
	}
	return out, err
}

func (a *api) settleRepair(ctx context.Context, in *struct{ Call }) (*settleOutput, error) {
	if err := operator(in.principal(), "repairs"); err != nil {
		return nil, err
	}
	var body settleBody
	if err := letterBody(in.Call, &body); err != nil {
		return nil, err
	}
	note := strings.TrimSpace(body.Note)
	switch {
	case body.Run == "":
		return nil, fault.Invalidf("params.invalid", "name the run").
			With(fault.Field{Path: "/run", Code: "field.required", Detail: "run is missing", Fix: "GET /v1/repairs lists what stands"})
	case note == "" || len(note) > 500:
		return nil, fault.Invalidf("params.invalid", "say in note what was done to put it right, in 1 to 500 bytes").
			With(fault.Field{Path: "/note", Code: "field.required", Detail: "note is missing or too long", Fix: "give a sentence"})
	}
	steps, err := a.o.Repairs.Repaired(ctx, body.Run, body.Step, in.principal().Name, note)
	out := &settleOutput{}
	out.Body.Settled = steps
	return out, err
}
