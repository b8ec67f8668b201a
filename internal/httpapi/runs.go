package httpapi

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

const (
	defaultPage = 50
	maxPage     = 200
)

type runInput struct {
	Call
	ID string `path:"id" doc:"The run_id of a run" example:"mzxw6ytboi2gk3tuobqwg2dcmf"`
}

type runOneInput struct {
	Call
	ID     string `path:"id" doc:"The run_id of a run" example:"mzxw6ytboi2gk3tuobqwg2dcmf"`
	Wait   string `query:"wait" doc:"answer or final: wait for the answer, or for the end. 202 with Location and Retry-After while there is none, 200 then"`
	Prefer string `header:"Prefer" doc:"wait=N: with the query parameter wait, hold the answer for up to N seconds (10, at most 60)"`
}

type listInput struct {
	Call
	Flow   string `query:"flow" doc:"Only runs of this flow"`
	Status string `query:"status" doc:"Only runs in this state: accepted, running, parked, completed, failed, cancelled"`
	Who    string `query:"principal" doc:"Only runs that this principal asked for"`
	Key    string `query:"key" doc:"Only runs with this business key, exactly as it is"`
	Since  string `query:"since" doc:"Accepted then or later: a time like 2026-01-31T10:00:00Z, or how long ago, such as 15m, 24h, 7d"`
	Until  string `query:"until" doc:"Accepted then or before: as since"`
	Before string `query:"before" doc:"The next of the page before"`
	Limit  string `query:"limit" doc:"Runs on a page: 1 to 200, 50 where absent"`
}

type listOutput struct {
	Body struct {
		Runs []flow.Run `json:"runs"`
		Next string     `json:"next" doc:"Send as before to get the next page; empty on the last"`
	}
}

type cancelInput struct {
	Call
	ID     string `path:"id" doc:"The run_id of a run"`
	Prefer string `header:"Prefer" doc:"wait=N: wait up to N seconds for the certificate (10, at most 60)"`
}

// cancelOutput holds a flow.Certificate with 200 and a flow.Run with 202.
type cancelOutput struct {
	Status     int
	Location   string `header:"Location"`
	RetryAfter string `header:"Retry-After"`
	Body       any
}

func (a *api) runRoutes() {
	route(a, pressOperation(), a.press)
	a.huma.OpenAPI().Paths[pressOperation().Path].Post.RequestBody = pressBody()
	route(a, huma.Operation{
		OperationID: "run", Method: http.MethodGet, Path: "/v1/runs/{id}", Tags: []string{"runs"},
		Summary: "One run",
		Description: "Always 200 for a run that exists: its status says where it stands. With the query parameter wait, which the " +
			"Location of a 202 has, the status of HTTP says it too: 202 with Location and Retry-After until there is what was " +
			"waited for, then 200.",
		Responses: map[string]*huma.Response{
			"200": {Description: "The run"},
			"202": {Description: "The run; what wait asks for is not there yet"},
		},
	}, a.run)
	route(a, huma.Operation{
		OperationID: "runs", Method: http.MethodGet, Path: "/v1/runs", Tags: []string{"runs"},
		Summary:     "Runs, newest first",
		Description: "A key of role press sees its own runs.",
	}, a.list)
	certificate := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[flow.Certificate](), true, "")
	accepted := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[flow.Run](), true, "")
	route(a, huma.Operation{
		OperationID: "cancel", Method: http.MethodPost, Path: "/v1/runs/{id}/cancel", Tags: []string{"runs"},
		Summary: "Cancel a run",
		Description: "Seals the run: no effect begins after the certificate. The certificate says what was done, what never " +
			"began and what is in doubt; asking again gives the same one, and a run that had ended gets one of how it ended.",
		Responses: map[string]*huma.Response{
			"200": {Description: "The certificate", Content: map[string]*huma.MediaType{"application/json": {Schema: certificate}}},
			"202": {Description: "Sealed; a write that had begun is not settled yet. Ask again, or poll Location: it answers 202 until " +
				"the run has ended, then 200 with the run.",
				Content: map[string]*huma.MediaType{"application/json": {Schema: accepted}}},
		},
	}, a.cancel)
}

