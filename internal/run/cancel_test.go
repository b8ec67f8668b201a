package run_test

import (
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/ledger"
	"patchbay/internal/run"
)

func TestACancelBeforeTheStartEndsTheRunAtOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, s := b.accept("k1")
	r, err := b.book.Seal(t.Context(), s.BatchID, "dev")
	require.NoError(t, err)
	require.Equal(t, flow.Cancelled, r.Status)
	require.False(t, r.Cancelling)
	_, err = b.book.Take(t.Context(), s.BatchID, "reading")
	requireFault(t, err, fault.Conflict, "run.closed")
	b.lapse(s.BatchID)
	require.Empty(t, b.due())
	require.Equal(t, []string{"cancelled"}, b.finals(r.RunID))
	cert, err := b.book.Certificate(t.Context(), r.RunID)
	require.NoError(t, err)
	require.Equal(t, flow.Certificate{RunID: r.RunID, Status: flow.Cancelled, At: *r.ClosedAt,
		Done: []flow.Effect{}, Undone: []flow.Effect{}, InDoubt: []flow.Effect{}}, cert)
}

func TestACancelOfARunThatNobodyHasTakenEndsItWhereverItsRowStands(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.busy()
	waiting, _ := b.press(press("waiting"))
	claimed, _ := b.press(press("claimed"))
	b.exec(`update work set batch_id = 'busy 1' where run_id = $1`, claimed.RunID)
	b.exec(`update batch set size = 2 where batch_id = 'busy 1'`)
	for _, id := range []string{waiting.RunID, claimed.RunID} {
		r, cert := b.cancel(id)
		require.Equal(t, flow.Cancelled, r.Status)
		require.False(t, cert.Detached)
		require.Equal(t, []string{"cancelled"}, b.finals(id))
	}
	require.Equal(t, 4, b.count(`select count(*) from batch where settled_at is null`), "a batch of others goes on")
}

func TestACancelOfARunThatWasPutBackCertifiesWhatIsInDoubt(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, s := b.accept("k1")
	item := b.begin(s.BatchID, "writing")
	outcomes := b.attempt(item)
	require.NoError(t, b.book.Record(t.Context(), item, "write", outcomes[:1]))
	require.NoError(t, b.book.PutBack(t.Context(), item, fault.New(fault.Unavailable, "crm.down", "away", nil)))
	r, cert := b.cancel(item.RunID)
	require.Equal(t, flow.Cancelled, r.Status, "nothing is under way")
	require.Len(t, cert.Done, 1)
	require.Len(t, cert.InDoubt, 1)
	require.Equal(t, 1, r.InDoubt)
}

func TestACancelOfAFreshRunFreesItsPlaceInFlight(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, s := b.accept("k1")
	b.cancel(s.BatchID)
	require.Zero(t, b.count(`select count(*) from batch where settled_at is null`))
}

func TestACancelOfARunningRunWaitsForItsWorkflowAndLetsNoEffectBegin(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, s := b.accept("k1")
	require.NoError(t, b.book.Relayed(t.Context(), s.BatchID))
	item := b.begin(s.BatchID, "writing")
	sealed, err := b.book.SealedOpen(t.Context())
	require.NoError(t, err)
	require.Empty(t, sealed)

	for range 2 { // asking twice is asking once
		r, err := b.book.Seal(t.Context(), s.BatchID, "dev")
		require.NoError(t, err)
		require.Equal(t, flow.Running, r.Status)
		require.True(t, r.Cancelling)
	}
	_, err = b.book.Certificate(t.Context(), item.RunID)
	requireFault(t, err, fault.Conflict, "run.open")
	_, err = b.book.Attempt(t.Context(), item, "write", "crm.specification", members())
	requireFault(t, err, fault.Conflict, "ledger.sealed")
	require.True(t, b.begin(s.BatchID, "writing").Sealed)

	sealed, err = b.book.SealedOpen(t.Context())
	require.NoError(t, err)
	require.Equal(t, []run.Handed{{BatchID: s.BatchID, WorkflowID: s.WorkflowID()}}, sealed)

	// The workflow ends with the fault of the sealed attempt: still a cancel.
	status, err := b.book.Close(t.Context(), s.BatchID, fault.New(fault.Conflict, "ledger.sealed", "x", nil))
	require.NoError(t, err)
	require.Equal(t, flow.Cancelled, status)
	require.Equal(t, []string{"cancelled"}, b.finals(item.RunID))
	sealed, err = b.book.SealedOpen(t.Context())
	require.NoError(t, err)
	require.Empty(t, sealed)
}

