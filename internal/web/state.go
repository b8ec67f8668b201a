package web

import (
	"html/template"

	"patchbay/internal/flow"
)

// state is how a status looks: a word, a colour class and a shape, so that none
// of the three is needed to read it.
type state struct {
	Word  string
	Class string
	Icon  template.HTML
}

// Shapes, 16 by 16, drawn in the current colour.
var shapes = map[string]template.HTML{
	"ring":   `<circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" stroke-width="2" stroke-dasharray="26 9"/>`,
	"dot":    `<circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" stroke-width="2"/>`,
	"tick":   `<circle cx="8" cy="8" r="7" fill="currentColor"/><path d="M4.8 8.2l2.2 2.3 4.3-4.7" fill="none" stroke="var(--card)" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round"/>`,
	"cross":  `<circle cx="8" cy="8" r="7" fill="currentColor"/><path d="M5.5 5.5l5 5m0-5l-5 5" stroke="var(--card)" stroke-width="1.8" stroke-linecap="round"/>`,
	"pause":  `<circle cx="8" cy="8" r="7" fill="currentColor"/><path d="M6.2 5.3v5.4m3.6-5.4v5.4" stroke="var(--card)" stroke-width="1.8" stroke-linecap="round"/>`,
	"doubt":  `<circle cx="8" cy="8" r="7" fill="currentColor"/><path d="M6 6.3c.2-2.6 4-2.4 4 0 0 1.5-2 1.5-2 3M8 11.4v.1" fill="none" stroke="var(--card)" stroke-width="1.7" stroke-linecap="round"/>`,
	"slash":  `<circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="2"/><path d="M4 12l8-8" stroke="currentColor" stroke-width="2"/>`,
	"clock":  `<circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="2"/><path d="M8 4.8V8l2.2 1.6" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"/>`,
	"again":  `<path d="M13 8a5 5 0 11-1.6-3.7M13 2.5v3h-3" fill="none" stroke="currentColor" stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round"/>`,
	"dead":   `<path d="M2.5 4.5h11v8h-11zM2.5 5l5.5 4.5L13.5 5" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linejoin="round"/><path d="M10.5 1.5l3 3m0-3l-3 3" stroke="currentColor" stroke-width="1.4" stroke-linecap="round"/>`,
	"next":   `<path d="M3 8h9M8.500 4.500L12 8l-3.500 3.500" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/>`,
	"bell":   `<path d="M8 2.2a3.8 3.8 0 013.8 3.8c0 3 1.2 4.2 1.7 4.8H2.5C3 10.2 4.2 9 4.2 6A3.8 3.8 0 018 2.2zM6.5 12.5a1.6 1.6 0 003 0" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linejoin="round" stroke-linecap="round"/>`,
	"plan":   `<path d="M3 3.500h10v9H3zM5.500 6.500l1.200 1.200 2-2.200M5.500 10.200h5" fill="none" stroke="currentColor" stroke-width="1.4" stroke-linecap="round" stroke-linejoin="round"/>`,
	"scale":  `<path d="M8 2.500v11M5 13.500h6M3 4.500h10M3 4.500L1.500 9.500h3zM13 4.500L11.500 9.500h3z" fill="none" stroke="currentColor" stroke-width="1.300" stroke-linecap="round" stroke-linejoin="round"/>`,
	"graph":  `<path d="M2.500 2.500h4v3h-4zM2.500 10.500h4v3h-4zM10 6.500h3.500v3H10zM6.500 4h1.800v8H6.500M8.300 8H10" fill="none" stroke="currentColor" stroke-width="1.400" stroke-linejoin="round"/>`,
	"globe":  `<circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" stroke-width="1.5"/><path d="M2.500 8h11M8 2.500c-3.200 3.400-3.200 7.600 0 11c3.200-3.400 3.200-7.600 0-11" fill="none" stroke="currentColor" stroke-width="1.3"/>`,
	"keys":   `<path d="M6 6.2c.2-2.6 4-2.4 4 0 0 1.5-2 1.5-2 3M8 11.6v.1" fill="none" stroke="currentColor" stroke-width="1.7" stroke-linecap="round"/>`,
	"stop":   `<path d="M4.5 4.5l7 7m0-7l-7 7" fill="none" stroke="currentColor" stroke-width="1.7" stroke-linecap="round"/>`,
	"home":   `<path d="M2.5 7.5L8 3l5.5 4.5V13H10V9.5H6V13H2.5z" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linejoin="round"/>`,
	"flow":   `<circle cx="3.5" cy="4" r="1.8" fill="none" stroke="currentColor" stroke-width="1.5"/><circle cx="12.5" cy="12" r="1.8" fill="none" stroke="currentColor" stroke-width="1.5"/><path d="M5.3 4H10a2.5 2.5 0 010 4H6a2.5 2.5 0 000 4h4.7" fill="none" stroke="currentColor" stroke-width="1.5"/>`,
	"runs":   `<path d="M2.5 4h1m2.5 0h7.5M2.5 8h1M6 8h7.5m-11 4h1M6 12h7.5" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round"/>`,
	"find":   `<circle cx="7" cy="7" r="4.3" fill="none" stroke="currentColor" stroke-width="1.5"/><path d="M10.3 10.3L14 14" stroke="currentColor" stroke-width="1.5" stroke-linecap="round"/>`,
	"theme":  `<circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" stroke-width="1.5"/><path d="M8 2.5a5.5 5.5 0 010 11z" fill="currentColor"/>`,
	"sample": `<path d="M6 2.5h4M7 2.5v4L3.6 12a1 1 0 00.9 1.5h7a1 1 0 00.9-1.5L9 6.5v-4M5.2 10h5.6" fill="none" stroke="currentColor" stroke-width="1.4" stroke-linecap="round" stroke-linejoin="round"/>`,
}

// icon draws a shape; the word beside it says what it means.
func icon(name string) template.HTML {
	return `<svg class="icon ` + template.HTML(name) + `" viewBox="0 0 16 16" aria-hidden="true">` + shapes[name] + `</svg>`
}

// An open run that can do nothing now and goes on by itself: queueing is its turn
// to come, or an identical run to answer; held is something that is in its way.
var (
	queueing = state{"Waiting", "running", icon("clock")}
	held     = state{"Waiting", "held", icon("clock")}
)

func statusState(s flow.Status) state {
	switch s {
	case flow.Accepted:
		return state{"Accepted", "running", icon("ring")}
	case flow.Running:
		return state{"Running", "running", icon("ring")}
	case flow.Parked:
		return state{"Parked", "parked", icon("pause")}
	case flow.Completed:
		return state{"Completed", "completed", icon("tick")}
	case flow.Failed:
		return state{"Failed", "failed", icon("cross")}
	case flow.Cancelled:
		return state{"Cancelled", "cancelled", icon("slash")}
	}
	return state{string(s), "cancelled", icon("dot")}
}

func effectState(s flow.EffectState) state {
	switch s {
	case flow.Intent:
		return state{"not sent", "cancelled", icon("dot")}
	case flow.Attempt:
		return state{"being written", "running", icon("ring")}
	case flow.Confirmed:
		return state{"written", "completed", icon("tick")}
	case flow.Doubtful:
		return state{"in doubt", "doubt", icon("doubt")}
	case flow.Settled:
		return state{"settled", "completed", icon("tick")}
	case flow.Refused:
		return state{"refused", "failed", icon("cross")}
	}
	return state{string(s), "cancelled", icon("dot")}
}
