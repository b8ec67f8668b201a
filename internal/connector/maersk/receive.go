package maersk

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/connector/hook"
)

// notifications are the types of booking notifications, old betas included.
var notifications = []string{"org.dcsa.booking.v2", "org.dcsa.booking-notification.v2"}

// Recognises goes by the headers of DCSA's callbacks.
func (m *Maersk) Recognises(d connector.Delivery) bool {
	h := http.Header(d.Header)
	return h.Get(m.config.Hook.Name) != "" && m.config.Hook.Name != "" || h.Get("Subscription-ID") != ""
}

// Receive reads a bundle of events, or one booking notification. The signature is of the
// raw body; it has no time, so that a repetition is known by the IDs alone.
func (m *Maersk) Receive(_ context.Context, d connector.Delivery) ([]connector.Event, error) {
	if _, err := m.guard.Prove(d); err != nil {
		return nil, err
	}
	body, err := hook.JSON(d, d.Body)
	if err != nil {
		return nil, err
	}
	var list []any
	switch b := body.(type) {
	case []any:
		list = b
	case map[string]any:
		if b["specversion"] != nil {
			return m.notified(b, d.At)
		}
		list = []any{b}
	default:
		return nil, hook.Malformed("a list of events or a booking notification is due")
	}
	if err := hook.CheckCount(len(list)); err != nil {
		return nil, err
	}
	var out []connector.Event
	for _, one := range list {
		e, ok := one.(map[string]any)
		if kind, _ := e["eventType"].(string); !ok || kind == "" {
			return nil, hook.Malformed("an event is no object, or has no eventType")
		}
		out = append(out, m.told(e, d.At)...)
	}
	return out, nil
}

// told is an event for each table of the connection that holds such.
func (m *Maersk) told(e map[string]any, at time.Time) []connector.Event {
	row := flatten(e)
	if made := createdAt(row); !made.IsZero() {
		at = made
	}
	var out []connector.Event
	for name, t := range m.config.Tables {
		if t.Path == kindBookings {
			continue
		}
		change := "create"
		if t.Path == kindMilestones {
			change = "update" // whether it is the first estimate, the inbox knows
		}
		record, _ := row[m.Identify(name)].(string)
		id, _ := row[eventID].(string)
		out = append(out, connector.Event{ID: hook.ID(t.Path + " " + id), Table: name, Record: record, Change: change, Version: versionOf(t, row), At: at, After: row, Whole: true})
	}
	slices.SortFunc(out, func(a, b connector.Event) int { return strings.Compare(a.Table, b.Table) })
	return out
}

// notified reads a booking notification. One without the booking itself has to be read
// back.
func (m *Maersk) notified(said map[string]any, at time.Time) ([]connector.Event, error) {
	id, _ := said["id"].(string)
	source, _ := said["source"].(string)
	kind, _ := said["type"].(string)
	data, _ := said["data"].(map[string]any)
	request, _ := data[requestColumn].(string)
	if id == "" || source == "" || !slices.Contains(notifications, kind) || data == nil {
		return nil, hook.Malformed("a CloudEvent with id, source, data and type %s is due", notifications[0])
	}
	if request == "" {
		if request, _ = data[carrierColumn].(string); request == "" {
			return nil, hook.Malformed("a booking notification has no reference of the carrier")
		}
	}
	if text, ok := said["time"].(string); ok {
		if made, ok := hook.Time(text); ok {
			at = made
		}
	}
	full, whole := data["booking"].(map[string]any)
	state := map[string]any{}
	for name, v := range full {
		state[name] = v
	}
	for name, v := range data { // the notification is about these
		if name != "booking" {
			state[name] = v
		}
	}
	row := rowOf(state)
	row[requestColumn] = request
	m.known.add(ownReference(state), request)
	var out []connector.Event
	for name, t := range m.config.Tables {
		if t.Path == kindBookings {
			out = append(out, connector.Event{ID: hook.ID(source + " " + id), Table: name, Record: request, Change: "update", Version: at.UnixMicro(), At: at, After: row, Whole: whole, Trimmed: !whole})
		}
	}
	slices.SortFunc(out, func(a, b connector.Event) int { return strings.Compare(a.Table, b.Table) })
	return out, nil
}
