package httpapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// Referrals keeps what rules left to people; see decision.Decisions for its faults, which are
// review.….
type Referrals interface {
	Referral(ctx context.Context, runID string) (flow.Referral, error)
	Referrals(ctx context.Context, f flow.ReferralFilter) ([]flow.Referral, error)
	Opine(ctx context.Context, runID string, o flow.Opinion) (flow.Referral, error)
}

type (
	referralsInput struct {
		Call
		Flow  string `query:"flow" doc:"Only referrals of this flow"`
		State string `query:"state" enum:"open,decided" default:"open" doc:"Open ones, those that are due first, or decided ones, the newest first"`
		Limit string `query:"limit" doc:"How many at most, from 1 to 500; default 50"`
	}

	referralsOutput struct {
		Body struct {
			Reviews []flow.Referral `json:"reviews"`
		}
	}

	referralInput struct {
		Call
		Run string `path:"run" doc:"run_id of the run that waits"`
	}

	referralOutput struct{ Body flow.Referral }

	// opinionBody is what a person sends.
	opinionBody struct {
		Decision flow.Outcome `json:"decision" enum:"approve,decline" doc:"What you decide"`
		Reason   string       `json:"reason" doc:"Why, in words for the customer; 1 to 500 bytes"`
	}
)

func (a *api) referralRoutes() {
	if a.o.Referrals == nil {
		return
	}
	tags := []string{"reviews"}
	route(a, huma.Operation{
		OperationID: "reviews", Method: http.MethodGet, Path: "/v1/reviews", Tags: tags, Summary: "What rules left to people",
		Description: "Each with all that a person needs to decide: what was collected and where from, what was computed, why the rules did not decide, who may not, " +
			"until when, and what is possible. For the roles operate and admin.",
	}, a.referrals)
	route(a, huma.Operation{
		OperationID: "review", Method: http.MethodGet, Path: "/v1/reviews/{run}", Tags: tags, Summary: "One of them",
	}, a.referral)
	bodied(a, huma.Operation{
		OperationID: "decide-review", Method: http.MethodPost, Path: "/v1/reviews/{run}", Tags: tags, Summary: "Decide",
		Description: "Who decides is who asks. A decline decides at once; so does an approval, unless it needs two people: then the second one does. The same request again " +
			"changes nothing. 409: it is decided already (review.decided), too late (review.late), cancelled (review.closed), a substitute stands for a source, so that it " +
			"cannot be approved (review.partial), or you have spoken before (review.twice). 403: you may not decide (review.conflict).",
	}, opinionBody{}, a.opine)
}

func (a *api) referrals(ctx context.Context, in *referralsInput) (*referralsOutput, error) {
	if err := operator(in.principal(), "reviews"); err != nil {
		return nil, err
	}
	limit, err := number("limit", in.Limit, 50, 500)
	if err != nil {
		return nil, err
	}
	out := &referralsOutput{}
	list, err := a.o.Referrals.Referrals(ctx, flow.ReferralFilter{Flow: in.Flow, State: in.State, Limit: limit})
	out.Body.Reviews = listed(list)
	return out, err
}

func (a *api) referral(ctx context.Context, in *referralInput) (*referralOutput, error) {
	if err := operator(in.principal(), "reviews"); err != nil {
		return nil, err
	}
	r, err := a.o.Referrals.Referral(ctx, in.Run)
	return &referralOutput{r}, err
}

func (a *api) opine(ctx context.Context, in *referralInput) (*referralOutput, error) {
	if err := operator(in.principal(), "reviews"); err != nil {
		return nil, err
	}
	var body opinionBody
	if err := jsonBody(in.Call, &body); err != nil {
		return nil, err
	}
	body.Reason = strings.TrimSpace(body.Reason)
	var wrong []fault.Field
	if body.Decision != flow.Approve && body.Decision != flow.Decline {
		wrong = append(wrong, fault.Field{Path: "/decision", Code: "field.enum", Detail: "must be approve or decline", Fix: "choose one of them"})
	}
	if body.Reason == "" || len(body.Reason) > 500 {
		wrong = append(wrong, fault.Field{Path: "/reason", Code: "field.required", Detail: "reason is missing or too long", Fix: "give a sentence of 1 to 500 bytes"})
	}
	if len(wrong) > 0 {
		return nil, fault.Invalidf("params.invalid", "say in decision what you decide, and in reason why").With(wrong...)
	}
	r, err := a.o.Referrals.Opine(ctx, in.Run, flow.Opinion{By: in.principal().Name, Decision: body.Decision, Reason: body.Reason})
	return &referralOutput{r}, err
}
