package activities

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/ledger"
	"patchbay/internal/run"
)

type (
	// Batches is the part of the book of runs that hands out the items of a batch.
	Batches interface {
		Take(ctx context.Context, batchID, step string) ([]run.Item, error)
		// Sealed gives the run_ids of open items whose cancel was asked.
		Sealed(ctx context.Context, batchID string) ([]string, error)
		// Settle says that the batch carries nothing any more.
		Settle(ctx context.Context, batchID string) error
	}

	// Outcomes is the part of the book of runs that takes an item back unfinished.
	Outcomes interface {
		// Fail ends an item for good: failed, or cancelled for a nil why and for one
		// whose cancel was asked.
		Fail(ctx context.Context, item run.Item, why *fault.Fault) (flow.Status, error)
		// PutBack lets an item come again: at its time and with no try counted when why
		// is throttled or names a time, else in a smaller batch.
		PutBack(ctx context.Context, item run.Item, why *fault.Fault) error
	}

	// Carrier is the activity instant.carry.v1: it takes every item of a batch of
	// several as far as it goes, each by itself. What goes wrong with one of them ends
	// or leaves that one: the activity runs once and does not fail for it.
	Carrier struct {
		Reader   *Reader
		Writer   *Writer
		Batches  Batches
		Outcomes Outcomes
	}

	// load is one batch on its way.
	load struct {
		*Carrier
		batchID string
		plan    *flow.Plan
		rests   rests
		held    func() error // of alive

		mu      sync.Mutex
		cancels map[string]context.CancelCauseFunc // of the items under way, by run_id
	}

	// way is how an item left the batch.
	way int

	end struct {
		runID string
		way   way
	}
)

// The ways an item leaves, as contract.CarryResult counts them.
const (
	isDone way = iota
	isFailed
	isLater
	isOpen
	isLeft
)

// Bounds of a batch. An item that takes longer leaves it, so that it delays
// nobody else.
const (
	sealsEvery = 250 * time.Millisecond // how long a cancel of one item waits
	bookTime   = 2 * time.Second        // to record how an item left
	// straggle is how long what was sent is heard out after the end of the batch.
	straggle = 3500 * time.Millisecond
)

var hurried = patience{call: 2 * time.Second, look: time.Second}

// errAsked is why the context of an item ends whose cancel was asked.
var errAsked = errors.New("its cancel was asked")

// Carry carries the batch. A second execution finds only what the first left
// open, and one that has nothing to do is done.
func (a *Carrier) Carry(ctx context.Context, in contract.Batch) (contract.CarryResult, error) {
	ctx, held, stop := alive(ctx)
	defer stop()
	ctx, quit := steady(ctx)
	defer quit()
	plan, err := a.Reader.Plans.ByDigest(ctx, in.Digest)
	if err != nil {
		return contract.CarryResult{}, fmt.Errorf("loading the plan: %w", err)
	}
	items, err := a.Batches.Take(ctx, in.BatchID, "reading")
	if err != nil && !ended(err) {
		return contract.CarryResult{}, fmt.Errorf("taking the batch: %w", err)
	}
	l := &load{Carrier: a, batchID: in.BatchID, plan: plan, held: held, cancels: map[string]context.CancelCauseFunc{}}
	count := l.all(ctx, items)
	if count.Left == 0 {
		// A batch that could not be settled counts as under way for some seconds more,
		// and nothing depends on it.
		ctx, done := booking(ctx)
		defer done()
		_ = a.Batches.Settle(ctx, in.BatchID)
	}
	return count, nil
}

// steady is ctx without what concerns the reports of the activity only: that
// Temporal did not answer one of them ends no item. It ends when Temporal cancels
// the activity, when the worker stops, and with the time of the attempt.
func steady(ctx context.Context) (context.Context, context.CancelFunc) {
	on, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	detach := context.AfterFunc(ctx, func() {
		cause := context.Cause(ctx)
		if temporal.IsCanceledError(cause) || errors.Is(cause, worker.ErrWorkerShutdown) {
			cancel(cause)
		}
	})
	stop := func() { detach(); cancel(nil) }
	deadline, ok := ctx.Deadline()
	if !ok {
		return on, stop
	}
	on, release := context.WithDeadline(on, deadline)
	return on, func() { release(); stop() }
}

// booking returns a context in which an outcome is recorded whatever has ended.
func booking(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), bookTime)
}

// all carries the items, each by itself, and counts how they left. It waits for no
// call that does not end with its context: what is open then is recorded without
// it, and its own word comes too late to count.
func (l *load) all(ctx context.Context, items []run.Item) contract.CarryResult {
	var count [isLeft + 1]int
	ends := make(chan end, 2*len(items))
	under := make(map[string]run.Item, len(items))
	for _, item := range items {
		under[item.RunID] = item
		go func() { ends <- l.carry(ctx, item) }()
	}
	late := make(chan struct{})
	over := late
	defer context.AfterFunc(ctx, func() { time.AfterFunc(straggle, func() { close(late) }) })()
	seals := time.NewTicker(sealsEvery)
	defer seals.Stop()
	for len(under) > 0 {
		select {
		case e := <-ends:
			if _, waiting := under[e.runID]; waiting {
				delete(under, e.runID)
				count[e.way]++
			}
		case <-seals.C:
			l.seal(ctx)
		case <-over:
			for _, item := range under {
				go func() { ends <- end{item.RunID, l.leave(ctx, item, nil, ctx.Err())} }()
			}
			over = nil // what comes first of an item counts
		}
	}
	return contract.CarryResult{Done: count[isDone], Failed: count[isFailed], Later: count[isLater], Open: count[isOpen], Left: count[isLeft]}
}

