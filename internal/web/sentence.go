package web

import (
	"strings"

	"patchbay/internal/flow"
)

// problem puts a failure in words: what failed, whether trying again helps, what
// was done already.
func (s *story) problem(plan *flow.Plan) *problem {
	p := s.Run.Problem
	if p == nil {
		return nil
	}
	out := &problem{What: sentence(named(p.Detail, plan)), Code: p.Code}
	switch {
	case s.Doubts > 0: // the note below says what to do
	case p.Retry:
		out.Retry = "The same request may succeed later: trying again helps."
	case !s.Dead && !s.Decided: // else it is redriven when what was wrong is put right
		out.Retry = "Trying again with the same input will fail the same way."
	}
	switch done := s.total(flow.Confirmed, flow.Settled); {
	case done > 0 && s.Doubts > 0:
		out.Done = were(done) + " written to " + s.Writes + "; " + is(s.Doubts) + " in doubt."
	case done > 0:
		out.Done = were(done) + " written to " + s.Writes + " before it failed."
	case s.Doubts == 0 && !s.Anew: // its sentence and its steps say what stands
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
			if e.State == state && e.Reason != flow.TakenBack && flow.Undoes(e.Step) == "" {
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
	switch s.Run.Status {
	case flow.Completed:
		switch {
		case s.Run.Shared != "" && s.Run.Result != nil && s.total(flow.Confirmed, flow.Settled) > 0:
			return read + " and written to " + s.Writes + " once, for this press and identical ones."
		case s.Run.Result != nil && s.total(flow.Confirmed, flow.Settled) > 0:
			return read + " and written to " + s.Writes + " once."
		case s.Run.Result != nil && s.Told != "":
			return read + " and became the business event " + s.Told + "."
		case s.Run.Result != nil:
			return read + "; nothing was written."
		}
		return "The run" + about + " is complete."
	case flow.Failed:
		switch {
		case s.Doubts > 0 && read != "":
			return read + "; " + s.doubts() + "."
		case s.Doubts > 0:
			return "The run" + about + " failed with " + s.doubts() + "."
		case s.Run.Result != nil:
			return read + "; writing to " + s.Writes + " failed."
		case s.reached("writing"):
			return "Writing to " + s.Writes + about + " failed."
		case s.reached("reading"):
			return "Reading from " + s.Reads + about + " failed."
		}
		return "The run" + about + " failed before it read anything."
	case flow.Cancelled:
		if s.Detached {
			return "Cancelled after " + s.Took + ". Identical presses share its work, which goes on for them."
		}
		return s.cancelled()
	case flow.Parked:
		if s.Waiting != "" {
			return "Parked: " + s.Waiting + "."
		}
		return "Parked: it waits for a person."
	case flow.Accepted, flow.Running:
	}
	switch {
	case s.Run.Shared != "" && s.Run.Result != nil:
		return read + " by an identical press, which now writes to " + s.Writes + "."
	case s.Run.Result == nil && s.Now == s.Waiting:
		return sentence(s.Now)
	case s.Run.Result == nil:
		return sentence(s.Now + about)
	case s.Now == s.Waiting:
		return read + "; then " + s.Waiting + "."
	}
	return read + "; writing to " + s.Writes + "."
}

// doubts counts the writes whose outcome nobody knows: "12 writes in doubt".
func (s *story) doubts() string { return count(s.Doubts, "write") + " in doubt" }

// brief is how a run ended, for a list. Where the effects are not at hand the
// last step says what it did.
func (s *story) brief(plan *flow.Plan) string {
	n := len(s.Run.Progress)
	switch {
	case s.Problem != nil:
		return s.Problem.What
	case s.Run.Shared != "":
		return "Shared the answer of an identical press"
	case s.Effects.Line != "":
		return s.Effects.Line
	case s.Run.Status == flow.Completed && n > 0:
		return named(s.Run.Progress[n-1].Note, plan)
	}
	return ""
}

// cancelled tells the certificate of a cancel: what was done, what nobody knows,
// what was never begun.
func (s *story) cancelled() string {
	var parts []string
	if n := s.total(flow.Confirmed, flow.Settled); n > 0 {
		parts = append(parts, were(n)+" written to "+s.Writes)
	}
	if s.Doubts > 0 {
		parts = append(parts, s.doubts())
	}
	if n := s.total(flow.Refused); n > 0 {
		parts = append(parts, were(n)+" refused")
	}
	if n := s.total(flow.Intent); n > 0 {
		parts = append(parts, were(n)+" never sent")
	}
	if len(parts) == 0 || len(parts) == 1 && s.total(flow.Intent) > 0 {
		return "Cancelled after " + s.Took + "; nothing was written."
	}
	return "Cancelled after " + s.Took + ": " + strings.Join(parts, ", ") + "."
}

func (s *story) reached(name string) bool {
	_, ok := s.spent(name, s.Clock)
	return ok
}
