package slot_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/slot"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
)

// bundle is a ledger on a database of its own, with one flow that has a schedule.
type bundle struct {
	*testing.T
	store  *store.Store
	ledger *slot.Ledger
}

func newBundle(t *testing.T, s flow.Schedule) *bundle {
	t.Helper()
	db := storetest.New(t)
	b := &bundle{T: t, store: db, ledger: slot.New(db)}
	b.apply("", slot.Entry{Flow: "picture", Schedule: s})
	return b
}

func (b *bundle) apply(held string, list ...slot.Entry) {
	b.Helper()
	require.NoError(b, b.ledger.Apply(b.Context(), list, "test", held))
}

// pass makes all that is known as old as if so much time had passed.
func (b *bundle) pass(d time.Duration) {
	b.Helper()
	require.NoError(b, b.store.Tx(b.Context(), func(tx pgx.Tx) error {
		for _, sql := range []string{
			`update schedule set since = since - $1::interval, filled_to = filled_to - $1::interval`,
			`update schedule_pause set since = since - $1::interval, until = until - $1::interval`,
			`update slot_run set opened_at = opened_at - $1::interval, closed_at = closed_at - $1::interval`,
		} {
			if _, err := tx.Exec(b.Context(), sql, d); err != nil {
				return err
			}
		}
		return nil
	}))
}

func (b *bundle) fill() {
	b.Helper()
	for more := true; more; {
		var err error
		more, err = b.ledger.Fill(b.Context(), "picture")
		require.NoError(b, err)
	}
}

func (b *bundle) slots() []flow.Slot {
	b.Helper()
	list, err := b.ledger.Newest(b.Context(), "picture", 1000)
	require.NoError(b, err)
	return list
}

func (b *bundle) open(run string, at *time.Time) slot.Opened {
	b.Helper()
	opened, err := b.ledger.Open(b.Context(), slot.Opening{Flow: "picture", RunID: run, WorkflowID: "consolidation/picture/" + run, At: at})
	require.NoError(b, err)
	return opened
}

func (b *bundle) close(run string, status flow.Status) {
	b.Helper()
	require.NoError(b, b.ledger.Close(b.Context(), run, slot.Closing{Status: status, Rows: 7, Bytes: 700}))
}

var hourly = flow.Schedule{Every: time.Hour}

func TestEveryTimeOfAScheduleIsARowHoweverLateItIsFilled(t *testing.T) {
	t.Parallel()
	b := newBundle(t, flow.Schedule{Every: time.Second})
	b.pass(45 * time.Minute)
	b.fill()
	require.InDelta(t, 2700, len(b.all()), 2)
	b.fill()
	list := b.all()
	for i, s := range list[1:] {
		require.Equal(t, time.Second, s.At.Sub(list[i].At))
		require.Equal(t, flow.SlotExpected, s.Outcome)
	}
}

func (b *bundle) all() []flow.Slot {
	b.Helper()
	list, err := b.ledger.Slots(b.Context(), "picture", time.Now().Add(-1000*time.Hour), time.Now(), 1_000_000)
	require.NoError(b, err)
	return list
}

func TestTheNextSlotIsKnownHoweverFarItIs(t *testing.T) {
	t.Parallel()
	b := newBundle(t, flow.Schedule{Every: 365 * 24 * time.Hour})
	b.fill()
	list, err := b.ledger.Slots(t.Context(), "picture", time.Now(), time.Now().AddDate(2, 0, 0), 10)
	require.NoError(t, err)
	require.Len(t, list, 1)
}

func TestAHolidayIsOneRowThatCountsWhatItLeavesOut(t *testing.T) {
	t.Parallel()
	b := newBundle(t, flow.Schedule{Every: time.Hour, Holidays: []string{time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly)}})
	b.pass(49 * time.Hour)
	b.fill()
	var holidays []flow.Slot
	for _, s := range b.all() {
		if s.Outcome == flow.SlotHoliday {
			holidays = append(holidays, s)
		}
	}
	require.Len(t, holidays, 1)
	require.Contains(t, holidays[0].Reason, "24 slots")
	require.Zero(t, holidays[0].At.Hour())
}

