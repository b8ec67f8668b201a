package run_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/run"
)

func requireTick(t *testing.T, ticks <-chan struct{}, within time.Duration) {
	t.Helper()
	select {
	case <-ticks:
	case <-time.After(within):
		require.Fail(t, "no tick")
	}
}

func TestAWatcherOfTheSameProcessHearsAtOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, s := b.accept("k1")
	ticks, stop := b.book.Watch(t.Context(), s.BatchID)
	defer stop()
	b.begin(s.BatchID, "reading")
	require.Len(t, ticks, 1, "the tick is there when the change is committed")
	<-ticks
	require.NoError(t, b.book.Answer(t.Context(), b.begin(s.BatchID, "reading"), answer(1), "", true, false))
	requireTick(t, ticks, time.Second)
}

func TestAWatcherPollsWhenNobodyTellsIt(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, s := b.accept("k1")
	ticks, stop := b.book.Watch(t.Context(), s.BatchID)
	requireTick(t, ticks, 20*time.Second)
	requireTick(t, ticks, 20*time.Second)
	stop()
	stop() // twice is once

	ctx, cancel := context.WithCancel(t.Context())
	cancelled, stopped := b.book.Watch(ctx, s.BatchID)
	cancel()
	stopped()
	b.begin(s.BatchID, "reading")
	require.Empty(t, cancelled)
}

func TestWatchingForACallerWhoHasLeftIsHarmless(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	gone, leave := context.WithCancel(t.Context())
	leave()
	for range 2000 { // the release then runs beside Watch itself
		_, stop := b.book.Watch(gone, "run")
		stop()
	}
}

func TestAWatcherOfAnotherProcessHearsByNotification(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	other := run.NewBook(b.store, run.NewPlans(b.store), run.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for _, book := range []*run.Book{b.book, other} {
		go func() { ended <- book.Run(ctx) }()
	}
	_, s := b.accept("k1")
	ticks, stop := other.Watch(t.Context(), s.BatchID)
	defer stop()

	// One poll hides nothing: ten changes in a row are heard sooner than polling could.
	requireTick(t, ticks, 20*time.Second) // connected, or the first poll
	begun := time.Now()
	for range 10 {
		drain(ticks)
		b.begin(s.BatchID, "reading")
		requireTick(t, ticks, 20*time.Second)
	}
	require.Less(t, time.Since(begun), 5*time.Second, "ten polls would take ten seconds")
	require.Equal(t, flow.Running, b.get(s.BatchID).Status)
	cancel()
	require.NoError(t, <-ended)
	require.NoError(t, <-ended)
}

func TestWhoeverClaimsIsToldOfRowsThatWait(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	other := run.NewBook(b.store, run.NewPlans(b.store), run.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for _, book := range []*run.Book{b.book, other} {
		go func() { ended <- book.Run(ctx) }()
	}
	here, there := b.book.Waiting(ctx), other.Waiting(ctx)
	requireTick(t, there, 20*time.Second) // connected: anything may have happened
	b.busy()
	drain(here)
	_, _, err := b.book.Accept(t.Context(), press(""))
	require.NoError(t, err)
	require.Len(t, here, 1, "in the same process the tick is there when the press is committed")
	requireTick(t, there, 20*time.Second)
	cancel()
	require.NoError(t, <-ended)
	require.NoError(t, <-ended)
}

func TestAPressThatClaimsItselfWakesNobody(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ticks := b.book.Waiting(t.Context())
	b.accept("k1")
	require.Empty(t, ticks)
	gone, leave := context.WithCancel(t.Context())
	leave()
	b.book.Waiting(gone)
}

func drain(ticks <-chan struct{}) {
	for {
		select {
		case <-ticks:
		default:
			return
		}
	}
}
