package web

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"patchbay/internal/flow"
)

// Long lists are cut on a page; the JSON behind it has all.
const (
	maxRows    = 100
	maxEffects = 12
)

type (
	// story is a run as a page tells it.
	story struct {
		Run      flow.Run
		State    state
		Subject  string // what it is about: the values of its parameters
		Sentence string // all of it in one sentence
		Now      string // what is happening, while it runs: "Reading from Oracle PLM"
		Since    int64  // milliseconds the run has taken so far
		Took     string // all of it, once it has ended
		Final    bool
		Stop     bool // a cancel makes sense
		Reads    string
		Writes   string
		Writing  bool // the answer is there and the write goes on
		Problem  *problem
		Table    *table
		Steps    []step
		Effects  effects
		Doubts   int
		Waiting  string
		Again    string // address of the form with the same parameters
		UI       string // address in the Temporal Web UI
		At       time.Time
		Clock    time.Time // now, for relative times
		Facts    []fact
	}

	problem struct{ What, Retry, Done, Code string }

	table struct {
		Columns []string
		Rows    [][]string
		Count   int
		Cut     int // rows that are not shown
	}

	// step is one line of the vertical line; Start and Width are per cent of the
	// whole run.
	step struct {
		Name, Note, Took string
		State            state
		Start, Width     float64
		Bar              bool
		Open             int64 // milliseconds so far, of the step that goes on
		At               time.Time
	}

	effects struct {
		Line  string
		State state
		List  []effect
		Cut   int
	}

	effect struct {
		Target string
		State  state
	}

	fact struct{ Name, Value string }
)

// tell makes the story of a run. The plan may be nil: a flow can be gone while
// its runs are still told.
func tell(run flow.Run, plan *flow.Plan, uiBase string, now time.Time) story {
	s := story{
		Run: run, State: statusState(run.Status), Subject: subject(run, plan), Final: run.Status.Final(),
		Waiting: run.Waiting, At: run.AcceptedAt, Clock: now, Reads: "the source", Writes: "the target",
	}
	if plan != nil && plan.Read != nil {
		s.Reads = system(plan.Read.Connection)
	}
	if plan != nil && plan.Write != nil {
		s.Writes = system(plan.Write.Connection)
	}
	end := now
	if run.ClosedAt != nil {
		end = *run.ClosedAt
	}
	s.Since = max(end.Sub(run.AcceptedAt).Milliseconds(), 0)
	s.Took = duration(end.Sub(run.AcceptedAt))
	s.Stop = !s.Final && !run.Cancelling
	s.Writing = run.Result != nil && !s.Final
	s.Table = tabulate(run.Result, plan)
	s.Effects, s.Doubts = summarise(run.Effects, s.Writes)
	s.Steps = s.line(end)
	s.Now = s.now()
	s.Problem = s.problem()
	s.Sentence = s.sentence()
	s.Again = again(run, plan)
	if uiBase != "" && run.WorkflowID != "" {
		s.UI = strings.TrimRight(uiBase, "/") + "/namespaces/default/workflows/" + url.PathEscape(run.WorkflowID)
	}
	s.Facts = facts(run)
	return s
}

// current is the name of the step the run is in; "" before the first.
func (s *story) current() string {
	if n := len(s.Run.Progress); n > 0 {
		return s.Run.Progress[n-1].Name
	}
	return ""
}

func (s *story) now() string {
	switch {
	case s.Final:
		return ""
	case s.Run.Cancelling:
		return "Cancelling: what has begun is being settled"
	case s.Waiting != "":
		return "Waiting: " + s.Waiting
	}
	switch s.current() {
	case "reading":
		return "Reading from " + s.Reads
	case "answered", "writing":
		return "Writing to " + s.Writes
	}
	return "Starting"
}

// spent is how long the run was in a step, until the next one or until end.
func (s *story) spent(name string, end time.Time) (time.Duration, bool) {
	for i, p := range s.Run.Progress {
		if p.Name != name {
			continue
		}
		if i+1 < len(s.Run.Progress) {
			end = s.Run.Progress[i+1].At
		}
		return end.Sub(p.At), true
	}
	return 0, false
}

// line draws the steps. Accepted, reading and writing take time and have a bar;
// answered and closed are moments.
func (s *story) line(end time.Time) []step {
	total := max(end.Sub(s.Run.AcceptedAt), time.Millisecond)
	names := map[string]string{
		"accepted": "Accepted", "reading": "Read from " + s.Reads, "answered": "Answered",
		"writing": "Written to " + s.Writes, "closed": s.State.Word,
	}
	open := map[string]string{"accepted": "Accepted", "reading": "Reading from " + s.Reads, "writing": "Writing to " + s.Writes}
	var line []step
	for i, p := range s.Run.Progress {
		last := i == len(s.Run.Progress)-1
		st := step{Name: names[p.Name], Note: p.Note, At: p.At, State: statusState(flow.Completed)}
		if st.Name == "" {
			st.Name = sentence(p.Name)
		}
		switch {
		case p.Name == "closed":
			st.State = s.State
		case last && !s.Final:
			st.State = statusState(flow.Running)
		}
		// The step that ended the run unfinished did not do what its past tense says.
		broken := i == len(s.Run.Progress)-2 && s.Final && s.Run.Status != flow.Completed
		if words, ok := open[p.Name]; ok && (last || broken) {
			st.Name = words
		}
		if broken && p.Name != "answered" {
			st.State = s.State
		}
		if d, _ := s.spent(p.Name, end); p.Name != "answered" && p.Name != "closed" {
			st.Bar, st.Took = true, duration(d)
			st.Start = 100 * float64(max(p.At.Sub(s.Run.AcceptedAt), 0)) / float64(total)
			st.Width = max(100*float64(max(d, 0))/float64(total), 0.6)
			st.Start = min(st.Start, 100-st.Width)
			if last && !s.Final {
				st.Open = max(d.Milliseconds(), 1)
			}
		}
		line = append(line, st)
	}
	return line
}

