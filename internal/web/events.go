package web

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/flow"
)

type (
	// event is one or several journal entries that say the same of one run.
	event struct {
		At        time.Time
		Flow, Run string
		Window    string // that it is part of, or is
		What      string // "12 rows confirmed"
		Targets   []string
		Cut       int // targets that are not shown
		Details   []fact
		count     int
		entry     flow.Entry
	}
)

// gather joins equal entries that follow each other in one run, such as the
// effects that its end confirmed.
func gather(entries []flow.Entry) []event {
	var all []event
	for _, e := range entries {
		if n := len(all); n == 0 || !alike(all[n-1].entry, e) {
			all = append(all, event{At: e.At, Flow: e.Flow, Run: e.Run, Details: details(e), entry: e})
		}
		last := &all[len(all)-1]
		n, targets := told(e)
		last.count += n
		if len(targets) > 0 {
			shown := targets[:min(len(targets), maxTargets-len(last.Targets))]
			last.Targets = append(last.Targets, shown...)
			last.Cut += n - len(shown)
		}
	}
	for i := range all {
		all[i].Window = cell(all[i].entry.Detail["window"])
		all[i].What = happened(all[i].entry, all[i].count)
	}
	return all
}

// told is how many things an entry tells of, and the targets that it names: of
// effects that share their fate there is one entry.
func told(e flow.Entry) (n int, targets []string) {
	target := cell(e.Detail["target"])
	labels, several := e.Detail["labels"].([]any)
	switch {
	case target == "":
		return 1, nil
	case !several:
		return 1, []string{target}
	}
	for _, label := range labels {
		targets = append(targets, target+" "+cell(label))
	}
	if n, err := strconv.Atoi(cell(e.Detail["count"])); err == nil {
		return max(n, len(targets)), targets
	}
	return len(targets), targets
}

// Exact is the time an entry was written, to the millisecond.
func (e event) Exact() string { return e.At.UTC().Format("2 Jan 2006 15:04:05.000 UTC") }

// one are the details that tell effects apart which are alike.
var one = []string{"target", "count", "labels"}

func alike(a, b flow.Entry) bool {
	if a.Run != b.Run || a.What != b.What || a.Reason != b.Reason {
		return false
	}
	same := func(x, y map[string]any) bool {
		for name, v := range x {
			if !slices.Contains(one, name) && cell(v) != cell(y[name]) {
				return false
			}
		}
		return true
	}
	return same(a.Detail, b.Detail) && same(b.Detail, a.Detail)
}

// happened is an entry in words.
func happened(e flow.Entry, n int) string {
	words := func(s string) string { return strings.NewReplacer("_", " ", "-", " ").Replace(s) }
	reason := words(e.Reason)
	switch e.What {
	case "event":
		change := map[string]string{"create": "Created", "update": "Updated", "delete": "Deleted"}[cell(e.Detail["change"])]
		if change == "" {
			change = "Event"
		}
		return change + ": " + reason
	case "window":
		return "Window of " + count(number(e.Detail["events"]), "event") + ": " + map[string]string{"run": "became a run", "digest": "part of another message"}[e.Reason] +
			map[bool]string{true: reason}[e.Reason != "run" && e.Reason != "digest"]
	case "plan":
		return strings.TrimSuffix(sentence("action plan "+reason), ".")
	case "row":
		return "Row " + reason
	case "effect":
		if e.Reason == "undone" {
			reason = "never sent"
		}
		return count(n, "row") + " " + reason
	case "cancel":
		return "Cancel asked for"
	case "closed":
		if status := cell(e.Detail["status"]); status != "" {
			if status == e.Reason {
				return strings.TrimSuffix(sentence(status), ".")
			}
			return strings.TrimSuffix(sentence(status), ".") + ": " + reason
		}
	}
	what := strings.TrimSuffix(sentence(words(e.What)), ".")
	if e.What == e.Reason || e.Reason == "" {
		return what
	}
	return what + ": " + reason
}

// first is the order of details; others follow by name.
var first = []string{"rows", "problem", "why", "code"}

// path is the way of a window as its page shows it.
type path struct {
	flow.Path
	Events string
}

func pathsOf(entries []flow.Entry) []path {
	var all []path
	for _, p := range flow.PathsOf(entries) {
		all = append(all, path{p, count(p.Events, "event")})
	}
	return all
}

// number is a count of an entry.
func number(v any) int {
	n, _ := strconv.Atoi(cell(v))
	return n
}

// details are what an entry holds besides what its words say already.
func details(e flow.Entry) []fact {
	var all []fact
	told := map[string]bool{}
	switch e.What { // its words and links say them
	case "event":
		told = map[string]bool{"change": true, "window": true, "detail": true, "clause": true}
	case "window":
		told = map[string]bool{"window": true, "events": true}
	}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(e.Detail)), func(name string) bool {
		return told[name] || slices.Contains(first, name) || slices.Contains(one, name) || name == "status" || name == "step" && e.Detail[name] == "write" // the only one
	})
	for _, name := range slices.Concat(first, names) {
		if text := cell(e.Detail[name]); text != "" {
			all = append(all, fact{strings.ReplaceAll(name, "_", " "), text})
		}
	}
	return all
}
