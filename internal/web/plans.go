package web

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"patchbay/internal/flow"
)

type (
	// proposal is an action plan as pages show it.
	proposal struct {
		flow.ActionPlan
		Doc       proposed
		Was       *proposed // before a person changed it
		State     state
		Waits     bool
		Who       string // made it
		Actions   []flow.AdviseAction
		At, Clock time.Time
		Decided   *time.Time
	}

	// proposed is the plan itself, as package advice keeps it.
	proposed struct {
		State    string   `json:"state"`
		Action   string   `json:"action"`
		Title    string   `json:"title"`
		Reason   string   `json:"reason"`
		Evidence []string `json:"evidence"`
		Source   string   `json:"source"`
		Model    string   `json:"model"`
		Version  string   `json:"version"`
		Digest   string   `json:"digest"`
		Failure  string   `json:"failure"`
		Note     string   `json:"note"`
		Facts    flow.Row `json:"facts"`
	}
)

// What is the plan in a few words.
func (p proposed) What() string {
	switch {
	case p.State == flow.AdviceWithheld:
		return "Withheld"
	case p.Title != "":
		return p.Title
	}
	return p.Action
}

// Known are the facts that the plan was made of, by name.
func (p proposed) Known() (all []fact) {
	for name, v := range p.Facts {
		all = append(all, fact{name, cell(v)})
	}
	slices.SortFunc(all, func(a, b fact) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return all
}

var planStates = map[string]state{
	"due":        {"To be written", "running", icon("ring")},
	"review":     {"Waits for you", "parked", icon("pause")},
	"approved":   {"Approved", "running", icon("ring")},
	"rejected":   {"Rejected", "cancelled", icon("slash")},
	"superseded": {"Superseded", "cancelled", icon("dot")},
	"written":    {"Written", "completed", icon("tick")},
	"refused":    {"Refused", "failed", icon("cross")},
}

// plans is the page of action plans: those that wait for a person, or those of a flow,
// a run or a customer.
func (c *console) plans(w http.ResponseWriter, r *http.Request) error {
	if c.Plans == nil {
		return c.none()
	}
	if err := c.operating(r, "action plans"); err != nil {
		return err
	}
	q := r.URL.Query()
	f := flow.PlanFilter{Flow: q.Get("flow"), RunID: q.Get("run"), Key: q.Get("key"), State: q.Get("state"), Limit: 50}
	if !q.Has("state") && f.RunID == "" && f.Key == "" {
		f.State = "review"
	}
	if f.State == "all" {
		f.State = ""
	}
	if n, err := strconv.ParseInt(q.Get("before"), 10, 64); err == nil {
		f.Before = n
	}
	list, err := c.Plans.List(r.Context(), f)
	if err != nil {
		return err
	}
	applied, err := c.Flows.Flows(r.Context())
	if err != nil {
		return err
	}
	actions := map[string][]flow.AdviseAction{}
	var flows []string
	for _, a := range applied {
		if a.Plan.Advise != nil {
			actions[a.Plan.Flow] = a.Plan.Advise.Actions
			flows = append(flows, a.Plan.Flow)
		}
	}
	page := struct {
		List   []proposal
		Filter flow.PlanFilter
		Flows  []string
		Older  string
	}{Filter: f, Flows: flows}
	for _, p := range list {
		page.List = append(page.List, c.proposal(p, actions[p.Flow]))
	}
	if len(list) == f.Limit {
		q.Set("before", strconv.FormatInt(list[len(list)-1].ID, 10))
		page.Older = "/plans?" + q.Encode()
	}
	c.render(w, r, http.StatusOK, "plans", frame{Title: "Action plans", Nav: "plans", Page: page})
	return nil
}

func (c *console) proposal(p flow.ActionPlan, actions []flow.AdviseAction) proposal {
	out := proposal{ActionPlan: p, State: planStates[p.State], Waits: p.State == "review", Actions: actions, At: p.MadeAt, Clock: c.Now(), Decided: p.DecidedAt}
	_ = json.Unmarshal(p.Plan, &out.Doc) // what cannot be read is shown as empty
	if len(p.Proposed) > 0 {
		out.Was = &proposed{}
		_ = json.Unmarshal(p.Proposed, out.Was)
	}
	out.Who = "the flow's rules"
	if out.Doc.Source == flow.AdviceOfModel {
		out.Who = out.Doc.Model
		if out.Doc.Version != "" {
			out.Who += " " + out.Doc.Version
		}
	}
	return out
}

// Of is where the other plans of the customer are.
func (p proposal) Of() string {
	return "/plans?" + url.Values{"flow": {p.Flow}, "key": {p.Key}}.Encode()
}
