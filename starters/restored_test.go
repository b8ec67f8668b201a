package starters_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"patchbay/internal/contract"
	"patchbay/internal/flow"
	"patchbay/internal/run"
)

// finals gives the final reasons in the journal of a run.
func (b *bundle) finals(runID string) []string {
	b.Helper()
	rows, err := b.db.Pool().Query(b.Context(), `select reason from journal where run = $1 and final`, runID)
	require.NoError(b, err)
	reasons, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(b, err)
	return reasons
}

// resurrect starts the workflow of a batch as a Temporal would have it that was
// restored to what it was before the end of that workflow, and waits for its end.
func (b *bundle) resurrect(s run.Start) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 30*time.Second)
	defer cancel()
	w, err := contract.Instant.Start(ctx, b.temporal, client.StartWorkflowOptions{
		ID: s.WorkflowID(), WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
	}, contract.InstantInput{Batch: contract.Batch{BatchID: s.BatchID, Flow: s.Flow, Digest: s.Digest}, Size: s.Size, Skeleton: s.Skeleton})
	require.NoError(b, err)
	_ = w.Get(ctx, nil) // whatever it says of a run that is not its any more
	require.NoError(b, ctx.Err(), "it ends")
}

func (b *bundle) accept() (flow.Run, run.Start) {
	b.Helper()
	r, s, err := b.book.Accept(b.Context(), flow.Press{Flow: "specs", Principal: "test", Params: map[string]any{"product_id": "AS54888"}})
	require.NoError(b, err)
	require.NoError(b, b.book.Relayed(b.Context(), s.BatchID))
	return r, s
}

// A workflow that is deleted while its write is on the way leaves a run that nobody
// carries and rows that are there: they are found, and not written again. What the
// first worker says when it comes to itself does not count.
func TestARunWhoseWorkflowWasDeletedInTheMiddleOfItsWriteIsCarriedOutAnewAndWritesOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	written, hold := make(chan struct{}), make(chan struct{})
	b.outside.afterPut = func(_ context.Context, n int) error {
		if n == 1 {
			close(written)
			<-hold
		}
		return nil
	}
	r := b.press("AS54888", "")
	<-written
	_, err := b.temporal.WorkflowService().DeleteWorkflowExecution(t.Context(), &workflowservice.DeleteWorkflowExecutionRequest{
		Namespace: b.namespace, WorkflowExecution: &common.WorkflowExecution{WorkflowId: r.WorkflowID}})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := b.temporal.DescribeWorkflowExecution(t.Context(), r.WorkflowID, "")
		return err != nil
	}, time.Minute, 50*time.Millisecond, "the server deletes when it has time")
	b.age(r.WorkflowID)
	b.background(b.relay.Run)
	done := b.until(r.RunID, final)
	close(hold)
	require.Equal(t, flow.Completed, done.Status, "%+v", done.Problem)
	require.NotEqual(t, r.WorkflowID, done.WorkflowID, "under another workflow")
	require.Equal(t, 1, b.outside.written("AS54888"))
	require.Equal(t, []string{"delivered"}, b.finals(r.RunID))
}

// A Temporal that was restored to an older state knows nothing of a run, and then
// more than there is: the run is carried out anew, and the workflow that comes back
// finds nothing to do.
func TestAWorkflowThatComesBackWithARestoredTemporalDoesNothingTwice(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	lost, start := b.accept()
	b.age(start.WorkflowID())
	b.background(b.relay.Run)
	done := b.until(lost.RunID, final)
	require.Equal(t, flow.Completed, done.Status, "%+v", done.Problem)
	require.Equal(t, 1, b.outside.readOf("AS54888"))

	b.resurrect(start) // the one that was lost
	again := start
	again.BatchID = run.BatchOf(done.WorkflowID)
	b.resurrect(again) // and the one that had carried it out
	now, err := b.book.Get(t.Context(), lost.RunID)
	require.NoError(t, err)
	require.Equal(t, done, now, "it stays as it ended")
	require.Equal(t, 1, b.outside.readOf("AS54888"))
	require.Equal(t, 1, b.outside.written("AS54888"))
	require.Equal(t, []string{"delivered"}, b.finals(lost.RunID))
}

// What a person ended in Temporal ends with that as its one reason, however many
// relays look, and however often.
func TestARunThatWasTerminatedHasOneReason(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	reading := b.hold()
	r := b.press("AS54888", "")
	<-reading
	require.NoError(t, b.temporal.TerminateWorkflow(t.Context(), r.WorkflowID, "", "by a person"))
	b.age(r.WorkflowID)
	b.background(b.relay.Run)
	b.background(b.anotherProcess().Run)
	require.Equal(t, "run.terminated", b.until(r.RunID, final).Problem.Code)
	require.Equal(t, []string{"failed"}, b.finals(r.RunID))
}