// visible reads a run that p may see. Somebody else's does not exist, and is
// missing in the same words.
func (a *api) visible(ctx context.Context, p flow.Principal, id string) (flow.Run, error) {
	run, err := a.o.Runs.Get(ctx, id)
	switch {
	case fault.Is(err, fault.NotFound) || err == nil && !p.Sees(run.Principal):
		return flow.Run{}, fault.NotFoundf("run.not_found", "there is no run with this ID; GET /v1/runs lists those there are")
	case err != nil:
		return flow.Run{}, err
	}
	return run, nil
}

func (a *api) run(ctx context.Context, in *runOneInput) (*runOutput, error) {
	enough, ok := reached(in.Wait)
	if !ok && in.Wait != "" {
		return nil, badQuery("wait", "must be answer or final, or absent")
	}
	run, err := a.visible(ctx, in.principal(), in.ID)
	if err != nil {
		return nil, err
	}
	if !ok {
		return &runOutput{Status: http.StatusOK, Body: whole(run)}, nil
	}
	wait, applied := preferredWait(in.r.Header)
	out := reply(in.r, a.await(ctx, run, wait, enough), in.Wait)
	out.Applied = applied
	return out, nil
}

func (a *api) list(ctx context.Context, in *listInput) (*listOutput, error) {
	filter := flow.RunFilter{Flow: in.Flow, Status: flow.Status(in.Status), Principal: in.Who, Key: in.Key, Before: in.Before}
	switch filter.Status {
	case "", flow.Accepted, flow.Running, flow.Parked, flow.Completed, flow.Failed, flow.Cancelled:
	default:
		return nil, badQuery("status", "is none of accepted, running, parked, completed, failed, cancelled")
	}
	var err error
	if filter.Since, err = moment("since", in.Since); err != nil {
		return nil, err
	}
	if filter.Until, err = moment("until", in.Until); err != nil {
		return nil, err
	}
	if filter.Limit, err = pageSize(in.Limit); err != nil {
		return nil, err
	}
	if p := in.principal(); !operates(p) {
		filter.Principal = p.Name // whatever was asked for
	}
	runs, next, err := a.o.Runs.List(ctx, filter)
	if err != nil {
		return nil, err
	}
	out := &listOutput{}
	out.Body.Runs, out.Body.Next = make([]flow.Run, len(runs)), next
	for i, run := range runs {
		out.Body.Runs[i] = whole(run)
	}
	return out, nil
}

func badQuery(name, detail string) error {
	return fault.Invalidf("query.invalid", "the query parameter %s %s", name, detail).
		With(fault.Field{Path: fault.At("query", name), Code: "field.range", Detail: name + " " + detail})
}

func (a *api) cancel(ctx context.Context, in *cancelInput) (*cancelOutput, error) {
	p := in.principal()
	if _, err := a.visible(ctx, p, in.ID); err != nil {
		return nil, err
	}
	wait, _ := preferredWait(in.r.Header)
	limited, stop := context.WithTimeout(ctx, max(wait, time.Second))
	defer stop()
	certificate, err := a.o.Canceller.Cancel(limited, p, in.ID)
	switch {
	case err == nil:
		return &cancelOutput{Status: http.StatusOK, Location: location(in.ID), Body: full(certificate)}, nil
	case limited.Err() == nil || ctx.Err() != nil:
		return nil, err
	}
	// The wait is over. A seal that stands is an answer: a write that had begun is
	// still open, and the run will say how it ended.
	run, getErr := a.visible(ctx, p, in.ID)
	if getErr != nil {
		return nil, getErr
	}
	if !run.Cancelling && !run.Status.Final() {
		return nil, fault.New(fault.Unavailable, "cancel.unconfirmed", "the cancel could not be recorded in time; ask again", err)
	}
	return &cancelOutput{Status: http.StatusAccepted, Location: polling(in.r, in.ID, waitFinal), RetryAfter: "1", Body: whole(run)}, nil
}

func full(c flow.Certificate) flow.Certificate {
	for _, list := range []*[]flow.Effect{&c.Done, &c.Undone, &c.InDoubt} {
		if *list == nil {
			*list = []flow.Effect{}
		}
	}
	return c
}
