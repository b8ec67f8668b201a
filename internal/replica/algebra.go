package replica

import (
	"slices"
	"time"

	"patchbay/internal/flow"
)

type (
	// algebra decides for one table in one region. It does no I/O, reads no clock and
	// changes nothing but the record that it is given.
	algebra struct {
		region string
		table  *flow.SyncTable
		rules  []flow.ConflictRule // by column
		skew   int64               // microseconds
		max    int                 // bytes of the values of a record; 0: any
		first  map[string]int64    // what the first writing of a value has seen
	}

	// verdict is what became of a writing that met another.
	verdict int

	// clash is a conflict that a rule decided.
	clash struct {
		column       int
		ours, theirs flow.SyncCell
		won          bool // theirs is the greater
	}

	// standing says what a record waits for in our system.
	standing int
)

// What becomes of a writing that comes to a register.
const (
	knew   verdict = iota // it was known
	newer                 // its author knew what was there
	agreed                // neither author knew of the other; they wrote the same
	won                   // neither knew of the other; the rule prefers it,
	lost                  // or does not,
	held                  // or leaves it to a person
)

// How our system holds a record.
const (
	settled  standing = iota // as the registers say
	pending                  // something is to be written
	withheld                 // nothing is, but values are held
)

func newAlgebra(p Place, t *flow.SyncTable) *algebra {
	a := &algebra{region: p.Region, table: t, skew: p.Sync.Skew.Microseconds(), max: p.Sync.MaxRow, first: map[string]int64{p.Region: 1}}
	for _, c := range t.Columns {
		a.rules = append(a.rules, p.Sync.Rule(t.Name, c.Name))
	}
	return a
}

// merge brings a writing to the register of a column.
func (a *algebra) merge(r *record, i int, theirs flow.SyncCell) (verdict, *clash) {
	ours := r.cells[i]
	rule := a.rules[i]
	if ours.Value == nil {
		if erased := ours.Version; !covers(theirs.Version.Seen, erased.Seen) {
			if later(theirs.Version, erased) < 0 {
				return knew, nil // older than what was there before it was deleted
			}
			theirs.Version.Seen = join(theirs.Version.Seen, erased.Seen)
		}
		r.cells[i] = theirs
		return newer, nil
	}
	if rule.Rule == flow.RuleHold || len(r.rest[i]) > 0 {
		return a.hold(r, i, theirs), nil
	}
	kept, v := Merge(rule, a.table.Columns[i].Type, ours, theirs)
	r.cells[i] = kept
	if v == won || v == lost {
		return v, &clash{column: i, ours: ours, theirs: theirs, won: v == won}
	}
	return v, nil
}

// Merge gives what remains of two writings of one value, by a rule that decides. Which
// it is depends on the rule's order alone, so that regions which met the writings in
// another order have the same; what they have seen tells a conflict from an update.
func Merge(rule flow.ConflictRule, t flow.Type, ours, theirs flow.SyncCell) (flow.SyncCell, verdict) {
	greater := order(rule, theirs, ours)
	known, knows := covers(ours.Version.Seen, theirs.Version.Seen), covers(theirs.Version.Seen, ours.Version.Seen)
	switch {
	case greater <= 0 && known:
		return ours, knew
	case greater > 0 && knows:
		return theirs, newer
	}
	kept, v := ours, lost
	if greater > 0 {
		kept, v = theirs, won
	}
	if Same(t, ours.Value, theirs.Value) {
		v = agreed
	}
	kept.Version.Seen = join(ours.Version.Seen, theirs.Version.Seen)
	return kept, v
}

// hold brings a writing to a register whose conflicts a person decides: all writings are
// kept that no other one has seen.
func (a *algebra) hold(r *record, i int, theirs flow.SyncCell) verdict {
	kept := []flow.SyncCell{theirs}
	for _, c := range r.writings(i) {
		if covers(c.Version.Seen, theirs.Version.Seen) {
			return knew
		}
		if !covers(theirs.Version.Seen, c.Version.Seen) {
			kept = append(kept, c)
		}
	}
	slices.SortFunc(kept, func(x, y flow.SyncCell) int { return order(flow.ConflictRule{}, y, x) })
	r.cells[i] = kept[0]
	if len(kept) == 1 {
		delete(r.rest, i)
		return newer
	}
	if r.rest == nil {
		r.rest = map[int][]flow.SyncCell{}
	}
	r.rest[i] = kept[1:]
	if a.held(r, i) {
		return held
	}
	return agreed
}

