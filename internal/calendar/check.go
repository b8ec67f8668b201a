package calendar

import (
	"fmt"
	"strings"
	"time"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

const (
	shortest     = time.Second
	longest      = 366 * 24 * time.Hour // once a year, leap years too
	leastCatchUp = 10 * time.Second     // Temporal's
)

// Problem is one thing that is wrong with a schedule.
type Problem struct {
	Field   string // as flow files call it: "every", "cron", "timezone", …
	Index   int    // of the entry, where the field is a list
	Text    string
	Fix     string
	Warning bool // it may be meant
}

func (p Problem) fault() error {
	text := p.Field + ": " + p.Text
	if p.Fix != "" {
		text += "; " + p.Fix
	}
	return fault.New(fault.Invalid, "flow.schedule", text, nil)
}

// Check gives all that is wrong with a schedule whose durations are in real time, as
// it is seen at a time. A cron expression whose times are over never fires.
func Check(s flow.Schedule, now time.Time) []Problem {
	t, problems := compileAll(s)
	add := func(field string, index int, text, fix string) {
		problems = append(problems, Problem{Field: field, Index: index, Text: text, Fix: fix})
	}
	if s.Every == 0 && len(s.Cron) == 0 {
		add("schedule", 0, "it has no times", "give every: or cron:")
	}
	if s.CatchUp != 0 && s.CatchUp < leastCatchUp {
		add("catch_up", 0, s.CatchUp.String()+" is less than Temporal's least", "give 10s or more")
	}
	if s.WarnAt < 0 || s.WarnAt > 100 {
		add("warn_at", 0, fmt.Sprintf("%d%% is no share of the interval", s.WarnAt), "give 1% to 100%")
	}
	known := false
	for _, o := range flow.Overlaps {
		known = known || s.Policy() == o
	}
	if !known {
		add("overlap", 0, fmt.Sprintf("%q is no overlap policy", s.Overlap), policies(s.Overlap))
	}
	if t != nil {
		problems = append(problems, t.check(s, now)...)
	}
	return problems
}

func policies(wrong flow.Overlap) string {
	names := make([]string, len(flow.Overlaps))
	for i, o := range flow.Overlaps {
		names[i] = string(o)
	}
	if near := fault.Closest(string(wrong), names); near != "" {
		return "did you mean " + near + "?"
	}
	return "give one of " + strings.Join(names, ", ")
}

// check looks at the times themselves.
func (t *Times) check(s flow.Schedule, now time.Time) []Problem {
	var problems []Problem
	for i, text := range s.Cron {
		switch p := &t.patterns[i]; {
		case p.next(now, t.Zone).IsZero():
			problems = append(problems, Problem{Field: "cron", Index: i, Text: fmt.Sprintf("%q never fires", text),
				Fix: "no day has that month, day of month, day of week and year from " + now.In(t.Zone).Format(time.DateOnly) + " on"})
		case t.Patterns[i].narrow():
			problems = append(problems, Problem{Field: "cron", Index: i, Warning: true,
				Text: fmt.Sprintf("%q fires only on days that match both its day of month and its day of week, where cron takes either", text),
				Fix:  "if either is meant, write two expressions"})
		}
	}
	if len(problems) == 0 && (s.Every > 0 || len(s.Cron) > 0) && t.Next(now).IsZero() {
		problems = append(problems, Problem{Field: "holidays", Text: "they leave out every slot"})
	}
	if gap := t.Interval(now); gap > 0 && s.Jitter > gap {
		problems = append(problems, Problem{Field: "jitter", Text: fmt.Sprintf("%s is more than the %s between two slots", s.Jitter, gap), Fix: "give at most that"})
	}
	return problems
}

// narrow reports that day of month and day of week are both restricted.
func (p Pattern) narrow() bool {
	const allDays, allWeek = 1<<32 - 2, 1<<7 - 1
	return bits(p.Day) != allDays && bits(p.Weekday) != allWeek
}

// compileAll compiles what it can and tells what it cannot; with a problem there are
// no times.
func compileAll(s flow.Schedule) (*Times, []Problem) {
	t := &Times{Every: s.Every, Phase: s.Phase, Jitter: s.Jitter, Zone: time.UTC}
	var problems []Problem
	add := func(field string, index int, text, fix string) {
		problems = append(problems, Problem{Field: field, Index: index, Text: text, Fix: fix})
	}
	switch {
	case s.Every == 0:
	case s.Every < shortest:
		add("every", 0, s.Every.String()+" is too short", "give 1s or more")
	case s.Every > longest:
		add("every", 0, s.Every.String()+" is longer than a year", "give a year or less, or a cron expression with a year")
	case s.Every%time.Second != 0:
		add("every", 0, s.Every.String()+" is not of whole seconds", "give whole seconds")
	}
	switch {
	case s.Phase == 0:
	case s.Phase < 0 || s.Phase >= s.Every:
		add("phase", 0, s.Phase.String()+" is not within the interval", "give less than every")
	case s.Phase%time.Second != 0:
		add("phase", 0, s.Phase.String()+" is not of whole seconds", "give whole seconds")
	}
	if s.Jitter < 0 {
		add("jitter", 0, s.Jitter.String()+" is below 0", "give 0 or more")
	}
	zone, err := Zone(s.Zone)
	if err != nil {
		add("timezone", 0, err.Error(), "")
	}
	t.Zone = zone
	for i, text := range s.Cron {
		p, err := Cron(text)
		if err != nil {
			add("cron", i, err.Error(), "")
			continue
		}
		t.Patterns, t.patterns = append(t.Patterns, p), append(t.patterns, compile(p))
	}
	for i, name := range s.Holidays {
		list, err := holidays([]string{name})
		if err != nil {
			add("holidays", i, err.Error(), "")
			continue
		}
		for _, p := range list {
			t.Holidays, t.holidays = append(t.Holidays, p), append(t.holidays, compile(p))
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return t, nil
}

// Zone loads a time zone; empty is UTC. "Local" is none: it means another zone on each
// machine.
func Zone(name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, fmt.Errorf("%q is not a time zone of the IANA database, such as Europe/Berlin", name)
	}
	return zone, nil
}

// Scale divides the durations of a schedule by the speed of an environment. Slots stay
// on whole seconds, a second apart at least; cron expressions are left as they are.
func Scale(s flow.Schedule, speed float64) flow.Schedule {
	if speed <= 1 {
		return s
	}
	whole := func(d, least time.Duration) time.Duration {
		if d == 0 {
			return 0
		}
		return max(time.Duration(float64(d)/speed).Round(time.Second), least)
	}
	s.Every = whole(s.Every, time.Second)
	if s.Phase = whole(s.Phase, 0); s.Phase >= s.Every {
		s.Phase = 0
	}
	s.Jitter = time.Duration(float64(s.Jitter) / speed)
	s.CatchUp = whole(s.CatchUp, leastCatchUp)
	return s
}
