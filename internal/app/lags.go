package app

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"patchbay/internal/alert"
	"patchbay/internal/calendar"
	"patchbay/internal/flow"
	"patchbay/internal/telemetry"
)

const (
	// noise is how long something has to last before people are told of it: a region that
	// is started anew, and an import that is late once, are over by then.
	noise = 15 * time.Second
	// heldLong is how long a conflict may wait for a person before people are told again.
	heldLong = time.Hour
)

type (
	// lags finds what is wrong with synchronizations. It is used by one goroutine.
	lags struct {
		borders borders
		speed   float64
		late    map[way]time.Time // since when it has been late at each look
	}

	// way is one table on its way from one region to another.
	way struct{ flow, from, to, table string }

	// ailing is one trouble of a part of a flow, however many tables have it.
	ailing struct{ part, peer, code string }
)

func (l *lags) brief(d time.Duration) time.Duration {
	return time.Duration(float64(d) / max(l.speed, 1))
}

// find looks at all synchronizations of our region.
func (l *lags) find(ctx context.Context) ([]alert.Finding, error) {
	all, err := l.borders.Synchronizations(ctx)
	if err != nil {
		return nil, err
	}
	var found []alert.Finding
	still := map[way]time.Time{}
	for _, s := range all {
		found = append(found, l.behind(s, still)...)
		found = append(found, l.stopped(s)...)
		if s.Held > 0 && time.Since(s.HeldSince) > l.brief(heldLong) {
			found = append(found, alert.Finding{Flow: s.Flow, Code: "sync.held", Count: s.Held, First: s.HeldSince, Link: "/regions/" + url.PathEscape(s.Flow) + "/conflicts",
				Text: fmt.Sprintf("conflicts wait for a person, the oldest for %s; each region keeps its own value until then", lasting(s.HeldSince))})
		}
	}
	l.late = still
	return found, nil
}

// behind are the pairs of regions that have been further behind than users are told to
// expect, for longer than it takes to be noise. Who holds something knows that it is late.
func (l *lags) behind(s flow.SyncStanding, still map[way]time.Time) []alert.Finding {
	pairs := map[[2]string][]flow.SyncLink{}
	for _, link := range s.Links {
		if !link.Late || link.Paused {
			continue
		}
		w := way{s.Flow, link.From, link.To, link.Table}
		if still[w] = l.late[w]; still[w].IsZero() {
			still[w] = time.Now()
		}
		if time.Since(still[w]) >= l.brief(noise) {
			pair := [2]string{link.From, link.To}
			pairs[pair] = append(pairs[pair], link)
		}
	}
	var found []alert.Finding
	for pair, links := range pairs {
		slices.SortFunc(links, func(a, b flow.SyncLink) int { return int(b.Lag - a.Lag) })
		worst := links[0]
		text := fmt.Sprintf("%s is %s behind on its way from %s to %s, where %s are promised", worst.Table, calendar.Short(worst.Lag.Round(time.Second)), pair[0], pair[1], calendar.Short(s.Lag))
		if more := links[1:]; len(more) > 0 {
			text += "; late too: " + strings.Join(tablesOf(more), ", ")
		}
		if worst.Rows == 0 {
			text += "; nobody has looked for changes in " + pair[0] + " since"
		}
		found = append(found, alert.Finding{Flow: s.Flow, Code: "sync.lag:" + pair[0] + ">" + pair[1], Text: text, Count: 1,
			First: time.Now().Add(s.Lag - worst.Lag), Link: "/regions/" + url.PathEscape(s.Flow)})
	}
	return found
}

func tablesOf(links []flow.SyncLink) []string {
	names := make([]string, len(links))
	for i, l := range links {
		names[i] = l.Table
	}
	return names
}

// stopped are the troubles that last, one a cause: a region that does not answer stops all
// tables.
func (l *lags) stopped(s flow.SyncStanding) []alert.Finding {
	by := map[ailing][]flow.SyncTrouble{}
	for _, t := range s.Trouble {
		if time.Since(t.Since) >= l.brief(noise) {
			k := ailing{t.Part, t.Peer, t.Code}
			by[k] = append(by[k], t)
		}
	}
	var found []alert.Finding
	for k, list := range by {
		names, first, last := map[string]bool{}, list[0], list[0]
		for _, t := range list {
			names[t.Table] = true
			if t.Since.Before(first.Since) {
				first = t
			}
			if t.Last.After(last.Last) {
				last = t
			}
		}
		where := map[string]string{"export": "on the way out of " + s.Region, "import": "on the way in from " + k.peer, "compare": "when compared"}[k.part]
		found = append(found, alert.Finding{Flow: s.Flow, Code: k.code + ":" + strings.TrimSpace(k.part+" "+k.peer), Count: int64(len(list)), First: first.Since, Last: last.Last,
			// What is reported once, and stops nothing, is told once.
			Once: k.code == "sync.column_new", Link: "/regions/" + url.PathEscape(s.Flow),
			Text: fmt.Sprintf("%s %s: %s", strings.Join(slices.Sorted(maps.Keys(names)), ", "), where, last.Text)})
	}
	return found
}

func lasting(since time.Time) string { return calendar.Short(time.Since(since).Round(time.Second)) }

// shares are how synchronizations stand, for the metrics.
func (r borders) shares(ctx context.Context) ([]telemetry.Shared, error) {
	all, err := r.Synchronizations(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]telemetry.Shared, 0, len(all))
	for _, s := range all {
		if s.Region == "" {
			continue
		}
		one := telemetry.Shared{Flow: s.Flow, Held: s.Held}
		for _, l := range s.Links {
			one.Links = append(one.Links, telemetry.SharedLink{From: l.From, To: l.To, Table: l.Table, Lag: l.Lag, Rows: l.Rows})
		}
		list = append(list, one)
	}
	return list, nil
}