// held reports whether the values of a column wait for a person.
func (a *algebra) held(r *record, i int) bool {
	for _, c := range r.rest[i] {
		if !Same(a.table.Columns[i].Type, c.Value, r.cells[i].Value) {
			return true
		}
	}
	return false
}

// weigh says what is to be done about our system. A value of the base that is equal but of another
// writing is that writing from now on: there is nothing to write.
func (a *algebra) weigh(r *record) standing {
	b := r.base
	if b == nil {
		return settled
	}
	alive, withholds, equal := r.alive(), false, true
	switch {
	case alive == b.absent:
		return pending
	case !alive:
		return settled
	}
	if slices.Equal(b.key, r.key) {
		b.moved = r.moved
	} else {
		equal = false
	}
	for i := range r.cells {
		switch {
		case len(r.rest[i]) > 0 && a.held(r, i):
			withholds = true
		case r.cells[i].Value == nil:
		case Same(a.table.Columns[i].Type, b.cells[i].Value, r.cells[i].Value):
			b.cells[i] = r.cells[i]
		default:
			equal = false
		}
	}
	switch {
	case !equal:
		return pending
	case withholds:
		return withheld
	}
	return settled
}

// close weighs a record whose base is what our system just said or took, and forgets a base
// that is what the registers say. Of one that only the registers came to agree with the base
// stays, until our system is asked: an order may be on its way to it.
func (a *algebra) close(r *record) standing {
	s := a.weigh(r)
	if s == settled {
		r.base = nil
	}
	return s
}

// receive brings what another region told to a record. It gives one outcome for all of
// it, "" when something is to be written here or nothing is worth a name, the conflicts that the rules
// decided, and whether anything changed.
func (a *algebra) receive(r *record, d flow.Delta) (out flow.SyncOutcome, clashes []clash, changed bool) {
	fresh := r.base == nil
	r.split()
	out = flow.SyncStale
	for i, c := range d.Cells {
		if c.Value == nil {
			continue
		}
		v, c := a.merge(r, i, c)
		if c != nil {
			clashes = append(clashes, *c)
		}
		changed = changed || v != knew
		switch v {
		case held:
			out = flow.SyncHeld
		case lost:
			if out == flow.SyncStale || out == flow.SyncUnchanged {
				out = flow.SyncLost
			}
		case agreed:
			if out == flow.SyncStale {
				out = flow.SyncUnchanged
			}
		case newer, won:
			if out != flow.SyncHeld {
				out = ""
			}
		case knew:
		}
	}
	if d.Gone != nil {
		switch ours := r.gone; {
		case ours == nil || later(*d.Gone, *ours) > 0:
			gone := *d.Gone
			if ours != nil {
				gone.Seen = join(gone.Seen, ours.Seen)
			}
			was := r.alive()
			if r.gone = &gone; was && !r.alive() {
				out = ""
			} else if was && out == flow.SyncStale {
				out = flow.SyncLost // something was written later
			}
			changed = true
		case !covers(ours.Seen, d.Gone.Seen):
			gone := *ours
			gone.Seen = join(ours.Seen, d.Gone.Seen)
			r.gone, changed = &gone, true
		}
	}
	if d.Moved != nil && r.move(d.Key, d.Moved) {
		changed = true
		if out != flow.SyncHeld {
			out = ""
		}
	}
	if fresh {
		a.close(r)
	}
	return out, clashes, changed
}

// stamp is the time of a new writing, in microseconds: the source's, unless its clock is
// further ahead of ours than clocks may differ, and later than all that its author knew.
func (a *algebra) stamp(at time.Time, now, known int64) (stamp, ahead int64) {
	if !at.IsZero() {
		stamp = at.UnixMicro()
	}
	if stamp-now > a.skew {
		stamp, ahead = now, stamp-now
	}
	return max(stamp, known+1), ahead
}
