package flowfile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/expr"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/message"
)

type (
	// eventDoc is one event of a flow test, and what the triggers must say of it.
	eventDoc struct {
		at
		source tableRef
		change word
		was    row
		row    row
		sent   list[text, *text]
		record text
		expect word
	}

	// messageDoc is a message that must come out.
	messageDoc struct {
		at
		recipient text
		subject   text
		contains  list[text, *text]
	}

	// reactor does for a test what happens to events of a flow: judge them, fold what
	// belongs together, and make the messages or rows.
	reactor struct {
		plan     *flow.Plan
		mapper   *expr.Mapper
		matcher  *expr.Matcher
		template *message.Template
	}

	// pending is a window of a test.
	pending struct {
		key string
		net flow.NetChange
	}

	// outcome is what came out of the windows.
	outcome struct {
		messages, rows []flow.Row
	}
)

const takenWord = "taken"

var verdicts = []string{
	takenWord, "unchanged", "filtered: change", "filtered: select", "filtered: where", "filtered: transitions",
	"rejected: table", "rejected: where", "rejected: transitions", "rejected: key",
}

func (d *eventDoc) fields() []field {
	return []field{
		{key: "source", into: &d.source, required: true, advice: "CONNECTION.TABLE", example: "dataverse.incident", doc: "connection.table of the event."},
		{key: "change", into: &d.change, required: true, enum: changes, example: "update", doc: "create, update or delete."},
		{key: "was", into: &d.was, doc: "What is known of the record before. Without it nothing is."},
		{key: "row", into: &d.row, doc: "The record after; columns that are left out are as in was."},
		{key: "sent", into: &d.sent, example: []string{"statuscode"}, doc: "The columns that the request named. Without it the source does not say."},
		{key: "record", into: &d.record, doc: "Which record of the table it is, where several have one business key. Without it: the one of that key, and a new one for each create."},
		{key: "expect", into: &d.expect, enum: verdicts, example: "filtered: where", doc: "taken, unchanged, filtered: CLAUSE or rejected: CLAUSE. Left out, it is not compared."},
	}
}

func (d *messageDoc) fields() []field {
	return []field{
		{key: "recipient", into: &d.recipient, required: true, advice: "name@example.com", example: "name@example.com", doc: "Who it goes to."},
		{key: "subject", into: &d.subject, doc: "Its subject; left out, it is not compared."},
		{key: "contains", into: &d.contains, example: []string{"CAS-1"}, doc: "Texts that must stand in its text or its HTML."},
	}
}

func newReactor(plan *flow.Plan, mapper *expr.Mapper) (*reactor, error) {
	matcher, err := expr.NewMatcher(plan)
	if err != nil {
		return nil, err
	}
	r := &reactor{plan: plan, mapper: mapper, matcher: matcher}
	if plan.Send != nil {
		t, problems := message.Compile(*plan.Send)
		if t == nil {
			return nil, fault.New(fault.Bug, "bug.plan", "the template of the plan does not compile: "+problems[0].Message, nil)
		}
		r.template = t
	}
	return r, nil
}

// run gives what differs from what a test expects.
func (r *reactor) run(d *testDoc) string {
	if len(d.events.items) == 0 {
		return "an event flow is tested by events, and the test gives none"
	}
	var diff []string
	windows := r.windows(d, &diff)
	out, err := r.close(d, windows)
	want := d.expectFault.value
	switch {
	case err != nil && want == "":
		diff = append(diff, "+ fault "+fault.Of(err).Error())
	case err != nil && fault.Of(err).Code != want:
		diff = append(diff, "- fault "+want, "+ fault "+fault.Of(err).Error())
	case err == nil && want != "":
		diff = append(diff, "- fault "+want, fmt.Sprintf("+ %d messages and %d rows", len(out.messages), len(out.rows)))
	case err == nil && d.expect.given():
		diff = append(diff, d.expect.differs(out)...)
	}
	return strings.Join(diff, "\n")
}

// windows judges the events in order and folds those that are taken.
func (r *reactor) windows(d *testDoc, diff *[]string) []*pending {
	var windows []*pending
	open := map[string]*pending{}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, e := range d.events.items {
		var was flow.Row
		row := maps.Clone(e.row.value)
		if e.was.given() {
			was = e.was.value
			row = maps.Clone(was)
			maps.Copy(row, e.row.value)
		}
		o := flow.Occurrence{
			ID: strconv.Itoa(i), Connection: e.source.connection, Table: e.source.table, Change: flow.ChangeType(e.change.value),
			At: start.Add(time.Duration(i) * time.Second), After: row, Before: was,
		}
		if e.sent.given() {
			o.Sent = []string{}
		}
		for _, c := range e.sent.items {
			o.Sent = append(o.Sent, c.value)
		}
		v := r.matcher.Judge(o, was, row)
		if got := verdictWords(v); e.expect.value != "" && got != e.expect.value {
			*diff = append(*diff, fmt.Sprintf("- event %d %s", i, e.expect.value), strings.TrimSuffix(fmt.Sprintf("+ event %d %s; %s", i, got, v.Detail), "; "))
		}
		if v.Reason != "" {
			continue
		}
		switch o.Record = e.record.value; {
		case o.Record != "":
		case o.Change == flow.Created:
			o.Record = "new " + o.ID
		default:
			o.Record = v.Key
		}
		w := open[v.Key]
		if w == nil || r.plan.Reaction.Quiet == 0 {
			w = &pending{key: v.Key}
			open[v.Key] = w
			windows = append(windows, w)
		}
		w.net = r.plan.Reaction.Fold(w.net, v.Key, o, was, row)
	}
	return windows
}

