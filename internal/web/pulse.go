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

type (
	// pulse is an event flow as its page shows it.
	pulse struct {
		flow.Pulse
		Stages   []stage
		Rate     chart
		Span     string // what the numbers are of: "the last hour"
		State    state
		Now      string // how it is, in one sentence
		Waiting  []fact
		Feeds    []feed
		Troubles []trouble
		Clock    time.Time
	}

	// stage is one line of the funnel: what is left after it, and what it took.
	stage struct {
		Name, Left, Note string
		Bar              template.HTML
	}

	feed struct {
		Name, Table, Problem, Sweep string
		Last, Swept                 *instant
	}

	// instant is a time as the template "when" takes it.
	instant struct{ At, Clock time.Time }
)

func at(t *time.Time, now time.Time) *instant {
	if t == nil {
		return nil
	}
	return &instant{*t, now}
}

// pulseOf tells an event flow; nil for another, and for who does not operate.
func (c *console) pulseOf(r *http.Request, plan *flow.Plan) (*pulse, error) {
	if c.Events == nil || plan.Reaction == nil || !c.operates(r) {
		return nil, nil
	}
	got, err := c.Events.Pulse(r.Context(), plan)
	if err != nil {
		return nil, err
	}
	now := c.Now()
	p := &pulse{Pulse: got, Clock: now, Stages: funnel(got), Rate: rate(got), Span: "the last " + span60(got.Bucket)}
	p.Now, p.State = standing(got, now)
	p.Waiting = waitingOf(got, plan, now)
	for _, f := range got.Sources {
		connection, table, _ := strings.Cut(f.Source, ".")
		one := feed{Name: system(connection), Table: table, Problem: sentence(f.Problem), Last: at(f.Last, now), Swept: at(f.SweptAt, now)}
		switch {
		case plan.Reaction.Sweep == 0:
			one.Sweep = "No sweep: only what is delivered is known."
		case f.SweptAt == nil && f.Problem == "":
			one.Sweep = "Not yet."
		}
		p.Feeds = append(p.Feeds, one)
	}
	p.Troubles, err = c.troubles(r, flow.TroubleFilter{Flow: plan.Flow})
	return p, err
}

// span60 is how long sixty intervals are.
func span60(bucket time.Duration) string {
	if bucket == time.Minute {
		return "hour"
	}
	return duration(60 * bucket)
}

// standing is how a flow is, in a sentence and a state.
func standing(p flow.Pulse, now time.Time) (string, state) {
	if p.Spike != nil {
		text := fmt.Sprintf("Past what it expects since %s: %s events came where %s are expected; %s.", clock(p.Spike.Since),
			grouped(int(p.Spike.Received)), grouped(int(p.Spike.Expected)), mode(p.Spike.Mode))
		return text, state{"Spike: " + string(p.Spike.Mode), "held", icon("clock")}
	}
	for _, f := range p.Sources {
		if f.Problem != "" {
			return "A sweep has a problem: " + sentence(f.Problem), state{"Needs you", "failed", icon("cross")}
		}
	}
	if p.Troubles > 0 {
		return count(int(p.Troubles), "event") + " wait for a person; the others go on.", state{"Needs you", "failed", icon("cross")}
	}
	received := p.Stages["received"] - p.Stages["duplicate"]
	switch {
	case received == 0 && p.Open == 0:
		return "Nothing came lately, and nothing waits.", state{"Quiet", "cancelled", icon("dot")}
	case p.Due > 0 && p.Oldest != nil && now.Sub(*p.Oldest) > time.Minute:
		return count(int(p.Due), "window") + " wait for their turn.", state{"Catching up", "running", icon("clock")}
	}
	return "It keeps up.", state{"Flowing", "completed", icon("tick")}
}

// mode says what a spike plan does in a mode.
func mode(m flow.SpikeMode) string {
	switch m {
	case flow.SpikeDigest:
		return "one message goes to each recipient and interval"
	case flow.SpikeShed:
		return "what comes is kept and not carried out"
	case flow.SpikeQueue:
	}
	return "nothing is dropped, it takes longer"
}

