package replica

import (
	"slices"
	"time"

	"patchbay/internal/flow"
)

// noticed is what became of an observation.
type noticed struct {
	outcome flow.SyncOutcome
	clashes []clash
	ahead   int64 // by how much its stamp was brought back,
	behind  int64 // or forward, being earlier than that of what its author knew
}

// observe brings what our system said to a record. now is our own clock, in microseconds.
//
// What differs from the base is a writing of our region whose author knew the base, and not
// what of the registers has not been written yet. What is equal to the registers is our
// own write that nobody has settled.
func (a *algebra) observe(r *record, o Observed, now int64) noticed {
	if o.Recover {
		return a.recover(r, o, now)
	}
	if a.fills(r, o) {
		return a.fill(r, o, now)
	}
	if o.Version != 0 {
		if o.Version <= r.version {
			return noticed{outcome: flow.SyncUnchanged}
		}
		r.version, r.dirty = o.Version, true
	}
	if o.ID != "" && !o.Deleted && r.id != o.ID {
		r.id, r.dirty = o.ID, true
	}
	switch {
	case o.Ours:
		a.echo(r, o)
		return noticed{outcome: flow.SyncEcho}
	case o.Deleted:
		return a.removed(r, o, now)
	}
	if r.base == nil && r.alive() && a.unchanged(r, o) {
		return noticed{outcome: flow.SyncUnchanged}
	}
	absent := r.absent()
	revived := absent && !r.alive() // the author knew the deletion: it is what the system had
	n := noticed{outcome: flow.SyncUnchanged}
	if absent && !revived {
		n.outcome = flow.SyncEcho // what was to be created, unless something differs
		r.further()               // who made it anew did not know what had been there
	}
	deleted := !r.alive()
	known := slices.ContainsFunc(r.cells, func(c flow.SyncCell) bool { return c.Value != nil })
	b := r.split()
	for i, value := range o.Values {
		t := a.table.Columns[i].Type
		switch {
		case value == nil || known && b.cells[i].Value == nil && r.silent(i) && string(value) == "null":
			// A null where nobody has ever said anything is what a system puts there by itself.
		case !absent && Same(t, value, b.cells[i].Value):
		case !revived && Same(t, value, r.cells[i].Value) && len(r.rest[i]) == 0:
			b.cells[i] = r.cells[i]
			if n.outcome == flow.SyncUnchanged {
				n.outcome = flow.SyncEcho
			}
		default:
			a.wrote(r, i, value, o, now, revived, &n)
		}
	}
	switch b.absent = false; {
	case revived:
		b.key, b.moved = r.key, r.moved
	case absent:
		if b.key = o.Key; slices.Equal(b.key, r.key) {
			b.moved = r.moved
		}
	}
	if !slices.Equal(o.Key, b.key) {
		a.renamed(r, o, now, &n)
	}
	if deleted && !revived && r.out.cells != nil && r.alive() {
		// It was deleted and is there again by one value: others may have erased the rest.
		for i, c := range r.cells {
			if r.out.cells[i].Value == nil {
				r.out.cells[i] = c
			}
		}
	}
	if n.outcome != flow.SyncUnchanged {
		r.seen++
	}
	return n
}

// fills reports whether an observation tells of a record that is known only what was not
// known of it: values that were there when their columns were allowed to cross.
func (a *algebra) fills(r *record, o Observed) bool {
	switch {
	case o.Fill == nil || o.Deleted || o.Ours || r.absent():
		return false
	case o.Reread:
		return o.Version <= r.version || slices.Contains(o.Fill, false)
	}
	return o.Version == r.version
}

// fill takes values that our system holds and nobody ever told. They are writings as any
// other, older than all that was told: when its row was changed says nothing of a value, and
// decides between such alone.
func (a *algebra) fill(r *record, o Observed, now int64) noticed {
	n := noticed{outcome: flow.SyncUnchanged}
	if !o.At.IsZero() {
		o.At = time.UnixMicro(o.At.Unix())
	}
	for i, value := range o.Values {
		has := r.cells[i]
		if r.base != nil {
			has = r.base.cells[i]
		}
		if !o.Fill[i] || has.Value != nil || value == nil || string(value) == "null" {
			continue
		}
		b := r.split()
		if len(r.rest[i]) == 0 && Same(a.table.Columns[i].Type, value, r.cells[i].Value) {
			if b.cells[i] = r.cells[i]; n.outcome == flow.SyncUnchanged {
				n.outcome = flow.SyncEcho
			}
			continue
		}
		a.wrote(r, i, value, o, now, false, &n)
	}
	if n.outcome != flow.SyncUnchanged {
		r.seen++
	}
	return n
}

