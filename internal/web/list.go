package web

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

const (
	perPage = 50 // runs on a page of the list; what a live list holds at most
	busy    = 5  // runs a second from which a list says how many there are
)

var statuses = []flow.Status{flow.Accepted, flow.Running, flow.Parked, flow.Completed, flow.Failed, flow.Cancelled}

type (
	// listing is the list of runs as its page shows it.
	listing struct {
		List    []story
		Next    string // cursor of the next page
		Filter  flow.RunFilter
		Plans   []flow.Applied
		States  []flow.Status
		People  []string // who asked for the runs that are shown
		Persons bool     // the viewer may see what others asked for
		Spans   []span
		Since   string
		Mixed   bool   // and does
		Older   string // address of the next page
		Address string // of the same list, live
		Top     string // when the newest shown run was accepted
		Newer   int    // runs that came after a list that is held
		Many    bool   // and there are more of them
		Pace    string // how many come, when that is more than one can read
		Now     time.Time
	}

	// lister is what a list is asked for: a filter, and the place it is held at.
	lister struct {
		filter flow.RunFilter
		query  url.Values // of its page, without what is empty
	}
)

// runs is the list of runs.
func (c *console) runs(w http.ResponseWriter, r *http.Request) error {
	out, err := c.listed(r)
	if err != nil {
		return err
	}
	c.render(w, r, http.StatusOK, "runs", frame{Title: "Runs", Nav: "runs", Page: out})
	return nil
}

// runsLive is the same list for the script, which asks again and again: 304 while
// nothing has changed but the time.
func (c *console) runsLive(w http.ResponseWriter, r *http.Request) error {
	out, err := c.listed(r)
	if err != nil {
		return err
	}
	c.fragment(w, r, "runs", "rows", out.version(), out)
	return nil
}

