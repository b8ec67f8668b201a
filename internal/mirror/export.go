package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/replica"
)

type (
	// follower is one table of the system, followed by one attempt.
	follower struct {
		*sight
		reading *replica.Reading
		scope   scope
		done    *tally
		beat    time.Time         // when the replica was told last that all is observed
		ids     map[string]string // of the columns that were allowed, by name
		stray   []string          // columns that are not asked for: they are others than were allowed
		looked  time.Time
		adopted time.Time // when records that waited for others were looked at last,
		orphan  string    // and after which of them to go on
		wrong   time.Time // when the clock of the system was last
		sent    bool      // something went to the border when it was observed last
		recover bool      // all that is read is of a table that was restored
	}

	// tailing is a system that tells of commits.
	tailing interface {
		connector.Tailer
		connector.Chunker
	}
)

const (
	expired   = "connector.cursor_expired"
	truncated = "sync.truncated"
	// idle is how long a stream is waited for, and beats how often the replica learns that
	// nothing happened.
	idle = time.Second
	// atOnce is how many records of a table that is read for the first time go together: each
	// range waits for the stream to have come as far.
	atOnce = 2 * most
	// beside is how long the stream is waited for beside a range, before it is asked how far it is.
	beside = time.Millisecond
	// brisk is how long who wrote is left alone to note it.
	brisk = 10 * time.Millisecond
	// patient is how often is looked, so long apart, whether who wrote has noted it.
	patient = 20
	beats   = 5 * time.Second
	// clockWrong is for how long it is said that the clock of the system was wrong.
	clockWrong = 10 * time.Minute
)

// Export follows the tables of the system until ctx ends or the time is over.
func (s *Side) Export(ctx context.Context, until time.Time) Counts {
	done := newTally()
	s.each(ctx, until, done, func(ctx context.Context, t *flow.SyncTable) error { return s.follow(ctx, t, done) })
	return done.counts()
}

// follow gathers what changed in one table, as long as all goes well.
func (s *Side) follow(ctx context.Context, t *flow.SyncTable, done *tally) error {
	reading, err := s.Replica.Begin(ctx, s.Place, t.Name)
	if err != nil {
		return fmt.Errorf("beginning to follow %s: %w", t.Name, err)
	}
	was, known, err := scoped(reading.Progress.Scope)
	if err != nil {
		return err
	}
	if known {
		if err := s.allow(ctx, t, was.Allowed); err != nil {
			return err
		}
	}
	d, err := s.bound(ctx, t)
	if err != nil {
		return err
	}
	f := &follower{sight: s.look(t, d.stray), reading: reading, done: done, ids: d.ids, stray: d.stray, looked: time.Now()}
	f.report(d)
	if err := f.widen(was, known); err != nil {
		return err
	}
	if err := f.recovering(ctx); err != nil {
		return f.again(ctx, err)
	}
	switch system := s.System.(type) {
	case tailing:
		err = f.tail(ctx, system)
	case connector.ChangeReader:
		err = f.poll(ctx, system)
	default:
		return s.lacks("tell of changes")
	}
	if err == nil {
		return nil // its time is over
	}
	return f.again(ctx, err)
}

// again has a table read anew where that is what an error asks for.
func (f *follower) again(ctx context.Context, err error) error {
	switch why := fault.Of(err); why.Code {
	case expired, truncated, retold:
		return f.restart(ctx, why)
	}
	return err
}

// restart forgets the place in the source: everything is read again, and what we know and
// it no longer has was deleted meanwhile.
func (f *follower) restart(ctx context.Context, why *fault.Fault) error {
	if system, ok := f.System.(tailing); ok {
		if err := system.DropFeed(ctx, f.feed().Name); err != nil {
			return err
		}
	}
	next := f.next("", kept(load{Again: true, Emptied: why.Code == truncated, Recover: why.Code == retold || f.recover, Of: f.telling(), Since: f.reading.Observed}))
	if err := f.Replica.Rewind(ctx, f.Place, f.reading, next, why); err != nil {
		return fmt.Errorf("beginning to read %s anew: %w", f.table.Name, err)
	}
	return nil
}

