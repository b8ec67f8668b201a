package quota

import (
	"slices"
	"time"

	"patchbay/internal/flow"
)

type (
	// rule is one quota as it is kept. Execution is in microseconds.
	rule struct {
		kind    flow.QuotaKind
		most    int64
		common  int64         // of it, what is not reserved for the interactive
		per     time.Duration // real time; 0 for concurrent
		name    string        // of its window in the state
		step    time.Duration // charges are kept by steps, rounded up
		latency time.Duration // how late after it left a request may be counted by the provider
	}

	// Use is what a request uses besides being one: the messages that it sends, and
	// whether somebody waits for it.
	Use struct {
		Messages int
		Urgent   bool
	}
)

const (
	steps = 100 // of a window
	// A token that is taken ahead is good for a part of the shortest window.
	shortestAhead, longestAhead = 20 * time.Millisecond, 250 * time.Millisecond
	shortestLate, longestLate   = 100 * time.Millisecond, 2 * time.Second
)

// rulesOf gives the windows of quotas, the concurrent one apart, and how long tokens
// of them are good. Speed divides what is a duration: execution is one, too.
func rulesOf(quotas []flow.Quota, speed float64) (windows []rule, places *rule, ahead time.Duration) {
	ahead = longestAhead
	for _, q := range quotas {
		r := rule{kind: q.Kind, most: q.Most, per: time.Duration(float64(q.Per) / speed), name: string(q.Kind) + "/" + q.Per.String()}
		if q.Kind == flow.QuotaExecution {
			r.most = int64(float64(q.Most*1000) / speed)
		}
		r.common = r.most - r.most*int64(q.Reserve)/100
		if q.Kind == flow.QuotaConcurrent {
			places = &r
			continue
		}
		r.step = max(r.per/steps, time.Millisecond)
		r.latency = min(max(r.per/100, shortestLate), longestLate)
		ahead = min(ahead, max(r.per/60, shortestAhead))
		windows = append(windows, r)
	}
	return slices.Clip(windows), places, ahead
}

// order tells uses apart: the urgent are served first.
func (u Use) order() int {
	if u.Urgent {
		return u.Messages
	}
	return u.Messages + 1<<30
}

// limit is how much of it may be used.
func (r *rule) limit(urgent bool) int64 {
	if urgent {
		return r.most
	}
	return r.common
}

// cost is what one request uses of it, if it takes so long.
func (r *rule) cost(messages int, took time.Duration) int64 {
	switch r.kind {
	case flow.QuotaRequests:
		return 1
	case flow.QuotaMessages:
		return int64(messages)
	case flow.QuotaExecution: // one that is larger than all there is goes alone
		return min(max(took.Microseconds(), 1), r.common)
	case flow.QuotaConcurrent:
	}
	return 0
}

// turn is how long what is used of a window counts, at most: its length, the step, the
// time that a token is good, and that of the way.
func (r *rule) turn(ahead time.Duration) time.Duration { return r.per + r.latency + r.step + ahead }

// renewed is how long after it was charged a request that is under way is charged again.
func (r *rule) renewed() time.Duration { return r.per - r.per/10 }
