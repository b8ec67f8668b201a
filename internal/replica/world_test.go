package replica

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"pgregory.net/rapid"

	"patchbay/internal/flow"
)

type (
	// world is some regions with a system each. People change records there; what they do is
	// observed, delivered and written in any order.
	world struct {
		*rapid.T
		place   Place
		regions []*region
		keys    int
		rows    int
		values  int
		now     int64
		tame    bool // first keys are used once, values never twice: what the model predicts
		model   *model
		steps   int
	}

	region struct {
		name    string
		ids     bool // its system has IDs of its own
		alg     *algebra
		shelf   *shelf
		rows    map[string]*row // by ID
		tail    []change
		mail    map[string][]message // by the other region; never empties
		open    []open
		offset  int64 // of the clock
		heard   map[*writing]bool
		exports int
	}

	row struct {
		key    string
		values [3]string
		whole  *entity
	}

	change struct {
		o      Observed
		at     int64
		by     *entity
		was    *row // as it was
		column int  // -1: all
		kind   string
	}

	message struct {
		delta flow.Delta
		of    []*writing
	}

	open struct {
		order Order
		r     *record
	}
)

var columns = []flow.SyncColumn{{Name: "latest", Type: flow.String}, {Name: "region", Type: flow.String}, {Name: "hold", Type: flow.String}}

func newWorld(t *rapid.T, tame bool) *world {
	w := &world{T: t, tame: tame, now: 1_000_000, model: newModel()}
	n := rapid.IntRange(2, 4).Draw(t, "regions")
	table := flow.SyncTable{Name: "account", Key: []string{"number"}, Columns: columns}
	w.place = Place{Flow: "sync", Sync: &flow.Sync{Tables: []flow.SyncTable{table}, Skew: time.Hour,
		Conflict: []flow.ConflictRule{{Rule: flow.RuleLatest}, {Column: "region", Rule: flow.RuleRegion, Region: "a"}, {Column: "hold", Rule: flow.RuleHold}}}}
	for i := range n {
		p := w.place
		p.Region = string(rune('a' + i))
		r := &region{name: p.Region, ids: rapid.Bool().Draw(t, "ids"), alg: newAlgebra(p, &w.place.Sync.Tables[0]), rows: map[string]*row{},
			mail: map[string][]message{}, heard: map[*writing]bool{}}
		r.shelf = newShelf(r.alg, 16)
		w.regions = append(w.regions, r)
	}
	return w
}

func (w *world) pick(n int) int { return rapid.IntRange(0, n-1).Draw(w.T, "") }

func (w *world) region() *region { return w.regions[w.pick(len(w.regions))] }

// value is a new text; in a wild world it may be one that is there already.
func (w *world) value() string {
	if !w.tame && w.pick(2) == 0 {
		return strconv.Quote(fmt.Sprint("v", w.pick(3)))
	}
	w.values++
	return strconv.Quote(fmt.Sprint("n", w.values))
}

func (r *region) row(w *world) (string, *row) {
	ids := slices.Sorted(maps.Keys(r.rows))
	if len(ids) == 0 {
		return "", nil
	}
	id := ids[w.pick(len(ids))]
	return id, r.rows[id]
}

func (r *region) keyed(key string) string {
	for id, row := range r.rows { // a key is there once
		if row.key == key {
			return id
		}
	}
	return ""
}

// tell puts what is true of a row now into the tail.
func (r *region) tell(w *world, id string, c change) {
	c.at = w.now + r.offset
	c.o.At = time.UnixMicro(c.at)
	if r.ids {
		c.o.ID = id
		c.o.Was = nil
	}
	if row := r.rows[id]; row != nil {
		c.o.Key = []string{row.key}
		for _, v := range row.values {
			var value []byte
			if v != "" {
				value = []byte(v)
			}
			c.o.Values = append(c.o.Values, value)
		}
	}
	r.tail = append(r.tail, c)
}

func (w *world) create() {
	r := w.region()
	key := strconv.Quote(fmt.Sprint("k", w.pick(5)))
	if n := w.pick(8); w.tame && n == 0 {
		w.keys++
		key = strconv.Quote(fmt.Sprint("movable", w.keys))
		w.model.entity(key).movable = true
	}
	if r.keyed(key) != "" {
		return
	}
	w.rows++
	id := fmt.Sprint(r.name, w.rows)
	row := &row{key: key, whole: w.model.entity(key)}
	for i := range row.values {
		row.values[i] = w.value()
	}
	r.rows[id] = row
	r.tell(w, id, change{kind: "create", column: -1, by: row.whole})
}

