package httpapi

import (
	"context"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/strictjson"
)

// mostLetters bounds the dead letters that one request decides on.
const mostLetters = 100

// Dead knows the dead letters and decides on them. A run that never was one is a
// NotFound fault that says why; one that was redriven already a Conflict.
type Dead interface {
	Letters(ctx context.Context, filter flow.LetterFilter) (letters []flow.Letter, next string, err error)
	Letter(ctx context.Context, runID string) (flow.Letter, error)
	Redrive(ctx context.Context, in flow.Redrive) (flow.Redriven, error)
	Dismiss(ctx context.Context, runID, by, why string) error
}

type (
	lettersInput struct {
		Call
		Flow   string `query:"flow" doc:"Only letters of this flow"`
		Reason string `query:"reason" doc:"Only letters with this final reason, such as rejected or deadline, or with this code, such as write.refused"`
		State  string `query:"state" doc:"dead (where absent), redriven or dismissed"`
		Since  string `query:"since" doc:"Died then or later: a time like 2026-01-31T10:00:00Z, or how long ago, such as 15m, 24h, 7d"`
		Until  string `query:"until" doc:"Died before: as since"`
		Order  string `query:"order" doc:"newest (where absent) or oldest first"`
		Before string `query:"before" doc:"The next of the page before"`
		Limit  string `query:"limit" doc:"Letters on a page: 1 to 200, 50 where absent"`
	}

	lettersOutput struct {
		Body struct {
			Letters []flow.Letter `json:"letters"`
			Next    string        `json:"next" doc:"Send as before to get the next page; empty on the last"`
		}
	}

	letterInput struct {
		Call
		ID string `path:"id" doc:"The run_id of a run that failed" example:"mzxw6ytboi2gk3tuobqwg2dcmf"`
	}

	letterOutput struct {
		Body struct {
			flow.Letter
			Account flow.Account `json:"account" doc:"The run step by step, with its effects and what can be done about each"`
		}
	}

	redriveBody struct {
		Runs    []string       `json:"runs" doc:"run_ids of dead letters, 1 to 100"`
		Set     map[string]any `json:"set,omitempty" doc:"Parameters in the place of those of the letter; null gives one up. A new run is made under the plan in force"`
		Current bool           `json:"current,omitempty" doc:"Make a new run under the plan in force, whatever the parameters"`
		Plan    bool           `json:"plan,omitempty" doc:"Say what would be done and do nothing"`
	}

	dismissBody struct {
		Runs   []string `json:"runs" doc:"run_ids of dead letters, 1 to 100"`
		Reason string   `json:"reason" doc:"Why nothing more has to be done, in a sentence"`
	}

	// Decided is what became of one letter.
	Decided struct {
		RunID    string         `json:"run_id"`
		Outcome  string         `json:"outcome" enum:"redriven,planned,dismissed,refused"`
		Redriven *flow.Redriven `json:"redrive,omitempty"`
		Code     string         `json:"code,omitempty" doc:"Why it was refused"`
		Detail   string         `json:"detail,omitempty"`
		Retry    bool           `json:"retry,omitempty" doc:"The same may be done later: so much of the flow waits that presses would be turned away"`
	}

	decidedOutput struct {
		Body struct {
			Results []Decided `json:"results" doc:"One for each run, in the order they were given"`
		}
	}
)

func (a *api) deadRoutes() {
	route(a, huma.Operation{
		OperationID: "letters", Method: http.MethodGet, Path: "/v1/dead", Tags: []string{"dead letters"},
		Summary: "Dead letters",
		Description: "A run that failed for good is a dead letter until it is redriven or dismissed. One whose caller asked for what does " +
			"not exist (source.not_found) is none. For the roles operate and admin.",
	}, a.letters)
	route(a, huma.Operation{
		OperationID: "letter", Method: http.MethodGet, Path: "/v1/dead/{id}", Tags: []string{"dead letters"},
		Summary: "One dead letter, with what it has done and what can be done about it",
	}, a.letter)
	decide(a, "redrive", "Accept dead letters again",
		"Each as the same run, under the plan it is bound to: what is confirmed is not sent again, what is in doubt is read back first, "+
			"what was refused is sent again. With set or current as a new run under the plan in force, linked to the letter. Of two "+
			"requests at once one redrives. Many stand behind what people wait for, and take half of a flow's queue at most.",
		redriveBody{}, a.redrive)
	decide(a, "dismiss", "Put dead letters aside",
		"They stay to be found, with the reason and who gave it. Redriving one by its run_id is still possible.",
		dismissBody{}, a.dismiss)
}

// decide registers an operation on letters.
func decide(a *api, name, summary, description string, body any, handle func(context.Context, *struct{ Call }) (*decidedOutput, error)) {
	bodied(a, huma.Operation{OperationID: name, Method: http.MethodPost, Path: "/v1/dead/" + name, Tags: []string{"dead letters"},
		Summary: summary, Description: description}, body, handle)
}

// bodied registers an operation whose body is read by the strict decoder, so huma must
// not see it.
func bodied[I, O any](a *api, op huma.Operation, body any, handle func(context.Context, *I) (*O, error)) {
	route(a, op, handle)
	a.huma.OpenAPI().Paths[op.Path].Post.RequestBody = a.body(body)
}

// body documents a body that a route reads itself.
func (a *api) body(body any) *huma.RequestBody {
	return &huma.RequestBody{
		Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(body), true, "")}},
	}
}

