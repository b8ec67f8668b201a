package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/connector/hook"
	"patchbay/internal/fault"
)

// System is the connector's name in connections.yaml.
const System = "webhook"

// Receiver is one connection; safe for concurrent use.
type Receiver struct {
	guard    *hook.Guard
	tables   map[string]string // name by path
	only     string            // the one table there is; empty: several, or none
	changes  map[string]string // by the sender's word
	fallback string
	whole    bool

	rows, id, table, record, change, time, version, origin, after, before hook.Pointer
}

var _ connector.Receiver = (*Receiver)(nil)

// New makes the connector of one connection.
func New(c connector.Config, d connector.Deps) (*Receiver, error) {
	guard, err := hook.New(c, d)
	if err != nil {
		return nil, err
	}
	r := &Receiver{guard: guard, tables: map[string]string{}, changes: map[string]string{}, fallback: "update", whole: c.Options["whole"] == "true"}
	for name, into := range map[string]*hook.Pointer{"rows": &r.rows, "id": &r.id, "table": &r.table, "record": &r.record, "change": &r.change,
		"time": &r.time, "version": &r.version, "origin": &r.origin, "after": &r.after, "before": &r.before} {
		var ok bool
		if *into, ok = hook.ParsePointer(c.Options[name]); !ok {
			return nil, fault.Invalidf("connector.option", "connection %s: option %s is a JSON pointer, such as /%s", c.Name, name, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Tables)) {
		r.tables[c.Tables[name].Path] = name
		r.only = name
	}
	if len(c.Tables) != 1 {
		r.only = ""
	}
	if len(c.Tables) > 1 && r.table == nil {
		return nil, fault.Invalidf("connector.option", "connection %s has several tables; option table says where an event names its own", c.Name)
	}
	return r, r.readChanges(c)
}

// Build is New as the registry wants it.
func Build(c connector.Config, d connector.Deps) (any, error) { return New(c, d) }

func (r *Receiver) readChanges(c connector.Config) error {
	for pair := range strings.SplitSeq(c.Options["changes"], ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		word, change, ok := strings.Cut(pair, "=")
		if change = strings.TrimSpace(change); !ok || hook.Change(change) != change {
			return fault.Invalidf("connector.option", "connection %s: option changes is a list such as opened=create, closed=update", c.Name)
		}
		r.changes[strings.TrimSpace(word)] = change
	}
	if change := c.Options["change.default"]; change != "" {
		if hook.Change(change) != change {
			return fault.Invalidf("connector.option", "connection %s: option change.default is create, update or delete", c.Name)
		}
		r.fallback = change
	}
	return nil
}

// Recognises takes what is JSON: a webhook has no mark of its own.
func (r *Receiver) Recognises(d connector.Delivery) bool {
	media := hook.Media(d)
	return hook.IsJSON(media) && !strings.HasPrefix(media, "application/cloudevents")
}

// Receive proves and reads one delivery.
func (r *Receiver) Receive(_ context.Context, d connector.Delivery) ([]connector.Event, error) {
	proof, err := r.guard.Prove(d)
	if err != nil {
		return nil, err
	}
	body, err := hook.JSON(d, d.Body)
	if err != nil {
		return nil, err
	}
	rows, several, err := r.events(body)
	if err != nil {
		return nil, err
	}
	events := make([]connector.Event, len(rows))
	for i, row := range rows {
		id := proof.ID
		if id != "" && several {
			id += "/" + strconv.Itoa(i)
		}
		if events[i], err = r.event(row, id, d); err != nil {
			f := fault.Of(err)
			return nil, fault.Invalidf(f.Code, "event %d of the delivery: %s", i, f.Text)
		}
	}
	return events, nil
}

// events are the events of a body, and whether it can hold several.
func (r *Receiver) events(body any) (rows []any, several bool, err error) {
	if r.rows != nil {
		found, ok := r.rows.In(body)
		list, isList := found.([]any)
		if !ok || !isList {
			return nil, false, hook.Malformed("there is no list where the option rows points")
		}
		return list, true, hook.CheckCount(len(list))
	}
	if list, ok := body.([]any); ok {
		return list, true, hook.CheckCount(len(list))
	}
	return []any{body}, false, nil
}

// event reads one event; id is what it has where it gives none itself.
func (r *Receiver) event(row any, id string, d connector.Delivery) (connector.Event, error) {
	item, ok := row.(map[string]any)
	if !ok {
		return connector.Event{}, hook.Malformed("an event is an object")
	}
	e := connector.Event{ID: hook.ID(r.id.Text(item)), Table: r.only, Record: r.record.Text(item), Change: r.fallback, At: d.At, Origin: r.origin.Text(item)}
	if e.ID == "" {
		e.ID = id
	}
	if e.ID == "" {
		e.ID = digest(item)
	}
	if said := r.table.Text(item); said != "" {
		if e.Table = r.tables[said]; e.Table == "" {
			e.Table = said
		}
	}
	if e.Table == "" {
		return connector.Event{}, hook.Malformed("nothing says of which table it is: the connection has none, or none where its option table points")
	}
	if word := r.change.Text(item); word != "" {
		if e.Change = r.changes[word]; e.Change == "" {
			e.Change = hook.Change(word)
		}
		if e.Change == "" {
			return connector.Event{}, hook.Malformed("what happened is none of the words that the connection knows; name it under the option changes")
		}
	}
	if text := r.time.Text(item); text != "" {
		if e.At, ok = hook.Time(text); !ok {
			return connector.Event{}, hook.Malformed("what the option time points at is no time")
		}
	}
	if n, err := strconv.ParseInt(r.version.Text(item), 10, 64); err == nil && n > 0 {
		e.Version = n
	}
	return e, r.fill(&e, item)
}

// fill puts what is said of the record into the event.
func (r *Receiver) fill(e *connector.Event, item map[string]any) error {
	row := item
	if r.after != nil {
		found, _ := r.after.In(item)
		var ok bool
		if row, ok = found.(map[string]any); !ok && found != nil {
			return hook.Malformed("what the option after points at is no object")
		}
	}
	before, _ := r.before.In(item)
	e.Before, _ = before.(map[string]any)
	switch {
	case e.Change == "delete" && e.Before == nil:
		e.Before = row
	case e.Change != "delete" && row != nil:
		e.After, e.Whole = row, r.whole
	}
	return nil
}

// digest is what an event says, in a form that blanks and the order of keys do
// not change.
func digest(item map[string]any) string {
	text, err := json.Marshal(item)
	if err != nil { // what came out of JSON goes back in
		return ""
	}
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}