func TestOfManyRunsThatBeginTogetherOneHasThePlace(t *testing.T) {
	t.Parallel()
	b := newBundle(t, hourly)
	var all sync.WaitGroup
	var mu sync.Mutex
	given := 0
	for i := range 12 {
		all.Go(func() {
			opened, err := b.ledger.Open(t.Context(), slot.Opening{Flow: "picture", RunID: fmt.Sprint("run", i), WorkflowID: "w"})
			mu.Lock()
			defer mu.Unlock()
			if err == nil && opened.Busy == nil {
				given++
			}
		})
	}
	all.Wait()
	require.Equal(t, 1, given)
}

func TestASlotThatFindsAPersonsRunOpenIsSkippedAndAPersonThatFindsASlotsIsToldWhere(t *testing.T) {
	t.Parallel()
	b := newBundle(t, hourly)
	at := time.Now().UTC().Truncate(time.Hour)
	require.Nil(t, b.open("byhand", nil).Busy)
	require.Equal(t, "byhand", b.open("ofslot", &at).Busy.RunID)
	require.Equal(t, flow.SlotOverlap, b.slots()[0].Outcome)
	require.Contains(t, b.slots()[0].Reason, "byhand")
	b.close("byhand", flow.Completed)
	next := at.Add(time.Hour)
	require.Nil(t, b.open("ofnext", &next).Busy)
	busy := b.open("byhand2", nil).Busy
	require.NotNil(t, busy)
	require.True(t, fault.Is(busy.Conflict(), fault.Conflict))
	require.Contains(t, fault.Of(busy.Conflict()).Text, "/runs/ofnext")
}

func TestOpeningAndClosingAreIdempotentAndARunThatIsRedrivenHasItsSlotAgain(t *testing.T) {
	t.Parallel()
	b := newBundle(t, hourly)
	at := time.Now().UTC().Truncate(time.Hour)
	b.open("run", &at)
	began := b.slots()[0].StartedAt
	require.Nil(t, b.open("run", &at).Busy)
	require.Equal(t, began, b.slots()[0].StartedAt)
	b.close("run", flow.Failed)
	b.close("run", flow.Completed)
	s := b.slots()[0]
	require.Equal(t, flow.Failed, s.Status)
	require.EqualValues(t, 7, s.Rows)
	require.Nil(t, b.open("run", &at).Busy)
	require.Equal(t, flow.SlotRunning, b.slots()[0].Outcome)
	b.close("run", flow.Completed)
	require.Equal(t, flow.Completed, b.slots()[0].Status)
	require.Len(t, b.slots(), 1)
}

func TestASlotWaitsForItsPlaceWhereItsPolicyIsNotToSkip(t *testing.T) {
	t.Parallel()
	b := newBundle(t, flow.Schedule{Every: time.Hour, Overlap: flow.OverlapTerminate})
	at := time.Now().UTC().Truncate(time.Hour)
	before := at.Add(-time.Hour)
	b.open("before", &before)
	require.NotNil(t, b.open("run", &at).Busy)
	require.Equal(t, flow.SlotExpected, b.slots()[0].Outcome)
	require.Contains(t, b.slots()[0].Reason, "waits for run before")
	b.close("before", flow.Failed)
	require.Nil(t, b.open("run", &at).Busy)
	require.Equal(t, flow.SlotRunning, b.slots()[0].Outcome)
}

