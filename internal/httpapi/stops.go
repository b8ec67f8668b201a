package httpapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

type (
	// Stops knows what is not to be started now, and carries out what people decide of it.
	// What there is not is a NotFound fault.
	Stops interface {
		Stopped(ctx context.Context) ([]flow.Stopped, error)
		Hold(ctx context.Context, kind flow.StopKind, name, by, reason string) error
		Resume(ctx context.Context, kind flow.StopKind, name string) error
	}

	stopsOutput struct {
		Body struct {
			Stops []flow.Stopped `json:"stops" doc:"By kind and name"`
		}
	}

	stopBody struct {
		Kind   string `json:"kind" enum:"flow,connection"`
		Name   string `json:"name" doc:"Of the flow, or of the connection"`
		Reason string `json:"reason,omitempty" doc:"Why it is held, in a sentence; required to hold, and shown to everybody"`
	}
)

func (a *api) stopRoutes() {
	if a.o.Stops == nil {
		return
	}
	tags := []string{"stops"}
	route(a, huma.Operation{OperationID: "stops", Method: http.MethodGet, Path: "/v1/stops", Tags: tags,
		Summary:     "What is not to be started now, and what waits for that",
		Description: "Flows and connections that a person holds, and connections whose system answers nobody. For the roles operate and admin."}, a.stops)
	for _, op := range []struct {
		name, summary, more string
		handle              func(context.Context, *struct{ Call }) (*stopsOutput, error)
	}{
		{"hold", "Hold a flow, or a connection", "No run is started of the flow, or of any flow that needs the connection, and nothing is sent to its system. " +
			"Presses and events are accepted and kept. What is being carried out goes on as far as it comes without the connection.", a.holdStop},
		{"resume", "Let go of a flow, or a connection", "What waited is started in its order, as fast as the quotas allow.", a.resumeStop},
	} {
		path := "/v1/stops/" + op.name
		route(a, huma.Operation{OperationID: op.name + "-stop", Method: http.MethodPost, Path: path, Tags: tags, Summary: op.summary,
			Description: op.more + " For the roles operate and admin."}, op.handle)
		a.huma.OpenAPI().Paths[path].Post.RequestBody = a.body(stopBody{})
	}
}

func (a *api) stops(ctx context.Context, in *struct{ Call }) (*stopsOutput, error) {
	if err := operator(in.principal(), "stops"); err != nil {
		return nil, err
	}
	return a.stopped(ctx)
}

func (a *api) stopped(ctx context.Context) (*stopsOutput, error) {
	out := &stopsOutput{}
	var err error
	if out.Body.Stops, err = a.o.Stops.Stopped(ctx); out.Body.Stops == nil {
		out.Body.Stops = []flow.Stopped{}
	}
	return out, err
}

func (a *api) holdStop(ctx context.Context, in *struct{ Call }) (*stopsOutput, error) {
	body, err := stopOf(in.Call)
	if err != nil {
		return nil, err
	}
	why := strings.TrimSpace(body.Reason)
	if why == "" || len(why) > 500 {
		return nil, fault.Invalidf("params.invalid", "say in reason why the %s is held, in 1 to 500 bytes", body.Kind).
			With(fault.Field{Path: "/reason", Code: "field.required", Detail: "reason is missing or too long", Fix: "give a sentence"})
	}
	if err := a.o.Stops.Hold(ctx, flow.StopKind(body.Kind), body.Name, in.principal().Name, why); err != nil {
		return nil, err
	}
	return a.stopped(ctx)
}

func (a *api) resumeStop(ctx context.Context, in *struct{ Call }) (*stopsOutput, error) {
	body, err := stopOf(in.Call)
	if err != nil {
		return nil, err
	}
	if err := a.o.Stops.Resume(ctx, flow.StopKind(body.Kind), body.Name); err != nil {
		return nil, err
	}
	return a.stopped(ctx)
}

// stopOf reads which flow or connection is meant.
func stopOf(in Call) (body stopBody, err error) {
	if err := operator(in.principal(), "stops"); err != nil {
		return body, err
	}
	if err := letterBody(in, &body); err != nil {
		return body, err
	}
	switch flow.StopKind(body.Kind) {
	case flow.StopFlow, flow.StopConnection:
	default:
		return body, fault.Invalidf("params.invalid", "kind is flow or connection").
			With(fault.Field{Path: "/kind", Code: "field.enum", Detail: "is neither flow nor connection", Fix: "give one of them"})
	}
	if body.Name == "" {
		return body, fault.Invalidf("params.invalid", "name the %s", body.Kind).
			With(fault.Field{Path: "/name", Code: "field.required", Detail: "name is missing", Fix: "GET /v1/flows lists flows"})
	}
	return body, nil
}
