package stage_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/stage"
)

func TestAnAttemptGoesOnWhereTheOneBeforeWasLost(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	run := b.run()
	first := b.begin(run, "customer")
	columns := b.source("customer").Select
	require.NoError(t, first.Put(t.Context(), sheet(columns, "p2", customers[0], customers[1])))
	second := b.begin(run, "customer")
	require.Equal(t, "p2", second.Token)
	require.Equal(t, int64(2), second.Rows)
	require.False(t, second.Last())

	// A zombie's page is refused, whatever it holds.
	requireCode(t, stage.CodeFenced, first.Put(t.Context(), sheet(columns, "p3", customers[2])))
	requireCode(t, stage.CodeFenced, first.Complete(t.Context(), flow.Guard{}, false))
	require.NoError(t, second.Put(t.Context(), sheet(columns, "", customers[2], customers[3])))
	third := b.begin(run, "customer")
	require.True(t, third.Last(), "the last page was kept before the attempt was lost")
	require.NoError(t, third.Complete(t.Context(), flow.Guard{}, false))
	require.True(t, b.begin(run, "customer").Ended)
	states, err := b.stage.Sources(t.Context(), "picture")
	require.NoError(t, err)
	require.Equal(t, int64(4), states[0].Rows)
}

func TestAPageTokenThatComesAgainIsALoop(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r := b.begin(b.run(), "customer")
	columns := b.source("customer").Select
	require.NoError(t, r.Put(t.Context(), sheet(columns, "p2", customers[0])))
	require.NoError(t, r.Put(t.Context(), sheet(columns, "p3", customers[1])))
	err := r.Put(t.Context(), sheet(columns, "p2", customers[2]))
	requireCode(t, stage.CodePageLoop, err)
	require.True(t, fault.Of(err).Retryable())
	require.Equal(t, int64(2), r.Rows, "the page is not kept")
	require.NoError(t, r.Put(t.Context(), sheet(columns, "", customers[2])), "the source came to its senses")
}

func TestASourceThatForgotItsCursorIsReadAnew(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	run := b.run()
	r := b.begin(run, "customer")
	columns := b.source("customer").Select
	require.NoError(t, r.Put(t.Context(), sheet(columns, "p2", customers[0], []string{`"Z"`, `7`, `null`})))
	require.NoError(t, r.Restart(t.Context()))
	requireCode(t, stage.CodeFenced, r.Put(t.Context(), sheet(columns, "p3", customers[0])))
	b.read(run, "customer", customers...)
	b.read(run, "orders", orders...)
	b.join(run)
	require.Equal(t, int64(4), b.completeness(run).Sources["customer"].Read)
}

func TestRowsThatCannotBeUsedAreNamedAndTriedAgain(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	first := b.run()
	b.read(first, "customer", customers...)
	b.read(first, "orders", append(orders[:2:2], []string{`"5"`, ``, `1`, `null`}, []string{`"6"`, `"A"`, `"1,5"`, `null`},
		[]string{``, `"A"`, `1`, `null`}, []string{`"7"`, `"A"`, `1`, `"2023-02-29"`}, []string{`"8"`, "\"\xfc\"", `1`, `null`})...)
	b.join(first)
	b.deliver(first)
	c := b.completeness(first).Sources["orders"]
	require.Equal(t, []int64{7, 2, 5}, []int64{c.Read, c.Staged, c.Rejected})
	require.Equal(t, []string{"orders/5/stage.key_missing", "orders/6/stage.decimal", "orders/7/stage.date", "orders/8/stage.encoding", "orders/page 3, row 1/stage.identity_missing"},
		b.rejects(stage.RejectFilter{Flow: "picture", Source: "orders"}))
	again := b.run()
	b.read(again, "customer", customers...)
	b.read(again, "orders", append(orders[:2:2], []string{`"6"`, `"A"`, `"1.5"`, `null`})...)
	require.Equal(t, stage.Joined{Keys: 4, Changed: 1, Unchanged: 3}, b.join(again))
	require.Empty(t, b.rejects(stage.RejectFilter{}))
	require.Len(t, b.rejects(stage.RejectFilter{Resolved: true, RunID: first}), 5)
}

func TestADuplicateIsCountedAndTheLaterOneWins(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	run := b.run()
	b.read(run, "customer", customers...)
	// Within a page, under one key; and over pages, under another key: the record changed meanwhile.
	b.read(run, "orders", []string{`"1"`, `"A"`, `1`, `null`}, []string{`"1"`, `"A"`, `2`, `null`}, []string{`"2"`, `"A"`, `3`, `null`}, []string{`"2"`, `"B"`, `4`, `null`})
	b.join(run)
	got := b.deliver(run)
	require.Equal(t, `id="A" name="Acme" orders=1 first=2 `, got["A"])
	require.Equal(t, `id="B" name="Best" orders=1 first=4 `, got["B"])
	c := b.completeness(run).Sources["orders"]
	require.Equal(t, []int64{4, 4, 2, 0, 2}, []int64{c.Read, c.Staged, c.Used, c.Unmatched, c.Duplicate})
}

