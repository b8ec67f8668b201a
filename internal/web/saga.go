package web

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"patchbay/internal/flow"
)

// taskState is how a step of a service looks.
func taskState(s flow.TaskState) state {
	switch s {
	case flow.TaskRunning:
		return state{"under way", "running", icon("ring")}
	case flow.TaskDone:
		return state{"done", "completed", icon("tick")}
	case flow.TaskSkipped:
		return state{"not needed", "cancelled", icon("dot")}
	case flow.TaskFailed:
		return state{"failed", "failed", icon("cross")}
	case flow.TaskUndoing:
		return state{"being taken back", "running", icon("again")}
	case flow.TaskUndone:
		return state{"taken back", "cancelled", icon("again")}
	case flow.TaskStands:
		return state{"could not be taken back", "failed", icon("cross")}
	}
	return state{string(s), "cancelled", icon("dot")}
}

// tasks draws the steps of a service, which go on side by side or for weeks.
func (s *story) tasks(end time.Time, plan *flow.Plan) []step {
	total := max(end.Sub(s.began()), time.Millisecond)
	line := make([]step, 0, len(s.Run.Tasks))
	for _, t := range s.Run.Tasks {
		st := step{Name: sentence(t.Name), At: t.BegunAt, State: taskState(t.State), Bar: true}
		notes := []string{}
		switch {
		case t.State == flow.TaskFailed, t.State == flow.TaskStands, t.State == flow.TaskUndoing:
			notes = append(notes, st.State.Word)
		case t.State == flow.TaskRunning && s.Final:
			st.State = state{"not finished", "cancelled", icon("dot")}
			notes = append(notes, st.State.Word)
		case t.State == flow.TaskRunning && t.Waiting != "":
			st.State = held
		}
		if t.Settled != nil {
			st.State, notes = state{"put right", "completed", icon("tick")}, []string{"put right by " + t.Settled.By + ": " + t.Settled.Note}
		} else if t.Problem != nil {
			notes = append(notes, named(t.Problem.Detail, plan))
		} else if text := t.Waiting; text != "" && t.EndedAt == nil {
			notes = append(notes, named(text, plan))
		} else if t.Note != "" {
			notes = append(notes, named(t.Note, plan))
		}
		st.Note = strings.Join(notes, ": ")
		until := end
		if t.EndedAt != nil {
			until = *t.EndedAt
		} else if !s.Final {
			st.Open = max(until.Sub(t.BegunAt).Milliseconds(), 1)
		}
		took := max(until.Sub(t.BegunAt), 0)
		st.Took = duration(took)
		st.Width = max(100*float64(took)/float64(total), 0.6)
		st.Start = min(100*float64(max(t.BegunAt.Sub(s.began()), 0))/float64(total), 100-st.Width)
		line = append(line, st)
	}
	return line
}

// outcomeWords say what was decided.
var outcomeWords = map[flow.Outcome]string{
	flow.Approve: "approved", flow.Decline: "declined", flow.Refuse: "refused: nothing could be decided", flow.Expire: "expired: nobody decided in time",
}

// saga is a run of a service or a hybrid in one sentence.
func (s *story) saga() string {
	about := ""
	if s.Subject != "" {
		about = " for " + s.Subject
	}
	counts := map[flow.TaskState]int{}
	var open, failed []string
	for _, t := range s.Run.Tasks {
		if t.Settled == nil {
			counts[t.State]++
		}
		switch t.State {
		case flow.TaskRunning, flow.TaskUndoing:
			open = append(open, t.Name)
		case flow.TaskFailed:
			failed = append(failed, t.Name)
		case flow.TaskDone, flow.TaskSkipped, flow.TaskUndone, flow.TaskStands:
		}
	}
	back := ""
	switch {
	case counts[flow.TaskStands] > 0:
		back = "; " + count(counts[flow.TaskStands], "step") + " could not be taken back, and a person has to"
	case counts[flow.TaskUndone] > 0:
		back = "; what had been done was taken back"
	}
	switch s.Run.Status {
	case flow.Completed:
		if r := s.Run.Result; r != nil && r.Decision != "" {
			return sentence(outcomeWords[r.Decision] + about + ", by " + r.By)
		}
		return "All " + count(len(s.Run.Tasks), "step") + about + " are done."
	case flow.Failed:
		if len(failed) > 0 {
			return sentence(strings.Join(failed, ", ") + about + " failed" + back)
		}
		return "The run" + about + " failed" + back + "."
	case flow.Cancelled:
		return "Cancelled after " + s.Took + back + "."
	case flow.Accepted, flow.Running, flow.Parked:
	}
	switch {
	case s.Run.Cancelling || counts[flow.TaskUndoing] > 0:
		return "What has been done" + about + " is being taken back."
	case s.Waiting != "":
		return sentence(s.Waiting)
	case len(open) == 0:
		return "Starting" + about + "."
	}
	return sentence(strings.Join(open, ", ") + about + ", after " + count(counts[flow.TaskDone]+counts[flow.TaskSkipped], "step"))
}

// sagaSystems are the systems that a service reads and writes, each once.
func sagaSystems(p *flow.Plan) (reads, writes []string) {
	add := func(list []string, name string) []string {
		if name = system(name); slices.Contains(list, name) {
			return list
		}
		return append(list, name)
	}
	p.Saga.Walk(func(t *flow.Task) {
		switch {
		case t.Read != nil:
			reads = add(reads, t.Read.Connection)
		case t.Write != nil:
			writes = add(writes, t.Write.Connection)
		}
	})
	return reads, writes
}

// toRepair is the page on which what the run left standing is put right; "" where nothing
// waits for that.
func toRepair(run flow.Run) string {
	if slices.ContainsFunc(run.Tasks, func(t flow.TaskView) bool { return t.State == flow.TaskStands && t.Settled == nil }) {
		return "/repairs?run=" + url.QueryEscape(run.RunID)
	}
	return ""
}
