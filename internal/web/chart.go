package web

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"patchbay/internal/flow"
)

// chart is a flow's recent runs: one bar each, its height the time it took and
// its colour and shape how it ended.
type chart struct {
	SVG   template.HTML
	Label string // what is drawn
	Words string // the same in full, for those who do not see it
}

const (
	barWidth    = 5
	barGap      = 2
	chartHeight = 28
)

// draw draws runs, which come newest first, from left to right.
func draw(runs []flow.Run, now time.Time) chart {
	if len(runs) == 0 {
		return chart{}
	}
	longest := time.Millisecond
	for _, run := range runs {
		if run.ClosedAt != nil { // an open run would shrink all others while it runs
			longest = max(longest, took(run, now))
		}
	}
	n := map[flow.Status]int{}
	var b strings.Builder
	width := recent*(barWidth+barGap) - barGap
	fmt.Fprintf(&b, `<svg class="chart" viewBox="0 0 %d %d" preserveAspectRatio="xMaxYMax meet" aria-hidden="true">`, width, chartHeight)
	for i, run := range runs {
		n[run.Status]++
		h := min(max(3, int(float64(chartHeight)*float64(took(run, now))/float64(longest))), chartHeight)
		x := width - barWidth - i*(barWidth+barGap)
		fmt.Fprintf(&b, `<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="1"/>`,
			statusState(run.Status).Class, x, chartHeight-h, barWidth, h)
		if run.Status == flow.Failed { // a notch: the colour is not alone
			fmt.Fprintf(&b, `<rect class="notch" x="%d" y="%d" width="%d" height="1.5"/>`, x, chartHeight-2, barWidth)
		}
	}
	b.WriteString(`</svg>`)
	label := "last " + count(len(runs), "run")
	if len(runs) == 1 {
		label = "the last run"
	}
	var words []string
	for _, s := range []flow.Status{flow.Completed, flow.Failed, flow.Cancelled, flow.Running, flow.Accepted, flow.Parked} {
		if n[s] > 0 {
			words = append(words, grouped(n[s])+" "+string(s))
		}
	}
	return chart{template.HTML(b.String()), label,
		sentence(label + ": " + strings.Join(words, ", ") + "; a bar is a run, as high as the time it took")}
}

func took(run flow.Run, now time.Time) time.Duration {
	if run.ClosedAt != nil {
		now = *run.ClosedAt
	}
	return max(now.Sub(run.AcceptedAt), 0)
}
