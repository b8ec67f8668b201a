package web

import (
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

const (
	drawn      = 30 // minutes in a flow's chart
	remembered = 60 // minutes before them, from which what is expected follows
	telling    = 12 // of those, minutes with runs that it takes to expect anything
	newest     = 6  // changes on the home page
	explained  = 5  // runs told beside a key
)

// overview is how much flows by flow, and what has changed. Both are about
// everybody's runs.
func (c *console) overview(r *http.Request) (map[string]flow.Rate, []change, error) {
	rates := map[string]flow.Rate{}
	if c.Overview == nil || !c.operates(r) {
		return rates, nil, nil
	}
	all, err := c.Overview.Rates(r.Context(), remembered+drawn)
	if err != nil {
		return nil, nil, err
	}
	for _, one := range all {
		rates[one.Flow] = one
	}
	list, err := c.Overview.Changes(r.Context(), newest)
	if err != nil {
		return nil, nil, err
	}
	changes := make([]change, len(list))
	for i, one := range list {
		changes[i] = change{Change: one, At: one.At, Clock: c.Now(), What: "another version"}
		if one.First {
			changes[i].What = "applied for the first time"
		}
		if !one.InForce {
			changes[i].What += ", replaced since"
		}
	}
	return rates, changes, nil
}

// chart is the runs of a flow, a bar a minute, what failed of them below in the colour
// and the shape of a failure, before a band of what was usual.
type chart struct {
	SVG   template.HTML
	Label string // what is drawn
	Words string // the same in full, for those who do not see it
}

const (
	barWidth    = 4
	barGap      = 1
	chartHeight = 32
)

// pace30 draws the last half hour.
func pace30(r flow.Rate) chart {
	if len(r.Runs) < drawn {
		return chart{}
	}
	before, runs, failed := r.Runs[:len(r.Runs)-drawn], r.Runs[len(r.Runs)-drawn:], r.Failed[len(r.Failed)-drawn:]
	low, high, expects := usual(before)
	most := max(slices.Max(runs), high, 1)
	width := drawn*(barWidth+barGap) - barGap
	scale := func(n int) float64 { return float64(n) * (chartHeight - 2) / float64(most) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="chart" viewBox="0 0 %d %d" preserveAspectRatio="none" aria-hidden="true">`, width, chartHeight)
	if expects {
		fmt.Fprintf(&b, `<rect class="band" x="0" y="%.1f" width="%d" height="%.1f"/>`, chartHeight-max(scale(high), 2), width, max(scale(high)-scale(low), 2))
	}
	sum, bad := 0, 0
	for i, n := range runs {
		sum, bad = sum+n, bad+failed[i]
		if n == 0 {
			continue
		}
		h, x := max(scale(n), 2), i*(barWidth+barGap)
		fmt.Fprintf(&b, `<rect class="ran" x="%d" y="%.1f" width="%d" height="%.1f"/>`, x, chartHeight-h, barWidth, h)
		if f := failed[i]; f > 0 {
			h := max(scale(f), 3)
			fmt.Fprintf(&b, `<rect class="failed" x="%d" y="%.1f" width="%d" height="%.1f"/><rect class="notch" x="%d" y="%.1f" width="%d" height="1.2"/>`,
				x, chartHeight-h, barWidth, h, x, chartHeight-h-.6, barWidth)
		}
	}
	fmt.Fprintf(&b, `<rect class="axis" x="0" y="%d" width="%d" height="0.6"/></svg>`, chartHeight-1, width)
	label := count(sum, "run") + " in 30 min"
	words := label
	if bad > 0 {
		label += ", " + grouped(bad) + " failed"
		words = label
	}
	switch {
	case expects && low == high:
		words += fmt.Sprintf("; usual in the hour before: %s a minute", grouped(low))
	case expects:
		words += fmt.Sprintf("; usual in the hour before: %s to %s a minute", grouped(low), grouped(high))
	default:
		words += "; too few in the hour before to say what is usual"
	}
	return chart{template.HTML(b.String()), label, sentence(words)}
}

// usual is what most minutes had, from a tenth of them to nine tenths.
func usual(minutes []int) (low, high int, known bool) {
	sorted := slices.Sorted(slices.Values(minutes))
	with := len(sorted) - slices.IndexFunc(append(sorted, 1), func(n int) bool { return n > 0 })
	if with < telling {
		return 0, 0, false
	}
	return sorted[len(sorted)/10], sorted[len(sorted)*9/10], true
}

// told are the runs that entries are of, each as its own page tells it.
func (c *console) told(r *http.Request, entries []flow.Entry) ([]story, error) {
	var all []story
	for _, id := range flow.RunsOf(entries) {
		if len(all) == explained {
			break
		}
		s, err := c.storyOf(r, id)
		if fault.Is(err, fault.NotFound) {
			continue // the journal outlives the runs
		}
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}
