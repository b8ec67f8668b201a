package starters_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/activities"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

func TestAPressIsAnsweredBeforeItsRowsAreWritten(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	gate := make(chan struct{})
	b.outside.onWrite = func(ctx context.Context, _ int) error {
		select {
		case <-gate:
		case <-ctx.Done():
		}
		return ctx.Err()
	}
	r := b.until(b.press("AS54888", "").RunID, answered)
	require.Equal(t, 2, r.Result.Count)
	require.False(t, r.Status.Final(), "the write waits behind the gate")
	close(gate)
	r = b.until(r.RunID, final)
	require.Equal(t, flow.Completed, r.Status, "%+v", r.Problem)
	reads, writes, held := b.outside.counts()
	require.Equal(t, []int{1, 1, 2}, []int{reads, writes, held})
	require.LessOrEqual(t, len(r.Progress), 5)
}

func TestAnAnswerThatWaitsForTheWriteIsNotShownBefore(t *testing.T) {
	t.Parallel()
	p := plan()
	p.Respond = flow.AfterWrite
	b := newBundle(t, temporalAddress(t), p)
	b.outside.onWrite = func(ctx context.Context, n int) error {
		if n == 1 {
			return errAway
		}
		return nil
	}
	id := b.press("AS54888", "").RunID
	r := b.until(id, func(r flow.Run) bool { return r.Waiting != "" || r.Status.Final() })
	require.Nil(t, r.AnsweredAt, "nothing is written yet")
	require.Contains(t, r.Waiting, "crm")
	r = b.until(id, final)
	require.Equal(t, flow.Completed, r.Status)
	require.NotNil(t, r.AnsweredAt)
}

func TestAWriteThatTookEffectButLostItsAnswerIsNotSentAgain(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	b.outside.afterPut = func(context.Context, int) error {
		return fault.New(fault.InDoubt, "crm.answer_lost", "the answer was lost", nil)
	}
	r := b.until(b.press("AS54888", "").RunID, final)
	require.Equal(t, flow.Completed, r.Status, "%+v", r.Problem)
	_, writes, held := b.outside.counts()
	require.Equal(t, 1, writes, "the rows were found by their keys")
	require.Equal(t, 2, held)
}

func TestWithoutTemporalARowIsAcceptedAndTheRelayStartsItLater(t *testing.T) {
	t.Parallel()
	door := newDoor(t, temporalAddress(t))
	b := newBundle(t, door.address(), plan())
	door.shut()
	r := b.press("AS54888", "")
	require.Equal(t, flow.Accepted, r.Status, "the row is enough")
	b.background(b.relay.Run)
	b.trigger.Close()
	reads, _, _ := b.outside.counts()
	require.Zero(t, reads)
	door.open()
	r = b.until(r.RunID, final)
	require.Equal(t, flow.Completed, r.Status, "%+v", r.Problem)
	reads, writes, _ := b.outside.counts()
	require.Equal(t, []int{1, 1}, []int{reads, writes})
}

func TestTheTimeThatNobodyCouldStartARowIsNotThePressers(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	runs, free := b.together("AS54888", "AS54889")
	_, err := b.db.Pool().Exec(t.Context(), `update work set deadline_at = now() - interval '1 minute' where batch_id is null`)
	require.NoError(t, err)
	free()
	b.background(b.relay.Run)
	for _, r := range runs {
		r = b.until(r.RunID, final)
		require.Equal(t, flow.Completed, r.Status, "%+v", r.Problem)
	}
}

func TestTheSameKeyRunsOnceHoweverManyPressIt(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	ids := make(chan string, 20)
	for range cap(ids) {
		go func() { ids <- b.press("AS54888", "same").RunID }()
	}
	first := <-ids
	for range cap(ids) - 1 {
		require.Equal(t, first, <-ids)
	}
	b.until(first, final)
	reads, writes, _ := b.outside.counts()
	require.Equal(t, []int{1, 1}, []int{reads, writes})
	_, err := b.trigger.Press(t.Context(), flow.Press{Flow: "specs", Principal: "test", Key: "same", Params: map[string]any{"product_id": "OTHER"}})
	require.Equal(t, "idem.reused", fault.Of(err).Code)
}

