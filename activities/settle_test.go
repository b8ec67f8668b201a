package activities_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/activities"
	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// unanswered has one press sent to a target that neither answers nor shows what it
// got, and gives the run. The item is back in the queue afterwards.
func (b *bundle) unanswered(sight activities.Sight) (runID string) {
	b.Helper()
	b.sight = sight
	b.write = func(context.Context, string) error {
		return fault.New(fault.InDoubt, "crm.answer_lost", "the answer was lost", nil)
	}
	runID = b.press("a")["a"]
	require.Equal(b, contract.CarryResult{Open: 1}, b.carry(b.starts(runID)))
	require.Len(b, b.marks, 1)
	b.write = nil
	return runID
}

// starts gives the batch of a run that is due, or will be.
func (b *bundle) starts(runID string) contract.Batch {
	b.Helper()
	b.exec(`update work set due_at = null, order_at = now() where closed_at is null`)
	_, err := b.book.Claim(b.Context())
	require.NoError(b, err)
	batch := contract.Batch{Flow: "specs"}
	require.NoError(b, b.store.Pool().QueryRow(b.Context(), `select batch_id, digest from work where run_id = $1`, runID).Scan(&batch.BatchID, &batch.Digest))
	return batch
}

func TestWhatMayStillShowIsNotSentAgainAndComesBackWithTheTimeThatIsLeft(t *testing.T) {
	t.Parallel()
	b := newBundle(t, 1)
	runID := b.unanswered(activities.Sight{SettleAfter: time.Hour})
	for range 3 { // each look asks when it was sent, and not when it was looked for
		b.exec(`update effect set attempted_at = attempted_at - interval '10 minutes', unsure_at = unsure_at - interval '10 minutes'`)
		require.Equal(t, contract.CarryResult{Later: 1}, b.carry(b.starts(runID)))
	}
	require.Len(t, b.marks, 1, "nothing was sent again")
	require.Empty(t, b.writes)
	run := b.get(runID)
	require.Equal(t, flow.Doubtful, run.Effects[0].State)
	require.Contains(t, run.Waiting, "may still show")
	var left float64
	require.NoError(t, b.store.Pool().QueryRow(t.Context(), `select extract(epoch from due_at - now()) from work where run_id = $1`, runID).Scan(&left))
	require.InDelta(t, 30*60, left, 60, "an hour after it was sent, of which thirty minutes are over")

	row := flow.Row{"id": "a", "n": json.Number("0"), "value": "1.50"}
	b.held[place(row)] = row
	require.Equal(t, contract.CarryResult{Done: 1}, b.carry(b.starts(runID)))
	require.Equal(t, flow.Completed, b.get(runID).Status)
	require.Len(t, b.marks, 1)
}

func TestPastItsTimeAnUnseenWriteEndsInDoubt(t *testing.T) {
	t.Parallel()
	b := newBundle(t, 1)
	runID := b.unanswered(activities.Sight{SettleAfter: time.Hour})
	b.exec(`update effect set unsure_at = unsure_at - interval '2 hours', attempted_at = attempted_at - interval '2 hours'`)
	require.Equal(t, contract.CarryResult{Failed: 1}, b.carry(b.starts(runID)))
	run := b.get(runID)
	require.Equal(t, "write.in_doubt", run.Problem.Code)
	require.Equal(t, flow.Doubtful, run.Effects[0].State)
	require.Contains(t, run.Effects[0].Reason, "might write it twice")
	require.Len(t, b.marks, 1, "it was not sent again")
}

func TestPastItsTimeAnUnseenWriteIsSentAgainWhereTheAuthorAcceptsIt(t *testing.T) {
	t.Parallel()
	b := newBundle(t, 1)
	b.accept()
	runID := b.unanswered(activities.Sight{SettleAfter: time.Hour})
	require.Equal(t, contract.CarryResult{Later: 1}, b.carry(b.starts(runID)))
	require.Len(t, b.marks, 1, "but not before")
	b.exec(`update effect set unsure_at = unsure_at - interval '2 hours'`)
	require.Equal(t, contract.CarryResult{Done: 1}, b.carry(b.starts(runID)))
	require.Equal(t, flow.Completed, b.get(runID).Status)
	require.Equal(t, map[string]int{"a": 1}, b.writes)
}

func TestATargetsOwnMarkDecidesAndNotWhatTheRowIsByNow(t *testing.T) {
	t.Parallel()
	b := newBundle(t, 1)
	runID := b.unanswered(activities.Sight{Applied: []bool{false}})
	b.sight.Applied = []bool{true}
	require.Equal(t, contract.CarryResult{Done: 1}, b.carry(b.starts(runID)))
	require.Equal(t, flow.Completed, b.get(runID).Status)
	require.Empty(t, b.writes, "somebody may have changed the row since; it is not written again")
	require.Len(t, b.marks, 1)
	require.Equal(t, runID, b.marks[0].Cause)
	require.Equal(t, `["a",0]`, b.marks[0].Key)
	require.Positive(t, b.marks[0].Fence)

	other := newBundle(t, 1)
	runID = other.unanswered(activities.Sight{Applied: []bool{false}})
	require.Equal(t, contract.CarryResult{Done: 1}, other.carry(other.starts(runID)), "a mark that is not there is a certain no")
	require.Equal(t, map[string]int{"a": 1}, other.writes)
	require.Greater(t, other.marks[1].Fence, other.marks[0].Fence)
}
