package starters

import "time"

const (
	// idleEvery is how often the relay looks when nothing has happened for long.
	idleEvery = time.Second
	// soonest and latest bound how often it looks while something may wait.
	soonest = 20 * time.Millisecond
	latest  = 250 * time.Millisecond
	// watchful is how long that lasts after the last sign of work. A batch that is
	// older no longer counts as in flight, so what waits by then waits for a time or
	// for a person, and the idle look is soon enough.
	watchful = 6 * time.Second
	// gather is the least time between two claims: under load it is what lets a
	// batch be one.
	gather = 5 * time.Millisecond
)

// pace says how soon the relay looks again. A batch that settles frees a slot for
// rows that wait, and where that happens in another process nobody may tell: so
// the relay looks often as long as there was work lately, less and less often,
// and once a second when there was none. The zero value is idle.
type pace struct {
	stirred time.Time // the last sign of work
}

// stir notes a sign of work: a hint, or something that was claimed.
func (p *pace) stir(now time.Time) { p.stirred = now }

// wait is how long to wait before the next look when no hint comes.
func (p *pace) wait(now time.Time) time.Duration {
	quiet := now.Sub(p.stirred)
	if p.stirred.IsZero() || quiet >= watchful {
		return idleEvery
	}
	return min(max(quiet/8, soonest), latest)
}
