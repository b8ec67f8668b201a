package mirror

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/replica"
)

type (
	// scope is what is read of a table, as it is kept beside the cursor.
	scope struct {
		Allowed []string `json:"allowed"` // columns of the plan
		Asked   []string `json:"asked"`   // that the system was asked for
		Loaded  []string `json:"loaded"`  // allowed ones of which all that was there has been read
	}

	// load is how far the reading of what is there has come, as it is kept beside the cursor.
	load struct {
		After connector.Row `json:"after,omitempty"` // key that was read last
		// Again: the source lost its place, so records that we know may be gone from it.
		Again bool `json:"again,omitempty"`
		// Emptied: it told that all of them were removed.
		Emptied bool `json:"emptied,omitempty"`
		// Recover: our own database was restored, see recover.go.
		Recover bool `json:"recover,omitempty"`
		// Of are the columns whose values are read; nil: all that are allowed.
		Of []string `json:"of,omitempty"`
		// Since is when the source was followed last, before it lost its place: what is read
		// again and differs was changed later.
		Since time.Time `json:"since,omitzero"`
	}
)

// allow binds the columns that the plan newly allows to what they are now, and has the
// values of those forgotten that it does not allow any more.
func (s *Side) allow(ctx context.Context, t *flow.SyncTable, before []string) error {
	now := columnsOf(t)
	fresh := without(now, before)
	if len(fresh)+len(without(before, now)) == 0 {
		return nil
	}
	var found []replica.Bound
	if system, ok := s.System.(connector.Identities); ok {
		is, err := system.Identities(ctx, t.Name)
		if err != nil {
			return fmt.Errorf("looking at the columns of %s: %w", t.Name, err)
		}
		for _, c := range is {
			if slices.Contains(fresh, c.Column) {
				found = append(found, replica.Bound{Column: c.Column, ID: c.ID, Type: c.Type})
			}
		}
	}
	return s.Replica.Allow(ctx, s.Place, t.Name, found)
}

// scoped reads what was kept of the scope; false: the table was never read.
func scoped(text []byte) (was scope, known bool, err error) {
	if len(text) == 0 {
		return was, false, nil
	}
	if err := json.Unmarshal(text, &was); err != nil {
		return was, false, fault.New(fault.Bug, "sync.progress", "what is read of a table cannot be understood", err)
	}
	return was, true, nil
}

// widen makes the progress what the plan's columns ask for: a column that is newly allowed,
// with a backfill, has what is there read beside the changes, from wherever that reading
// was interrupted. A source that has to be asked is asked for other columns only from the beginning.
func (f *follower) widen(was scope, known bool) error {
	f.scope = scope{Allowed: columnsOf(f.table), Asked: f.asked, Loaded: within(was.Loaded, f.telling())}
	p := &f.reading.Progress
	now, loading, err := f.progress()
	if err != nil || !known {
		return err
	}
	var wanted []string
	for i, c := range f.table.Columns {
		if f.told[i] && c.Backfill && !slices.Contains(f.scope.Loaded, c.Name) {
			wanted = append(wanted, c.Name)
		}
	}
	_, tails := f.System.(tailing)
	switch {
	case !tails && p.Cursor != "" && !same(was.Asked, f.asked):
		// Of the columns that are no backfill, what has not changed since is nothing new.
		of := slices.Concat(f.scope.Loaded, wanted)
		if loading || now.Of != nil {
			of = append(of, within(now.Of, f.telling())...)
		}
		p.Cursor, p.Load = "", kept(load{Again: true, Of: of})
	case loading && (now.Of == nil || len(without(wanted, now.Of)) == 0):
	case loading:
		now.After, now.Of = nil, append(within(now.Of, f.telling()), wanted...)
		p.Load = kept(now)
	case len(wanted) > 0 && tails:
		p.Load = kept(load{Of: wanted})
	case len(wanted) > 0:
		p.Cursor, p.Load = "", kept(load{Again: true, Of: slices.Concat(f.scope.Loaded, wanted)})
	}
	return nil
}

// telling are the allowed columns that are what they were when they were allowed.
func (v *sight) telling() (names []string) {
	for i, c := range v.table.Columns {
		if v.told[i] {
			names = append(names, c.Name)
		}
	}
	return names
}

// loaded notes that what is there of columns has been read.
func (f *follower) loaded(now load) {
	of := now.Of
	if of == nil {
		of = f.telling()
	}
	f.scope.Loaded = append(f.scope.Loaded, without(of, f.scope.Loaded)...)
}

// filling says, by column, of which all that is there is read, or has been.
func (f *follower) filling(now load, also []string) []bool {
	fill := make([]bool, len(f.table.Columns))
	for i, c := range f.table.Columns {
		fill[i] = !f.told[i] || now.Of == nil || slices.Contains(now.Of, c.Name) || slices.Contains(also, c.Name)
	}
	return fill
}

// next is a progress with the scope as it is.
func (f *follower) next(cursor string, loading []byte) replica.Progress {
	return replica.Progress{Cursor: cursor, Load: loading, Scope: kept(f.scope)}
}

// without are the names of all that are not among others.
func without(all, others []string) (names []string) {
	for _, name := range all {
		if !slices.Contains(others, name) {
			names = append(names, name)
		}
	}
	return names
}

// within are the names of all that are among others.
func within(all, others []string) []string { return without(all, without(all, others)) }

func same(a, b []string) bool { return len(without(a, b))+len(without(b, a)) == 0 }

func kept(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("mirror: a key that cannot be encoded: " + err.Error()) // it came from JSON texts
	}
	return b
}
