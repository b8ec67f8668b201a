package connector

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net"
	"time"

	"patchbay/internal/fault"
)

const (
	// tripAfter is how many different requests must fail in a row.
	tripAfter   = 5
	firstRest   = time.Second // doubled with each probe that fails
	longestRest = time.Minute
	// hung is how long a request must have gone unanswered to speak against the
	// system when its caller, and not the connection's timeout, ended the wait.
	hung = time.Second
)

// outcome is what one request says about the connection.
type outcome int

const (
	unknown   outcome = iota // nothing: it was not sent, or its caller gave up early
	succeeded                // the system did what was asked
	answered                 // the system is there, whatever it said
	failed                   // no answer, or a server error without a time to come again
)

// breaker lets a connection rest whose system is away: it is the state under the
// mutex of limits, which makes it.
//
// A failure counts when nobody was answered while its request was under way, and
// once for the same request: neither one press that hangs among many that do not,
// nor its repetitions when it is alone, speak against the system. Requests that
// never got a connection count each. After tripAfter in a row nothing is sent for
// the rest; then one request, the probe, tries. An answer of any kind ends it all.
type breaker struct {
	seed    maphash.Seed
	row     map[uint64]struct{} // requests that failed since the last answer
	unsent  int                 // failures since then without a connection
	since   time.Time           // of the first of them
	heard   time.Time           // of the last answer
	last    string              // what the last failure was; safe to show
	failing int                 // rests in a row
	until   time.Time           // of the rest; zero: none
	probing bool
	shared  bool // others know of the rest
}

// hear takes what others found: their rest is ours, and so is its end.
func (b *breaker) hear(others Rest) {
	if others.Until.IsZero() {
		if b.shared {
			*b = breaker{seed: b.seed, heard: b.heard}
		}
		return
	}
	b.shared = true
	if others.Until.After(b.until) {
		b.since, b.until, b.last, b.failing = others.Since, others.Until, others.Why, others.Times
	}
}

// admit says whether the request may go, and whether as the probe.
func (b *breaker) admit(l *limits, r *Request, now time.Time) (probe bool, err error) {
	switch {
	case b.until.IsZero():
		return false, nil
	case now.Before(b.until):
		return false, b.rests(l, now)
	case b.probing:
		return false, b.resting(l, l.scaled(firstRest))
	}
	// What failed before leaves the first try to another request, for a moment: it
	// may be the reason and not the victim.
	grace := b.until.Add(l.scaled(firstRest) / 2)
	if _, known := b.row[b.key(r)]; known && now.Before(grace) {
		return false, b.resting(l, grace.Sub(now))
	}
	b.probing = true
	return true, nil
}

// rests is the fault of a connection at rest, nil of any other.
func (b *breaker) rests(l *limits, now time.Time) error {
	if wait := b.until.Sub(now); wait > 0 {
		return b.resting(l, wait)
	}
	return nil
}

func (b *breaker) resting(l *limits, wait time.Duration) error {
	f := fault.New(fault.Unavailable, "connector.resting",
		fmt.Sprintf("%s has answered nothing since %s UTC, so it is left alone for a while; the last failure: %s", l.name, b.since.UTC().Format(time.TimeOnly), b.last), nil)
	f.After = roundUp(wait)
	return f
}

func (b *breaker) answered(l *limits) {
	b.heard = l.now()
	if b.since.IsZero() {
		return
	}
	resting := !b.until.IsZero()
	*b = breaker{seed: b.seed, heard: b.heard}
	if resting {
		l.changed(Rest{})
	}
}

func (b *breaker) failed(l *limits, p pass, r *Request, f *fault.Fault) {
	resting := !b.until.IsZero()
	if resting && !p.probe || p.since.Before(b.heard) {
		return
	}
	now := l.now()
	b.last = f.Text
	if b.since.IsZero() {
		b.since = p.since
	}
	if neverConnected(f) {
		b.unsent++
	} else if len(b.row) < tripAfter {
		if b.row == nil {
			b.row = map[uint64]struct{}{}
		}
		b.row[b.key(r)] = struct{}{}
	}
	if !resting && len(b.row)+b.unsent < tripAfter {
		return
	}
	rest := min(firstRest<<min(b.failing, 10), longestRest)
	b.failing++
	// Processes that found it dead together do not all come back together.
	b.until = now.Add(l.scaled(rest - rand.N(rest/4))) //nolint:gosec // nobody gains by guessing it
	b.shared = false
	l.changed(Rest{Since: b.since, Until: b.until, Times: b.failing, Why: b.last})
	l.tellAll()
}

// neverConnected reports whether a request failed before there was a connection:
// what it asked for cannot be the reason.
func neverConnected(f *fault.Fault) bool {
	var op *net.OpError
	return errors.As(f, &op) && op.Op == "dial"
}

// key tells requests apart.
func (b *breaker) key(r *Request) uint64 {
	var h maphash.Hash
	h.SetSeed(b.seed)
	_, _ = h.WriteString(r.Method) // never fails
	_, _ = h.WriteString(r.Target)
	_, _ = h.Write(r.Body)
	return h.Sum64()
}
