package web

import (
	"time"

	"patchbay/internal/flow"
)

// heard is a business event that a step of a run awaits, that came for the same key, or that
// the run became.
type heard struct {
	Step  string
	Event string // "shipped.v1 of 4711"
	ID    string // empty: none came yet
	State state
	Note  string
	At    *time.Time // when it was received
	Clock time.Time
}

// hears lists what the steps of a run await, what they took, and what else came for the
// same key: early, late or out of turn.
func hears(run flow.Run, now time.Time) (list []heard) {
	others := map[string]bool{}
	for _, t := range run.Tasks {
		if t.Await == nil {
			continue
		}
		one := heard{Step: sentence(t.Name), Event: t.Await.Topic + " of " + t.Await.Key, ID: t.Await.Event, At: t.Await.Came, Clock: now}
		until := t.Await.Until.Format("2 January 2006 15:04:05") + " UTC"
		switch {
		case t.Await.Event != "" && t.Await.Came.Before(t.BegunAt):
			one.State, one.Note = state{"taken", "completed", icon("tick")}, "it had come before it was awaited"
		case t.Await.Event != "":
			one.State, one.Note = state{"taken", "completed", icon("tick")}, "it came in time; the deadline was "+until
		case t.State == flow.TaskRunning && !run.Status.Final():
			one.State, one.Note = held, "awaited until "+until
		case t.State == flow.TaskRunning:
			one.State, one.Note = state{"not awaited any more", "cancelled", icon("dot")}, "the run ended before it came"
		default:
			one.State, one.Note = state{"did not come", "failed", icon("cross")}, "none came until "+until
		}
		list = append(list, one)
	}
	for _, t := range run.Tasks {
		if t.Await == nil {
			continue
		}
		for _, e := range t.Await.Others {
			name := e.Topic + " " + e.ID
			if others[name] || e.Run == run.RunID {
				continue
			}
			others[name] = true
			one := became(e, now)
			if e.State == flow.TopicTaken {
				one.State = state{"taken by another run", "cancelled", icon("dot")}
			}
			list = append(list, one)
		}
	}
	for _, e := range run.Told {
		one := became(e, now)
		one.Step = "Told"
		list = append(list, one)
	}
	return list
}

// became says what became of an event.
func became(e flow.TopicEvent, now time.Time) heard {
	one := heard{Event: e.Topic + " of " + e.Key, ID: e.ID, At: &e.ReceivedAt, Clock: now}
	switch e.State {
	case flow.TopicKept:
		one.State, one.Note = queueing, "kept for a later step or another run, until "+e.ExpiresAt.Format("2 January 2006 15:04:05")+" UTC"
	case flow.TopicTaken:
		one.State, one.Note = state{"taken", "completed", icon("tick")}, "run "+e.Run
	case flow.TopicDelivered:
		one.State, one.Note = state{"delivered", "completed", icon("tick")}, e.Why
	case flow.TopicDead:
		one.State, one.Note = state{"dead", "failed", icon("cross")}, e.Why
	case flow.TopicExpired:
		one.State, one.Note = state{"expired", "failed", icon("cross")}, e.Why
	}
	for _, s := range e.Started {
		if s.Problem == nil && e.State == flow.TopicKept {
			one.Note = "it started the run " + s.Run + " of " + s.Flow
		}
	}
	return one
}
