package mirror

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/replica"
)

// looks is how often the columns of a system are compared with those that were allowed.
const looks = 5 * time.Second

// drift is how the columns of a table differ from what they were when they were allowed.
type drift struct {
	stray []string          // allowed names that are other columns now, or none
	ids   map[string]string // of allowed columns and the key, as they were allowed
	fresh []string          // columns that came since: they cross nowhere until somebody allows them
}

// bound compares the columns of the system with those that were allowed, by the identity
// that the system gives them. A table that was never looked at is bound as it is.
func (s *Side) bound(ctx context.Context, t *flow.SyncTable) (d drift, err error) {
	system, ok := s.System.(connector.Identities)
	if !ok {
		return d, nil // names are all it has
	}
	is, err := system.Identities(ctx, t.Name)
	if err != nil {
		return d, fmt.Errorf("looking at the columns of %s: %w", t.Name, err)
	}
	was, err := s.Replica.Bindings(ctx, s.Place, t.Name)
	if err != nil {
		return d, err
	}
	if len(was) == 0 {
		for _, c := range is {
			was = append(was, replica.Bound{Column: c.Column, ID: c.ID, Type: c.Type})
		}
		if err := s.Replica.Bind(ctx, s.Place, t.Name, was); err != nil {
			return d, err
		}
	}
	return compare(t, was, is)
}

func compare(t *flow.SyncTable, was []replica.Bound, is []connector.Identity) (d drift, err error) {
	known, there := map[string]string{}, map[string]string{}
	for _, b := range was {
		known[b.Column] = b.ID
	}
	for _, c := range is {
		there[c.Column] = c.ID
		if _, before := known[c.Column]; !before {
			d.fresh = append(d.fresh, c.Column)
		}
	}
	d.ids = map[string]string{}
	for _, name := range append(columnsOf(t), t.Key...) {
		if known[name] != "" {
			d.ids[name] = known[name]
		}
	}
	for _, name := range columnsOf(t) {
		if id, exists := there[name]; !exists || known[name] != id {
			d.stray = append(d.stray, name)
		}
	}
	for _, name := range t.Key {
		if id, exists := there[name]; !exists || known[name] != id {
			return d, fault.New(fault.Conflict, "sync.key_changed", "the key "+name+" of "+t.Name+" is another column than the one that was allowed; put it back, or allow it again: patchbay resume", nil)
		}
	}
	return d, nil
}

// watch reports how columns differ, and whether the sight of the table is still right.
func (f *follower) watch(ctx context.Context) error {
	if time.Since(f.looked) < f.brief(looks) {
		return nil
	}
	d, err := f.bound(ctx, f.table)
	if err != nil {
		return err
	}
	f.looked = time.Now()
	f.report(d)
	if !slices.Equal(d.stray, f.stray) {
		return fault.New(fault.Unavailable, "sync.columns", "columns of "+f.table.Name+" are others than a moment ago", nil)
	}
	return nil
}

// report says which columns do not cross, and why.
func (f *follower) report(d drift) {
	name := f.table.Name + " columns"
	switch {
	case len(d.stray) > 0:
		f.done.trouble(name, fault.New(fault.Conflict, "sync.column_changed",
			"not sent, because other columns than those that were allowed have these names now: "+strings.Join(d.stray, ", "), nil))
	case len(d.fresh) > 0:
		f.done.trouble(name, fault.New(fault.Conflict, "sync.column_new", "columns came that nobody has allowed; they are not sent: "+strings.Join(d.fresh, ", "), nil))
	default:
		f.done.trouble(name, nil)
	}
}
