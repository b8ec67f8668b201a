package starters_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.uber.org/zap"

	"patchbay/internal/flow"
	"patchbay/internal/run"
	"patchbay/starters"
)

// releases is a book that remembers what it was told to let lapse.
type releases struct {
	mu    sync.Mutex
	n     int
	waits map[string]time.Duration
}

func (r *releases) Accept(context.Context, flow.Press) (flow.Run, run.Start, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	id := string(rune('a' + r.n))
	return flow.Run{RunID: id}, run.Start{BatchID: id, Flow: "specs", Pattern: string(flow.Instant), Size: 1}, nil
}

func (r *releases) Relayed(context.Context, string) error { return nil }

func (r *releases) Lapse(_ context.Context, batchID string, wait time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waits[batchID] = wait
	return nil
}

// stuck is a Temporal whose starts end when the gate opens.
type stuck struct {
	client.Client
	gate chan struct{}
}

func (s stuck) ExecuteWorkflow(context.Context, client.StartWorkflowOptions, any, ...any) (client.WorkflowRun, error) {
	<-s.gate
	return nil, nil
}

func TestAPressThatFindsNoSlotIsTheRelaysAtOnce(t *testing.T) {
	t.Parallel()
	book, gate := &releases{waits: map[string]time.Duration{}}, make(chan struct{})
	woken := 0
	trigger := starters.NewTrigger(book, stuck{gate: gate}, starters.Never, zap.NewNop())
	trigger.Wake = func() { woken++ }
	press := func() flow.Run {
		r, err := trigger.Press(t.Context(), flow.Press{})
		require.NoError(t, err)
		return r
	}
	for range starters.InFlight {
		press()
	}
	require.Empty(t, book.waits)
	left := press()
	require.Equal(t, map[string]time.Duration{left.RunID: 0}, book.waits, "its lease must not be waited for")
	require.Equal(t, 1, woken)
	close(gate)
	trigger.Close()
}