// carry takes one item as far as it goes. A panic of the book leaves it for Release.
func (l *load) carry(ctx context.Context, item run.Item) (e end) {
	e = end{runID: item.RunID, way: isLeft}
	defer func() {
		if p := recover(); p != nil {
			_ = panicked(ctx, item.RunID, p)
		}
	}()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if item.Sealed {
		cancel(errAsked)
	}
	l.hold(item.RunID, cancel)
	defer l.hold(item.RunID, nil)
	way, writing, err := l.through(ctx, item)
	if err != nil {
		way = l.leave(ctx, item, writing, err)
	}
	e.way = way
	return e
}

// hold keeps what cancels an item while it is under way.
func (l *load) hold(runID string, cancel context.CancelCauseFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cancels[runID] = cancel
}

// through reads, answers and writes; writing says how far it came. A panic is the
// failure of this item alone.
func (l *load) through(ctx context.Context, item run.Item) (way way, writing *flow.Write, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(ctx, item.RunID, p)
		}
	}()
	if err := ctx.Err(); err != nil {
		return 0, nil, err
	}
	writing = l.plan.Write
	var rows []flow.Row
	if item.Answer != nil {
		rows = item.Answer.Rows
	} else if rows, err = l.read(ctx, item); err != nil {
		return 0, nil, err
	}
	if writing == nil {
		return isDone, nil, l.Reader.answer(ctx, l.plan, item, rows)
	}
	members, outcomes, err := l.write(ctx, item, rows)
	if err != nil {
		return 0, writing, err
	}
	result, err := l.Writer.complete(ctx, l.plan, item, members, outcomes)
	if err != nil {
		return 0, writing, err
	}
	return wayOf(result.Status), writing, nil
}

func (l *load) read(ctx context.Context, item run.Item) ([]flow.Row, error) {
	if err := l.rests.on(source(l.plan)); err != nil {
		return nil, err
	}
	rows, err := l.Reader.rows(ctx, l.plan, item, hurried)
	if err != nil {
		return nil, l.rests.heard(source(l.plan), err)
	}
	return rows, nil
}

// write keeps the rows as the answer, unless one is kept, and writes them. An answer
// does not wait for what stands in the way of the write.
func (l *load) write(ctx context.Context, item run.Item, rows []flow.Row) (members int, outcomes []ledger.Outcome, err error) {
	hurried := hurried
	hurried.held = l.held
	call, err := l.Writer.freeze(ctx, l.plan, rows)
	if err == nil {
		err = l.rests.on(l.plan.Write.Connection)
	}
	switch {
	case err != nil && item.Answer != nil:
		return 0, nil, err
	case err != nil:
		return 0, nil, cmp.Or(l.Reader.answer(ctx, l.plan, item, rows), err)
	case item.Answer != nil:
		outcomes, err = l.Writer.send(ctx, l.plan, item, call, hurried)
	default:
		outcomes, err = l.Writer.answerAndSend(ctx, l.plan, item, rows, call, hurried)
	}
	return len(call), outcomes, l.rests.heard(l.plan.Write.Connection, err)
}

// leave records how an item left that did not come through, and gives the way.
func (l *load) leave(ctx context.Context, item run.Item, writing *flow.Write, err error) way {
	why := fault.Of(err)
	cause := context.Cause(ctx)
	ctx, release := booking(ctx)
	defer release()
	switch {
	case ended(err):
		return isDone
	case why.Code == fencedCode:
		return isOpen // somebody else has it
	case errors.Is(cause, errAsked), temporal.IsCanceledError(cause), why.Code == sealedCode:
		return l.fail(ctx, item, nil)
	case errors.Is(cause, worker.ErrWorkerShutdown):
		return l.putBack(ctx, item, fault.ThrottledFor(time.Millisecond, "worker.stopped", "its worker stopped before it was done", err), isLater)
	case writing == nil && final(why), writing != nil && refused(why), why.Code == panicCode:
		return l.fail(ctx, item, why)
	case why.Class == fault.Throttled, why.After > 0:
		return l.putBack(ctx, item, why, isLater)
	}
	return l.putBack(ctx, item, why, isOpen)
}

func (l *load) fail(ctx context.Context, item run.Item, why *fault.Fault) way {
	status, err := l.Outcomes.Fail(ctx, item, why)
	if err != nil {
		return unrecorded(err)
	}
	return wayOf(status)
}

func (l *load) putBack(ctx context.Context, item run.Item, why *fault.Fault, way way) way {
	if err := l.Outcomes.PutBack(ctx, item, why); err != nil {
		return unrecorded(err)
	}
	return way
}

// seal ends the items whose cancel was asked meanwhile. When the book cannot be
// asked it is asked again, and the ledger lets no effect of theirs begin.
func (l *load) seal(ctx context.Context) {
	ctx, release := context.WithTimeout(ctx, 2*sealsEvery)
	defer release()
	sealed, err := l.Batches.Sealed(ctx, l.batchID)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, runID := range sealed {
		if cancel := l.cancels[runID]; cancel != nil {
			cancel(errAsked)
		}
	}
}

// wayOf is how an item left whose run has ended.
func wayOf(status flow.Status) way {
	if status == flow.Failed {
		return isFailed
	}
	return isDone
}

// unrecorded is how an item left that the book did not take back.
func unrecorded(err error) way {
	switch {
	case ended(err):
		return isDone
	case fault.Of(err).Code == fencedCode:
		return isOpen
	}
	return isLeft
}
