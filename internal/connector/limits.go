package connector

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"sync"
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

type (
	// limits holds one connection to its number of parallel requests, its rate, to
	// the silence a system asked for and to the rest after it was found dead. What
	// must wait longer than its caller can is told so, with the time, as a fault of
	// its own: waiting for ourselves is no missing answer of the system.
	limits struct {
		name  string
		now   func() time.Time
		speed float64
		slots *slots
		rate  *rate.Limiter // nil: no limit of our own
		quota Quota         // nil: none
		// changed is told of rests and of their end, and rested knows those of others; both
		// with mu held.
		changed func(Rest)
		rested  func() Rest

		mu        sync.Mutex
		throttled int           // throttlings in a row that named no time
		until     time.Time     // no request before this moment
		shut      chan struct{} // closed, and replaced, when waiting has become pointless
		breaker   breaker
	}

	// pass is the right to send one request.
	pass struct {
		slot  *slot
		since time.Time // by the connection's clock
		probe bool      // the one request that a resting connection tries
	}
)

func newLimits(c Config, now func() time.Time) *limits {
	l := &limits{name: c.Name, now: now, speed: c.Speed, shut: make(chan struct{}), changed: func(Rest) {}, rested: func() Rest { return Rest{} }}
	l.breaker.seed = maphash.MakeSeed()
	if l.speed <= 0 {
		l.speed = 1
	}
	n := c.Limits.Concurrent
	if n <= 0 {
		n = defaultConcurrent
	}
	l.slots = newSlots(n)
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

// share tells of rests, and hears of those of others.
func (l *limits) share(name string, d Deps) {
	if d.Resting != nil {
		l.changed = func(r Rest) { d.Resting(name, r) }
	}
	if d.Rested != nil {
		l.rested = func() Rest { return d.Rested(name) }
	}
}

// enter waits for a slot and the rate; leave must follow when it returns no error.
// An error is a fault, or the context's own when the caller gave up.
func (l *limits) enter(ctx context.Context, r *Request) (pass, error) {
	if err := ctx.Err(); err != nil {
		return pass{}, err
	}
	probe, shut, err := l.admit(r)
	if err != nil {
		return pass{}, err
	}
	p := pass{probe: probe}
	if p.slot, err = l.acquire(ctx, shut); err == nil && l.rate != nil {
		err = l.pace(ctx, shut)
	}
	if err == nil {
		select {
		case <-shut: // between being admitted and having a slot
			err = l.shutBy()
		default:
		}
	}
	if err != nil {
		l.forgo(p)
		return pass{}, err
	}
	p.since = l.now()
	return p, nil
}

// pay takes of the provider's quota what one sending of a request uses; the end of that
// must follow. It is asked last: what is taken is used.
func (l *limits) pay(ctx context.Context, use Use) (end func(sent bool), err error) {
	if l.quota == nil {
		return func(bool) {}, nil
	}
	leave, err := l.quota.Enter(ctx, use)
	if err != nil {
		return nil, unpaid{err}
	}
	begun := time.Now()
	return func(sent bool) {
		if sent {
			leave(max(time.Since(begun), 1))
		} else {
			leave(0)
		}
	}, nil
}

// unpaid is why a request was not sent: the provider's quota does not allow it now. It
// says nothing about the system.
type unpaid struct{ error }

func (u unpaid) Unwrap() error { return u.error }

func isUnpaid(err error) bool { return errors.As(err, new(unpaid)) }

// admit fails while the connection is silent or rests: more requests would only
// make it longer. The channel is closed when that becomes so.
func (l *limits) admit(r *Request) (probe bool, shut <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if err := l.silent(now); err != nil {
		return false, nil, err
	}
	others := l.rested()
	if others.Held {
		return false, nil, l.held(others)
	}
	l.breaker.hear(others)
	probe, err = l.breaker.admit(l, r, now)
	return probe, l.shut, err
}

// held is the fault of a connection that a person holds.
func (l *limits) held(r Rest) error {
	f := fault.New(fault.Unavailable, "connector.held", l.name+" is held: "+r.Why, nil)
	f.After = roundUp(l.scaled(longestRest))
	return f
}

func (l *limits) silent(now time.Time) error {
	if wait := l.until.Sub(now); wait > 0 {
		return fault.ThrottledFor(wait, "connector.silent", l.name+" has asked to slow down; nothing is sent until then", nil)
	}
	return nil
}

// shutBy is the fault that ends a wait whose channel was closed.
func (l *limits) shutBy() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if err := l.silent(now); err != nil {
		return err
	}
	if err := l.breaker.rests(l, now); err != nil {
		return err
	}
	return l.busy(0) // it is over already: again, at the end of the queue
}

