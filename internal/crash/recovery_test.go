package crash

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// limits are how long it may take after a blow until each run that it found under way
// goes on: the 99th percentile.
var limits = map[blow]time.Duration{
	killWorker: 15 * time.Second, freezeWorker: 15 * time.Second, killAPI: 15 * time.Second, killPatchbay: 15 * time.Second,
	killTemporal: 30 * time.Second, killPostgres: 45 * time.Second, killBackend: 45 * time.Second, killAll: 90 * time.Second,
}

// recovery tells how long it took after each kind of blow: until the runs that were
// under way went on, until a client who does not wait was accepted whose press was cut off, and until
// the gateway was ready again. A blow counts only for what came before the next one.
func (w *world) recovery(fallen []*struck) string {
	next, accepted, back := map[string][]time.Duration{}, map[string][]time.Duration{}, map[string][]time.Duration{}
	group := func(s *struck) []string {
		if s.alone {
			return []string{string(s.blow), "alone: " + string(s.blow)}
		}
		return []string{string(s.blow)}
	}
	for i, s := range fallen {
		until := time.Now()
		if i+1 < len(fallen) {
			until = fallen[i+1].at
		}
		for _, name := range group(s) {
			if s.back > 0 {
				back[name] = append(back[name], s.back)
			}
			for _, p := range w.all() {
				if p.wait == 0 && p.sent.Before(s.at) && p.accepted.After(s.at) && p.accepted.Before(until) {
					accepted[name] = append(accepted[name], p.accepted.Sub(s.at))
				}
				if at, ok := p.nextEvent(s.at); ok && at.Before(until) {
					next[name] = append(next[name], at.Sub(s.at))
				}
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "recovery (median, 99th percentile, longest, of how many):")
	for _, m := range mix {
		for _, name := range []string{string(m.blow), "alone: " + string(m.blow)} {
			if len(next[name])+len(accepted[name])+len(back[name]) == 0 {
				continue
			}
			fmt.Fprintf(&b, "\n| %s | %s | %s | %s | limit %s |", name, spread(next[name]), spread(accepted[name]), spread(back[name]), limits[m.blow])
		}
	}
	fmt.Fprintf(&b, "\nslowest 503: %s; a press that did not wait was acknowledged within: %s", w.slowest503.Round(time.Millisecond), spread(w.acks))
	return b.String()
}

// nextEvent is the first thing that happened to a run after a moment at which it was
// under way.
func (p *press) nextEvent(after time.Time) (at time.Time, ok bool) {
	if p.accepted.IsZero() || !p.accepted.Before(after) {
		return at, false
	}
	for _, s := range p.run.Progress {
		if s.At.After(after) {
			return s.At, true
		}
	}
	return at, false
}

func spread(all []time.Duration) string {
	if len(all) == 0 {
		return "–"
	}
	slices.Sort(all)
	at := func(q float64) string { return fmt.Sprintf("%.2f s", all[int(q*float64(len(all)-1)+0.5)].Seconds()) }
	return fmt.Sprintf("%s, %s, %s, %d", at(0.5), at(0.99), at(1), len(all))
}