func TestRunsOverlapWhereTheFlowLetsThem(t *testing.T) {
	t.Parallel()
	b := newBundle(t, flow.Schedule{Every: time.Hour, Overlap: flow.OverlapAllow})
	for i := range 3 {
		opened, err := b.ledger.Open(t.Context(), slot.Opening{Flow: "picture", RunID: fmt.Sprint(i), WorkflowID: "w", Shared: true})
		require.NoError(t, err)
		require.Nil(t, opened.Busy)
	}
}

func TestARunThatBeginsLateSaysBySoMuch(t *testing.T) {
	t.Parallel()
	b := newBundle(t, hourly)
	at := time.Now().UTC().Add(-2 * time.Hour).Truncate(time.Hour)
	b.open("run", &at)
	b.close("run", flow.Completed)
	require.Equal(t, flow.SlotLate, b.slots()[0].Outcome)
	require.Contains(t, b.slots()[0].Reason, "after its time")
}

func TestAFileThatAsksForAPauseOrNoLongerDoesIsObeyedOnceAndAHoldOutlastsIt(t *testing.T) {
	t.Parallel()
	b := newBundle(t, hourly)
	paused := func() *flow.Pause {
		s, err := b.ledger.Schedule(t.Context(), "picture")
		require.NoError(t, err)
		return s.Pause
	}
	require.Nil(t, paused())
	require.NoError(t, b.ledger.Hold(t.Context(), "picture", "anna", "the target is moved", true))
	b.apply("", slot.Entry{Flow: "picture", Schedule: hourly})
	require.Equal(t, "the target is moved", paused().Reason, "an apply of the same file does not end what a person held")
	inFile := hourly
	inFile.Paused = "until the audit is over"
	b.apply("", slot.Entry{Flow: "picture", Schedule: inFile})
	require.Equal(t, inFile.Paused, paused().Reason)
	b.apply("", slot.Entry{Flow: "picture", Schedule: hourly})
	require.Nil(t, paused())
	b.apply("held at start", slot.Entry{Flow: "picture", Schedule: hourly}, slot.Entry{Flow: "other", Schedule: hourly})
	require.Nil(t, paused(), "what is known is not held anew")
	s, err := b.ledger.Schedule(t.Context(), "other")
	require.NoError(t, err)
	require.Equal(t, "held at start", s.Pause.Reason)
}

func TestAFlowThatIsGoneLosesItsScheduleAndKeepsItsSlots(t *testing.T) {
	t.Parallel()
	b := newBundle(t, hourly)
	b.pass(3 * time.Hour)
	b.fill()
	before := len(b.all())
	b.apply("")
	_, err := b.ledger.Schedule(t.Context(), "picture")
	require.True(t, fault.Is(err, fault.NotFound))
	all, err := b.ledger.Schedules(t.Context())
	require.NoError(t, err)
	require.True(t, all[0].Dropped, "Temporal's is to be removed first")
	require.NoError(t, b.ledger.Removed(t.Context(), "picture"))
	all, err = b.ledger.Schedules(t.Context())
	require.NoError(t, err)
	require.Empty(t, all)
	require.Len(t, b.all(), before)
}

