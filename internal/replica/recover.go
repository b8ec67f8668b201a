package replica

import (
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"patchbay/internal/flow"
)

// sum is the digest of a value that systems may write in several ways: equal values of a
// type have the same. It is neither 0 nor 1.
func sum(t flow.Type, value []byte) uint32 {
	if value == nil {
		return 0
	}
	text := string(value)
	switch t {
	case flow.Decimal, flow.Int:
		text = flow.NumberText(strings.Trim(text, `"`))
	case flow.Timestamp:
		if at, ok := instant(value); ok {
			text = at.UTC().Format("2006-01-02T15:04:05.999999999")
		}
	default:
		if !strings.Contains(text, `\`) {
			break
		}
		if x, ok := decoded(value); ok {
			if s, is := x.(string); is {
				text = `"` + s + `"`
			}
		}
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(text)) // it cannot fail
	return max(h.Sum32(), 2)
}

// replacing packs the digests of up to two values, for flow.SyncCell.
func replacing(a, b uint32) uint64 {
	if a == b || b == 0 {
		return uint64(a)
	}
	return uint64(a) | uint64(b)<<32
}

// recover brings what our system has to a record of a table that was restored: the registers
// have what the other regions told, and what our system had of it when we last knew is long
// past. What it has is an edit of our region unless somebody is known to have written it: it
// is in the registers, or another region replaced it, or nobody has touched the row since.
func (a *algebra) recover(r *record, o Observed, now int64) noticed {
	r.version, r.dirty = max(r.version, o.Version), true
	if o.ID != "" && !o.Deleted && r.id != o.ID {
		r.id = o.ID
	}
	b := r.split()
	was := base{absent: b.absent, key: b.key, moved: b.moved, cells: slices.Clone(b.cells)}
	n := noticed{outcome: flow.SyncUnchanged}
	if o.Deleted {
		return a.vanished(r, o, &was, now)
	}
	deleted := !r.alive()
	known := slices.ContainsFunc(r.cells, func(c flow.SyncCell) bool { return c.Value != nil })
	b.absent = false
	for i, value := range o.Values {
		if value == nil || known && r.silent(i) && string(value) == "null" {
			continue
		}
		t := a.table.Columns[i].Type
		if w := slices.IndexFunc(r.writings(i), func(c flow.SyncCell) bool { return Same(t, c.Value, value) }); w >= 0 {
			b.cells[i] = r.writings(i)[w]
			continue
		}
		author := a.lately(r, i, &was)
		if !a.edited(r, i, value, o, &was) {
			b.cells[i] = flow.SyncCell{Value: value, Version: author}
			continue
		}
		b.cells[i] = flow.SyncCell{Version: author}
		a.wrote(r, i, value, o, now, false, &n)
	}
	switch {
	case slices.Equal(o.Key, r.key):
		b.key, b.moved = r.key, r.moved
	case was.absent, slices.Equal(o.Key, was.key):
		b.key = o.Key
	default:
		a.renamed(r, o, now, &n)
	}
	if deleted && r.out.cells != nil && r.alive() {
		for i, c := range r.cells { // others may have erased the rest
			if r.out.cells[i].Value == nil {
				r.out.cells[i] = c
			}
		}
	}
	r.seen++
	if n.outcome == flow.SyncUnchanged {
		n.outcome = flow.SyncEcho
	}
	return n
}

// edited reports whether somebody in our region wrote a value that the registers do not have.
func (a *algebra) edited(r *record, i int, value []byte, o Observed, was *base) bool {
	t, has := a.table.Columns[i].Type, r.cells[i]
	if has.Value == nil {
		// Of a value that was erased nobody can tell it from what it was.
		erased := has.Version.Region != "" && r.gone != nil
		return !erased || !o.At.IsZero() && o.At.UnixMicro() > r.gone.Stamp
	}
	ours := has.Version.Region == a.region
	if before := was.cells[i]; before.Value != nil && Same(t, before.Value, value) {
		// It is as it was, unless we wrote something else meanwhile.
		return ours && has.Version.Stamp > before.Version.Stamp
	}
	if passed := r.passed[i]; len(passed) > 0 {
		digest := int64(sum(t, value))
		return !slices.ContainsFunc(passed, func(p passing) bool { return slices.Contains(p.sums, digest) })
	}
	return ours || o.At.IsZero() || o.At.UnixMicro() >= has.Version.Stamp
}

// lately is what whoever edited a value in our system can have known: all that had come
// there, and nothing that another region wrote since.
func (a *algebra) lately(r *record, i int, was *base) flow.Version {
	knew := flow.Version{Stamp: was.cells[i].Version.Stamp, Region: a.region, Seen: map[string]int64{}}
	if len(r.rest[i]) > 0 { // of what is held it knew its own
		for _, c := range r.writings(i) {
			if c.Version.Region == a.region {
				return c.Version
			}
		}
		return was.cells[i].Version
	}
	knew.Seen = maps.Clone(r.cells[i].Version.Seen)
	late := false
	for _, p := range r.passed[i] {
		if p.late {
			late = true
			knew.Seen[p.region] = min(knew.Seen[p.region], p.n-1)
		}
	}
	if knew.Seen == nil {
		knew.Seen = map[string]int64{}
	}
	if !late {
		knew.Stamp = max(knew.Stamp, r.cells[i].Version.Stamp)
	}
	maps.DeleteFunc(knew.Seen, func(_ string, n int64) bool { return n <= 0 })
	return knew
}

// vanished takes that our system has no such record any more. It is a deletion of our region
// where it is certain that our system had it, and nobody else is known to have deleted it.
func (a *algebra) vanished(r *record, o Observed, was *base, now int64) noticed {
	certain := !was.absent
	if was.absent { // it was made since: only what we wrote of ourselves was surely there
		certain = slices.ContainsFunc(r.cells, func(c flow.SyncCell) bool {
			return c.Version.Seen[a.region] > 0 && (r.gone == nil || c.Version.Region == a.region && later(c.Version, *r.gone) > 0)
		})
	}
	if told := r.gone; !was.absent && told != nil { // since we last knew, that is
		last := int64(0)
		for _, c := range was.cells {
			last = max(last, c.Version.Stamp)
		}
		certain = certain && told.Stamp <= last
	}
	if !certain || !r.alive() {
		r.vanish()
		r.seen++
		return noticed{outcome: flow.SyncEcho}
	}
	b := r.base
	b.absent = false
	for i, c := range r.cells {
		if late := slices.ContainsFunc(r.passed[i], func(p passing) bool { return p.late }); !late {
			b.cells[i] = c
		}
	}
	return a.removed(r, o, now)
}