func verdictWords(v flow.Verdict) string {
	switch v.Reason {
	case "":
		return takenWord
	case flow.EventUnchanged:
		return string(v.Reason)
	}
	return string(v.Reason) + ": " + v.Clause
}

// close makes what each window comes to.
func (r *reactor) close(d *testDoc, windows []*pending) (outcome, error) {
	var out outcome
	for i, w := range windows {
		if w.net.Void {
			continue
		}
		params := flow.Row{"key": w.key, "window": "window " + strconv.Itoa(i), "items": []any{}}
		rows, err := r.read(d, params, w.net)
		if err != nil {
			return out, err
		}
		if r.template == nil {
			mapped, err := r.mapper.Map(params, rows)
			if err != nil {
				return out, err
			}
			out.rows = append(out.rows, mapped...)
			continue
		}
		for _, row := range rows {
			net := w.net
			net.Row = row
			to, err := r.matcher.Recipient(w.key, row)
			if err != nil {
				return out, err
			}
			sent, err := r.template.Render(message.Data{Key: w.key, Window: params["window"].(string), Recipient: to, Items: message.Changes([]flow.NetChange{net})})
			if err != nil {
				return out, err
			}
			out.messages = append(out.messages, sent)
		}
	}
	return out, nil
}

// read gives the record that a run works with: the given rows that the conditions of
// read choose, with the columns it selects; without read the changed record.
func (r *reactor) read(d *testDoc, params flow.Row, net flow.NetChange) ([]flow.Row, error) {
	read := r.plan.Read
	if read == nil {
		return []flow.Row{net.Row}, nil
	}
	matches, err := r.mapper.Where(params)
	if err != nil {
		return nil, err
	}
	var rows []flow.Row
	for _, given := range d.rows.items {
		if slices.ContainsFunc(matches, func(m expr.Match) bool {
			v, there := given.value[m.Column]
			return there && !flow.Same(v, m.Value)
		}) {
			continue
		}
		row := flow.Row{}
		for name, v := range given.value {
			if _, expanded := read.Expand[name]; expanded || slices.Contains(read.Select, name) {
				row[name] = v
			}
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 && read.OneRow {
		return nil, fault.NotFoundf(flow.MissingCode, "no given row has the key of the event")
	}
	return rows, nil
}

// differs compares what came out with what a test expects.
func (d *expectDoc) differs(out outcome) []string {
	var diff []string
	if d.rows.given() {
		want := make([]flow.Row, len(d.rows.items))
		for i, r := range d.rows.items {
			want[i] = r.value
		}
		diff = rowsDiff(want, out.rows)
	}
	if !d.messages.given() {
		return diff
	}
	for i := range max(len(d.messages.items), len(out.messages)) {
		switch {
		case i >= len(out.messages):
			diff = append(diff, fmt.Sprintf("- message %d to %s", i, d.messages.items[i].recipient.value))
		case i >= len(d.messages.items):
			diff = append(diff, fmt.Sprintf("+ message %d to %s", i, out.messages[i]["recipient"]))
		default:
			diff = append(diff, d.messages.items[i].differs(i, out.messages[i])...)
		}
	}
	return diff
}

func (d *messageDoc) differs(i int, got flow.Row) []string {
	var diff []string
	if to := got["recipient"].(string); to != d.recipient.value {
		diff = append(diff, fmt.Sprintf("- message %d to %s", i, d.recipient.value), fmt.Sprintf("+ message %d to %s", i, to))
	}
	if subject := got["subject"].(string); d.subject.given() && subject != d.subject.value {
		diff = append(diff, fmt.Sprintf("- message %d subject %s", i, d.subject.value), fmt.Sprintf("+ message %d subject %s", i, subject))
	}
	for _, c := range d.contains.items {
		if !strings.Contains(got["text"].(string), c.value) && !strings.Contains(got["html"].(string), c.value) {
			diff = append(diff, fmt.Sprintf("- message %d contains %s", i, c.value), fmt.Sprintf("+ message %d reads %s", i, show(got["text"])))
		}
	}
	return diff
}