// acquire waits for a slot, and no longer than leaves the caller the time that a
// request usually takes: a slot that comes with the deadline only makes a doubt.
func (l *limits) acquire(ctx context.Context, shut <-chan struct{}) (*slot, error) {
	now := time.Now()
	got, w, estimate := l.slots.ask(patientUntil(ctx, now), now)
	if got != nil {
		return got, nil
	}
	var late <-chan time.Time
	if end, ok := ctx.Deadline(); ok {
		left := end.Sub(now)
		left -= min(max(2*l.slots.time(), left/8), left/2)
		if estimate > left {
			l.slots.giveUp(w)
			return nil, l.busy(estimate)
		}
		timer := time.NewTimer(left)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case got := <-w.given:
		return got, nil
	case <-shut:
		l.slots.giveUp(w)
		return nil, l.shutBy()
	case <-late:
		l.slots.giveUp(w)
		return nil, l.busy(l.slots.wait())
	case <-ctx.Done():
		l.slots.giveUp(w)
		return nil, ctx.Err()
	}
}

func (l *limits) busy(wait time.Duration) error {
	const least = 100 * time.Millisecond
	return fault.ThrottledFor(roundUp(min(max(wait, least), longestBackoff)), "connector.busy",
		fmt.Sprintf("all %d requests that %s may have at a time are under way, and others wait before this one", l.slots.size, l.name), nil)
}

// roundUp makes a wait of our own readable, and never too short.
func roundUp(d time.Duration) time.Duration {
	const step = 10 * time.Millisecond
	return (d + step - 1).Truncate(step)
}

func (l *limits) pace(ctx context.Context, shut <-chan struct{}) error {
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
	case <-shut:
		reservation.Cancel()
		return l.shutBy()
	case <-ctx.Done():
		reservation.Cancel()
		return ctx.Err()
	}
}

// forgo gives back what a request took that is not sent.
func (l *limits) forgo(p pass) {
	if p.slot != nil {
		l.slots.leave(p.slot)
	}
	if p.probe {
		l.mu.Lock()
		l.breaker.probing = false
		l.mu.Unlock()
	}
}

// leave ends a request; f is how it failed, if it did.
func (l *limits) leave(p pass, r *Request, o outcome, f *fault.Fault) {
	l.slots.leave(p.slot)
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.probe {
		l.breaker.probing = false
	}
	switch o {
	case succeeded:
		l.throttled = 0
		l.breaker.answered(l)
	case answered:
		l.breaker.answered(l)
	case failed:
		l.breaker.failed(l, p, r, f)
	case unknown:
	}
}

// close keeps the connection silent for d and tells those who wait.
func (l *limits) close(d time.Duration) {
	until := l.now().Add(d)
	l.mu.Lock()
	defer l.mu.Unlock()
	if until.After(l.until) {
		l.until = until
		l.tellAll()
		if l.quota != nil {
			l.quota.Silence(d)
		}
	}
}

// tellAll ends every wait; l.mu is held.
func (l *limits) tellAll() {
	close(l.shut)
	l.shut = make(chan struct{})
}

// backoff is the wait after a throttling that names none.
func (l *limits) backoff() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait := min(firstBackoff<<min(l.throttled, 10), longestBackoff)
	l.throttled++
	return l.scaled(wait)
}

func (l *limits) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) / l.speed)
}
