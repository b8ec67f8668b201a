package ledger_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/ledger"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
)

type bundle struct {
	*testing.T
	store *store.Store
}

func newBundle(t *testing.T) *bundle {
	return &bundle{T: t, store: storetest.New(t)}
}

func member(key, body string) ledger.Member {
	return ledger.Member{Key: key, Label: "label of " + key, SHA256: []byte(body)}
}

// begin begins one call by itself. Nobody else is at the cause.
func (b *bundle) begin(cause, callID string, members ...ledger.Member) ([]ledger.Open, error) {
	b.Helper()
	call := &ledger.Call{Cause: cause, Step: "write", Target: "crm.t", CallID: callID, Members: members}
	require.NoError(b, b.store.Tx(b.Context(), func(tx pgx.Tx) error { return ledger.Begin(b.Context(), tx, []*ledger.Call{call}) }))
	return call.Open, call.Err
}

func (b *bundle) attempt(cause string, members ...ledger.Member) []ledger.Open {
	b.Helper()
	open, err := b.begin(cause, "call", members...)
	require.NoError(b, err)
	return open
}

func (b *bundle) settle(cause string, outcomes ...ledger.Outcome) (applied int, err error) {
	b.Helper()
	err = b.store.Tx(b.Context(), func(tx pgx.Tx) error {
		applied, err = ledger.SettleAll(b.Context(), tx, ledger.News{Cause: cause, Step: "write", Outcomes: outcomes})
		return err
	})
	return applied, err
}

func (b *bundle) record(cause string, outcomes ...ledger.Outcome) int {
	b.Helper()
	n, err := b.settle(cause, outcomes...)
	require.NoError(b, err)
	return n
}

func (b *bundle) seal(cause string) (already bool) {
	b.Helper()
	require.NoError(b, b.store.Tx(b.Context(), func(tx pgx.Tx) error {
		var err error
		already, err = ledger.Seal(b.Context(), tx, cause, "dev")
		return err
	}))
	return already
}

func (b *bundle) effects(cause string) []flow.Effect {
	b.Helper()
	effects, err := ledger.EffectsOf(b.Context(), b.store.Pool(), cause)
	require.NoError(b, err)
	return effects[cause]
}

func requireFault(t *testing.T, err error, class fault.Class, code string) {
	t.Helper()
	require.Error(t, err)
	f := fault.Of(err)
	require.Equal(t, code, f.Code, "%v", err)
	require.Equal(t, class, f.Class)
}

func TestARetryIsToldWhatToReadBackAndWhatIsDone(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	first := b.attempt("c", member("b", "1"), member("a", "1"), member("n", "1"))
	require.Len(t, first, 3)
	require.Equal(t, "b", first[0].Key, "in the order of the members")
	for _, o := range first {
		require.False(t, o.Retried)
		require.Equal(t, "call", o.CallID)
	}
	require.Equal(t, 2, b.record("c",
		ledger.Outcome{Key: "b", Fence: first[0].Fence, State: flow.Confirmed},
		ledger.Outcome{Key: "n", Fence: first[2].Fence, State: flow.Intent}))

	open, err := b.begin("c", "call-2", member("b", "1"), member("a", "1"), member("n", "1"))
	require.NoError(t, err)
	require.Len(t, open, 2, "a confirmed member is left out")
	require.Equal(t, "a", open[0].Key)
	require.True(t, open[0].Retried, "its outcome never came back")
	require.Greater(t, open[0].Fence, first[1].Fence)
	require.Equal(t, "call", open[0].CallID, "a retry learns the call it was frozen in")
	require.Equal(t, "n", open[1].Key)
	require.False(t, open[1].Retried, "it certainly never reached the target")

	require.Equal(t, []flow.Effect{
		{Step: "write", Target: "crm.t label of b", State: flow.Confirmed},
		{Step: "write", Target: "crm.t label of a", State: flow.Attempt},
		{Step: "write", Target: "crm.t label of n", State: flow.Attempt},
	}, b.effects("c"), "in the order of the first intent")
}

func TestWhatIsOnlyIntendedWasNotSent(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	later := member("a", "1")
	later.Later = true
	for range 2 { // whoever intended it first has died
		open := b.attempt("c", later)
		require.Len(t, open, 1)
		require.False(t, open[0].Retried)
		require.Equal(t, flow.Intent, b.effects("c")[0].State)
		require.Zero(t, b.record("c", ledger.Outcome{Key: "a", Fence: open[0].Fence, State: flow.Confirmed}), "only an attempt has an outcome")
	}
	begun := b.attempt("c", member("a", "1"))
	require.Len(t, begun, 1)
	require.False(t, begun[0].Retried)
	require.Equal(t, flow.Attempt, b.effects("c")[0].State)
	again := b.attempt("c", later)
	require.Len(t, again, 1)
	require.True(t, again[0].Retried, "now it may have been sent")
	require.Equal(t, flow.Attempt, b.effects("c")[0].State, "whatever comes next")
	require.Equal(t, 1, b.record("c", ledger.Outcome{Key: "a", Fence: again[0].Fence, State: flow.Confirmed}))
}

