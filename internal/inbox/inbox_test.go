package inbox_test

import (
	"encoding/json"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

func TestAnIDIsTakenOnceAndWithOneContent(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	e := b.event("c1", 1)
	require.Equal(t, 1, b.accept(e).Accepted)
	require.Equal(t, flow.Receipt{Duplicate: 1, Outcomes: map[string]int{}}, b.accept(e))
	other := e
	other.After = flow.Row{"id": "c1", "status": json.Number("9")}
	_, err := b.inbox.Accept(t.Context(), "cases", []flow.Occurrence{b.event("c2", 1), other})
	require.Equal(t, "hook.id_conflict", fault.Of(err).Code)
	require.Equal(t, []string{"waiting"}, b.fates(), "nothing of the refused delivery is kept")
	twice := b.event("c3", 1)
	require.Equal(t, 1, b.accept(twice, twice).Duplicate, "of the same delivery too")
}

func TestFiveDeliveriesOfOneEventAtOnceAreOne(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	e := b.event("c1", 1)
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() { b.accept(e) })
	}
	all.Wait()
	require.Equal(t, []string{"waiting"}, b.fates())
	require.Equal(t, []int64{4}, column[int64](b, `select n from funnel where stage = 'duplicate'`))
}

func TestAWindowCarriesTheNetChangeOfItsKey(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.accept(b.event("c1", 1, func(e *flow.Occurrence) { e.Change = flow.Created }))
	require.Len(t, b.freeze(), 1)
	b.accept(b.event("c1", 2), b.event("c2", 5), b.event("c1", 3))
	list := b.freeze()
	require.Len(t, list, 2)
	require.Equal(t, "c1", list[0].Key)
	net := list[0].Items[0]
	require.Equal(t, flow.Row{"status": json.Number("1")}, net.Was)
	require.Equal(t, flow.Row{"id": "c1", "status": json.Number("3")}, net.Row, "columns that the plan has no use for are not kept")
	require.Equal(t, 2, net.Events)
	require.Empty(t, b.freeze(), "a window is frozen once")
	require.Equal(t, []string{"waiting", "merged", "waiting", "waiting"}, b.fates())
}

func TestThereAndBackAgainTellsNobody(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.accept(b.event("c1", 1))
	require.Len(t, b.freeze(), 1)
	b.accept(b.event("c1", 2), b.event("c1", 1))
	require.Empty(t, b.freeze())
	require.Equal(t, []string{"waiting", "unchanged", "unchanged"}, b.fates())
}

func TestWhatIsOlderThanWhatIsKnownHasNoEffect(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	version := func(v int64) func(*flow.Occurrence) { return func(e *flow.Occurrence) { e.Version = v } }
	b.accept(b.event("c1", 2, version(20)))
	b.accept(b.event("c1", 1, version(10)), b.event("c1", 2, version(20)))
	require.Equal(t, []string{"waiting", "stale", "unchanged"}, b.fates())
	require.Equal(t, json.Number("2"), b.freeze()[0].Items[0].Row["status"])
}

func TestOurOwnWriteIsCutAtItsFirstReturn(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	origin := func(tag string) func(*flow.Occurrence) { return func(e *flow.Occurrence) { e.Origin = tag } }
	b.accept(b.event("c1", 1, origin("patchbay:cases#00")), b.event("c2", 1, origin("patchbay:other#00")), b.event("c3", 1, origin("erp")))
	require.Equal(t, []string{"echo", "waiting", "waiting"}, b.fates())
	require.Equal(t, "patchbay:other#00", b.freeze()[0].Items[0].Origin, "the chain goes on")
	b.accept(b.event("c1", 1))
	require.Equal(t, "unchanged", b.fates()[3], "what the echo told is known")
}

