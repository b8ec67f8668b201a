package flow

import (
	"strings"
	"time"
)

// Obstacle is what keeps an open run from going on, the queue apart. Its text is
// what Run.Waiting holds; only String and ObstacleOf know the form of it.
type Obstacle struct {
	Connection string        // that is in the way; empty: Why says all there is
	After      time.Duration // the pause it asked for; 0: none
	Why        string        // one sentence that is safe to show
}

const anotherTry = "waiting for another try: "

// String writes an obstacle as people read it.
func (o Obstacle) String() string {
	switch {
	case o.Connection == "":
		return anotherTry + o.Why
	case o.After == Asleep:
		return SleepsFor + o.Connection + ": " + o.Why
	case o.After > 0:
		return "waiting " + o.After.String() + " for " + o.Connection + ": " + o.Why
	default:
		return "waiting for " + o.Connection + ": " + o.Why
	}
}

// ObstacleOf reads a text that String wrote; any other is the Why of one.
func ObstacleOf(waiting string) Obstacle {
	if why, ok := strings.CutPrefix(waiting, anotherTry); ok {
		return Obstacle{Why: why}
	}
	about, why, found := strings.Cut(waiting, ": ")
	words := strings.Fields(about)
	switch {
	case !found || len(words) < 3 || words[0] != "waiting" || words[len(words)-2] != "for":
	case len(words) == 3:
		return Obstacle{Connection: words[2], Why: why}
	case len(words) == 4 && strings.HasPrefix(waiting, SleepsFor):
		return Obstacle{Connection: words[3], After: Asleep, Why: why}
	case len(words) == 4:
		if after, err := time.ParseDuration(words[1]); err == nil {
			return Obstacle{Connection: words[3], After: after, Why: why}
		}
	}
	return Obstacle{Why: waiting}
}

// Asleep is how long an open run waits for a connection that rests or is held, unless it
// is woken before: the pause of its obstacle, whose text begins with SleepsFor.
const (
	Asleep    = time.Hour
	SleepsFor = "waiting patiently for "
)
