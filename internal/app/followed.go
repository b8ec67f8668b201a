package app

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
	"patchbay/starters"
)

const (
	toldAtOnce = 1000
	// toldWithin is how long a reader waits for the next change, and says nothing.
	toldWithin = time.Second
	rangeSize  = 1000
)

type (
	// tails opens streams of changes for flows that react to them.
	tails struct {
		systems *systems
		store   *store.Store
	}

	// following is a stream as events.
	following struct {
		connection string
		feed       connector.Feed
		stream     connector.Stream
		ranges     connector.Chunker
	}
)

// Follows implements starters.Tails.
func (t tails) Follows(ctx context.Context, plan *flow.Plan, connection string) (bool, error) {
	system, err := t.systems.open(ctx, plan, connection)
	if err != nil {
		return false, err
	}
	_, ok := system.(connector.Tailer)
	return ok, nil
}

// Follow opens a feed with the columns that the plan has a use for.
func (t tails) Follow(ctx context.Context, plan *flow.Plan, connection, after string) (starters.Following, error) {
	system, err := t.systems.open(ctx, plan, connection)
	if err != nil {
		return nil, err
	}
	tailer, tails := system.(connector.Tailer)
	ranges, reads := system.(connector.Chunker)
	if !tails || !reads {
		return nil, lacking(connection, "tell what changes")
	}
	f := &following{connection: connection, ranges: ranges}
	if f.feed.Name, err = t.name(ctx, plan.Flow, connection); err != nil {
		return nil, err
	}
	for _, s := range subscriptions(plan, connection) {
		key, err := t.systems.key(ctx, connection, s.Table)
		if err != nil {
			return nil, err
		}
		f.feed.Tables = append(f.feed.Tables, connector.FeedTable{Table: s.Table, Key: key, Columns: s.Columns})
	}
	if after == "" { // what it kept is read anew
		if err := tailer.DropFeed(ctx, f.feed.Name); err != nil {
			return nil, fmt.Errorf("dropping the feed of %s at %s: %w", plan.Flow, connection, err)
		}
	}
	if f.stream, err = tailer.Tail(ctx, f.feed, after); err != nil {
		return nil, fmt.Errorf("following %s for %s: %w", connection, plan.Flow, err)
	}
	return f, nil
}

// Unfollow implements starters.Tails. The flow may be gone; a connection that is gone too
// leaves its feed to whoever took it away.
func (t tails) Unfollow(ctx context.Context, name, connection string) error {
	c, err := t.systems.connections.Connection(ctx, connection)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	o, err := t.systems.shared(c)
	if err != nil {
		return err
	}
	tailer, ok := o.system.(connector.Tailer)
	if !ok {
		return nil
	}
	feed, err := t.name(ctx, name, connection)
	if err != nil {
		return err
	}
	return tailer.DropFeed(ctx, feed)
}

// name tells the feeds of a system apart, which other installations follow too.
func (t tails) name(ctx context.Context, name, connection string) (string, error) {
	ours, err := t.store.Setting(ctx, "feeds", func() []byte { return []byte(rand.Text()) })
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(string(ours) + "\x00" + name + "\x00" + connection))
	return "events_" + hex.EncodeToString(sum[:12]), nil
}

// key gives the columns that identify a record of a table.
func (s *systems) key(ctx context.Context, connection, table string) ([]string, error) {
	c, err := s.connections.Connection(ctx, connection)
	if err != nil {
		return nil, err
	}
	keys := c.Tables[table].Keys
	if len(keys) == 0 {
		return nil, fault.New(fault.Rejected, "connector.key", "table "+table+" of connection "+connection+" declares no key, by which its records are known", nil)
	}
	return keys[0], nil
}

// Tables implements starters.Following.
func (f *following) Tables() []string {
	names := make([]string, len(f.feed.Tables))
	for i, t := range f.feed.Tables {
		names[i] = t.Table
	}
	return names
}