func (a *api) letters(ctx context.Context, in *lettersInput) (*lettersOutput, error) {
	if err := operator(in.principal(), "dead letters"); err != nil {
		return nil, err
	}
	f := flow.LetterFilter{Flow: in.Flow, Reason: in.Reason, State: flow.LetterState(in.State), Cursor: in.Before, Oldest: in.Order == "oldest", Limit: defaultPage}
	if !slices.Contains([]flow.LetterState{"", flow.LetterDead, flow.LetterRedriven, flow.LetterDismissed}, f.State) {
		return nil, badQuery("state", "is none of dead, redriven, dismissed")
	}
	if !slices.Contains([]string{"", "newest", "oldest"}, in.Order) {
		return nil, badQuery("order", "must be newest or oldest")
	}
	var err error
	if f.Since, err = moment("since", in.Since); err != nil {
		return nil, err
	}
	if f.Until, err = moment("until", in.Until); err != nil {
		return nil, err
	}
	if f.Limit, err = pageSize(in.Limit); err != nil {
		return nil, err
	}
	letters, next, err := a.o.Dead.Letters(ctx, f)
	if err != nil {
		return nil, err
	}
	out := &lettersOutput{}
	out.Body.Letters, out.Body.Next = letters, next
	if letters == nil {
		out.Body.Letters = []flow.Letter{}
	}
	return out, nil
}

func (a *api) letter(ctx context.Context, in *letterInput) (*letterOutput, error) {
	if err := operator(in.principal(), "dead letters"); err != nil {
		return nil, err
	}
	letter, err := a.o.Dead.Letter(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	run, err := a.o.Runs.Get(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := &letterOutput{}
	out.Body.Letter, out.Body.Account = letter, flow.AccountOf(run, letter.State)
	return out, nil
}

func (a *api) redrive(ctx context.Context, in *struct{ Call }) (*decidedOutput, error) {
	var body redriveBody
	if err := letterBody(in.Call, &body); err != nil {
		return nil, err
	}
	by := in.principal().Name
	return eachLetter(body.Runs, func(id string) (Decided, error) {
		got, err := a.o.Dead.Redrive(ctx, flow.Redrive{RunID: id, By: by, Set: body.Set, Current: body.Current, Bulk: len(body.Runs) > 1, Plan: body.Plan})
		if body.Plan {
			return Decided{Outcome: "planned", Redriven: &got}, err
		}
		return Decided{Outcome: "redriven", Redriven: &got}, err
	})
}

func (a *api) dismiss(ctx context.Context, in *struct{ Call }) (*decidedOutput, error) {
	var body dismissBody
	if err := letterBody(in.Call, &body); err != nil {
		return nil, err
	}
	why, err := because(body.Reason)
	if err != nil {
		return nil, err
	}
	by := in.principal().Name
	return eachLetter(body.Runs, func(id string) (Decided, error) {
		return Decided{Outcome: "dismissed"}, a.o.Dead.Dismiss(ctx, id, by, why)
	})
}

// letterBody reads the body of an operator.
func letterBody(c Call, into any) error {
	if err := operator(c.principal(), "dead letters"); err != nil {
		return err
	}
	return jsonBody(c, into)
}

// jsonBody reads a body of JSON.
func jsonBody(c Call, into any) error {
	if media := c.r.Header.Values("Content-Type"); len(media) != 1 || !isJSON(media[0]) {
		return fault.New(fault.Invalid, "body.media_type", "send the body with Content-Type: application/json", nil)
	}
	raw, err := io.ReadAll(c.r.Body)
	if err != nil {
		return fault.New(fault.Bug, "bug", "the body was read by somebody else", err)
	}
	return strictjson.Unmarshal(raw, into)
}

// eachLetter decides on letters one by one. What one is refused for is its own,
// unless it is that nobody can be served now.
func eachLetter(ids []string, one func(id string) (Decided, error)) (*decidedOutput, error) {
	if len(ids) == 0 || len(ids) > mostLetters {
		return nil, fault.Invalidf("params.invalid", "name 1 to %d runs, not %d", mostLetters, len(ids)).
			With(fault.Field{Path: "/runs", Code: "field.range", Detail: "must name 1 to 100 runs", Fix: "send the rest in another request"})
	}
	out := &decidedOutput{}
	for n, id := range ids {
		got, err := one(id)
		if got.RunID = id; err != nil {
			f := fault.Of(err)
			if (f.Class == fault.Unavailable || f.Class == fault.InDoubt || f.Class == fault.Bug) && n == 0 {
				return nil, err
			}
			got = Decided{RunID: id, Outcome: "refused", Code: f.Code, Detail: f.Text, Retry: f.Retryable() || f.Class == fault.InDoubt}
		}
		out.Body.Results = append(out.Body.Results, got)
	}
	return out, nil
}

// operator refuses who may not see what others did.
func operator(p flow.Principal, what string) error {
	if operates(p) {
		return nil
	}
	return fault.New(fault.Unauthorized, "auth.forbidden", what+" need a key of role operate", nil)
}

// moment reads a query parameter that is a time; empty is none.
func moment(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, ok := flow.Moment(text, time.Now())
	if !ok {
		return time.Time{}, badQuery(name, "must be a time like 2026-01-31T10:00:00Z, or how long ago, such as 15m, 24h, 7d")
	}
	return at, nil
}

func pageSize(text string) (int, error) {
	if text == "" {
		return defaultPage, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxPage {
		return 0, badQuery("limit", "must be a whole number from 1 to 200")
	}
	return n, nil
}
