package starters

import (
	"context"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/inbox"
	"patchbay/internal/run"
)

const (
	// mostWaiting bounds the runs of an event flow that wait in the book: more stay in
	// their windows, where they go on collecting what comes.
	mostWaiting = 400
	// inletEvery is how often windows are looked for when nothing is known of them, and
	// inletSoon how soon a flow is looked at again that had no room.
	inletEvery = time.Second
	inletSoon  = 50 * time.Millisecond
	// inletTight is how soon a flow is looked at again whose target's provider has no room.
	inletTight = 200 * time.Millisecond
	// entering bounds the presses of windows that are under way at a time.
	entering = 256
)

type (
	// Windows is the part of the inbox that ends windows.
	Windows interface {
		// Flows gives the flows with windows, and when the first of each is due.
		Flows(ctx context.Context) (map[string]time.Time, error)
		Freeze(ctx context.Context, flow string, limit int) ([]inbox.Window, error)
		// Frozen gives windows that were frozen by somebody who has ended since.
		Frozen(ctx context.Context, flow string, limit int) ([]inbox.Window, error)
		Entered(ctx context.Context, runs map[int64]string) error
		Refuse(ctx context.Context, window int64, why error) error
	}

	// Pressers starts runs, and Queue counts those that wait.
	Pressers interface {
		Press(ctx context.Context, press flow.Press) (flow.Run, error)
	}

	// Queue counts the runs of a flow that wait to be claimed, up to limit.
	Queue interface {
		Queued(ctx context.Context, flow string, limit int) (int, error)
	}

	// Inlet makes runs of windows whose time has come. What it does is repeated safely:
	// the run of a window has the window's number as its key. Any number may run.
	Inlet struct {
		// Allow says how many runs of a flow may be made now, at most want, because its
		// target's provider takes no more; nil: as many as there is room for. It is set
		// before Run.
		Allow func(ctx context.Context, flow string, want int) int

		windows Windows
		press   Pressers
		queue   Queue
		log     *zap.Logger
		wake    chan struct{}
	}
)

// NewInlet builds an Inlet.
func NewInlet(w Windows, p Pressers, q Queue, log *zap.Logger) *Inlet {
	return &Inlet{windows: w, press: p, queue: q, log: log, wake: make(chan struct{}, 1)}
}

// Wake makes the inlet look at once. It never blocks.
func (i *Inlet) Wake() {
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

// Run makes runs of windows until ctx ends. It never gives up: what fails is tried
// again.
func (i *Inlet) Run(ctx context.Context) {
	for {
		next, err := i.round(ctx)
		if err != nil && ctx.Err() == nil {
			i.log.Warn("making runs of windows", zap.Error(err))
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-i.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// round looks at each flow that has windows, side by side, and says when to look again.
func (i *Inlet) round(ctx context.Context) (next time.Duration, err error) {
	flows, err := i.windows.Flows(ctx)
	if err != nil {
		return inletEvery, err
	}
	next = inletEvery
	var mu sync.Mutex
	var parts sync.WaitGroup
	for name, due := range flows {
		if wait := time.Until(due); wait > 0 {
			next = min(next, wait)
			continue
		}
		parts.Go(func() {
			again, failed := i.flow(ctx, name)
			mu.Lock()
			defer mu.Unlock()
			next = min(next, again)
			if failed != nil {
				err = failed
			}
		})
	}
	parts.Wait()
	return max(next, time.Millisecond), err
}

// flow makes runs of the windows of one flow, as many as there is room for.
func (i *Inlet) flow(ctx context.Context, name string) (again time.Duration, err error) {
	waiting, err := i.queue.Queued(ctx, name, mostWaiting)
	if err != nil {
		return inletEvery, err
	}
	room := mostWaiting - waiting
	if room > 0 && i.Allow != nil {
		if room = i.Allow(ctx, name, room); room <= 0 {
			return inletTight, nil
		}
	}
	if room <= 0 {
		return inletSoon, nil
	}
	list, err := i.windows.Frozen(ctx, name, room)
	if err != nil {
		return inletEvery, err
	}
	if room > len(list) {
		frozen, err := i.windows.Freeze(ctx, name, room-len(list))
		if err != nil {
			return inletEvery, err
		}
		list = append(list, frozen...)
	}
	if len(list) == 0 {
		return inletSoon, nil
	}
	if err := i.enter(ctx, list); err != nil {
		return inletEvery, err
	}
	return 0, nil // there may be more
}

// enter presses for windows; the book commits those that come together at once. A
// window that was frozen becomes a run, whoever is told to stop.
func (i *Inlet) enter(ctx context.Context, list []inbox.Window) error {
	ctx = context.WithoutCancel(ctx)
	runs := make(map[int64]string, len(list))
	var mu sync.Mutex
	var failed error
	var parts sync.WaitGroup
	slots := make(chan struct{}, entering)
	for _, w := range list {
		slots <- struct{}{}
		parts.Go(func() {
			defer func() { <-slots }()
			id, err := i.one(ctx, w)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				failed = err
			case id != "":
				runs[w.ID] = id
			}
		})
	}
	parts.Wait()
	if err := i.windows.Entered(ctx, runs); err != nil {
		return err
	}
	return failed
}

// one makes the run of a window. What cannot become one, however often it is tried, is
// refused: its events are dead letters.
func (i *Inlet) one(ctx context.Context, w inbox.Window) (runID string, err error) {
	window := "window-" + strconv.FormatInt(w.ID, 10)
	accepted, err := i.press.Press(ctx, flow.Press{
		Flow: w.Flow, Principal: run.EventPrincipal, Key: window, Class: flow.Background,
		Params: map[string]any{"key": w.Key, "window": window, "items": w.Items},
	})
	f := fault.Of(err)
	switch {
	case err == nil:
		return accepted.RunID, nil
	case f.Class == fault.Invalid, f.Class == fault.NotFound, f.Class == fault.Rejected, f.Class == fault.Conflict:
		i.log.Error("a window cannot become a run", zap.String("flow", w.Flow), zap.Int64("window", w.ID), zap.Error(err))
		return "", i.windows.Refuse(ctx, w.ID, err)
	}
	return "", err
}
