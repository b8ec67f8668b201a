package starters_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/slot"
	"patchbay/starters"
)

func TestABackfillRunsExactlyWhatIsMissing(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]flow.Schedule{
		"one after the other": {Every: time.Minute},
		"with jitter":         {Every: time.Minute, Jitter: 50 * time.Second},
		"together, paused":    {Every: time.Minute, Overlap: flow.OverlapAllow, Paused: "for good"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRhythm(t, s)
			r.keep()
			// A hundred slots before now: ninety-three of them ran, and of the rest the ledger
			// knows that they were missed, or nothing at all.
			last := time.Now().UTC().Truncate(time.Minute).Add(-2 * time.Minute)
			removed := rand.New(rand.NewPCG(6, 7)).Perm(100)[:7]
			var missing []time.Time
			for i := range 100 {
				at := last.Add(-time.Duration(99-i) * time.Minute)
				if slices.Contains(removed, i) {
					missing = append(missing, at)
					continue
				}
				_, err := r.ledger.Open(t.Context(), slot.Opening{Flow: "picture", RunID: "before-" + at.Format("1504"), WorkflowID: "w", At: &at})
				require.NoError(t, err)
				require.NoError(t, r.ledger.Close(t.Context(), "before-"+at.Format("1504"), slot.Closing{Status: flow.Completed, Rows: 1}))
			}
			b := flow.Backfill{Flow: "picture", From: last.Add(-99 * time.Minute), To: last, By: "anna", Plan: true}
			planned, err := r.schedules.Backfill(t.Context(), b)
			require.NoError(t, err)
			require.Equal(t, missing, planned.Slots)
			b.Plan = false
			done, err := r.schedules.Backfill(t.Context(), b)
			require.NoError(t, err)
			require.ElementsMatch(t, missing, done.Slots)
			list := r.until("filled", func(list []flow.Slot) bool {
				return count(list[:min(len(list), 100)], flow.SlotRan, flow.SlotLate) == 100
			})
			var filled []time.Time
			for _, s := range list[:100] {
				if s.Backfilled {
					filled = append(filled, s.At)
				}
			}
			require.Equal(t, missing, filled)
			var ran []time.Time
			for _, at := range r.started() {
				if !at.After(last) {
					ran = append(ran, at)
				}
			}
			require.ElementsMatch(t, missing, ran, "Temporal started those and no others")
			again, err := r.schedules.Backfill(t.Context(), b)
			require.NoError(t, err)
			require.Empty(t, again.Slots)
		})
	}
}

func TestSlotsOfAPauseArePausedForItsReasonWhoeverMadeIt(t *testing.T) {
	t.Parallel()
	r := newRhythm(t, flow.Schedule{Every: time.Second, Overlap: flow.OverlapAllow})
	r.keep()
	r.until("running", func(list []flow.Slot) bool { return count(list, flow.SlotRan) >= 2 })
	_, err := r.schedules.Hold(t.Context(), "picture", "anna", " ")
	require.True(t, fault.Is(err, fault.Invalid), "a reason is asked for")
	held, err := r.schedules.Hold(t.Context(), "picture", "anna", "the target is moved")
	require.NoError(t, err)
	require.Equal(t, "anna", held.Paused.By)
	r.until("paused", func(list []flow.Slot) bool { return paused(list, "the target is moved") >= 2 })
	_, err = r.schedules.Resume(t.Context(), "picture", "anna")
	require.NoError(t, err)
	n := len(r.started())
	r.until("running again", func([]flow.Slot) bool { return len(r.started()) >= n+2 })
	require.NoError(t, r.temporal.ScheduleClient().GetHandle(t.Context(), starters.ScheduleID("picture")).Pause(t.Context(), client.SchedulePauseOptions{Note: "I am curious"}))
	r.until("paused by somebody", func(list []flow.Slot) bool { return paused(list, "paused in Temporal: I am curious") >= 2 })
	st, err := r.ledger.Schedule(t.Context(), "picture")
	require.NoError(t, err)
	require.Equal(t, "temporal", st.Pause.By)
	require.Zero(t, count(r.slots(), flow.SlotMissed))
}

func paused(list []flow.Slot, why string) int {
	n := 0
	for _, s := range list {
		if s.Outcome == flow.SlotPaused && s.Reason == why {
			n++
		}
	}
	return n
}