// waitingOf are the figures of what waits.
func waitingOf(p flow.Pulse, plan *flow.Plan, now time.Time) []fact {
	all := []fact{{"Open windows", grouped(int(p.Open))}, {"Due", grouped(int(p.Due))}}
	if plan.Reaction.Throttle != nil {
		all = append(all, fact{"Held by the throttle", grouped(int(p.Held))})
	}
	oldest := "none"
	if p.Oldest != nil {
		oldest = duration(now.Sub(*p.Oldest).Round(time.Second))
	}
	all = append(all, fact{"Oldest waits", oldest})
	switch {
	case p.Due == 0:
		all = append(all, fact{"Drained", "nothing is due"})
	case p.Drained == nil:
		all = append(all, fact{"Drained", "not known: no window became a run in the last minute"})
	default:
		by := "at the rate of the last minute"
		if p.Limited != "" {
			by = "at the rate of " + p.Limited
		}
		all = append(all, fact{"Drained", "in " + duration(p.Drained.Sub(now).Round(time.Second)) + ", " + clock(*p.Drained) + ", " + by})
	}
	return all
}

// funnel draws what is left of the events of a span, stage by stage.
func funnel(p flow.Pulse) []stage {
	reason := func(names ...flow.EventReason) (sum int64, said string) {
		var parts []string
		for _, name := range names {
			for _, key := range slices.Sorted(keysOf(p.Stages)) {
				reason, clause, _ := strings.Cut(key, ":")
				if n := p.Stages[key]; reason == string(name) && n > 0 && (name != flow.EventUnchanged || clause != "") {
					sum += n
					if clause != "" && name == flow.EventFiltered {
						parts = append(parts, grouped(int(n))+" by "+clause)
					} else {
						parts = append(parts, grouped(int(n))+" "+strings.TrimSpace(reason+" "+clauseWords(name, clause)))
					}
				}
			}
		}
		return sum, strings.Join(parts, ", ")
	}
	received := max(p.Stages["received"]-p.Stages["duplicate"], 0)
	first := stage{Name: "Received", Left: count(int(received), "event")}
	if n := p.Stages["duplicate"]; n > 0 {
		first.Note = count(int(n), "repeat") + " not counted"
	}
	refused, why := reason(flow.EventFiltered, flow.EventUnchanged, flow.EventEcho, flow.EventStale, flow.EventRejected, flow.EventDead)
	passed := min(max(received-refused, 0), received)
	merged, undone := p.Stages["merged"], p.Stages["unchanged"]
	collapsed := min(max(passed-merged-undone, 0), passed)
	var notes []string
	for _, n := range []struct {
		n    int64
		what string
	}{{merged, "merged into another's message"}, {undone, "taken back within their window"}} {
		if n.n > 0 {
			notes = append(notes, grouped(int(n.n))+" "+n.what)
		}
	}
	var let int64
	for _, n := range p.Runs {
		let += n
	}
	held := ""
	if p.Open > 0 {
		held = count(int(p.Open), "window") + " wait"
	}
	if n := p.Stages["shed"]; n > 0 {
		held = strings.TrimPrefix(held+", "+count(int(n), "event")+" shed", ", ")
	}
	ended := ""
	if n := p.Runs[flow.Failed] + p.Runs[flow.Cancelled]; n > 0 {
		ended = grouped(int(n)) + " failed or cancelled"
	}
	if n := let - p.Runs[flow.Completed] - p.Runs[flow.Failed] - p.Runs[flow.Cancelled]; n > 0 {
		ended = strings.TrimPrefix(ended+", "+grouped(int(n))+" under way", ", ")
	}
	all := []stage{first, {Name: "Filtered", Left: count(int(passed), "event"), Note: why},
		{Name: "Collapsed", Left: count(int(collapsed), "window"), Note: strings.Join(notes, ", ")},
		{Name: "Throttled", Left: count(int(let), "run"), Note: held},
		{Name: "Delivered", Left: grouped(int(p.Runs[flow.Completed])), Note: ended}}
	before := received
	for i, n := range []int64{received, passed, collapsed, let, p.Runs[flow.Completed]} {
		all[i].Bar = narrowing(before, n, max(received, let, 1))
		before = n
	}
	return all
}

