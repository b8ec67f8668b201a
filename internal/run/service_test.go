package run_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/run"
)

// Services wait for weeks: those that are open keep nobody from starting.
func TestServicesThatWaitKeepNoOthersFromStarting(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Pattern = flow.Service })
	waiting := b.wait(60)
	require.ElementsMatch(t, waiting, runIDs(b.claim()), "all at once, each by itself")
	more := b.wait(60)
	some := runIDs(b.claim())
	require.Len(t, some, 40, "a hundred that have just begun, half of the slots")
	b.exec(`update batch set claimed_at = claimed_at - interval '10 seconds'`)
	require.ElementsMatch(t, more, append(some, runIDs(b.claim())...))
}

// A cancel that comes before the end leaves the run open, so that its tasks are taken back.
func TestACancelBeforeTheEndOfAServiceKeepsItOpen(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Pattern = flow.Service })
	for _, why := range []*fault.Fault{nil, fault.New(fault.Rejected, "service.legs", "not every leg came to its end", nil)} {
		r, s := b.accept("")
		b.task(s, "sale", run.TaskNews{State: flow.TaskDone})
		_, err := b.book.Seal(t.Context(), r.RunID, "dev")
		require.NoError(t, err)
		_, sealed := b.book.EndTasks(t.Context(), s.BatchID, answer(1), why)
		requireFault(t, sealed, fault.Conflict, "ledger.sealed")
		require.Equal(t, flow.Running, b.get(r.RunID).Status)
		_, tasks, err := b.book.TakeTask(t.Context(), s.BatchID, "sale", true)
		require.NoError(t, err)
		require.Equal(t, flow.TaskUndoing, tasks["sale"].State)
		status, err := b.book.Close(t.Context(), s.BatchID, fault.Of(sealed))
		require.NoError(t, err)
		require.Equal(t, flow.Cancelled, status)
		require.Equal(t, []string{"cancelled"}, b.finals(r.RunID))
		status, err = b.book.EndTasks(t.Context(), s.BatchID, answer(1), why)
		require.NoError(t, err)
		require.Equal(t, flow.Cancelled, status, "one that has ended keeps its status")
	}
}

// What a run has called and nobody has begun is cancelled with it; what is under way is sealed.
func TestACancelReachesTheRunsThatWereCalled(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Pattern = flow.Service })
	parent, s := b.accept("")
	called := func(name string) (flow.Run, run.Start) {
		p := press("")
		p.Workflow = name
		child, start, err := b.book.Accept(t.Context(), p)
		require.NoError(t, err)
		b.task(s, name, run.TaskNews{State: flow.TaskRunning, Child: child.RunID})
		return child, start
	}
	fresh, _ := called("fresh")
	begun, start := called("begun")
	b.task(start, "sale", run.TaskNews{State: flow.TaskDone})
	_, err := b.book.Seal(t.Context(), parent.RunID, "dev")
	require.NoError(t, err)
	require.Equal(t, flow.Cancelled, b.get(fresh.RunID).Status)
	require.Equal(t, flow.Running, b.get(begun.RunID).Status)
	require.True(t, b.get(begun.RunID).Cancelling)
}

// task does one task of a run.
func (b *bundle) task(s run.Start, name string, n run.TaskNews) {
	b.Helper()
	item, _, err := b.book.TakeTask(b.Context(), s.BatchID, name, false)
	require.NoError(b, err)
	require.NoError(b, b.book.KeepTask(b.Context(), item, n))
}