// Next implements starters.Following. A truncate is of no record, and no event.
func (f *following) Next(ctx context.Context) (starters.Told, error) {
	got, err := f.stream.Next(ctx, toldAtOnce, toldWithin)
	if err != nil {
		return starters.Told{}, fmt.Errorf("following %s: %w", f.connection, err)
	}
	out := starters.Told{Position: got.Position}
	for _, c := range got.Changes {
		t := f.table(c.Table)
		if c.Op == "truncate" || t == nil {
			continue
		}
		e := flow.Occurrence{ID: c.ID, Connection: f.connection, Table: c.Table, Record: recordOf(t.Key, c.Row), Change: flow.ChangeType(c.Op), Version: c.Version, At: c.At, Origin: c.Origin}
		if c.Was != nil { // it is another record now
			gone := e
			gone.ID, gone.Record, gone.Change = e.ID+"-", recordOf(t.Key, c.Was), flow.Deleted
			out.Events = append(out.Events, gone)
			e.Change = flow.Created
		}
		switch {
		case e.Change == flow.Deleted:
		case c.Unreadable != nil:
			e.Unreadable = fault.Of(c.Unreadable)
		case len(c.Missing) > 0: // it is read back, so that what is told twice is the same
			e.Trimmed = true
		default:
			e.After, e.Whole = c.Row, complete(t, c.Row)
		}
		out.Events = append(out.Events, e)
	}
	return out, nil
}

func (f *following) table(name string) *connector.FeedTable {
	for i := range f.feed.Tables {
		if f.feed.Tables[i].Table == name {
			return &f.feed.Tables[i]
		}
	}
	return nil
}

func complete(t *connector.FeedTable, row connector.Row) bool {
	return !slices.ContainsFunc(t.Columns, func(c string) bool { _, there := row[c]; return !there })
}

// Confirm implements starters.Following.
func (f *following) Confirm(ctx context.Context, position string) error {
	return f.stream.Confirm(ctx, position)
}

// Reached implements starters.Following.
func (f *following) Reached(position, mark string) bool { return f.ranges.Reached(position, mark) }

// Range implements starters.Following.
func (f *following) Range(ctx context.Context, table string, after flow.Row) (starters.Range, error) {
	t := f.table(table)
	part, err := f.ranges.ReadChunk(ctx, *t, after, rangeSize)
	if err != nil {
		return starters.Range{}, fmt.Errorf("reading %s.%s: %w", f.connection, table, err)
	}
	out := starters.Range{Last: part.Last, High: part.High}
	now := time.Now()
	for i, row := range part.Rows {
		e := flow.Occurrence{Connection: f.connection, Table: table, Record: recordOf(t.Key, row), Version: part.Version, At: now, After: row, Whole: true}
		if e.ID, err = swept(e, row); err != nil {
			return out, err
		}
		if why := part.Unreadable[i]; why != nil {
			e.After, e.Whole, e.Unreadable = nil, false, fault.Of(why)
		}
		out.Events = append(out.Events, e)
	}
	return out, nil
}

// Close implements starters.Following.
func (f *following) Close() { _ = f.stream.Close(context.Background()) } // whoever follows next finds out

// recordOf names a record by its key: a value as a text, several as a list.
func recordOf(key []string, row connector.Row) string {
	if len(key) == 1 {
		return fmt.Sprint(row[key[0]])
	}
	values := make([]any, len(key))
	for i, k := range key {
		values[i] = row[k]
	}
	body, _ := json.Marshal(values) // it came out of JSON
	return string(body)
}

// keyOf is what recordOf made a name of.
func keyOf(key []string, record string) (connector.Row, error) {
	row := connector.Row{}
	if len(key) == 1 {
		row[key[0]] = record
		return row, nil
	}
	var values []any
	if err := json.Unmarshal([]byte(record), &values); err != nil || len(values) != len(key) {
		return nil, fault.New(fault.Bug, "feed.record", "the name of a record is not one that its key makes", err)
	}
	for i, k := range key {
		row[k] = values[i]
	}
	return row, nil
}
