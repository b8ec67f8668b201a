package web

import (
	"net/http"
	"slices"
	"time"

	"patchbay/internal/flow"
)

const (
	surveyed  = 20                 // runs of a state that are looked at
	attending = 12                 // runs shown as asking for attention
	attended  = 24 * time.Hour     // how long a failure asks for it
	doubted   = 7 * 24 * time.Hour // how long a write in doubt does
)

// needs are the runs that a person has to look at, the oldest first: dead letters,
// runs that wait for somebody, and writes in doubt of runs that were cancelled. Who
// sees no dead letters sees failures of the last day. more counts those that are not
// shown.
func (c *console) needs(r *http.Request, plans []flow.Applied) (needs []story, more int, err error) {
	now := c.Now()
	var all []story
	letters, err := c.oldest(r, plans)
	if err != nil {
		return nil, 0, err
	}
	all = append(all, letters...)
	buried := c.Dead != nil && c.operates(r)
	for _, status := range []flow.Status{flow.Parked, flow.Failed, flow.Cancelled} {
		runs, err := c.stories(r, flow.RunFilter{Status: status, Limit: surveyed}, plans)
		if err != nil {
			return nil, 0, err
		}
		for _, s := range runs.List {
			age := now.Sub(s.At)
			switch {
			case buried && status == flow.Failed: // among the letters
			case s.Doubts > 0 && s.Final:
				if age < doubted {
					s.State, s.Brief = inDoubt(), s.Effects.Line // what the row is here for
					all = append(all, s)
				}
			case status == flow.Parked:
				all = append(all, s)
			case status == flow.Failed && age < attended && !mistaken(s.Run):
				all = append(all, s)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b story) int { return a.At.Compare(b.At) })
	if len(all) > attending {
		return all[:attending], len(all) - attending, nil
	}
	return all, 0, nil
}

func inDoubt() state {
	s := effectState(flow.Doubtful)
	s.Word = "In doubt"
	return s
}

func planOf(name string, plans []flow.Applied) *flow.Plan {
	for _, p := range plans {
		if p.Plan.Flow == name {
			return p.Plan
		}
	}
	return nil
}

// mistaken reports whether a run failed because what its caller asked for does
// not exist: the caller has been told, nobody else can do anything about it.
func mistaken(run flow.Run) bool { return run.Problem != nil && run.Problem.Code == flow.MissingCode }

// others are the latest runs that are not shown already.
func others(runs, shown []story) []story {
	left := slices.DeleteFunc(runs, func(s story) bool {
		return slices.ContainsFunc(shown, func(o story) bool { return o.Run.RunID == s.Run.RunID })
	})
	return left[:min(len(left), latest)]
}
