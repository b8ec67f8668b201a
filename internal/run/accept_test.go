package run_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/journal"
	"patchbay/internal/run"
)

func TestAcceptKeepsARowThatClaimsItself(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r, s := b.accept("k1")

	require.Len(t, r.RunID, 26)
	require.Equal(t, flow.Accepted, r.Status)
	require.Equal(t, []string{"accepted"}, names(r.Progress))
	require.WithinDuration(t, r.AcceptedAt.Add(30*time.Second), r.DeadlineAt, time.Millisecond)
	require.Equal(t, run.Start{
		BatchID: r.RunID, Flow: "product-specs", Digest: b.plan.Digest(), Pattern: "instant", Size: 1,
		Skeleton: b.plan.Skeleton(), Summary: b.plan.Summary, RunIDs: []string{r.RunID},
	}, s)
	require.Equal(t, r.WorkflowID, s.WorkflowID())

	stored := b.get(r.RunID)
	require.Equal(t, "3", fmt.Sprint(stored.Params["depth"]), "defaults are part of the row")
	stored.Params = r.Params
	require.Equal(t, r, stored, "what Accept returns is what was committed")

	due, err := b.book.Due(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, due, "the relay leaves a row alone while its lease holds")
}

func TestASynchronizationIsStartedByNobody(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Sync = &flow.Sync{} })
	_, _, err := b.book.Accept(t.Context(), press("k1"))
	require.Equal(t, "flow.started_by_regions", fault.Of(err).Code)
}

func TestTheSameKeyIsTheSameRunAndNothingIsStartedTwice(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	first, _ := b.accept("k1")
	again, s := b.accept("k1")
	require.True(t, again.Replayed)
	require.False(t, first.Replayed)
	require.Equal(t, first.RunID, again.RunID)
	require.Zero(t, s)

	other := press("k1")
	other.Principal = "key:erp"
	r, _, err := b.book.Accept(t.Context(), other)
	require.NoError(t, err)
	require.NotEqual(t, first.RunID, r.RunID, "a key belongs to its principal")
}

func TestTheSameKeyWithOtherParametersIsAConflict(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.accept("k1")
	p := press("k1")
	p.Params["product_id"] = "AS54889"
	_, _, err := b.book.Accept(t.Context(), p)
	requireFault(t, err, fault.Conflict, "idem.reused")
}

func TestPressesWithoutAKeyAreRunsOfTheirOwn(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	one, _ := b.accept("")
	two, _ := b.accept("")
	require.NotEqual(t, one.RunID, two.RunID)
	require.Len(t, two.RunID, 26)
}

func TestConcurrentPressesWithOneKeyMakeOneRow(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	// A second book stands for a second process: it shares nothing but the database.
	books := []*run.Book{b.book, run.NewBook(b.store, run.NewPlans(b.store), run.Options{})}
	const n = 24
	var wg sync.WaitGroup
	runs, starts, errs := make([]flow.Run, n), make([]run.Start, n), make([]error, n)
	for i := range n {
		wg.Go(func() { runs[i], starts[i], errs[i] = books[i%2].Accept(t.Context(), press("k1")) })
	}
	wg.Wait()
	started := 0
	for i := range n {
		require.NoError(t, errs[i])
		require.Equal(t, runs[0].RunID, runs[i].RunID)
		require.Equal(t, starts[i].BatchID == "", runs[i].Replayed)
		if starts[i].BatchID != "" {
			started++
		}
	}
	require.Equal(t, 1, started)
	var rows, entries int
	require.NoError(t, b.store.Pool().QueryRow(t.Context(), `select (select count(*) from work), (select count(*) from journal)`).Scan(&rows, &entries))
	require.Equal(t, []int{1, 1}, []int{rows, entries})
}

