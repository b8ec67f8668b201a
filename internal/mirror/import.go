package mirror

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"patchbay/internal/egress"
	"patchbay/internal/flow"
	"patchbay/internal/replica"
)

type (
	// Peer is the border of another region, as package egress reaches it.
	Peer interface {
		Pull(ctx context.Context, flowName string, t *flow.SyncTable, after int64, most int) ([]egress.Batch, error)
		Acknowledge(ctx context.Context, flowName, table string, upto int64) error
		PullAgain(ctx context.Context, flowName string, t *flow.SyncTable, after int64, most int) ([]egress.Batch, error)
		Acknowledged(ctx context.Context, flowName, table string) (int64, error)
		Resend(ctx context.Context, flowName, table string) (time.Time, error)
		Resent(ctx context.Context, flowName, table string, asked time.Time) (upto int64, told bool, err error)
	}

	// backlog is what has come of a table and was not written yet.
	backlog struct {
		coming sync.Mutex // held while something is received and added, and while what is pending is read
		mu     sync.Mutex
		n      int               // about how many records
		orders [][]replica.Order // of what came, as long as nobody else has written since
		last   *replica.Writing
		news   chan struct{} // something came
		room   chan struct{} // something was written
		over   chan struct{} // closed: nothing comes any more
		paused atomic.Bool   // somebody has stopped it
		well   atomic.Bool   // the other region answers
	}
)

const (
	// soon and later bound how long a border with nothing for us is left alone.
	soon  = 150 * time.Millisecond
	later = time.Second
	// saysSo is how often a border is told how far we are that has nothing for us: it keeps
	// what we had shortly before the last time, in case we are lost.
	saysSo = time.Minute
	// ahead is about how many records of a table may have come that are not written yet.
	ahead = 4 * most
)

// Import takes what another region has for us, and writes to our system what follows from
// it, until ctx ends or the time is over.
func (s *Side) Import(ctx context.Context, from string, peer Peer, until time.Time) Counts {
	done := newTally()
	s.each(ctx, until, done, func(ctx context.Context, t *flow.SyncTable) error { return s.take(ctx, from, peer, t, done) })
	return done.counts()
}

// take imports one table, as long as all goes well: what comes next is kept while what came
// is written.
func (s *Side) take(ctx context.Context, from string, peer Peer, t *flow.SyncTable, done *tally) error {
	recovery, err := s.Replica.Recovering(ctx, s.Place, t.Name)
	if err != nil {
		return err
	}
	if !recovery.Since.IsZero() && !recovery.Told[from] {
		if err := s.retell(ctx, from, peer, t, done); err != nil {
			return err
		}
	}
	b := &backlog{news: make(chan struct{}, 1), room: make(chan struct{}, 1), over: make(chan struct{})}
	var failed error
	var writing sync.WaitGroup
	defer writing.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	writing.Go(func() {
		defer stop()
		failed = s.guarded(ctx, t, func(ctx context.Context, t *flow.SyncTable) error { return s.drain(ctx, t, b, done) })
	})
	away := s.gather(ctx, from, peer, t, b, done)
	close(b.over) // what has come is written, whether or not the other region is there
	writing.Wait()
	return cmp.Or(failed, away)
}

// gather keeps what another region has of a table.
func (s *Side) gather(ctx context.Context, from string, peer Peer, t *flow.SyncTable, b *backlog, done *tally) error {
	after, err := s.Replica.Received(ctx, s.Place, from, t.Name)
	if err != nil {
		return err
	}
	var looked time.Time
	for pause, said := soon, time.Now(); ctx.Err() == nil; {
		if time.Since(looked) > soon {
			paused, err := s.paused(ctx, t.Name, from, done)
			if err != nil {
				return err
			}
			b.paused.Store(paused)
			looked = time.Now()
		}
		if b.full(ctx, s.brief(soon)) {
			continue
		}
		var batches []egress.Batch
		if !b.paused.Load() {
			if batches, err = peer.Pull(ctx, s.Place.Flow, t, after, most); err != nil {
				return s.forgot(ctx, t, err)
			}
		}
		if len(batches) == 0 {
			b.well.Store(true)
			if after > 0 && !b.paused.Load() && time.Since(said) > s.brief(saysSo) {
				if err := peer.Acknowledge(ctx, s.Place.Flow, t.Name, after); err != nil {
					return err
				}
				said = time.Now()
			}
			s.sleep(ctx, pause)
			pause = min(pause*5/4, later)
			continue
		}
		if after, err = s.receive(ctx, from, t, batches, b, done); err != nil {
			return err
		}
		b.well.Store(true)
		pause, said = soon, time.Now()
		if err := peer.Acknowledge(ctx, s.Place.Flow, t.Name, after); err != nil {
			return err
		}
	}
	return nil
}