func TestAnOldFenceChangesNothing(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	old := b.attempt("c", member("a", "1"))[0]
	fresh := b.attempt("c", member("a", "1"))[0]
	require.Zero(t, b.record("c", ledger.Outcome{Key: "a", Fence: old.Fence, State: flow.Refused, Reason: "no"}))
	require.Equal(t, flow.Attempt, b.effects("c")[0].State)
	require.Equal(t, 1, b.record("c", ledger.Outcome{Key: "a", Fence: fresh.Fence, State: flow.Confirmed}))
	require.Zero(t, b.record("c", ledger.Outcome{Key: "a", Fence: fresh.Fence, State: flow.Refused}), "what is confirmed stays")
	require.Equal(t, flow.Confirmed, b.effects("c")[0].State)
}

func TestAThrottledRetryDoesNotForgetTheDoubtOfTheAttemptBefore(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.attempt("c", member("a", "1")) // sent, and the process died
	retry := b.attempt("c", member("a", "1"))[0]
	b.record("c", ledger.Outcome{Key: "a", Fence: retry.Fence, State: flow.Intent, Reason: "throttled"})
	require.Equal(t, flow.Doubtful, b.effects("c")[0].State)
	require.True(t, b.attempt("c", member("a", "1"))[0].Retried)
}

func TestAnAttemptIsToldHowLongAgoSomethingMayHaveBeenSent(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	older := func(minutes string) {
		t.Helper()
		_, err := b.store.Pool().Exec(t.Context(), `update effect set attempted_at = attempted_at - $1::interval, unsure_at = unsure_at - $1::interval`, minutes+" minutes")
		require.NoError(t, err)
	}
	since := func(want int) ledger.Open {
		t.Helper()
		open := b.attempt("c", member("a", "1"), member("b", "1"))[0]
		require.InDelta(t, want, open.Since.Minutes(), 0.5)
		return open
	}
	nothing := func(o ledger.Outcome, state flow.EffectState) { o.State = state; b.record("c", o) }
	open := since(0)
	require.Zero(t, open.Since)
	nothing(ledger.Outcome{Key: "a", Fence: open.Fence}, flow.Intent) // it sent nothing of a
	older("10")
	open = b.attempt("c", member("a", "1"), member("b", "1"))[0]
	require.False(t, open.Retried)
	require.Zero(t, open.Since)
	older("10") // this one was sent, and nothing heard of it
	open = since(10)
	nothing(ledger.Outcome{Key: "a", Fence: open.Fence}, flow.Intent) // the next only looked
	older("10")
	open = since(20)
	nothing(ledger.Outcome{Key: "a", Fence: open.Fence}, flow.Refused) // refused: it took no effect
	older("10")
	open = since(30)
	nothing(ledger.Outcome{Key: "a", Fence: open.Fence}, flow.Doubtful) // sent
	older("5")
	since(5)
	older("5")
	require.NoError(t, b.store.Tx(t.Context(), func(tx pgx.Tx) error { // sent, and given up
		_, err := ledger.Conclude(t.Context(), tx, nil, "gone", []string{"c"}, nil)
		return err
	}))
	older("5")
	since(10)
}

func TestARefusedRetryDoesNotForgetTheDoubtOfTheAttemptBefore(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.attempt("c", member("a", "1")) // sent, and the process died: the target may hold it
	retry := b.attempt("c", member("a", "1"))[0]
	refused := ledger.Outcome{Key: "a", Fence: retry.Fence, State: flow.Refused, Reason: "too long"}
	require.Equal(t, 1, b.record("c", refused))
	require.Equal(t, flow.Doubtful, b.effects("c")[0].State, "the target refused this attempt, not the one before")
	require.Equal(t, 1, b.record("c", refused))
	require.Equal(t, flow.Doubtful, b.effects("c")[0].State, "however often it is told")
	require.Equal(t, 1, b.record("c", ledger.Outcome{Key: "a", Fence: retry.Fence, State: flow.Confirmed}))
	require.Equal(t, flow.Settled, b.effects("c")[0].State)
}

func TestOfTwoOutcomesOfAMemberInOneTransactionTheFirstCounts(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	open := b.attempt("c", member("a", "1"), member("b", "1"))
	at := func(key string, state flow.EffectState) ledger.Outcome {
		return ledger.Outcome{Key: key, Fence: open[0].Fence, State: state}
	}
	require.Equal(t, 2, b.record("c", at("a", flow.Confirmed), at("b", flow.Refused), at("b", flow.Confirmed)))
	require.Equal(t, []flow.Effect{
		{Step: "write", Target: "crm.t label of a", State: flow.Confirmed},
		{Step: "write", Target: "crm.t label of b", State: flow.Refused},
	}, b.effects("c"), "each member stands in one row")
}