func TestARepeatIsFoundAfterTheFlowsParametersChanged(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r, _ := b.accept("k1")
	_, err := b.plans.Apply(t.Context(), []*flow.Plan{specs(func(p *flow.Plan) {
		p.Params[0].Name = "item"
	})}, nil, "test")
	require.NoError(t, err)
	again, _ := b.accept("k1")
	require.True(t, again.Replayed)
	require.Equal(t, r.Digest, again.Digest, "a run keeps the plan it was accepted under")
	_, _, err = b.book.Accept(t.Context(), press("k2"))
	requireFault(t, err, fault.Invalid, "params.invalid")
}

func TestUnknownFlowsAndRunsAreNotFound(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	p := press("")
	p.Flow = "no-such"
	_, _, err := b.book.Accept(t.Context(), p)
	requireFault(t, err, fault.NotFound, "flow.not_found")
	_, err = b.book.Get(t.Context(), "x")
	requireFault(t, err, fault.NotFound, "run.not_found")
	_, err = b.book.Seal(t.Context(), "x", "dev")
	requireFault(t, err, fault.NotFound, "run.not_found")
	_, err = b.book.Certificate(t.Context(), "x")
	requireFault(t, err, fault.NotFound, "run.not_found")
	_, err = b.book.Take(t.Context(), "x", "reading")
	requireFault(t, err, fault.NotFound, "run.not_found")
	_, err = b.book.Close(t.Context(), "x", nil)
	requireFault(t, err, fault.NotFound, "run.not_found")
}

func TestAnAcceptedPressIsFoundByItsBusinessKey(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r, _ := b.accept("k1")
	for _, key := range []string{r.RunID, "AS54888"} {
		entries, err := b.journal.Explain(t.Context(), key)
		require.NoError(t, err)
		require.Len(t, entries, 1, key)
		require.Equal(t, string(journal.Accepted), entries[0].Reason)
		require.Equal(t, r.RunID, entries[0].Run)
	}
}

func TestParametersSurviveTheDatabaseExactly(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Params[0].Pattern = "" })
	p := press("")
	p.Params["product_id"] = "a\x00b\xff<é>"
	r, s, err := b.book.Accept(t.Context(), p)
	require.NoError(t, err)
	item := b.begin(s.BatchID, "reading")
	require.Equal(t, "a\x00b\uFFFD<é>", item.Params["product_id"])
	require.Equal(t, int64(3), item.Params["depth"], "an int is an int64, as after Validate")
	require.Equal(t, r.RunID, item.RunID)
}

func TestWorkflowIDsHaveTheFormOfTheContract(t *testing.T) {
	t.Parallel()
	s := run.Start{Pattern: "instant", Flow: "product-specs", BatchID: "b"}
	require.Equal(t, contract.WorkflowID(s.Pattern, s.Flow, s.BatchID), s.WorkflowID())
}

// whileStuck holds back the rows that others insert, waits until insert does, lets
// meanwhile act, and with kill makes that insert's outcome unknown.
func (b *bundle) whileStuck(insert func(), meanwhile func(tx pgx.Tx), kill bool) {
	b.Helper()
	tx, err := b.store.Pool().Begin(b.Context())
	require.NoError(b, err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(b.Context())) }()
	_, err = tx.Exec(b.Context(), `lock table work in share row exclusive mode`)
	require.NoError(b, err)
	done := make(chan struct{})
	go func() { defer close(done); insert() }()
	var pid int32
	require.Eventually(b, func() bool {
		err := tx.QueryRow(b.Context(), `select l.pid from pg_locks l join pg_database d on d.oid = l.database
			where l.locktype = 'relation' and not l.granted and d.datname = current_database()`).Scan(&pid)
		return err == nil
	}, time.Minute, 10*time.Millisecond)
	meanwhile(tx)
	if kill {
		_, err = tx.Exec(b.Context(), `select pg_terminate_backend($1, 5000)`, pid)
		require.NoError(b, err)
	}
	require.NoError(b, tx.Commit(b.Context()))
	<-done
}

