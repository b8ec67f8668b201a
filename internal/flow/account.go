package flow

import (
	"slices"
	"strings"
	"time"
)

type (
	// Account tells a run step by step, each step with its effects.
	Account struct {
		RunID      string        `json:"run_id"`
		Flow       string        `json:"flow"`
		Status     Status        `json:"status"`
		AcceptedAt time.Time     `json:"accepted_at"`
		Problem    *Problem      `json:"problem,omitempty"`
		Waiting    string        `json:"waiting,omitempty"`
		Redriven   int           `json:"redriven,omitempty"`   // how often it was accepted again; the steps are of the last time
		RedriveOf  string        `json:"redrive_of,omitempty"` // the dead letter that it was made of
		Shared     string        `json:"shared,omitempty"`     // the run whose work and effects these are
		Steps      []AccountStep `json:"steps"`
		Dead       bool          `json:"dead"` // a dead letter that nobody has decided on
	}

	// AccountStep is one step; Took is 0 for a moment and for the step that goes on.
	AccountStep struct {
		Name    string          `json:"name"`
		At      *time.Time      `json:"at,omitempty"` // absent: of an earlier time that the run was accepted
		Took    time.Duration   `json:"-"`
		TookMS  float64         `json:"took_ms,omitempty"`
		Note    string          `json:"note,omitempty"`
		Effects []AccountEffect `json:"effects,omitempty"`
	}

	// AccountEffect is an effect with what a person can do about it.
	AccountEffect struct {
		Effect
		Todo string `json:"todo,omitempty"` // empty: nothing has to be done
	}
)

// AccountOf tells a run. Effects stand at the step that writes. letter is the state
// of its dead letter, "" where there is none.
func AccountOf(run Run, letter LetterState) Account {
	a := Account{RunID: run.RunID, Flow: run.Flow, Status: run.Status, AcceptedAt: run.AcceptedAt, Problem: run.Problem, Waiting: run.Waiting,
		Redriven: run.Redriven, RedriveOf: run.RedriveOf, Shared: run.Shared, Dead: letter == LetterDead, Steps: make([]AccountStep, 0, len(run.Progress)+1)}
	for i, p := range run.Progress {
		at := p.At
		s := AccountStep{Name: p.Name, At: &at, Note: p.Note}
		if i+1 < len(run.Progress) {
			s.Took = run.Progress[i+1].At.Sub(p.At)
			s.TookMS = float64(s.Took.Microseconds()) / 1000
		}
		a.Steps = append(a.Steps, s)
	}
	if len(run.Effects) == 0 {
		return a
	}
	at := -1
	for i, s := range a.Steps {
		if s.Name == "writing" {
			at = i
		}
	}
	if at < 0 {
		a.Steps = append(a.Steps, AccountStep{Name: "writing"})
		at = len(a.Steps) - 1
	}
	for _, e := range run.Effects {
		if e.State == Attempt && run.Status.Final() {
			e.State = Doubtful // nobody will hear of it any more
		}
		a.Steps[at].Effects = append(a.Steps[at].Effects, AccountEffect{Effect: e, Todo: Todo(e, run.Status, letter)})
	}
	return a
}

// told bounds the runs that are told beside the entries of a key.
const told = 20

// RunsOf gives the runs that entries are of, the one with the newest entry first, at
// most 20.
func RunsOf(entries []Entry) []string {
	var ids []string
	for _, e := range slices.Backward(entries) {
		if e.Run != "" && len(ids) < told && !slices.Contains(ids, e.Run) {
			ids = append(ids, e.Run)
		}
	}
	return ids
}

// Todo is what a person can do about an effect of a run, in words without a capital
// and a full stop; empty when nothing has to be done, as for a failed run whose dead
// letter somebody has decided on.
func Todo(e Effect, status Status, letter LetterState) string {
	if status == Failed && (letter == LetterRedriven || letter == LetterDismissed) {
		return ""
	}
	system, _, _ := strings.Cut(e.Target, ".")
	switch e.State {
	case Confirmed, Settled:
		return ""
	case Refused:
		switch status {
		case Failed:
			return "put right what " + system + " says, then redrive the run: what was refused is sent again, what is written is not; " +
				"or redrive it with other parameters, or dismiss it"
		case Cancelled:
			return "nothing was written for it; press again once " + system + " takes it"
		case Accepted, Running, Parked, Completed:
		}
		return "wait for the end of the run, then redrive it"
	case Doubtful, Attempt:
		switch {
		case status == Failed:
			return "redrive the run: it looks whether " + system + " has this row, and sends it only when it does not; " +
				"or look there by this key, and dismiss the run when it is there"
		case status.Final():
			return "look in " + system + " by this key; a new press writes what is missing"
		case e.State == Doubtful:
			return "wait: the run looks whether " + system + " has this row before it sends it again"
		}
		return "wait: it is being written"
	case Intent:
		switch {
		case status == Failed:
			return "redrive the run to send it"
		case status.Final():
			return "it was never sent; press again if it is wanted"
		}
		return "wait: it is sent next"
	}
	return ""
}

// Moment reads a time that a person gives: a date, RFC 3339, or how long ago, as in
// 15m, 24h and 7d.
func Moment(text string, now time.Time) (time.Time, bool) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		text = days + "h"
		if d, err := time.ParseDuration(text); err == nil && d >= 0 && d <= 10_000*time.Hour {
			return now.Add(-24 * d), true
		}
		return time.Time{}, false
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), true
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04", time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}
