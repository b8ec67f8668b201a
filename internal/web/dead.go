package web

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

type (
	// letters is the list of dead letters as its page shows it.
	letters struct {
		List   []letter
		Filter flow.LetterFilter
		States []flow.LetterState
		Plans  []flow.Applied
		Spans  []span
		Since  string
		Open   bool   // they can be decided on
		Older  string // address of the next page
		Query  string // of the same letters at /v1/dead
		Top    string // when the newest shown letter died
		Newer  int    // letters that came after a list that is held
		Many   bool   // and there are more of them
		Now    time.Time
	}

	// letter is one of them.
	letter struct {
		flow.Letter
		Run     story
		State   state
		Subject string
		What    string // the problem as a sentence
		Writes  string // what it has written
		At      time.Time
		Clock   time.Time
	}
)

// operating refuses who may not see what others did.
func (c *console) operating(r *http.Request, what string) error {
	if c.Dead == nil {
		return fault.NotFoundf("page.unknown", "There is no page at this address.")
	}
	if !c.operates(r) {
		return fault.New(fault.Unauthorized, "auth.forbidden", what+" need the role operate", nil)
	}
	return nil
}

// buried counts the dead letters for the rail. One that cannot be counted now is no
// reason to show no page.
func (c *console) buried(r *http.Request) (there bool, n string) {
	if c.Dead == nil || !c.operates(r) {
		return false, ""
	}
	switch all, err := c.Dead.DeadLetters(r.Context()); {
	case err != nil || all == 0:
		return true, ""
	case all >= 1000:
		return true, "999+"
	default:
		return true, grouped(all)
	}
}

// letterOf gives the dead letter of a run, the zero one where there is none or the
// viewer may not see it.
func (c *console) letterOf(r *http.Request, id string) (flow.Letter, error) {
	if c.Dead == nil || !c.operates(r) {
		return flow.Letter{}, nil
	}
	l, err := c.Dead.Letter(r.Context(), id)
	if fault.Is(err, fault.NotFound) {
		return flow.Letter{}, nil
	}
	return l, err
}

// oldest are the dead letters that have waited longest, for the home page.
func (c *console) oldest(r *http.Request, plans []flow.Applied) ([]story, error) {
	if c.Dead == nil || !c.operates(r) {
		return nil, nil
	}
	list, _, err := c.Dead.Letters(r.Context(), flow.LetterFilter{Oldest: true, Limit: surveyed})
	if err != nil {
		return nil, err
	}
	all := make([]story, len(list))
	for i, l := range list {
		told := c.tellLetter(l, plans)
		s := told.Run
		s.State, s.Brief, s.At, s.Took, s.Link = told.State, told.What, l.DiedAt, "", "/dead/"+url.PathEscape(l.RunID)
		all[i] = s
	}
	return all, nil
}

// tellLetter tells a letter without its effects.
func (c *console) tellLetter(l flow.Letter, plans []flow.Applied) letter {
	plan := planOf(l.Flow, plans)
	run := flow.Run{RunID: l.RunID, Flow: l.Flow, Status: flow.Failed, Params: l.Params, Principal: l.Principal, Problem: &l.Problem,
		AcceptedAt: l.AcceptedAt, ClosedAt: &l.DiedAt, InDoubt: l.Effects.InDoubt}
	s := tell(run, plan, setting{now: c.Now()})
	out := letter{Letter: l, Run: s, State: s.State, Subject: s.Subject, What: sentence(named(l.Problem.Detail, plan)),
		Writes: written(l.Effects), At: l.DiedAt, Clock: c.Now()}
	switch {
	case l.State == flow.LetterRedriven:
		out.State = state{"Redriven", "running", icon("again")}
	case l.State == flow.LetterDismissed:
		out.State = state{"Dismissed", "cancelled", icon("slash")}
	case l.Effects.InDoubt > 0:
		out.State = inDoubt()
	}
	return out
}

// written says what there is of a letter's writes, in few words.
func written(t flow.Tally) string {
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{t.Done, "written"}, {t.InDoubt, "in doubt"}, {t.Refused, "refused"}, {t.Undone, "never sent"}} {
		if p.n > 0 {
			parts = append(parts, grouped(p.n)+" "+p.what)
		}
	}
	if len(parts) == 0 {
		return "nothing written"
	}
	return strings.Join(parts, ", ")
}

// doAgain says what a redrive as it was does with the writes there were.
func doAgain(l flow.Letter) string {
	var parts []string
	if t := l.Effects; t.Done > 0 {
		parts = append(parts, count(t.Done, "row")+" already written, not sent again")
	}
	if n := l.Effects.InDoubt; n > 0 {
		parts = append(parts, grouped(n)+" in doubt, looked for before anything is sent")
	}
	if n := l.Effects.Refused + l.Effects.Undone; n > 0 {
		parts = append(parts, grouped(n)+" sent again")
	}
	switch {
	case len(parts) > 0:
		return sentence(strings.Join(parts, "; "))
	case l.AnsweredAt != nil:
		return "It writes the answer that it has."
	}
	return "It has written nothing and begins anew."
}

