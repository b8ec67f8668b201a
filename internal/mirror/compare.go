package mirror

import (
	"context"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/replica"
)

type (
	// comparer compares one table of the system with what we know of its records.
	comparer struct {
		*sight
		ids      map[string]string // of the columns that were allowed, by name
		found    flow.SyncCompared
		hash     maphash.Seed
		seen     []uint64 // of each record that the system has, by its key
		doubtful []suspect
	}

	// suspect is a record of which the system has something else than is known.
	suspect struct {
		key []string
		row *replica.Observed // nil: the system has no such record
	}
)

const (
	// mostSuspects is how many records of a table are looked at one by one in one go; the
	// next comparison sees the others.
	mostSuspects = 5000
	// settles is how long the reader may need to have told of all that the first look saw.
	settles = 2 * time.Minute
)

// Compare compares the system, table by table, with what we know of the records that are
// shared. What the reader of the system should have told of and did not is no writing of
// anybody: what was changed or removed is written again, and what was added is told to the
// others. What is on its way, held, or refused is no difference. Of each table it gives what
// was found, or what it suffers from.
func (s *Side) Compare(ctx context.Context) (all []flow.SyncCompared, trouble map[string]*fault.Fault, err error) {
	states, err := s.Replica.Status(ctx, s.Place)
	if err != nil {
		return nil, nil, err
	}
	trouble = map[string]*fault.Fault{}
	for _, state := range states {
		t := s.Place.Sync.Table(state.Table)
		if state.Loading || state.Restored || state.Observed.IsZero() {
			continue // what is there is not known yet
		}
		var found flow.SyncCompared
		err := s.guarded(ctx, t, func(ctx context.Context, t *flow.SyncTable) (err error) {
			found, err = s.compareTable(ctx, t, state)
			return err
		})
		if ctx.Err() != nil {
			return all, trouble, ctx.Err()
		}
		if err != nil {
			trouble[t.Name] = fault.Of(err)
			continue
		}
		all = append(all, found)
	}
	return all, trouble, nil
}

func (s *Side) compareTable(ctx context.Context, t *flow.SyncTable, state replica.TableState) (flow.SyncCompared, error) {
	d, err := s.bound(ctx, t)
	if err != nil {
		return flow.SyncCompared{}, err
	}
	c := &comparer{sight: s.look(t, d.stray), ids: d.ids, hash: maphash.MakeSeed(), found: flow.SyncCompared{Table: t.Name}}
	for outcome, n := range state.Open {
		switch outcome {
		case "":
			c.found.InFlight += n
		case flow.SyncHeld:
			c.found.Held += n
		default:
			c.found.Pending += n
		}
	}
	if err := c.run(ctx); err != nil {
		return c.found, err
	}
	c.found.Drift = c.found.Changed + c.found.Missing + c.found.Added
	return c.found, s.Replica.Compared(ctx, s.Place, c.found)
}

