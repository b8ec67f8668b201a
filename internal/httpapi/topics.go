package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// Topics keeps business events; see flow.Topic. Faults are event.…: of a topic that no flow
// accepts, of fields that are not as a contract says, of an ID that stands for another event.
type Topics interface {
	Post(ctx context.Context, topic, id string, data flow.Row, from string) (flow.TopicEvent, error)
	List(ctx context.Context, f flow.TopicFilter) ([]flow.TopicEvent, error)
}

type (
	postInput struct {
		Call
		Topic string `path:"topic" doc:"Name and version of the event, for example shipped.v1"`
	}

	postBody struct {
		ID   string   `json:"id" doc:"What the sender knows the event by. The same ID again is the same event"`
		Data flow.Row `json:"data" doc:"The fields of the event"`
	}

	postOutput struct {
		Status int
		Body   flow.TopicEvent
	}

	topicsInput struct {
		Call
		Topic string `query:"topic" doc:"Only events of this name and version"`
		Key   string `query:"key" doc:"Only events of this business key"`
		State string `query:"state" enum:"kept,taken,delivered,dead,expired" doc:"Only events in this state"`
		Limit int    `query:"limit" minimum:"1" maximum:"500" default:"100" doc:"How many at most"`
	}

	topicsOutput struct {
		Body struct {
			Events []flow.TopicEvent `json:"events" doc:"The newest first"`
		}
	}
)

func (a *api) topicRoutes() {
	if a.o.Topics == nil {
		return
	}
	bodied(a, huma.Operation{
		OperationID: "post-event", Method: http.MethodPost, Path: "/v1/events/{topic}", Tags: []string{"Events"}, DefaultStatus: http.StatusAccepted,
		Summary: "Tell of a business event",
		Description: "A run that awaits it takes it, now or later; if none comes in the time that the contract says, it expires, with the reason. 202 is sent after the event " +
			"is committed, and for a repeat as well. An event that is not as the flows that accept it say is refused, with every field that is wrong.",
	}, postBody{}, a.postEvent)
	route(a, huma.Operation{
		OperationID: "business-events", Method: http.MethodGet, Path: "/v1/events", Tags: []string{"Events"},
		Summary: "Business events, and what became of each", Description: "The newest first. For the roles operate and admin.",
	}, a.topicEvents)
}

func (a *api) postEvent(ctx context.Context, in *postInput) (*postOutput, error) {
	var body postBody
	if err := jsonBody(in.Call, &body); err != nil {
		return nil, err
	}
	if body.Data == nil {
		return nil, fault.Invalidf(flow.TopicInvalidCode, "the event has no data").
			With(fault.Field{Path: "data", Code: "field.required", Detail: "data is missing", Fix: `send {"id": "…", "data": {…}}`})
	}
	e, err := a.o.Topics.Post(ctx, in.Topic, body.ID, body.Data, in.principal().Name)
	return &postOutput{Status: http.StatusAccepted, Body: e}, err
}

func (a *api) topicEvents(ctx context.Context, in *topicsInput) (*topicsOutput, error) {
	if err := operator(in.principal(), "business events"); err != nil {
		return nil, err
	}
	list, err := a.o.Topics.List(ctx, flow.TopicFilter{Topic: in.Topic, Key: in.Key, State: flow.TopicState(in.State), Limit: in.Limit})
	out := &topicsOutput{}
	if out.Body.Events = list; list == nil {
		out.Body.Events = []flow.TopicEvent{}
	}
	return out, err
}