func TestAPressOfACallerWhoLeavesIsCommittedAndStarted(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.accept("") // plan and key are known from here on
	ctx, leave := context.WithCancel(t.Context())
	var r flow.Run
	var s run.Start
	var err error
	b.whileStuck(func() { r, s, err = b.book.Accept(ctx, press("k1")) }, func(pgx.Tx) { leave() }, false)
	require.NoError(t, err, "the commit was on its way: its outcome must not become unknown")
	require.Equal(t, r.RunID, s.BatchID)
	require.Equal(t, flow.Accepted, b.get(r.RunID).Status)

	_, _, err = b.book.Accept(ctx, press("k2"))
	require.ErrorIs(t, err, context.Canceled, "who has left before is not waited for")
}

// A database that accepts and does not answer costs a caller two seconds, however
// many are ahead of it.
func TestAPressWaitsForTheDatabaseForTwoSecondsAtMost(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.accept("") // plan and key are known from here on
	told := make(chan error, 2)
	ask := func(key string) {
		begun := time.Now()
		_, _, err := b.book.Accept(b.Context(), press(key))
		if took := time.Since(begun); took > 2*time.Second+time.Second/2 { // half a second is this machine's
			t.Errorf("%s waited for %s", key, took)
		}
		told <- err
	}
	b.whileStuck(func() { ask("k1") }, func(pgx.Tx) {
		go ask("k2")
		requireFault(t, <-told, fault.InDoubt, "store.commit_unknown")
		requireFault(t, <-told, fault.Unavailable, "store.unavailable")
	}, false)
	require.Eventually(t, func() bool {
		r, _, err := b.book.Accept(b.Context(), press("k1"))
		return err == nil && r.Status == flow.Accepted
	}, time.Minute, 50*time.Millisecond, "the same key finds out")
}

func TestAPressThatFoundTheQueueFullAfterADoubtfulCommitIsThrottled(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Limits.Queue = 2 })
	b.busy()
	b.accept("k1")
	var err error
	b.whileStuck(func() { _, _, err = b.book.Accept(b.Context(), press("k2")) }, func(tx pgx.Tx) {
		_, err := tx.Exec(t.Context(), `insert into work (run_id, flow, pattern, principal, body_sha256, params, digest, timeout, deadline_at)
			select 'another', flow, pattern, principal, body_sha256, params, digest, timeout, deadline_at from work`)
		require.NoError(t, err)
	}, true)
	requireFault(t, err, fault.Throttled, "queue.full")
}

func TestADoubtfulPressThatWaitsIsNoRepeat(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.busy()
	b.accept("k1")
	var r flow.Run
	var s run.Start
	var err error
	b.whileStuck(func() { r, s, err = b.book.Accept(b.Context(), press("k1")) }, func(pgx.Tx) {}, true)
	require.NoError(t, err)
	require.False(t, r.Replayed)
	require.Zero(t, s)
}

func TestADoubtfulCommitThatDidNotHappenIsMadeAgain(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.accept("")
	var r flow.Run
	var s run.Start
	var err error
	b.whileStuck(func() { r, s, err = b.book.Accept(b.Context(), press("k1")) }, func(pgx.Tx) {}, true)
	require.NoError(t, err)
	require.False(t, r.Replayed)
	require.Equal(t, r.RunID, s.BatchID)
}

func TestADoubtfulRepeatStartsOnlyWhatTemporalDoesNotHave(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	running, first := b.accept("running")
	b.begin(first.BatchID, "reading")
	waiting, start := b.accept("waiting")
	again := func(key string) (r flow.Run, s run.Start) {
		var err error
		b.whileStuck(func() { r, s, err = b.book.Accept(b.Context(), press(key)) }, func(pgx.Tx) {}, true)
		require.NoError(t, err)
		return r, s
	}
	r, s := again("running")
	require.Equal(t, running.RunID, r.RunID)
	require.True(t, r.Replayed)
	require.Zero(t, s, "its workflow is at work")
	r, s = again("waiting")
	require.Equal(t, waiting.RunID, r.RunID)
	require.Equal(t, start, s, "it may be the row that was in doubt: nobody else would start it before its lease lapses")
}
