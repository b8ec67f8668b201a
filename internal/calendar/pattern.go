package calendar

import (
	"slices"
	"time"
)

// pattern is a Pattern that is ready to be matched.
type pattern struct {
	second, minute, hour, day, month, weekday uint64 // a bit a value
	years                                     []int  // nil: all
}

func compile(p Pattern) pattern {
	c := pattern{second: bits(p.Second), minute: bits(p.Minute), hour: bits(p.Hour), day: bits(p.Day),
		month: bits(p.Month), weekday: bits(p.Weekday)}
	for _, r := range p.Year {
		for y := r.Start; y <= max(r.End, r.Start); y += max(r.Step, 1) {
			c.years = append(c.years, y)
		}
	}
	return c
}

func bits(ranges []Range) uint64 {
	var set uint64
	for _, r := range ranges {
		for v := r.Start; v <= max(r.End, r.Start); v += max(r.Step, 1) {
			set |= 1 << v
		}
	}
	return set
}

func has(set uint64, v int) bool { return set&(1<<v) != 0 }

func (p *pattern) inYear(y int) bool { return p.years == nil || slices.Contains(p.years, y) }

// matchesDay reports whether a time, which is of the zone, is on such a day.
func (p *pattern) matchesDay(t time.Time) bool {
	return p.inYear(t.Year()) && has(p.month, int(t.Month())) && has(p.day, t.Day()) && has(p.weekday, int(t.Weekday()))
}

// walk is a time on the wall on its way to the next match. Folded says that it is in
// the second of two hours that a change of clocks makes alike.
type walk struct {
	y       int
	mo      time.Month
	d       int
	h, m, s int
	folded  bool
	zone    *time.Location
}

// next gives the first match after t; zero: there is none. It goes the way that
// Temporal's server goes, hour by hour over the wall, so that it meets a change of
// clocks by half an hour, or at midnight, where the server does.
func (p *pattern) next(t time.Time, zone *time.Location) time.Time {
	t = t.In(zone)
	w := walk{zone: zone, folded: t.Add(-time.Hour).Hour() == t.Hour()}
	w.y, w.mo, w.d = t.Date()
	w.h, w.m, w.s = t.Clock()
	w.s++
	for {
		w.carry()
		if w.y > lastYear {
			return time.Time{}
		}
		if !p.settle(&w) {
			continue
		}
		at := w.time()
		if at.Hour() != w.h { // a change of clocks leaves the hour out
			w.h, w.m, w.s = w.h+1, 0, 0
			continue
		}
		if w.folded {
			at = at.Add(time.Hour)
		}
		return at
	}
}

func (w *walk) time() time.Time { return time.Date(w.y, w.mo, w.d, w.h, w.m, w.s, 0, w.zone) }

// carry turns sixty seconds into a minute, and so on up to years.
func (w *walk) carry() {
	if w.s >= 60 {
		w.m, w.s = w.m+1, 0
	}
	if w.m >= 60 {
		before := time.Date(w.y, w.mo, w.d, w.h, 0, 0, 0, w.zone)
		after := time.Date(w.y, w.mo, w.d, w.h+1, 0, 0, 0, w.zone)
		w.m = 0
		if !w.folded && after.Sub(before) > time.Hour {
			w.folded = true // the hour comes a second time
		} else {
			w.h, w.folded = w.h+1, false
		}
	}
	if w.h >= 24 {
		w.d, w.h = w.d+1, 0
	}
	if w.d > days(w.mo, w.y) {
		w.mo, w.d = w.mo+1, 1
	}
	if w.mo > time.December {
		w.y, w.mo = w.y+1, time.January
	}
}

// settle moves on to a time that matches, as far as it can without carrying; false: it
// has to carry and go on.
func (p *pattern) settle(w *walk) bool {
	if !p.inYear(w.y) {
		w.y, w.mo, w.d = w.y+1, time.January, 1
		w.midnight()
		return false
	}
	for !has(p.month, int(w.mo)) {
		w.mo, w.d = w.mo+1, 1
		w.midnight()
		if w.mo > time.December {
			return false
		}
	}
	for !has(p.day, w.d) || !has(p.weekday, int(w.time().Weekday())) {
		w.d++
		w.midnight()
		if w.d > days(w.mo, w.y) {
			return false
		}
	}
	for !has(p.hour, w.h) {
		w.h, w.m, w.s, w.folded = w.h+1, 0, 0, false
		if w.h >= 24 {
			return false
		}
	}
	for !has(p.minute, w.m) {
		w.m, w.s = w.m+1, 0
		if w.m >= 60 {
			return false
		}
	}
	for !has(p.second, w.s) {
		w.s++
		if w.s >= 60 {
			return false
		}
	}
	return true
}

func (w *walk) midnight() { w.h, w.m, w.s, w.folded = 0, 0, 0, false }

// days is how many days a month has.
func days(m time.Month, y int) int { return time.Date(y, m+1, 0, 0, 0, 0, 0, time.UTC).Day() }