func TestAFlowThatOnlyCountsKeepsNothingOfWhatItFilters(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Reaction.Counts = true })
	hidden := func(e *flow.Occurrence) { e.After["facing"] = false }
	r := b.accept(b.event("c1", 1, hidden), b.event("c2", 1), b.event("c3", 1, hidden))
	require.Equal(t, 3, r.Accepted)
	require.Equal(t, []string{"waiting"}, b.fates())
	require.Equal(t, []int64{2}, column[int64](b, `select n from funnel where stage = 'filtered:where'`))
	require.Equal(t, []int64{3}, column[int64](b, `select n from funnel where stage = 'received'`))
}

func TestAnEventWithoutItsRecordWaitsUntilItIsRead(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.accept(b.event("c1", 0, func(e *flow.Occurrence) { e.Trimmed, e.After = true, nil }))
	require.Empty(t, b.freeze())
	list, err := b.inbox.Unread(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, []string{"id", "status", "facing", "mail", "n"}, list[0].Columns)
	again, err := b.inbox.Unread(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, again, "one at a time")
	require.NoError(t, b.inbox.Learn(t.Context(), list[0], flow.Row{"id": "c1", "status": json.Number("7")}))
	require.Len(t, b.freeze(), 1)
	require.NoError(t, b.inbox.Unreadable(t.Context(), list[0], fault.New(fault.Rejected, "x", "no", nil)))
	require.Equal(t, []string{"waiting"}, b.fates(), "what was read stays read")
}

func TestAReaderThatWakesUpLateDecidesNothingAnew(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.accept(b.event("c1", 0, func(e *flow.Occurrence) { e.Trimmed, e.After = true, nil }))
	list, err := b.inbox.Unread(t.Context(), 10)
	require.NoError(t, err)
	column[int64](b, `update event set read_at = now() returning id`) // its lease is over
	again, err := b.inbox.Unread(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, again, 1)
	require.NoError(t, b.inbox.Learn(t.Context(), again[0], flow.Row{"id": "c1", "status": json.Number("7")}))
	require.NoError(t, b.inbox.Learn(t.Context(), list[0], flow.Row{"id": "c1", "status": json.Number("8")}))
	windows := b.freeze()
	require.Len(t, windows, 1)
	require.EqualValues(t, "7", windows[0].Items[0].Row["status"])
	require.NoError(t, b.inbox.Learn(t.Context(), list[0], flow.Row{"id": "c1", "status": json.Number("9")}))
	require.Empty(t, b.freeze(), "and no second window of it")
	require.Equal(t, []string{"waiting"}, b.fates())
	require.Equal(t, []int64{1}, column[int64](b, `select sum(n)::bigint from funnel`), "it was received once, and is no duplicate")
}

func TestTheWindowsOfAFlowThatIsGoneAreDeadLetters(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.accept(b.event("c1", 1))
	name := b.plan.Flow
	b.plan.Flow = "another"
	list, err := b.inbox.Freeze(t.Context(), name, 10)
	require.NoError(t, err)
	require.Empty(t, list)
	require.Equal(t, []string{"dead"}, b.fates())
	require.Equal(t, []string{"flow.not_found"}, column[string](b, `select clause from event`))
}

