package fleet_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"patchbay/calculator"
	"patchbay/fleet"
	"patchbay/internal/contract"
	"patchbay/internal/durable"
)

// order records which figures were computed one after the other.
type order struct {
	mu   sync.Mutex
	seen []int
}

func (o *order) calculator(takes time.Duration) calculator.Calculator {
	return act("test.order", func(ctx context.Context, n int, _ calculator.Run) (int, error) {
		o.mu.Lock()
		o.seen = append(o.seen, n)
		o.mu.Unlock()
		select {
		case <-time.After(takes):
		case <-ctx.Done():
		}
		return n, nil
	})
}

// queue asks for n computations of a user, numbered from, and waits until they wait.
func (b *bundle) queue(u contract.Urgency, user string, from, n int) []client.WorkflowRun {
	var runs []client.WorkflowRun
	for i := range n {
		runs = append(runs, b.start(job{Urgency: u, User: user, In: asks("test.order", fmt.Sprintf(`{"n":%d}`, from+i))}))
	}
	return runs
}

func TestWhatSomebodyWaitsForOvertakesFiveHundredBatches(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	all := b.queue(contract.Batched, "batch", 1000, 500)
	all = append(all, b.queue(contract.Shadowed, "batch", 2000, 20)...)
	var o order
	b.host(fleet.Tuning{Slots: 1, Batch: 1}, o.calculator(10*time.Millisecond))
	b.seen(&o, 20) // batches are under way
	for i := range 20 {
		before := o.count()
		require.NoError(t, b.queue(contract.Awaited, "anna", i, 1)[0].Get(b.ctx, nil))
		require.Less(t, o.count()-before, 100, "it had its own slot: the batch was not computed first")
	}
	require.Less(t, o.count(), 520, "batches wait still")
	for _, run := range all {
		require.NoError(t, run.Get(b.ctx, nil))
	}
	// Of what waited when the fleet came, shadows go last, by Temporal's priority.
	shadows := 0
	for _, n := range o.seen[len(o.seen)-25:] {
		if n >= 2000 {
			shadows++
		}
	}
	require.GreaterOrEqual(t, shadows, 18, "%v", o.seen)
}

func TestUsersTakeTurns(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	all := append(b.queue(contract.Awaited, "anna", 0, 200), b.queue(contract.Awaited, "bert", 1000, 20)...)
	var o order
	b.waiting("risk", 220)
	b.host(fleet.Tuning{Slots: 1}, o.calculator(5*time.Millisecond))
	for _, run := range all {
		require.NoError(t, run.Get(b.ctx, nil))
	}
	late := 0
	for i, n := range o.seen {
		if n >= 1000 {
			late = i
		}
	}
	require.Less(t, late, 80, "bert's 20 were done among the first of anna's 200: %v", o.seen)
}

func (o *order) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.seen)
}

func (b *bundle) seen(o *order, n int) {
	require.Eventually(b, func() bool { return o.count() >= n }, time.Minute, 5*time.Millisecond)
}

// waiting waits until so many tasks wait in a queue, as its backlog is told.
func (b *bundle) waiting(queue string, n int64) {
	var last durable.Backlog
	require.Eventuallyf(b, func() bool {
		found, err := durable.ActivityBacklog(b.ctx, b.client, b.namespace, queue)
		require.NoError(b, err)
		last = found
		return last.Waiting == n
	}, time.Minute, 100*time.Millisecond, "%s: want %d", queue, n)
	require.Equal(b, n == 0, last.Age == 0, "%+v", last)
}

// What waits is told whether the fleet never was, is away or works: it is what a fleet is scaled by.
func TestTheBacklogIsToldWhileTheFleetIsAwayAndWhenItIsBack(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.queue(contract.Awaited, "anna", 0, 3)
	b.queue(contract.Batched, "anna", 0, 2)
	b.waiting("risk", 3)
	b.waiting("risk.batch", 2)
	var o order
	stop := b.host(fleet.Tuning{}, o.calculator(0))
	b.seen(&o, 5)
	b.waiting("risk", 0)
	require.NoError(t, stop())
	b.queue(contract.Awaited, "anna", 0, 4)
	b.waiting("risk", 4)
	b.host(fleet.Tuning{}, o.calculator(0))
	b.seen(&o, 9)
	b.waiting("risk", 0)
	b.waiting("risk.batch", 0)
}
