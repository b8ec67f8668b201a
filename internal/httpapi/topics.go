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
	// Redrive offers undecided events again and gives those that it did; Dismiss puts them
	// aside and says how many. What somebody else decides meanwhile is left as it is.
	Redrive(ctx context.Context, by string, f flow.TopicFilter) ([]flow.TopicEvent, error)
	Dismiss(ctx context.Context, by, why string, f flow.TopicFilter) (int, error)
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
		Topic     string `query:"topic" doc:"Only events of this name and version"`
		Key       string `query:"key" doc:"Only events of this business key"`
		State     string `query:"state" enum:"kept,taken,delivered,dead,expired" doc:"Only events in this state"`
		Undecided bool   `query:"undecided" doc:"Only events that a person has to decide on: they expired, or a flow could not be started by them"`
		Since     string `query:"since" doc:"Received then or later: a time such as 2026-01-31T10:00:00Z"`
		Until     string `query:"until" doc:"Received before: as since"`
		Order     string `query:"order" enum:"newest,oldest" default:"newest"`
		Limit     int    `query:"limit" minimum:"1" maximum:"500" default:"100" doc:"How many at most"`
	}

	chooseTopicBody struct {
		IDs    []string `json:"ids,omitempty" doc:"The senders' IDs of events"`
		Key    string   `json:"key,omitempty" doc:"Of this business key"`
		Since  string   `json:"since,omitempty" doc:"Received then or later"`
		Until  string   `json:"until,omitempty" doc:"Received before"`
		Reason string   `json:"reason,omitempty" doc:"Of a dismissal: why nothing more has to be done, in a sentence"`
	}

	chooseTopicInput struct {
		Call
		Topic string `path:"topic"`
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
		Summary: "Business events, and what became of each", Description: "For the roles operate and admin.",
	}, a.topicEvents)
	bodied(a, huma.Operation{
		OperationID: "redrive-business-events", Method: http.MethodPost, Path: "/v1/events/{topic}/redrive", Tags: []string{"Events"},
		Summary: "Offer business events again",
		Description: "Those that expired, and those that a flow could not be started by: they are kept once more, wake who awaits them and start the flows that they have not started. " +
			"At most 500 at once, the oldest first. For the roles operate and admin.",
	}, chooseTopicBody{}, a.redriveTopic)
	bodied(a, huma.Operation{
		OperationID: "dismiss-business-events", Method: http.MethodPost, Path: "/v1/events/{topic}/dismiss", Tags: []string{"Events"},
		Summary: "Put business events aside", Description: "They stay to be found, with who put them aside and why. For the roles operate and admin.",
	}, chooseTopicBody{}, a.dismissTopic)
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
	f := flow.TopicFilter{Topic: in.Topic, Key: in.Key, State: flow.TopicState(in.State), Undecided: in.Undecided, Oldest: in.Order == "oldest", Limit: in.Limit}
	var err error
	if f.Since, err = moment("since", in.Since); err != nil {
		return nil, err
	}
	if f.Until, err = moment("until", in.Until); err != nil {
		return nil, err
	}
	list, err := a.o.Topics.List(ctx, f)
	out := &topicsOutput{}
	if out.Body.Events = list; list == nil {
		out.Body.Events = []flow.TopicEvent{}
	}
	return out, err
}

// chosen reads which events a request is about.
func (in *chooseTopicInput) chosen() (chooseTopicBody, flow.TopicFilter, error) {
	var body chooseTopicBody
	f := flow.TopicFilter{Topic: in.Topic}
	if err := letterBody(in.Call, &body); err != nil {
		return body, f, err
	}
	var err error
	if f.Since, err = moment("since", body.Since); err != nil {
		return body, f, err
	}
	if f.Until, err = moment("until", body.Until); err != nil {
		return body, f, err
	}
	f.IDs, f.Key = body.IDs, body.Key
	if len(f.IDs) == 0 && f.Key == "" && f.Since.IsZero() {
		return body, f, fault.Invalidf("params.invalid", "choose events by ids, by key or by since").
			With(fault.Field{Path: "/ids", Code: "field.required", Detail: "nothing says which events are meant", Fix: "GET /v1/events?undecided=true lists them"})
	}
	return body, f, nil
}

func (a *api) redriveTopic(ctx context.Context, in *chooseTopicInput) (*topicsOutput, error) {
	_, f, err := in.chosen()
	if err != nil {
		return nil, err
	}
	list, err := a.o.Topics.Redrive(ctx, in.principal().Name, f)
	out := &topicsOutput{}
	if out.Body.Events = list; list == nil {
		out.Body.Events = []flow.TopicEvent{}
	}
	return out, err
}

func (a *api) dismissTopic(ctx context.Context, in *chooseTopicInput) (*dismissedOutput, error) {
	body, f, err := in.chosen()
	if err != nil {
		return nil, err
	}
	why, err := because(body.Reason)
	if err != nil {
		return nil, err
	}
	out := &dismissedOutput{}
	out.Body.Dismissed, err = a.o.Topics.Dismiss(ctx, in.principal().Name, why, f)
	return out, err
}
