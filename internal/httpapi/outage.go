package httpapi

import (
	"sync"
	"time"
)

// outage makes one of the many failures of a store that is away: each waiter
// meets it, and one line in the log says so. The zero value knows of none.
type outage struct {
	mu       sync.Mutex
	since    time.Time // zero: the store answers
	answered time.Time // when the last read that succeeded had begun
}

// failed is told of a read that failed, and reports whether it is the first.
func (o *outage) failed(began time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.since.IsZero() || began.Before(o.answered) {
		return false // known, or older than what has been read since
	}
	o.since = began
	return true
}

// over is told of a read that succeeded. It reports how long the store was away
// to the first one after that; else 0.
func (o *outage) over(began time.Time) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if began.After(o.answered) {
		o.answered = began
	}
	if o.since.IsZero() || began.Before(o.since) {
		return 0
	}
	away := time.Since(o.since)
	o.since = time.Time{}
	return away
}
