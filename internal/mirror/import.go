package mirror

import (
	"context"
	"fmt"
	"slices"
	"time"

	"patchbay/internal/egress"
	"patchbay/internal/flow"
)

type (
	// Peer is the border of another region, as package egress reaches it.
	Peer interface {
		Pull(ctx context.Context, flowName string, t *flow.SyncTable, after int64, most int) ([]egress.Batch, error)
		Acknowledge(ctx context.Context, flowName, table string, upto int64) error
	}
)

const (
	// soon and later bound how long a border with nothing for us is left alone.
	soon  = 150 * time.Millisecond
	later = time.Second
)

// Import takes what another region has for us, and writes to our system what follows from
// it, until ctx ends or the time is over.
func (s *Side) Import(ctx context.Context, from string, peer Peer, until time.Time) Counts {
	done := newTally()
	s.each(ctx, until, done, func(ctx context.Context, t *flow.SyncTable) error { return s.take(ctx, from, peer, t, done) })
	return done.counts()
}

// take imports one table, as long as all goes well.
func (s *Side) take(ctx context.Context, from string, peer Peer, t *flow.SyncTable, done *tally) error {
	after, err := s.Replica.Received(ctx, s.Place, from, t.Name)
	if err != nil {
		return err
	}
	for pause := soon; ctx.Err() == nil; {
		paused, err := s.paused(ctx, t.Name, from)
		if err != nil {
			return err
		}
		var batches []egress.Batch
		var away error
		if !paused {
			batches, away = peer.Pull(ctx, s.Place.Flow, t, after, most)
		}
		if len(batches) > 0 {
			if after, err = s.receive(ctx, from, peer, t, batches, done); err != nil {
				return err
			}
		}
		if !paused { // what has come is written, whether or not the other region is there
			if err := s.write(ctx, t, done); err != nil {
				return err
			}
		}
		if away != nil {
			return away
		}
		done.trouble(t.Name, nil)
		if len(batches) > 0 {
			pause = soon
			continue
		}
		s.sleep(ctx, pause)
		pause = min(pause*5/4, later)
	}
	return nil
}

// receive keeps what came, and only then lets the other region forget it.
func (s *Side) receive(ctx context.Context, from string, peer Peer, t *flow.SyncTable, batches []egress.Batch, done *tally) (upto int64, err error) {
	var deltas []flow.Delta
	for _, b := range batches {
		deltas, upto = append(deltas, b.Deltas...), b.ID
	}
	counts, err := s.Replica.Receive(ctx, s.Place, from, t.Name, deltas, upto)
	if err != nil {
		return 0, fmt.Errorf("keeping what came of %s from %s: %w", t.Name, from, err)
	}
	done.add(int64(len(batches)), counts)
	return upto, peer.Acknowledge(ctx, s.Place.Flow, t.Name, upto)
}

// paused reports whether somebody has stopped the table, or the other region.
func (s *Side) paused(ctx context.Context, table, peer string) (bool, error) {
	pauses, err := s.Replica.Pauses(ctx, s.Place)
	if err != nil {
		return false, err
	}
	for _, p := range pauses {
		if p.Table == table || p.Peer == peer && p.Peer != "" {
			return true, nil
		}
	}
	return false, nil
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
