package replica

// choose is a person who decides between held values.
func (w *world) choose() {
	r := w.region()
	for _, rec := range r.shelf.order {
		for i := range rec.cells {
			if r.alg.held(rec, i) {
				r.choose(w, rec, i)
				return
			}
		}
	}
}

func (r *region) choose(w *world, rec *record, i int) {
	all := rec.writings(i)
	value := all[w.pick(len(all))].Value
	if w.tame {
		value = []byte(w.value())
	}
	made := map[*record][][]*writing{}
	if w.tame {
		made[rec] = [][]*writing{w.model.decided(r, rec, i, string(value), w.now)}
	}
	r.alg.decide(rec, i, value, w.now)
	r.send(w, []*record{rec}, made)
}

// clock moves a region's clock, forward or back.
func (w *world) clock() { w.region().offset = int64(w.pick(2000)) - 1000 }

func (w *world) step() {
	w.steps++
	w.now += int64(w.pick(50))
	switch n := w.pick(100); {
	case n < 8:
		w.create()
	case n < 25:
		w.edit()
	case n < 29:
		w.remove()
	case n < 33:
		w.rename()
	case n < 58:
		w.observe()
	case n < 80:
		w.deliver()
	case n < 96:
		w.write()
	case n < 98:
		w.choose()
	default:
		w.clock()
	}
}

// calm lets everything arrive, and one person decide what is held. Who edits meanwhile
// does not: that there is an end is part of what must hold.
func (w *world) calm() {
	for round := 0; ; round++ {
		if round > 100 {
			w.Fatalf("it does not come to rest")
		}
		moved := false
		for _, r := range w.regions {
			moved = moved || len(r.tail) > 0 || len(r.open) > 0
			r.observe(w, len(r.tail))
			for _, o := range r.open {
				r.settle(o)
			}
			r.open = nil
			for _, other := range w.regions {
				for _, m := range r.mail[other.name] {
					moved = true
					r.receive(w, m)
				}
				r.mail[other.name] = nil
			}
			for _, rec := range r.shelf.order {
				moved = r.carry(w, rec, false) || moved
			}
		}
		if moved {
			continue
		}
		decided := false
		for _, rec := range w.regions[0].shelf.order {
			for i := range rec.cells {
				if w.regions[0].alg.held(rec, i) {
					w.regions[0].choose(w, rec, i)
					decided = true
				}
			}
		}
		if !decided {
			return
		}
	}
}
