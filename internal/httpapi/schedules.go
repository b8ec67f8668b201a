package httpapi

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

type (
	// Schedules knows schedules and what became of their slots. A flow without a schedule
	// is a NotFound fault.
	Schedules interface {
		Rhythms(ctx context.Context) ([]flow.Rhythm, error)
		Rhythm(ctx context.Context, name string) (flow.Rhythm, error)
		Slots(ctx context.Context, name string, from, to time.Time, limit int) ([]flow.Slot, error)
	}

	// Keeper pauses schedules, has them go on, and has missing slots run.
	Keeper interface {
		Hold(ctx context.Context, name, by, reason string) (flow.Rhythm, error)
		Resume(ctx context.Context, name, by string) (flow.Rhythm, error)
		Backfill(ctx context.Context, b flow.Backfill) (flow.Backfilled, error)
	}

	rhythmOutput struct{ Body flow.Rhythm }

	rhythmsOutput struct {
		Body struct {
			Schedules []flow.Rhythm `json:"schedules" doc:"By the name of the flow"`
		}
	}

	slotsInput struct {
		Call
		Flow  string `path:"flow" doc:"Name of an applied flow"`
		Since string `query:"since" doc:"Slots of then or later: a time, or how long ago, such as 24h; where absent a day ago"`
		Until string `query:"until" doc:"Slots up to then; where absent now"`
		Limit string `query:"limit" doc:"At most so many, 1 to 200; 50 where absent"`
	}

	slotsOutput struct {
		Body struct {
			Slots []flow.Slot `json:"slots" doc:"The oldest first"`
		}
	}

	holdBody struct {
		Reason string `json:"reason" doc:"Why it is held, in a sentence; it is shown with each slot of the pause"`
	}

	backfillBody struct {
		From string   `json:"from" doc:"The first slot that may be taken: a time, or how long ago, such as 24h"`
		To   string   `json:"to,omitempty" doc:"The last one; where absent now"`
		Also []string `json:"also,omitempty" doc:"Outcomes that count as missing too: paused, skipped: overlap"`
		Plan bool     `json:"plan,omitempty" doc:"Say what would be started and start nothing"`
	}

	backfillOutput struct{ Body flow.Backfilled }
)

func (a *api) scheduleRoutes() {
	if a.o.Schedules == nil {
		return
	}
	tags := []string{"schedules"}
	route(a, huma.Operation{OperationID: "schedules", Method: http.MethodGet, Path: "/v1/schedules", Tags: tags,
		Summary: "All schedules: what comes next and what became of the slots of the last week"}, a.rhythms)
	route(a, huma.Operation{OperationID: "schedule", Method: http.MethodGet, Path: "/v1/flows/{flow}/schedule", Tags: tags, Summary: "The schedule of a flow"}, a.rhythm)
	route(a, huma.Operation{OperationID: "slots", Method: http.MethodGet, Path: "/v1/flows/{flow}/slots", Tags: tags,
		Summary:     "What became of each time of a schedule",
		Description: "Each has one outcome: expected, running, ran, late, skipped: overlap, missed, paused, or holiday for the first of a day that a holiday leaves out."}, a.slots)
	asked(a, huma.Operation{OperationID: "hold", Method: http.MethodPost, Path: "/v1/flows/{flow}/hold", Tags: tags,
		Summary: "Pause the schedule of a flow", Description: "No slot starts from then on; what is open goes on. For the roles operate and admin."}, holdBody{}, a.hold)
	route(a, huma.Operation{OperationID: "resume", Method: http.MethodPost, Path: "/v1/flows/{flow}/resume", Tags: tags,
		Summary: "Have the schedule of a flow go on", Description: "The slots of the pause stay paused; a backfill may take them."}, a.resume)
	asked(a, huma.Operation{OperationID: "backfill", Method: http.MethodPost, Path: "/v1/flows/{flow}/backfill", Tags: tags,
		Summary: "Run the slots that are missing", Description: "Those between two times, both included, that were missed or that nobody expected, and no others. " +
			"They run one after the other, or together where the flow lets its runs overlap; at most 500 at once."}, backfillBody{}, a.backfill)
}

// asked is route for an operation of a flow whose body the handler reads by itself.
func asked[O any](a *api, op huma.Operation, body any, handle func(context.Context, *flowInput) (*O, error)) {
	route(a, op, handle)
	a.huma.OpenAPI().Paths[op.Path].Post.RequestBody = &huma.RequestBody{
		Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(body), true, "")}},
	}
}

