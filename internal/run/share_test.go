package run_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/run"
)

// sharing lets identical presses share for longer than any test runs.
func sharing(p *flow.Plan) { p.Limits.ShareIdentical = 100_000 * time.Hour }

func (b *bundle) press(p flow.Press) (flow.Run, run.Start) {
	b.Helper()
	r, s, err := b.book.Accept(b.Context(), p)
	require.NoError(b, err)
	return r, s
}

// shared presses, and gives the run of a follower.
func (b *bundle) shared(leader string) flow.Run {
	b.Helper()
	p := press("")
	p.Principal = "ben"
	r, s := b.press(p)
	require.Equal(b, leader, r.Shared)
	require.Zero(b, s, "a follower is never started")
	return r
}

func (b *bundle) cancel(runID string) (flow.Run, flow.Certificate) {
	b.Helper()
	r, err := b.book.Seal(b.Context(), runID, "dev")
	require.NoError(b, err)
	if !r.Status.Final() {
		return r, flow.Certificate{}
	}
	cert, err := b.book.Certificate(b.Context(), runID)
	require.NoError(b, err)
	again, err := b.book.Certificate(b.Context(), runID)
	require.NoError(b, err)
	require.Equal(b, cert, again)
	return r, cert
}

func TestIdenticalPressesShareTheAnswerAndTheEndOfTheFirst(t *testing.T) {
	t.Parallel()
	b := newBundle(t, sharing)
	leader, s := b.accept("k1")
	follower := b.shared(leader.RunID)
	require.Equal(t, flow.Accepted, follower.Status)
	require.Equal(t, follower, b.shown(follower.RunID, leader.WorkflowID))

	item := b.begin(s.BatchID, "reading")
	ticks, stop := b.book.Watch(t.Context(), follower.RunID)
	defer stop()
	require.NoError(t, b.book.Answer(t.Context(), item, answer(2), "", true, false))
	requireTick(t, ticks, 500*time.Millisecond)
	got := b.get(follower.RunID)
	require.Equal(t, flow.Running, got.Status)
	require.Equal(t, b.get(leader.RunID).Result, got.Result)
	require.Equal(t, []string{"accepted", "answered"}, names(got.Progress))

	late := b.shared(leader.RunID)
	require.Equal(t, got.Result, late.Result, "who comes later has the answer at once")
	require.Equal(t, flow.Running, late.Status)

	status, err := b.book.Complete(t.Context(), item, "write", b.attempt(item), nil, "")
	require.NoError(t, err)
	require.Equal(t, flow.Completed, status)
	last := b.shared(leader.RunID)
	require.Equal(t, flow.Completed, last.Status, "it came when all was done")
	for _, id := range []string{follower.RunID, late.RunID, last.RunID} {
		got := b.get(id)
		require.Equal(t, flow.Completed, got.Status)
		require.Equal(t, []string{"accepted", "answered", "closed"}, names(got.Progress))
		require.Equal(t, b.get(leader.RunID).Effects, got.Effects)
		require.Len(t, got.Effects, 2)
		require.Equal(t, []string{"shared"}, b.finals(id))
		entries, err := b.journal.Explain(t.Context(), id)
		require.NoError(t, err)
		require.Len(t, entries, 2, "accepted, and its end")
		require.Equal(t, leader.RunID, entries[1].Detail["run"])
		cert, err := b.book.Certificate(t.Context(), id)
		require.NoError(t, err)
		require.Len(t, cert.Done, 2)
	}
	require.Equal(t, []string{"delivered"}, b.finals(leader.RunID))
	require.Empty(t, b.due())
}

// shown is a run as it is read, without what a fresh one cannot know.
func (b *bundle) shown(runID, workflowID string) flow.Run {
	b.Helper()
	r := b.get(runID)
	require.Equal(b, workflowID, r.WorkflowID, "its page leads to the workflow that works for it")
	r.WorkflowID = ""
	r.Params = b.plain(r.Params)
	return r
}