// drain writes what has come, each time that something came and now and then: what waits
// becomes due by itself.
func (s *Side) drain(ctx context.Context, t *flow.SyncTable, b *backlog, done *tally) error {
	for pause := soon; ; {
		over := false
		select { // before the pass: it is the last one
		case <-b.over:
			over = true
		default:
		}
		if !b.paused.Load() {
			ours, err := s.write(ctx, t, b, done)
			if err != nil || ctx.Err() != nil {
				return err
			}
			if !ours || !b.more() {
				b.written(b.waiting()) // all that there is was given, or another takes care of it
			}
			if !ours { // who writes now may have looked before ours came
				pause = soon
			}
			if b.well.Load() {
				done.trouble(t.Name, nil)
			}
		}
		if over {
			return nil
		}
		timer := time.NewTimer(s.brief(pause))
		select {
		case <-ctx.Done():
		case <-b.over:
		case <-b.news:
			pause = soon
		case <-timer.C:
			pause = min(pause*5/4, later)
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// add tells of records that came.
func (b *backlog) add(n int, orders []replica.Order) {
	b.mu.Lock()
	b.n += n
	if len(orders) > 0 {
		b.orders = append(b.orders, orders)
	}
	b.mu.Unlock()
	select {
	case b.news <- struct{}{}:
	default:
	}
}

// full waits a while if too many records are not written yet, which is to be looked at again
// then: the others wait at the border.
func (b *backlog) full(ctx context.Context, atMost time.Duration) bool {
	if b.waiting() <= ahead {
		return false
	}
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-b.room:
	case <-timer.C:
	}
	return true
}

// begin forgets the orders of what came before another writing than the last, or one that
// is not ours: who wrote meanwhile may have carried them out.
func (b *backlog) begin(w *replica.Writing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w == nil || !w.Follows(b.last) {
		b.orders = nil
	}
	b.last = w
}

// next gives the orders of what came first, and when there are no more what else is pending:
// nothing of that is among what came.
func (b *backlog) next(pending func() ([]replica.Order, error)) ([]replica.Order, error) {
	if first := b.first(); first != nil {
		return first, nil
	}
	b.coming.Lock()
	defer b.coming.Unlock()
	if first := b.first(); first != nil {
		return first, nil
	}
	return pending()
}

func (b *backlog) first() []replica.Order {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.orders) == 0 {
		return nil
	}
	first := b.orders[0]
	b.orders = b.orders[1:]
	return first
}

func (b *backlog) more() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.orders) > 0
}

func (b *backlog) waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.n
}

// written tells of records that were written, or of which another takes care.
func (b *backlog) written(n int) {
	b.mu.Lock()
	b.n = max(b.n-n, 0)
	b.mu.Unlock()
	select {
	case b.room <- struct{}{}:
	default:
	}
}

// receive keeps what came; only then may the other region forget it.
func (s *Side) receive(ctx context.Context, from string, t *flow.SyncTable, batches []egress.Batch, b *backlog, done *tally) (upto int64, err error) {
	var deltas []flow.Delta
	for _, b := range batches {
		deltas, upto = append(deltas, b.Deltas...), b.ID
	}
	b.coming.Lock()
	defer b.coming.Unlock()
	counts, orders, err := s.Replica.Receive(ctx, s.Place, from, t.Name, deltas, upto)
	if err != nil {
		return 0, fmt.Errorf("keeping what came of %s from %s: %w", t.Name, from, err)
	}
	done.add(int64(len(batches)), counts)
	if !s.ordered() { // it takes fewer at a time
		orders = nil
	}
	b.add(len(deltas), orders)
	return upto, nil
}

// paused reports whether somebody has stopped the table, or the other region.
func (s *Side) paused(ctx context.Context, table, peer string, done *tally) (bool, error) {
	pauses, err := done.pauses(ctx, s)
	if err != nil {
		return false, err
	}
	return onHold(pauses, table, peer), nil
}

func onHold(pauses []replica.Paused, table, peer string) bool {
	return slices.ContainsFunc(pauses, func(p replica.Paused) bool { return p.Table == table || p.Peer == peer && p.Peer != "" })
}

// children are the tables that refer to a table.
func (s *Side) children(table string) (names []string) {
	for _, t := range s.Place.Sync.Tables {
		if t.Name != table && slices.ContainsFunc(t.Columns, func(c flow.SyncColumn) bool { return c.Refers == table }) {
			names = append(names, t.Name)
		}
	}
	return names
}
