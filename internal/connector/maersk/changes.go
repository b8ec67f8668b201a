package maersk

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// position is a cursor of ReadChanges. Events are told by when the carrier made them:
// Since is how far that was read, Newest what was seen under way, Next the page to go on
// with.
type position struct {
	Since  string `json:"since,omitempty"`
	Newest string `json:"newest,omitempty"`
	Next   string `json:"next,omitempty"`
}

// factFirst puts a fact above every estimate of the same milestone. It is a bit above
// any count of microseconds of this era.
const factFirst = int64(1) << 61

// ReadChanges tells of events by the time of their creation, an overlap back each time:
// carriers commit out of order. What is told twice has one ID and version. Bookings have
// no list; they are told of by notifications, and by SHIPMENT events.
func (m *Maersk) ReadChanges(ctx context.Context, table string, columns []string, cursor string) (connector.Changes, error) {
	t, err := m.config.Table(table)
	if err != nil {
		return connector.Changes{}, err
	}
	if err := t.Check(columns...); err != nil {
		return connector.Changes{}, err
	}
	if t.Path == kindBookings {
		return connector.Changes{Cursor: cursor}, nil
	}
	if m.config.Options["events_by"] != byCreation {
		return connector.Changes{}, fault.New(fault.Rejected, "maersk.reference", "connection "+m.config.Name+" gives events by the reference of a shipment only, so nothing can be looked for; "+
			"have them delivered, or set option events_by to "+byCreation+" where the API allows it", nil)
	}
	var at position
	if cursor != "" && json.Unmarshal([]byte(cursor), &at) != nil {
		return connector.Changes{}, connector.BadToken()
	}
	if at.Next != "" {
		page, err := m.changes(ctx, t, columns, at)
		if f := fault.Of(err); err == nil || f.Code != System+".bad_request" && f.Code != "connector.page_token" {
			return page, err
		}
		at.Next, at.Newest = "", "" // a cursor that is not known any more: from where that was begun
	}
	return m.changes(ctx, t, columns, at)
}

func (m *Maersk) changes(ctx context.Context, t connector.Table, columns []string, at position) (connector.Changes, error) {
	q := connector.Query{Table: t.Name}
	since, err := time.Parse(time.RFC3339Nano, at.Since)
	if at.Since != "" {
		if err != nil {
			return connector.Changes{}, connector.BadToken()
		}
		q.Since = &connector.Since{Column: created, Value: since.Add(-m.overlap).Format(time.RFC3339Nano)}
	}
	target, err := m.target(q, at.Next)
	if err != nil {
		return connector.Changes{}, err
	}
	items, next, err := m.list(ctx, target)
	if err != nil {
		return connector.Changes{}, err
	}
	out := connector.Changes{}
	newest := at.Newest
	primary := m.Identify(t.Name)
	for _, item := range items {
		row := flatten(item)
		if made := createdAt(row); !made.IsZero() && (newest == "" || made.After(parsed(newest))) {
			newest = made.Format(time.RFC3339Nano)
		}
		if !matches(row, q) {
			continue
		}
		picked := pick(row, columns)
		picked[primary] = row[primary]
		out.Rows, out.Versions, out.At = append(out.Rows, picked), append(out.Versions, versionOf(t, row)), append(out.At, createdAt(row))
	}
	if next != "" {
		if at.Next, err = m.transport.Advance(at.Next, next); err != nil {
			return connector.Changes{}, err
		}
		at.Newest, out.More = newest, true
	} else {
		at = position{Since: later(at.Since, newest)}
	}
	text, err := json.Marshal(at)
	if err != nil {
		return connector.Changes{}, fmt.Errorf("writing a cursor: %w", err)
	}
	out.Cursor = string(text)
	return out, nil
}

func parsed(text string) time.Time {
	at, _ := time.Parse(time.RFC3339Nano, text) // it was written here
	return at
}

func later(a, b string) string {
	if b != "" && parsed(b).After(parsed(a)) {
		return b
	}
	return a
}

// versionOf orders what is told of one record: an event never changes; of a milestone a
// later estimate is above an older one, and the fact above all of them.
func versionOf(t connector.Table, row connector.Row) int64 {
	made := createdAt(row)
	if made.IsZero() {
		return 0
	}
	version := made.UnixMicro()
	if t.Path == kindMilestones && row["eventClassifierCode"] == "ACT" {
		version += factFirst
	}
	return version
}
