package mirror

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"patchbay/internal/egress"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/replica"
)

// A region whose database was restored from a backup forgot what it received, and what it
// told, since. Of each table it is first told all that the other regions know, its own
// edits among it. Then its own system is read from the beginning: what that has and nobody
// else wrote are edits that were not told yet. Until then nothing of the table is observed
// or written here.

// retold says that all other regions have told a table again, and it is to be read.
const retold = "sync.retold"

// patience is how long another region may take to begin telling all of a table again, before
// it is asked once more: it may have been restored itself.
const patience = 2 * time.Minute

// forgot has a table recover where another region says that we knew more than we do.
func (s *Side) forgot(ctx context.Context, t *flow.SyncTable, err error) error {
	if fault.Of(err).Code != egress.CodeForgotten {
		return err
	}
	if wrong := s.Replica.Forgot(ctx, s.Place, t.Name); wrong != nil {
		return wrong
	}
	return err
}

// retell asks another region to tell all that it knows of a table, and takes that. What of
// its batches is still there is taken first: it says what of our system's values is no
// edit, because somebody else replaced it since.
func (s *Side) retell(ctx context.Context, from string, peer Peer, t *flow.SyncTable, done *tally) error {
	had, err := peer.Acknowledged(ctx, s.Place.Flow, t.Name)
	if err != nil {
		return err
	}
	after, err := s.Replica.Received(ctx, s.Place, from, t.Name)
	if err != nil {
		return err
	}
	var asked, last time.Time
	for ctx.Err() == nil {
		if time.Since(last) > s.brief(patience) {
			if asked, err = peer.Resend(ctx, s.Place.Flow, t.Name); err != nil {
				return err
			}
			last = time.Now()
			if err := s.Replica.Asked(ctx, s.Place, from, t.Name, asked, had); err != nil {
				return err
			}
		}
		paused, err := s.paused(ctx, t.Name, from, done)
		if err != nil {
			return err
		}
		if paused {
			return nil // gather waits, too, and nobody waits for it
		}
		upto, told, err := peer.Resent(ctx, s.Place.Flow, t.Name, asked)
		if err != nil {
			return err
		}
		batches, err := peer.PullAgain(ctx, s.Place.Flow, t, after, most)
		if err != nil {
			return err
		}
		for _, b := range batches { // each by itself: which of them are new to us counts
			last = time.Now()
			if b.MadeAt.Before(asked) {
				genuine(b.Deltas)
			}
			if after, err = s.receive(ctx, from, t, []egress.Batch{b}, new(backlog), done); err != nil { // it is written as what is pending
				return err
			}
			if err := peer.Acknowledge(ctx, s.Place.Flow, t.Name, after); err != nil {
				return err
			}
		}
		if told && after >= upto {
			return s.Replica.Told(ctx, s.Place, from, t.Name)
		}
		done.trouble(t.Name, fault.New(fault.Unavailable, replica.CodeRestored, "the database of this region was restored from a backup: region "+from+" tells all that it knows of table "+t.Name+" again", nil))
		if len(batches) == 0 {
			s.sleep(ctx, soon)
		}
	}
	return nil
}

// genuine marks writings that were not told again: what was made before we asked.
func genuine(deltas []flow.Delta) {
	for i := range deltas {
		for n := range deltas[i].Cells {
			if c := &deltas[i].Cells[n]; c.Value != nil && c.Over == 0 {
				c.Over = 1 // it took the place of nothing
			}
		}
	}
}

// recovering waits until all other regions have told a table again that was restored, but
// those on hold; then it is to be read anew.
func (f *follower) recovering(ctx context.Context) error {
	if f.reading.Recovery.Since.IsZero() {
		return nil
	}
	now, _, err := f.progress()
	if err != nil || now.Recover {
		f.recover = now.Recover
		return err // it is being read
	}
	if system, ok := f.System.(tailing); ok { // nobody reads on from its place: it would keep its log for nothing
		if err := system.DropFeed(ctx, f.feed().Name); err != nil {
			return err
		}
	}
	for ctx.Err() == nil {
		missing, err := f.untold(ctx)
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			return fault.New(fault.Unavailable, retold, "the database of this region was restored from a backup; the other regions have told all of table "+f.table.Name+", and the system is read from the beginning", nil)
		}
		f.done.trouble(f.table.Name, fault.New(fault.Unavailable, replica.CodeRestored, fmt.Sprintf(
			"the database of this region was restored from a backup: nothing of table %s goes out until all that it forgot is told again by %s; put a region on hold to go on without it",
			f.table.Name, strings.Join(missing, ", ")), nil))
		f.sleep(ctx, firstPause)
	}
	return ctx.Err()
}

// untold names the regions, and the tables that this one refers to, which are waited for.
func (f *follower) untold(ctx context.Context) (missing []string, err error) {
	recovery, err := f.Replica.Recovering(ctx, f.Place, f.table.Name)
	if err != nil {
		return nil, err
	}
	pauses, err := f.Replica.Pauses(ctx, f.Place)
	if err != nil {
		return nil, err
	}
	for _, r := range f.Place.Sync.Regions {
		if r.Name != f.Place.Region && !recovery.Told[r.Name] && !onHold(pauses, f.table.Name, r.Name) {
			missing = append(missing, "region "+r.Name)
		}
	}
	states, err := f.Replica.Status(ctx, f.Place)
	if err != nil {
		return nil, err
	}
	for _, s := range states {
		refers := slices.ContainsFunc(f.table.Columns, func(c flow.SyncColumn) bool { return c.Refers == s.Table })
		if refers && s.Table != f.table.Name && s.Restored {
			missing = append(missing, "table "+s.Table)
		}
	}
	return missing, nil
}

// tellAgain puts all that we know of tables at our border that other regions asked for.
func (s *Side) tellAgain(ctx context.Context, border Border) error {
	wanted, err := border.Wanted(ctx, s.Place.Flow)
	if err != nil {
		return err
	}
	for table, asked := range wanted { // each by itself
		if s.Place.Sync.Table(table) == nil {
			continue
		}
		for after := ""; ; {
			uids, last, err := s.Replica.All(ctx, s.Place, table, after, most)
			if err != nil {
				return err
			}
			if _, err := s.Replica.Resend(ctx, s.Place, table, uids); err != nil {
				return err
			}
			if after = last; after == "" {
				break
			}
		}
		if err := border.Retold(ctx, s.Place.Flow, table, asked); err != nil {
			return err
		}
	}
	return nil
}