// incremental makes customers a source that tells what changed.
func (b *bundle) incremental(overlap time.Duration) {
	b.source("customer").Changed = &flow.Watermark{Column: "changed", Overlap: overlap, Full: 24 * time.Hour}
}

func TestAReadSinceAWatermarkReplacesWhatItFinds(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.incremental(time.Hour)
	first := b.run()
	b.read(first, "customer", customers...)
	b.read(first, "orders", orders...)
	b.join(first)
	b.deliver(first)

	second := b.run()
	r := b.begin(second, "customer")
	require.Equal(t, `"2026-01-02T23:00:00Z"`, r.Since, "the latest that was seen, less the overlap")
	require.NoError(t, r.Put(t.Context(), sheet(b.source("customer").Select, "", customers[2]))) // what the overlap finds
	require.NoError(t, r.Complete(t.Context(), flow.Guard{}, false))
	b.read(second, "orders", orders...)
	require.Equal(t, stage.Joined{Keys: 4, Unchanged: 4}, b.join(second))
	c := b.completeness(second).Sources["customer"]
	require.Equal(t, []int64{4, 4, 4, 1}, []int64{c.Read, c.Staged, c.Used, c.Fresh})

	third := b.run()
	r = b.begin(third, "customer")
	require.NoError(t, r.Put(t.Context(), sheet(b.source("customer").Select, "",
		[]string{`"B"`, `"Better"`, `"2026-01-04T00:00:00Z"`}, []string{`"E"`, `"Else"`, `"2026-01-04T00:00:00Z"`}, []string{`"C"`, `17`, `"2026-01-04T00:00:00Z"`})))
	require.NoError(t, r.Complete(t.Context(), flow.Guard{}, false))
	b.read(third, "orders", orders...)
	require.Equal(t, stage.Joined{Keys: 4, Changed: 2, Unchanged: 2}, b.join(third))
	require.Equal(t, map[string]string{"B": `id="B" name="Better" orders=1 first=null `, "E": `id="E" name="Else" orders=0 first=null `}, b.deliver(third))
	c = b.completeness(third).Sources["customer"]
	require.Equal(t, []int64{5, 4, 1}, []int64{c.Read, c.Staged, c.Rejected}, "a row that went bad is not used as it was")
	require.Equal(t, int64(1), b.completeness(third).Target.Gone)

	fourth := b.run()
	r = b.begin(fourth, "customer")
	require.NoError(t, r.Put(t.Context(), sheet(b.source("customer").Select, "", []string{`"C"`, `"Cooler"`, `"2026-01-05T00:00:00Z"`})))
	require.NoError(t, r.Complete(t.Context(), flow.Guard{}, false))
	b.read(fourth, "orders", orders...)
	b.join(fourth)
	c = b.completeness(fourth).Sources["customer"]
	require.Equal(t, []int64{5, 5, 0}, []int64{c.Read, c.Staged, c.Rejected}, "it is good again")
	require.Equal(t, map[string]string{"C": `id="C" name="Cooler" orders=0 first=null `}, b.deliver(fourth))
}

func TestEverythingIsReadWhenAWatermarkIsNotEnough(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.incremental(0)
	first := b.run()
	b.read(first, "customer", customers...)
	require.NotEmpty(t, b.begin(b.run(), "customer").Since)
	full, err := b.stage.Begin(t.Context(), b.plan, *b.source("customer"), b.run(), true)
	require.NoError(t, err)
	require.Empty(t, full.Since, "a person asked for it")
	_, err = b.store.Pool().Exec(t.Context(), `update stage_source set full_at = now() - interval '25 hours'`)
	require.NoError(t, err)
	require.Empty(t, b.begin(b.run(), "customer").Since, "no watermark tells of what was deleted")
	_, err = b.store.Pool().Exec(t.Context(), `update stage_source set full_at = now()`)
	require.NoError(t, err)
	b.source("customer").Types[1] = flow.Any
	require.Empty(t, b.begin(b.run(), "customer").Since, "rows were read for another plan")
}

// A watermark from the future would hide every change until then, and one of the end of
// a read those that came while it lasted.
func TestAWatermarkIsNeverLaterThanWhatIsCertain(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.incremental(0)
	b.read(b.run(), "customer", []string{`"A"`, `null`, `"2999-01-01T00:00:00Z"`})
	states, err := b.stage.Sources(t.Context(), "picture")
	require.NoError(t, err)
	require.Less(t, states[0].Watermark, `"2999`)

	b.source("customer").Types[2], b.source("customer").Name = flow.Int, "customer"
	b.read(b.run(), "customer", []string{`"A"`, `null`, `10`}, []string{`"B"`, `null`, `11`}, []string{`"C"`, `null`, `99`})
	states, err = b.stage.Sources(t.Context(), "picture")
	require.NoError(t, err)
	require.Equal(t, `11`, states[0].Watermark, "of a number only what the first page had is certain")
}

