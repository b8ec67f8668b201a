package app

import (
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"patchbay/internal/alert"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/run"
	"patchbay/internal/slot"
	"patchbay/internal/store/storetest"
)

// picture is the plan of a consolidation with a schedule.
func picture(s flow.Schedule) *flow.Plan {
	return &flow.Plan{Flow: "picture", Pattern: flow.Consolidation, Summary: "x", Schedule: &s}
}

func newSlots(t *testing.T, p *flow.Plan) *core {
	t.Helper()
	db := storetest.New(t)
	c := &core{Settings: Settings{Log: zap.NewNop(), Speed: 1}, store: db, plans: run.NewPlans(db), board: alert.New(db, 1), slots: slot.New(db)}
	c.book = run.NewBook(db, c.plans, run.Options{})
	_, err := c.plans.Apply(t.Context(), []*flow.Plan{p}, nil, "test")
	require.NoError(t, err)
	require.NoError(t, c.slots.Apply(t.Context(), entries([]*flow.Plan{p, {Flow: "other"}}), "test", ""))
	return c
}

func TestAPressBesideAnOpenRunIsRefusedWithTheRunThatIsOpen(t *testing.T) {
	t.Parallel()
	c := newSlots(t, picture(flow.Schedule{Every: time.Hour}))
	press := flow.Press{Flow: "picture", Principal: "test", Key: "k"}
	require.NoError(t, c.alone(t.Context(), press))
	at := time.Now().Truncate(time.Hour)
	_, err := c.slots.Open(t.Context(), slot.Opening{Flow: "picture", RunID: "ofslot", WorkflowID: "w", At: &at})
	require.NoError(t, err)
	f := fault.Of(c.alone(t.Context(), press))
	require.Equal(t, fault.Conflict, f.Class)
	require.Equal(t, "run.overlap", f.Code)
	require.Contains(t, f.Text, "/runs/ofslot")
	require.NoError(t, c.slots.Close(t.Context(), "ofslot", slot.Closing{Status: flow.Completed}))
	own, err := c.book.RunID(t.Context(), press)
	require.NoError(t, err)
	_, err = c.slots.Open(t.Context(), slot.Opening{Flow: "picture", RunID: own, WorkflowID: "w"})
	require.NoError(t, err)
	require.NoError(t, c.alone(t.Context(), press), "the same press again is the same run")
	press.Key = "another"
	require.Error(t, c.alone(t.Context(), press))

	open := newSlots(t, picture(flow.Schedule{Every: time.Hour, Overlap: flow.OverlapAllow}))
	_, err = open.slots.Open(t.Context(), slot.Opening{Flow: "picture", RunID: "ofslot", WorkflowID: "w", At: &at})
	require.NoError(t, err)
	require.NoError(t, open.alone(t.Context(), press), "this one lets its runs overlap")
}

func TestSilentSchedulesMissedSlotsAndSlowRunsAreFoundWrongAndBreachesToComeToo(t *testing.T) {
	t.Parallel()
	c := newSlots(t, picture(flow.Schedule{Every: 4 * time.Second, Overlap: flow.OverlapAllow, WarnAt: 50}))
	a := &api{core: c}
	codes := func() []string {
		list, err := a.slipping(t.Context())
		require.NoError(t, err)
		found := []string{}
		for _, f := range list {
			require.Equal(t, "picture", f.Flow)
			require.NotEmpty(t, f.Text)
			found = append(found, f.Code)
		}
		return found
	}
	require.Empty(t, codes())
	at := time.Now().UTC().Truncate(4 * time.Second)
	_, err := c.slots.Ask(t.Context(), "picture", "test", []time.Time{at.Add(-8 * time.Second)})
	require.NoError(t, err)
	require.NoError(t, c.slots.Decide(t.Context(), "picture", at.Add(-8*time.Second), flow.SlotMissed, "nothing started it"))
	require.NoError(t, c.slots.Silence(t.Context(), "picture", &at, true))
	breach := time.Now().Add(time.Hour)
	require.NoError(t, c.slots.Foresee(t.Context(), flow.Forecast{Flow: "picture", Breach: &breach, Warn: true, Text: "it will take too long"}))
	_, err = c.slots.Open(t.Context(), slot.Opening{Flow: "picture", RunID: "slow", WorkflowID: "w", At: &at, Shared: true})
	require.NoError(t, err)
	require.Equal(t, []string{"schedule.silent", "schedule.forecast", "schedule.missed"}, codes())
	require.Eventually(t, func() bool { return len(codes()) == 4 }, time.Minute, 100*time.Millisecond, "half of its interval has passed")
	require.Contains(t, codes(), "schedule.slow")
	require.NoError(t, c.slots.Close(t.Context(), "slow", slot.Closing{Status: flow.Completed}))
	require.NotContains(t, codes(), "schedule.slow")
	counts, err := c.slotCounts(t.Context())
	require.NoError(t, err)
	total := map[string]int64{}
	for _, n := range counts {
		total[n.Outcome] = n.Count
	}
	require.EqualValues(t, 1, total["missed"])
	require.EqualValues(t, 1, total["ran"])
}

func TestAnApplyPutsSchedulesInForceAndTakesAwayThoseThatAreGone(t *testing.T) {
	t.Parallel()
	c := newSlots(t, picture(flow.Schedule{Every: time.Hour}))
	files := fstest.MapFS{"connections.yaml": {Data: []byte("connections: {}\n")}}
	_, err := apply(t.Context(), c.plans, c.board, c.slots, applying{files: files, name: "flows", speed: 1, by: "test"})
	require.NoError(t, err)
	all, err := c.slots.Schedules(t.Context())
	require.NoError(t, err)
	require.True(t, all[0].Dropped)
}
