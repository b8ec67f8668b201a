package web

import (
	"regexp"
	"strings"
	"time"

	"patchbay/internal/flow"
)

// note is how an activity writes down what a run waits for.
var note = regexp.MustCompile(`^waiting (?:(\S+) )?for (\S+): (.+)$`)

// waiting is what a run waits for, in a person's words, with the system named
// once: "Oracle PLM is not available (503); it is asked again".
func waiting(run flow.Run, plan *flow.Plan) string {
	if run.Waiting == "" {
		return ""
	}
	m := note.FindStringSubmatch(run.Waiting)
	if m == nil {
		return "Waiting: " + strings.TrimRight(named(run.Waiting, plan), ".")
	}
	after, connection, text := m[1], m[2], strings.TrimRight(m[3], ".")
	what := system(connection) + ": " + named(text, plan)
	if rest, ok := strings.CutPrefix(text, connection+" "); ok {
		what = system(connection) + " " + rest
	}
	switch {
	case run.Status == flow.Parked:
		return what + "; it is asked again once the connection is put right"
	case after != "":
		if d, err := time.ParseDuration(after); err == nil {
			after = duration(d)
		}
		return what + "; it is asked again after " + after
	}
	return what + "; it is asked again"
}

// twice is a system that is named as what was waited for and again as what was
// wrong with it.
var twice = regexp.MustCompile(`waiting (?:\S+ )?for (\S+): (\S+) `)

// named writes the connections of a plan as people say them. One that is part of
// a longer name, as in oracle-plm.items, stays as it is.
func named(text string, plan *flow.Plan) string {
	if plan == nil {
		return text
	}
	text = twice.ReplaceAllStringFunc(text, func(s string) string {
		if m := twice.FindStringSubmatch(s); m[1] == m[2] {
			return "waiting: " + m[1] + " "
		}
		return s
	})
	if plan.Read != nil {
		text = spoken(text, plan.Read.Connection)
	}
	if plan.Write != nil {
		text = spoken(text, plan.Write.Connection)
	}
	return text
}

func spoken(text, connection string) string {
	if connection == "" {
		return text
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, connection)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		if joined(before[max(len(before)-1, 0):], after) {
			b.WriteString(connection)
		} else {
			b.WriteString(system(connection))
		}
		text = after
	}
}

// joined reports whether what stands between before and after is part of a longer
// name. A full stop ends a sentence unless a letter follows it.
func joined(before, after string) bool {
	if before != "" && strings.ContainsAny(before, "-_./") || isWord(before) {
		return true
	}
	if rest, ok := strings.CutPrefix(after, "."); ok {
		return isWord(rest)
	}
	return isWord(after) || after != "" && strings.ContainsAny(after[:1], "-_/")
}

func isWord(s string) bool {
	return s != "" && strings.ContainsAny(strings.ToLower(s[:1]), "abcdefghijklmnopqrstuvwxyz0123456789")
}