// observe has the replica take rows, with how far we are then.
func (f *follower) observe(ctx context.Context, rows []seen, next replica.Progress) error {
	for i := range rows {
		rows[i].recover = f.recover
	}
	all, err := f.observed(ctx, rows, parentPatience)
	if err != nil {
		return err
	}
	counts, err := f.Replica.Observe(ctx, f.Place, f.reading, all, next)
	if err != nil {
		return fmt.Errorf("keeping what changed in %s: %w", f.table.Name, err)
	}
	f.reading.Progress, f.beat = next, time.Now()
	f.sent = counts.Outcomes[flow.SyncExported] > 0
	f.clocked(counts)
	f.done.add(1, counts)
	f.done.trouble(f.table.Name, nil)
	return nil
}

// clocked says that the clock of the system is wrong, until it was right for a while.
func (f *follower) clocked(counts replica.Counts) {
	name := f.table.Name + " clock"
	switch {
	case counts.Ahead > 0:
		f.done.trouble(name, fault.New(fault.Conflict, "sync.clock_ahead", "changes of "+f.table.Name+" claim to be of a time that is "+counts.Ahead.Round(time.Second).String()+" ahead; they count as made when they were observed", nil))
	case counts.Behind > 0:
		f.done.trouble(name, fault.New(fault.Conflict, "sync.clock_behind", "changes of "+f.table.Name+" claim to be "+counts.Behind.Round(time.Second).String()+" older than what they replaced; they count as the later ones", nil))
	case time.Since(f.wrong) > f.brief(clockWrong):
		f.done.trouble(name, nil)
		return
	default:
		return
	}
	f.wrong = time.Now()
}

// alive tells the replica from time to time that all there is was observed.
func (f *follower) alive(ctx context.Context, next replica.Progress) error {
	if time.Since(f.beat) < f.brief(beats) {
		return nil
	}
	return f.observe(ctx, nil, next)
}

// feed is what a system that tells of commits is asked to tell of.
func (f *follower) feed() connector.Feed {
	sum := sha256.Sum256([]byte(f.Place.Flow + "\x00" + f.Place.Region + "\x00" + f.table.Name))
	return connector.Feed{Name: "patchbay_" + hex.EncodeToString(sum[:8]), Tables: []connector.FeedTable{f.part()}, Known: f.known}
}

// known reports whether a transaction of our system is a write of ours of which all is
// known that it made. Who wrote it may be about to note that. Of few changes it is noted
// record by record, and who takes them finds that.
func (f *follower) known(ctx context.Context, origin string, last, end int64, changes int) bool {
	if origin != f.origin() || changes < replica.Together {
		return false
	}
	for range patient {
		n, err := f.Replica.Wrote(ctx, f.Place, f.table.Name, last, end)
		if err != nil || n > 0 || !f.sleep(ctx, brisk) {
			return n == int64(changes)
		}
	}
	return false
}

func (f *follower) part() connector.FeedTable {
	return connector.FeedTable{Table: f.table.Name, Key: f.table.Key, Columns: f.asked, IDs: f.ids}
}

// tail follows commits. Before that, in ranges of the key, it reads what was there.
func (f *follower) tail(ctx context.Context, system tailing) error {
	if err := f.Replica.Follow(ctx, f.Place, f.table.Name, f.feed().Name); err != nil {
		return err
	}
	from := f.reading.Progress.Cursor
	stream, err := system.Tail(ctx, f.feed(), from)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = stream.Close(ctx)
	}()
	now, loading, err := f.progress()
	if err != nil {
		return err
	}
	if loading {
		if err := f.load(ctx, system, stream, now); err != nil {
			return err
		}
	}
	for ctx.Err() == nil {
		if _, err := f.commits(ctx, system, stream, idle, nil); err != nil {
			return err
		}
	}
	return nil
}

