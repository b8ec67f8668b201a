package replica

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"patchbay/internal/flow"
)

// steps is how long one history is; rapid.checks of them are tried.
const steps = 600

func TestRegionsConvergeToWhatTheWritingsSay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, true)
		for range steps {
			w.step()
		}
		w.calm()
		everything := map[*writing]bool{}
		for _, m := range w.model.all {
			everything[m] = true
		}
		for _, r := range w.regions {
			for _, key := range slices.Sorted(maps.Keys(w.model.entities)) {
				w.judge(r, key, w.model.truth(everything, w.model.entities[key]))
			}
			for _, rec := range r.shelf.order {
				if rec.base != nil {
					w.Fatalf("%s: %q is not settled", r.name, rec.uid)
				}
			}
		}
	})
}

// judge compares what a region knows and holds of a record with what must be.
func (w *world) judge(r *region, key string, want truth) {
	rec := r.shelf.byUID[key]
	if want.cells == [3]*writing{} {
		if rec != nil {
			w.Fatalf("%s knows %s, which was never written", r.name, key)
		}
		return
	}
	if rec == nil {
		w.Fatalf("%s does not know %s", r.name, key)
	}
	if rec.alive() != want.alive {
		w.Fatalf("%s: %s is there: %v", r.name, key, rec.alive())
	}
	at := rec.uid
	if want.moved != nil {
		at = want.moved.value
	}
	row := r.rows[r.keyed(at)]
	if (row != nil) != want.alive {
		w.Fatalf("%s has a row %s: %v", r.name, at, row != nil)
	}
	for i, m := range want.cells {
		if m == nil {
			continue
		}
		if got := string(rec.cells[i].Value); got != m.value {
			w.written(key, i)
			w.Fatalf("%s: %s of %s is %s, not %s", r.name, columns[i].Name, key, got, m.value)
		}
		if row != nil && row.values[i] != m.value {
			w.Fatalf("%s holds %s in %s of %s, not %s", r.name, row.values[i], columns[i].Name, key, m.value)
		}
	}
	if len(want.held) != 1 || len(rec.rest[2]) > 0 {
		w.written(key, 2)
		w.Fatalf("%s: %s has %v after the decision, alive %v: %v %v", r.name, key, want.held, rec.alive(), rec.cells[2], rec.rest)
	}
}

// written tells of all writings of a value, and of the deletions of the record.
func (w *world) written(key string, column int) {
	for _, m := range w.model.all {
		if m.of.key == key && (m.column == column || m.column == isGone) {
			w.Logf("%d: %s by %s at %d, its %dth, %d of a, knows %v", m.column, m.value, m.region, m.stamp, m.nth, m.ofA, slices.Sorted(func(y func(string) bool) {
				for k := range m.knows {
					if !y(k.value) {
						return
					}
				}
			}))
		}
	}
}

func TestRegionsAgreeWhateverPeopleDo(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, false)
		for range steps {
			w.step()
		}
		w.calm()
		for _, r := range w.regions[1:] {
			first := w.regions[0]
			if a, b := slices.Sorted(maps.Keys(first.shelf.byUID)), slices.Sorted(maps.Keys(r.shelf.byUID)); !slices.Equal(a, b) {
				w.Fatalf("%q and %q", a, b)
			}
			for _, rec := range r.shelf.order {
				w.agree(first.name, r.name, first.shelf.byUID[rec.uid], rec)
			}
		}
		for _, r := range w.regions {
			for _, rec := range r.shelf.order {
				w.holds(r, rec)
			}
		}
	})
}

func (w *world) agree(a, b string, x, y *record) {
	if x.alive() != y.alive() || !slices.Equal(x.key, y.key) {
		w.Fatalf("%s and %s: %q is there %v as %v, %v as %v", a, b, x.uid, x.alive(), x.key, y.alive(), y.key)
	}
	for i := range x.cells {
		if !Same(flow.String, x.cells[i].Value, y.cells[i].Value) {
			w.Fatalf("%s and %s: %s of %q is %s and %s", a, b, columns[i].Name, x.uid, x.cells[i].Value, y.cells[i].Value)
		}
	}
}

// holds compares the system of a region with what is known there. Only a key that another record
// has may keep a record from being written.
func (w *world) holds(r *region, rec *record) {
	if rec.base != nil {
		if r.keyed(rec.key[0]) == "" {
			w.Fatalf("%s: %q is not settled: %v, base %v", r.name, rec.uid, rec.alive(), rec.base)
		}
		return
	}
	id := r.keyed(rec.key[0])
	row := r.rows[id]
	if !rec.alive() {
		if r.ids && r.rows[rec.id] != nil {
			w.Fatalf("%s still has %q", r.name, rec.uid)
		}
		return
	}
	if row == nil || r.ids && id != rec.id {
		w.Fatalf("%s has no %q", r.name, rec.uid)
	}
	for i, c := range rec.cells {
		if row.values[i] != string(c.Value) {
			w.Fatalf("%s holds %s in %s of %q, not %s", r.name, row.values[i], columns[i].Name, rec.uid, c.Value)
		}
	}
}