func TestASourceWhoseColumnsChangedIsReadAsThePolicySays(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.source("customer")
	compare := func(run string, columns ...string) error {
		r := b.begin(run, "customer")
		require.NoError(t, r.Columns(t.Context(), columns, true))
		return r.Drift()
	}
	require.NoError(t, compare(b.run(), "id", "name", "changed", "other"), "what is there at first is no news")
	requireCode(t, stage.CodeLost, compare(b.run(), "id", "changed"))
	require.NoError(t, compare(b.run(), "id", "name", "changed", "other", "gained"), "a gained column is ignored by default")
	s.Lost, s.Gained = flow.DriftIgnore, flow.DriftStop
	require.NoError(t, compare(b.run(), "id", "changed"))
	requireCode(t, stage.CodeGained, compare(b.run(), "id", "name", "changed", "gained"))
	s.Lost = flow.DriftApprove
	requireCode(t, stage.CodeLost, compare(b.run(), "id", "changed"))
	require.NoError(t, b.stage.Approve(t.Context(), "picture", "customer", "name", "dev"))
	require.NoError(t, compare(b.run(), "id", "changed"))
	requireCode(t, "stage.no_drift", b.stage.Approve(t.Context(), "picture", "customer", "name", "dev"))
	drifts, err := b.stage.Drifts(t.Context(), "picture")
	require.NoError(t, err)
	require.Len(t, drifts, 2)
}

func TestFiguresThatNobodyBelievesHoldTheRun(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.plan.Gather.Guard = flow.Guard{Share: 50}
	many := make([][]string, 10)
	for i := range many {
		many[i] = []string{fmt.Sprintf(`"%d"`, i), `null`, `null`}
	}
	for range 3 {
		run := b.run()
		b.read(run, "customer", many...)
		b.read(run, "orders", orders...)
		b.join(run)
		b.deliver(run)
	}
	for _, few := range [][][]string{many[:4], nil} {
		run := b.run()
		r := b.read(run, "customer", few...)
		require.NotNil(t, r.Held)
		b.read(run, "orders", orders...)
		out := b.join(run)
		require.Equal(t, r.Held.Code, out.Held.Code)
		c := b.completeness(run)
		require.NotEmpty(t, c.Held)
		require.Equal(t, int64(10), c.Sources["customer"].Staged, "the source stays what it was")
		require.Empty(t, b.deliver(run))
	}
	run := b.run()
	r := b.begin(run, "customer")
	require.NoError(t, r.Put(t.Context(), sheet(b.source("customer").Select, "", many[:4]...)))
	require.NoError(t, r.Complete(t.Context(), b.plan.Gather.Guard, true), "a person says that it is right")
	require.Nil(t, r.Held)
}

func TestASourceThatIsDownIsDealtWithByItsPolicy(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	first := b.run()
	b.read(first, "customer", customers...)
	b.read(first, "orders", orders...)
	b.join(first)
	b.deliver(first)
	down := fault.New(fault.Unavailable, "sap.down", "the system does not answer", nil)
	without := func(policy flow.OnMissing, stale time.Duration) (string, stage.Joined) {
		s := b.source("orders")
		s.OnMissing, s.Stale = policy, stale
		run := b.run()
		b.read(run, "customer", append(customers[:3:3], []string{`"D"`, `"Dear"`, `null`})...)
		r := b.begin(run, "orders")
		require.NoError(t, r.Put(t.Context(), sheet(s.Select, "p2", orders[0])))
		since, err := r.Failing(t.Context())
		require.NoError(t, err)
		require.Zero(t, since)
		require.NoError(t, r.Abandon(t.Context(), down))
		return run, b.join(run)
	}
	run, out := without(flow.Hold, 0)
	require.Equal(t, stage.CodeMissing, out.Held.Code)
	require.Equal(t, flow.Missing, b.completeness(run).Sources["orders"].State)

	run, out = without(flow.LastGood, time.Nanosecond)
	require.Equal(t, stage.CodeTooOld, out.Held.Code, run)

	run, out = without(flow.Partial, 0)
	require.Equal(t, stage.Joined{Keys: 4, Changed: 1, Unchanged: 3}, out)
	require.Equal(t, map[string]string{"D": `id="D" name="Dear" `}, b.deliver(run), "what depends on orders is not touched")
	c := b.completeness(run)
	require.Equal(t, []string{"orders"}, c.Fields["first"].Missing)
	require.Empty(t, c.Fields["name"].Missing)

	run, out = without(flow.LastGood, time.Hour)
	require.Equal(t, stage.Joined{Keys: 4, Unchanged: 4}, out)
	c = b.completeness(run)
	require.Equal(t, flow.Stale, c.Sources["orders"].State)
	require.Equal(t, down.Text, c.Sources["orders"].Note)
	require.True(t, c.Sources["orders"].AsOf.Before(c.Sources["customer"].AsOf))
	require.Equal(t, c.Sources["orders"].AsOf, c.Fields["first"].AsOf)
}