// Version changes when what a list says of a letter does.
func (l letter) Version() string {
	h := sha256.New()
	fmt.Fprintf(h, "%q", []string{l.RunID, l.State.Word, l.What, l.Writes, l.At.String()})
	return hex.EncodeToString(h.Sum(nil)[:4])
}

func (l letters) version() string {
	h := sha256.New()
	for _, one := range l.List {
		fmt.Fprintln(h, one.Version())
	}
	fmt.Fprintln(h, l.Older, l.Newer)
	return `"` + hex.EncodeToString(h.Sum(nil)[:9]) + `"`
}

func (c *console) buriedList(r *http.Request) (letters, error) {
	if err := c.operating(r, "dead letters"); err != nil {
		return letters{}, err
	}
	query := r.URL.Query()
	out := letters{Now: c.Now(), Spans: spans(query), Since: query.Get("since"),
		States: []flow.LetterState{flow.LetterDead, flow.LetterRedriven, flow.LetterDismissed}}
	f := flow.LetterFilter{Flow: query.Get("flow"), Reason: strings.TrimSpace(query.Get("reason")), State: flow.LetterState(query.Get("state")),
		Cursor: query.Get("before"), Limit: perPage}
	switch f.State {
	case "":
		f.State = flow.LetterDead
	case flow.LetterDead, flow.LetterRedriven, flow.LetterDismissed:
	default:
		return out, fault.Invalidf("query.invalid", "no dead letter is in a state of this name")
	}
	var err error
	if f.Since, err = moment(query, "since", c.Now()); err != nil {
		return out, err
	}
	held, err := moment(query, "until", c.Now())
	if err != nil {
		return out, err
	}
	if out.Plans, err = c.Flows.Flows(r.Context()); err != nil {
		return out, err
	}
	if !held.IsZero() {
		f.Until = held.Add(time.Microsecond) // the newest that is shown died then
	}
	list, next, err := c.Dead.Letters(r.Context(), f)
	if err != nil {
		return out, err
	}
	out.Filter, out.Open = f, f.State != flow.LetterRedriven
	for _, l := range list {
		out.List = append(out.List, c.tellLetter(l, out.Plans))
	}
	kept, api := url.Values{}, url.Values{}
	for _, name := range []string{"flow", "reason", "state", "since"} {
		if v := query.Get(name); v != "" {
			kept.Set(name, v)
			api.Set(name, v)
		}
	}
	out.Query = api.Encode()
	if next != "" {
		kept.Set("before", next)
		out.Older = "/dead?" + kept.Encode()
	}
	if len(list) > 0 {
		out.Top = list[0].DiedAt.UTC().Format(time.RFC3339Nano)
	}
	if held.IsZero() || f.Cursor != "" {
		return out, nil
	}
	f.Until, f.Since = time.Time{}, held.Add(time.Microsecond)
	came, _, err := c.Dead.Letters(r.Context(), f)
	out.Newer, out.Many = len(came), len(came) == perPage
	return out, err
}

// dead is the list of dead letters.
func (c *console) dead(w http.ResponseWriter, r *http.Request) error {
	out, err := c.buriedList(r)
	if err != nil {
		return err
	}
	c.render(w, r, http.StatusOK, "dead", frame{Title: "Dead letters", Nav: "dead", Page: out})
	return nil
}

// deadLive is the same list for the script: 304 while nothing has changed.
func (c *console) deadLive(w http.ResponseWriter, r *http.Request) error {
	out, err := c.buriedList(r)
	if err != nil {
		return err
	}
	c.fragment(w, r, "dead", "letters", out.version(), out)
	return nil
}

// letter is the page of one dead letter: what happened, and what can be done.
func (c *console) letter(w http.ResponseWriter, r *http.Request) error {
	if err := c.operating(r, "dead letters"); err != nil {
		return err
	}
	id := r.PathValue("id")
	l, err := c.Dead.Letter(r.Context(), id)
	if err != nil {
		return err
	}
	s, err := c.storyOf(r, id)
	if err != nil {
		return err
	}
	plans, err := c.Flows.Flows(r.Context())
	if err != nil {
		return err
	}
	told := c.tellLetter(l, plans)
	told.Run = s
	title := l.Flow + " · Dead letter"
	if told.Subject != "" {
		title = told.Subject + " · " + title
	}
	var inputs []field
	if plan := planOf(l.Flow, plans); plan != nil {
		inputs = fields(plan, l.Params)
	}
	c.render(w, r, http.StatusOK, "letter", frame{Title: title, Nav: "dead", Page: struct {
		letter
		Fields []field
		Open   bool
	}{told, inputs, l.State != flow.LetterRedriven}})
	return nil
}
