package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

const (
	heartbeat = 15 * time.Second
	eventTime = 30 * time.Second // for a client to take one event
)

type eventsInput struct {
	Call
	ID   string `path:"id" doc:"The run_id of a run"`
	Last string `header:"Last-Event-ID" doc:"The id of the last event received: the next one sent is newer"`
}

type eventsOutput struct{ Body func(huma.Context) }

func (a *api) eventRoute() {
	route(a, huma.Operation{
		OperationID: "events", Method: http.MethodGet, Path: "/v1/runs/{id}/events", Tags: []string{"runs"},
		Summary: "Follow a run live",
		Description: "Server-sent events named run; each holds the whole run, so one that was missed costs nothing. The id is the " +
			"number of steps the run has taken; a Last-Event-ID beyond it counts as none. The stream ends with the run; a client that returns after the " +
			"last event gets 204 and need not come again.",
		Responses: map[string]*huma.Response{
			"200": {Description: "The stream", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}}},
			"204": {Description: "The run has ended and the last event was received"},
		},
	}, a.events)
}

// events checks everything that can be refused before the first byte; after it
// the stream can only end.
func (a *api) events(ctx context.Context, in *eventsInput) (*eventsOutput, error) {
	run, err := a.visible(ctx, in.principal(), in.ID)
	if err != nil {
		return nil, err
	}
	last, err := strconv.Atoi(in.Last)
	if in.Last == "" {
		last = -1
	} else if err != nil || last < 0 {
		return nil, fault.Invalidf("events.last_id", "Last-Event-ID must be an id of this stream, a whole number")
	}
	if last > eventID(run) {
		last = -1 // not an event of this run, or of a database that was restored since: what it knows is worth nothing
	}
	if run.Status.Final() && last == eventID(run) {
		return &eventsOutput{Body: func(c huma.Context) { c.SetStatus(http.StatusNoContent) }}, nil
	}
	select {
	case a.streams <- struct{}{}:
	default:
		return nil, fault.New(fault.Unavailable, "events.busy", "as many runs are followed live as this process allows; poll the run instead", nil)
	}
	return &eventsOutput{Body: func(c huma.Context) {
		defer func() { <-a.streams }()
		_, w := humago.Unwrap(c)
		s := &stream{w: w, control: http.NewResponseController(w), last: last}
		a.follow(c.Context(), run.RunID, s)
	}}, nil
}

// follow sends the run whenever it differs from what was sent, until it is
// final, the client leaves or the server stops.
func (a *api) follow(ctx context.Context, id string, s *stream) {
	if s.open() != nil {
		return
	}
	changed, stop := a.o.Runs.Watch(ctx, id)
	defer stop()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		if run, err := a.o.Runs.Get(ctx, id); err == nil {
			if err := s.send(run); err != nil || run.Status.Final() {
				return
			}
		} // else the store is away: the next tick asks again
		select {
		case <-changed:
		case <-beat.C:
			if s.write([]byte(": still here\n\n")) != nil {
				return
			}
		case <-a.stopping:
			return
		case <-ctx.Done():
			return
		}
	}
}

// eventID counts the steps a run has taken.
func eventID(run flow.Run) int { return len(run.Progress) }

// stream is one client's events. A write error means that the client has gone.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	last    int    // id the client has; nothing up to it is sent first
	sent    []byte // the last state; nil before the first
}

func (s *stream) open() error {
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // a proxy that buffers would hold the news back
	s.w.WriteHeader(http.StatusOK)
	return s.write([]byte("retry: 1000\n\n"))
}

// send writes the run if it is news: newer than what the client had when it
// came, and different from what was sent since.
func (s *stream) send(run flow.Run) error {
	id := eventID(run)
	if s.sent == nil && id <= s.last {
		return nil
	}
	state, err := json.Marshal(whole(run))
	if err != nil || bytes.Equal(state, s.sent) {
		return err
	}
	s.sent = state
	event := append([]byte("event: run\nid: "+strconv.Itoa(id)+"\ndata: "), state...)
	return s.write(append(event, "\n\n"...))
}

func (s *stream) write(b []byte) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(eventTime)); err != nil {
		return err
	}
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	return s.control.Flush()
}
