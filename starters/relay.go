package starters

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/client"
	"go.uber.org/zap"

	"patchbay/internal/run"
)

const (
	relayEvery = time.Second
	relayBatch = 100
	// again is how soon a start that failed is tried again.
	again = time.Second

	// Temporal is asked after runs that it has had for sweepAge, a page each
	// sweepEvery; the pages of one sweep follow each other by the round.
	sweepAge   = time.Minute
	sweepEvery = 30 * time.Second
	sweepPage  = 100
)

type (
	// Backlog is what the relay has to hand over: batches whose lease lapsed
	// before Temporal took them, and cancels that Temporal may not have heard. And
	// what it asks after: batches that have been open for long.
	Backlog interface {
		// Due may give starts and an error about the rows that it left out.
		Due(ctx context.Context, limit int) ([]run.Start, error)
		SealedOpen(ctx context.Context) ([]run.Handed, error)
		Open(ctx context.Context, age time.Duration, after string, limit int) ([]run.Handed, error)
		closer
		marks
	}

	// Relay hands rows to Temporal that nobody else did. Any number may run.
	Relay struct {
		book     Backlog
		launcher launcher
		log      *zap.Logger
		wake     chan struct{}
		away     bool // the last start failed: the next round tries one row

		nextSweep time.Time // zero: now
		swept     string    // the last batch of the page before; "" begins anew
	}
)

// NewRelay builds a Relay.
func NewRelay(book Backlog, temporal client.Client, eager Eager, log *zap.Logger) *Relay {
	return &Relay{book: book, launcher: launcher{temporal: temporal, eager: eager}, log: log, wake: make(chan struct{}, 1)}
}

// Wake makes the relay look at once. It never blocks.
func (r *Relay) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run relays until ctx ends. It never gives up: what fails is tried again with
// the next round.
func (r *Relay) Run(ctx context.Context) error {
	tick := time.NewTicker(relayEvery)
	defer tick.Stop()
	for {
		if err := r.round(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("relay round", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-r.wake:
		}
	}
}

// round does all that is due; what fails keeps nothing else from being done.
func (r *Relay) round(ctx context.Context) error {
	return errors.Join(r.start(ctx), r.cancel(ctx), r.sweep(ctx))
}

// start hands due rows to Temporal.
func (r *Relay) start(ctx context.Context) error {
	limit := relayBatch
	if r.away {
		limit = 1
	}
	due, err := r.book.Due(ctx, limit) // an error may come beside starts
	for _, s := range due {
		if launchErr := r.launcher.launch(ctx, r.book, s); launchErr != nil {
			r.away = true
			return errors.Join(err, launchErr)
		}
	}
	if r.away && len(due) > 0 {
		r.away = false
		r.Wake() // Temporal is back: the rest need not wait for the tick
	}
	return err
}

// cancel repeats the cancels whose runs are still open.
func (r *Relay) cancel(ctx context.Context) error {
	sealed, err := r.book.SealedOpen(ctx)
	if err != nil {
		return err
	}
	var failed error
	for _, s := range sealed {
		err := cancelBatch(ctx, r.book, r.launcher.temporal, s)
		if away(err) {
			return errors.Join(failed, err) // for the others, too
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// sweep ends runs whose workflow was terminated, timed out or lost, so that none
// stays open for ever (promise 4).
func (r *Relay) sweep(ctx context.Context) error {
	if time.Now().Before(r.nextSweep) {
		return nil
	}
	r.nextSweep = time.Now().Add(sweepEvery)
	page, err := r.book.Open(ctx, sweepAge, r.swept, sweepPage)
	if err != nil {
		return err
	}
	var failed error
	for _, h := range page {
		why, err := fate(ctx, r.launcher.temporal, h.WorkflowID)
		if err != nil {
			return errors.Join(failed, err) // the page is asked again
		}
		if why == nil {
			continue
		}
		status, err := r.book.Close(ctx, h.BatchID, why)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		r.log.Warn("a workflow left its run open", zap.String("batch", h.BatchID), zap.String("status", string(status)), zap.Error(why))
	}
	r.swept = ""
	if len(page) == sweepPage {
		r.swept, r.nextSweep = page[sweepPage-1].BatchID, time.Time{}
	}
	return failed
}
