package starters

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/client"
	"go.uber.org/zap"

	"patchbay/internal/run"
)

const (
	// launches bounds the starts that one relay has under way at a time.
	launches = 64
	// dueEvery is how often lapsed leases are looked for while there is work, and
	// duePage how many are resent at a time.
	dueEvery = 100 * time.Millisecond
	duePage  = 100
	// ownEvery is how often runs get their time back during an outage.
	ownEvery = time.Second
)

type (
	// Backlog is what the relay has to hand over: rows that wait to be claimed, and
	// batches whose lease lapsed before Temporal took them.
	Backlog interface {
		// Claim may give starts and an error about the rows that it left out, and so
		// may Due.
		Claim(ctx context.Context) ([]run.Start, error)
		Due(ctx context.Context, limit int) ([]run.Start, error)
		// Extend gives rows without an answer the time back that nobody could carry them.
		Extend(ctx context.Context) error
		// Waiting ticks when rows may wait: a hint, which may be missing.
		Waiting(ctx context.Context) <-chan struct{}
		marks
		openEnds
	}

	// Relay turns rows into workflows, repeats the cancels that Temporal may not have
	// heard, and ends what a workflow left open. Any number may run.
	Relay struct {
		// Page gives links from the Temporal Web UI to the console. It is set before
		// Run, or stays nil: there are no links then.
		Page Page
		// Away reports whether what carries runs out seems to be away or too slow. While
		// it does, no run's time runs out. It is set before Run, or stays nil.
		Away func() bool

		book     Backlog
		launcher launcher
		log      *zap.Logger
		wake     chan struct{}

		away    atomic.Bool // the last start failed: nothing is claimed until one succeeds
		lost    atomic.Bool // time, for the rows that have no answer: nobody may have carried any
		slots   chan struct{}
		pace    pace      // of the hand-over
		nextDue time.Time // zero: now
		nextOwn time.Time // the next time that is given back while Away says so
		swept   string    // the last batch of the page before; "" begins anew
	}
)

// NewRelay builds a Relay.
func NewRelay(book Backlog, temporal client.Client, eager Eager, log *zap.Logger) *Relay {
	r := &Relay{
		book:     book,
		launcher: launcher{temporal: temporal, eager: eager},
		log:      log,
		wake:     make(chan struct{}, 1),
		slots:    make(chan struct{}, launches),
	}
	r.lost.Store(true) // nobody knows for how long no relay ran
	return r
}

// Wake makes the relay look at once. It never blocks.
func (r *Relay) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Restore gives the runs that have no answer their time back: Temporal, or what works
// for it, was away. It never blocks.
func (r *Relay) Restore() {
	r.lost.Store(true)
	r.Wake()
}

// Run relays until ctx ends and the starts under way are done. It never gives up:
// what fails is tried again. Handing over, cancelling and sweeping do not wait for
// each other.
func (r *Relay) Run(ctx context.Context) error {
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() { r.handOver(ctx) })
	parts.Go(func() { r.every(ctx, cancelEvery, "repeating cancels", r.cancel) })
	parts.Go(func() { r.every(ctx, sweepEvery, "sweeping", r.sweep) })
	return nil
}