func (a *api) rhythms(ctx context.Context, in *struct{ Call }) (*rhythmsOutput, error) {
	if err := operator(in.principal(), "schedules"); err != nil {
		return nil, err
	}
	list, err := a.o.Schedules.Rhythms(ctx)
	out := &rhythmsOutput{}
	out.Body.Schedules = list
	return out, err
}

func (a *api) rhythm(ctx context.Context, in *flowInput) (*rhythmOutput, error) {
	if err := operator(in.principal(), "schedules"); err != nil {
		return nil, err
	}
	r, err := a.o.Schedules.Rhythm(ctx, in.Flow)
	return &rhythmOutput{r}, err
}

func (a *api) slots(ctx context.Context, in *slotsInput) (*slotsOutput, error) {
	if err := operator(in.principal(), "schedules"); err != nil {
		return nil, err
	}
	since, err := moment("since", in.Since)
	if err != nil {
		return nil, err
	}
	until, err := moment("until", in.Until)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize(in.Limit)
	if err != nil {
		return nil, err
	}
	if until.IsZero() {
		until = time.Now()
	}
	if since.IsZero() {
		since = until.Add(-24 * time.Hour)
	}
	if _, err := a.o.Schedules.Rhythm(ctx, in.Flow); err != nil {
		return nil, err
	}
	out := &slotsOutput{}
	out.Body.Slots, err = a.o.Schedules.Slots(ctx, in.Flow, since, until, limit)
	return out, err
}

func (a *api) hold(ctx context.Context, in *flowInput) (*rhythmOutput, error) {
	var body holdBody
	if err := a.operatorBody(in, &body); err != nil {
		return nil, err
	}
	if why := strings.TrimSpace(body.Reason); why == "" || len(why) > 500 {
		return nil, fault.Invalidf("params.invalid", "say in reason why the schedule is held, in 1 to 500 bytes").
			With(fault.Field{Path: "/reason", Code: "field.required", Detail: "reason is missing or too long", Fix: "give a sentence"})
	}
	r, err := a.o.Keeper.Hold(ctx, in.Flow, in.principal().Name, strings.TrimSpace(body.Reason))
	return &rhythmOutput{r}, err
}

func (a *api) resume(ctx context.Context, in *flowInput) (*rhythmOutput, error) {
	if err := operator(in.principal(), "schedules"); err != nil {
		return nil, err
	}
	r, err := a.o.Keeper.Resume(ctx, in.Flow, in.principal().Name)
	return &rhythmOutput{r}, err
}

func (a *api) operatorBody(in *flowInput, into any) error {
	if err := operator(in.principal(), "schedules"); err != nil {
		return err
	}
	return letterBody(in.Call, into)
}

func (a *api) backfill(ctx context.Context, in *flowInput) (*backfillOutput, error) {
	var body backfillBody
	if err := a.operatorBody(in, &body); err != nil {
		return nil, err
	}
	b := flow.Backfill{Flow: in.Flow, By: in.principal().Name, Plan: body.Plan}
	var ok bool
	if b.From, ok = flow.Moment(body.From, time.Now()); !ok {
		return nil, badMoment("/from")
	}
	if b.To = time.Now(); body.To != "" {
		if b.To, ok = flow.Moment(body.To, time.Now()); !ok {
			return nil, badMoment("/to")
		}
	}
	for _, also := range body.Also {
		switch o := flow.SlotOutcome(also); o {
		case flow.SlotPaused, flow.SlotOverlap, flow.SlotStopped:
			b.Besides = append(b.Besides, o)
		default:
			return nil, fault.Invalidf("params.invalid", "only slots that are paused or skipped: overlap may count as missing too").
				With(fault.Field{Path: "/also", Code: "field.enum", Detail: "is neither paused nor skipped: overlap", Fix: "leave it out"})
		}
	}
	done, err := a.o.Keeper.Backfill(ctx, b)
	if done.Slots == nil {
		done.Slots = []time.Time{}
	}
	return &backfillOutput{done}, err
}

func badMoment(path string) error {
	return fault.Invalidf("params.invalid", "%s is not a time", strings.TrimPrefix(path, "/")).
		With(fault.Field{Path: path, Code: "field.format", Detail: "is not a time", Fix: "give a time like 2026-01-31T10:00:00Z, or how long ago, such as 15m, 24h, 7d"})
}
