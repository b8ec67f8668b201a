package cloudevents

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/connector/hook"
	"patchbay/internal/fault"
)

const (
	maxText = 2_048 // of an id, a source, a type or a subject
	maxName = 64    // of an attribute; the specification advises 20
)

// attributes are those of one event that mean something here.
type attributes struct {
	id, source, specversion, kind, subject, time string
	media                                        string // datacontenttype
	change, sequence, origin                     string
}

// set keeps one attribute; one that means nothing here is dropped.
func (a *attributes) set(name, value string) {
	switch name {
	case "id":
		a.id = value
	case "source":
		a.source = value
	case "specversion":
		a.specversion = value
	case "type":
		a.kind = value
	case "subject":
		a.subject = value
	case "time":
		a.time = value
	case "datacontenttype":
		a.media = value
	case "change":
		a.change = value
	case "sequence":
		a.sequence = value
	case "patchbayorigin":
		a.origin = value
	}
}

// structured reads an event in the JSON format.
func (r *Receiver) structured(v any, d connector.Delivery) (connector.Event, error) {
	members, ok := v.(map[string]any)
	if !ok {
		return connector.Event{}, hook.Malformed("an event is an object")
	}
	var a attributes
	for name, value := range members {
		if name == "data" || name == "data_base64" {
			continue
		}
		if !isAttribute(name) {
			return connector.Event{}, hook.Malformed("the name of an attribute has lower-case letters and digits only")
		}
		switch value := value.(type) {
		case nil: // absent
		case string:
			a.set(name, value)
		case bool, json.Number: // only extensions may have them, and of those sequence
			if isText(name) {
				return connector.Event{}, hook.Malformed("the attribute %s is a text", name)
			}
			if n, ok := value.(json.Number); ok {
				if _, err := strconv.ParseInt(n.String(), 10, 32); err != nil && name != "sequence" {
					return connector.Event{}, hook.Malformed("the attribute %s is no whole number of 32 bits", name)
				}
				a.set(name, n.String())
			}
		default:
			return connector.Event{}, hook.Malformed("the attribute %s is a list or an object", name)
		}
	}
	data, err := dataOf(members, a.media, d)
	if err != nil {
		return connector.Event{}, err
	}
	return r.event(a, data, d)
}

func isText(name string) bool {
	switch name {
	case "id", "source", "specversion", "type", "subject", "time", "datacontenttype", "dataschema", "change", "patchbayorigin":
		return true
	}
	return false
}

func isAttribute(name string) bool {
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return name != "" && len(name) <= maxName
}

// dataOf is the data of an event in the JSON format.
func dataOf(members map[string]any, media string, d connector.Delivery) (any, error) {
	data, plain := members["data"]
	encoded, binary := members["data_base64"]
	switch {
	case plain && binary:
		return nil, hook.Malformed("an event has data or data_base64, not both")
	case binary:
		text, _ := encoded.(string)
		content, err := base64.StdEncoding.DecodeString(text)
		if err != nil || text == "" {
			return nil, hook.Malformed("data_base64 is no base64")
		}
		if media != "" && !hook.IsJSON(mediaOf(media)) {
			return nil, notJSON()
		}
		d.Header = nil // the type of the event counts, not that of the envelope
		return hook.JSON(d, content)
	case plain && data != nil && media != "" && !hook.IsJSON(mediaOf(media)):
		return nil, notJSON()
	}
	return data, nil
}

func mediaOf(text string) string {
	return hook.Media(connector.Delivery{Header: map[string][]string{"Content-Type": {text}}})
}

func notJSON() error {
	return fault.Invalidf("hook.media", "the datacontenttype of an event is none of JSON; send application/json")
}

// binary reads an event whose attributes are headers.
func (r *Receiver) binary(d connector.Delivery) (connector.Event, error) {
	var a attributes
	for header, values := range d.Header {
		name, ok := cutFold(header, "ce-")
		if !ok {
			continue
		}
		name = strings.ToLower(name)
		if !isAttribute(name) || len(values) != 1 {
			return connector.Event{}, hook.Malformed("a header ce-… names no attribute, or stands twice")
		}
		value, err := url.PathUnescape(strings.Trim(values[0], `"`))
		if err != nil {
			return connector.Event{}, hook.Malformed("the header ce-%s is not percent-encoded", name)
		}
		a.set(name, value)
	}
	a.media = http.Header(d.Header).Get("Content-Type")
	var data any
	if len(d.Body) > 0 {
		var err error
		if data, err = hook.JSON(d, d.Body); err != nil {
			return connector.Event{}, err
		}
	}
	return r.event(a, data, d)
}

func cutFold(text, front string) (string, bool) {
	if len(text) < len(front) || !strings.EqualFold(text[:len(front)], front) {
		return "", false
	}
	return text[len(front):], true
}

// event makes an event of attributes and data.
func (r *Receiver) event(a attributes, data any, d connector.Delivery) (connector.Event, error) {
	if a.specversion != "1.0" {
		return connector.Event{}, hook.Malformed("the attribute specversion is 1.0")
	}
	for _, x := range []struct{ name, value string }{{"id", a.id}, {"source", a.source}, {"type", a.kind}} {
		if x.value == "" || !isPlain(x.value) {
			return connector.Event{}, hook.Malformed("the attribute %s is a text of 1 to %d characters without control characters", x.name, maxText)
		}
	}
	if !isPlain(a.subject) || strings.ContainsRune(a.source, ' ') {
		return connector.Event{}, hook.Malformed("the attribute subject holds control characters or is too long, or source is no URI")
	}
	k := r.kindOf(a.kind)
	e := connector.Event{ID: hook.ID(a.source + " " + a.id), Table: k.table, Record: a.subject, Change: a.change, At: d.At, Whole: r.whole, Origin: a.origin}
	if e.Change == "" {
		e.Change = r.changeOf(k, a.kind)
	} else if e.Change = hook.Change(a.change); e.Change == "" {
		return connector.Event{}, hook.Malformed("the attribute change is create, update or delete")
	}
	if a.time != "" {
		at, err := time.Parse(time.RFC3339Nano, a.time)
		if err != nil {
			return connector.Event{}, hook.Malformed("the attribute time is no time as RFC 3339 has it")
		}
		e.At = at.UTC()
	}
	// A sequence that is no number has an order of its own, which At stands in for.
	if n, err := strconv.ParseInt(a.sequence, 10, 64); err == nil && n > 0 {
		e.Version = n
	}
	return e, r.fill(&e, data)
}

// fill puts data into the event.
func (r *Receiver) fill(e *connector.Event, data any) error {
	if data == nil {
		e.Whole = false
		return nil
	}
	if _, ok := data.(map[string]any); !ok {
		return hook.Malformed("data is an object: the record by columns")
	}
	if e.Record == "" {
		e.Record = r.record.Text(data)
	}
	var after = data
	if r.after != nil {
		after, _ = r.after.In(data)
	}
	before, _ := r.before.In(data)
	e.Before, _ = before.(map[string]any)
	if row, ok := after.(map[string]any); ok && e.Change != "delete" {
		e.After = row
	} else {
		e.Whole = false
		if ok && e.Before == nil {
			e.Before = row // what a deletion tells is the record as it was
		}
	}
	return nil
}

func isPlain(s string) bool {
	if len(s) > maxText {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}
