package web

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"
	"time"

	"patchbay/internal/flow"
)

// referralsShown bounds the list of what waits, and of what was decided.
const referralsShown = 100

// referral is what rules left to a person, as pages show it.
type referral struct {
	flow.Referral
	State     state
	Title     string
	Until     string // how long there is to decide, or that it is over
	Stands    string // why the viewer cannot decide now, or can only decline
	Decides   bool   // the viewer may decide
	Approves  bool   // and may approve
	Second    bool   // somebody has approved, and it needs two
	At, Clock time.Time
}

func (c *console) referral(r flow.Referral, viewer string) referral {
	now := c.Now()
	out := referral{Referral: r, At: r.OpenedAt, Clock: now, Title: cmp.Or(r.Summary, r.Flow), State: state{"Waits for you", "parked", icon("pause")}}
	var spoken bool
	for _, o := range r.Opinions {
		spoken = spoken || o.By == viewer
		out.Second = out.Second || o.Decision == flow.Approve
	}
	left := r.DueAt.Sub(now)
	out.Until = "over since " + r.DueAt.UTC().Format("2 Jan 15:04 UTC")
	if left > 0 {
		out.Until = whole(left) + " left"
	}
	switch {
	case r.Decision != nil:
		out.State, out.At, out.Until = outcomeState(r.Decision.Outcome), r.Decision.At, ""
		return out
	case len(r.May) == 0:
		out.State, out.Stands = state{"Closed", "cancelled", icon("dot")}, "The time to decide is over, or the run has ended: nothing is decided about it here any more."
	case r.Barred(viewer):
		out.State, out.Stands = state{"For somebody else", "held", icon("clock")}, "You may not decide about this: the flow declares a conflict, such as being the applicant's adviser or having started the run."
	case spoken:
		out.State, out.Stands = state{"Waits for a second", "held", icon("clock")}, "You have approved. An approval of this needs two people, and the second has to be somebody else."
	default:
		out.Decides = true
		for _, may := range r.May {
			out.Approves = out.Approves || may == flow.Approve
		}
		if !out.Approves {
			out.Stands = "It can only be declined: a substitute stands for " + strings.Join(r.Ruling.Partial, ", ") + ", and what is partial is not approved. Otherwise the customer applies again when the source answers."
		}
		if out.Second {
			out.State.Word = "Waits for your second"
		}
	}
	return out
}

// Link is where it is decided.
func (r referral) Link() string { return "/reviews/" + url.PathEscape(r.RunID) }

// Why is the first reason why rules did not decide.
func (r referral) Why() string {
	if r.Decision != nil {
		return strings.Join(r.Decision.Reasons, " ")
	}
	return strings.Join(r.Ruling.Reasons, " ")
}

// whole is a time of days or hours, as one plans with it.
func whole(d time.Duration) string {
	if d < 48*time.Hour {
		return duration(d.Round(time.Minute))
	}
	return count(int(d/(24*time.Hour)), "day")
}

func outcomeState(o flow.Outcome) state {
	switch o {
	case flow.Approve:
		return state{"Approved", "completed", icon("tick")}
	case flow.Decline:
		return state{"Declined", "failed", icon("cross")}
	case flow.Expire:
		return state{"Expired", "cancelled", icon("clock")}
	case flow.Refuse, flow.Refer:
	}
	return state{sentence(string(o)), "cancelled", icon("slash")}
}

// queue is the page of what waits for a person, those that are due first, and of what was
// decided.
func (c *console) queue(w http.ResponseWriter, r *http.Request) error {
	if c.Referrals == nil {
		return c.none()
	}
	if err := c.operating(r, "reviews"); err != nil {
		return err
	}
	choose := flow.ReferralFilter{Flow: r.URL.Query().Get("flow"), State: "open", Limit: referralsShown}
	if r.URL.Query().Get("state") == "decided" {
		choose.State = "decided"
	}
	list, err := c.Referrals.Referrals(r.Context(), choose)
	if err != nil {
		return err
	}
	applied, err := c.Flows.Flows(r.Context())
	if err != nil {
		return err
	}
	page := struct {
		List   []referral
		Filter flow.ReferralFilter
		Flows  []string
		Cut    bool
	}{Filter: choose, Cut: len(list) == referralsShown}
	for _, a := range applied {
		if a.Plan.Pattern == flow.Hybrid {
			page.Flows = append(page.Flows, a.Plan.Flow)
		}
	}
	for _, one := range list {
		page.List = append(page.List, c.referral(one, c.Principal(r).Name))
	}
	c.render(w, r, http.StatusOK, "reviews", frame{Title: "Reviews", Nav: "reviews", Page: page})
	return nil
}

// review is the page of one, with all that a person needs to decide.
func (c *console) review(w http.ResponseWriter, r *http.Request) error {
	if c.Referrals == nil {
		return c.none()
	}
	if err := c.operating(r, "reviews"); err != nil {
		return err
	}
	found, err := c.Referrals.Referral(r.Context(), r.PathValue("run"))
	if err != nil {
		return err
	}
	one := c.referral(found, c.Principal(r).Name)
	c.render(w, r, http.StatusOK, "review", frame{Title: one.Title, Nav: "reviews", Page: struct {
		referral
		Picture picture
	}{one, pictureOf(one)}})
	return nil
}

// judges reports whether a flow leaves decisions to people whom the viewer is one of.
func (c *console) judges(r *http.Request) bool {
	if c.Referrals == nil || !c.operates(r) {
		return false
	}
	applied, err := c.Flows.Flows(r.Context())
	if err != nil {
		return false
	}
	for _, a := range applied {
		if a.Plan.Pattern == flow.Hybrid {
			return true
		}
	}
	return false
}
