package run_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

func TestRunsThatAreReadTogetherAreReadAsIfAlone(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	const n = 20
	ids := make([]string, n)
	for i := range n {
		r, s := b.accept(fmt.Sprint(i))
		ids[i] = r.RunID
		if i%4 == 0 {
			b.attempt(b.begin(s.BatchID, "writing"))
		}
	}
	for range 10 {
		for i, id := range slices.Concat(ids, []string{"none"}) {
			b.waiting.Go(func() {
				r, err := b.book.Get(t.Context(), id)
				switch {
				case id == "none":
					if fault.Of(err) == nil || fault.Of(err).Code != "run.not_found" {
						t.Errorf("%v", err)
					}
				case err != nil || r.RunID != id || i%4 == 0 != (len(r.Effects) == 2) || i%4 == 0 != (r.Status == flow.Running):
					t.Errorf("%d: %+v, %v", i, r, err)
				}
			})
		}
	}
	b.waiting.Wait()
}

func TestARunThatWaitsHasNoWorkflowAndOneThatIsPutBackHasATimeDue(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, s := b.accept("k1")
	item := b.begin(s.BatchID, "reading")
	require.Equal(t, s.WorkflowID(), b.get(item.RunID).WorkflowID)
	require.NoError(t, b.book.PutBack(t.Context(), item, fault.ThrottledFor(time.Second, "oracle.throttled", "wait", nil)))
	r := b.get(item.RunID)
	require.Empty(t, r.WorkflowID)
	require.NotNil(t, r.DueAt)
	require.Equal(t, flow.Running, r.Status)
}
