package run_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

func TestWhatWaitsIsGatheredByWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	var ids []string
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		r, _ := b.accept(key)
		ids = append(ids, r.RunID)
	}
	queue := `update work set batch_id = null, order_at = now() - $2::interval where run_id = $1`
	b.exec(queue, ids[0], "1 second")
	b.exec(queue, ids[1], "3 seconds")
	b.exec(queue, ids[2], "2 seconds")
	b.exec(`update work set batch_id = null, due_at = now() + interval '1 minute', waiting = 'a pause' where run_id = $1`, ids[3])
	b.exec(`update work set state = 'parked', waiting = 'the password', batch_id = 'parked' where run_id = $1`, ids[4])
	b.exec(`update work set batch_id = null, leader = $2 where run_id = $1`, ids[5], ids[4])

	waits, err := b.book.Waits(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, waits, 4)
	for i, w := range waits {
		require.WithinDuration(t, time.Now(), w.Since, time.Minute)
		waits[i].Since = time.Time{}
		if w.DueAt != nil {
			require.WithinDuration(t, time.Now().Add(time.Minute), *w.DueAt, 30*time.Second)
			waits[i].DueAt = &time.Time{}
		}
	}
	require.ElementsMatch(t, []flow.Wait{
		{Flow: "product-specs", Status: flow.Accepted, Queued: true, Count: 3},
		{Flow: "product-specs", Status: flow.Accepted, Queued: true, Why: "a pause", DueAt: &time.Time{}, Count: 1},
		{Flow: "product-specs", Status: flow.Accepted, Shared: true, Count: 1},
		{Flow: "product-specs", Status: flow.Parked, Why: "the password", Count: 1},
	}, waits)
	none, err := b.book.Waits(t.Context(), "somebody else")
	require.NoError(t, err)
	require.Empty(t, none)

	ahead, err := b.book.Ahead(t.Context(), ids)
	require.NoError(t, err)
	require.Equal(t, map[string]int{ids[1]: 0, ids[2]: 1, ids[0]: 2}, ahead, "only what waits for its turn has a place")
	require.Empty(t, b.get(ids[0]).WorkflowID, "nothing carries it yet")
	require.NotNil(t, b.get(ids[3]).DueAt)
	require.Equal(t, ids[4], b.get(ids[5]).Shared)
}

func TestAListCountsDoubtsAndStaysWhereItIsHeld(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r, s := b.accept("doubt")
	b.attempt(b.begin(s.BatchID, "writing"))
	_, err := b.book.Close(t.Context(), s.BatchID, fault.New(fault.InDoubt, "write.in_doubt", "nobody knows", nil))
	require.NoError(t, err)
	until := b.get(r.RunID).AcceptedAt
	b.accept("later")
	runs, next, err := b.book.List(t.Context(), flow.RunFilter{Until: until})
	require.NoError(t, err)
	require.Empty(t, next)
	require.Len(t, runs, 1, "what came later is not on the page")
	require.Equal(t, r.RunID, runs[0].RunID)
	require.Equal(t, 2, runs[0].InDoubt)
	require.Empty(t, runs[0].Effects)
}

func TestAListOfAStateHoldsThatStateAlone(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	states := []flow.Status{flow.Accepted, flow.Running, flow.Parked, flow.Completed, flow.Failed, flow.Cancelled}
	for _, state := range states {
		r, _ := b.accept(string(state))
		b.exec(`update work set state = $2, closed_at = case when $3 then now() end where run_id = $1`, r.RunID, string(state), state.Final())
	}
	left, _ := b.accept("left")
	b.exec(`update work set state = 'running', detached_at = now() where run_id = $1`, left.RunID)
	for _, state := range states {
		runs, _, err := b.book.List(t.Context(), flow.RunFilter{Status: state})
		require.NoError(t, err)
		want := 1
		if state == flow.Cancelled {
			want = 2 // one whose owner left looks so to him
		}
		require.Len(t, runs, want, state)
		for _, r := range runs {
			require.Equal(t, state, r.Status)
		}
	}
	none, _, err := b.book.List(t.Context(), flow.RunFilter{Status: "' or true --"})
	require.NoError(t, err)
	require.Empty(t, none)
}
