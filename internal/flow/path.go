package flow

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Path is the way of one window, from its events to what its run did.
type Path struct {
	Flow    string
	Window  string // "window-12"
	Events  int
	Outcome string   // open, run, unchanged, shed, digest, dead
	Into    string   // the window whose message it is part of
	Run     string   // that carries it; empty: none yet
	Done    []string // what the run did, in words: "mail confirmed"
	Ended   string   // how the run ended, by its final reason
}

// PathsOf gathers entries by the windows that they tell of, in their order.
func PathsOf(entries []Entry) []Path {
	var all []Path
	for _, e := range entries {
		name, _ := e.Detail["window"].(string)
		if e.What != "window" || slices.ContainsFunc(all, func(p Path) bool { return p.Window == name }) {
			continue
		}
		p := Path{Flow: e.Flow, Window: name, Outcome: e.Reason, Run: e.Run}
		p.Into, _ = e.Detail["into"].(string)
		p.Events, _ = strconv.Atoi(number(e.Detail["events"]))
		all = append(all, p)
	}
	for i := range all {
		if all[i].Run != "" {
			follow(&all[i], entries)
		}
	}
	return all
}

// follow adds what happened to the run; of one that was redriven the last time counts.
func follow(p *Path, entries []Entry) {
	at := map[string]int{}
	for _, e := range entries {
		if e.Run != p.Run {
			continue
		}
		switch e.What {
		case "effect":
			target, _ := e.Detail["target"].(string)
			connection, _, _ := strings.Cut(target, ".")
			text := strings.TrimSpace(connection + " " + strings.ReplaceAll(e.Reason, "_", " "))
			if i, told := at[connection]; told {
				p.Done[i] = text
				continue
			}
			at[connection] = len(p.Done)
			p.Done = append(p.Done, text)
		case "closed":
			p.Ended = e.Reason
		}
	}
}

// String is the path in one line: "5 events → window-12 → run mzxw… → mail confirmed".
func (p Path) String() string {
	parts := []string{fmt.Sprintf("%d events", p.Events), p.Window}
	if p.Events == 1 {
		parts[0] = "1 event"
	}
	switch {
	case p.Into != "":
		parts = append(parts, p.Into)
	case p.Run == "" && p.Outcome == "run":
		parts = append(parts, "a run, in a moment")
	case p.Run == "":
		parts = append(parts, p.Outcome)
	}
	if p.Run != "" {
		parts = append(parts, "run "+p.Run)
		parts = append(parts, p.Done...)
		if len(p.Done) == 0 && p.Ended != "" {
			parts = append(parts, p.Ended)
		}
	}
	return strings.Join(parts, " → ")
}

// number is a number as text, as JSON or Go have it.
func number(v any) string {
	switch n := v.(type) {
	case json.Number:
		return n.String()
	case float64:
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}