func TestAMemberIsFrozenAtItsFirstIntent(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.attempt("c", member("a", "1"))
	_, err := b.begin("c", "call", member("new", "1"), member("a", "2"))
	requireFault(t, err, fault.Bug, "ledger.body_changed")
	require.Len(t, b.effects("c"), 1, "nothing of the call was recorded")

	_, err = b.begin("c", "call", member("a", "1"), member("a", "1"))
	requireFault(t, err, fault.Bug, "ledger.duplicate_key")
}

func TestASealedCauseBeginsNothingAndOthersGoOn(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.attempt("c", member("a", "1"))
	require.False(t, b.seal("c"))
	require.True(t, b.seal("c"))
	_, err := b.begin("c", "call", member("b", "1"))
	requireFault(t, err, fault.Conflict, "ledger.sealed")
	require.Len(t, b.effects("c"), 1)
	b.attempt("other", member("a", "1"))
	sealed, err := ledger.Sealed(t.Context(), b.store.Pool(), "c", "other")
	require.NoError(t, err)
	require.Equal(t, map[string]bool{"c": true}, sealed)
}

func TestCallsOfManyCausesAreBegunTogether(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.attempt("retried", member("a", "1"))
	b.attempt("changed", member("a", "1"))
	b.seal("sealed")
	calls := make([]*ledger.Call, 0, 5)
	for _, cause := range []string{"fresh", "retried", "changed", "sealed", "also fresh"} {
		with := []ledger.Member{member("b", "1"), member("a", "1")}
		if cause == "changed" {
			with[1] = member("a", "2")
		}
		calls = append(calls, &ledger.Call{Cause: cause, Step: "write", Target: "crm.t", CallID: "call of " + cause, Members: with})
	}
	require.NoError(t, b.store.Tx(t.Context(), func(tx pgx.Tx) error { return ledger.Begin(t.Context(), tx, calls) }))
	fences := map[int64]bool{}
	for _, c := range calls {
		switch c.Cause {
		case "changed":
			requireFault(t, c.Err, fault.Bug, "ledger.body_changed")
			require.Len(t, b.effects(c.Cause), 1, "nothing of the call was recorded")
			continue
		case "sealed":
			requireFault(t, c.Err, fault.Conflict, "ledger.sealed")
			require.Empty(t, b.effects(c.Cause))
			continue
		}
		require.NoError(t, c.Err)
		require.Equal(t, []string{"b", "a"}, []string{c.Open[0].Key, c.Open[1].Key}, "in the order of the members")
		require.Equal(t, []bool{false, c.Cause == "retried"}, []bool{c.Open[0].Retried, c.Open[1].Retried})
		require.Equal(t, "call of "+c.Cause, c.Open[0].CallID)
		require.False(t, fences[c.Open[0].Fence], "each attempt has a fence of its own")
		for _, o := range c.Open {
			fences[o.Fence] = true
			require.Equal(t, 1, b.record(c.Cause, ledger.Outcome{Key: o.Key, Fence: o.Fence, State: flow.Confirmed}))
		}
	}
	tallies, err := ledger.Tallies(t.Context(), b.store.Pool(), "fresh", "retried", "unknown")
	require.NoError(t, err)
	want := ledger.Tally{Step: "write", Target: "crm.t", State: flow.Confirmed, Labels: []string{"label of b", "label of a"}}
	require.Equal(t, []ledger.Tally{want}, tallies["fresh"])
	want.Labels = []string{"label of a", "label of b"} // as they were first intended
	require.Equal(t, []ledger.Tally{want}, tallies["retried"])
	require.Len(t, tallies, 2)
}

func TestDoubtMarksOnlyWhatIsOpen(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	open := b.attempt("c", member("a", "1"), member("b", "1"))
	b.record("c", ledger.Outcome{Key: "a", Fence: open[0].Fence, State: flow.Confirmed})
	require.NoError(t, b.store.Tx(t.Context(), func(tx pgx.Tx) error {
		_, err := ledger.Conclude(t.Context(), tx, nil, "gone", []string{"c"}, nil)
		return err
	}))
	got := b.effects("c")
	require.Equal(t, []flow.EffectState{flow.Confirmed, flow.Doubtful}, []flow.EffectState{got[0].State, got[1].State})
	require.Equal(t, 1, b.record("c", ledger.Outcome{Key: "b", Fence: open[1].Fence, State: flow.Confirmed}))
	require.Equal(t, flow.Settled, b.effects("c")[1].State, "decided since")
}

func TestAnOutcomeIsOneThatAnAttemptCanHave(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, err := b.settle("c", ledger.Outcome{Key: "a", State: flow.Settled})
	requireFault(t, err, fault.Bug, "ledger.outcome")
	require.Zero(t, b.record("c"))
}

func TestOneCallHoldsManyMembers(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	var members []ledger.Member
	for i := range 1000 {
		members = append(members, member(string(rune(0x4e00+i))+"\u0000", "1"))
		members[i].Label += "\x00\xff"
	}
	for i := range members {
		members[i].Key = `["` + members[i].Label[:12] + string(rune(0x4e00+i)) + `"]`
	}
	open := b.attempt("c", members...)
	require.Len(t, open, len(members))
	require.Equal(t, members[999].Key, open[999].Key)
}
