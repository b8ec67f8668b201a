package run_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/topic"
)

// An event is there when the run that tells of it has ended, and not before; whoever was
// fenced off tells of none.
func TestARunEndsInTheTransactionThatTellsOfItsEvents(t *testing.T) {
	t.Parallel()
	moved := flow.Topic{Name: "moved.v1", Key: []string{"nr"}, Fields: []flow.Param{{Name: "nr", Type: flow.String}, {Name: "note", Type: flow.String, Optional: true}}}
	b := newBundle(t, func(p *flow.Plan) {
		p.Pattern, p.Write, p.Emits, p.Emit = flow.Event, nil, []flow.Topic{moved}, moved.Name
	})
	topics := topic.New(b.store, b.plans)
	r, s := b.accept("k1")
	zombie := b.begin(s.BatchID, "reading")
	item := b.begin(s.BatchID, "reading")
	prepared := func(n int, nr string) *topic.Prepared {
		p, err := topics.Prepare(t.Context(), moved, topic.ToldID(r.RunID, n), flow.Row{"nr": nr, "note": nil}, "product-specs")
		require.NoError(t, err, "a field that is null is one that is not there")
		return p
	}
	both := []*topic.Prepared{prepared(1, "b"), prepared(2, "a")}
	requireFault(t, b.book.Tell(t.Context(), zombie, answer(2), "", both), fault.Unavailable, "run.fenced")
	require.Empty(t, b.get(r.RunID).Told)
	require.NoError(t, b.book.Tell(t.Context(), item, answer(2), "2 rows", both))
	got := b.get(r.RunID)
	require.Equal(t, flow.Completed, got.Status)
	require.Len(t, got.Told, 2)
	for _, e := range got.Told {
		require.Equal(t, []any{flow.TopicKept, "product-specs"}, []any{e.State, e.From})
		require.WithinDuration(t, time.Now(), e.ReceivedAt, time.Minute)
	}
	requireFault(t, b.book.Tell(t.Context(), item, answer(2), "", both), fault.Conflict, "run.closed")
	require.Len(t, b.get(r.RunID).Told, 2)
}