func (w *world) edit() {
	r := w.region()
	id, row := r.row(w)
	if row == nil {
		return
	}
	was := *row
	i := w.pick(3)
	row.values[i] = w.value()
	r.tell(w, id, change{kind: "edit", column: i, by: row.whole, was: &was})
}

func (w *world) remove() {
	r := w.region()
	id, row := r.row(w)
	if row == nil || row.whole.movable {
		return
	}
	delete(r.rows, id)
	c := change{kind: "delete", by: row.whole, was: row}
	c.o = Observed{Key: []string{row.key}, Deleted: true}
	r.tell(w, id, c)
}

func (w *world) rename() {
	r := w.region()
	id, row := r.row(w)
	if row == nil {
		return
	}
	key := strconv.Quote(fmt.Sprint("k", w.pick(5)))
	if w.tame {
		if !row.whole.movable {
			return
		}
		w.keys++
		key = strconv.Quote(fmt.Sprint("fresh", w.keys))
	}
	if r.keyed(key) != "" {
		return
	}
	was := *row
	row.key = key
	c := change{kind: "rename", by: row.whole, was: &was}
	c.o.Was = []string{was.key}
	r.tell(w, id, c)
}

// observe takes the next changes of a tail as one batch.
func (w *world) observe() { w.region().observe(w, 1+w.pick(3)) }

func (r *region) observe(w *world, most int) {
	var touched []*record
	made := map[*record][][]*writing{}
	for ; most > 0 && len(r.tail) > 0; most-- {
		c := r.tail[0]
		r.tail = r.tail[1:]
		rec, code := r.shelf.observed(c.o)
		if rec == nil {
			if code != "" && w.tame {
				w.Fatalf("%s: %s of %v is refused: %s", r.name, c.kind, c.o.Key, code)
			}
			continue
		}
		var writings []*writing
		if w.tame && c.kind != "echo" {
			writings = w.model.observed(r, c, w.now)
		}
		n := r.alg.observe(rec, c.o, w.now)
		for len(made[rec]) <= len(rec.past) { // one list for each delta
			made[rec] = append(made[rec], nil)
		}
		made[rec][len(rec.past)] = append(made[rec][len(rec.past)], writings...)
		w.Logf("%s observes %s %v of %q (%s), ours %v: %s; absent %v id %s", r.name, c.kind, c.o.Key, rec.uid, c.o.ID, c.o.Ours, n.outcome, rec.absent(), rec.id)
		if c.kind == "echo" && n.outcome == flow.SyncExported {
			w.Fatalf("%s exports an echo", r.name)
		}
		r.shelf.index(rec)
		if !slices.Contains(touched, rec) {
			touched = append(touched, rec)
		}
	}
	r.send(w, touched, made)
}

func (r *region) send(w *world, touched []*record, made map[*record][][]*writing) {
	for _, rec := range touched {
		deltas := rec.deltas()
		rec.out, rec.past = told{}, nil
		r.alg.close(rec)
		lists := slices.DeleteFunc(made[rec], func(l []*writing) bool { return len(l) == 0 })
		for _, l := range lists {
			for _, m := range l {
				r.heard[m] = true
			}
		}
		if w.tame && len(deltas) != len(lists) {
			w.Fatalf("%s: writings %v of %q were made, exported: %v", r.name, lists, rec.uid, deltas)
		}
		for i, d := range deltas {
			r.exports++
			m := message{delta: d}
			if w.tame {
				m.of = slices.Clone(lists[i])
				for _, c := range d.Cells { // what is told again of a record that is there again
					if again := w.model.byValue[string(c.Value)]; again != nil && !slices.Contains(m.of, again) {
						m.of = append(m.of, again)
					}
				}
			}
			for _, other := range w.regions {
				if other != r {
					other.mail[r.name] = append(other.mail[r.name], m)
				}
			}
		}
	}
}

// deliver brings a message of a link, any of those that were ever sent: late, again,
// and before others.
func (w *world) deliver() {
	r := w.region()
	from := w.region()
	if n := len(r.mail[from.name]); n > 0 {
		i := w.pick(n)
		r.receive(w, r.mail[from.name][i])
		if w.pick(3) > 0 { // else it comes again
			r.mail[from.name] = slices.Delete(r.mail[from.name], i, i+1)
		}
	}
}

