package inbox

import (
	"sync"
	"time"
)

// marks remembers for each flow how far its windows were claimed: the due time of the
// last. A claim takes the longest due first, and under the lock of the flow nothing
// becomes due before the time that it is, so no open window lies before the mark.
//
// Without it each claim would step over the index entries of all that were claimed
// before it and not yet cleaned up, which with an old snapshot open is never.
//
// The clock of a database may step back, after a failover for one: from time to time a
// claim begins at the beginning, whatever that costs.
type marks struct {
	mu sync.Mutex
	of map[string]mark
}

type mark struct{ at, whole time.Time }

// wholeEvery is how often a claim begins at the beginning.
const wholeEvery = 30 * time.Second

// beginning is before all that is due.
var beginning = time.Unix(0, 0)

// from is where a claim begins.
func (m *marks) from(flow string) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, known := time.Now(), m.of[flow]
	if now.Sub(known.whole) < wholeEvery && !known.at.IsZero() {
		return known.at
	}
	if m.of == nil {
		m.of = map[string]mark{}
	}
	known.whole = now
	m.of[flow] = known
	return beginning
}

// move notes the due time of the last window of a claim that was committed.
func (m *marks) move(flow string, due time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.of[flow]
	if due.After(known.at) {
		known.at = due
	}
	m.of[flow] = known
}