func TestABackfillTakesExactlyWhatIsMissing(t *testing.T) {
	t.Parallel()
	b := newBundle(t, flow.Schedule{Every: time.Minute})
	b.pass(100 * time.Minute)
	b.fill()
	list := b.all()
	random := rand.New(rand.NewPCG(7, 7))
	removed := map[time.Time]bool{}
	for len(removed) < 7 {
		removed[list[random.IntN(len(list))].At] = true
	}
	n := 0
	for i, s := range list {
		if removed[s.At] {
			if n++; n%2 == 0 {
				require.NoError(t, b.ledger.Decide(t.Context(), "picture", s.At, flow.SlotMissed, "nothing started it"))
				continue
			}
			require.NoError(t, b.store.Tx(t.Context(), func(tx pgx.Tx) error { // it never was expected
				_, err := tx.Exec(t.Context(), `delete from slot where at = $1`, s.At)
				return err
			}))
			continue
		}
		id := fmt.Sprint("run", i)
		b.open(id, &s.At)
		b.close(id, flow.Completed)
	}
	missing, err := b.ledger.Missing(t.Context(), "picture", list[0].At, list[len(list)-1].At, nil)
	require.NoError(t, err)
	require.Len(t, missing, 7)
	for _, at := range missing {
		require.True(t, removed[at])
	}
	asked, err := b.ledger.Ask(t.Context(), "picture", "anna", missing)
	require.NoError(t, err)
	require.ElementsMatch(t, missing, asked)
	asked, err = b.ledger.Ask(t.Context(), "picture", "ben", missing)
	require.NoError(t, err)
	require.Empty(t, asked, "what is asked for is not asked for again")
	b.open("filled", &missing[0])
	b.close("filled", flow.Completed)
	filled, err := b.ledger.Slots(t.Context(), "picture", missing[0], missing[0], 1)
	require.NoError(t, err)
	require.Equal(t, flow.SlotRan, filled[0].Outcome, "a backfill is not late")
	require.True(t, filled[0].Backfilled)
}

func TestWhatIsKnownOfAnUndecidedSlotIsTold(t *testing.T) {
	t.Parallel()
	b := newBundle(t, flow.Schedule{Every: time.Minute})
	b.pass(5 * time.Minute)
	b.fill()
	list := b.all()
	require.GreaterOrEqual(t, len(list), 4)
	b.open("run", &list[1].At)
	require.NoError(t, b.store.Tx(t.Context(), func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `insert into schedule_pause (flow, since, until, by, reason) values ('picture', $1, $2, 'anna', 'a migration')`,
			list[3].At.Add(-time.Second), list[3].At.Add(time.Second))
		return err
	}))
	und, err := b.ledger.Undecided(t.Context(), "picture", time.Second, time.Minute, 10)
	require.NoError(t, err)
	require.Empty(t, und[0].During)
	require.Nil(t, und[0].Before)
	require.True(t, list[1].At.Equal(*und[2].Before), "the last slot before it that has had a run")
	require.True(t, und[0].Passed, "a later one has begun")
	require.Equal(t, "run", und[1].During, "the slot after it came while it was open")
	require.Equal(t, "a migration", und[2].Pause.Reason)
	require.NoError(t, b.ledger.Decide(t.Context(), "picture", und[0].At, flow.SlotMissed, "x"))
	require.NoError(t, b.ledger.Decide(t.Context(), "picture", list[1].At, flow.SlotMissed, "x"))
	require.Equal(t, flow.SlotRunning, b.all()[1].Outcome, "what a run has begun is not decided by others")
	gone, err := b.ledger.Gone(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, gone[0].Count)
	counts, err := b.ledger.Counts(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, counts["picture"][flow.SlotMissed])
}

func TestTheRhythmShowsWhatComesAndWhatCame(t *testing.T) {
	t.Parallel()
	b := newBundle(t, flow.Schedule{Every: time.Minute, WarnAt: 50})
	b.pass(3 * time.Minute)
	b.fill()
	b.open("run", &b.all()[0].At)
	r, err := b.ledger.Rhythm(t.Context(), "picture")
	require.NoError(t, err)
	require.Len(t, r.Next, 10)
	require.Equal(t, time.Minute, r.Interval)
	require.Len(t, r.Open, 1)
	require.Contains(t, r.Words, "every 1m")
	require.EqualValues(t, 1, r.Outcomes[flow.SlotRunning])
	require.NoError(t, b.ledger.Foresee(t.Context(), flow.Forecast{Flow: "picture", Runs: 3}))
	all, err := b.ledger.Rhythms(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, all[0].Forecast.Runs)
}

