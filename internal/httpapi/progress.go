package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

type (
	// Progress is a run at a glance: flat and of one size, for an app that asks
	// once a second and shows a bar, a line of text and a button to cancel.
	Progress struct {
		RunID      string      `json:"run_id"`
		Flow       string      `json:"flow"`
		Status     flow.Status `json:"status"`
		Step       string      `json:"step" doc:"The last step it reached: accepted, reading, answered, writing, closed"`
		Percent    int         `json:"percent" doc:"For a bar. It counts steps, not time"`
		Message    string      `json:"message" doc:"Where it stands, in words for the person who waits"`
		Answered   bool        `json:"answered" doc:"There is a result, or there never will be: rows and problem can be shown"`
		Final      bool        `json:"final" doc:"Nothing will change any more: asking again is of no use"`
		Cancelling bool        `json:"cancelling" doc:"Sealed; a write that had begun is not settled yet"`
		Count      int         `json:"count" doc:"Rows of the result"`
		InDoubt    int         `json:"in_doubt" doc:"Writes of which nobody knows whether they took effect"`
		Code       string      `json:"code" doc:"Code of the problem of a failed run; else empty"`
		Retry      bool        `json:"retry" doc:"Failed, and pressing again may help"`
		Elapsed    float64     `json:"elapsed_seconds" doc:"Since it was accepted, until it ended"`
	}

	// Rows is the result of a run for hosts that have to know every column before
	// they can read one: the rows as the text of a JSON array.
	Rows struct {
		RunID    string `json:"run_id"`
		Answered bool   `json:"answered" doc:"false: there is no result yet"`
		Count    int    `json:"count"`
		Text     string `json:"rows_json" doc:"The rows as text: a JSON array of objects, [] while there are none"`
	}
)

type progressOutput struct{ Body Progress }

type rowsOutput struct{ Body Rows }

func (a *api) progressRoutes() {
	route(a, huma.Operation{
		OperationID: "progress", Method: http.MethodGet, Path: "/v1/runs/{id}/progress", Tags: []string{"runs"},
		Summary:     "One run at a glance",
		Description: "For a progress indicator that polls. A client that can keep a stream open follows the events instead.",
	}, func(ctx context.Context, in *runInput) (*progressOutput, error) {
		run, err := a.visible(ctx, in.principal(), in.ID)
		if err != nil {
			return nil, err
		}
		return &progressOutput{Body: glance(run, time.Now())}, nil
	})
	route(a, huma.Operation{
		OperationID: "rows", Method: http.MethodGet, Path: "/v1/runs/{id}/rows", Tags: []string{"runs"},
		Summary:     "The rows of a run, as text",
		Description: "The rows of the result as the text of a JSON array, for ParseJSON of a Power App; GET /v1/runs/{id} has them as JSON.",
	}, func(ctx context.Context, in *runInput) (*rowsOutput, error) {
		run, err := a.visible(ctx, in.principal(), in.ID)
		if err != nil {
			return nil, err
		}
		body := Rows{RunID: run.RunID, Answered: answered(run), Text: "[]"}
		if run.Result != nil && len(run.Result.Rows) > 0 {
			text, err := json.Marshal(run.Result.Rows)
			if err != nil {
				return nil, fault.New(fault.Bug, "bug", "the rows cannot be encoded", err)
			}
			body.Count, body.Text = run.Result.Count, string(text)
		}
		return &rowsOutput{Body: body}, nil
	})
}

// percents is how far along a step is, for a bar.
var percents = map[string]int{"accepted": 5, "reading": 20, "answered": 60, "writing": 75, "closed": 100}

func glance(run flow.Run, now time.Time) Progress {
	p := Progress{
		RunID: run.RunID, Flow: run.Flow, Status: run.Status, Answered: answered(run), Final: run.Status.Final(),
		Cancelling: run.Cancelling,
	}
	if n := len(run.Progress); n > 0 {
		p.Step = run.Progress[n-1].Name
	}
	p.Percent = percents[p.Step]
	if p.Final {
		p.Percent = 100
	}
	if run.Result != nil {
		p.Count = run.Result.Count
	}
	for _, e := range run.Effects {
		if e.State == flow.Doubtful {
			p.InDoubt++
		}
	}
	if run.Problem != nil {
		p.Code, p.Retry = run.Problem.Code, run.Problem.Retry
	}
	if run.ClosedAt != nil {
		now = *run.ClosedAt
	}
	p.Elapsed = max(0, now.Sub(run.AcceptedAt).Round(time.Millisecond).Seconds())
	p.Message = message(run, p)
	return p
}

// message says where the run stands to somebody who knows nothing of steps.
func message(run flow.Run, p Progress) string {
	var text string
	switch {
	case run.Status == flow.Completed:
		text = "Done"
	case run.Status == flow.Cancelled:
		text = "Cancelled"
	case run.Status == flow.Failed && run.Problem != nil:
		text = run.Problem.Detail
	case run.Status == flow.Failed:
		text = "Failed"
	case run.Cancelling:
		return "Cancelling"
	case run.Waiting != "":
		return run.Waiting
	case run.Status == flow.Parked:
		return "Waiting for a person"
	case p.Step == "reading":
		return "Reading"
	case p.Step == "answered":
		return "Answered"
	case p.Step == "writing":
		return "Writing"
	default:
		return "Accepted"
	}
	switch p.InDoubt {
	case 0:
		return text
	case 1:
		return text + "; nobody knows of one write whether it took effect"
	default:
		return text + fmt.Sprintf("; nobody knows of %d writes whether they took effect", p.InDoubt)
	}
}
