package mirror

import (
	"context"
	"fmt"
	"slices"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/flow"
	"patchbay/internal/replica"
)

type (
	// sight is how one table of the system is looked at: its columns that are what they
	// were when they were allowed, and how its rows become what a replica observes.
	sight struct {
		*Side
		table *flow.SyncTable
		id    string   // column of the system's own ID; "": the key is
		asked []string // allowed columns that the system is asked for, and the ID
		told  []bool   // by SyncTable.Columns: it is among asked
	}

	// seen is one row, or one deletion, as a source tells it.
	seen struct {
		row     connector.Row
		was     connector.Row // the key before
		id      string        // of a deletion
		deleted bool
		at      time.Time
		version int64
		ours    bool
		fill    []bool // as of replica.Observed
		reread  bool
		recover bool
	}
)

const (
	// parentPatience is how long a row waits for the record that it refers to to be
	// observed. What is unknown then is told later, see adopt.
	parentPatience = 5 * time.Second
	// adopts is how often is looked whether such records are known now.
	adopts = time.Second
)

// look makes a sight of a table whose columns in stray are others than were allowed.
func (s *Side) look(t *flow.SyncTable, stray []string) *sight {
	v := &sight{Side: s, table: t, id: s.idOf(t.Name), told: make([]bool, len(t.Columns))}
	for i, c := range t.Columns {
		if !slices.Contains(stray, c.Name) {
			v.told[i] = true
			v.asked = append(v.asked, c.Name)
		}
	}
	if v.id != "" && !slices.Contains(v.asked, v.id) && !slices.Contains(t.Key, v.id) {
		v.asked = append(v.asked, v.id)
	}
	if t.Clock != "" && !slices.Contains(v.asked, t.Clock) {
		v.asked = append(v.asked, t.Clock)
	}
	return v
}

// all are the columns that the system is asked for.
func (v *sight) all() []string { return slices.Concat(v.table.Key, v.asked) }

// observed gives rows as a replica takes them. Keys that are missing are left to it to
// name. Records that they refer to and that are not known yet are waited for so long.
func (v *sight) observed(ctx context.Context, rows []seen, patience time.Duration) ([]replica.Observed, error) {
	all := make([]replica.Observed, 0, len(rows))
	for _, r := range rows {
		o := replica.Observed{ID: r.id, At: r.at, Version: r.version, Deleted: r.deleted, Ours: r.ours, Fill: r.fill, Reread: r.reread, Recover: r.recover}
		if r.row != nil {
			key, known, err := keyOf(v.table, r.row)
			if err != nil {
				return nil, err
			}
			if known {
				o.Key = key
			}
			if v.id != "" {
				o.ID = plain(r.row[v.id])
			}
		}
		if r.was != nil {
			key, known, err := keyOf(v.table, r.was)
			if err != nil {
				return nil, err
			}
			if known {
				o.Was = key
			}
		}
		if !r.deleted {
			values, err := v.values(r.row)
			if err != nil {
				return nil, err
			}
			o.Values = values
			if o.At.IsZero() {
				o.At = v.clock(r.row)
			}
		}
		all = append(all, o)
	}
	return all, v.refer(ctx, all, patience)
}

// values gives the allowed values of a row; a lookup is still our system's ID.
func (v *sight) values(row connector.Row) ([][]byte, error) {
	values := make([][]byte, len(v.table.Columns))
	for i, c := range v.table.Columns {
		x, there := row[c.Name]
		if !there || !v.told[i] {
			continue
		}
		var err error
		if values[i], err = text(x, c.Type); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// clock is when the row says it was changed last; zero: it does not say.
func (v *sight) clock(row connector.Row) time.Time {
	s, _ := row[v.table.Clock].(string)
	at, _ := time.Parse(time.RFC3339Nano, s)
	return at
}

// refer puts, in place of our system's IDs of records, what they are known by everywhere.
// Of a value that names a record which is not known yet nothing is said; the row awaits it.
func (v *sight) refer(ctx context.Context, rows []replica.Observed, patience time.Duration) error {
	for i, c := range v.table.Columns {
		if c.Refers == "" {
			continue
		}
		var ids []string
		for _, o := range rows {
			if o.Values != nil && o.Values[i] != nil && string(o.Values[i]) != "null" {
				ids = append(ids, v.local(o.Values[i], c.Refers))
			}
		}
		if len(ids) == 0 {
			continue
		}
		slices.Sort(ids)
		wait := patience
		if c.Refers == v.table.Name {
			wait = 0 // it may be one of these
		}
		refs, err := v.refs(ctx, c.Refers, slices.Compact(ids), wait)
		if err != nil {
			return err
		}
		for n := range rows {
			o := &rows[n]
			if o.Values == nil || o.Values[i] == nil || string(o.Values[i]) == "null" {
				continue
			}
			id := v.local(o.Values[i], c.Refers)
			if ref, known := refs[id]; known {
				o.Values[i] = []byte(ref)
				continue
			}
			if o.Values[i] = nil; o.Awaits == nil {
				o.Awaits = make([]string, len(v.table.Columns))
			}
			o.Awaits[i] = id
		}
	}
	return nil
}

// local is a lookup's value as the replica knows the ID of the record: the ID itself, or
// the text of its key where the table has no other.
func (v *sight) local(value []byte, table string) string {
	if v.idOf(table) == "" {
		return string(value)
	}
	x, err := strict(value)
	if err != nil {
		return string(value)
	}
	return plain(x)
}

// refs waits a while for records that are not known yet.
func (v *sight) refs(ctx context.Context, table string, ids []string, patience time.Duration) (map[string]string, error) {
	for end := time.Now().Add(v.brief(patience)); ; {
		refs, err := v.Replica.Refs(ctx, v.Place, table, ids)
		if err != nil || len(refs) == len(ids) || time.Now().After(end) || !v.sleep(ctx, 200*time.Millisecond) {
			return refs, err
		}
	}
}

// adopt tells of lookups that named records which were not known when their rows were
// observed, and are now.
func (f *follower) adopt(ctx context.Context) error {
	refers := slices.ContainsFunc(f.table.Columns, func(c flow.SyncColumn) bool { return c.Refers != "" })
	if !refers || time.Since(f.adopted) < f.brief(adopts) {
		return nil
	}
	counts, last, err := f.Replica.Adopt(ctx, f.Place, f.reading, f.orphan)
	if err != nil {
		return fmt.Errorf("telling what records of %s refer to: %w", f.table.Name, err)
	}
	f.adopted, f.orphan = time.Now(), last
	f.done.add(0, counts)
	return nil
}