// problem puts a failure in words: what failed, whether trying again helps, what
// was done already.
func (s *story) problem() *problem {
	p := s.Run.Problem
	if p == nil {
		return nil
	}
	out := &problem{What: sentence(p.Detail), Code: p.Code,
		Retry: "Trying again with the same input will fail the same way."}
	if p.Retry {
		out.Retry = "The same request may succeed later: trying again helps."
	}
	switch done, doubt := s.total(flow.Confirmed, flow.Settled), s.Doubts; {
	case doubt > 0:
		out.Retry = "Trying again may help, once it is known what became of the writes in doubt."
		out.Done = fmt.Sprintf("%s written to %s; %s in doubt.", were(done), s.Writes, is(doubt))
	case done > 0:
		out.Done = were(done) + " written to " + s.Writes + " before it failed."
	default:
		out.Done = "Nothing was written."
	}
	return out
}

// were is rows with their verb: "1 row was", "12 rows were".
func were(n int) string {
	if n == 1 {
		return "1 row was"
	}
	return count(n, "row") + " were"
}

func is(n int) string {
	if n == 1 {
		return "1 is"
	}
	return grouped(n) + " are"
}

func (s *story) total(states ...flow.EffectState) int {
	n := 0
	for _, e := range s.Run.Effects {
		for _, state := range states {
			if e.State == state {
				n++
			}
		}
	}
	return n
}

// sentence is the whole run in one line.
func (s *story) sentence() string {
	about := ""
	if s.Subject != "" {
		about = " for " + s.Subject
	}
	read := ""
	if s.Run.Result != nil {
		verb := "were"
		if s.Run.Result.Count == 1 {
			verb = "was"
		}
		read = count(s.Run.Result.Count, "row") + about + " " + verb + " read from " + s.Reads
		if d, ok := s.spent("reading", s.Clock); ok {
			read += " in " + duration(d)
		}
	}
	written := s.total(flow.Confirmed, flow.Settled)
	switch s.Run.Status {
	case flow.Completed:
		switch {
		case s.Run.Result != nil && written > 0:
			return read + " and written to " + s.Writes + " once."
		case s.Run.Result != nil:
			return read + "; nothing was written."
		}
		return "The run" + about + " is complete."
	case flow.Failed:
		switch {
		case s.Run.Result != nil:
			return read + "; writing to " + s.Writes + " failed."
		case s.reached("reading"):
			return "Reading from " + s.Reads + about + " failed."
		}
		return "The run" + about + " failed before it read anything."
	case flow.Cancelled:
		if n := len(s.Run.Effects) - written - s.Doubts; written > 0 || n > 0 {
			return fmt.Sprintf("Cancelled after %s: %s written to %s, %s never sent.", s.Took, were(written), s.Writes, were(n))
		}
		return "Cancelled after " + s.Took + "; nothing was written."
	case flow.Parked:
		return sentence("Parked: " + s.Waiting)
	case flow.Accepted, flow.Running:
	}
	if s.Run.Result != nil {
		return read + "; writing to " + s.Writes + "."
	}
	return sentence(s.Now + about)
}

func (s *story) reached(name string) bool {
	_, ok := s.spent(name, s.Clock)
	return ok
}

func facts(run flow.Run) []fact {
	all := []fact{
		{"Run", run.RunID}, {"Workflow", run.WorkflowID}, {"Plan digest", run.Digest}, {"Asked for by", run.Principal},
		{"Accepted", absolute(run.AcceptedAt)}, {"Deadline", absolute(run.DeadlineAt)},
	}
	if run.AnsweredAt != nil {
		all = append(all, fact{"Answered", absolute(*run.AnsweredAt)})
	}
	if run.ClosedAt != nil {
		all = append(all, fact{"Closed", absolute(*run.ClosedAt)})
	}
	kept := all[:0]
	for _, f := range all {
		if f.Value != "" {
			kept = append(kept, f)
		}
	}
	return kept
}

// again is the form of the flow, filled with the parameters of the run.
func again(run flow.Run, plan *flow.Plan) string {
	if plan == nil {
		return ""
	}
	values := url.Values{}
	for _, p := range plan.Params {
		if v, ok := run.Params[p.Name]; ok {
			values.Set(p.Name, cell(v))
		}
	}
	address := "/flows/" + url.PathEscape(run.Flow)
	if len(values) > 0 {
		address += "?" + values.Encode()
	}
	return address
}
