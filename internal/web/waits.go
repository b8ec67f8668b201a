package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"patchbay/internal/flow"
)

// wait is open runs that wait for the same, for the home page.
type wait struct {
	State   state
	For     string // "In the queue", or what is in the way
	Flows   string // the flows concerned
	Count   int
	At      time.Time // when the oldest was accepted
	Clock   time.Time
	Address string // of those runs, as near as a filter comes

	flows  []string
	status flow.Status
	due    *time.Time
	why    string
}

// waits are the runs that the viewer may see and that wait, gathered by what they
// wait for, the most first.
func (c *console) waits(r *http.Request, plans []flow.Applied) ([]wait, error) {
	if c.Queue == nil {
		return nil, nil
	}
	rows, err := c.Queue.Waits(r.Context(), c.mine(r, flow.RunFilter{}).Principal)
	if err != nil {
		return nil, err
	}
	var all []wait
	for _, row := range rows {
		plan := planOf(row.Flow, plans)
		w := wait{State: held, status: row.Status, due: row.DueAt, Clock: c.Now()}
		switch {
		case row.Status == flow.Parked:
			w.State = statusState(flow.Parked)
			w.why = because(row.Why, plan)
		case row.Shared:
			w.State, w.For = queueing, "For the answer of an identical press"
		case row.Why != "":
			w.why = because(row.Why, plan)
		case row.DueAt == nil:
			w.State, w.For = queueing, "In the queue"
		}
		i := slices.IndexFunc(all, func(o wait) bool { return o.For == w.For && o.why == w.why && o.State == w.State })
		if i < 0 {
			i, all = len(all), append(all, w)
			all[i].At = row.Since
		}
		all[i].add(row)
	}
	for i := range all {
		all[i].complete()
	}
	decisions, err := c.undecided(r)
	if err != nil {
		return nil, err
	}
	all = append(all, decisions...)
	slices.SortStableFunc(all, func(a, b wait) int { return cmp.Compare(b.Count, a.Count) })
	return all, nil
}

// undecided is what rules left to people, of whom the viewer is one.
func (c *console) undecided(r *http.Request) ([]wait, error) {
	if c.Referrals == nil || !c.operates(r) {
		return nil, nil
	}
	open, err := c.Referrals.Referrals(r.Context(), flow.ReferralFilter{State: "open", Limit: referralsShown})
	if err != nil || len(open) == 0 {
		return nil, err
	}
	w := wait{State: statusState(flow.Parked), For: "For somebody to decide", Count: len(open), Clock: c.Now(), Address: "/reviews", At: open[0].OpenedAt}
	for _, one := range open {
		if one.OpenedAt.Before(w.At) {
			w.At = one.OpenedAt
		}
		if !slices.Contains(w.flows, one.Flow) {
			w.flows = append(w.flows, one.Flow)
		}
	}
	w.Flows = strings.Join(w.flows, ", ")
	return []wait{w}, nil
}

func (w *wait) add(row flow.Wait) {
	w.Count += row.Count
	if row.Since.Before(w.At) {
		w.At = row.Since
	}
	if row.DueAt != nil && (w.due == nil || row.DueAt.Before(*w.due)) {
		w.due = row.DueAt
	}
	if !slices.Contains(w.flows, row.Flow) {
		w.flows = append(w.flows, row.Flow)
	}
	if w.status != row.Status {
		w.status = ""
	}
}

func (w *wait) complete() {
	if w.For == "" {
		what := w.why
		switch {
		case what == "" && w.due != nil:
			what = "waiting until " + clock(*w.due)
		case w.due != nil:
			what = "at least until " + clock(*w.due) + ": " + what // others may be due later
		}
		w.For = strings.TrimSuffix(sentence(what), ".")
	}
	if w.For == "" {
		w.For = "For a person"
	}
	w.Flows = strings.Join(w.flows, ", ")
	query := url.Values{}
	if len(w.flows) == 1 {
		query.Set("flow", w.flows[0])
	}
	if w.status != "" {
		query.Set("status", string(w.status))
	}
	w.Address = "/runs?" + query.Encode()
}