// plain gives parameters the types that they have before they are stored.
func (b *bundle) plain(params flow.Row) flow.Row {
	params["depth"] = int64(3)
	return params
}

func TestTwoHundredIdenticalPressesAreOneRunsWork(t *testing.T) {
	t.Parallel()
	b := newBundle(t, sharing)
	b.accept("warm") // also the leader of none: it is cancelled
	b.cancelAll()
	const n = 200
	runs := make([]flow.Run, n)
	started := make([]bool, n)
	for i := range n {
		b.waiting.Go(func() {
			r, s, err := b.book.Accept(t.Context(), press(""))
			if err != nil {
				t.Error(err)
			}
			runs[i], started[i] = r, s.BatchID != ""
		})
	}
	b.waiting.Wait()
	var leader flow.Run
	leaders, starts := 0, 0
	for i, r := range runs {
		if r.Shared == "" {
			leader, leaders = r, leaders+1
		}
		if started[i] {
			starts++
		}
	}
	require.Equal(t, 1, leaders)
	require.LessOrEqual(t, starts, 1)
	for _, r := range runs {
		require.True(t, r.RunID == leader.RunID || r.Shared == leader.RunID)
	}
	b.exec(`update work set batch_id = run_id where run_id = $1`, leader.RunID)
	require.NoError(t, b.book.Answer(t.Context(), b.begin(leader.RunID, "reading"), answer(1), "", true, true))
	require.Equal(t, n, b.count(`select count(*) from work where state = 'completed' and answered_at is not null`))
	require.Equal(t, n-1, b.count(`select count(*) from journal where final and reason = 'shared'`))
}

func (b *bundle) cancelAll() {
	b.Helper()
	for _, id := range b.texts(`select run_id from work where state = 'accepted'`) {
		b.cancel(id)
	}
}

func TestOnlyIdenticalPressesShare(t *testing.T) {
	t.Parallel()
	b := newBundle(t, sharing)
	b.accept("k1")
	other := press("")
	other.Params["product_id"] = "AS54889"
	background := press("")
	background.Class = flow.Background
	door := press("")
	door.Workflow = "mine"
	explicit := press("")
	explicit.Params["depth"] = json.Number("3")
	for _, p := range []flow.Press{other, background, door} {
		r, _ := b.press(p)
		require.Empty(t, r.Shared)
	}
	r, _ := b.press(explicit)
	require.NotEmpty(t, r.Shared, "a default that is given is the same press")
	_, err := b.plans.Apply(t.Context(), []*flow.Plan{specs(sharing, func(p *flow.Plan) { p.Limits.Rows = 7 })}, nil, "test")
	require.NoError(t, err)
	r, _ = b.press(press(""))
	require.Empty(t, r.Shared, "a plan works by itself")

	alone := newBundle(t)
	alone.accept("k1")
	r, _ = alone.press(press(""))
	require.Empty(t, r.Shared, "a flow shares only if it says so")
}

func TestSharingEndsWithItsSpanOfTime(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Limits.ShareIdentical = time.Nanosecond })
	b.accept("k1")
	r, _ := b.press(press(""))
	require.Empty(t, r.Shared)
}

func TestAFollowerDoesNotStandBehindTheManyPressesOfItsLeadersOwner(t *testing.T) {
	t.Parallel()
	b := newBundle(t, sharing, func(p *flow.Plan) { p.Limits.PerUser = 1 })
	b.busy()
	for n := range 20 {
		p := press("")
		p.Params["product_id"] = fmt.Sprintf("P-%d", n)
		b.press(p)
	}
	last := press("")
	leader, _ := b.press(last)
	last.Principal = "ben"
	follower, _ := b.press(last)
	require.Equal(t, leader.RunID, follower.Shared)
	ahead, err := b.book.Ahead(t.Context(), []string{leader.RunID})
	require.NoError(t, err)
	require.Less(t, ahead[leader.RunID], 5, "the others stand a second apart")
}

