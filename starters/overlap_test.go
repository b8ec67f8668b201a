package starters_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"

	"patchbay/internal/flow"
)

func heartbeat(ctx context.Context) { activity.RecordHeartbeat(ctx) }

// every is short, and long enough for a loaded machine to tell slots apart.
const every = 2 * time.Second

func TestASlotDuringARunIsSkippedByThePolicySkip(t *testing.T) {
	t.Parallel()
	r := newRhythm(t, flow.Schedule{Every: every, Overlap: flow.OverlapSkip})
	r.shut()
	r.keep()
	list := r.until("skipped", func(list []flow.Slot) bool { return count(list, flow.SlotOverlap) >= 3 })
	require.Equal(t, 1, count(list, flow.SlotRunning))
	r.release()
	r.until("running again", func(list []flow.Slot) bool { return count(list, flow.SlotRan, flow.SlotLate) >= 3 })
	list = r.settled()
	r.sameStory(list, 0)
	for _, s := range list {
		if s.Outcome == flow.SlotOverlap {
			require.Contains(t, s.Reason, "was open")
		}
	}
}

func TestOneSlotWaitsForTheRunBeforeItByThePolicyBufferOne(t *testing.T) {
	t.Parallel()
	r := newRhythm(t, flow.Schedule{Every: every, Overlap: flow.OverlapBufferOne})
	r.shut()
	r.keep()
	list := r.until("skipped", func(list []flow.Slot) bool { return count(list, flow.SlotOverlap) >= 2 })
	require.Equal(t, flow.SlotRunning, list[0].Outcome)
	require.Equal(t, flow.SlotExpected, list[1].Outcome, "the first that came waits")
	require.Equal(t, flow.SlotOverlap, list[2].Outcome)
	r.release()
	r.until("running again", func(list []flow.Slot) bool { return count(list, flow.SlotRan, flow.SlotLate) >= 4 })
	list = r.settled()
	require.Contains(t, []flow.SlotOutcome{flow.SlotRan, flow.SlotLate}, list[1].Outcome)
	r.sameStory(list, 0)
}

func TestEverySlotWaitsForTheRunBeforeItByThePolicyBufferAll(t *testing.T) {
	t.Parallel()
	r := newRhythm(t, flow.Schedule{Every: every, Overlap: flow.OverlapBufferAll})
	r.shut()
	r.keep()
	r.until("waiting", func(list []flow.Slot) bool {
		n := 0
		for _, s := range list {
			if s.Outcome == flow.SlotExpected && s.Reason == "it waits for the run before it" {
				n++
			}
		}
		return n >= 3
	})
	require.Len(t, r.started(), 1)
	r.release()
	r.until("run", func(list []flow.Slot) bool { return count(list, flow.SlotRan, flow.SlotLate) >= 5 })
	list := r.settled()
	require.Zero(t, count(list, flow.SlotOverlap, flow.SlotMissed))
	begun := r.started()
	for i, at := range begun[1:] {
		require.True(t, at.After(begun[i]), "they run in their order")
	}
	for i, s := range list[1:] {
		if s.StartedAt != nil && list[i].EndedAt != nil {
			require.False(t, s.StartedAt.Before(*list[i].EndedAt), "one at a time")
		}
	}
	r.sameStory(list, 0)
}

func TestASlotCancelsTheRunBeforeItByThePolicyCancelOther(t *testing.T) {
	t.Parallel()
	r := newRhythm(t, flow.Schedule{Every: every, Overlap: flow.OverlapCancel})
	r.shut()
	r.keep()
	r.until("cancelled", func(list []flow.Slot) bool { return cancelled(list) >= 3 })
	r.release()
	list := r.settled()
	r.sameStory(list, count(list, flow.SlotOverlap))
	require.Zero(t, count(list, flow.SlotMissed))
}

func cancelled(list []flow.Slot) int {
	n := 0
	for _, s := range list {
		if s.Status == flow.Cancelled {
			n++
		}
	}
	return n
}

func TestASlotTerminatesTheRunBeforeItByThePolicyTerminateOther(t *testing.T) {
	t.Parallel()
	r := newRhythm(t, flow.Schedule{Every: every, Overlap: flow.OverlapTerminate})
	r.shut()
	r.keep()
	r.until("terminated", func(list []flow.Slot) bool {
		n := 0
		for _, s := range list {
			if s.Status == flow.Failed {
				n++
			}
		}
		return n >= 2
	})
	r.release()
	list := r.settled()
	r.sameStory(list, count(list, flow.SlotOverlap))
	require.Zero(t, count(list, flow.SlotMissed))
}

func TestRunsOfSlotsOverlapByThePolicyAllowAll(t *testing.T) {
	t.Parallel()
	r := newRhythm(t, flow.Schedule{Every: every, Overlap: flow.OverlapAllow})
	r.shut()
	r.keep()
	r.until("open together", func(list []flow.Slot) bool { return count(list, flow.SlotRunning) >= 3 })
	r.release()
	list := r.settled()
	require.Zero(t, count(list, flow.SlotOverlap, flow.SlotMissed))
	r.sameStory(list, 0)
}

// A schedule of one second for a minute, on a machine that does other things: each of
// its slots has its run.
func TestNoSlotOfAScheduleOfOneSecondIsLost(t *testing.T) {
	t.Parallel()
	r := newRhythm(t, flow.Schedule{Every: time.Second, Overlap: flow.OverlapAllow})
	r.keep()
	r.until("a minute of them", func(list []flow.Slot) bool { return count(list, flow.SlotRan, flow.SlotLate) >= 60 })
	list := r.settled()
	r.sameStory(list, 0)
	ran := count(list, flow.SlotRan, flow.SlotLate)
	require.GreaterOrEqual(t, ran, 60)
	require.Equal(t, len(list)-count(list, flow.SlotPaused), ran, "what is not paused has run")
	t.Logf("%d slots ran, of them %d late, %d came after the hold", ran, count(list, flow.SlotLate), count(list, flow.SlotPaused))
}
