package group

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"patchbay/internal/fault"
)

type (
	// Group commits what concurrent callers want in common transactions: the price
	// of a commit is then paid once for all of them, and nobody waits for it on
	// purpose. A caller who finds a transaction free is served at once and alone;
	// those who come while all are busy form the next one. They are served in the
	// order they came, each at the latest by the transaction after those ahead.
	//
	// It has no goroutine while nobody calls, so nothing has to be closed.
	Group[In, Out any] struct {
		most     int // members of one transaction
		inFlight int // transactions at a time
		// Hurried: a caller whose time is over does not wait for the end of the
		// transaction that has it; it gets ErrUnheard.
		Hurried bool
		run     func(ctx context.Context, in []In) ([]Reply[Out], error)

		mu      sync.Mutex
		queue   []*member[In, Out]
		serving int
	}

	// Reply is what one member gets from a transaction that took effect: err is its
	// own, and no reason to undo what the others wanted.
	Reply[Out any] struct {
		Out Out
		Err error
	}

	member[In, Out any] struct {
		in       In
		reply    Reply[Out]
		answered chan struct{}
	}
)

// New gives a group of transactions. run executes one, for the members in the
// order they came, and gives each its reply at the same place; an error means that
// none of it took effect, or in doubt. Its context carries the values of one of the
// callers and does not end when they leave: run bounds itself.
func New[In, Out any](most, inFlight int, run func(ctx context.Context, in []In) ([]Reply[Out], error)) *Group[In, Out] {
	return &Group[In, Out]{most: most, inFlight: inFlight, run: run}
}

// ErrUnheard says that the time of a caller was over before its transaction was.
var ErrUnheard = errors.New("the transaction is still under way")

// Do gives what a transaction has for in, once it is committed. A caller who leaves
// while waiting for a turn takes no part in it; one who leaves later waits for the
// end, because a commit that nobody knows of helps nobody. In a Hurried group only
// who was cancelled waits so: a deadline is kept.
func (g *Group[In, Out]) Do(ctx context.Context, in In) (Out, error) {
	var none Out
	if err := ctx.Err(); err != nil {
		return none, err
	}
	m := &member[In, Out]{in: in, answered: make(chan struct{})}
	g.mu.Lock()
	g.queue = append(g.queue, m)
	if g.serving < g.inFlight {
		g.serving++
		go g.serve(context.WithoutCancel(ctx))
	}
	g.mu.Unlock()
	select {
	case <-m.answered:
	case <-ctx.Done():
		switch {
		case g.leave(m):
			return none, ctx.Err()
		case g.Hurried && errors.Is(ctx.Err(), context.DeadlineExceeded):
			return none, fmt.Errorf("%w: %w", ErrUnheard, ctx.Err())
		}
		<-m.answered
	}
	return m.reply.Out, m.reply.Err
}

// leave takes a member out of the queue; false when its turn had come.
func (g *Group[In, Out]) leave(m *member[In, Out]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := slices.Index(g.queue, m)
	if at < 0 {
		return false
	}
	g.queue = slices.Delete(g.queue, at, at+1)
	return true
}

// serve executes transactions until nobody waits.
func (g *Group[In, Out]) serve(ctx context.Context) {
	for {
		g.mu.Lock()
		n := min(len(g.queue), g.most)
		if n == 0 {
			g.serving--
			g.mu.Unlock()
			return
		}
		turn := slices.Clone(g.queue[:n])
		g.queue = slices.Delete(g.queue, 0, n) // clears the tail: no member is kept alive
		g.mu.Unlock()
		g.commit(ctx, turn)
	}
}

// commit executes one transaction. When it fails for what may be the fault of one
// member, the halves are tried by themselves, so that it takes nobody else along.
func (g *Group[In, Out]) commit(ctx context.Context, turn []*member[In, Out]) {
	replies, err := g.try(ctx, turn)
	switch {
	case err == nil:
		for i, m := range turn {
			m.reply = replies[i]
			close(m.answered)
		}
	case len(turn) > 1 && personal(err):
		g.commit(ctx, turn[:len(turn)/2])
		g.commit(ctx, turn[len(turn)/2:])
	default:
		for _, m := range turn {
			m.reply.Err = err
			close(m.answered)
		}
	}
}

// try turns a panic into an error, so that a caller is answered whatever happens.
func (g *Group[In, Out]) try(ctx context.Context, turn []*member[In, Out]) (replies []Reply[Out], err error) {
	in := make([]In, len(turn))
	for i, m := range turn {
		in[i] = m.in
	}
	defer func() {
		if p := recover(); p != nil {
			replies, err = nil, fault.New(fault.Bug, "store.panic", "a transaction panicked", fmt.Errorf("panic: %v", p))
		}
	}()
	replies, err = g.run(ctx, in)
	if err == nil && len(replies) != len(in) {
		return nil, fault.New(fault.Bug, "store.replies", "a transaction did not answer each of its callers", nil)
	}
	return replies, err
}

// personal reports whether a transaction may have failed because of what one of
// its members wanted. The database being away, or too slow, is nobody's fault.
func personal(err error) bool {
	return !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.InDoubt) &&
		!errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled)
}