// fragment answers with a part of a page, or that it is still as the client has it.
func (c *console) fragment(w http.ResponseWriter, r *http.Request, page, name, version string, data any) {
	w.Header().Set("ETag", version)
	if r.Header.Get("If-None-Match") == version {
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	c.write(w, http.StatusOK, page, name, data)
}

func asked(r *http.Request) (lister, error) {
	query := r.URL.Query()
	l := lister{query: url.Values{}, filter: flow.RunFilter{
		Flow: query.Get("flow"), Status: flow.Status(query.Get("status")), Principal: strings.TrimSpace(query.Get("who")),
		Key: strings.TrimSpace(query.Get("key")), Before: query.Get("before"), Limit: perPage,
	}}
	if l.filter.Status != "" && !slices.Contains(statuses, l.filter.Status) {
		return l, fault.Invalidf("query.invalid", "no run is in a state of this name")
	}
	var err error
	if l.filter.Since, err = moment(query, "since", time.Now()); err != nil {
		return l, err
	}
	if l.filter.Until, err = moment(query, "until", time.Now()); err != nil {
		return l, err
	}
	for _, name := range []string{"flow", "status", "who", "key", "since", "before"} {
		if v := query.Get(name); v != "" {
			l.query.Set(name, v)
		}
	}
	return l, nil
}

// moment is a time in an address; the zero one where there is none.
func moment(query url.Values, name string, now time.Time) (time.Time, error) {
	text := query.Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	at, ok := flow.Moment(text, now)
	if !ok {
		return at, fault.Invalidf("query.invalid", "%s is a time like 2026-01-31T10:00:00Z, or how long ago, such as 15m, 24h, 7d", name)
	}
	return at, nil
}

// span is a stretch of time that a list can be narrowed to.
type span struct{ Value, Words string }

// spans are offered, and the one that an address asks for.
func spans(query url.Values) []span {
	all := []span{{"", "any time"}, {"15m", "last 15 minutes"}, {"1h", "last hour"}, {"24h", "last day"}, {"7d", "last week"}}
	asked := query.Get("since")
	if slices.ContainsFunc(all, func(s span) bool { return s.Value == asked }) {
		return all
	}
	return append(all, span{asked, "since " + asked})
}

// listed reads the list that a request asks for. One that is held at a time also
// counts what came since.
func (c *console) listed(r *http.Request) (listing, error) {
	l, err := asked(r)
	if err != nil {
		return listing{}, err
	}
	plans, err := c.Flows.Flows(r.Context())
	if err != nil {
		return listing{}, err
	}
	out, err := c.stories(r, l.filter, plans)
	if err != nil {
		return listing{}, err
	}
	out.Plans, out.States, out.Persons, out.Now = plans, statuses, c.operates(r), c.Now()
	out.Spans, out.Since = spans(r.URL.Query()), r.URL.Query().Get("since")
	out.Address = "/runs/live?" + l.query.Encode()
	if out.Next != "" {
		query, _ := url.ParseQuery(l.query.Encode()) // a copy
		query.Set("before", out.Next)
		out.Older = "/runs?" + query.Encode()
	}
	for _, s := range out.List {
		if !slices.Contains(out.People, s.Run.Principal) {
			out.People = append(out.People, s.Run.Principal)
		}
	}
	slices.Sort(out.People)
	viewer := c.Principal(r).Name
	out.Mixed = out.Persons && slices.ContainsFunc(out.People, func(name string) bool { return name != viewer })
	if len(out.List) > 0 {
		out.Top = out.List[0].At.UTC().Format(time.RFC3339Nano)
	}
	if l.filter.Until.IsZero() {
		out.Pace = pace(out.List, c.Now())
		return out, nil
	}
	newest := l.filter
	newest.Until = time.Time{}
	runs, _, err := c.Runs.List(r.Context(), c.mine(r, newest))
	if err != nil {
		return listing{}, err
	}
	for _, run := range runs {
		if run.AcceptedAt.After(l.filter.Until) {
			out.Newer++
		}
	}
	out.Many = out.Newer == perPage
	return out, nil
}

// stories lists runs the viewer may see, told with the plans at hand.
func (c *console) stories(r *http.Request, filter flow.RunFilter, plans []flow.Applied) (listing, error) {
	runs, next, err := c.Runs.List(r.Context(), c.mine(r, filter))
	if err != nil {
		return listing{}, err
	}
	ahead, err := c.ahead(r.Context(), runs...)
	if err != nil {
		return listing{}, err
	}
	out := listing{List: make([]story, len(runs)), Next: next, Filter: filter}
	for i, run := range runs {
		out.List[i] = tell(run, planOf(run.Flow, plans), c.setting(ahead))
	}
	return out, nil
}

// mine narrows a filter to what the viewer may see.
func (c *console) mine(r *http.Request, f flow.RunFilter) flow.RunFilter {
	if !c.operates(r) {
		f.Principal = c.Principal(r).Name
	}
	return f
}

// pace says how many runs come a second, from how close together the newest are,
// when they are more than a person reads.
func pace(list []story, now time.Time) string {
	if len(list) < perPage || now.Sub(list[0].At) > 2*time.Second {
		return ""
	}
	span := list[0].At.Sub(list[len(list)-1].At).Seconds()
	if span <= 0 {
		return ""
	}
	rate := float64(len(list)-1) / span
	if rate < busy {
		return ""
	}
	digits := math.Pow(10, math.Floor(math.Log10(rate))-1) // two digits: it is an estimate
	return "about " + grouped(int(math.Round(rate/digits)*digits)) + " a second"
}

// version names what a list shows, the passing of time apart.
func (l listing) version() string {
	h := sha256.New()
	for i := range l.List {
		fmt.Fprintln(h, l.List[i].Version())
	}
	fmt.Fprintln(h, l.Next, l.Newer, l.Pace, l.Mixed)
	return `"` + hex.EncodeToString(h.Sum(nil)[:9]) + `"`
}

// Version changes when what a list says of a run does.
func (s *story) Version() string {
	h := sha256.New()
	said := []string{s.Run.RunID, s.State.Word, s.Subject, s.Run.Principal, s.Now}
	if s.Final {
		said = append(said, s.Brief, s.Took)
	}
	fmt.Fprintf(h, "%q %t", said, s.Stop)
	return hex.EncodeToString(h.Sum(nil)[:4])
}