func TestAFollowersKeyIsItsOwn(t *testing.T) {
	t.Parallel()
	b := newBundle(t, sharing)
	leader, _ := b.accept("k1")
	first, _ := b.press(press("k2"))
	again, _ := b.press(press("k2"))
	require.Equal(t, leader.RunID, first.Shared)
	require.True(t, again.Replayed)
	require.Equal(t, first.RunID, again.RunID)
	other := press("k2")
	other.Params["product_id"] = "AS54889"
	_, _, err := b.book.Accept(t.Context(), other)
	requireFault(t, err, fault.Conflict, "idem.reused")
}

func TestFollowersFailAsTheirLeaderAndTheNextPressWorksAnew(t *testing.T) {
	t.Parallel()
	b := newBundle(t, sharing)
	leader, s := b.accept("k1")
	follower := b.shared(leader.RunID)
	item := b.begin(s.BatchID, "reading")
	_, err := b.book.Fail(t.Context(), item, fault.NotFoundf("source.none", "no such product"))
	require.NoError(t, err)
	got := b.get(follower.RunID)
	require.Equal(t, flow.Failed, got.Status)
	require.Equal(t, &flow.Problem{Code: "source.none", Detail: "no such product"}, got.Problem)
	require.Equal(t, []string{"shared"}, b.finals(follower.RunID))
	next, _ := b.accept("k3")
	require.Empty(t, next.Shared)
}

func TestAnAnswerThatWaitsForTheWriteIsSharedWithTheEnd(t *testing.T) {
	t.Parallel()
	b := newBundle(t, sharing)
	leader, s := b.accept("k1")
	follower := b.shared(leader.RunID)
	item := b.begin(s.BatchID, "reading")
	require.NoError(t, b.book.Answer(t.Context(), item, answer(2), "", false, false))
	require.Nil(t, b.get(follower.RunID).Result)
	require.Nil(t, b.shared(leader.RunID).Result)
	_, err := b.book.Complete(t.Context(), item, "write", b.attempt(item), nil, "")
	require.NoError(t, err)
	require.Equal(t, 2, b.get(follower.RunID).Result.Count)
	require.Equal(t, 2, b.shared(leader.RunID).Result.Count)
}

func TestAFollowerThatIsCancelledLeavesTheWorkToTheOthers(t *testing.T) {
	t.Parallel()
	b := newBundle(t, sharing)
	leader, s := b.accept("k1")
	one, two := b.shared(leader.RunID), b.shared(leader.RunID)
	item := b.begin(s.BatchID, "reading")
	r, cert := b.cancel(one.RunID)
	require.Equal(t, flow.Cancelled, r.Status)
	require.Equal(t, flow.Certificate{RunID: one.RunID, Status: flow.Cancelled, At: *r.ClosedAt, Detached: true,
		Done: []flow.Effect{}, Undone: []flow.Effect{}, InDoubt: []flow.Effect{}}, cert)
	require.Equal(t, []string{"cancelled"}, b.finals(one.RunID))
	require.NoError(t, b.book.Answer(t.Context(), item, answer(1), "", true, true))
	require.Equal(t, flow.Completed, b.get(two.RunID).Status)
	r, _ = b.cancel(one.RunID)
	require.Nil(t, r.Result, "what came after it left is not its")
	require.Equal(t, flow.Cancelled, r.Status)
}

