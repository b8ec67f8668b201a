package web

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"patchbay/internal/flow"
)

type (
	// trouble is events of one cause, as lists show them.
	trouble struct {
		flow.Trouble
		State     state
		What      string // why, as a sentence
		About     string // what the sample is of, by its key or record
		At, Clock time.Time
	}

	// business is a business event that a person has to decide on.
	business struct {
		flow.TopicEvent
		State     state
		What      string
		At, Clock time.Time
	}

	// alert is something that is wrong, for the home page.
	alert struct {
		flow.Alert
		State     state
		Address   string
		Much      string // in place of how many times it happened
		At, Clock time.Time
	}
)

// Count64 is Count as templates say it.
func (t trouble) Count64() int { return int(t.Count) }

// Count64 is Count as templates say it.
func (a alert) Count64() int { return int(a.Count) }

func (c *console) troubles(r *http.Request, choose flow.TroubleFilter) ([]trouble, error) {
	if c.Events == nil || !c.operates(r) {
		return nil, nil
	}
	list, err := c.Events.Troubles(r.Context(), choose)
	if err != nil {
		return nil, err
	}
	all := make([]trouble, len(list))
	for i, t := range list {
		all[i] = trouble{Trouble: t, State: state{"Rejected", "failed", icon("cross")}, What: sentence(t.Detail), About: cmp.Or(t.Sample.Key, t.Sample.Record),
			At: t.Last, Clock: c.Now()}
		if t.Reason == flow.EventDead {
			all[i].State = state{"Dead", "failed", icon("dead")}
		}
	}
	return all, nil
}

// businessShown bounds the business events of a page.
const businessShown = 100

// business are the business events that expired or are dead, the newest first.
func (c *console) business(r *http.Request) ([]business, error) {
	if c.Topics == nil {
		return nil, nil
	}
	list, err := c.Topics.List(r.Context(), flow.TopicFilter{Undecided: true, Limit: businessShown})
	all := make([]business, len(list))
	for i, e := range list {
		all[i] = business{TopicEvent: e, State: state{"Expired", "late", icon("clock")}, What: sentence(e.Why), At: e.ReceivedAt, Clock: c.Now()}
		for _, s := range e.Started {
			if s.Problem != nil {
				all[i].State, all[i].What = state{"Dead", "failed", icon("dead")}, "It could not start "+s.Flow+": "+s.Problem.Detail+"."
			}
		}
	}
	return all, err
}

// alerts are what is wrong and nobody can see elsewhere on the home page, the oldest
// first.
func (c *console) alerts(r *http.Request) ([]alert, error) {
	if c.Alerts == nil || !c.operates(r) {
		return nil, nil
	}
	list, err := c.Alerts.Open(r.Context())
	if err != nil {
		return nil, err
	}
	all := make([]alert, 0, len(list))
	for _, a := range list {
		if a.Code == "sync.held" {
			continue // each held conflict is there already
		}
		one := alert{Alert: a, State: state{"Alert", "failed", icon("bell")}, Address: a.Link, At: a.First, Clock: c.Now()}
		if !strings.HasPrefix(a.Link, "/") {
			one.Address = "/"
		}
		switch {
		case a.Kind == "credentials":
			one.State = state{"Ends soon", "late", icon("clock")}
		case a.Kind == "drift":
			one.State = state{"Drift", "failed", icon("graph")}
		case a.Kind == "spike":
			one.State = state{"Spike", "held", icon("clock")}
		case strings.HasPrefix(a.Code, "sync.lag:"):
			one.State = linkLate
		}
		all = append(all, one)
	}
	slices.SortStableFunc(all, func(a, b alert) int { return a.At.Compare(b.At) })
	return all, nil
}

// deadEvents is the page of the events that wait for a person.
func (c *console) deadEvents(w http.ResponseWriter, r *http.Request) error {
	if c.Events == nil {
		return c.none()
	}
	if err := c.operating(r, "dead events"); err != nil {
		return err
	}
	name := r.URL.Query().Get("flow")
	list, err := c.troubles(r, flow.TroubleFilter{Flow: name})
	if err != nil {
		return err
	}
	events, err := c.business(r)
	if err != nil {
		return err
	}
	plans, err := c.Flows.Flows(r.Context())
	if err != nil {
		return err
	}
	plans = slices.DeleteFunc(slices.Clone(plans), func(a flow.Applied) bool { return a.Plan.Reaction == nil })
	c.render(w, r, http.StatusOK, "events", frame{Title: "Events that wait for a person", Nav: "dead", Page: struct {
		List     []trouble
		Business []business
		Plans    []flow.Applied
		Flow     string
	}{list, events, plans, name}})
	return nil
}
