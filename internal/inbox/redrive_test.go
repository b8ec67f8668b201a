package inbox_test

import (
	"encoding/json"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// keyless is an update of a record that says nothing of its business key.
func (b *bundle) keyless(record string) flow.Occurrence {
	return b.event(record, 1, func(e *flow.Occurrence) { e.After = flow.Row{"status": json.Number("1"), "mail": "a@b"} })
}

func (b *bundle) troubles() []flow.Trouble {
	b.Helper()
	list, err := b.inbox.Troubles(b.Context(), flow.TroubleFilter{})
	require.NoError(b, err)
	return list
}

func (b *bundle) redrive(f flow.TroubleFilter) flow.Rejudged {
	b.Helper()
	out, err := b.inbox.Redrive(b.Context(), "ann", f)
	require.NoError(b, err)
	return out
}

func TestTroublesAreGatheredByCauseWithTheNewestAsSample(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	unknown := func(e *flow.Occurrence) { e.Table = "phantom" }
	b.accept(b.event("c1", 1), b.event("c2", 1, unknown), b.event("c3", 1, unknown), b.keyless("c4"))
	list := b.troubles()
	require.Len(t, list, 2)
	require.Equal(t, []any{"crm.phantom", flow.EventRejected, "table", int64(2), "c3"},
		[]any{list[1].Source, list[1].Reason, list[1].Clause, list[1].Count, list[1].Sample.Record})
	require.Equal(t, "key: no key", list[0].Detail)
	n, err := b.inbox.Dismiss(t.Context(), "ann", "of a test", flow.TroubleFilter{Causes: []string{list[1].Cause}})
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Len(t, b.troubles(), 1)
	require.Equal(t, flow.Rejudged{Outcomes: map[string]int{}}, b.redrive(flow.TroubleFilter{Causes: []string{list[1].Cause}}), "what was dismissed stays so")
	require.Equal(t, []string{"waiting", "rejected", "rejected", "rejected"}, b.fates())
	_, err = b.inbox.Dismiss(t.Context(), "ann", " ", flow.TroubleFilter{})
	require.Equal(t, fault.Invalid, fault.Of(err).Class)
}

func TestWhatLacksAColumnIsJudgedAgainByItsRecord(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.accept(b.keyless("c4"))
	require.Equal(t, map[string]int{"waiting": 1}, b.redrive(flow.TroubleFilter{}).Outcomes)
	require.Equal(t, []string{"waiting"}, b.fates())
	require.Empty(t, b.freeze())
	unread, err := b.inbox.Unread(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, unread, 1)
	require.NoError(t, b.inbox.Learn(t.Context(), unread[0], flow.Row{"id": "c4", "status": json.Number("1"), "facing": true, "mail": "a@b", "n": json.Number("0")}))
	require.Equal(t, "c4", b.freeze()[0].Key)
	require.Equal(t, []string{"ann"}, column[string](b, `select decided_by from event where redriven = 1`))
}

func TestARecordThatCannotBeReadAgainIsDeadAgain(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.accept(b.keyless("c4"))
	b.redrive(flow.TroubleFilter{})
	unread, err := b.inbox.Unread(t.Context(), 10)
	require.NoError(t, err)
	require.NoError(t, b.inbox.Unreadable(t.Context(), unread[0], fault.New(fault.Rejected, "connection.capability", "crm cannot read", nil)))
	require.Equal(t, []string{"dead"}, b.fates())
	require.Equal(t, "crm cannot read", b.troubles()[0].Detail)
}

func TestARefusedWindowIsJudgedAgainWithTheNetChangeOfAllItsEvents(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	was := func(status string) func(*flow.Occurrence) {
		return func(e *flow.Occurrence) { e.Before = flow.Row{"status": json.Number(status)} }
	}
	b.accept(b.event("c1", 2, was("1")), b.event("c1", 3, was("2")))
	w := b.freeze()[0]
	require.NoError(t, b.inbox.Refuse(t.Context(), w.ID, fault.Invalidf("params.invalid", "too large")))
	require.Equal(t, []string{"dead", "dead"}, b.fates())
	require.Equal(t, int64(2), b.troubles()[0].Count)
	require.Equal(t, 2, b.redrive(flow.TroubleFilter{Flow: "cases"}).Events)
	again := b.freeze()[0]
	require.NotEqual(t, w.ID, again.ID)
	require.Equal(t, flow.Row{"status": json.Number("1")}, again.Items[0].Was)
	require.Equal(t, json.Number("3"), again.Items[0].Row["status"])
	require.Equal(t, []string{"merged", "waiting"}, b.fates())
}

func TestWhatIsOlderThanWhatHappenedSinceIsStaleWhenItIsJudgedAgain(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.accept(b.event("c1", 2))
	require.NoError(t, b.inbox.Refuse(t.Context(), b.freeze()[0].ID, fault.Invalidf("params.invalid", "too large")))
	b.accept(b.event("c1", 3))
	require.Len(t, b.freeze(), 1)
	require.Equal(t, map[string]int{"stale": 1}, b.redrive(flow.TroubleFilter{}).Outcomes)
	require.Empty(t, b.freeze())
	require.Equal(t, []string{"stale", "waiting"}, b.fates())
}

func TestOfManyWhoRedriveOneDoes(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.accept(b.event("c1", 2))
	require.NoError(t, b.inbox.Refuse(t.Context(), b.freeze()[0].ID, fault.Invalidf("params.invalid", "too large")))
	id := b.troubles()[0].Sample.Event
	var all sync.WaitGroup
	var mu sync.Mutex
	judged := 0
	for range 4 {
		all.Go(func() {
			out, err := b.inbox.Redrive(t.Context(), "ann", flow.TroubleFilter{Events: []int64{id}})
			mu.Lock()
			defer mu.Unlock()
			require.NoError(t, err)
			judged += out.Events
		})
	}
	all.Wait()
	require.Equal(t, 1, judged)
	require.Len(t, b.freeze(), 1)
	require.Equal(t, []int32{1}, column[int32](b, `select redriven from event`))
}

func TestExplainTellsOfWindowsAndFindsByThem(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.accept(b.event("c1", 1), b.event("c1", 2), b.event("c1", 2), b.event("c1", 9, func(e *flow.Occurrence) { e.At = b.clock.AddDate(-1, 0, 0) }),
		b.event("c1", 3, func(e *flow.Occurrence) { e.Origin = "patchbay:cases#00" }))
	w := b.freeze()[0]
	require.NoError(t, b.inbox.Entered(t.Context(), map[int64]string{w.ID: "run-of-it"}))
	list, err := b.inbox.Explain(t.Context(), "c1")
	require.NoError(t, err)
	var got []string
	for _, e := range list {
		got = append(got, e.What+" "+e.Reason)
	}
	require.ElementsMatch(t, []string{"window run", "event merged", "event waiting", "event unchanged", "event stale", "event echo"}, got)
	for _, about := range []string{flow.WindowName(w.ID), "run-of-it"} {
		list, err = b.inbox.Explain(t.Context(), about)
		require.NoError(t, err)
		require.Len(t, list, 3, about)
		for _, e := range list {
			require.Equal(t, flow.WindowName(w.ID), e.Detail["window"])
			require.Equal(t, "run-of-it", e.Run)
		}
	}
	b.accept(b.keyless("c9"))
	list, err = b.inbox.Explain(t.Context(), "c9")
	require.NoError(t, err)
	require.Equal(t, "key: no key", list[0].Detail["why"], "found by its record, for it has no key")
}
