package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"patchbay/internal/fault"
)

// changesApart is how often a client is told at most that something has changed.
const changesApart = 500 * time.Millisecond

func (a *api) changesRoute() {
	route(a, huma.Operation{
		OperationID: "changes", Method: http.MethodGet, Path: "/v1/changes", Tags: []string{"runs"},
		Summary: "Hear that something has changed",
		Description: "Server-sent events named changed, without data: some run, somebody's, may have changed since the one before. A client that " +
			"shows a list asks for it again. The first comes at once, at most two a second, and one in ten seconds in any case.",
		Responses: map[string]*huma.Response{
			"200": {Description: "The stream", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}}},
		},
	}, a.changes)
}

func (a *api) changes(context.Context, *struct{ Call }) (*eventsOutput, error) {
	select {
	case a.streams <- struct{}{}:
	default:
		return nil, fault.New(fault.Unavailable, "events.busy", "as many streams are open as this process allows; poll instead", nil)
	}
	return &eventsOutput{Body: func(c huma.Context) {
		defer func() { <-a.streams }()
		_, w := humago.Unwrap(c)
		a.tell(c.Context(), &stream{w: w, control: http.NewResponseController(w)})
	}}, nil
}

func (a *api) tell(ctx context.Context, s *stream) {
	if s.open() != nil {
		return
	}
	changed, stop := a.o.Runs.Watch(ctx, "")
	defer stop()
	rest := time.NewTicker(changesApart)
	defer rest.Stop()
	for {
		if s.write([]byte("event: changed\ndata:\n\n")) != nil {
			return
		}
		select {
		case <-rest.C:
		case <-a.stopping:
			return
		case <-ctx.Done():
			return
		}
		select {
		case <-changed:
		case <-a.stopping:
			return
		case <-ctx.Done():
			return
		}
	}
}