func TestASweepFindsWhatNobodyToldAndNothingElse(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Reaction.Sweep = time.Hour })
	s, found, err := b.inbox.TakeSweep(t.Context(), "cases")
	require.NoError(t, err)
	require.True(t, found)
	require.True(t, s.First)
	_, second, err := b.inbox.TakeSweep(t.Context(), "cases")
	require.NoError(t, err)
	require.False(t, second, "somebody has it")
	state := func(id string, status int, version int64) flow.Occurrence {
		return b.event(id, status, func(e *flow.Occurrence) {
			e.Change, e.Whole, e.Version = "", true, version
		})
	}
	_, err = b.inbox.Found(t.Context(), s, []flow.Occurrence{state("c1", 1, 1), state("c2", 1, 2)})
	require.NoError(t, err)
	require.NoError(t, b.inbox.Swept(t.Context(), s, "p1", true))
	require.Empty(t, b.fates(), "what is there when a sweep is the first is no event")
	s.First = false
	b.accept(b.event("c1", 2, func(e *flow.Occurrence) { e.Version = 3 }))
	_, err = b.inbox.Found(t.Context(), s, []flow.Occurrence{state("c1", 2, 3), state("c2", 2, 4), state("c3", 1, 5)})
	require.NoError(t, err)
	require.Equal(t, []string{"waiting", "waiting", "waiting"}, b.fates(), "c1 was told; c2 changed and c3 came, and no webhook said so")
	require.Equal(t, []string{"update", "update", "create"}, column[string](b, `select change from event order by id`))
	require.NoError(t, b.inbox.SweepFailed(t.Context(), s, fault.New(fault.Conflict, "connector.cursor_expired", "expired", nil)))
	s, found, err = b.inbox.TakeSweep(t.Context(), "cases")
	require.NoError(t, err)
	require.True(t, found, "at once")
	require.Empty(t, s.Position)
	require.False(t, s.First, "what is known stays known: the resync loses nothing")
}

func TestAThrottleLetsABurstGoAndSpacesTheRest(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Reaction.Throttle = &flow.Throttle{Rate: 1, Per: time.Hour, Burst: 2} })
	to := func(mail string) func(*flow.Occurrence) { return func(e *flow.Occurrence) { e.After["mail"] = mail } }
	b.accept(b.event("c1", 1, to("a@x.example")), b.event("c2", 1, to("a@x.example")), b.event("c3", 1, to("a@x.example")),
		b.event("c4", 1, to("a@x.example")), b.event("c5", 1, to("b@x.example")))
	list := b.freeze()
	require.Len(t, list, 3)
	require.Equal(t, []string{"c1", "c2", "c5"}, []string{list[0].Key, list[1].Key, list[2].Key})
	due := column[time.Time](b, `select due_at from change_window where frozen_at is null order by id`)
	require.Len(t, due, 2)
	require.WithinDuration(t, time.Now().Add(time.Hour), due[0], time.Minute)
	require.WithinDuration(t, due[0].Add(time.Hour), due[1], time.Second, "each after the one before")
	b.accept(b.event("c3", 2))
	require.Equal(t, due[0].Unix(), column[time.Time](b, `select due_at from change_window where key = 'c3'`)[0].Unix(), "what waits goes on collecting and keeps its turn")
	require.Equal(t, []int64{2}, column[int64](b, `select n from funnel where stage = 'throttled'`))
}

func TestPastWhatIsExpectedTheModesComeInTheirOrder(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) {
		p.Reaction.Expect = flow.Expect{PerDay: 4}
		p.Reaction.Spike = []flow.SpikeMode{flow.SpikeDigest, flow.SpikeShed}
	})
	to := func(mail string) func(*flow.Occurrence) { return func(e *flow.Occurrence) { e.After["mail"] = mail } }
	for _, id := range []string{"c1", "c2", "c3", "c4", "c5"} {
		b.accept(b.event(id, 1, to("a@x.example")))
	}
	b.accept(b.event("c6", 1, to("b@x.example")))
	list := b.freeze()
	require.Len(t, list, 2, "one message for each recipient")
	require.Len(t, list[0].Items, 5)
	require.Equal(t, []string{"waiting", "merged", "merged", "merged", "merged", "waiting"}, b.fates())
	for i := range 3 {
		b.accept(b.event("d"+string(rune('1'+i)), 1, to("a@x.example")))
	}
	require.Eventually(t, func() bool {
		require.Empty(t, b.freeze(), "who got a digest gets the next one later")
		return len(column[string](b, `select mode from spike where mode = 'shed'`)) == 1
	}, time.Minute, 50*time.Millisecond, "the mode is looked at every few seconds")
	b.accept(b.event("e1", 1, to("c@x.example")))
	require.Empty(t, b.freeze())
	require.Equal(t, "shed", b.fates()[9])
	require.Equal(t, []string{"digest"}, column[string](b, `select detail->>'to' from journal where what = 'spike' order by id limit 1`))
}

