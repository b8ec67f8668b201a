package starters

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"go.uber.org/zap"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/inbox"
)

const (
	followEvery = time.Second
	// leftEvery is how often streams are looked for that no flow follows any more.
	leftEvery = time.Minute
	// keepEvery is how often a reader that hears nothing says that it lives.
	keepEvery = 5 * time.Second
	// eventsAtOnce is how many events one transaction of the inbox takes.
	eventsAtOnce = 200
)

type (
	// Feeds is the part of the inbox that a follower fills.
	Feeds interface {
		TakeFeed(ctx context.Context, flow, connection, holder string) (inbox.Followed, bool, error)
		KeepFeed(ctx context.Context, f inbox.Followed, position string) error
		FeedFailed(ctx context.Context, f inbox.Followed, why error) error
		Feeds(ctx context.Context) ([]inbox.Followed, error)
		EndFeed(ctx context.Context, f inbox.Followed) error
		Accept(ctx context.Context, flow string, events []flow.Occurrence) (flow.Receipt, error)
		Found(ctx context.Context, s inbox.Sweep, events []flow.Occurrence) (flow.Receipt, error)
	}

	// Tails opens the streams of systems that tell what commits in them.
	Tails interface {
		// Follows reports whether the system behind a connection does.
		Follows(ctx context.Context, plan *flow.Plan, connection string) (bool, error)
		// Follow opens what a plan reacts to, after a position; "": from now on.
		Follow(ctx context.Context, plan *flow.Plan, connection, after string) (Following, error)
		// Unfollow removes what a flow has of a system.
		Unfollow(ctx context.Context, flow, connection string) error
	}

	// Following is an open stream, for one goroutine. See connector.Stream and Chunker.
	Following interface {
		Tables() []string
		Next(ctx context.Context) (Told, error)
		Confirm(ctx context.Context, position string) error
		Range(ctx context.Context, table string, after flow.Row) (Range, error)
		Reached(position, mark string) bool
		Close()
	}

	// Told is what a stream gives at a time.
	Told struct {
		Events   []flow.Occurrence
		Position string // after them
	}

	// Range is a range of a table, as events that nobody told.
	Range struct {
		Events []flow.Occurrence
		Last   flow.Row // to go on after; nil: that was all
		High   string
	}

	// Follower makes events of what systems commit that tell so by themselves. Any number
	// may run; one of them reads each stream.
	Follower struct {
		flows   Catalogue
		inbox   Feeds
		systems Tails
		log     *zap.Logger
		holder  string
		looked  time.Time

		mu      sync.Mutex
		readers map[[2]string]*reader // by flow and connection
		all     sync.WaitGroup
	}

	// reader reads one stream for one plan.
	reader struct {
		digest string
		stop   context.CancelFunc
	}
)

// NewFollower builds a Follower.
func NewFollower(flows Catalogue, in Feeds, systems Tails, log *zap.Logger) *Follower {
	return &Follower{flows: flows, inbox: in, systems: systems, log: log, holder: rand.Text(), readers: map[[2]string]*reader{}}
}

