package starters

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/slot"
)

func TestEachUndecidedSlotHasTheOutcomeThatTemporalAndTheLedgerAgreeOn(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 30, 10, 0, 0, 0, time.UTC)
	soon, late, asked := at.Add(20*time.Second), at.Add(time.Hour), at.Add(50*time.Minute)
	held := &flow.Pause{Reason: "a migration"}
	begins := &flow.Pause{Since: at.Add(300 * time.Millisecond), Reason: "a migration"}
	open := &found{since: at.Add(time.Second)}
	for name, c := range map[string]struct {
		u       slot.Undecided
		s       sight
		outcome flow.SlotOutcome
		reason  string
		silent  bool
	}{
		"paused":                          {u: slot.Undecided{Pause: held}, s: sight{now: soon}, outcome: flow.SlotPaused, reason: "a migration"},
		"about when the pause began":      {u: slot.Undecided{Pause: begins}, s: sight{now: soon}, outcome: flow.SlotPaused, reason: "a migration"},
		"in a run when the pause began":   {u: slot.Undecided{Pause: begins, During: "r1"}, s: sight{now: soon, policy: flow.OverlapSkip}, outcome: flow.SlotOverlap, reason: "run r1 was open"},
		"started before the pause":        {u: slot.Undecided{Pause: held}, s: sight{now: soon, found: open}},
		"paused in Temporal":              {s: sight{now: soon, paused: "paused in Temporal: x"}, outcome: flow.SlotPaused, reason: "paused in Temporal: x"},
		"started, no worker":              {s: sight{now: soon, found: open}},
		"ended before a worker":           {s: sight{now: soon, found: &found{since: at, closed: "terminated"}}, outcome: flow.SlotMissed, reason: "was terminated in Temporal"},
		"during a run, skip":              {u: slot.Undecided{During: "r1"}, s: sight{now: soon, policy: flow.OverlapSkip}, outcome: flow.SlotOverlap, reason: "run r1 was open"},
		"during a run, allow_all":         {u: slot.Undecided{During: "r1"}, s: sight{now: soon, policy: flow.OverlapAllow}, silent: true},
		"waits, buffer_one":               {u: slot.Undecided{During: "r1"}, s: sight{now: soon, policy: flow.OverlapBufferOne, buffered: 1}, reason: "waits for the run"},
		"behind one that waits":           {u: slot.Undecided{During: "r1", Queued: true}, s: sight{now: soon, policy: flow.OverlapBufferOne, buffered: 1}, outcome: flow.SlotOverlap, reason: "waiting already"},
		"waits, buffer_all":               {u: slot.Undecided{During: "r1", Queued: true}, s: sight{now: soon, policy: flow.OverlapBufferAll, buffered: 3}, reason: "waits for the run"},
		"replaced, cancel_other":          {u: slot.Undecided{During: "r1", Passed: true}, s: sight{now: soon, policy: flow.OverlapCancel, buffered: 1}, outcome: flow.SlotOverlap, reason: "took its place"},
		"waits, terminate_other":          {u: slot.Undecided{During: "r1"}, s: sight{now: soon, policy: flow.OverlapTerminate, buffered: 1}, reason: "waits for the run"},
		"after a run, its workflow open":  {u: slot.Undecided{Before: &asked, Passed: true}, s: sight{now: soon, policy: flow.OverlapSkip, lingered: true}, outcome: flow.SlotOverlap, reason: "10:50:00Z was open"},
		"nothing explains it":             {s: sight{now: soon, policy: flow.OverlapSkip}, silent: true},
		"passed over":                     {u: slot.Undecided{Passed: true}, s: sight{now: soon, policy: flow.OverlapSkip}, outcome: flow.SlotMissed, reason: "a later one"},
		"past the catch-up window":        {s: sight{now: late, policy: flow.OverlapBufferAll}, outcome: flow.SlotMissed, reason: "catch-up window of 10m"},
		"backfill, just asked":            {u: slot.Undecided{Backfill: &asked}, s: sight{now: asked.Add(time.Second)}, reason: "waits for its turn"},
		"backfill, behind a run":          {u: slot.Undecided{Backfill: &asked, During: "r1"}, s: sight{now: late}, reason: "waits for its turn"},
		"backfill, though it is paused":   {u: slot.Undecided{Backfill: &asked, Pause: held}, s: sight{now: asked.Add(time.Second)}, reason: "waits for its turn"},
		"backfill, never started":         {u: slot.Undecided{Backfill: &asked}, s: sight{now: late}, outcome: flow.SlotMissed, reason: "did not start it for the backfill"},
		"backfill, an old workflow of it": {u: slot.Undecided{Backfill: &asked}, s: sight{now: late, found: &found{since: at, closed: "failed"}}, outcome: flow.SlotMissed, reason: "did not start it for the backfill"},
	} {
		c.u.At = at
		c.s.window = 10 * time.Minute
		v := decide(c.u, c.s)
		require.Equal(t, c.outcome, v.outcome, name)
		require.Contains(t, v.reason, c.reason, name)
		require.Equal(t, c.silent, v.silent, name)
		require.Equal(t, c.s.found != nil && c.outcome == "" && c.s.found.closed == "", v.taken != nil, name)
	}
}