func TestAScheduleThatIsGoneOrStartsNothingIsFoundWithinTwoIntervalsAndGoesOn(t *testing.T) {
	t.Parallel()
	const every = 6 * time.Second
	for name, harm := range map[string]func(r *rhythm, h client.ScheduleHandle) error{
		"deleted": func(r *rhythm, h client.ScheduleHandle) error { return h.Delete(r.Context()) },
		"its own workflow is terminated": func(r *rhythm, h client.ScheduleHandle) error {
			return r.temporal.TerminateWorkflow(r.Context(), "temporal-sys-scheduler:"+h.GetID(), "", "a test")
		},
		"changed to start nothing": func(r *rhythm, h client.ScheduleHandle) error {
			return h.Update(r.Context(), client.ScheduleUpdateOptions{DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
				in.Description.Schedule.Spec.Intervals[0].Every = 240 * time.Hour
				return &client.ScheduleUpdate{Schedule: &in.Description.Schedule}, nil
			}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRhythm(t, flow.Schedule{Every: every, Overlap: flow.OverlapAllow, CatchUp: 10 * time.Second})
			r.keep()
			r.until("running", func(list []flow.Slot) bool { return count(list, flow.SlotRan) >= 1 })
			require.NoError(t, harm(r, r.temporal.ScheduleClient().GetHandle(t.Context(), starters.ScheduleID("picture"))))
			stopped := time.Now()
			var silent *time.Time
			r.until("silent", func([]flow.Slot) bool {
				st, err := r.ledger.Schedule(t.Context(), "picture")
				require.NoError(t, err)
				silent = st.Silent
				return silent != nil
			})
			require.Less(t, time.Since(stopped), 2*every+3*time.Second, "three seconds are for looking")
			n := len(r.started())
			list := r.until("going on", func(list []flow.Slot) bool {
				return len(r.started()) > n && count(list, flow.SlotMissed) > 0
			})
			require.Equal(t, flow.SlotMissed, list[slices.IndexFunc(list, func(s flow.Slot) bool { return s.At.Equal(*silent) })].Outcome)
			r.until("speaking", func([]flow.Slot) bool {
				st, err := r.ledger.Schedule(t.Context(), "picture")
				require.NoError(t, err)
				return st.Silent == nil
			})
		})
	}
}

func TestDiffSaysInWordsWhatTemporalLacksAndMakeBringsIt(t *testing.T) {
	t.Parallel()
	r := newRhythm(t, flow.Schedule{Every: time.Hour})
	diff := func(list ...slot.Entry) []starters.ScheduleChange {
		changes, err := r.schedules.Diff(t.Context(), list)
		require.NoError(t, err)
		return changes
	}
	entry := func(s flow.Schedule) slot.Entry { return slot.Entry{Flow: "picture", Schedule: s} }
	require.Empty(t, diff(entry(flow.Schedule{Every: time.Hour})))
	other := flow.Schedule{Cron: []string{"0 6 * * 1-5", "30 0 0 1 1 * 2027-2030"}, Zone: "Europe/Berlin", Holidays: []string{"de", "12-24"}, Jitter: time.Minute,
		Overlap: flow.OverlapBufferOne, CatchUp: time.Hour, Paused: "until the audit is over"}
	changes := diff(entry(other))
	require.Len(t, changes, 1)
	require.Equal(t, "update", changes[0].Kind)
	for _, words := range []string{"times: every 1h → 0 6 * * 1-5 and 30 0 0 1 1 * 2027-2030", "timezone: UTC → Europe/Berlin", "jitter: 0s → 1m",
		"overlap: skip → buffer_one", "catch_up: 10m → 1h", "paused: until the audit is over"} {
		require.Contains(t, changes[0].Words, words)
	}
	r.apply(other)
	require.Empty(t, diff(entry(other)), "made is equal")
	withoutPause := other
	withoutPause.Paused = ""
	require.Equal(t, []starters.ScheduleChange{{Flow: "picture", Kind: "resume", Words: []string{"no longer paused"}}}, diff(entry(withoutPause)))
	_, err := r.schedules.Resume(t.Context(), "picture", "anna")
	require.NoError(t, err)
	require.Empty(t, diff(entry(other)), "while the file says the same, a person decides")
	changes = diff(slot.Entry{Flow: "newer", Schedule: flow.Schedule{Every: time.Minute, Paused: "not yet"}})
	require.Equal(t, []starters.ScheduleChange{
		{Flow: "newer", Kind: "create", Words: []string{"every 1m; overlap skip", "paused: not yet"}},
		{Flow: "picture", Kind: "delete", Words: []string{"the flow is gone, or has no schedule any more"}}}, changes)
	require.NoError(t, r.ledger.Apply(t.Context(), nil, "test", ""))
	require.NoError(t, r.schedules.Make(t.Context()))
	require.Empty(t, diff())
	all, err := r.ledger.Schedules(t.Context())
	require.NoError(t, err)
	require.Empty(t, all)
}
