package connector

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"patchbay/internal/fault"
)

const (
	defaultConcurrent = 16
	defaultTimeout    = 30 * time.Second
	defaultMaxBytes   = 16 << 20
	firstBackoff      = time.Second // doubled with each throttling that names no time
	longestBackoff    = time.Minute
)

// limits holds one connection to its number of parallel requests, its rate, and
// to the silence a system asked for. What must wait longer than its caller can is
// told so at once, with the time.
type limits struct {
	name  string
	now   func() time.Time
	speed float64
	slots chan struct{}
	rate  *rate.Limiter // nil: no limit of our own

	throttled atomic.Int64 // throttlings in a row that named no time
	mu        sync.Mutex
	until     time.Time // no request before this moment
}

func newLimits(c Config, now func() time.Time) *limits {
	l := &limits{name: c.Name, now: now, speed: c.Speed}
	if l.speed <= 0 {
		l.speed = 1
	}
	n := c.Limits.Concurrent
	if n <= 0 {
		n = defaultConcurrent
	}
	l.slots = make(chan struct{}, n)
	if c.Limits.PerSecond > 0 {
		perSecond := c.Limits.PerSecond * l.speed
		burst := c.Limits.Burst
		if burst <= 0 {
			burst = int(math.Ceil(perSecond))
		}
		l.rate = rate.NewLimiter(rate.Limit(perSecond), burst)
	}
	return l
}

// enter waits for a slot and the rate; leave must follow when it returns nil.
func (l *limits) enter(ctx context.Context) error {
	if err := l.open(); err != nil {
		return err
	}
	select {
	case l.slots <- struct{}{}:
	default:
		select {
		case l.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := l.open(); err != nil { // closed while waiting
			l.leave()
			return err
		}
	}
	if l.rate == nil {
		return nil
	}
	if err := l.pace(ctx); err != nil {
		l.leave()
		return err
	}
	return nil
}

func (l *limits) leave() { <-l.slots }

func (l *limits) pace(ctx context.Context) error {
	now := time.Now()
	reservation := l.rate.ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait == 0 {
		return nil
	}
	if deadline, ok := ctx.Deadline(); ok && now.Add(wait).After(deadline) {
		reservation.CancelAt(now)
		return fault.ThrottledFor(wait, "connector.rate", l.name+" has used up the requests its connection allows", nil)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		reservation.Cancel()
		return ctx.Err()
	}
}

// open fails while the connection is silent: more requests would only make the
// silence longer.
func (l *limits) open() error {
	l.mu.Lock()
	wait := l.until.Sub(l.now())
	l.mu.Unlock()
	if wait <= 0 {
		return nil
	}
	return fault.ThrottledFor(wait, "connector.silent", l.name+" has asked to slow down; nothing is sent until then", nil)
}

// close keeps the connection silent for d.
func (l *limits) close(d time.Duration) {
	until := l.now().Add(d)
	l.mu.Lock()
	defer l.mu.Unlock()
	if until.After(l.until) {
		l.until = until
	}
}

// backoff is the wait after a throttling that names none.
func (l *limits) backoff() time.Duration {
	n := l.throttled.Add(1)
	wait := min(firstBackoff<<min(n-1, 10), longestBackoff)
	return time.Duration(float64(wait) / l.speed)
}

// answered ends a row of throttlings.
func (l *limits) answered() {
	if l.throttled.Load() != 0 {
		l.throttled.Store(0)
	}
}
