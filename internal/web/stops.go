package web

import (
	"net/http"
	"slices"
	"time"

	"patchbay/internal/flow"
)

type (
	// stopped is a stop as its page tells it.
	stopped struct {
		flow.Stop
		State     state
		Kind      string // flow, connection or schedule: what is resumed
		Flows     []string
		Runs      int64
		Drains    string // how long they will take; empty: it is not known
		Until     string // of a rest: when it is tried next
		At, Clock time.Time
	}

	// holdable is what a person may hold, by kind.
	holdable struct {
		Kind, Label string
		Names       []string
	}
)

// stops is the page of what is not started now: what people hold, and connections that
// rest because their system answers nobody.
func (c *console) stops(w http.ResponseWriter, r *http.Request) error {
	if c.Stops == nil {
		return c.none()
	}
	if err := c.operating(r, "stops"); err != nil {
		return err
	}
	list, err := c.Stops.Stopped(r.Context())
	if err != nil {
		return err
	}
	plans, err := c.Flows.Flows(r.Context())
	if err != nil {
		return err
	}
	page := struct {
		List   []stopped
		Choice []holdable
		Kind   string // what the form is about
		Name   string
	}{Kind: r.URL.Query().Get("kind"), Name: r.URL.Query().Get("name"), Choice: holdables(plans)}
	for _, s := range list {
		one := stopped{Stop: s.Stop, State: state{"Held", "parked", icon("pause")}, Kind: string(s.Kind), Flows: s.Flows, Runs: s.Runs, At: s.Since, Clock: c.Now()}
		if s.Cause == flow.StopResting {
			one.State = state{"Resting", "late", icon("clock")}
			one.Until = "it is tried now"
			if left := s.Stop.Until.Sub(c.Now()); left > 0 {
				one.Until = "it is tried again in " + duration(left.Round(time.Second))
			}
		}
		if s.Drains != nil {
			one.Drains = duration(time.Duration(*s.Drains * float64(time.Second)).Round(time.Second))
		}
		page.List = append(page.List, one)
	}
	if c.Schedules != nil {
		rhythms, err := c.Schedules.Rhythms(r.Context())
		if err != nil {
			return err
		}
		for _, one := range rhythms {
			if one.Paused != nil {
				page.List = append(page.List, stopped{Stop: flow.Stop{Name: one.Flow, Cause: flow.StopHeld, Since: one.Paused.Since, By: one.Paused.By, Reason: one.Paused.Reason},
					State: state{"Held", "parked", icon("pause")}, Kind: "schedule", At: one.Paused.Since, Clock: c.Now()})
			}
		}
	}
	c.render(w, r, http.StatusOK, "stops", frame{Title: "Stops", Nav: "flows", Page: page})
	return nil
}

// holdables are flows and connections that may be held. Tables and regions of a
// synchronization are held on its own page.
func holdables(plans []flow.Applied) []holdable {
	flows, connections, schedules := holdable{Kind: "flow", Label: "Flows"}, holdable{Kind: "connection", Label: "Connections"}, holdable{Kind: "schedule", Label: "Schedules"}
	for _, p := range plans {
		for _, name := range append(p.Plan.Needs(false), p.Plan.Needs(true)...) {
			if !slices.Contains(connections.Names, name) {
				connections.Names = append(connections.Names, name)
			}
		}
		switch {
		case p.Plan.Schedule != nil:
			schedules.Names = append(schedules.Names, p.Plan.Flow)
		case p.Plan.Sync == nil:
			flows.Names = append(flows.Names, p.Plan.Flow)
		}
	}
	slices.Sort(connections.Names)
	return slices.DeleteFunc([]holdable{connections, flows, schedules}, func(h holdable) bool { return len(h.Names) == 0 })
}