func TestWhatIsTooOldIsForgotten(t *testing.T) {
	t.Parallel()
	b := newBundle(t, flow.Schedule{Every: 24 * time.Hour})
	b.pass(410 * 24 * time.Hour)
	b.fill()
	for _, s := range b.allDays() {
		require.NoError(t, b.ledger.Decide(t.Context(), "picture", s.At, flow.SlotMissed, "x"))
	}
	for more := true; more; {
		var err error
		more, err = b.ledger.Forget(t.Context(), "picture")
		require.NoError(t, err)
	}
	require.InDelta(t, 400, len(b.allDays()), 2)
}

func (b *bundle) allDays() []flow.Slot {
	b.Helper()
	list, err := b.ledger.Slots(b.Context(), "picture", time.Now().AddDate(-3, 0, 0), time.Now(), 10_000)
	require.NoError(b, err)
	return list
}

func TestASlotThatABackfillAskedForWaitsForTheOpenRun(t *testing.T) {
	t.Parallel()
	b := newBundle(t, flow.Schedule{Every: time.Hour, Overlap: flow.OverlapSkip})
	at := time.Now().UTC().Truncate(time.Hour)
	asked, err := b.ledger.Ask(t.Context(), "picture", "sam", []time.Time{at})
	require.NoError(t, err)
	require.Equal(t, []time.Time{at}, asked)
	require.Nil(t, b.open("byhand", nil).Busy)
	require.True(t, b.open("asked", &at).Waits)
	slots := b.slots()
	require.Equal(t, flow.SlotExpected, slots[len(slots)-1].Outcome)
	b.close("byhand", flow.Completed)
	require.Nil(t, b.open("asked", &at).Busy)

	next := at.Add(-time.Hour)
	require.False(t, b.open("nobody asked", &next).Waits)
}

func TestOfRunsThatOverlapTheEarlierHasTheTurn(t *testing.T) {
	t.Parallel()
	l := slot.New(storetest.New(t))
	for _, id := range []string{"first", "second"} {
		_, err := l.Open(t.Context(), slot.Opening{Flow: "f", RunID: id, WorkflowID: "w-" + id, Shared: true})
		require.NoError(t, err)
	}
	_, err := l.Open(t.Context(), slot.Opening{Flow: "another", RunID: "zeroth", WorkflowID: "w"})
	require.NoError(t, err)
	turn := func(id string) bool {
		ahead, err := l.Ahead(t.Context(), id)
		require.NoError(t, err)
		return !ahead
	}
	require.True(t, turn("first"))
	require.False(t, turn("second"))
	require.True(t, turn("zeroth"))
	require.NoError(t, l.Close(t.Context(), "first", slot.Closing{Status: flow.Completed}))
	require.True(t, turn("second"))
}

// Whoever finds a run ended that has not given back its place closes it without figures;
// the run's own last step may come after it, and with it what a forecast is made of.
func TestFiguresThatComeLateAreTaken(t *testing.T) {
	t.Parallel()
	l := slot.New(storetest.New(t))
	at := time.Now()
	_, err := l.Open(t.Context(), slot.Opening{Flow: "picture", RunID: "first", WorkflowID: "w", At: &at})
	require.NoError(t, err)
	rows := func() int64 {
		list, err := l.History(t.Context(), "picture", 10)
		require.NoError(t, err)
		require.Len(t, list, 1)
		return list[0].Rows
	}
	require.NoError(t, l.Close(t.Context(), "first", slot.Closing{Status: flow.Completed}))
	require.Zero(t, rows())
	require.NoError(t, l.Close(t.Context(), "first", slot.Closing{Status: flow.Failed, Rows: 3, Bytes: 30}))
	require.Zero(t, rows(), "it did not end so")
	require.NoError(t, l.Close(t.Context(), "first", slot.Closing{Status: flow.Completed, Rows: 7, Bytes: 700}))
	require.Equal(t, int64(7), rows())
	require.NoError(t, l.Close(t.Context(), "first", slot.Closing{Status: flow.Completed}))
	require.Equal(t, int64(7), rows(), "and they stay")
}
