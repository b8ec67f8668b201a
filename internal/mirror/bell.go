package mirror

import (
	"context"
	"sync/atomic"
	"time"
)

// Bell is how a source that has to be asked tells that there is something to ask for. It
// is a hint: a change that it does not tell of is found by asking, and then the source is
// asked often until the bell rings again. It is safe for concurrent use.
type Bell struct {
	ring    chan struct{}
	trusted atomic.Bool
}

// brieflyRung is how often a source is asked whose bell keeps ringing.
const brieflyRung = 500 * time.Millisecond

// NewBell makes a bell that is not relied on before it rings.
func NewBell() *Bell { return &Bell{ring: make(chan struct{}, 1)} }

// Ring tells that something changed, or that changes will be told from now on.
func (b *Bell) Ring() {
	b.trusted.Store(true)
	select {
	case b.ring <- struct{}{}:
	default: // it has rung already
	}
}

// missed says that something changed and the bell did not ring. On nil it does nothing.
func (b *Bell) missed() {
	if b != nil {
		b.trusted.Store(false)
	}
}

// bell is the table's; nil: it has none.
func (f *follower) bell() *Bell {
	if f.Bell == nil {
		return nil
	}
	return f.Bell(f.table.Name)
}

// rest leaves a source alone that was asked last at that time, until it is asked again,
// or something is known to have changed: rung. Rings that come together are one.
func (f *follower) rest(ctx context.Context, asked time.Time) (rung bool) {
	wait, ring := f.Poll, (<-chan struct{})(nil)
	if b := f.bell(); b != nil {
		if ring = b.ring; b.trusted.Load() {
			wait = max(wait, f.Seldom)
		}
	}
	timer := time.NewTimer(f.brief(wait))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-ring:
	case <-timer.C:
		select {
		case <-ring:
		default:
			return false
		}
	}
	if soon := f.brief(brieflyRung) - time.Since(asked); soon > 0 {
		settle := time.NewTimer(soon)
		defer settle.Stop()
		select {
		case <-ctx.Done():
		case <-settle.C:
		}
	}
	return true
}
