package mirror

import (
	"context"
	"crypto/md5" //nolint:gosec // a digest that every PostgreSQL computes alike; nobody chooses the values to deceive it
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/flow"
	"patchbay/internal/replica"
)

type (
	// comparer compares one table of the system with what the regions agree on.
	comparer struct {
		*sight
		found flow.SyncCompared
	}

	// suspect is a record of which the system has something else than is known.
	suspect struct {
		key []string
		row *replica.Observed // nil: the system has no such record
	}
)

const (
	// perBucket is about how many records are compared at a time, and mostSuspects how many
	// of a table are looked at one by one in one go; the next comparison sees the others.
	perBucket    = 2000
	mostSuspects = 5000
	// settles is how long the reader may need to have told of all that the first look saw.
	settles = 2 * time.Minute
)

// Compare compares the system, table by table, with what the regions agree on, and has
// what somebody changed behind our back written again. What is on its way, held or not
// observed yet is no difference.
func (s *Side) Compare(ctx context.Context) ([]flow.SyncCompared, error) {
	var all []flow.SyncCompared
	states, err := s.Replica.Status(ctx, s.Place)
	if err != nil {
		return nil, err
	}
	for _, state := range states {
		t := s.Place.Sync.Table(state.Table)
		if state.Loading || state.Observed.IsZero() {
			continue // what is there is not known yet
		}
		d, err := s.bound(ctx, t)
		if err != nil {
			return all, err
		}
		c := &comparer{sight: s.look(t, d.stray), found: flow.SyncCompared{Table: t.Name}}
		if err := c.table(ctx, int(state.Records/perBucket)+1); err != nil {
			return all, fmt.Errorf("comparing %s: %w", t.Name, err)
		}
		if err := s.Replica.Compared(ctx, s.Place, c.found); err != nil {
			return all, err
		}
		all = append(all, c.found)
	}
	return all, nil
}

