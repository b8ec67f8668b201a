package ledger_test

import (
	"sync"
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
	store  *store.Store
	ledger *ledger.Ledger
}

func newBundle(t *testing.T) *bundle {
	s := storetest.New(t)
	return &bundle{T: t, store: s, ledger: ledger.New(s)}
}

func member(key, body string) ledger.Member {
	return ledger.Member{Key: key, Label: "label of " + key, SHA256: []byte(body)}
}

func (b *bundle) attempt(cause string, members ...ledger.Member) []ledger.Open {
	b.Helper()
	open, err := b.ledger.Attempt(b.Context(), cause, "write", "crm.t", "call", members)
	require.NoError(b, err)
	return open
}

func (b *bundle) record(cause string, outcomes ...ledger.Outcome) int {
	b.Helper()
	n, err := b.ledger.Record(b.Context(), cause, "write", outcomes)
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
	effects, err := ledger.Effects(b.Context(), b.store.Pool(), cause)
	require.NoError(b, err)
	return effects
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

	open, err := b.ledger.Attempt(t.Context(), "c", "write", "crm.t", "call-2", []ledger.Member{member("b", "1"), member("a", "1"), member("n", "1")})
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

func TestAMemberIsFrozenAtItsFirstIntent(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.attempt("c", member("a", "1"))
	_, err := b.ledger.Attempt(t.Context(), "c", "write", "crm.t", "call", []ledger.Member{member("new", "1"), member("a", "2")})
	requireFault(t, err, fault.Bug, "ledger.body_changed")
	require.Len(t, b.effects("c"), 1, "nothing of the call was recorded")

	_, err = b.ledger.Attempt(t.Context(), "c", "write", "crm.t", "call", []ledger.Member{member("a", "1"), member("a", "1")})
	requireFault(t, err, fault.Bug, "ledger.duplicate_key")
}

func TestASealedCauseBeginsNothingAndOthersGoOn(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.attempt("c", member("a", "1"))
	require.False(t, b.seal("c"))
	require.True(t, b.seal("c"))
	_, err := b.ledger.Attempt(t.Context(), "c", "write", "crm.t", "call", []ledger.Member{member("b", "1")})
	requireFault(t, err, fault.Conflict, "ledger.sealed")
	require.Len(t, b.effects("c"), 1)
	b.attempt("other", member("a", "1"))
	sealed, err := ledger.Sealed(t.Context(), b.store.Pool(), "c", "other")
	require.NoError(t, err)
	require.Equal(t, map[string]bool{"c": true}, sealed)
}

func TestASealWaitsForAnAttemptThatIsBeingRecorded(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	held, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := b.store.Tx(b.Context(), func(tx pgx.Tx) error {
			sealed, err := ledger.Hold(b.Context(), tx, "c")
			if err != nil || sealed {
				t.Errorf("holding: sealed %v, %v", sealed, err)
			}
			close(held)
			<-release
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-held
	sealing := make(chan struct{})
	wg.Go(func() { defer close(sealing); b.seal("c") })
	b.awaitWaiter()
	select {
	case <-sealing:
		require.Fail(t, "sealed while an attempt was being recorded")
	default:
	}
	close(release)
	wg.Wait()
}

func TestAnAttemptThatWaitedForASealSeesIt(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	var wg sync.WaitGroup
	require.NoError(t, b.store.Tx(t.Context(), func(tx pgx.Tx) error {
		_, err := ledger.Seal(t.Context(), tx, "c", "dev")
		require.NoError(t, err)
		wg.Go(func() {
			_, err := b.ledger.Attempt(b.Context(), "c", "write", "crm.t", "call", []ledger.Member{member("a", "1")})
			if f := fault.Of(err); f == nil || f.Code != "ledger.sealed" {
				t.Errorf("the attempt began although its cause was sealed: %v", err)
			}
		})
		b.awaitWaiter()
		return nil
	}))
	wg.Wait()
	require.Empty(t, b.effects("c"))
}

// awaitWaiter returns when somebody waits for an advisory lock of this database.
func (b *bundle) awaitWaiter() {
	b.Helper()
	require.Eventually(b, func() bool {
		var n int
		err := b.store.Pool().QueryRow(b.Context(), `select count(*) from pg_locks l join pg_database d on d.oid = l.database
			where l.locktype = 'advisory' and not l.granted and d.datname = current_database()`).Scan(&n)
		return err == nil && n == 1
	}, waitFor, pollEach)
}

func TestDoubtMarksOnlyWhatIsOpen(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	open := b.attempt("c", member("a", "1"), member("b", "1"))
	b.record("c", ledger.Outcome{Key: "a", Fence: open[0].Fence, State: flow.Confirmed})
	require.NoError(t, b.store.Tx(t.Context(), func(tx pgx.Tx) error { return ledger.Doubt(t.Context(), tx, "gone", "c") }))
	got := b.effects("c")
	require.Equal(t, []flow.EffectState{flow.Confirmed, flow.Doubtful}, []flow.EffectState{got[0].State, got[1].State})
	require.Equal(t, 1, b.record("c", ledger.Outcome{Key: "b", Fence: open[1].Fence, State: flow.Confirmed}))
	require.Equal(t, flow.Settled, b.effects("c")[1].State, "decided since")
}

func TestAnOutcomeIsOneThatAnAttemptCanHave(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, err := b.ledger.Record(t.Context(), "c", "write", []ledger.Outcome{{Key: "a", State: flow.Settled}})
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
