package starters_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/starters"
)

// together makes waiting rows of presses that are claimed in one batch: all that
// may be in flight of the flow seems to be, and free gives one place back.
func (b *bundle) together(products ...string) (runs []flow.Run, free func()) {
	b.Helper()
	exec := func(sql string) {
		_, err := b.db.Pool().Exec(b.Context(), sql)
		require.NoError(b, err)
	}
	exec(`
		insert into batch (batch_id, flow, pattern, digest, size, claimed_at, lease_until, relayed_at)
		select 'elsewhere-' || n, 'specs', 'instant', digest, 1, now() + interval '1 hour', now(), now()
		from generate_series(1, 4) as n, plan where flow = 'specs'`)
	for _, p := range products {
		r := b.press(p, "")
		require.Empty(b, r.WorkflowID, "it waits")
		runs = append(runs, r)
	}
	return runs, func() { exec(`update batch set settled_at = now() where batch_id = 'elsewhere-1'`) }
}

// sizes gives how many items each batch had that carried one of the runs.
func (b *bundle) sizes(runs []flow.Run) map[string]int {
	b.Helper()
	ids := map[string]int{}
	for _, r := range runs {
		now, err := b.book.Get(b.Context(), r.RunID)
		require.NoError(b, err)
		ids[now.WorkflowID]++
	}
	return ids
}

func TestWhatGoesWrongWithOnePressOfABatchDelaysNoOther(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	b.background(b.relay.Run)
	var products, good []string
	for i := range 7 {
		good = append(good, fmt.Sprintf("GOOD-%d", i))
	}
	products = append(products, "HANGS", "REFUSED", "THROTTLED", "CANCELLED", "PANICS")
	products = append(products, good...)

	// The throttled one speaks up once all have begun, so that none is kept back for
	// its sake.
	var began sync.WaitGroup
	began.Add(len(products) - 1)
	for _, p := range good {
		b.outside.on(p, func(context.Context) error { began.Done(); return nil })
	}
	first := make(chan struct{}, 1)
	first <- struct{}{}
	b.outside.on("HANGS", func(ctx context.Context) error {
		select {
		case <-first:
			began.Done()
			<-ctx.Done()
			return ctx.Err()
		default:
			return nil
		}
	})
	b.outside.on("REFUSED", func(context.Context) error {
		began.Done()
		return fault.NotFoundf("source.not_found", "there is no such product")
	})
	reading := make(chan struct{})
	b.outside.on("CANCELLED", func(ctx context.Context) error {
		began.Done()
		close(reading)
		<-ctx.Done()
		return ctx.Err()
	})
	b.outside.on("PANICS", func(context.Context) error { began.Done(); panic("a connector's mistake") })
	throttles := make(chan struct{}, 1)
	throttles <- struct{}{}
	b.outside.on("THROTTLED", func(context.Context) error {
		select {
		case <-throttles:
			began.Wait()
			return fault.ThrottledFor(time.Second, "plm.throttled", "too many requests", nil)
		default:
			return nil
		}
	})

	runs, free := b.together(products...)
	free()
	freed := time.Now()
	<-reading
	certificate, err := b.control.Cancel(t.Context(), flow.Principal{Name: "test"}, runs[3].RunID)
	require.NoError(t, err)
	require.Less(t, time.Since(freed), 2*time.Second)
	require.Equal(t, flow.Cancelled, certificate.Status)
	require.Empty(t, certificate.Done)

	refused := b.until(runs[1].RunID, final)
	require.Equal(t, "source.not_found", refused.Problem.Code)
	panicked := b.until(runs[4].RunID, final)
	require.Equal(t, flow.Failed, panicked.Status)
	require.NotContains(t, panicked.Problem.Detail, "mistake", "what a panic says is for the log")
	for _, r := range runs[5:] {
		r = b.until(r.RunID, answered)
		require.Less(t, r.AnsweredAt.Sub(freed), 2*time.Second)
		require.Equal(t, flow.Completed, b.until(r.RunID, final).Status)
	}
	require.Equal(t, map[string]int{b.until(runs[5].RunID, final).WorkflowID: len(good) + 3}, b.sizes(append(runs[3:], runs[1])),
		"what succeeded or ended for good was in one workflow")
	for _, r := range []flow.Run{runs[0], runs[2]} { // they left the batch and came again
		r = b.until(r.RunID, final)
		require.Equal(t, flow.Completed, r.Status, "%+v", r.Problem)
	}
	require.Len(t, b.sizes(append(runs[:1:1], runs[2], runs[5])), 3, "a try older, or later")
	for _, p := range append(good, "HANGS", "THROTTLED") {
		require.Equal(t, 1, b.outside.written(p), "%s is written once", p)
	}
	require.Zero(t, b.outside.written("CANCELLED"))
	found(t, b.temporal, fmt.Sprintf("PatchbayRuns = '%s'", runs[8].RunID), b.until(runs[8].RunID, final).WorkflowID)
}