func TestAFrozenWindowThatNobodyCarriedIsFoundAgain(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.accept(b.event("c1", 1), b.event("c2", 1))
	list := b.freeze()
	require.Len(t, list, 2)
	require.NoError(t, b.inbox.Entered(t.Context(), map[int64]string{list[0].ID: "r1"}))
	column[int64](b, `update change_window set frozen_at = now() - interval '1 minute' returning id`)
	left, err := b.inbox.Frozen(t.Context(), "cases", 10)
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.Equal(t, list[1].ID, left[0].ID)
	require.Equal(t, list[1].Items[0].Row, left[0].Items[0].Row)
	flows, err := b.inbox.Flows(t.Context())
	require.NoError(t, err)
	require.Contains(t, flows, "cases")
	require.NoError(t, b.inbox.Refuse(t.Context(), left[0].ID, fault.Invalidf("params.invalid", "no")))
	require.Equal(t, []string{"waiting", "dead"}, b.fates())
}

func TestAnUnknownTableIsADeadLetterWithItsReason(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.accept(b.event("c1", 1, func(e *flow.Occurrence) { e.Table = "invoice" }), b.event("c2", 1))
	require.Equal(t, []string{"rejected", "waiting"}, b.fates(), "and its neighbours go on")
	entries, err := b.inbox.Explain(t.Context(), "c2")
	require.NoError(t, err)
	require.Len(t, entries, 2)
	require.Equal(t, []string{"event", "waiting", "window", "open"}, []string{entries[0].What, entries[0].Reason, entries[1].What, entries[1].Reason})
}

func TestAWindowThatIsFullGoesFirstAndTheNextBegins(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Reaction.Quiet = time.Hour; p.Reaction.MaxWait = time.Hour })
	note := func(i int) flow.Occurrence {
		return b.event("n"+strconv.Itoa(i), i, func(e *flow.Occurrence) { e.After["id"] = "c1" })
	}
	var first []flow.Occurrence
	for i := range 70 {
		first = append(first, note(i))
	}
	b.accept(first...)
	for i := range 60 {
		b.accept(note(100 + i))
	}
	records := 0
	ready, err := b.inbox.Frozen(t.Context(), "cases", 10)
	require.NoError(t, err)
	require.Len(t, ready, 2, "taken up at once, in their order")
	require.Less(t, ready[0].ID, ready[1].ID)
	open := column[string](b, `select net::text from change_window where frozen_at is null`)
	require.Len(t, open, 1)
	var last flow.NetChange
	require.NoError(t, json.Unmarshal([]byte(open[0]), &last))
	for _, n := range append(ready[0].Items, ready[1].Items[0], last) {
		records += 1 + len(n.Others)
	}
	require.Equal(t, 130, records, "no record is lost")
}

func TestADigestThatIsCarriedAgainAsksForTheSameRun(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) {
		p.Reaction.Expect = flow.Expect{PerDay: 1}
		p.Reaction.Spike = []flow.SpikeMode{flow.SpikeDigest}
	})
	for _, id := range []string{"c1", "c2", "c3", "c4"} {
		b.accept(b.event(id, 1, func(e *flow.Occurrence) { e.After["mail"] = "a@x.example" }))
	}
	column[int64](b, `update change_window set due_at = due_at - id * interval '1 minute' returning id`) // the last is due first
	list := b.freeze()
	require.Len(t, list, 1)
	require.Equal(t, "c4", list[0].Key)
	require.Len(t, list[0].Items, 4)
	column[int64](b, `update change_window set frozen_at = now() - interval '1 minute' returning id`)
	again, err := b.inbox.Frozen(t.Context(), "cases", 10)
	require.NoError(t, err)
	require.Equal(t, list, again, "with other parameters its run would be refused, and told as dead")
}
