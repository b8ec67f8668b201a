package web

import (
	"net/url"
	"strings"
	"time"

	"patchbay/internal/flow"
)

// Long lists are cut on a page; the JSON behind it has all.
const (
	maxRows    = 100
	maxTargets = 12  // of effects that went as they should
	maxWrong   = 100 // of effects that a person has to look at
)

type (
	// story is a run as a page tells it.
	story struct {
		Run      flow.Run
		State    state
		Subject  string // what it is about: the values of its parameters
		Sentence string // all of it in one sentence
		Doing    string // the step it is in, while it runs: "Reading from Oracle PLM"
		Now      string // the same, or what it waits for
		Brief    string // how it ended, in a few words
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
		Waiting  string // what it waits for, in a person's words
		Shared   string // where its answer came from, when another run did the work
		Leader   string // address of that run, for who may see it
		Detached bool   // its owner left; the work goes on for identical presses
		Keyed    bool   // a repeated write finds what the first one left
		Again    string // address of the form with the same parameters
		Link     string // address of its page
		Dead     bool   // a dead letter that nobody has decided on
		Anew     bool   // a redrive makes a new run of it
		Decided  bool   // a dead letter that was redriven as another run, or dismissed
		Redriven string // that it was accepted again, or what it was made of
		Made     string // address of the dead letter that it was made of
		UI       string // address in the Temporal Web UI
		At       time.Time
		Clock    time.Time // now, for relative times
		Facts    []fact
		News     *news    // of a run of an event flow
		Figures  *figures // of a run of a consolidation
		Told     string   // the business event that its rows became
		Heard    []heard  // business events that a service awaits or took
		Repairs  string   // address of what it left standing and a person has to put right
		// Consolidates: it has no answer of its own.
		Consolidates bool
	}

	problem struct{ What, Retry, Done, Code string }

	table struct {
		Columns []column
		Rows    [][]value
		Count   int
		Cut     int // rows that are not shown
	}

	// column is one of an answer. Same: every row holds Value, which a narrow page
	// says once, above the table.
	column struct {
		Name, Value string
		Same        bool
	}

	value struct {
		Text string
		Same bool
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
		Line   string
		State  state
		Groups []group
	}

	// group is effects of one state and one reason.
	group struct {
		State   state
		Reason  string // a sentence, or ""
		Todo    string // what a person can do, a sentence or ""
		Count   int
		Targets []string
		Cut     int // targets that are not shown
	}

	fact struct{ Name, Value string }

	// setting is what a story needs to know besides its run.
	setting struct {
		uiBase    string
		namespace string
		now       time.Time
		ahead     map[string]int // runs that are taken before it, by run_id
		letter    flow.Letter    // of a run that failed; the zero one where there is none
		leader    bool           // the viewer may see the run whose work it shares
		detached  bool           // its owner left; the work goes on for identical presses
	}
)

// tell makes the story of a run. The plan may be nil: a flow can be gone while
// its runs are still told.
func tell(run flow.Run, plan *flow.Plan, in setting) story {
	s := story{
		Run: run, State: statusState(run.Status), Subject: subject(run, plan), Final: run.Status.Final(),
		At: run.AcceptedAt, Clock: in.now, Reads: "the source", Writes: "the target",
	}
	if plan != nil && plan.Read != nil {
		s.Reads = system(plan.Read.Connection)
	}
	if plan != nil && plan.Gather != nil {
		s.Reads = count(len(plan.Gather.Sources), "source")
	}
	if plan != nil {
		s.Told = plan.Emit
	}
	if plan != nil && plan.Write != nil {
		s.Writes = system(plan.Write.Connection)
		s.Keyed = !plan.Write.Repeat
	}
	if plan != nil && plan.Saga != nil {
		reads, writes := sagaSystems(plan)
		s.Reads, s.Writes, s.Keyed = strings.Join(reads, ", "), strings.Join(writes, ", "), true
		s.Anew = true
	}
	s.Link, s.Dead = "/runs/"+url.PathEscape(run.RunID), in.letter.State == flow.LetterDead
	s.redriven(in.letter)
	s.share(in)
	if s.Waiting = waiting(run, plan, in); s.Waiting != "" && run.Status != flow.Parked && !run.Cancelling {
		if s.State = queueing; run.Waiting != "" || run.DueAt != nil {
			s.State = held
		}
	}
	end := in.now
	if run.ClosedAt != nil {
		end = *run.ClosedAt
	}
	s.Since = max(end.Sub(s.began()).Milliseconds(), 0)
	s.Took = duration(end.Sub(s.began()))
	s.Stop = !s.Final && !run.Cancelling
	s.Writing = run.Result != nil && !s.Final && run.Shared == ""
	s.Table = tabulate(run.Result, plan)
	s.Effects, s.Doubts = summarise(run, s.Writes, plan, in.letter.State)
	s.Steps = s.line(end, plan)
	if len(run.Tasks) > 0 {
		s.Steps = s.tasks(end, plan)
		s.Repairs = toRepair(run)
	}
	s.Heard = hears(run, in.now)
	s.Doing = s.doing()
	s.Now = s.Doing
	if s.Waiting != "" && !run.Cancelling {
		s.Now = s.Waiting
	}
	s.Problem = s.problem(plan)
	s.Detached = in.detached
	if s.News = newsOf(run, plan); s.News != nil {
		s.Subject = s.News.Key
		if s.News.Recipient != "" {
			s.Table = nil // the message says it better
		}
	}
	s.Figures = figuresOf(run, plan, in.now)
	s.Consolidates = s.Figures != nil || plan != nil && plan.Gather != nil
	s.Sentence = s.sentence()
	if plan != nil && plan.Saga != nil {
		s.Sentence = s.saga()
	}
	if s.Figures != nil {
		s.Sentence = s.Figures.sentence(&s)
	}
	if s.News != nil {
		if told := s.News.sentence(&s); told != "" {
			s.Sentence = told
		}
	}
	s.Brief = s.brief(plan)
	s.Again = again(run, plan)
	if in.uiBase != "" && run.WorkflowID != "" {
		s.UI = strings.TrimRight(in.uiBase, "/") + "/namespaces/" + url.PathEscape(in.namespace) + "/workflows/" + url.PathEscape(run.WorkflowID)
	}
	s.Facts = facts(run)
	return s
}

