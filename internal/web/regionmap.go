package web

import (
	"fmt"
	"html"
	"html/template"
	"strings"
	"time"
)

// The map has our region on the left and the others below each other on the right, with
// an arrow to each and one from each. It is drawn as wide as a telephone, so that its
// words are of one size everywhere.
const (
	mapWidth  = 356
	mapRow    = 104
	nodeWidth = 60
	nodeHigh  = 44
	mapName   = 7 // letters of a region's name that a node holds
)

// way is all that goes from one region to another.
type way struct {
	From, To string
	Rows     int64
	Since    time.Time
	State    state
	known    bool
}

func wayOf(b border, from, to string) way {
	w := way{From: from, To: to, State: linkInTime}
	for _, l := range b.Links {
		if l.From != from || l.To != to {
			continue
		}
		w.known = true
		w.Rows += l.Rows
		if !l.Since.IsZero() && (w.Since.IsZero() || l.Since.Before(w.Since)) {
			w.Since = l.Since
		}
		w.State = worse(w.State, l.State)
	}
	return w
}

// said is what is under way: "12 rows, 3 min 10 s".
func (w way) said(now time.Time) string {
	switch {
	case !w.known:
		return "not known yet"
	case w.Rows == 0:
		return "nothing under way"
	case w.Since.IsZero():
		return count(int(w.Rows), "row")
	}
	return count(int(w.Rows), "row") + ", " + age(now.Sub(w.Since))
}

// age is how long something lasts, in its largest unit.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", max(d, 0)/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// mapOf draws how the regions of a synchronization stand to ours, and says the same in
// words; nothing where we are in none of them.
func mapOf(b border) (template.HTML, string) {
	if b.Region == "" || len(b.Others) == 0 {
		return "", ""
	}
	var s strings.Builder
	var words []string
	high := mapRow * len(b.Others)
	middle := high / 2
	fmt.Fprintf(&s, `<svg class="map" viewBox="0 0 %d %d" width="%d" height="%d" aria-hidden="true">`, mapWidth, high, mapWidth, high)
	if len(b.Others) > 1 { // what leads from our region to the rows of the others
		fmt.Fprintf(&s, `<path class="trunk" d="M%d %dV%d"/>`, nodeWidth/2, mapRow/2, high-mapRow/2)
	}
	for i, o := range b.Others {
		y := mapRow*i + mapRow/2
		if y != middle && len(b.Others) > 1 {
			fmt.Fprintf(&s, `<path class="trunk" d="M%d %dH%d"/>`, nodeWidth/2, y, nodeWidth+4)
		}
		out, in := wayOf(b, b.Region, o.Name), wayOf(b, o.Name, b.Region)
		arrow(&s, out, y-8, true, b.Clock)
		arrow(&s, in, y+8, false, b.Clock)
		node(&s, mapWidth-nodeWidth-1, y, o.Name, "")
		for _, w := range []way{out, in} {
			words = append(words, fmt.Sprintf("from %s to %s: %s, %s", w.From, w.To, strings.ToLower(w.State.Word), w.said(b.Clock)))
		}
	}
	node(&s, 1, middle, b.Region, "ours")
	s.WriteString(`</svg>`)
	return template.HTML(s.String()), sentence(strings.Join(words, "; ")) // of our own drawing; names are escaped in node
}

func node(s *strings.Builder, x, middle int, name, class string) {
	text := middle + 5
	if class != "" {
		text = middle
	}
	fmt.Fprintf(s, `<g class="node %s"><title>%s</title><rect x="%d" y="%d" width="%d" height="%d" rx="6"/><text x="%d" y="%d">%s</text>`,
		class, html.EscapeString(name), x, middle-nodeHigh/2, nodeWidth, nodeHigh, x+nodeWidth/2, text, html.EscapeString(clip(name, mapName)))
	if class != "" {
		fmt.Fprintf(s, `<text class="here" x="%d" y="%d">here</text>`, x+nodeWidth/2, middle+15)
	}
	s.WriteString(`</g>`)
}

// arrow draws a way, its words above it on the way out and below it on the way in.
func arrow(s *strings.Builder, w way, y int, out bool, now time.Time) {
	from, to, tip := nodeWidth+8, mapWidth-nodeWidth-9, -1
	text := y - 7
	if !out {
		from, to, tip = to, from, 1
		text = y + 17
	}
	fmt.Fprintf(s, `<g class="way %s"><path class="line" d="M%d %dH%d"/><path d="M%d %dl%d 4l%d 4"/>`, w.State.Class, from, y, to, to+5*tip, y-4, -5*tip, 5*tip)
	fmt.Fprintf(s, `<svg x="%d" y="%d" width="14" height="14" viewBox="0 0 16 16">%s</svg>`, nodeWidth+10, text-12, w.State.Icon)
	fmt.Fprintf(s, `<text x="%d" y="%d">%s <tspan>%s</tspan></text></g>`, nodeWidth+28, text, w.State.Word, html.EscapeString(w.said(now)))
}
