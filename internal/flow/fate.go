package flow

import (
	"strconv"
	"strings"
	"time"
)

// Fate is where an event is, and what is known of why.
type Fate struct {
	Reason  EventReason
	Source  string // connection.table
	Clause  string
	Detail  string // in words, safe to show
	Changed []string
	Window  int64      // that it is part of; 0: none
	Events  int        // of that window
	Outcome string     // of the window; empty: it is open
	Run     string     // that carries the window
	Due     *time.Time // when the window is due, while it is open
	Reading bool       // its record has to be read before it can be decided
}

// WindowName is how a window is called, and found by.
func WindowName(id int64) string { return "window-" + strconv.FormatInt(id, 10) }

// ParseWindow reads the name of a window; 0 when it is none.
func ParseWindow(name string) int64 {
	digits, ok := strings.CutPrefix(name, "window-")
	id, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || id < 0 {
		return 0
	}
	return id
}

// Words says why an event is where it is, as a sentence without its full stop.
func (f Fate) Words() string {
	switch f.Reason {
	case EventWaiting:
		return f.waits()
	case EventDelivered:
		return "it was carried out by the run of its window"
	case EventFiltered:
		return f.filtered()
	case EventUnchanged:
		switch {
		case f.Window != 0:
			return "what its window collected was taken back: nothing that matters has another value"
		case f.Clause == "version":
			return "this version of the record was known already"
		case f.Clause == "select":
			return "no column that a trigger selects has another value than before"
		}
		return "no column that matters has another value than before"
	case EventMerged:
		return f.merged()
	case EventEcho:
		return "it is a write of this flow that came back; it is cut at its first return"
	case EventStale:
		return "it is older than what was known of the record"
	case EventShed:
		return "the flow was past what it expects, in the mode shed: it is kept and was not carried out"
	case EventRejected:
		if f.Window != 0 && f.Clause == "" {
			return "its run was rejected"
		}
		return f.refused()
	case EventDead:
		if f.Detail == "" {
			return "its run is a dead letter"
		}
		return f.Detail
	}
	return string(f.Reason)
}

func (f Fate) waits() string {
	switch {
	case f.Reading:
		text := "its record is read first: the delivery left it out"
		if f.Detail != "" {
			text += "; " + f.Detail
		}
		return text
	case f.Run != "":
		return "its run is under way"
	case f.Outcome != "":
		return "its window has ended and becomes a run"
	case f.Due != nil:
		return "its window is open until " + f.Due.UTC().Format("15:04:05 UTC") + ", unless more comes"
	}
	return "it waits in its window"
}

func (f Fate) filtered() string {
	switch f.Clause {
	case "change":
		return "no trigger of " + f.Source + " wants this type of change"
	case "select":
		return "the request did not touch a column that a trigger of " + f.Source + " selects"
	case "where":
		return "where of the trigger on " + f.Source + " does not hold"
	case "transitions":
		return "transitions of the trigger on " + f.Source + " does not hold"
	case "table":
		return "no trigger is on " + f.Source
	}
	return f.Clause + " of the trigger on " + f.Source + " refused it"
}

func (f Fate) refused() string {
	switch {
	case f.Detail == "" && f.Clause == "key":
		return "it has no business key"
	case f.Detail == "" || f.Clause == "":
		return f.Clause + f.Detail
	case f.Clause == "table":
		return f.Detail
	}
	return f.Clause + ": " + f.Detail
}

func (f Fate) merged() string {
	text := "another event of its window carries its change"
	if f.Outcome == "digest" {
		text = "its change is part of one message for the same recipient"
	}
	if f.Events > 1 && f.Outcome != "digest" {
		text = "one of " + strconv.Itoa(f.Events) + " events of its window; the last of them carries the change"
	}
	return text
}
