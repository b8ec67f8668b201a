package run

import (
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"patchbay/internal/flow"
)

type (
	// turns spreads the presses of each user over time, so that many of one do not
	// hold up the few of another.
	//
	// A user's share of a flow is a rate, s per second. Each press gets a place in the
	// queue: order_at = max(now, the user's last place + 1/s). That is virtual time: a
	// user who stays below the share has the place of the moment, and of one who
	// presses 50 times at once with s = 2 the last stands 24.5 s behind. Another's
	// press of the next second therefore goes ahead of most of them. Claims take
	// whatever is first, however far its place lies ahead; so a share delays nobody
	// while nobody else waits, and it is no limit of how much is carried out.
	//
	// A press that did not have to queue costs nothing of the share: what was idle was
	// nobody's. The lead is at most longestLead: who has pressed thousands of times
	// is behind everybody who has not, but not for the rest of the day; the presses
	// beyond stand in the order they came. Classes are walked one after the other,
	// whatever the places. A flow with an order of its own (flow.Plan.Order) has no
	// shares: what was accepted first is first.
	//
	// The memory is this process's own. Several processes behind a load balancer give
	// a user as many times the share, relative to each other user the same; a restart
	// forgives. It holds mostUsers at most, those only whose lead is not over; a user
	// who finds it full has the place of the moment.
	turns struct {
		most int

		mu    sync.Mutex
		last  map[turn]time.Time // the last place; in the future
		sweep int                // size at which those that are over are forgotten
	}

	turn struct{ flow, user string }
)

const (
	longestLead = time.Minute
	mostUsers   = 100_000
	firstSweep  = 1_000
)

func newTurns() *turns {
	return &turns{most: mostUsers, last: map[turn]time.Time{}, sweep: firstSweep}
}

// take gives how far ahead of now the place of the user's next press lies; share
// is presses per second, 0 for no share.
func (t *turns) take(who turn, share int, now time.Time) (lead time.Duration) {
	if share <= 0 {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	place := now
	if last, pressed := t.last[who]; pressed {
		if next := last.Add(time.Second / time.Duration(share)); next.After(now) {
			place = next
		}
	} else if !t.room(now) {
		return 0
	}
	if limit := now.Add(longestLead); place.After(limit) {
		place = limit
	}
	t.last[who] = place
	return place.Sub(now)
}

// back returns the place of a press that did not need it.
func (t *turns) back(who turn, share int) {
	if share <= 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if last, pressed := t.last[who]; pressed {
		t.last[who] = last.Add(-time.Second / time.Duration(share))
	}
}

// room reports whether one more user can be remembered. It forgets those whose
// lead is over whenever the memory has doubled: each user then costs a constant
// part of a sweep.
func (t *turns) room(now time.Time) bool {
	if len(t.last) >= min(t.sweep, t.most) {
		for who, last := range t.last {
			// The next place of one who pressed less than a second ago may lie ahead.
			if last.Before(now.Add(-time.Second)) {
				delete(t.last, who)
			}
		}
		t.sweep = max(firstSweep, 2*len(t.last))
	}
	return len(t.last) < t.most
}

// longestOrderKey bounds an order key in bytes: an index holds it.
const longestOrderKey = 200

// orderKey is equal for runs that are carried out one after the other: the
// canonical JSON of the parameters that plan.Order names, a digest of it when it is
// long. It is "" for a flow without order.
func orderKey(plan *flow.Plan, params flow.Row) (string, error) {
	if len(plan.Order) == 0 {
		return "", nil
	}
	values := make([]any, len(plan.Order))
	for i, name := range plan.Order {
		values[i] = params[name]
	}
	body, err := encode(values)
	if err != nil {
		return "", err
	}
	if len(body) > longestOrderKey {
		sum := sha256.Sum256(body)
		return "sha256:" + hex.EncodeToString(sum[:]), nil
	}
	return string(body), nil
}
