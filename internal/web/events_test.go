package web_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/web/browser"
)

// events are the event flows of a world.
type events struct{ *world }

func (e events) Pulse(_ context.Context, plan *flow.Plan) (flow.Pulse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.pulse
	p.Flow, p.Bucket = plan.Flow, time.Minute
	return p, nil
}

func (e events) Troubles(_ context.Context, f flow.TroubleFilter) ([]flow.Trouble, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(e.causes), func(t flow.Trouble) bool { return f.Flow != "" && t.Flow != f.Flow }), nil
}

func (e events) Redrive(_ context.Context, _ string, f flow.TroubleFilter) (flow.Rejudged, error) {
	n := e.take(f)
	return flow.Rejudged{Events: n, Outcomes: map[string]int{"waiting": n}}, nil
}

func (e events) Dismiss(_ context.Context, _, _ string, f flow.TroubleFilter) (int, error) {
	return e.take(f), nil
}

func (e events) take(f flow.TroubleFilter) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.causes = slices.DeleteFunc(e.causes, func(t flow.Trouble) bool {
		if !slices.Contains(f.Causes, t.Cause) {
			return false
		}
		n += int(t.Count)
		return true
	})
	return n
}

func (w *world) Open(context.Context) ([]flow.Alert, error) { return w.alarms, nil }

func cases() flow.Applied {
	plan := &flow.Plan{Flow: "case-notifications", Pattern: flow.Event, Summary: "Customers are told by mail when their case changes or gets a note",
		Params: flow.EventParams(), Read: &flow.Read{Connection: "dataverse", Table: "incident"}, Write: &flow.Write{Connection: "mail", Table: "message", Key: []string{"id"}},
		Send: &flow.Send{Recipient: "row.customer_email"}, Limits: flow.Limits{Timeout: time.Hour},
		Reaction: &flow.Reaction{On: []flow.Trigger{{Connection: "dataverse", Table: "incident"}, {Connection: "dataverse", Table: "annotation"}}, Sweep: 5 * time.Minute,
			Throttle: &flow.Throttle{Rate: 60, Per: time.Minute, Burst: 10}, Expect: flow.Expect{PerDay: 20000}}}
	return flow.Applied{Plan: plan, Digest: plan.Digest(), AppliedAt: time.Now().Add(-3 * time.Hour)}
}

// calm is an event flow to which one thing happened.
func (w *world) calm() {
	w.plans = append(w.plans, cases())
	now := time.Now()
	last := now.Add(-time.Minute)
	w.pulse = flow.Pulse{Expected: 13.9, Stages: map[string]int64{"received": 1}, Runs: map[flow.Status]int64{flow.Completed: 1},
		Sources: []flow.Feed{{Source: "dataverse.incident", Last: &last, SweptAt: &last}, {Source: "dataverse.annotation", SweptAt: &last}}}
	for i := range 60 {
		w.pulse.Ticks = append(w.pulse.Ticks, flow.Tick{At: now.Add(time.Duration(i-59) * time.Minute)})
	}
	w.pulse.Ticks[58].Received = 1
}

// storm is an event flow past what it expects, with events that wait for a person.
func (w *world) storm() {
	w.calm()
	now := time.Now()
	oldest, drained := now.Add(-4*time.Minute), now.Add(11*time.Minute)
	w.pulse.Stages = map[string]int64{"received": 12480, "duplicate": 37, "filtered:where": 6120, "filtered:select": 940, "unchanged:select": 1204, "unchanged": 96,
		"echo": 12, "stale": 9, "rejected:table": 41, "merged": 2410, "throttled": 880}
	w.pulse.Runs = map[flow.Status]int64{flow.Completed: 1180, flow.Failed: 3, flow.Running: 14}
	w.pulse.Open, w.pulse.Due, w.pulse.Held, w.pulse.Oldest, w.pulse.Drained, w.pulse.RunRate, w.pulse.Limited = 702, 660, 640, &oldest, &drained, 1, "the throttle"
	w.pulse.Spike = &flow.Spiking{Flow: "case-notifications", Mode: flow.SpikeQueue, Since: now.Add(-20 * time.Minute), Received: 31200, Expected: 20000}
	w.pulse.Troubles = 53
	w.pulse.Sources[1].Problem = "dataverse did not accept the credentials (401)"
	for i := range w.pulse.Ticks {
		w.pulse.Ticks[i].Received = int64(9 + (i*7)%11)
		if i > 40 {
			w.pulse.Ticks[i].Received = int64(380 + (i*53)%290)
		}
	}
	w.causes = []flow.Trouble{
		{Cause: "a1", Flow: "case-notifications", Source: "dataverse.msx_phantom", Reason: flow.EventRejected, Clause: "table", Detail: "the flow has no trigger on this table",
			Count: 41, First: now.Add(-time.Hour), Last: now.Add(-time.Minute), Sample: flow.Sample{Event: 7, Record: "5f3c2e0a-8d1b-4c1e-9a77-0d2f6f0b1a11", Change: flow.Updated}},
		{Cause: "b2", Flow: "case-notifications", Source: "dataverse.annotation", Reason: flow.EventDead, Clause: "dataverse.not_found", Detail: "dataverse does not have the record (404)",
			Count: 12, First: now.Add(-2 * time.Hour), Last: now.Add(-5 * time.Minute), Sample: flow.Sample{Event: 9, Key: "CAS-1", Record: "n-1", Change: flow.Created}},
	}
	w.alarms = []flow.Alert{{ID: 1, Flow: "case-notifications", Kind: "spike", Code: "spike.queue", Text: "31,200 events came where 20,000 are expected; the flow is in the mode queue, and what waits is gone by 07:30 UTC",
		Link: "/flows/case-notifications", Count: 1, First: now.Add(-20 * time.Minute), Last: now},
		{ID: 2, Flow: "case-notifications", Kind: "events", Code: "rejected:table", Text: "events of dataverse.msx_phantom are rejected: the flow has no trigger on this table", Sample: "5f3c2e0a",
			Link: "/dead/events?flow=case-notifications", Count: 41, First: now.Add(-time.Hour), Last: now}}
	for i, id := range []string{"told", "perhaps"} {
		run := message(id, now.Add(-time.Duration(i+2)*time.Minute))
		if id == "perhaps" {
			run = closed(run, flow.Failed, &flow.Problem{Code: "write.in_doubt", Detail: "nobody knows whether 1 of 1 writes was carried out"})
			run.Effects[0].State, run.Effects[0].Reason = flow.Doubtful, "its answer was lost and mail does not show it; sending it again might write it twice"
		} else {
			run = closed(run, flow.Completed, nil)
			run.Effects[0].Reason = "sent again after its answer was lost: it may have arrived twice"
		}
		w.put(run)
	}
}

