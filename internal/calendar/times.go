package calendar

import (
	"math"
	"time"

	"patchbay/internal/flow"
)

type (
	// Times is a schedule that is ready to be asked. It is safe for concurrent use.
	Times struct {
		// Patterns are the times of cron, Holidays the days without slots; both are
		// matched in Zone. They are what Temporal is given.
		Patterns, Holidays []Pattern
		Every, Phase       time.Duration // 0: no interval
		Jitter             time.Duration
		Zone               *time.Location

		patterns, holidays []pattern
	}

	// Left is a day of which a holiday leaves out slots.
	Left struct {
		First time.Time // of the slots that it leaves out
		Count int
	}
)

// Compile makes a schedule ready. What is wrong with it is better told by Check; the
// error is the first of that.
func Compile(s flow.Schedule) (*Times, error) {
	t, problems := compileAll(s)
	if len(problems) > 0 {
		return nil, problems[0].fault()
	}
	return t, nil
}

// Next gives the first slot after a time; zero: there is none.
func (t *Times) Next(after time.Time) time.Time {
	for {
		at := t.raw(after)
		if at.IsZero() || !t.Holiday(at) {
			return at
		}
		after = t.endOfDay(at)
	}
}

// Between gives the slots after one time and up to another, at most so many.
func (t *Times) Between(after, until time.Time, most int) []time.Time {
	var list []time.Time
	for len(list) < most {
		at := t.Next(after)
		if at.IsZero() || at.After(until) {
			break
		}
		list = append(list, at)
		after = at
	}
	return list
}

// LeftOut gives the days of which holidays leave out slots, whole days, of those that
// the time after one time and up to another touches.
func (t *Times) LeftOut(after, until time.Time) []Left {
	if len(t.holidays) == 0 {
		return nil
	}
	var list []Left
	if t.Holiday(after) {
		after = t.startOfDay(after)
	}
	for {
		at := t.raw(after)
		if at.IsZero() || at.After(until) {
			return list
		}
		if !t.Holiday(at) {
			after = at
			if next := t.nextHoliday(at, until); next.After(after) {
				after = next
			}
			continue
		}
		day, end := Left{First: at}, t.endOfDay(at)
		for ; !at.IsZero() && !at.After(end); at = t.raw(at) {
			day.Count++
		}
		list = append(list, day)
		after = end
	}
}

// startOfDay is a time before the first second of a day, and after all slots of the
// day before.
func (t *Times) startOfDay(at time.Time) time.Time {
	y, m, d := at.In(t.Zone).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, t.Zone).Add(-time.Second)
}

// nextHoliday is a time not after the first holiday after at, of those until a time:
// what lies between needs no looking at.
func (t *Times) nextHoliday(at, until time.Time) time.Time {
	for local := t.endOfDay(at).In(t.Zone); ; local = t.endOfDay(local.Add(time.Second)).In(t.Zone) {
		if local.After(until) || t.holidayOn(local.Add(time.Second)) {
			return local
		}
	}
}

// Holiday reports whether a time is on a holiday.
func (t *Times) Holiday(at time.Time) bool { return t.holidayOn(at.In(t.Zone)) }

func (t *Times) holidayOn(local time.Time) bool {
	for i := range t.holidays {
		if t.holidays[i].matchesDay(local) {
			return true
		}
	}
	return false
}

// endOfDay is the last second of a day, or one before it: midnight may be left out by a
// change of clocks.
func (t *Times) endOfDay(at time.Time) time.Time {
	y, m, d := at.In(t.Zone).Date()
	end := time.Date(y, m, d+1, 0, 0, 0, 0, t.Zone).Add(-time.Second)
	if end.Before(at) {
		return at
	}
	return end
}

// raw gives the next time, holidays or not.
func (t *Times) raw(after time.Time) time.Time {
	if start := time.Unix(-1, 0); after.Before(start) {
		after = start
	}
	best := int64(math.MaxInt64)
	for i := range t.patterns {
		if next := t.patterns[i].next(after, t.Zone); !next.IsZero() {
			best = min(best, next.Unix())
		}
	}
	if t.Every > 0 {
		every, phase := int64(t.Every/time.Second), int64(t.Phase/time.Second)
		best = min(best, ((after.Unix()-phase)/every+1)*every+phase)
	}
	if best == math.MaxInt64 {
		return time.Time{}
	}
	if at := time.Unix(best, 0).UTC(); at.Year() <= lastYear {
		return at
	}
	return time.Time{}
}

// Interval is the shortest gap between the slots from a time on, of the next thousand;
// 0: there are not two.
func (t *Times) Interval(from time.Time) time.Duration {
	const looked = 1000
	if len(t.patterns) == 0 {
		return t.Every
	}
	var shortest time.Duration
	last := t.Next(from)
	for range looked {
		if last.IsZero() {
			break
		}
		next := t.Next(last)
		if next.IsZero() {
			break
		}
		if gap := next.Sub(last); shortest == 0 || gap < shortest {
			shortest = gap
		}
		last = next
	}
	return shortest
}

// Gap is how long a slot has until the next one; 0: it is the last.
func (t *Times) Gap(at time.Time) time.Duration {
	next := t.Next(at)
	if next.IsZero() {
		return 0
	}
	return next.Sub(at)
}
