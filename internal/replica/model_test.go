package replica

import (
	"cmp"
	"slices"
)

type (
	// model says what regions must agree on, from the writings alone: a list of them in the
	// order in which they were made, each with the set of those that its author knew. It has no
	// vectors, no merging and no order of arrival.
	model struct {
		entities map[string]*entity // by first key
		all      []*writing
		byValue  map[string]*writing
	}

	// entity is one record wherever it is.
	entity struct {
		key     string
		movable bool // its key changes, and it is made once and never deleted
	}

	writing struct {
		of     *entity
		column int // or isGone, isKey
		region string
		stamp  int64
		value  string
		knows  map[*writing]bool
		nth    int // of those of its region, of the value
		ofA    int // how many writings of region a its author knew, itself included
	}

	// truth is what some writings come to.
	truth struct {
		cells [3]*writing
		held  []string
		gone  *writing
		moved *writing
		alive bool
	}
)

const (
	isGone = -1
	isKey  = -2
)

func newModel() *model {
	return &model{entities: map[string]*entity{}, byValue: map[string]*writing{}}
}

func (m *model) entity(key string) *entity {
	if m.entities[key] == nil {
		m.entities[key] = &entity{key: key}
	}
	return m.entities[key]
}

func (m *model) make(w writing) *writing {
	m.all = append(m.all, &w)
	if w.value != "" {
		m.byValue[w.value] = &w
	}
	return &w
}

// known gives the writings of an entity and a column that a set has, in order.
func (m *model) known(heard map[*writing]bool, e *entity, column int) (out []*writing) {
	for _, w := range m.all {
		if heard[w] && w.of == e && w.column == column {
			out = append(out, w)
		}
	}
	return out
}

// follows reports whether the author of a writing knew another one, which is so when of
// each region the author knew as many writings as the other's author.
func (w *writing) follows(other *writing) bool {
	if w == other {
		return false
	}
	mine, theirs := w.counts(), other.counts()
	for region, n := range theirs {
		if mine[region] < n {
			return false
		}
	}
	return true
}

func (w *writing) counts() map[string]int {
	counts := map[string]int{w.region: w.nth}
	for k := range w.knows {
		counts[k.region] = max(counts[k.region], k.nth)
	}
	return counts
}

func compare(a, b *writing) int {
	return cmp.Or(cmp.Compare(a.stamp, b.stamp), cmp.Compare(a.region, b.region))
}

func greatest(of []*writing, by func(a, b *writing) int) *writing {
	if len(of) == 0 {
		return nil
	}
	return slices.MaxFunc(of, by)
}

func (m *model) truth(heard map[*writing]bool, e *entity) truth {
	t := truth{gone: greatest(m.known(heard, e, isGone), compare), moved: greatest(m.known(heard, e, isKey), compare)}
	t.cells[0] = greatest(m.known(heard, e, 0), compare)
	t.cells[1] = greatest(m.known(heard, e, 1), func(a, b *writing) int { return cmp.Or(cmp.Compare(a.ofA, b.ofA), compare(a, b)) })
	var left []*writing
	held := m.known(heard, e, 2)
	for _, w := range held {
		if !slices.ContainsFunc(held, func(other *writing) bool { return other.follows(w) }) {
			left = append(left, w)
			t.held = append(t.held, w.value)
		}
	}
	t.cells[2] = greatest(left, compare)
	slices.Sort(t.held)
	t.alive = t.gone == nil || t.moved != nil && compare(t.moved, t.gone) > 0
	for _, w := range append(left, t.cells[:]...) {
		t.alive = t.alive || w != nil && compare(w, t.gone) > 0
	}
	return t
}

// observed makes the writings of a change that people made in a region.
func (m *model) observed(r *region, c change, now int64) (made []*writing) {
	e := c.by
	truth := m.truth(r.heard, e)
	switch c.kind {
	case "create":
		again := truth.gone != nil && !truth.alive
		for i, value := range c.o.Values {
			w := writing{of: e, column: i, region: r.name, stamp: max(c.at, 1), value: string(value), knows: map[*writing]bool{}}
			if again {
				w.stamp = max(w.stamp, truth.gone.stamp+1)
				for _, k := range m.known(r.heard, e, i) {
					w.know(k)
				}
			}
			made = append(made, m.count(w))
		}
	case "edit":
		w := writing{of: e, column: c.column, region: r.name, stamp: max(c.at, 1), value: string(c.o.Values[c.column]), knows: map[*writing]bool{}}
		if before := m.byValue[c.was.values[c.column]]; before != nil {
			w.know(before)
		}
		made = append(made, m.count(w))
	case "rename":
		w := writing{of: e, column: isKey, region: r.name, stamp: max(c.at, 1), value: c.o.Key[0], knows: map[*writing]bool{}}
		if before := m.byValue[c.was.key]; before != nil {
			w.know(before)
		}
		made = append(made, m.make(w))
	case "delete":
		w := writing{of: e, column: isGone, region: r.name, stamp: max(c.at, 1), knows: map[*writing]bool{}}
		for _, v := range c.was.values {
			if before := m.byValue[v]; before != nil {
				w.know(before)
			}
		}
		if !truth.alive && compare(&w, truth.gone) < 0 {
			return nil // it was deleted later, somewhere else
		}
		made = append(made, m.make(w))
	}
	for _, w := range made {
		r.heard[w] = true
	}
	return made
}

func (w *writing) know(before *writing) {
	w.knows[before] = true
	for k := range before.knows {
		w.knows[k] = true
	}
	w.stamp = max(w.stamp, before.stamp+1)
	w.ofA = max(w.ofA, before.ofA)
}

// count ends a writing of a value: it is the nth that its region made.
func (m *model) count(w writing) *writing {
	w.nth = 1
	for _, own := range m.all {
		if own.of == w.of && own.column == w.column && own.region == w.region {
			w.nth++
		}
	}
	if w.region == "a" {
		w.ofA = w.nth
	}
	return m.make(w)
}

// decided makes the writing by which a person ended a conflict.
func (m *model) decided(r *region, rec *record, i int, value string, now int64) []*writing {
	e := m.entities[splitKey(rec.uid)[0]]
	w := writing{of: e, column: i, region: r.name, stamp: now, value: value, knows: map[*writing]bool{}}
	for _, k := range m.known(r.heard, e, i) {
		w.know(k)
	}
	return []*writing{m.count(w)}
}
