package forecast

import (
	"fmt"
	"math"
	"strings"
	"time"

	"patchbay/internal/calendar"
	"patchbay/internal/flow"
)

type (
	// Point is a run that completed.
	Point struct {
		At   time.Time // its slot
		Took time.Duration
		Rows int64
	}

	// line foretells what a run takes, in seconds, so many seconds after the last one.
	line struct {
		took    func(x float64) float64
		rising  bool // beyond chance
		spread  float64
		rowsDay float64
		byRows  bool
	}
)

const (
	fewest   = 8 // runs that say anything
	recent   = 60
	fewNew   = 20 // a trend of late has so many runs
	ahead    = 2  // times the known span that is looked ahead
	furthest = 366 * 24 * time.Hour
	looked   = 20_000 // slots that are looked at
	margin   = 2      // spreads above the trend that a run may well take
	day      = 24 * time.Hour
)

// Of makes the forecast of a flow from its runs, the oldest first, for a schedule whose
// words are told with it. It is not enough when there are too few runs.
func Of(name, words string, history []Point, times *calendar.Times, now time.Time) (flow.Forecast, bool) {
	n := len(history)
	if n < fewest {
		return flow.Forecast{}, false
	}
	last := history[n-1].At
	gap := times.Gap(last)
	if gap == 0 {
		return flow.Forecast{}, false
	}
	f := flow.Forecast{Flow: name, Runs: n, Interval: gap}
	var told line
	for i, span := range spans(history) {
		l, ok := fit(span)
		if !ok {
			continue
		}
		breach := l.breach(times, now, last, span)
		if i == 0 || breach != nil && (f.Breach == nil || breach.Before(*f.Breach)) {
			told, f.Breach, f.Warn = l, breach, breach != nil && l.rising
		}
	}
	if told.took == nil {
		return flow.Forecast{}, false
	}
	sinceLast := now.Sub(last).Seconds()
	f.Typical = seconds(told.took(sinceLast))
	f.PerDay = seconds(told.took(sinceLast+day.Seconds()) - told.took(sinceLast))
	f.RowsDay = told.rowsDay
	f.Text = text(f, words, told)
	return f, true
}

// spans are the parts of a history that are looked at: all of it, and the last runs,
// where what is new shows sooner.
func spans(history []Point) [][]Point {
	all := [][]Point{history}
	if n := len(history); n > 2*fewNew {
		all = append(all, history[n-max(min(n/3, recent), fewNew):])
	}
	return all
}

// fit makes the line of a span: against time or, where rows explain better what runs
// take, against rows that grow with time.
func fit(span []Point) (line, bool) {
	n := len(span)
	x, took, rows := make([]float64, n), make([]float64, n), make([]float64, n)
	for i, p := range span {
		x[i], took[i], rows[i] = p.At.Sub(span[n-1].At).Seconds(), p.Took.Seconds(), float64(p.Rows)
	}
	byTime, ok := sen(x, took)
	if !ok {
		return line{}, false
	}
	l := line{took: byTime.at, rising: byTime.least > 0, spread: byTime.spread}
	growth, ok := sen(x, rows)
	if !ok {
		return l, true
	}
	l.rowsDay = growth.slope * day.Seconds()
	byRows, ok := sen(rows, took)
	if ok && byRows.least > 0 && growth.least > 0 && byRows.spread < byTime.spread {
		l.byRows, l.spread, l.rising = true, byRows.spread, true
		l.took = func(x float64) float64 { return byRows.at(growth.at(x)) }
	}
	return l, true
}

// breach is the first slot to come whose run may well not be over before the next one;
// nil: none, as far as can be seen.
func (l line) breach(times *calendar.Times, now, last time.Time, span []Point) *time.Time {
	known := last.Sub(span[0].At)
	until := now.Add(min(ahead*known, furthest))
	at := now.Add(-time.Second)
	for range looked {
		at = times.Next(at)
		if at.IsZero() || at.After(until) {
			return nil
		}
		gap := times.Gap(at)
		if gap > 0 && l.took(at.Sub(last).Seconds())+margin*l.spread >= gap.Seconds() {
			return &at
		}
	}
	return nil
}

func seconds(s float64) time.Duration {
	if math.Abs(s) > furthest.Seconds() {
		s = math.Copysign(furthest.Seconds(), s)
	}
	return time.Duration(s * float64(time.Second))
}

// text is the forecast in a sentence.
func text(f flow.Forecast, words string, l line) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s): a run takes %s of the %s that it has", f.Flow, words, rounded(f.Typical), calendar.Short(f.Interval))
	switch {
	case l.rising && f.PerDay > 0:
		fmt.Fprintf(&b, ", %s longer each day", rounded(f.PerDay))
		if l.byRows {
			fmt.Fprintf(&b, " with %.0f more rows a day", f.RowsDay)
		}
	default:
		b.WriteString(", without a trend that is certain")
	}
	if f.Breach != nil {
		fmt.Fprintf(&b, "; from the slot of %s on it may not be over before the next", f.Breach.UTC().Format(time.RFC3339))
	}
	return b.String()
}

func rounded(d time.Duration) string {
	switch {
	case d >= time.Hour:
		return calendar.Short(d.Round(time.Minute))
	case d >= time.Second:
		return calendar.Short(d.Round(100 * time.Millisecond))
	}
	return d.Round(time.Millisecond).String()
}