func (r *region) receive(w *world, m message) {
	rec := r.shelf.told(m.delta)
	if w.tame {
		// What of a write is replaced before anybody settled it or saw its echo is known by its
		// value alone: whoever edits or deletes then counts as of the time of its clock.
		r.open = slices.DeleteFunc(r.open, func(o open) bool {
			if o.r == rec {
				r.settle(o)
			}
			return o.r == rec
		})
	}
	r.alg.receive(rec, m.delta)
	w.Logf("%s receives %q: alive %v absent %v", r.name, rec.uid, rec.alive(), rec.absent())
	r.shelf.index(rec)
	for _, m := range m.of {
		r.heard[m] = true
	}
}

// write carries out an order that is pending, or settles one that was carried out.
func (w *world) write() {
	r := w.region()
	if len(r.open) > 0 && w.pick(2) == 0 {
		i := w.pick(len(r.open))
		o := r.open[i]
		r.open = slices.Delete(r.open, i, i+1)
		r.settle(o)
		return
	}
	if n := len(r.shelf.order); n > 0 {
		r.carry(w, r.shelf.order[w.pick(n)], w.pick(3) == 0)
	}
}

func (r *region) settle(o open) {
	if o.r.base == nil {
		return // its echo was seen
	}
	if o.order.seen == o.r.seen {
		r.alg.done(o.r, o.order, nil)
		o.r.seen++
		r.alg.close(o.r)
	}
}

// carry writes what is pending of a record to the system of the region, as an importer
// does: not over what nobody has observed yet. It reports whether it did.
func (r *region) carry(w *world, rec *record, late bool) bool {
	if rec.base == nil || r.alg.weigh(rec) == withheld || slices.ContainsFunc(r.open, func(o open) bool { return o.r == rec }) {
		return false
	}
	order := r.alg.order(rec)
	id := rec.id
	if !r.ids {
		id = r.keyed(rec.own()[0])
		if rec.absent() {
			id = ""
		}
	}
	at := r.rows[id]
	if first := splitKey(rec.uid)[0]; w.tame && slices.ContainsFunc(r.tail, func(c change) bool { return c.kind != "echo" && c.by.key == first }) {
		return false // what was made and unmade meanwhile cannot be told from nothing
	}
	if order.Check && at == nil && order.Create {
		r.settle(open{order: order, r: rec})
		return true
	}
	if at == nil != order.Create || at != nil && !r.observed(rec, at) {
		return false
	}
	if other := r.keyed(order.Key[0]); !order.Delete && other != "" && other != id {
		return false // the key is taken
	}
	if (order.Create && !order.Check || order.Was != nil) && r.shelf.occupied(joinKey(order.Key), rec.uid) {
		return false // so it is as far as we know, see Replica.Pending
	}
	var by *entity
	switch {
	case order.Check:
		r.settle(open{order: order, r: rec})
		return true
	case order.Delete:
		by = at.whole
		delete(r.rows, id)
	case order.Create:
		w.rows++
		id = fmt.Sprint(r.name, w.rows)
		if r.ids {
			rec.id = id
			r.shelf.byID[id] = rec
		}
		at = &row{whole: w.model.entity(splitKey(rec.uid)[0])}
		r.rows[id] = at
		fallthrough
	default:
		by = at.whole
		at.key = order.Key[0]
		for i, v := range order.Set {
			if v != nil {
				at.values[i] = string(v)
			}
		}
	}
	c := change{kind: "echo", by: by}
	c.o = Observed{Ours: true, Deleted: order.Delete, Key: order.Key}
	if order.Was != nil {
		c.o.Was = order.Was
	}
	if order.Delete {
		c.o.Key = rec.own()
	}
	r.tell(w, id, c)
	w.Logf("%s writes %q: create %v delete %v id %s late %v", r.name, rec.uid, order.Create, order.Delete, id, late)
	if o := (open{order: order, r: rec}); late && !(w.tame && order.Create && by.movable) {
		r.open = append(r.open, o)
	} else {
		r.settle(o)
	}
	return true
}

// observed reports whether a row is what we believe it is.
func (r *region) observed(rec *record, at *row) bool {
	if at.key != rec.own()[0] {
		return false
	}
	for i, v := range at.values {
		if v != string(rec.base.cells[i].Value) {
			return false
		}
	}
	return true
}