func TestWhatALostWorkerCarriedIsCarriedByAnother(t *testing.T) {
	t.Parallel()
	door := newDoor(t, temporalAddress(t))
	b := newBundle(t, temporalAddress(t), plan(), withoutWorker)
	lost := b.workThrough(door.address())
	b.background(b.relay.Run)
	var products []string
	var reading sync.WaitGroup
	var second atomic.Bool
	hanging := make(chan struct{})
	for i := range 6 {
		p := fmt.Sprintf("P-%d", i)
		products = append(products, p)
		reading.Add(1)
		b.outside.on(p, func(context.Context) error { // deaf, as a process is that has stalled
			if !second.Load() {
				reading.Done()
				<-hanging
			}
			return nil
		})
	}
	runs, free := b.together(products...)
	free()
	reading.Wait()
	door.shut()
	second.Store(true)
	b.workThrough(temporalAddress(t))
	for _, r := range runs {
		r = b.until(r.RunID, final)
		require.Equal(t, flow.Completed, r.Status, "%+v", r.Problem)
	}
	close(hanging) // the lost one wakes up and finds none of its rows
	lost()
	for _, p := range products {
		require.Equal(t, 1, b.outside.written(p), "%s is written once", p)
	}
}

func TestABatchTerminatedInTheTemporalWebUIFailsEachPressInWords(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	runs := b.held(4)
	stop := b.background(b.relay.Run)
	id := b.carried(runs)
	require.NoError(t, b.temporal.TerminateWorkflow(t.Context(), id, "", "by a person"))
	stop()
	b.age(id)
	b.background(starters.NewRelay(b.book, b.temporal, current, zap.NewNop()).Run) // sweeps at once
	for _, r := range runs {
		r = b.until(r.RunID, final)
		require.Equal(t, flow.Failed, r.Status)
		require.Equal(t, &flow.Problem{Code: "run.terminated", Detail: "the workflow of this run was terminated in Temporal", Retry: true}, r.Problem)
	}
	again := b.press("AS54888", "") // and its slot is free
	require.Equal(t, flow.Completed, b.until(again.RunID, final).Status)
}

func TestABatchCancelledInTheTemporalWebUICancelsEachPress(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	runs := b.held(4)
	b.background(b.relay.Run)
	id := b.carried(runs)
	require.NoError(t, b.temporal.CancelWorkflow(t.Context(), id, ""))
	for _, r := range runs {
		r = b.until(r.RunID, final)
		require.Equal(t, flow.Cancelled, r.Status)
		certificate, err := b.book.Certificate(t.Context(), r.RunID)
		require.NoError(t, err)
		require.Equal(t, r.RunID, certificate.RunID)
		require.Empty(t, certificate.Done)
	}
}