// table looks at each record by its digest, and at those that differ once more when the
// reader has told of all that the first look may have seen.
func (c *comparer) table(ctx context.Context, buckets int) error {
	began := time.Now()
	var doubtful []suspect
	for n := range buckets {
		entries, err := c.Replica.Entries(ctx, c.Place, c.sight.table.Name, nil, buckets, n)
		if err != nil {
			return err
		}
		for part := range slices.Chunk(c.settled(entries), sends) {
			differ, err := c.differing(ctx, part)
			if err != nil {
				return err
			}
			if doubtful = append(doubtful, differ...); len(doubtful) > mostSuspects {
				doubtful = doubtful[:mostSuspects]
			}
		}
	}
	if len(doubtful) == 0 {
		return nil
	}
	if err := c.observedSince(ctx, began); err != nil {
		return err
	}
	for part := range slices.Chunk(doubtful, sends) {
		if err := c.judge(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// settled are the records that the system should hold as they are known.
func (c *comparer) settled(entries []replica.Entry) (all []replica.Entry) {
	for _, e := range entries {
		switch {
		case e.Open && e.Outcome == flow.SyncHeld:
			c.found.Held++
		case e.Open:
			c.found.InFlight++
		case !e.Deleted:
			all = append(all, e)
		}
	}
	c.found.Records += int64(len(entries))
	return all
}

// differing reads records and gives those whose digest is another than is known.
func (c *comparer) differing(ctx context.Context, entries []replica.Entry) (all []suspect, err error) {
	keys := make([][]string, len(entries))
	for i, e := range entries {
		keys[i] = e.Key
	}
	rows, err := c.read(ctx, keys)
	if err != nil {
		return nil, err
	}
	for i, e := range entries {
		if rows[i] == nil || digest(e.Key, rows[i].Values) != e.Digest {
			all = append(all, suspect{e.Key, rows[i]})
		}
	}
	return all, nil
}

// read gives what the system has of records now.
func (c *comparer) read(ctx context.Context, keys [][]string) ([]*replica.Observed, error) {
	asked := make([]connector.Row, len(keys))
	for i, key := range keys {
		var err error
		if asked[i], err = keyRow(c.sight.table, key); err != nil {
			return nil, err
		}
	}
	reader, ok := c.System.(connector.KeyReader)
	if !ok {
		return nil, c.lacks("read records by key")
	}
	rows, err := reader.ReadByKey(ctx, c.sight.table.Name, c.sight.table.Key, asked, c.all())
	if err != nil {
		return nil, err
	}
	var found []seen
	for _, row := range rows {
		if row != nil {
			found = append(found, seen{row: row})
		}
	}
	now, err := c.observed(ctx, found, 0)
	if err != nil {
		return nil, err
	}
	out := make([]*replica.Observed, len(rows))
	for i := range rows {
		if rows[i] != nil {
			out[i], now = &now[0], now[1:]
		}
	}
	return out, nil
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
			if s.Table == c.sight.table.Name && s.Observed.After(at.Add(time.Second)) { // clocks of two machines
				return nil
			}
		}
		if !c.sleep(ctx, firstPause) {
			return ctx.Err()
		}
	}
	return c.lacks("be observed within two minutes; its differences are looked at the next time")
}

// judge looks once more at what differs: what is the same as before, and still not what is
// known, was changed behind our back.
func (c *comparer) judge(ctx context.Context, doubtful []suspect) error {
	keys := make([][]string, len(doubtful))
	for i, d := range doubtful {
		keys[i] = d.key
	}
	rows, err := c.read(ctx, keys)
	if err != nil {
		return err
	}
	var drift []replica.Observed
	for i, d := range doubtful {
		account, err := c.Replica.Account(ctx, c.Place, c.sight.table.Name, d.key)
		if err != nil {
			return err
		}
		switch {
		case account.Deleted, account.Outcome != flow.SyncApplied:
			c.found.InFlight++
		case rows[i] == nil && d.row == nil:
			drift = append(drift, replica.Observed{Key: d.key, ID: account.ID, Deleted: true, Ours: true})
		case rows[i] == nil || d.row == nil || !c.same(rows[i].Values, d.row.Values):
			c.found.InFlight++
		case !c.agrees(account.Values, rows[i].Values):
			o := *rows[i]
			o.Ours = true // what the system holds, and nobody's writing
			drift = append(drift, o)
		}
	}
	c.found.Drift += int64(len(drift))
	if len(drift) == 0 {
		return nil
	}
	if _, err := c.Replica.ObserveNow(ctx, c.Place, c.sight.table.Name, drift); err != nil {
		return err
	}
	c.found.Repaired += int64(len(drift))
	return nil
}

// same reports whether a record was twice the same.
func (c *comparer) same(a, b [][]byte) bool {
	for i, column := range c.sight.table.Columns {
		if (a[i] == nil) != (b[i] == nil) || a[i] != nil && !replica.Same(column.Type, a[i], b[i]) {
			return false
		}
	}
	return true
}

// agrees reports whether a record has what is known of it, as far as something is known.
func (c *comparer) agrees(known []flow.SyncCell, has [][]byte) bool {
	for i, column := range c.sight.table.Columns {
		if i < len(known) && known[i].Value != nil && has[i] != nil && !replica.Same(column.Type, known[i].Value, has[i]) {
			return false
		}
	}
	return true
}

// digest is of one record what package replica computes in SQL.
func digest(key []string, values [][]byte) string {
	var b strings.Builder
	b.WriteString(strings.Join(key, "\x1f") + "\x1e")
	for i, v := range values {
		if i > 0 {
			b.WriteByte('\x1f')
		}
		b.Write(v)
	}
	sum := md5.Sum([]byte(b.String())) //nolint:gosec // see the import
	text := strings.TrimLeft(hex.EncodeToString(sum[:])[:15], "0")
	if text == "" {
		return "0"
	}
	return text
}