// message is a run of an event flow that has sent its message.
func message(id string, at time.Time) flow.Run {
	run := fresh(id, at)
	run.Flow, run.Principal = "case-notifications", "flow:case-notifications"
	run.Params = flow.Row{"key": "CAS-1", "window": "window-12", "items": []any{map[string]any{"key": "CAS-1", "record": "c-1", "source": "dataverse.incident", "change": "update", "events": json.Number("5"),
		"was": map[string]any{"statuscode": json.Number("1")}, "row": map[string]any{"statuscode": json.Number("5"), "incidentid": "CAS-1"}, "changed": []any{"statuscode"}}}}
	run = answered(reading(run), 0)
	run.Result = &flow.Result{Count: 1, Rows: []flow.Row{{"id": "m1", "recipient": "ada@example.com", "subject": "Your case CAS-1: No power", "text": "Your case is solved.\n", "html": "<p>Your case is solved.</p>"}}}
	run = stepped(run, flow.Running, "writing", "")
	run.Effects = []flow.Effect{{Step: "write", State: flow.Attempt, Target: "mail.message m1"}}
	return run
}

// story is what there is to tell of a case.
func (w *world) story() []flow.Entry {
	at := time.Now().Add(-10 * time.Minute)
	var all []flow.Entry
	for i, reason := range []flow.EventReason{flow.EventFiltered, flow.EventMerged, flow.EventMerged, flow.EventUnchanged, flow.EventMerged, flow.EventMerged, flow.EventDelivered, flow.EventEcho} {
		f := flow.Fate{Reason: reason, Source: "dataverse.incident", Events: 5}
		e := flow.Entry{At: at.Add(time.Duration(i) * 300 * time.Millisecond), Flow: "case-notifications", What: "event", Reason: string(reason),
			Detail: map[string]any{"event": i + 1, "change": "update", "source": f.Source, "record": "c-1"}}
		switch reason {
		case flow.EventFiltered:
			f.Clause, e.Detail["clause"] = "where", "where"
		case flow.EventMerged, flow.EventDelivered:
			e.Run, e.Detail["window"], e.Detail["changed"] = "told", "window-12", []string{"statuscode"}
		}
		e.Detail["why"] = f.Words()
		all = append(all, e)
	}
	return append(all,
		flow.Entry{At: at.Add(3 * time.Second), Flow: "case-notifications", Run: "told", What: "window", Reason: "run", Detail: map[string]any{"window": "window-12", "events": 5, "key": "CAS-1"}},
		flow.Entry{At: at.Add(4 * time.Second), Flow: "case-notifications", Run: "told", What: "accepted", Reason: "accepted"},
		flow.Entry{At: at.Add(5 * time.Second), Flow: "case-notifications", Run: "told", What: "effect", Reason: "confirmed", Detail: map[string]any{"target": "mail.message m1"}},
		flow.Entry{At: at.Add(5 * time.Second), Flow: "case-notifications", Run: "told", What: "closed", Reason: "delivered", Detail: map[string]any{"status": "completed"}})
}

func TestThePageOfAnEventFlowFollowsWhatComesWithoutBeingLoadedAnew(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	w.calm()
	tab.Go(w.URL + "/flows/case-notifications")
	tab.Shows("main", "1 event in the last hour")
	browser.Value[bool](tab, "window.same = true")
	w.mu.Lock()
	w.pulse.Stages = map[string]int64{"received": 2500, "filtered:where": 1200}
	w.mu.Unlock()
	tab.Shows("main", "2,500 events")
	tab.Shows("main", "1,200 by where")
	require.True(t, browser.Value[bool](tab, "window.same"))
}

func TestEventsOfACauseAreRedrivenOnTheirPage(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	w.storm()
	tab.Go(w.URL + "/dead/events")
	tab.Shows("main", "41 events")
	browser.Value[bool](tab, `(document.querySelector("[data-redrive-cause]").click(), true)`)
	tab.Shows("main", "41 judged again: 41 waiting.")
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Len(t, w.causes, 1)
}

func TestACaseIsToldFromItsEventsToItsMail(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	w.storm()
	tab.Go(w.URL + "/explain?key=CAS-1")
	text := browser.Value[string](tab, `document.querySelector(".paths").innerText.replace(/\s+/g, " ")`)
	require.Equal(t, "5 events window-12 run told mail confirmed", text)
	tab.Shows("main", "where of the trigger on dataverse.incident does not hold")
	tab.Go(w.URL + "/runs/told")
	tab.Shows("main", "ada@example.com")
	tab.Shows("main", "statuscode")
	tab.Shows("main", "may have arrived twice")
}