func clauseWords(reason flow.EventReason, clause string) string {
	if clause == "" || reason == flow.EventUnchanged {
		return ""
	}
	return "(" + clause + ")"
}

func keysOf(m map[string]int64) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// narrowing is one stage: as wide above as what came, as wide below as what is left.
func narrowing(came, left, most int64) template.HTML {
	const width, height = 400, 28
	wide := func(n int64) float64 { return max(float64(min(n, most))*width/float64(most), 1.5) }
	a, b := wide(came), wide(left)
	return template.HTML(fmt.Sprintf(
		`<svg class="stage" viewBox="0 0 %d %d" preserveAspectRatio="none" aria-hidden="true"><polygon class="lost" points="0,0 %.1f,0 %.1f,%d 0,%d"/><rect class="left" width="%.1f" height="%d"/></svg>`,
		width, height, a, b, height, height, b, height))
}

// rate draws what came, an interval a bar, with what was usual as a band and what the
// flow expects as a line.
func rate(p flow.Pulse) chart {
	n := len(p.Ticks)
	if n == 0 {
		return chart{}
	}
	received := make([]int, n)
	sum := 0
	for i, t := range p.Ticks {
		received[i] = int(max(t.Received, 0))
		sum += received[i]
	}
	low, high, known := usual(received[:n/2])
	most := max(float64(slices.Max(received)), float64(high), p.Expected*1.25, 1)
	width := n*(barWidth+barGap) - barGap
	scale := func(v float64) float64 { return v * (chartHeight - 2) / most }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="chart tall" viewBox="0 0 %d %d" preserveAspectRatio="none" aria-hidden="true">`, width, chartHeight)
	if known {
		fmt.Fprintf(&b, `<rect class="band" x="0" y="%.1f" width="%d" height="%.1f"/>`, chartHeight-max(scale(float64(high)), 2), width,
			max(scale(float64(high))-scale(float64(low)), 2))
	}
	for i, v := range received {
		if v > 0 {
			h, class := max(scale(float64(v)), 1.5), "ran"
			if p.Expected > 0 && float64(v) > 2*p.Expected {
				class = "past"
			}
			fmt.Fprintf(&b, `<rect class="%s" x="%d" y="%.1f" width="%d" height="%.1f"/>`, class, i*(barWidth+barGap), chartHeight-h, barWidth, h)
		}
	}
	if p.Expected > 0 {
		fmt.Fprintf(&b, `<rect class="mark" x="0" y="%.1f" width="%d" height="0.5"/>`, chartHeight-scale(p.Expected), width)
	}
	fmt.Fprintf(&b, `<rect class="axis" x="0" y="%d" width="%d" height="0.6"/></svg>`, chartHeight-1, width)
	each := "a minute"
	if p.Bucket != time.Minute {
		each = "in " + duration(p.Bucket)
	}
	label := count(sum, "event") + " in the last " + span60(p.Bucket) + ", " + decimal(float64(sum)/float64(n)) + " " + each
	if p.Expected > 0 {
		label += "; the flow expects " + decimal(p.Expected) + " (the line)"
	}
	if known {
		label += fmt.Sprintf("; usual are %s to %s (the band)", grouped(low), grouped(high))
	}
	return chart{template.HTML(b.String()), label, sentence(label)}
}

// decimal has three digits at most.
func decimal(v float64) string {
	switch {
	case v >= 99.5:
		return grouped(int(v + .5))
	case v >= 9.95:
		return fmt.Sprintf("%.0f", v)
	case v == float64(int(v)):
		return grouped(int(v))
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0")
}
