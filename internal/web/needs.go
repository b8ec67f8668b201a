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

// needs are the runs that a person has to look at: first those with writes in
// doubt, then those that wait for somebody, then failures. more counts those that
// are not shown.
func (c *console) needs(r *http.Request, plans []flow.Applied) (needs []story, more int, err error) {
	now := c.Now()
	var doubts, parked, failures []story
	for _, status := range []flow.Status{flow.Parked, flow.Failed, flow.Cancelled} {
		runs, err := c.stories(r, flow.RunFilter{Status: status, Limit: surveyed}, plans)
		if err != nil {
			return nil, 0, err
		}
		for _, s := range runs.List {
			age := now.Sub(s.At)
			switch {
			case s.Doubts > 0 && s.Final:
				if age < doubted {
					s.State, s.Brief = effectState(flow.Doubtful), s.Effects.Line // what the row is here for
					s.State.Word = "In doubt"
					doubts = append(doubts, s)
				}
			case status == flow.Parked:
				parked = append(parked, s)
			case status == flow.Failed && age < attended && !mistaken(s.Run):
				failures = append(failures, s)
			}
		}
	}
	slices.SortStableFunc(doubts, func(a, b story) int { return b.At.Compare(a.At) })
	needs = slices.Concat(doubts, parked, failures)
	if len(needs) > attending {
		needs, more = needs[:attending], len(needs)-attending
	}
	return needs, more, nil
}

func planOf(name string, plans []flow.Applied) *flow.Plan {
	for _, p := range plans {
		if p.Plan.Flow == name {
			return p.Plan
		}
	}
	return nil
}

// missing is the code of a run whose caller asked for what the source does not have.
const missing = "source.not_found"

// mistaken reports whether a run failed because what its caller asked for does
// not exist: the caller has been told, nobody else can do anything about it.
func mistaken(run flow.Run) bool { return run.Problem != nil && run.Problem.Code == missing }

// others are the latest runs that are not shown already.
func others(runs, shown []story) []story {
	left := slices.DeleteFunc(runs, func(s story) bool {
		return slices.ContainsFunc(shown, func(o story) bool { return o.Run.RunID == s.Run.RunID })
	})
	return left[:min(len(left), latest)]
}