// progress is where the first reading stands; false: it is done.
func (f *follower) progress() (now load, loading bool, err error) {
	p := f.reading.Progress
	if len(p.Load) > 0 {
		if err := json.Unmarshal(p.Load, &now); err != nil {
			return now, false, fault.New(fault.Bug, "sync.progress", "how far a table was read cannot be understood", err)
		}
		return now, true, nil
	}
	return now, p.Cursor == "", nil
}

// ahead begins to read a range of the table, and gives what waits for it.
func (f *follower) ahead(ctx context.Context, system tailing, after connector.Row, reading *sync.WaitGroup) func() (connector.Chunk, error) {
	var chunk connector.Chunk
	var err error
	read := make(chan struct{})
	reading.Go(func() {
		defer close(read)
		err = f.guarded(ctx, f.table, func(ctx context.Context, _ *flow.SyncTable) (err error) {
			chunk, err = system.ReadChunk(ctx, f.part(), after, atOnce)
			return err
		})
	})
	return func() (connector.Chunk, error) { <-read; return chunk, err }
}

// load reads the table in ranges of the key, beside the stream. What the stream told of a
// record while its range was read is newer than the range. While one range is kept the next
// is read: nobody asks the stream meanwhile.
func (f *follower) load(ctx context.Context, system tailing, stream connector.Stream, now load) error {
	if now.Of == nil {
		now.Of = f.telling()
	}
	f.recover = now.Recover
	fill := f.filling(now, nil)
	var reading sync.WaitGroup
	defer reading.Wait()
	ranges, stop := context.WithCancel(ctx)
	defer stop()
	next := f.ahead(ranges, system, now.After, &reading)
	for {
		chunk, err := next()
		if err != nil {
			return err
		}
		touched := map[string]bool{} // true: with all columns that are read
		for position := f.reading.Progress.Cursor; position == "" || !system.Reached(position, chunk.High); {
			if position, err = f.commits(ctx, system, stream, beside, touched); err != nil {
				return err
			}
		}
		rows := make([]seen, 0, len(chunk.Rows))
		for i, row := range chunk.Rows {
			newer := false // and told, without all columns
			if len(touched) > 0 {
				key, known, err := keyOf(f.table, row)
				if err != nil {
					return err
				}
				all, told := touched[fmt.Sprint(key)]
				if known && all {
					continue
				}
				newer = known && told
			}
			r := seen{row: row, version: chunk.Version, at: now.Since, fill: fill, reread: !now.Again || newer}
			if chunk.At != nil {
				r.at = chunk.At[i]
			}
			rows = append(rows, r)
		}
		var rest []byte
		if now.After = chunk.Last; now.After != nil {
			rest = kept(now)
			next = f.ahead(ranges, system, now.After, &reading)
		} else {
			if now.Again {
				if err := f.gone(ctx, now.Emptied); err != nil {
					return err
				}
			}
			f.loaded(now)
		}
		next := f.next(f.reading.Progress.Cursor, rest)
		next.Recovered = now.Recover && now.After == nil
		if err := f.observe(ctx, rows, next); err != nil || now.After == nil {
			f.recover = f.recover && err != nil
			return err
		}
	}
}

// commits observes what was committed next, and lets the source forget it. touched, where
// it is not nil, learns the keys, and whether all columns were told: what was committed
// before a column was followed comes without it.
func (f *follower) commits(ctx context.Context, system tailing, stream connector.Stream, wait time.Duration, touched map[string]bool) (string, error) {
	if err := f.watch(ctx); err != nil {
		return "", err
	}
	if err := f.adopt(ctx); err != nil {
		return "", err
	}
	got, err := stream.Next(ctx, most, wait)
	if err != nil {
		return "", err
	}
	next := f.next(got.Position, f.reading.Progress.Load)
	if len(got.Changes) == 0 {
		if f.reading.Progress.Cursor == "" || time.Since(f.beat) >= f.brief(beats) {
			if err := f.observe(ctx, nil, next); err != nil {
				return "", err
			}
			return got.Position, stream.Confirm(ctx, got.Position)
		}
		return got.Position, nil
	}
	rows := make([]seen, 0, len(got.Changes))
	for _, c := range got.Changes {
		if c.Op == "truncate" {
			return "", fault.New(fault.Conflict, truncated, "the table was truncated: it is read anew", nil)
		}
		if len(c.Missing) > 0 {
			if err := f.fill(ctx, system, c); err != nil {
				return "", err
			}
		}
		r := seen{row: c.Row, was: c.Was, deleted: c.Op == "delete", at: c.At, version: c.Version, ours: c.Origin == f.origin()}
		rows = append(rows, r)
		if touched == nil || r.ours { // what of it is not ours is read
			continue
		}
		for _, row := range []connector.Row{c.Row, c.Was} {
			if key, known, err := keyOf(f.table, row); err != nil {
				return "", err
			} else if known {
				touched[fmt.Sprint(key)] = touched[fmt.Sprint(key)] || c.Op == "delete" || f.whole(c.Row)
			}
		}
	}
	if err := f.observe(ctx, rows, next); err != nil {
		return "", err
	}
	return got.Position, stream.Confirm(ctx, got.Position)
}

