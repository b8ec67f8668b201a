package web

import (
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"patchbay/internal/flow"
)

const (
	shownSlots = 96 // squares in the calendar of a schedule, and bars in its chart
	barsHeight = 56
)

type (
	// rhythm is a schedule as its page tells it.
	rhythm struct {
		flow.Rhythm
		State    state
		Now      string // in a sentence
		Soon     []time.Time
		Squares  []square
		Totals   []fact
		Chart    template.HTML
		Words    string // what the chart shows, for those who do not see it
		Warned   bool
		Clock    time.Time
		Interval string
		WarnAt   int
	}

	// square is one slot in the calendar.
	square struct {
		Class, Title, Link string
	}
)

// slotStates are how outcomes look; what ran looks as its run ended.
var slotStates = map[flow.SlotOutcome]string{
	flow.SlotExpected: "expected", flow.SlotRunning: "running", flow.SlotRan: "completed", flow.SlotLate: "late", flow.SlotOverlap: "overlap",
	flow.SlotMissed: "failed", flow.SlotPaused: "parked", flow.SlotStopped: "parked", flow.SlotHoliday: "holiday",
}

// schedules is the page of all schedules: what became of their slots, and how long
// their runs take of the time they have.
func (c *console) schedules(w http.ResponseWriter, r *http.Request) error {
	if c.Schedules == nil {
		return c.none()
	}
	if err := c.operating(r, "schedules"); err != nil {
		return err
	}
	all, err := c.Schedules.Rhythms(r.Context())
	if err != nil {
		return err
	}
	list := make([]rhythm, len(all))
	for i, one := range all {
		slots, err := c.Schedules.Newest(r.Context(), one.Flow, shownSlots)
		if err != nil {
			return err
		}
		list[i] = rhythmOf(one, slots, c.Now())
	}
	c.render(w, r, http.StatusOK, "schedules", frame{Title: "Schedules", Nav: "schedules", Page: struct{ List []rhythm }{list}})
	return nil
}

func rhythmOf(one flow.Rhythm, newest []flow.Slot, now time.Time) rhythm {
	r := rhythm{Rhythm: one, Clock: now, State: state{"On time", "completed", icon("tick")}, Interval: duration(one.Interval), WarnAt: one.Schedule.WarnAt}
	if r.WarnAt == 0 {
		r.WarnAt = flow.DefaultWarnAt
	}
	if n := len(one.Next); n > 0 {
		r.Soon = one.Next[:min(n, 3)]
	}
	past := slices.Clone(newest)
	slices.SortFunc(past, func(a, b flow.Slot) int { return a.At.Compare(b.At) })
	missed, idle := 0, false
	for _, s := range past {
		if s.Outcome == flow.SlotMissed {
			missed++
		}
		if s.Outcome.Final() {
			idle = s.Outcome == flow.SlotOverlap
		}
		r.Squares = append(r.Squares, squareOf(s))
	}
	r.Chart, r.Words = runtimes(past, one.Interval, r.WarnAt)
	for _, o := range []flow.SlotOutcome{flow.SlotRan, flow.SlotLate, flow.SlotOverlap, flow.SlotStopped, flow.SlotMissed, flow.SlotPaused, flow.SlotHoliday} {
		if n := one.Outcomes[o]; n > 0 {
			r.Totals = append(r.Totals, fact{string(o), grouped(int(n))})
		}
	}
	switch {
	case one.Paused != nil:
		r.State, r.Now = state{"Paused", "parked", icon("pause")}, sentence("paused by "+one.Paused.By+": "+one.Paused.Reason)
	case one.Forecast != nil && one.Forecast.Warn:
		r.State, r.Now, r.Warned = state{"Will be too slow", "parked", icon("clock")}, sentence(one.Forecast.Text), true
	case missed > 0:
		r.State, r.Now = state{"Missed slots", "failed", icon("cross")}, sentence(count(missed, "slot")+" of those below had no run; patchbay backfill "+one.Flow+" makes up for them")
	case idle:
		r.State, r.Now = state{"Skipped", "parked", icon("clock")}, "The last slot had no run, because one was open."
	case len(one.Open) > 0:
		r.State, r.Now = state{"Running", "running", icon("ring")}, "A run is under way."
	case one.Forecast != nil:
		r.Now = sentence(one.Forecast.Text)
	default:
		r.Now = "Too few runs yet to say how long they will take."
	}
	return r
}

func squareOf(s flow.Slot) square {
	q := square{Class: slotStates[s.Outcome], Title: absolute(s.At) + ": " + string(s.Outcome)}
	if s.RunID != "" {
		q.Link = "/runs/" + s.RunID
	}
	if s.Outcome == flow.SlotRan && s.Status != flow.Completed && s.Status != "" {
		q.Class, q.Title = "failed", absolute(s.At)+": the run "+string(s.Status)
	}
	if s.StartedAt != nil && s.EndedAt != nil {
		q.Title += ", " + duration(s.EndedAt.Sub(*s.StartedAt))
	}
	if s.Reason != "" {
		q.Title += ": " + s.Reason
	}
	return q
}

// runtimes draws how much of their interval runs took, a bar a slot, before the line
// at which somebody is warned and the one at which the next slot comes.
func runtimes(slots []flow.Slot, interval time.Duration, warn int) (template.HTML, string) {
	var took []time.Duration
	longest := time.Duration(0)
	for _, s := range slots {
		if s.StartedAt == nil || s.EndedAt == nil {
			continue
		}
		d := s.EndedAt.Sub(*s.StartedAt)
		took, longest = append(took, d), max(longest, d)
	}
	if len(took) == 0 || interval <= 0 {
		return "", ""
	}
	top := max(longest, interval*110/100)
	width := max(len(took), 24)*(barWidth+barGap) - barGap
	y := func(d time.Duration) float64 { return barsHeight - float64(d)*barsHeight/float64(top) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="chart runtimes" viewBox="0 0 %d %d" preserveAspectRatio="none" aria-hidden="true">`, width, barsHeight)
	for i, d := range took {
		class := "ran"
		if d > interval {
			class = "failed"
		}
		fmt.Fprintf(&b, `<rect class="%s" x="%d" y="%.1f" width="%d" height="%.1f"/>`, class, i*(barWidth+barGap), min(y(d), barsHeight-1.5), barWidth, max(barsHeight-y(d), 1.5))
	}
	fmt.Fprintf(&b, `<rect class="warn" x="0" y="%.1f" width="%d" height="0.8"/><rect class="due" x="0" y="%.1f" width="%d" height="1.2"/>`,
		y(interval*time.Duration(warn)/100), width, y(interval), width)
	b.WriteString(`</svg>`)
	last := took[len(took)-1]
	return template.HTML(b.String()), fmt.Sprintf("The last run took %s of %s, the longest of %s %s.", duration(last), duration(interval), count(len(took), "run"), duration(longest))
}
