package connector

import (
	"context"
	"errors"
	"time"

	"patchbay/internal/failpoint"
	"patchbay/internal/fault"
)

// Gate holds the calls of a connector that speaks no HTTP to what Transport holds
// requests to: the connection's number of parallel calls, its rate, the rest of a
// system that is away, and the time of one call. It is safe for concurrent use.
type Gate struct {
	name, system string
	now          func() time.Time
	timeout      time.Duration
	limits       *limits
}

// NewGate makes the gate of a connection.
func NewGate(c Config, d Deps) *Gate {
	g := &Gate{name: c.Name, system: c.System, now: d.Now, timeout: c.Limits.Timeout}
	if g.now == nil {
		g.now = time.Now
	}
	if g.timeout <= 0 {
		g.timeout = defaultTimeout
	}
	g.limits = newLimits(c, g.now)
	if d.Resting != nil {
		g.limits.changed = func(resting bool) { d.Resting(c.Name, resting) }
	}
	return g
}

// Pass lets one call through when its turn has come. what tells calls apart, for
// one that fails for its own sake must not stop the others; it is never shown. The
// context of call ends when the time of one call is over. Faults of the gate's own
// are those of Transport.Do.
func (g *Gate) Pass(ctx context.Context, what string, call func(ctx context.Context) error) (err error) {
	r := Request{Target: what}
	p, err := g.limits.enter(ctx, &r)
	if err != nil {
		return err
	}
	said := unknown // also when call panics
	var f *fault.Fault
	defer func() { g.limits.leave(p, &r, said, f) }()
	inner, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	err = call(inner)
	said, f = g.judge(ctx, p, err)
	return err
}

// Commit makes a write durable by apply. sent says of a failure whether the write
// may have taken effect nevertheless.
func (g *Gate) Commit(apply func() (sent bool, err error)) (sent bool, err error) {
	at := failpoint.At(g.system, "write")
	at.Before()
	if sent, err = apply(); err != nil {
		return sent, err
	}
	if at.Lost() {
		return true, errors.New("the answer was lost on its way")
	}
	at.After()
	return true, nil
}

// Broken is the fault of a call without an answer. outer is the caller's context,
// inner the call's; sent says that a write may have taken effect.
func (g *Gate) Broken(outer, inner context.Context, sent bool, err error) error {
	switch {
	case sent:
		return fault.New(fault.InDoubt, "vendor.no_answer", "a write was sent to "+g.name+" and its answer did not come; it may have been applied", unlink(err))
	case outer.Err() != nil:
		return outer.Err()
	case inner.Err() != nil:
		return fault.New(fault.Unavailable, "vendor.timeout", g.name+" did not answer in time", unlink(err))
	}
	return fault.New(fault.Unavailable, "vendor.unreachable", "nobody answers where "+g.name+" should be, or the connection broke", err)
}

func (g *Gate) judge(ctx context.Context, p pass, err error) (outcome, *fault.Fault) {
	var f *fault.Fault
	switch {
	case err == nil:
		return succeeded, nil
	case !errors.As(err, &f):
		return unknown, nil // the caller gave up
	case f.Class != fault.Unavailable && f.Class != fault.InDoubt || f.After > 0:
		return answered, f
	case ctx.Err() == nil:
		return failed, f
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && g.now().Sub(p.since) >= min(hung, g.timeout/2):
		return failed, f
	}
	return unknown, f
}
