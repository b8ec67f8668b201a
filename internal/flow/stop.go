package flow

import (
	"slices"
	"time"
)

type (
	// Stop is that runs of a flow, or runs that need a connection, are not started now.
	Stop struct {
		Kind   StopKind   `json:"kind"`
		Name   string     `json:"name"` // of the flow or the connection
		Cause  StopCause  `json:"cause"`
		Since  time.Time  `json:"since"`
		Until  *time.Time `json:"until,omitempty"` // of a rest: then one start tries
		By     string     `json:"by,omitempty"`    // who holds it
		Reason string     `json:"reason"`
	}

	// StopKind is what is stopped.
	StopKind string

	// StopCause is why.
	StopCause string

	// Stopped is a stop and what waits for its end.
	Stopped struct {
		Stop
		Flows []string `json:"flows"` // that it keeps from starting, by name
		Runs  int64    `json:"runs"`  // of them that wait
		// Drains is how many seconds the runs will take once it is over, by what the quota
		// of the connection lets through; absent where it states none.
		Drains *float64 `json:"drains,omitempty"`
	}
)

// What may be stopped, and why.
const (
	StopFlow       StopKind = "flow"
	StopConnection StopKind = "connection"

	StopHeld    StopCause = "held"    // a person wants it so
	StopResting StopCause = "resting" // the system of the connection answers nobody
)

// Needs gives the connections without which a run of the plan cannot go on: of one whose
// answer has been given, what it writes to. Legs of a service are not counted, because
// each of them is on its own.
func (p *Plan) Needs(answered bool) []string {
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if p.Read != nil && !answered {
		add(p.Read.Connection)
	}
	// Whoever waits for an answer gets it after the read: the write has its own time.
	if p.Write != nil && (answered || p.Read == nil || p.Respond != AfterRead) {
		add(p.Write.Connection)
	}
	if p.Gather != nil {
		for _, s := range p.Gather.Sources {
			if s.OnMissing == Hold { // without any other it goes on
				add(s.Connection)
			}
		}
	}
	if p.Saga != nil {
		for _, t := range p.Saga.Tasks {
			if t.Read != nil {
				add(t.Read.Connection)
			}
			if t.Write != nil {
				add(t.Write.Connection)
			}
		}
	}
	return names
}

// Obstacle is what a run waits for that it keeps from starting, in the form of
// Run.Waiting.
func (s Stop) Obstacle() string {
	why := s.Reason
	if s.Cause == StopHeld {
		why = "held by " + s.By + ": " + s.Reason
	}
	if s.Kind == StopFlow {
		return why
	}
	return Obstacle{Connection: s.Name, Why: why}.String()
}
