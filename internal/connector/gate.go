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
	g.limits.quota = d.Quota
	g.limits.share(c.Name, d)
	return g
}

// Longer is the gate for calls that carry so many times what others do, and may take
// as many times as long. All else is shared.
func (g *Gate) Longer(times int) *Gate {
	l := *g
	l.timeout *= time.Duration(max(times, 1))
	return &l
}

// Pass lets one call through when its turn has come, which sends no message. what tells calls apart, for
// one that fails for its own sake must not stop the others; it is never shown. The
// context of call ends when the time of one call is over. A call that says Throttled
// keeps the connection silent for as long. Faults of the gate's own are those of
// Transport.Do.
func (g *Gate) Pass(ctx context.Context, what string, call func(ctx context.Context) error) error {
	return g.Send(ctx, what, 0, call)
}

// Send is Pass of a call that sends messages to people.
func (g *Gate) Send(ctx context.Context, what string, messages int, call func(ctx context.Context) error) (err error) {
	r := Request{Target: what}
	p, err := g.limits.enter(ctx, &r)
	if err != nil {
		return err
	}
	said := unknown // also when call panics
	var f *fault.Fault
	defer func() { g.limits.leave(p, &r, said, f) }()
	end, err := g.limits.pay(ctx, Use{Messages: messages})
	if err != nil {
		return err
	}
	sent := true // also when call panics
	defer func() { end(sent) }()
	p.since = g.now()
	inner, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	err = call(inner)
	sent = !isWithheld(err)
	said, f = g.judge(ctx, p, err)
	if f != nil && f.Class == fault.Throttled {
		g.limits.close(f.After)
	}
	return err
}

// Commit makes a write durable by apply. sent says of a failure whether the write
// may have taken effect nevertheless. held is Request.Held.
func (g *Gate) Commit(held func() error, apply func() (sent bool, err error)) (sent bool, err error) {
	at := failpoint.At(g.system, "write")
	at.Before()
	if err := ask(held); err != nil {
		return false, err
	}
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
	case isWithheld(err):
		return unknown, fault.Of(err)
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
