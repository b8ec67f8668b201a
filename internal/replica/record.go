package replica

import (
	"cmp"
	"slices"

	"patchbay/internal/flow"
)

type (
	// record is what we know of one record. Its registers are what all regions that heard
	// of the same writings agree on; its base is what our own system holds.
	record struct {
		uid   string // the key that it had first, as joinKey makes it
		key   []string
		moved *flow.Version   // the writing that gave it its key; nil: it has its first
		cells []flow.SyncCell // by SyncTable.Columns; of held ones the latest
		// rest has, by column, the other writings of a value that nobody decided between.
		rest map[int][]flow.SyncCell
		gone *flow.Version
		id   string // our system's own; empty: the key
		// version is the newest state of it in our system that was observed or written.
		version int64
		// written is the rev of what is to be written, where that is all that became of it.
		written int64
		inRange bool  // that is in the store as part of an open range,
		ranged  bool  // or will be
		base    *base // nil: our system holds what the registers say
		// rev and seen change with what is pending and with the base: an order knows by them
		// what became of the record since.
		rev, seen int64

		passed map[int][]passing // of a table that was restored, by column

		out     told   // what of it is new, for the other regions,
		past    []told // and what was before, of which that knows nothing
		known   bool   // it is in the store,
		page    *spot  // in a page; nil: in a row of its own,
		waits   bool   // and so is its base
		dirty   bool   // it is not as in the store
		closed  bool   // our system just said what it holds
		touched bool   // by what our system just said
		order   *Order // what is to be written, where that may be settled together with others

		seenAs    int64        // as the store has it
		wasHeld   map[int]bool // the columns whose values were held
		outcome   string       // of what is pending: what it waits for
		code      string       // and why
		decidedBy string       // of what is no longer held: a person
		attempts  int
	}

	// base is what our system holds of a record, where that is not what the registers say.
	base struct {
		absent bool
		key    []string
		moved  *flow.Version // the writing that gave it that key
		cells  []flow.SyncCell
	}

	// told are the writings of our region that the others have not heard of.
	told struct {
		cells []flow.SyncCell // nil, or by column
		gone  *flow.Version
		key   []string // with moved
		moved *flow.Version
	}
)

// alive reports whether the record is there, by its registers: something was written
// later than its deletion, by somebody who may not have known of it.
func (r *record) alive() bool {
	if r.gone == nil {
		return true
	}
	if r.moved != nil && later(*r.moved, *r.gone) > 0 {
		return true
	}
	for i, c := range r.cells {
		if c.Value != nil && later(c.Version, *r.gone) > 0 {
			return true
		}
		for _, c := range r.rest[i] {
			if later(c.Version, *r.gone) > 0 {
				return true
			}
		}
	}
	return false
}

// move gives the record the key of a writing, unless its own is of a later one.
func (r *record) move(key []string, m *flow.Version) bool {
	if r.moved != nil && cmp.Or(later(*m, *r.moved), slices.Compare(key, r.key)) <= 0 {
		return false
	}
	r.key, r.moved = key, m
	return true
}

// absent reports whether our system has no such record.
func (r *record) absent() bool {
	if r.base != nil {
		return r.base.absent
	}
	return !r.alive()
}

// split makes what our system holds a thing of its own, before the registers change.
func (r *record) split() *base {
	if r.base == nil {
		r.base = &base{absent: !r.alive(), key: r.key, moved: r.moved}
		if r.base.absent {
			r.base.cells = make([]flow.SyncCell, len(r.cells))
		} else {
			r.base.cells = slices.Clone(r.cells)
		}
	}
	return r.base
}

// vanish makes our system one that has no such record.
func (r *record) vanish() {
	r.base = &base{absent: true, key: r.key, cells: make([]flow.SyncCell, len(r.cells))}
	r.id = ""
}

// writings are all writings of a column that are not replaced.
func (r *record) writings(i int) []flow.SyncCell {
	if r.cells[i].Value == nil {
		return nil
	}
	return append([]flow.SyncCell{r.cells[i]}, r.rest[i]...)
}

// further begins to tell anew: what is written next does not know what is new so far, so
// that neither replaces the other.
func (r *record) further() {
	if r.out.some() {
		r.past, r.out = append(r.past, r.out), told{}
	}
}

func (t told) some() bool { return t.cells != nil || t.gone != nil || t.moved != nil }

// deltas are what the other regions are told of the record, as it came about.
func (r *record) deltas() []flow.Delta {
	var all []flow.Delta
	for _, t := range r.past {
		all = append(all, r.delta(t))
	}
	if r.out.some() {
		all = append(all, r.delta(r.out))
	}
	return all
}

func (r *record) delta(out told) flow.Delta {
	d := flow.Delta{Key: r.key, Cells: out.cells, Gone: out.gone}
	switch {
	case out.moved != nil:
		d.Key, d.Moved = out.key, out.moved
	case r.moved != nil:
		d.Moved = r.moved
	}
	if d.Cells == nil {
		d.Cells = make([]flow.SyncCell, len(r.cells))
	}
	if d.Moved != nil || joinKey(d.Key) != r.uid {
		d.Was = splitKey(r.uid)
	}
	return d
}

// silent reports whether no region has ever written a column.
func (r *record) silent(i int) bool { return r.cells[i].Value == nil && len(r.rest[i]) == 0 }