// every does part now and then until ctx ends.
func (r *Relay) every(ctx context.Context, interval time.Duration, what string, part func(context.Context) (more bool, err error)) {
	for {
		more, err := part(ctx)
		if err != nil && ctx.Err() == nil {
			r.log.Warn(what, zap.Error(err))
		}
		wait := interval
		if more {
			wait = min(wait, idleEvery)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// handOver claims rows and starts their workflows until ctx ends. No start waits
// for another: a flow or a start that is slow delays only itself.
func (r *Relay) handOver(ctx context.Context) {
	var under sync.WaitGroup
	defer under.Wait()
	hints := r.book.Waiting(ctx)
	for {
		starts, err := r.round(ctx)
		if err != nil && ctx.Err() == nil {
			r.log.Warn("relaying", zap.Error(err))
		}
		for _, s := range starts {
			r.slots <- struct{}{} // a start ends within its timeout, so this does
			under.Go(func() {
				defer func() { <-r.slots }()
				// A batch that is claimed is started, the process may end or not.
				r.launch(context.WithoutCancel(ctx), s)
			})
		}
		now := time.Now()
		if len(starts) > 0 {
			r.pace.stir(now)
		}
		if !r.rest(ctx, hints) {
			return
		}
	}
}

// rest waits until the next round is due; false when ctx has ended.
func (r *Relay) rest(ctx context.Context, hints <-chan struct{}) bool {
	least := time.After(gather)
	if r.away.Load() {
		least = time.After(idleEvery) // hints are left alone: rows that wait do not bring Temporal back
	} else {
		select {
		case <-ctx.Done():
			return false
		case <-r.wake:
			r.pace.stir(time.Now())
		case <-hints:
			r.pace.stir(time.Now())
		case <-time.After(r.pace.wait(time.Now())):
			return ctx.Err() == nil
		}
	}
	select {
	case <-ctx.Done():
		return false
	case <-least:
		return true
	}
}

// round gives what is to be started now: batches whose lease lapsed, and newly
// claimed ones. While Temporal is away it gives at most one, to try it with.
func (r *Relay) round(ctx context.Context) ([]run.Start, error) {
	if r.away.Load() {
		return nil, r.probe(ctx)
	}
	var due []run.Start
	var failed error
	if now := time.Now(); !now.Before(r.nextDue) {
		due, failed = r.book.Due(ctx, duePage)
		r.nextDue = now.Add(dueEvery)
		if len(due) == duePage {
			r.nextDue = now // there may be more
		}
	}
	// Before a claim, which ends the rows whose time is over.
	if now := time.Now(); r.Away != nil && !now.Before(r.nextOwn) && r.Away() {
		r.nextOwn = now.Add(ownEvery)
		r.lost.Store(true)
	}
	if r.lost.Swap(false) {
		if err := r.book.Extend(ctx); err != nil {
			r.lost.Store(true)
			return due, errors.Join(failed, err)
		}
	}
	claimed, err := r.book.Claim(ctx)
	return append(due, claimed...), errors.Join(failed, err)
}

// probe tries Temporal with one batch, and where none is due by asking it.
func (r *Relay) probe(ctx context.Context) error {
	due, err := r.book.Due(ctx, 1)
	for _, s := range due {
		r.try(context.WithoutCancel(ctx), s)
	}
	if err != nil || len(due) > 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if _, err := r.launcher.temporal.CheckHealth(ctx, &client.CheckHealthRequest{}); err == nil {
		r.back()
	}
	return nil
}

// launch starts a batch, unless Temporal went away since it was claimed: then it
// is due as soon as Temporal is back.
func (r *Relay) launch(ctx context.Context, s run.Start) {
	if r.away.Load() {
		_ = r.book.Lapse(ctx, s.BatchID, 0) // else the lease lapses by itself
		return
	}
	r.try(ctx, s)
}

// try starts a batch and notes whether Temporal is there.
func (r *Relay) try(ctx context.Context, s run.Start) {
	err := r.launcher.launch(ctx, r.book, s, r.Page)
	switch {
	case away(err):
		if !r.away.Swap(true) {
			r.log.Warn("Temporal takes no starts; the rows wait", zap.Error(err))
		}
	case err != nil: // this one's own trouble
		r.log.Error("a batch is not started", zap.String("batch", s.BatchID), zap.Error(err))
	default:
		r.back()
	}
}

// back notes that Temporal answers: what waits goes on at once.
func (r *Relay) back() {
	if r.away.Load() {
		r.lost.Store(true) // first, so that no round comes between
	}
	if r.away.Swap(false) {
		r.log.Info("Temporal takes starts again")
		r.Wake()
	}
}
