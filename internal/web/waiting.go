package web

import (
	"context"
	"regexp"
	"strings"
	"time"

	"patchbay/internal/flow"
)

// queued reports whether nothing carries an open run: it waits for its turn, or
// until it is due.
func queued(run flow.Run) bool {
	return !run.Status.Final() && run.Status != flow.Parked && run.WorkflowID == "" && run.Shared == ""
}

// ahead counts what is taken before those of the runs that wait for their turn.
func (c *console) ahead(ctx context.Context, runs ...flow.Run) (map[string]int, error) {
	var ids []string
	for _, run := range runs {
		if queued(run) {
			ids = append(ids, run.RunID)
		}
	}
	if len(ids) == 0 || c.Queue == nil {
		return nil, nil
	}
	return c.Queue.Ahead(ctx, ids)
}

// waiting is what an open run waits for, in a person's words; "" when it does
// not.
func waiting(run flow.Run, plan *flow.Plan, in setting) string {
	switch {
	case run.Status.Final():
		return ""
	case run.Shared != "" && run.Result == nil:
		return "waiting for the answer of an identical press"
	case run.Shared != "":
		return ""
	case !queued(run):
		return obstacle(run.Waiting, run.Status, nil, plan)
	case run.Waiting != "" || run.DueAt != nil && run.DueAt.After(in.now):
		return obstacle(run.Waiting, run.Status, run.DueAt, plan)
	}
	switch ahead, known := in.ahead[run.RunID]; {
	case !known: // taken since its row was read, or nobody counts
		return "in the queue"
	case ahead == 0:
		return "next in the queue"
	default:
		return "in the queue, " + grouped(ahead) + " ahead"
	}
}

// obstacle is why runs cannot go on and when they will, with the system named
// once: "waiting until 14:05:30 UTC: Oracle PLM is not available (503)".
func obstacle(why string, status flow.Status, due *time.Time, plan *flow.Plan) string {
	what := because(why, plan)
	switch after := flow.ObstacleOf(why).After; {
	case what == "" && due == nil:
		return ""
	case what == "":
		return "waiting until " + clock(*due)
	case status == flow.Parked:
		return what + "; asked again once the connection is put right"
	case due != nil:
		return "waiting until " + clock(*due) + ": " + what
	case after == flow.Asleep:
		return what + "; it goes on once the system is in use again"
	case after > 0:
		return what + "; asked again after " + duration(after)
	}
	return what + "; asked again"
}

// because is what is in the way.
func because(why string, plan *flow.Plan) string {
	o := flow.ObstacleOf(why)
	o.Why = strings.TrimRight(o.Why, ".")
	if o.Connection == "" {
		return named(o.Why, plan)
	}
	if rest, ok := strings.CutPrefix(o.Why, o.Connection+" "); ok {
		return system(o.Connection) + " " + rest
	}
	return system(o.Connection) + ": " + named(o.Why, plan)
}

// twice is a system that is named as what was waited for and again as what was
// wrong with it.
var twice = regexp.MustCompile(`waiting (?:\S+ )?for (\S+): (\S+) `)

// coded is a failure's code before its words, which name the system again.
var coded = regexp.MustCompile(`(\S+)\.[a-z_]+: (\S+) `)

// named writes the connections of a plan as people say them. One that is part of
// a longer name, as in oracle-plm.items, stays as it is.
func named(text string, plan *flow.Plan) string {
	if plan == nil {
		return text
	}
	text = coded.ReplaceAllStringFunc(text, func(s string) string {
		if m := coded.FindStringSubmatch(s); m[1] == m[2] {
			return m[2] + " "
		}
		return s
	})
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