func TestTheCertificateTellsDoneUndoneAndInDoubtAndNeverChanges(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r, s := b.accept("k1")
	item := b.begin(s.BatchID, "writing")
	outcomes := b.attempt(item)
	require.NoError(t, b.book.Record(t.Context(), item, "write", outcomes[:1]))
	_, err := b.book.Seal(t.Context(), r.RunID, "dev")
	require.NoError(t, err)
	_, err = b.book.Close(t.Context(), s.BatchID, nil)
	require.NoError(t, err)

	first, err := b.book.Certificate(t.Context(), r.RunID)
	require.NoError(t, err)
	require.Equal(t, flow.Cancelled, first.Status)
	require.Equal(t, "crm.specification AS54888, Weight", first.Done[0].Target)
	require.Empty(t, first.Undone)
	require.Equal(t, "crm.specification AS54888, Height", first.InDoubt[0].Target)

	// A zombie's late news does not change what was certified.
	requireFault(t, b.book.Record(t.Context(), item, "write", outcomes), fault.Conflict, "run.closed")
	require.Equal(t, flow.Doubtful, b.get(r.RunID).Effects[1].State)
	again, err := b.book.Certificate(t.Context(), r.RunID)
	require.NoError(t, err)
	require.Equal(t, first, again)
}

func TestCloseGivesEachClassOfFaultItsReason(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for _, c := range []struct {
		fault  *fault.Fault
		reason string
		retry  bool
	}{
		{fault.NotFoundf("source.none", "no such product"), "not_found", false},
		{fault.New(fault.Rejected, "x", "no", nil), "rejected", false},
		{fault.New(fault.Unavailable, flow.DeadlineCode, "late", nil), "deadline", true},
		{fault.New(fault.Unavailable, "oracle.down", "away", nil), "failed", true},
		{fault.New(fault.Bug, "bug", "oops", nil), "failed", false},
	} {
		r, s := b.accept("")
		status, err := b.book.Close(t.Context(), s.BatchID, c.fault)
		require.NoError(t, err)
		require.Equal(t, flow.Failed, status)
		require.Equal(t, []string{c.reason}, b.finals(r.RunID), c.fault.Code)
		got := b.get(r.RunID)
		require.Equal(t, &flow.Problem{Code: c.fault.Code, Detail: c.fault.Text, Retry: c.retry}, got.Problem)
		require.Equal(t, []string{"accepted", "closed"}, names(got.Progress))
	}
}

func TestCloseIsIdempotentAndAFinalRunKeepsItsStatus(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r, s := b.accept("k1")
	item := b.begin(s.BatchID, "writing")
	_, err := b.book.Complete(t.Context(), item, "write", b.attempt(item), nil, "")
	require.NoError(t, err)
	before := b.get(r.RunID)
	for _, f := range []*fault.Fault{nil, fault.New(fault.Bug, "bug", "oops", nil)} {
		status, err := b.book.Close(t.Context(), s.BatchID, f)
		require.NoError(t, err)
		require.Equal(t, flow.Completed, status)
	}
	sealed, err := b.book.Seal(t.Context(), r.RunID, "dev")
	require.NoError(t, err)
	require.Equal(t, before, sealed)
	require.Equal(t, []string{"delivered"}, b.finals(r.RunID))
	cert, err := b.book.Certificate(t.Context(), r.RunID)
	require.NoError(t, err)
	require.Equal(t, flow.Completed, cert.Status)
	require.Len(t, cert.Done, 2)
}

