package replica

import (
	"fmt"

	"patchbay/internal/flow"
)

// shelf is the part of a table's records that a batch may concern, found in each of the
// ways by which our system or another region names one.
type shelf struct {
	columns int
	region  string
	byUID   map[string]*record
	byKey   map[string][]*record // by the key that our system has, and by that of the registers
	byID    map[string]*record
	order   []*record
	// batch and others make names that the region never made before.
	batch  int64
	others int
}

func newShelf(a *algebra, size int) *shelf {
	return &shelf{columns: len(a.table.Columns), region: a.region,
		byUID: make(map[string]*record, size), byKey: map[string][]*record{}, byID: map[string]*record{}}
}

func (s *shelf) put(r *record) {
	s.byUID[r.uid] = r
	s.order = append(s.order, r)
	s.index(r)
}

// index makes a record known by its ID, and by its keys where they are not its first one.
func (s *shelf) index(r *record) {
	if r.id != "" {
		s.byID[r.id] = r
	}
	key := joinKey(r.key)
	if key != r.uid {
		s.byKey[key] = append(s.byKey[key], r)
	}
	if r.base != nil {
		if own := joinKey(r.base.key); own != key && own != r.uid {
			s.byKey[own] = append(s.byKey[own], r)
		}
	}
}

// under gives the records that a key may mean, the one whose first key it was before the
// others.
func (s *shelf) under(key string) []*record {
	first, others := s.byUID[key], s.byKey[key]
	if first == nil {
		return others
	}
	return append([]*record{first}, others...)
}

// own is the key that our system has for a record.
func (r *record) own() []string {
	if r.base != nil {
		return r.base.key
	}
	return r.key
}

// observed gives the record that an observation is of; nil with an empty code: of none
// that is known, and it is a deletion. A code says why it stays.
func (s *shelf) observed(o Observed) (r *record, code string) {
	if r := s.byID[o.ID]; o.ID != "" && r != nil && r.id == o.ID {
		if !o.Deleted && keyless(o.Key) {
			return nil, CodeKeyMissing
		}
		if !o.Deleted && s.taken(o, r) {
			return nil, CodeKeyTwice
		}
		return r, ""
	}
	if keyless(o.Key) {
		if o.Deleted {
			return nil, ""
		}
		return nil, CodeKeyMissing
	}
	if o.Ours && !o.Found {
		return s.echoed(o), ""
	}
	key := joinKey(o.Key)
	if o.Recover {
		if r := s.recovering(key); r != nil || o.Deleted {
			return r, ""
		}
	}
	if o.ID == "" && o.Was != nil {
		was := joinKey(o.Was)
		for _, r := range s.under(was) {
			if !r.absent() && joinKey(r.own()) == was {
				return r, ""
			}
		}
	}
	for _, r := range s.under(key) {
		switch {
		case r.absent() || joinKey(r.own()) != key:
		case o.ID == "" || r.id == "":
			return r, ""
		case o.Deleted:
			return nil, ""
		default:
			return nil, CodeKeyTwice
		}
	}
	if o.Deleted {
		return nil, ""
	}
	if r := s.awaited(key); r != nil {
		return r, ""
	}
	uid := key
	if s.byUID[key] != nil {
		s.others++
		uid = another(o.Key, fmt.Sprint(s.region, " ", s.batch, ".", s.others))
	}
	return s.fresh(uid, o.Key), ""
}

// awaited gives the record that our system lacks and whose key this is: one that is to be
// created under it, for that may just have been done, before one that was deleted.
func (s *shelf) awaited(key string) (dead *record) {
	for _, r := range s.under(key) {
		switch {
		case !r.absent():
		case r.alive() && joinKey(r.key) == key:
			return r
		case dead == nil && !r.alive() && (r.uid == key || joinKey(r.key) == key):
			dead = r
		}
	}
	return dead
}

// recovering gives the record that our system has under a key, or had, where its other
// keys and IDs may be known no more: what the registers say counts first.
func (s *shelf) recovering(key string) (of *record) {
	best := 0
	for _, r := range s.under(key) {
		rank := 0
		has, is := !r.absent() && joinKey(r.own()) == key, joinKey(r.key) == key
		switch {
		case has && is:
			rank = 4
		case r.alive() && is:
			rank = 3
		case has:
			rank = 2
		case r.uid == key && !r.alive():
			rank = 1
		}
		if rank > best {
			of, best = r, rank
		}
	}
	return of
}

// echoed gives the record that a write of ours was of, by its key: one that our system has,
// or one that was to be created, perhaps until it was deleted while that was on its way. Where
// records took turns with a key, an old echo could be of any; then it is of none, and what
// became of the write is known by settling it.
func (s *shelf) echoed(o Observed) *record {
	key := joinKey(o.Key)
	all := s.under(key)
	for _, r := range all {
		has := !r.absent() && joinKey(r.own()) == key && (o.ID == "" || r.id == "")
		awaited := r.absent() && !o.Deleted
		if has && (!o.Deleted || !r.alive()) || len(all) == 1 && (has || awaited) {
			return r
		}
	}
	if o.Was == nil {
		return nil
	}
	was := joinKey(o.Was)
	for _, r := range s.under(was) { // our write has changed its key, and nobody has settled it
		if !r.absent() && joinKey(r.own()) == was && joinKey(r.key) == key {
			return r
		}
	}
	return nil
}

// taken reports whether the key of an observation is that of another record of our system.
func (s *shelf) taken(o Observed, r *record) bool {
	key := joinKey(o.Key)
	if joinKey(r.own()) == key && !r.absent() {
		return false
	}
	for _, other := range s.under(key) {
		if other != r && !other.absent() && other.id != "" && joinKey(other.own()) == key {
			return true
		}
	}
	return false
}

// told gives the record that a delta is of.
func (s *shelf) told(d flow.Delta) *record {
	uid := joinKey(d.Key)
	if d.Was != nil {
		uid = joinKey(d.Was)
	}
	if r := s.byUID[uid]; r != nil {
		return r
	}
	r := s.fresh(uid, d.Key)
	r.moved = d.Moved
	return r
}

func (s *shelf) fresh(uid string, key []string) *record {
	r := &record{uid: uid, key: key, cells: make([]flow.SyncCell, s.columns)}
	r.base = &base{absent: true, key: key, cells: make([]flow.SyncCell, s.columns)}
	s.put(r)
	return r
}
