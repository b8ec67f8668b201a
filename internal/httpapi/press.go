package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/zap"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

const (
	defaultWait = 10 * time.Second
	maxWait     = 60 * time.Second
	maxKey      = 255
)

type pressInput struct {
	Call
	Flow     string `path:"flow" doc:"Name of an applied flow" example:"product-specs"`
	Key      string `header:"Idempotency-Key" doc:"1 to 255 printable ASCII characters. The same key with the same body is the same run, for 30 days; with another body it is 409 idem.reused."`
	Prefer   string `header:"Prefer" doc:"wait=N: hold the answer for up to N seconds (10, at most 60). respond-async: do not wait. What cannot be understood is ignored, as RFC 7240 asks; Preference-Applied says what was followed." example:"wait=20"`
	Priority string `header:"Priority" doc:"RFC 9218. An urgency above 3, as in u=5, says that nobody is waiting: the press goes after those of people who are" example:"u=5"`
	Wait     string `query:"wait" doc:"none: do not wait, and answer 201 with a plain Location instead of 202, for a client that would follow a 202 by itself and wants to show progress meanwhile"`
}

// runOutput is a run, with what a client needs to follow it.
type runOutput struct {
	Status     int
	Location   string `header:"Location" doc:"Where the run is. With 202 the address answers 202 again until there is an answer, then 200"`
	RetryAfter string `header:"Retry-After" doc:"Seconds until asking again is worth it; with 202"`
	Replayed   string `header:"Idempotency-Replayed" doc:"true when the key had been pressed before"`
	Applied    string `header:"Preference-Applied" doc:"The preference that was followed; absent when none was"`
	Body       flow.Run
}

// press starts a run and waits for its answer. Once Trigger has returned, the
// press is durable: whatever fails from there on, the answer is a 2xx (promise 1).
func (a *api) press(ctx context.Context, in *pressInput) (*runOutput, error) {
	key, err := idempotencyKey(in.r.Header)
	if err != nil {
		return nil, err
	}
	if in.Wait != "" && in.Wait != waitNone {
		return nil, badQuery("wait", "must be none, or absent")
	}
	values, err := params(in.r)
	if err != nil {
		return nil, err
	}
	run, err := a.o.Trigger.Press(ctx, flow.Press{
		Flow: in.Flow, Principal: in.principal().Name, Key: key, Params: values, Class: class(in.r.Header),
	})
	if err != nil {
		return nil, err
	}
	wait, applied := preferredWait(in.r.Header)
	if in.Wait == waitNone {
		wait, applied = 0, ""
	}
	replayed := run.Replayed
	run = a.await(ctx, run, wait, answered)
	out := reply(in.r, run, waitAnswer)
	if out.Status == http.StatusAccepted && in.Wait == waitNone {
		out.Status, out.Location, out.RetryAfter = http.StatusCreated, location(run.RunID), ""
	}
	if replayed {
		out.Replayed = "true"
	}
	out.Applied = applied
	return out, nil
}

// answered reports whether there is something to answer a press with.
func answered(run flow.Run) bool {
	return run.Status.Final() || run.AnsweredAt != nil || run.Result != nil
}

// reply is 200 when the run has come as far as wait asks, else 202 with the
// address to poll.
func reply(r *http.Request, run flow.Run, wait string) *runOutput {
	out := &runOutput{Status: http.StatusOK, Location: location(run.RunID), Body: whole(run)}
	if enough, _ := reached(wait); !enough(run) {
		out.Status, out.Location, out.RetryAfter = http.StatusAccepted, polling(r, run.RunID, wait), "1"
	}
	return out
}

// await returns the run as soon as it is enough, or as it is when the wait, the
// client or the server ends. A store that fails meanwhile costs nothing but
// freshness.
func (a *api) await(ctx context.Context, run flow.Run, wait time.Duration, enough func(flow.Run) bool) flow.Run {
	if enough(run) || wait <= 0 {
		return run
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	changed, stop := a.o.Runs.WatchAnswer(ctx, run.RunID)
	defer stop()
	for {
		began := time.Now()
		now, err := a.o.Runs.Get(ctx, run.RunID)
		switch {
		case err == nil:
			if away := a.away.over(began); away > 0 {
				a.log.Info("accepted runs can be read again", zap.Duration("away", away))
			}
			if run = now; enough(run) {
				return run
			}
		case ctx.Err() == nil && a.away.failed(began):
			a.log.Warn("accepted runs cannot be read; their callers wait on", zap.String("run", run.RunID), zap.Error(err))
		}
		select {
		case <-changed:
		case <-a.stopping:
			return run
		case <-ctx.Done():
			return run
		}
	}
}

// idempotencyKey reads the key, or "" where the client sent none.
func idempotencyKey(h http.Header) (string, error) {
	values, sent := h["Idempotency-Key"]
	if !sent {
		return "", nil
	}
	malformed := fault.Invalidf("idem.malformed",
		"the Idempotency-Key cannot be used; send it once, with 1 to %d printable ASCII characters", maxKey)
	if len(values) != 1 || values[0] == "" || len(values[0]) > maxKey {
		return "", malformed
	}
	for _, c := range []byte(values[0]) {
		if c < ' ' || c > '~' {
			return "", malformed
		}
	}
	return values[0], nil
}

// whole fills what JSON should show as an empty list rather than null.
func whole(run flow.Run) flow.Run {
	if run.Effects == nil {
		run.Effects = []flow.Effect{}
	}
	if run.Progress == nil {
		run.Progress = []flow.Step{}
	}
	if run.Result != nil && run.Result.Rows == nil {
		run.Result = &flow.Result{Rows: []flow.Row{}, Count: run.Result.Count}
	}
	return run
}

func pressOperation() huma.Operation {
	return huma.Operation{
		OperationID: "press", Method: http.MethodPost, Path: "/v1/flows/{flow}/runs", Tags: []string{"runs"},
		Summary: "Start a run of a flow",
		Description: "The body holds the flow's parameters; GET /v1/flows/{flow} lists them. 200: the answer exists and is " +
			"committed, a final failure included (status failed, with a problem). 202: accepted and durable, not answered " +
			"yet; poll Location, which answers in the same two ways. With wait=none a 201 takes the place of the 202.",
		Responses: map[string]*huma.Response{
			"200": {Description: "The run with its answer"},
			"201": {Description: "The run, accepted and not answered yet; wait=none was asked for"},
			"202": {Description: "The run, accepted and not answered yet"},
		},
	}
}

// pressBody documents the body of a press. The operation itself declares none:
// huma would then parse the body before the strict decoder sees it.
func pressBody() *huma.RequestBody {
	return &huma.RequestBody{
		Description: "Parameters of the flow",
		Content: map[string]*huma.MediaType{"application/json": {
			Schema:  &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true},
			Example: map[string]any{"product_id": "AS54888"},
		}},
	}
}