func TestACancelWhileReadingWritesNothingAndIsCertified(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	reading := make(chan struct{}, 8)
	b.outside.onRead = func(ctx context.Context, _ int) error {
		reading <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	r := b.press("AS54888", "")
	<-reading
	certificate, err := b.control.Cancel(t.Context(), flow.Principal{Name: "test"}, r.RunID)
	require.NoError(t, err)
	require.Equal(t, flow.Cancelled, certificate.Status)
	require.Empty(t, certificate.Done)
	again, err := b.control.Cancel(t.Context(), flow.Principal{Name: "test"}, r.RunID)
	require.NoError(t, err)
	require.Equal(t, certificate, again)
	_, writes, _ := b.outside.counts()
	require.Zero(t, writes)
}

func TestACancelDuringAWriteWaitsForItAndCertifiesWhatWasDone(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	writing, gate := make(chan struct{}, 8), make(chan struct{})
	b.outside.onWrite = func(ctx context.Context, _ int) error {
		writing <- struct{}{}
		select {
		case <-ctx.Done():
			return fault.New(fault.InDoubt, "crm.no_answer", "the request was cut off", ctx.Err())
		case <-gate:
			return nil
		}
	}
	r := b.press("AS54888", "")
	<-writing
	answer := make(chan flow.Certificate, 1)
	go func() {
		certificate, err := b.control.Cancel(context.WithoutCancel(t.Context()), flow.Principal{Name: "test"}, r.RunID)
		if err == nil {
			answer <- certificate
		}
		close(answer)
	}()
	b.until(r.RunID, func(r flow.Run) bool { return r.Cancelling })
	time.AfterFunc(7*time.Second, func() { close(gate) }) // longer than a heartbeat may be missing: the attempt must go on beating
	certificate := <-answer
	require.Equal(t, flow.Cancelled, certificate.Status)
	require.Len(t, certificate.Done, 2, "the write was on its way before the cancel")
	require.Empty(t, certificate.InDoubt)
}

func TestADeadlineEndsTheRunInWords(t *testing.T) {
	t.Parallel()
	p := plan()
	p.Limits.Timeout = 2 * time.Second
	b := newBundle(t, temporalAddress(t), p)
	b.outside.onRead = func(context.Context, int) error { return errAway }
	r := b.until(b.press("AS54888", "").RunID, final)
	require.Equal(t, flow.Failed, r.Status)
	require.Contains(t, r.Problem.Detail, "the service is unavailable", "the reason is what kept it waiting")
	require.True(t, r.Problem.Retry)
}

func TestASecondPressOfAClosedRunIsItsAnswer(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	b.outside.onRead = func(context.Context, int) error {
		return fault.NotFoundf("source.not_found", "there is no such product")
	}
	r := b.until(b.press("NOPE", "k").RunID, final)
	require.Equal(t, "source.not_found", r.Problem.Code)
	require.False(t, r.Problem.Retry)
	again := b.press("NOPE", "k")
	require.True(t, again.Replayed)
	require.Equal(t, flow.Failed, again.Status)
	reads, _, _ := b.outside.counts()
	require.Equal(t, 1, reads, "not found is an answer, not a retry")
}

func TestAWriteThatCannotSignInIsParkedAndGoesOnOncePutRight(t *testing.T) {
	t.Parallel()
	for name, wrong := range map[string]*fault.Fault{
		"moved":    fault.New(fault.Conflict, activities.Moved, "connection crm names another system", nil),
		"secret":   fault.New(fault.Invalid, "secret.missing", "the environment variable of ${env:CRM} is not set", nil),
		"password": fault.New(fault.Unauthorized, "vendor.sign_in_refused", "crm refused the credentials of the connection", nil),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t, temporalAddress(t), plan())
			var right atomic.Bool
			b.outside.onWrite = func(context.Context, int) error {
				if right.Load() {
					return nil
				}
				return wrong
			}
			id := b.press("AS54888", "").RunID
			r := b.until(id, func(r flow.Run) bool { return r.Status == flow.Parked || r.Status.Final() })
			require.Equal(t, flow.Parked, r.Status, "nothing was refused, nothing is lost: %+v", r.Problem)
			require.Contains(t, r.Waiting, wrong.Text)
			right.Store(true)
			r = b.until(id, final)
			require.Equal(t, flow.Completed, r.Status, "%+v", r.Problem)
			_, _, held := b.outside.counts()
			require.Equal(t, 2, held)
		})
	}
}