func TestAFailedRunLetsNoZombieBeginAnEffect(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r, s := b.accept("k1")
	zombie := b.begin(s.BatchID, "writing")
	_, err := b.book.Close(t.Context(), s.BatchID, fault.New(fault.Unavailable, flow.DeadlineCode, "late", nil))
	require.NoError(t, err)
	_, err = b.book.Attempt(t.Context(), zombie, "write", "crm.specification", members())
	requireFault(t, err, fault.Conflict, "run.closed")
	require.Empty(t, b.get(r.RunID).Effects)
}

// A cancel races the write's end: whoever is first decides, and the status, the
// effects, the certificate and the one final reason agree.
func TestCancelAndCompletionRaceToOneConsistentEnd(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	seen := map[flow.Status]int{}
	for range 40 {
		r, s := b.accept("")
		item := b.begin(s.BatchID, "writing")
		outcomes := b.attempt(item)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := b.book.Seal(b.Context(), r.RunID, "dev"); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			_, err := b.book.Complete(b.Context(), item, "write", outcomes, nil, "")
			if err != nil && fault.Of(err).Code != "run.closed" {
				t.Error(err)
			}
		})
		wg.Go(func() {
			// Temporal's cancel arrives while the activity still reports.
			if sealed, err := b.book.SealedOpen(b.Context()); err == nil && len(sealed) > 0 {
				if _, err := b.book.Close(b.Context(), s.BatchID, nil); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Wait()
		got := b.get(r.RunID)
		require.True(t, got.Status.Final(), got.Status)
		require.Len(t, b.finals(r.RunID), 1)
		seen[got.Status]++
		cert, err := b.book.Certificate(t.Context(), r.RunID)
		require.NoError(t, err)
		require.Equal(t, got.Status, cert.Status)
		require.Empty(t, cert.Undone)
		if got.Status == flow.Completed {
			require.Len(t, cert.Done, 2)
		}
		require.Equal(t, 2, len(cert.Done)+len(cert.InDoubt), "each effect is in the certificate once")
	}
	t.Logf("ends: %v", seen)
}

// awaitWaiter returns when somebody waits for a row that a transaction holds.
func (b *bundle) awaitWaiter() {
	b.Helper()
	require.Eventually(b, func() bool {
		var n int
		err := b.store.Pool().QueryRow(b.Context(), `select count(*) from pg_stat_activity
			where datname = current_database() and wait_event_type = 'Lock'`).Scan(&n)
		return err == nil && n == 1
	}, time.Minute, 10*time.Millisecond)
}

func TestACancelWaitsForAnAttemptThatIsBeingRecorded(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, s := b.accept("k1")
	item := b.begin(s.BatchID, "writing")
	sealing := make(chan struct{})
	require.NoError(t, b.store.Tx(t.Context(), func(tx pgx.Tx) error {
		// As an attempt does, until its commit.
		_, err := tx.Exec(t.Context(), `select from work where run_id = $1 for no key update`, item.RunID)
		require.NoError(t, err)
		go func() {
			defer close(sealing)
			if _, err := b.book.Seal(b.Context(), item.RunID, "dev"); err != nil {
				t.Error(err)
			}
		}()
		b.awaitWaiter()
		select {
		case <-sealing:
			require.Fail(t, "sealed while an attempt was being recorded")
		default:
		}
		return nil
	}))
	<-sealing
	require.True(t, b.get(item.RunID).Cancelling)
}

func TestAnAttemptThatWaitedForACancelSeesIt(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, s := b.accept("k1")
	item := b.begin(s.BatchID, "writing")
	refused := make(chan error, 1)
	require.NoError(t, b.store.Tx(t.Context(), func(tx pgx.Tx) error {
		// As a cancel does, until its commit.
		_, err := tx.Exec(t.Context(), `select from work where run_id = $1 for no key update`, item.RunID)
		require.NoError(t, err)
		_, err = ledger.Seal(t.Context(), tx, item.RunID, "dev")
		require.NoError(t, err)
		go func() {
			_, err := b.book.Attempt(b.Context(), item, "write", "crm.specification", members())
			refused <- err
		}()
		b.awaitWaiter()
		return nil
	}))
	requireFault(t, <-refused, fault.Conflict, "ledger.sealed")
	require.Empty(t, b.get(item.RunID).Effects)
}
