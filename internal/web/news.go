package web

import (
	"encoding/json"
	"strings"

	"patchbay/internal/flow"
)

type (
	// news is what a run of an event flow tells of, and whom it told.
	news struct {
		Key, Window        string
		Events             int
		Changes            []delta
		Recipient, Subject string
		Text               string
		Doubt              string // that the message may not have arrived, or twice
	}

	// delta is one column of a record: from what to what.
	delta struct{ Record, Column, From, To string }
)

// newsOf reads the parameters and the message of a run; nil for one of another flow.
func newsOf(run flow.Run, plan *flow.Plan) *news {
	if plan == nil || plan.Reaction == nil || run.Params["items"] == nil {
		return nil
	}
	n := &news{Key: cell(run.Params["key"]), Window: cell(run.Params["window"])}
	if flow.ParseWindow("window-"+n.Window) != 0 {
		n.Window = "window-" + n.Window
	}
	var items []flow.NetChange
	body, err := json.Marshal(run.Params["items"])
	if err != nil || decodeJSON(body, &items) != nil {
		return n
	}
	for _, item := range items {
		n.Events += item.Events
		n.add(item)
		for _, other := range item.Others {
			n.add(other)
		}
	}
	if plan.Send != nil && run.Result != nil && len(run.Result.Rows) > 0 {
		row := run.Result.Rows[0]
		n.Recipient, n.Subject, n.Text = cell(row["recipient"]), cell(row["subject"]), clip(cell(row["text"]), 2000)
	}
	for _, e := range run.Effects {
		switch {
		case e.State == flow.Doubtful || e.State == flow.Attempt && run.Status.Final():
			n.Doubt = "Nobody knows whether it was sent: no answer came. Look in the mailbox or the mail server's log, by the ID of the message under Effects, before it is redriven: then it is sent again."
		case strings.Contains(e.Reason, "twice"):
			n.Doubt = "Possibly sent twice: " + e.Reason + "."
		}
	}
	return n
}

func decodeJSON(body []byte, into any) error {
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.UseNumber()
	return d.Decode(into)
}

// add tells the columns of one record that changed, or what became of the record.
func (n *news) add(item flow.NetChange) {
	_, table, _ := strings.Cut(item.Source, ".")
	record := strings.TrimSpace(table + " " + item.Record)
	switch item.Change {
	case flow.Created:
		n.Changes = append(n.Changes, delta{Record: record, To: "created"})
	case flow.Deleted:
		n.Changes = append(n.Changes, delta{Record: record, To: "deleted"})
	case flow.Updated:
	}
	for _, c := range item.Changed {
		from := "not known"
		if v, there := item.Was[c]; there {
			from = said(v)
		}
		n.Changes = append(n.Changes, delta{record, c, from, said(item.Row[c])})
	}
}

// said is a value of a record in words: nothing is a word too.
func said(v any) string {
	if text := cell(v); text != "" {
		return clip(text, 200)
	}
	return "empty"
}

// sentence tells the run in one line.
func (n *news) sentence(s *story) string {
	about := count(n.Events, "event") + " of " + n.Key
	if n.Key == "" {
		about = count(n.Events, "event")
	}
	message := "a message"
	if n.Recipient != "" {
		message = "a message to " + n.Recipient
	}
	switch {
	case s.Run.Status == flow.Completed && s.Told != "":
		return about + " became the business event " + s.Told + "."
	case s.Run.Status == flow.Completed && n.Recipient != "" && n.Doubt != "":
		return about + " became " + message + ", possibly sent twice by " + s.Writes + "."
	case s.Run.Status == flow.Completed && n.Recipient != "":
		return about + " became " + message + ", which " + s.Writes + " took."
	case s.Run.Status == flow.Failed && s.Doubts > 0 && n.Recipient != "":
		return about + " became " + message + "; whether " + s.Writes + " took it is not known."
	}
	return ""
}
