package calendar

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"patchbay/internal/fault"
)

// feast is one holiday of a list: a day of each year, or one that moves with Easter
// or with the week.
type feast struct {
	month time.Month // 0: Easter, days after it
	day   int        // of the month; with weekday the first that it may be, of seven; days after Easter
	on    int        // 1 + day of week; 0: any
	since int        // first year; 0: always
}

// The lists of holidays that go by a rule. A list holds the days of the whole country
// or institution; what only a region keeps is written out in the flow file.
var lists = map[string][]feast{
	// The closing days of the euro payment system TARGET.
	"target": {{month: 1, day: 1}, {day: -2}, {day: 1}, {month: 5, day: 1}, {month: 12, day: 25}, {month: 12, day: 26}},
	// The nine days that all of Germany keeps.
	"de": {{month: 1, day: 1}, {day: -2}, {day: 1}, {month: 5, day: 1}, {day: 39}, {day: 50}, {month: 10, day: 3}, {month: 12, day: 25}, {month: 12, day: 26}},
	// The eleven of France (Code du travail, L3133-1).
	"fr": {{month: 1, day: 1}, {day: 1}, {month: 5, day: 1}, {month: 5, day: 8}, {day: 39}, {day: 50}, {month: 7, day: 14}, {month: 8, day: 15},
		{month: 11, day: 1}, {month: 11, day: 11}, {month: 12, day: 25}},
	// The federal holidays of the United States (5 U.S.C. 6103), on their own days: one
	// that falls on a weekend is not moved.
	"us-federal": {{month: 1, day: 1}, {month: 1, day: 15, on: 2}, {month: 2, day: 15, on: 2}, {month: 5, day: 25, on: 2}, {month: 6, day: 19, since: 2021},
		{month: 7, day: 4}, {month: 9, day: 1, on: 2}, {month: 10, day: 8, on: 2}, {month: 11, day: 11}, {month: 11, day: 22, on: 5}, {month: 12, day: 25}},
}

// Lists are the names of the lists of holidays, in order.
func Lists() []string { return slices.Sorted(maps.Keys(lists)) }

// holidays gives the patterns of the days that are named: whole days, all seconds of
// them.
func holidays(names []string) ([]Pattern, error) {
	dates := map[[2]int][]Range{} // years by month and day
	var all []Pattern
	for _, name := range names {
		if list, known := lists[name]; known {
			for _, f := range list {
				if f.month == 0 {
					for y := firstYear; y <= lastYear; y++ {
						at := easter(y).AddDate(0, 0, f.day)
						key := [2]int{int(at.Month()), at.Day()}
						dates[key] = append(dates[key], Range{y, y, 1})
					}
					continue
				}
				all = append(all, f.pattern())
			}
			continue
		}
		p, err := date(name)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	for _, key := range slices.SortedFunc(maps.Keys(dates), func(a, b [2]int) int { return slices.Compare(a[:], b[:]) }) {
		years := dates[key]
		slices.SortFunc(years, func(a, b Range) int { return a.Start - b.Start })
		p := wholeDay(key[0], key[1], key[1])
		p.Year = slices.Compact(years)
		all = append(all, p)
	}
	return all, nil
}

// pattern is the days of a feast that does not move with Easter.
func (f feast) pattern() Pattern {
	last := f.day
	if f.on > 0 {
		last = f.day + 6
	}
	p := wholeDay(int(f.month), f.day, last)
	if f.on > 0 {
		p.Weekday = []Range{{f.on - 1, f.on - 1, 1}}
	}
	if f.since > 0 {
		p.Year = []Range{{f.since, lastYear, 1}}
	}
	return p
}

func wholeDay(m, first, last int) Pattern {
	return Pattern{Second: second.every(), Minute: minute.every(), Hour: hour.every(), Weekday: []Range{{0, 6, 1}},
		Day: []Range{{first, last, 1}}, Month: []Range{{m, m, 1}}}
}

// date reads a day as it is written: "2026-12-24", or "12-24" of every year.
func date(text string) (Pattern, error) {
	if at, err := time.Parse(time.DateOnly, text); err == nil && at.Year() >= firstYear && at.Year() <= lastYear {
		p := wholeDay(int(at.Month()), at.Day(), at.Day())
		p.Year = []Range{{at.Year(), at.Year(), 1}}
		return p, nil
	}
	if at, err := time.Parse(time.DateOnly, "2000-"+text); err == nil { // a leap year: 02-29 is a day
		return wholeDay(int(at.Month()), at.Day(), at.Day()), nil
	}
	hint := ""
	if near := fault.Closest(text, Lists()); near != "" {
		hint = "; did you mean " + near + "?"
	}
	return Pattern{}, fmt.Errorf("%q is neither a day (2026-12-24, or 12-24 of every year) nor a list (%s)%s", text, strings.Join(Lists(), ", "), hint)
}

// easter is Easter Sunday by the Gregorian computus of Meeus, Jones and Butcher.
func easter(y int) time.Time {
	a, b, c := y%19, y/100, y%100
	d, e := b/4, b%4
	g := (8*b + 13) / 25
	h := (19*a + b - d - g + 15) % 30
	i, k := c/4, c%4
	l := (32 + 2*e + 2*i - h - k) % 7
	m := (a + 11*h + 19*l) / 433
	n := (h + l - 7*m + 90) / 25
	p := (h + l - 7*m + 33*n + 19) % 32
	return time.Date(y, time.Month(n), p, 0, 0, 0, 0, time.UTC)
}
