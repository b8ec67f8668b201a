package starters

import (
	"fmt"
	"strings"
	"time"

	"patchbay/internal/calendar"
	"patchbay/internal/flow"
	"patchbay/internal/slot"
)

type (
	// sight is what Temporal says of a schedule about which a slot is undecided.
	sight struct {
		policy   flow.Overlap
		window   time.Duration
		buffered int64  // slots that wait for the run before them
		paused   string // by somebody in Temporal; empty: it is not
		now      time.Time
		// found is the workflow of the slot; nil: there is none.
		found *found
		// lingered: the workflow of the slot before was open at the time, though its run
		// had ended.
		lingered bool
	}

	// found is a workflow that Temporal has.
	found struct {
		since  time.Time
		closed string    // how it ended; empty: it is open
		until  time.Time // when it ended
	}

	// verdict is what becomes of an undecided slot. An empty outcome leaves it undecided:
	// reason says why it has not begun, silent that nothing explains it.
	verdict struct {
		outcome flow.SlotOutcome
		reason  string
		taken   *time.Time
		silent  bool
	}
)

// backfillWait is how long a backfill may leave a slot that Temporal neither has
// started nor keeps waiting.
const backfillWait = time.Minute

// decide says what became of a slot whose time has passed and of which no run told.
// The order is Temporal's: what is started is started; what is paused is never looked
// at; then the policy.
func decide(u slot.Undecided, s sight) verdict {
	if u.Pause != nil && !u.At.Before(u.Pause.Since) && u.Backfill == nil && s.found == nil {
		return verdict{outcome: flow.SlotPaused, reason: u.Pause.Reason}
	}
	if f := s.found; f != nil && (u.Backfill == nil || f.since.After(u.Backfill.Add(-time.Second))) {
		if f.closed == "" {
			return verdict{taken: &f.since}
		}
		return verdict{outcome: flow.SlotMissed, reason: "its workflow was " + f.closed + " in Temporal before a worker began"}
	}
	if u.Backfill != nil {
		if s.buffered > 0 || u.During != "" || s.now.Sub(*u.Backfill) < backfillWait {
			return verdict{reason: "a backfill asked for it; it waits for its turn"}
		}
		return verdict{outcome: flow.SlotMissed, reason: "Temporal did not start it for the backfill"}
	}
	if v, ok := waiting(u, s); ok {
		return v
	}
	switch {
	case u.Pause != nil: // it began about that time: Temporal is told before the ledger
		return verdict{outcome: flow.SlotPaused, reason: u.Pause.Reason}
	case s.paused != "":
		return verdict{outcome: flow.SlotPaused, reason: s.paused}
	case u.Passed:
		return verdict{outcome: flow.SlotMissed, reason: "Temporal started a later one and not this"}
	case s.now.Sub(u.At) > s.window+s.window/10:
		return verdict{outcome: flow.SlotMissed, reason: "nothing started it within the catch-up window of " + calendar.Short(s.window)}
	}
	return verdict{silent: true, reason: "nothing has started it"}
}

// waiting says of a slot that came while a run was open what its policy makes of it.
func waiting(u slot.Undecided, s sight) (verdict, bool) {
	over := func(why string) (verdict, bool) {
		return verdict{outcome: flow.SlotOverlap, reason: why}, true
	}
	open := "run " + u.During + " was open"
	if strings.HasPrefix(u.During, "of ") {
		open = "the slot " + u.During + " was under way"
	}
	switch s.policy {
	case flow.OverlapSkip:
		if u.During != "" {
			return over(open)
		}
		if s.lingered {
			return over("the workflow of the slot of " + u.Before.UTC().Format(time.RFC3339) + " was open, whose run had just ended")
		}
	case flow.OverlapBufferOne:
		if u.Queued {
			return over("a slot was waiting already")
		}
	case flow.OverlapCancel, flow.OverlapTerminate:
		if u.During != "" && u.Passed {
			return over("a later slot took its place while the run before was ended")
		}
	}
	if s.policy != flow.OverlapSkip && s.policy != flow.OverlapAllow && s.buffered > 0 {
		return verdict{reason: "it waits for the run before it"}, true
	}
	return verdict{}, false
}

// graceOf is how long after its time a slot may go without a word before somebody is
// asked about it.
func graceOf(gap time.Duration) time.Duration {
	return min(max(gap/2, 3*time.Second), time.Minute)
}

// silence says since when a schedule starts nothing.
func silence(name string, at time.Time) string {
	return fmt.Sprintf("nothing started the slot of %s at %s, and nothing explains it", name, at.UTC().Format(time.RFC3339))
}