func TestACancelInABatchWhoseWorkflowIsGoneEndsAtOnceAndTheOthersFollow(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	runs := b.held(4)
	b.background(b.relay.Run)
	id := b.carried(runs)
	require.NoError(t, b.temporal.TerminateWorkflow(t.Context(), id, "", "by a person"))
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	certificate, err := b.control.Cancel(ctx, flow.Principal{Name: "test"}, runs[0].RunID)
	require.NoError(t, err)
	require.Equal(t, flow.Cancelled, certificate.Status)
	for _, r := range runs[1:] {
		require.Equal(t, "run.terminated", b.until(r.RunID, final).Problem.Code)
	}
}

func TestACancelOfAPressThatWaitsNeedsNobodyElse(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	runs, _ := b.together("WAITS")
	certificate, err := b.control.Cancel(t.Context(), flow.Principal{Name: "test"}, runs[0].RunID)
	require.NoError(t, err)
	require.Equal(t, flow.Cancelled, certificate.Status)
	require.Zero(t, b.outside.readOf("WAITS"))
}

func TestTwoRelaysCarryEveryPressOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	b.background(b.relay.Run)
	b.background(b.anotherProcess().Run)
	b.carryAll(200, func() {})
}

func TestPressesGoOnWhereTheyWereWhenTemporalWasAway(t *testing.T) {
	t.Parallel()
	door := newDoor(t, temporalAddress(t))
	b := newBundle(t, door.address(), plan())
	b.background(b.relay.Run)
	b.carryAll(200, func() {
		door.shut()
		time.AfterFunc(3*time.Second, door.open)
	})
}

// carryAll presses n times, has trouble happen in between, and requires that every
// press completes and is written once.
func (b *bundle) carryAll(n int, trouble func()) {
	b.Helper()
	ids := make([]string, n)
	var pressing sync.WaitGroup
	for i := range n {
		if i == n/4 {
			trouble()
		}
		pressing.Go(func() {
			r, err := b.trigger.Press(b.Context(), flow.Press{Flow: "specs", Principal: "test", Params: map[string]any{"product_id": fmt.Sprintf("P-%d", i)}})
			if err == nil {
				ids[i] = r.RunID
			}
		})
		<-time.After(5 * time.Millisecond) // a crowd, not a queue
	}
	pressing.Wait()
	largest := 0
	for i, id := range ids {
		require.NotEmpty(b, id, "every press was accepted")
		r := b.until(id, final)
		require.Equal(b, flow.Completed, r.Status, "%+v", r.Problem)
		require.Equal(b, 1, b.outside.written(fmt.Sprintf("P-%d", i)))
	}
	require.NoError(b, b.db.Pool().QueryRow(b.Context(), `select coalesce(max(size), 0) from batch`).Scan(&largest))
	require.Greater(b, largest, 1, "some shared a workflow")
}

// held gives presses of one batch whose reads begin and never end by themselves.
func (b *bundle) held(n int) []flow.Run {
	b.Helper()
	var products []string
	b.holding = make(chan struct{}, n)
	for i := range n {
		p := fmt.Sprintf("HELD-%d", i)
		products = append(products, p)
		b.outside.on(p, func(ctx context.Context) error {
			b.holding <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		})
	}
	runs, free := b.together(products...)
	free()
	return runs
}

// carried waits until all of the runs are being read in one workflow.
func (b *bundle) carried(runs []flow.Run) (workflowID string) {
	b.Helper()
	for range runs {
		<-b.holding
	}
	sizes := b.sizes(runs)
	require.Len(b, sizes, 1, "they share a batch")
	for id := range sizes {
		workflowID = id
	}
	return workflowID
}

// anotherProcess gives the relay of another Patchbay on the same store.
func (b *bundle) anotherProcess() *starters.Relay {
	b.Helper()
	book := b.newBook()
	b.background(book.Run)
	return starters.NewRelay(book, b.temporal, current, zap.NewNop())
}