// began is when the run was accepted, the last time.
func (s *story) began() time.Time {
	if s.Run.Redriven > 0 && len(s.Run.Progress) > 0 {
		return s.Run.Progress[0].At
	}
	return s.Run.AcceptedAt
}

// redriven tells of a run that had been a dead letter.
func (s *story) redriven(letter flow.Letter) {
	s.Decided = s.Run.Status == flow.Failed && (letter.State == flow.LetterRedriven || letter.State == flow.LetterDismissed)
	switch {
	case s.Decided && letter.State == flow.LetterRedriven:
		s.Redriven = "It was a dead letter; " + letter.DecidedBy + " redrove it as another run."
		s.Made = "/dead/" + url.PathEscape(s.Run.RunID)
	case s.Decided:
		s.Redriven = "It was a dead letter; " + letter.DecidedBy + " dismissed it: " + sentence(letter.Note)
		s.Made = "/dead/" + url.PathEscape(s.Run.RunID)
	case s.Run.RedriveOf != "":
		s.Redriven = "It was made of a dead letter."
		s.Made = "/dead/" + url.PathEscape(s.Run.RedriveOf)
	case s.Run.Redriven == 1:
		s.Redriven = "It had failed and was redriven; the steps are those since."
	case s.Run.Redriven > 1:
		s.Redriven = "It had failed and was redriven " + grouped(s.Run.Redriven) + " times; the steps are those since."
	}
}

// share tells of a run that identical ones had started already: it has no steps
// of its own between the first and the answer.
func (s *story) share(in setting) {
	if s.Run.Shared == "" {
		return
	}
	s.Shared = "It shares the answer of an identical press."
	if s.Final {
		s.Shared = "It shared the answer of an identical press."
	}
	if in.leader {
		s.Leader = "/runs/" + url.PathEscape(s.Run.Shared)
	}
}

// Said is the step of an open run, or what it waits for, as a list says it.
func (s *story) Said() string { return strings.TrimSuffix(sentence(s.Now), ".") }

// current is the name of the step the run is in; "" before the first.
func (s *story) current() string {
	if n := len(s.Run.Progress); n > 0 {
		return s.Run.Progress[n-1].Name
	}
	return ""
}

func (s *story) doing() string {
	switch {
	case s.Final:
		return ""
	case s.Run.Cancelling:
		return "Cancelling: what has begun is being settled"
	case s.State == queueing: // it is in no step
		return strings.TrimRight(sentence(s.Waiting), ".")
	}
	switch s.current() {
	case "reading":
		return "Reading from " + s.Reads
	case "joining":
		return "Joining what was read"
	case "advising":
		return "Proposing action plans"
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
func (s *story) line(end time.Time, plan *flow.Plan) []step {
	total := max(end.Sub(s.began()), time.Millisecond)
	names := map[string]string{
		"accepted": "Accepted", "reading": "Read from " + s.Reads, "answered": "Answered",
		"joining": "Joined", "writing": "Written to " + s.Writes, "advising": "Advised", "closed": s.State.Word,
	}
	open := map[string]string{"accepted": "Accepted", "reading": "Reading from " + s.Reads, "joining": "Joining", "writing": "Writing to " + s.Writes, "advising": "Advising"}
	var line []step
	for i, p := range s.Run.Progress {
		if p.Name == "closing" { // a moment between the last step and the end
			continue
		}
		last := i == len(s.Run.Progress)-1
		st := step{Name: names[p.Name], Note: named(p.Note, plan), At: p.At, State: statusState(flow.Completed)}
		if st.Name == "" {
			st.Name = sentence(p.Name)
		}
		switch {
		case p.Name == "closed":
			st.State = s.State
			if s.Run.Problem != nil {
				st.Note = "" // the problem stands above, in full
			}
		case last && !s.Final:
			st.State = statusState(flow.Running)
			if s.Waiting != "" {
				st.State = s.State
			}
		}
		// The step that ended the run unfinished did not do what its past tense says.
		broken := i == len(s.Run.Progress)-2 && s.Final && s.Run.Status != flow.Completed
		if words, ok := open[p.Name]; ok && (last || broken) {
			st.Name = words
		}
		if broken && p.Name != "answered" {
			st.State = s.State
			if strings.HasPrefix(st.Note, "0 rows ") {
				st.Note = "" // what did not happen is no count
			}
		}
		if d, _ := s.spent(p.Name, end); p.Name != "answered" && p.Name != "closed" {
			st.Bar, st.Took = true, duration(d)
			st.Start = 100 * float64(max(p.At.Sub(s.began()), 0)) / float64(total)
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
	if plan == nil || plan.Reaction != nil {
		return "" // a change starts it, and nobody else
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