func TestALeaderThatNobodyHasBegunHandsItsPlaceToAFollower(t *testing.T) {
	t.Parallel()
	b := newBundle(t, sharing)
	b.busy()
	leader, s := b.accept("k1")
	require.Zero(t, s)
	first, second := b.shared(leader.RunID), b.shared(leader.RunID)
	ticks := b.book.Waiting(t.Context())
	r, cert := b.cancel(leader.RunID)
	require.Equal(t, flow.Cancelled, r.Status)
	require.False(t, cert.Detached, "nothing goes on in its name")
	requireTick(t, ticks, time.Second)
	require.Empty(t, b.get(first.RunID).Shared)
	require.Equal(t, first.RunID, b.get(second.RunID).Shared)
	require.Equal(t, 1, b.count(`select count(*) from work h, work l where h.run_id = $1 and l.run_id = $2 and h.order_at = l.order_at
		and h.batch_id is null and h.share is not null and l.share is null`, first.RunID, leader.RunID), "the heir has its place")
	b.shared(first.RunID)
	require.Equal(t, []string{"cancelled"}, b.finals(leader.RunID))
	require.Empty(t, b.finals(first.RunID))
}

func TestALeaderAtWorkThatIsCancelledLeavesTheWorkToItsFollowers(t *testing.T) {
	t.Parallel()
	b := newBundle(t, sharing)
	leader, s := b.accept("k1")
	follower := b.shared(leader.RunID)
	require.NoError(t, b.book.Relayed(t.Context(), s.BatchID))
	item := b.begin(s.BatchID, "reading")
	r, cert := b.cancel(leader.RunID)
	require.Equal(t, flow.Cancelled, r.Status)
	require.False(t, r.Cancelling)
	require.Equal(t, []string{"accepted", "reading", "closed"}, names(r.Progress))
	require.True(t, cert.Detached)
	require.Equal(t, cert.At, *r.ClosedAt)
	sealed, err := b.book.SealedOpen(t.Context())
	require.NoError(t, err)
	require.Empty(t, sealed, "the work goes on")

	joined := b.shared(leader.RunID)
	require.NoError(t, b.book.Answer(t.Context(), item, answer(1), "", true, false))
	_, err = b.book.Complete(t.Context(), item, "write", b.attempt(item), nil, "")
	require.NoError(t, err)
	for _, id := range []string{follower.RunID, joined.RunID} {
		got := b.get(id)
		require.Equal(t, flow.Completed, got.Status)
		require.NotNil(t, got.Result)
		require.Len(t, got.Effects, 2)
	}
	again := b.get(leader.RunID)
	require.Equal(t, flow.Cancelled, again.Status)
	require.Nil(t, again.Result)
	require.Equal(t, r.Progress, again.Progress)
	require.Equal(t, []string{"cancelled"}, b.finals(leader.RunID), "its later end is no second reason")
	listed, _, err := b.book.List(t.Context(), flow.RunFilter{Status: flow.Cancelled})
	require.NoError(t, err)
	require.Len(t, listed, 1)
}

func TestTheLastWhoLeavesCancelsTheWork(t *testing.T) {
	t.Parallel()
	b := newBundle(t, sharing)
	leader, s := b.accept("k1")
	one, two := b.shared(leader.RunID), b.shared(leader.RunID)
	require.NoError(t, b.book.Relayed(t.Context(), s.BatchID))
	item := b.begin(s.BatchID, "writing")
	b.cancel(one.RunID)
	b.cancel(leader.RunID)
	require.Empty(t, b.sealed())
	b.cancel(two.RunID)
	require.Equal(t, []run.Handed{{BatchID: s.BatchID, WorkflowID: s.WorkflowID()}}, b.sealed())
	_, err := b.book.Attempt(t.Context(), item, "write", "crm.specification", members())
	requireFault(t, err, fault.Conflict, "ledger.sealed")
	next, _ := b.accept("")
	require.Empty(t, next.Shared, "nobody joins work that is being given up")
	status, err := b.book.Close(t.Context(), s.BatchID, nil)
	require.NoError(t, err)
	require.Equal(t, flow.Cancelled, status)
	for _, id := range []string{leader.RunID, one.RunID, two.RunID} {
		require.Equal(t, []string{"cancelled"}, b.finals(id))
	}
}

func (b *bundle) sealed() []run.Handed {
	b.Helper()
	sealed, err := b.book.SealedOpen(b.Context())
	require.NoError(b, err)
	return sealed
}