// unchanged reports whether our system says what the registers do; most of what a table is
// read again for is that.
func (a *algebra) unchanged(r *record, o Observed) bool {
	for i, value := range o.Values {
		if value != nil && !Same(a.table.Columns[i].Type, value, r.cells[i].Value) {
			return false
		}
	}
	return slices.Equal(o.Key, r.key)
}

// wrote makes a writing of our region.
func (a *algebra) wrote(r *record, i int, value []byte, o Observed, now int64, revived bool, n *noticed) {
	knew := a.knowledge(r, i, revived)
	count := knew.Seen[a.region]
	for _, c := range r.writings(i) {
		count = max(count, c.Version.Seen[a.region])
	}
	stamp, ahead := a.stamp(o.At, now, knew.Stamp)
	seen := a.first
	if count > 0 || len(knew.Seen) > 0 {
		seen = seenBy(knew.Seen, a.region, count+1)
	}
	c := flow.SyncCell{Value: value, Version: flow.Version{Stamp: stamp, Region: a.region, Seen: seen}}
	if t := a.table.Columns[i].Type; r.known {
		c.Over = replacing(sum(t, r.base.cells[i].Value), sum(t, r.cells[i].Value))
	}
	_, decided := a.merge(r, i, c)
	if decided != nil {
		// The one that is ours here is what we had heard of; said from its side.
		n.clashes = append(n.clashes, *decided)
	}
	r.base.cells[i] = c
	if r.out.cells == nil {
		r.out.cells = make([]flow.SyncCell, len(r.cells))
	}
	r.out.cells[i] = c
	n.outcome, n.ahead = flow.SyncExported, max(n.ahead, ahead)
	if !o.At.IsZero() {
		n.behind = max(n.behind, knew.Stamp-o.At.UnixMicro())
	}
}

// knowledge is what the author of an edit knew of a column: the value that our system
// held, and all writings of that very value. Of a record that was deleted here, and is
// written again, that is everything.
func (a *algebra) knowledge(r *record, i int, revived bool) flow.Version {
	knew := r.base.cells[i].Version
	if erased := r.cells[i]; erased.Value == nil {
		knew.Stamp, knew.Seen = max(knew.Stamp, erased.Version.Stamp), join(knew.Seen, erased.Version.Seen)
	}
	if revived {
		knew.Stamp = max(knew.Stamp, r.gone.Stamp)
	}
	for _, c := range r.writings(i) {
		if revived || r.base.cells[i].Value != nil && Same(a.table.Columns[i].Type, c.Value, r.base.cells[i].Value) {
			knew.Stamp = max(knew.Stamp, c.Version.Stamp)
			knew.Seen = join(knew.Seen, c.Version.Seen)
		}
	}
	return knew
}

// renamed makes the writing of our region that gave the record another key.
func (a *algebra) renamed(r *record, o Observed, now int64, n *noticed) {
	last := int64(0)
	if r.base.moved != nil {
		last = r.base.moved.Stamp
	}
	if r.moved != nil && r.moved.Region == a.region {
		last = max(last, r.moved.Stamp)
	}
	r.base.key = o.Key
	if slices.Equal(o.Key, r.key) {
		r.base.moved = r.moved
		if n.outcome == flow.SyncUnchanged {
			n.outcome = flow.SyncEcho
		}
		return
	}
	var before flow.Version
	if r.moved != nil {
		before = *r.moved
	}
	stamp, ahead := a.stamp(o.At, now, last)
	m := flow.Version{Stamp: stamp, Region: a.region, Seen: seenBy(before.Seen, a.region, before.Seen[a.region]+1)}
	r.move(o.Key, &m)
	r.base.moved = &m
	r.out.key, r.out.moved = o.Key, &m
	n.outcome, n.ahead = flow.SyncExported, max(n.ahead, ahead)
}

