package httpapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// Troubles knows the events that were rejected or are dead and that nobody has
// decided on. What somebody else decides meanwhile is left as it is.
type Troubles interface {
	Troubles(ctx context.Context, choose flow.TroubleFilter) ([]flow.Trouble, error)
	Redrive(ctx context.Context, by string, choose flow.TroubleFilter) (flow.Rejudged, error)
	Dismiss(ctx context.Context, by, why string, choose flow.TroubleFilter) (int, error)
}

type (
	troublesInput struct {
		Call
		Flow string `query:"flow" doc:"Only events of this flow"`
	}

	troublesOutput struct {
		Body struct {
			Causes []flow.Trouble `json:"causes" doc:"The newest first, with how many events there are of each"`
		}
	}

	chooseBody struct {
		Causes []string `json:"causes,omitempty" doc:"The cause of each kind of trouble, as listed"`
		Events []int64  `json:"events,omitempty" doc:"Numbers of single events"`
		Reason string   `json:"reason,omitempty" doc:"Of a dismissal: why nothing more has to be done, in a sentence"`
	}

	rejudgedOutput struct {
		Body flow.Rejudged
	}

	dismissedOutput struct {
		Body struct {
			Dismissed int `json:"dismissed"`
		}
	}
)

// mostChosen bounds what one request decides on.
const mostChosen = 100

func (a *api) troubleRoutes() {
	if a.o.Troubles == nil {
		return
	}
	route(a, huma.Operation{
		OperationID: "troubles", Method: http.MethodGet, Path: "/v1/dead/events", Tags: []string{"dead letters"},
		Summary: "Events that were rejected or are dead, by cause",
		Description: "An unknown table or column, an expression that cannot be computed, a key that is null, a record that cannot be read, a window " +
			"that cannot become a run. They wait until they are redriven or dismissed. For the roles operate and admin.",
	}, a.troubles)
	bodied(a, huma.Operation{
		OperationID: "redrive-events", Method: http.MethodPost, Path: "/v1/dead/events/redrive", Tags: []string{"dead letters"},
		Summary: "Judge events again",
		Description: "The oldest first, under the plan in force, by their own images, or by their record as it is now where these lack what the plan needs. " +
			"At most 1,000 at once: repeat it while events are left.",
	}, chooseBody{}, a.redriveEvents)
	bodied(a, huma.Operation{
		OperationID: "dismiss-events", Method: http.MethodPost, Path: "/v1/dead/events/dismiss", Tags: []string{"dead letters"},
		Summary: "Put events aside", Description: "They keep their reason, and are found by their keys, with who put them aside and why.",
	}, chooseBody{}, a.dismissEvents)
}

func (a *api) troubles(ctx context.Context, in *troublesInput) (*troublesOutput, error) {
	if err := operator(in.principal(), "dead events"); err != nil {
		return nil, err
	}
	list, err := a.o.Troubles.Troubles(ctx, flow.TroubleFilter{Flow: in.Flow})
	out := &troublesOutput{}
	if out.Body.Causes = list; list == nil {
		out.Body.Causes = []flow.Trouble{}
	}
	return out, err
}

// choice reads which events a request is about.
func choice(c Call) (chooseBody, flow.TroubleFilter, error) {
	var body chooseBody
	if err := letterBody(c, &body); err != nil {
		return body, flow.TroubleFilter{}, err
	}
	if n := len(body.Causes) + len(body.Events); n == 0 || n > mostChosen || len(body.Causes) > 0 && len(body.Events) > 0 {
		return body, flow.TroubleFilter{}, fault.Invalidf("params.invalid", "name 1 to %d causes, or as many events", mostChosen).
			With(fault.Field{Path: "/causes", Code: "field.range", Detail: "must name 1 to 100 causes, or events must", Fix: "GET /v1/dead/events lists them"})
	}
	return body, flow.TroubleFilter{Causes: body.Causes, Events: body.Events}, nil
}

func (a *api) redriveEvents(ctx context.Context, in *struct{ Call }) (*rejudgedOutput, error) {
	_, choose, err := choice(in.Call)
	if err != nil {
		return nil, err
	}
	got, err := a.o.Troubles.Redrive(ctx, in.principal().Name, choose)
	return &rejudgedOutput{got}, err
}

func (a *api) dismissEvents(ctx context.Context, in *struct{ Call }) (*dismissedOutput, error) {
	body, choose, err := choice(in.Call)
	if err != nil {
		return nil, err
	}
	why, err := because(body.Reason)
	if err != nil {
		return nil, err
	}
	out := &dismissedOutput{}
	out.Body.Dismissed, err = a.o.Troubles.Dismiss(ctx, in.principal().Name, why, choose)
	return out, err
}

// because is why something is put aside.
func because(reason string) (string, error) {
	why := strings.TrimSpace(reason)
	if why == "" || len(why) > 500 {
		return "", fault.Invalidf("params.invalid", "say in reason why nothing more has to be done, in 1 to 500 bytes").
			With(fault.Field{Path: "/reason", Code: "field.required", Detail: "reason is missing or too long", Fix: "give a sentence"})
	}
	return why, nil
}
