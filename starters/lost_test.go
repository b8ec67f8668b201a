package starters_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"patchbay/internal/flow"
	"patchbay/internal/run"
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

// age makes a batch as old as time would.
func (b *bundle) age(workflowID string) {
	b.Helper()
	_, err := b.db.Pool().Exec(b.Context(), `update batch set relayed_at = now() - interval '2 minutes' where batch_id = $1`, run.BatchOf(workflowID))
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
	b.age(r.WorkflowID)
	b.age(young.WorkflowID) // and its workflow is at work
	b.background(b.relay.Run)
	r = b.until(r.RunID, final)
	require.Equal(t, flow.Failed, r.Status)
	require.Equal(t, &flow.Problem{Code: "run.terminated", Detail: "the workflow of this run was terminated in Temporal", Retry: true}, r.Problem)
	young, err := b.book.Get(t.Context(), young.RunID)
	require.NoError(t, err)
	require.Equal(t, flow.Running, young.Status)
}

func TestARunThatTemporalLostIsCarriedOutAnew(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	r, s, err := b.book.Accept(t.Context(), flow.Press{Flow: "specs", Principal: "test", Params: map[string]any{"product_id": "AS54888"}})
	require.NoError(t, err)
	require.NoError(t, b.book.Relayed(t.Context(), s.BatchID)) // and Temporal lost its database
	_, err = b.book.Take(t.Context(), s.BatchID, "reading")
	require.NoError(t, err)
	b.age(s.WorkflowID())
	b.background(b.relay.Run)
	r = b.until(r.RunID, final)
	require.Equal(t, flow.Completed, r.Status, "%+v", r.Problem)
	require.NotEqual(t, s.WorkflowID(), r.WorkflowID, "under another workflow")
}

func TestARunWhoseWorkflowRanOutOfTimeIsCarriedOutAnew(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	r, s, err := b.book.Accept(t.Context(), flow.Press{Flow: "specs", Principal: "test", Params: map[string]any{"product_id": "AS54888"}})
	require.NoError(t, err)
	timedOut, err := b.temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: s.WorkflowID(), TaskQueue: "nobody-polls", WorkflowExecutionTimeout: time.Second}, "patchbay.instant.v1")
	require.NoError(t, err)
	require.Error(t, timedOut.Get(t.Context(), nil))
	require.NoError(t, b.book.Relayed(t.Context(), s.BatchID))
	b.age(s.WorkflowID())
	b.background(b.relay.Run)
	r = b.until(r.RunID, final)
	require.Equal(t, flow.Completed, r.Status, "%+v", r.Problem)
}

func TestACancelOfARunWhoseWorkflowIsGoneEndsAtOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	reading := b.hold()
	r := b.press("AS54888", "")
	<-reading
	require.NoError(t, b.temporal.TerminateWorkflow(t.Context(), r.WorkflowID, "", "by a person"))
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
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

func TestTheRelaySettlesABatchThatNobodySettled(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	r := b.until(b.press("AS54888", "").RunID, final)
	const its = ` batch_id = $1`
	_, err := b.db.Pool().Exec(t.Context(), `update batch set settled_at = null, claimed_at = now() - interval '1 minute' where`+its, run.BatchOf(r.WorkflowID))
	require.NoError(t, err)
	b.background(b.relay.Run)
	require.Eventually(t, func() bool {
		var settled bool
		require.NoError(t, b.db.Pool().QueryRow(t.Context(), `select settled_at is not null from batch where`+its, run.BatchOf(r.WorkflowID)).Scan(&settled))
		return settled
	}, time.Minute, 20*time.Millisecond)
}