// Run follows until ctx ends. It never gives up: what fails is tried again.
func (f *Follower) Run(ctx context.Context) {
	ticks := time.NewTicker(followEvery)
	defer ticks.Stop()
	defer f.all.Wait()
	for {
		if err := f.round(ctx); err != nil && ctx.Err() == nil {
			f.log.Warn("following events", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

// round begins to read what nobody reads, and ends what a plan that is not in force any
// more reads.
func (f *Follower) round(ctx context.Context) error {
	applied, err := f.flows.List(ctx)
	if err != nil {
		return err
	}
	wanted := map[[2]string]string{}
	for _, a := range applied {
		if a.Plan.Reaction == nil {
			continue
		}
		for _, t := range a.Plan.Reaction.On {
			at := [2]string{a.Plan.Flow, t.Connection}
			if _, asked := wanted[at]; asked {
				continue
			}
			wanted[at] = a.Digest
			if f.reads(at) {
				continue
			}
			follows, err := f.systems.Follows(ctx, a.Plan, t.Connection)
			if err != nil { // of one connection
				f.log.Warn("a source cannot be followed", zap.String("flow", a.Plan.Flow), zap.String("connection", t.Connection), zap.Error(err))
				continue
			}
			if follows {
				if err := f.begin(ctx, a, t.Connection); err != nil {
					return err
				}
			}
		}
	}
	f.mu.Lock()
	for at, r := range f.readers {
		if wanted[at] != r.digest {
			r.stop()
		}
	}
	f.mu.Unlock()
	return f.leave(ctx, wanted)
}

func (f *Follower) reads(at [2]string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.readers[at] != nil
}

func (f *Follower) begin(ctx context.Context, a flow.Applied, connection string) error {
	feed, ours, err := f.inbox.TakeFeed(ctx, a.Plan.Flow, connection, f.holder)
	if err != nil || !ours {
		return err
	}
	reading, stop := context.WithCancel(ctx)
	at := [2]string{a.Plan.Flow, connection}
	f.mu.Lock()
	f.readers[at] = &reader{digest: a.Digest, stop: stop}
	f.mu.Unlock()
	f.all.Go(func() {
		defer stop()
		err := f.follow(reading, a.Plan, &feed)
		if reading.Err() != nil {
			err = nil
		}
		if err != nil {
			f.log.Warn("a stream of events ended", zap.String("flow", feed.Flow), zap.String("connection", connection), zap.Error(err))
		}
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := f.inbox.FeedFailed(ending, feed, err); err != nil { // its lease lapses
			f.log.Warn("giving a stream of events back", zap.String("flow", feed.Flow), zap.Error(err))
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.readers, at)
	})
	return nil
}

// follow reads a stream until it breaks. An event is accepted before how far that was is
// kept, and that before the system may forget it: what is told twice has one ID.
func (f *Follower) follow(ctx context.Context, plan *flow.Plan, feed *inbox.Followed) error {
	s, err := f.systems.Follow(ctx, plan, feed.Connection, feed.Position)
	if err != nil {
		return err
	}
	defer s.Close()
	kept := time.Now()
	if feed.Position == "" {
		if err := f.read(ctx, s, feed); err != nil {
			return err
		}
	}
	for {
		told, err := s.Next(ctx)
		if err != nil {
			return err
		}
		if err := f.accept(ctx, feed, told.Events); err != nil {
			return err
		}
		if len(told.Events) == 0 && time.Since(kept) < keepEvery {
			continue
		}
		if err := f.keep(ctx, s, feed, told.Position); err != nil {
			return err
		}
		kept = time.Now()
	}
}

func (f *Follower) keep(ctx context.Context, s Following, feed *inbox.Followed, position string) error {
	if err := f.inbox.KeepFeed(ctx, *feed, position); err != nil {
		return err
	}
	feed.Position = position
	return s.Confirm(ctx, position)
}

// read reads what is there, while what changes is accepted as it comes: of a range
// counts what the stream did not tell of meanwhile. Where it was read to is kept at the
// end; whoever is killed before begins anew.
func (f *Follower) read(ctx context.Context, s Following, feed *inbox.Followed) error {
	position := ""
	kept := time.Now()
	for _, table := range s.Tables() {
		for after, begun := flow.Row(nil), true; begun || after != nil; begun = false {
			part, err := s.Range(ctx, table, after)
			if err != nil {
				return err
			}
			newer := map[string]bool{}
			for position == "" || !s.Reached(position, part.High) {
				told, err := s.Next(ctx)
				if err != nil {
					return err
				}
				for _, e := range told.Events {
					if e.Table == table {
						newer[e.Record] = true
					}
				}
				if err := f.accept(ctx, feed, told.Events); err != nil {
					return err
				}
				position = told.Position
			}
			var found []flow.Occurrence
			for _, e := range part.Events {
				if !newer[e.Record] {
					found = append(found, e)
				}
			}
			sweep := inbox.Sweep{Flow: feed.Flow, Connection: feed.Connection, Table: table, First: feed.First}
			for len(found) > 0 {
				n := min(len(found), eventsAtOnce)
				if _, err := f.inbox.Found(ctx, sweep, found[:n]); err != nil {
					return err
				}
				found = found[n:]
			}
			if time.Since(kept) > keepEvery {
				if err := f.inbox.KeepFeed(ctx, *feed, ""); err != nil {
					return err
				}
				kept = time.Now()
			}
			after = part.Last
		}
	}
	return f.keep(ctx, s, feed, position)
}

// accept commits events to the flow. One whose ID is known with other columns, of a plan
// before this one, is known.
func (f *Follower) accept(ctx context.Context, feed *inbox.Followed, events []flow.Occurrence) error {
	for len(events) > 0 {
		n := min(len(events), eventsAtOnce)
		_, err := f.inbox.Accept(ctx, feed.Flow, events[:n])
		if fault.Of(err) != nil && fault.Of(err).Code == "hook.id_conflict" && n > 1 {
			for i := range n {
				if err := f.accept(ctx, feed, events[i:i+1]); err != nil {
					return err
				}
			}
			err = nil
		}
		if err != nil && fault.Of(err).Code != "hook.id_conflict" {
			return err
		}
		events = events[n:]
	}
	return nil
}

// leave removes what flows have of systems that they do not follow any more: a system
// keeps for a stream what nobody reads.
func (f *Follower) leave(ctx context.Context, wanted map[[2]string]string) error {
	if time.Since(f.looked) < leftEvery {
		return nil
	}
	feeds, err := f.inbox.Feeds(ctx)
	if err != nil {
		return err
	}
	f.looked = time.Now()
	for _, feed := range feeds {
		if _, still := wanted[[2]string{feed.Flow, feed.Connection}]; still {
			continue
		}
		if err := f.systems.Unfollow(ctx, feed.Flow, feed.Connection); err != nil {
			f.log.Warn("a stream that nobody follows is still there", zap.String("flow", feed.Flow), zap.String("connection", feed.Connection), zap.Error(err))
			continue
		}
		if err := f.inbox.EndFeed(ctx, feed); err != nil {
			return err
		}
	}
	return nil
}