// whole reports whether a row has all columns that are asked for.
func (f *follower) whole(row connector.Row) bool {
	return !slices.ContainsFunc(f.asked, func(name string) bool { _, there := row[name]; return !there })
}

// fill adds what the system did not send of a row: long values that a change left as they
// were. A row that is gone by now has nothing to add; its deletion follows.
func (f *follower) fill(ctx context.Context, system any, c connector.Tail) error {
	reader, ok := system.(connector.FeedReader)
	if !ok {
		return nil
	}
	part := f.part()
	part.Columns = c.Missing
	rows, err := reader.ReadFeed(ctx, part, []connector.Row{c.Row})
	if err != nil || rows[0].Row == nil {
		return err
	}
	for _, name := range c.Missing {
		if v, there := rows[0].Row[name]; there {
			c.Row[name] = v
		}
	}
	return nil
}

// poll asks a source that keeps what changed since a place in it.
func (f *follower) poll(ctx context.Context, system connector.ChangeReader) error {
	now, loading, err := f.progress()
	if err != nil {
		return err
	}
	first := loading || len(f.scope.Loaded) == 0 // the end of what is there has not been seen
	f.recover = now.Recover
	switch {
	case !first:
		now.Of = []string{}
	case now.Of == nil:
		now.Of = f.telling()
	}
	rung := true // of what came before nobody could tell
	for ctx.Err() == nil {
		if err := f.watch(ctx); err != nil {
			return err
		}
		if err := f.adopt(ctx); err != nil {
			return err
		}
		p, asked := f.reading.Progress, time.Now()
		f.sent = false
		page, err := system.ReadChanges(ctx, f.table.Name, f.all(), p.Cursor)
		if err != nil {
			return err
		}
		fill := f.filling(now, f.scope.Loaded)
		rows := make([]seen, 0, len(page.Deleted)+len(page.Rows))
		for _, id := range page.Deleted { // of what has no order, deletes first
			rows = append(rows, seen{id: id, deleted: true})
		}
		for i, row := range page.Rows {
			r := seen{row: row, fill: fill, at: f.clock(row)}
			if page.Versions != nil {
				r.version = page.Versions[i]
			}
			if r.at.IsZero() && page.At != nil {
				r.at = page.At[i]
			}
			rows = append(rows, r)
		}
		next := f.next(page.Cursor, p.Load)
		if !page.More && first {
			if now.Again {
				if err := f.gone(ctx, now.Emptied); err != nil {
					return err
				}
			}
			f.loaded(now)
			next = f.next(page.Cursor, nil)
			next.Recovered = now.Recover
			now, first = load{Of: []string{}}, false
		}
		if len(rows) > 0 || page.More || p.Cursor == "" || next.Recovered {
			err = f.observe(ctx, rows, next)
		} else {
			err = f.alive(ctx, next)
		}
		if err != nil {
			return err
		}
		f.recover = f.recover && !next.Recovered
		if f.sent && !rung {
			f.bell().missed()
		}
		if !page.More {
			rung = f.rest(ctx, asked)
		}
	}
	return nil
}