// removed makes the writing of our region that deleted the record.
func (a *algebra) removed(r *record, o Observed, now int64) noticed {
	if r.absent() {
		return noticed{outcome: flow.SyncUnchanged}
	}
	b := *r.split()
	r.vanish()
	r.seen++
	var knew flow.Version
	if r.gone != nil {
		knew = *r.gone
	}
	again := !r.alive() // by somebody who did not know that; where it may be our own deletion nobody says when
	if again && o.At.IsZero() {
		return noticed{outcome: flow.SyncEcho}
	}
	last := int64(0)
	for _, c := range b.cells {
		last = max(last, c.Version.Stamp)
	}
	if b.moved != nil {
		last = max(last, b.moved.Stamp)
	}
	stamp, ahead := a.stamp(o.At, now, last)
	gone := flow.Version{Stamp: stamp, Region: a.region, Seen: seenBy(knew.Seen, a.region, knew.Seen[a.region]+1)}
	if again && r.gone != nil && later(gone, *r.gone) < 0 {
		return noticed{outcome: flow.SyncEcho}
	}
	if r.out.gone = &gone; r.gone == nil || later(gone, *r.gone) > 0 {
		r.gone = &gone
	}
	return noticed{outcome: flow.SyncExported, ahead: ahead}
}

// echo takes what our own write left in our system. That may be an earlier one than the
// last: then the next echo tells of that. It does not count as seen: who settles the write
// knows as much.
func (a *algebra) echo(r *record, o Observed) {
	if o.Deleted {
		if !r.absent() {
			r.vanish()
		}
		return
	}
	b := r.split()
	if b.absent, b.key = false, o.Key; slices.Equal(b.key, r.key) {
		b.moved = r.moved
	}
	for i, value := range o.Values {
		switch t := a.table.Columns[i].Type; {
		case value == nil || Same(t, value, b.cells[i].Value):
		case b.cells[i].Value == nil && r.silent(i):
			// We wrote nothing here, and so it is no echo: whoever looks for what is there tells it.
		case Same(t, value, r.cells[i].Value):
			b.cells[i] = r.cells[i]
		default:
			b.cells[i].Value = value
		}
	}
}

// decide makes the writing by which a person ends a conflict.
func (a *algebra) decide(r *record, i int, value []byte, now int64) {
	r.split()
	var knew flow.Version
	for _, c := range append(r.writings(i), r.base.cells[i]) {
		knew.Stamp = max(knew.Stamp, c.Version.Stamp)
		knew.Seen = join(knew.Seen, c.Version.Seen)
	}
	c := flow.SyncCell{Value: value, Version: flow.Version{Stamp: max(now, knew.Stamp+1), Region: a.region, Seen: seenBy(knew.Seen, a.region, knew.Seen[a.region]+1)}}
	c.Over = replacing(sum(a.table.Columns[i].Type, r.cells[i].Value), 0)
	for _, other := range r.rest[i] {
		c.Over = replacing(uint32(c.Over), sum(a.table.Columns[i].Type, other.Value))
	}
	a.merge(r, i, c)
	if r.out.cells == nil {
		r.out.cells = make([]flow.SyncCell, len(r.cells))
	}
	r.out.cells[i] = c
}

// done notes what of an order our system has now. kept are values that it holds in
// place of those it was given.
func (a *algebra) done(r *record, o Order, kept [][]byte) {
	switch {
	case o.Check:
		return
	case o.Delete:
		r.vanish()
		return
	}
	b := r.split()
	b.absent, b.key, b.moved = false, o.Key, o.moved
	for i, value := range o.Set {
		if value == nil {
			continue
		}
		b.cells[i] = o.cells[i]
		if i < len(kept) && kept[i] != nil {
			b.cells[i].Value = kept[i]
		}
	}
}

// order says what is to be written of a record that is pending.
func (a *algebra) order(r *record) Order {
	o := Order{Key: r.key, ID: r.id, uid: r.uid, seen: r.seen, Base: make([][]byte, len(r.cells))}
	for i, c := range r.base.cells {
		o.Base[i] = c.Value
	}
	for i := range r.rest {
		o.held = o.held || a.held(r, i)
	}
	o.Create = r.base.absent
	if o.Check = a.weigh(r) != pending; o.Check {
		o.Key, o.Set = r.base.key, make([][]byte, len(r.cells))
		return o
	}
	if !r.alive() {
		o.Delete, o.Key = true, r.base.key
		return o
	}
	if !o.Create && !slices.Equal(r.base.key, r.key) {
		o.Was = r.base.key
	}
	o.cells, o.moved, o.Set = slices.Clone(r.cells), r.moved, make([][]byte, len(r.cells))
	for i, c := range r.cells {
		if c.Value != nil && !Same(a.table.Columns[i].Type, c.Value, r.base.cells[i].Value) && !a.held(r, i) {
			o.Set[i] = c.Value
		}
	}
	return o
}