// run looks at each record, and at those that differ once more when the reader has told
// of all that the first look may have seen.
func (c *comparer) run(ctx context.Context) error {
	began := time.Now()
	if err := c.present(ctx); err != nil {
		return err
	}
	if err := c.absent(ctx); err != nil {
		return err
	}
	c.seen = nil
	if len(c.doubtful) == 0 {
		return nil
	}
	if err := c.observedSince(ctx, began); err != nil {
		return err
	}
	for part := range slices.Chunk(c.doubtful, sends) {
		if err := c.judge(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// present reads all that the system has, and notes what differs from what is known.
func (c *comparer) present(ctx context.Context) error {
	switch system := c.System.(type) {
	case connector.Chunker:
		for after := connector.Row(nil); ; {
			chunk, err := system.ReadChunk(ctx, connector.FeedTable{Table: c.table.Name, Key: c.table.Key, Columns: c.asked, IDs: c.ids}, after, most)
			if err == nil {
				err = c.page(ctx, chunk.Rows)
			}
			if after = chunk.Last; err != nil || after == nil {
				return err
			}
		}
	case connector.PageReader:
		for token := ""; ; {
			page, err := system.ReadPage(ctx, connector.Query{Table: c.table.Name, Select: c.all(), Limit: most}, token)
			if err == nil {
				err = c.page(ctx, page.Rows)
			}
			if token = page.Next; err != nil || token == "" {
				return err
			}
		}
	}
	return c.lacks("list its records")
}

func (c *comparer) page(ctx context.Context, rows []connector.Row) error {
	has := make([]seen, len(rows))
	for i, row := range rows {
		has[i] = seen{row: row}
	}
	all, err := c.observed(ctx, has, 0)
	if err != nil {
		return err
	}
	keys := make([][]string, 0, len(all))
	all = slices.DeleteFunc(all, func(o replica.Observed) bool { return len(o.Key) == 0 }) // without a key it is shared with nobody
	for _, o := range all {
		keys = append(keys, o.Key)
		c.seen = append(c.seen, c.sum(o.Key))
	}
	known, err := c.Replica.Known(ctx, c.Place, c.table.Name, keys)
	if err != nil {
		return err
	}
	c.found.Records += int64(len(all))
	for i, k := range known {
		switch {
		case k != nil && k.Refused:
			c.found.Pending++
		case k != nil && k.Open:
		case k == nil, k.Deleted, !c.agrees(k.Values, all[i].Values):
			c.doubt(all[i].Key, &all[i])
		}
	}
	return nil
}

// absent notes the records that the system should have and does not.
func (c *comparer) absent(ctx context.Context) error {
	slices.Sort(c.seen)
	for after := ""; ; {
		keys, last, err := c.Replica.Settled(ctx, c.Place, c.table.Name, after, 5*most)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if _, there := slices.BinarySearch(c.seen, c.sum(key)); !there {
				c.found.Records++
				c.doubt(key, nil)
			}
		}
		if after = last; after == "" {
			return nil
		}
	}
}

func (c *comparer) sum(key []string) uint64 { return maphash.String(c.hash, strings.Join(key, "\x1f")) }

func (c *comparer) doubt(key []string, row *replica.Observed) {
	if len(c.doubtful) < mostSuspects {
		c.doubtful = append(c.doubtful, suspect{key, row})
	}
}

// observedSince waits until the reader of the table has told of all that was there at a
// moment.
func (c *comparer) observedSince(ctx context.Context, at time.Time) error {
	for end := time.Now().Add(settles); time.Now().Before(end); {
		states, err := c.Replica.Status(ctx, c.Place)
		if err != nil {
			return err
		}
		for _, s := range states {
			if s.Table == c.table.Name && s.Observed.After(at.Add(time.Second)) { // clocks of two machines
				return nil
			}
		}
		if !c.sleep(ctx, firstPause) {
			return ctx.Err()
		}
	}
	return fault.New(fault.Unavailable, "sync.unobserved", "the system was not observed for two minutes; what differs is looked at the next time", nil)
}

// judge looks once more at what differs: what is the same as before, and still not what is
// known, nobody told of.
func (c *comparer) judge(ctx context.Context, doubtful []suspect) error {
	keys := make([][]string, len(doubtful))
	for i, d := range doubtful {
		keys[i] = d.key
	}
	rows, err := c.again(ctx, keys)
	if err != nil {
		return err
	}
	known, err := c.Replica.Known(ctx, c.Place, c.table.Name, keys)
	if err != nil {
		return err
	}
	var drift, added []replica.Observed
	for i, d := range doubtful {
		row, k := rows[i], known[i]
		is := k != nil && !k.Deleted
		switch {
		case k != nil && (k.Open || k.Refused), (row == nil) != (d.row == nil), row == nil && !is, row != nil && !c.same(row.Values, d.row.Values),
			row != nil && is && c.agrees(k.Values, row.Values):
			c.found.InFlight++ // it was on its way, or still is
		case row == nil:
			c.found.Missing++
			drift = append(drift, replica.Observed{Key: d.key, Deleted: true, Ours: true, Found: true})
		case is:
			c.found.Changed++
			row.Ours, row.Found = true, true
			drift = append(drift, *row)
		case k != nil && !row.At.IsZero() && row.At.Before(k.Gone):
			// It is older than its deletion: the system was restored, and nobody made it anew.
			c.found.Added++
			row.Ours, row.Found = true, true
			drift = append(drift, *row)
		default:
			added = append(added, *row)
		}
	}
	return c.repair(ctx, drift, added)
}

// repair has what drifted written again, and what was added told to the others.
func (c *comparer) repair(ctx context.Context, drift, added []replica.Observed) error {
	for _, some := range [][]replica.Observed{drift, added} {
		if len(some) == 0 {
			continue
		}
		counts, err := c.Replica.ObserveNow(ctx, c.Place, c.table.Name, some)
		if err != nil {
			return err
		}
		n := counts.Outcomes[flow.SyncExported]
		c.found.Added += n
		c.found.Repaired += n + counts.Outcomes[flow.SyncEcho]
	}
	return nil
}

// again gives what the system has of records now.
func (c *comparer) again(ctx context.Context, keys [][]string) ([]*replica.Observed, error) {
	asked := make([]connector.Row, len(keys))
	for i, key := range keys {
		var err error
		if asked[i], err = keyRow(c.table, key); err != nil {
			return nil, err
		}
	}
	rows, err := c.newest(ctx, asked)
	if err != nil {
		return nil, err
	}
	var has []seen
	for _, r := range rows {
		if r.Row != nil {
			has = append(has, seen{row: r.Row, at: r.At})
		}
	}
	now, err := c.observed(ctx, has, 0)
	if err != nil {
		return nil, err
	}
	out := make([]*replica.Observed, len(rows))
	for i := range rows {
		if rows[i].Row != nil {
			out[i], now = &now[0], now[1:]
		}
	}
	return out, nil
}

// newest reads records with when they were changed, where the system has that.
func (c *comparer) newest(ctx context.Context, keys []connector.Row) ([]connector.VersionedRow, error) {
	switch reader := c.System.(type) {
	case connector.FeedReader:
		return reader.ReadFeed(ctx, connector.FeedTable{Table: c.table.Name, Key: c.table.Key, Columns: c.asked, IDs: c.ids}, keys)
	case connector.Versioned:
		return reader.ReadVersions(ctx, c.table.Name, c.table.Key, keys, c.asked)
	}
	return nil, c.lacks("read records by key")
}

// same reports whether a record was twice the same.
func (c *comparer) same(a, b [][]byte) bool {
	for i, column := range c.table.Columns {
		if (a[i] == nil) != (b[i] == nil) || a[i] != nil && !replica.Same(column.Type, a[i], b[i]) {
			return false
		}
	}
	return true
}

// agrees reports whether a record has what is known of it, as far as something is known.
func (c *comparer) agrees(known []flow.SyncCell, has [][]byte) bool {
	for i, column := range c.table.Columns {
		if i < len(known) && known[i].Value != nil && has[i] != nil && !replica.Same(column.Type, known[i].Value, has[i]) {
			return false
		}
	}
	return true
}
