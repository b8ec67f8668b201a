package starters

import (
	"context"
	"sync"

	"go.temporal.io/sdk/client"
	"go.uber.org/zap"

	"patchbay/internal/flow"
	"patchbay/internal/run"
)

// inFlight bounds the starts that presses have under way at a time; beyond it
// the relay takes the row.
const inFlight = 256

type (
	// Accepter commits presses and remembers which of them Temporal has.
	Accepter interface {
		Accept(ctx context.Context, press flow.Press) (flow.Run, run.Start, error)
		marks
	}

	// Trigger takes presses: it commits the row and, where nothing of the flow waits,
	// starts the workflow at once; else the relay claims the row with others. It is
	// safe for concurrent use; Close waits for the starts under way.
	Trigger struct {
		// Wake is called when a start is left to the relay; it must not block. It is
		// set before the first press, or stays nil: the relay then looks by itself.
		Wake func()
		// Page gives links from the Temporal Web UI to the console. It is set before the
		// first press, or stays nil: there are no links then.
		Page Page
		// Alone refuses a press beside an open run of a flow that has one at a time. It is
		// set before the first press, or stays nil: none is refused for that.
		Alone func(ctx context.Context, press flow.Press) error

		book     Accepter
		launcher launcher
		log      *zap.Logger
		slots    chan struct{}
		starts   sync.WaitGroup
	}
)

// NewTrigger builds a Trigger.
func NewTrigger(book Accepter, temporal client.Client, eager Eager, log *zap.Logger) *Trigger {
	return &Trigger{
		book:     book,
		launcher: launcher{temporal: temporal, eager: eager},
		log:      log,
		slots:    make(chan struct{}, inFlight),
	}
}

// Press commits the press and returns its run; the caller may answer 2xx from
// then on (promise 1). The start goes on without the caller, and where it fails
// the relay repeats it.
func (t *Trigger) Press(ctx context.Context, press flow.Press) (flow.Run, error) {
	if t.Alone != nil {
		if err := t.Alone(ctx, press); err != nil {
			return flow.Run{}, err
		}
	}
	accepted, start, err := t.book.Accept(ctx, press)
	if err != nil || start.BatchID == "" { // the book tells who claims that a row waits
		return accepted, err
	}
	select {
	case t.slots <- struct{}{}:
	default:
		t.leave(ctx, start)
		return accepted, nil
	}
	ctx = context.WithoutCancel(ctx)
	t.starts.Go(func() {
		defer func() { <-t.slots }()
		if err := t.launcher.launch(ctx, t.book, start, t.Page); err != nil {
			t.log.Warn("the relay will start the run", zap.String("run", start.BatchID), zap.Error(err))
		}
	})
	return accepted, nil
}

// leave makes the relay take a press that finds no slot. Where that fails the
// lease lapses.
func (t *Trigger) leave(ctx context.Context, s run.Start) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
	defer cancel()
	if err := t.book.Lapse(ctx, s.BatchID, 0); err != nil {
		t.log.Warn("the relay will start the run late", zap.String("run", s.BatchID), zap.Error(err))
		return
	}
	if t.Wake != nil {
		t.Wake()
	}
}

// Close waits until no start is under way.
func (t *Trigger) Close() { t.starts.Wait() }
