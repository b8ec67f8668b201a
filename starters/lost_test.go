package starters_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// hold lets reads begin and never end.
func (b *bundle) hold() (reading chan struct{}) {
	reading = make(chan struct{}, 8)
	b.outside.onRead = func(ctx context.Context, _ int) error {
		reading <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	return reading
}

// age makes a run as old as time would.
func (b *bundle) age(runID string) {
	b.Helper()
	_, err := b.db.Pool().Exec(b.Context(), `update batch set relayed_at = now() - interval '2 minutes' where batch_id = $1`, runID)
	require.NoError(b, err)
}

func TestARunWhoseWorkflowWasTerminatedFailsInWords(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	reading := b.hold()
	r, young := b.press("AS54888", ""), b.press("AS54889", "")
	<-reading
	<-reading
	require.NoError(t, b.temporal.TerminateWorkflow(t.Context(), r.WorkflowID, "", "by a person"))
	b.age(r.RunID)
	b.age(young.RunID) // and its workflow is at work
	b.background(b.relay.Run)
	r = b.until(r.RunID, final)
	require.Equal(t, flow.Failed, r.Status)
	require.Equal(t, &flow.Problem{Code: "run.terminated", Detail: "the workflow of this run was terminated in Temporal", Retry: true}, r.Problem)
	young, err := b.book.Get(t.Context(), young.RunID)
	require.NoError(t, err)
	require.Equal(t, flow.Running, young.Status)
}

func TestARunThatTemporalDoesNotKnowFailsInWords(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	r, s, err := b.book.Accept(t.Context(), flow.Press{Flow: "specs", Principal: "test", Params: map[string]any{"product_id": "AS54888"}})
	require.NoError(t, err)
	require.NoError(t, b.book.Relayed(t.Context(), s.BatchID)) // and Temporal lost its database
	b.age(r.RunID)
	b.background(b.relay.Run)
	r = b.until(r.RunID, final)
	require.Equal(t, flow.Failed, r.Status)
	require.Equal(t, "run.lost", r.Problem.Code)
	require.True(t, r.Problem.Retry)
}

func TestACancelOfARunWhoseWorkflowIsGoneEndsAtOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	reading := b.hold()
	r := b.press("AS54888", "")
	<-reading
	require.NoError(t, b.temporal.TerminateWorkflow(t.Context(), r.WorkflowID, "", "by a person"))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	certificate, err := b.control.Cancel(ctx, flow.Principal{Name: "test"}, r.RunID)
	require.NoError(t, err)
	require.Equal(t, flow.Cancelled, certificate.Status)
}

func TestTheRelayEndsACancelWhoseWorkflowIsGone(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	reading := b.hold()
	r := b.press("AS54888", "")
	<-reading
	require.NoError(t, b.temporal.TerminateWorkflow(t.Context(), r.WorkflowID, "", "by a person"))
	_, err := b.book.Seal(t.Context(), r.RunID, "test") // and whoever asked is killed
	require.NoError(t, err)
	b.background(b.relay.Run)
	require.Equal(t, flow.Cancelled, b.until(r.RunID, final).Status)
}
