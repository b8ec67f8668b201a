package calendar

import (
	"fmt"
	"strconv"
	"strings"
)

type (
	// Range is the values Start, Start+Step, … up to End.
	Range struct{ Start, End, Step int }

	// Pattern is a set of times by what clock and calendar show. A time matches when
	// each field does; a field without ranges matches nothing, except Year, which then
	// matches all.
	Pattern struct {
		Second, Minute, Hour, Day, Month, Weekday, Year []Range
	}

	// field is one field of a cron expression.
	field struct {
		name     string
		min, max int
		names    []string // from min on, by their first letters
		letters  int      // that are needed at least
	}
)

// The years that Temporal knows.
const firstYear, lastYear = 2000, 2100

var (
	second  = field{name: "second", max: 59}
	minute  = field{name: "minute", max: 59}
	hour    = field{name: "hour", max: 23}
	day     = field{name: "day of month", min: 1, max: 31}
	month   = field{name: "month", min: 1, max: 12, names: months, letters: 3}
	weekday = field{name: "day of week", max: 7, names: weekdays, letters: 2} // 7 is Sunday too
	year    = field{name: "year", min: firstYear, max: lastYear}

	months = []string{"january", "february", "march", "april", "may", "june", "july",
		"august", "september", "october", "november", "december"}
	weekdays = []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

	shorthands = map[string]string{
		"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
		"@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
	}
)

// every is all values of a field.
func (f field) every() []Range { return []Range{{f.min, f.max, 1}} }

// Cron reads a cron expression.
func Cron(text string) (Pattern, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "@") {
		long, known := shorthands[text]
		if !known {
			return Pattern{}, fmt.Errorf("%q is not one of @yearly, @monthly, @weekly, @daily and @hourly", text)
		}
		text = long
	}
	if strings.Contains(text, "=") {
		return Pattern{}, fmt.Errorf("a time zone does not stand in the expression")
	}
	parts := strings.Fields(text)
	if len(parts) < 5 || len(parts) > 7 {
		return Pattern{}, fmt.Errorf("%q has %d fields; five are minute, hour, day of month, month and day of week, a sixth is the year, and with seven the first is the second", text, len(parts))
	}
	if len(parts) < 7 {
		parts = append([]string{"0"}, parts...)
	}
	if len(parts) < 7 {
		parts = append(parts, "*")
	}
	var p Pattern
	for i, to := range []struct {
		field  field
		ranges *[]Range
	}{{second, &p.Second}, {minute, &p.Minute}, {hour, &p.Hour}, {day, &p.Day}, {month, &p.Month}, {weekday, &p.Weekday}, {year, &p.Year}} {
		ranges, err := to.field.read(parts[i])
		if err != nil {
			return Pattern{}, err
		}
		*to.ranges = ranges
	}
	return p, nil
}

// read reads one field: *, x, x-y, each with /step, several with commas between.
func (f field) read(text string) ([]Range, error) {
	if text == "*" && f.name == year.name {
		return nil, nil
	}
	var ranges []Range
	for part := range strings.SplitSeq(text, ",") {
		r, err := f.part(part)
		if err != nil {
			return nil, err
		}
		if f.max == weekday.max && r.End == 7 {
			// Sunday is 0: a range that reaches 7 is split, if it meets it.
			if (7-r.Start)%r.Step == 0 && (r.Start > 0 || r.Step > 1) {
				ranges = append(ranges, Range{0, 0, 1})
			}
			if r.End = 6; r.Start == 7 {
				continue
			}
		}
		ranges = append(ranges, r)
	}
	return ranges, nil
}

func (f field) part(text string) (Range, error) {
	r := Range{f.min, f.max, 1}
	span, step, stepped := strings.Cut(text, "/")
	if stepped {
		n, err := strconv.Atoi(step)
		if err != nil || n < 1 {
			return r, fmt.Errorf("the step %q of the %s in %q is not a whole number above 0", step, f.name, text)
		}
		r.Step = n
	}
	if span == "*" {
		return r, nil
	}
	from, to, ranged := strings.Cut(span, "-")
	var err error
	if r.Start, err = f.value(from); err != nil {
		return r, err
	}
	switch {
	case ranged:
		if r.End, err = f.value(to); err != nil {
			return r, err
		}
		if r.End < r.Start {
			return r, fmt.Errorf("the %s %q ends before it begins", f.name, span)
		}
	case !stepped:
		r.End = r.Start // x/2 goes on to the end, x alone does not
	}
	return r, nil
}

func (f field) value(text string) (int, error) {
	if len(text) >= f.letters && f.letters > 0 {
		for i, name := range f.names {
			if strings.HasPrefix(name, strings.ToLower(text)) {
				return f.min + i, nil
			}
		}
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("%q is no %s", text, f.name)
	}
	if n < f.min || n > f.max {
		return 0, fmt.Errorf("the %s %d is not between %d and %d", f.name, n, f.min, f.max)
	}
	return n, nil
}
