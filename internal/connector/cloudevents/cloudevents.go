package cloudevents

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/connector/hook"
	"patchbay/internal/fault"
)

// System is the connector's name in connections.yaml.
const System = "cloudevents"

const (
	structured = "application/cloudevents+json"
	batched    = "application/cloudevents-batch+json"
)

type (
	// Receiver is one connection; safe for concurrent use.
	Receiver struct {
		guard  *hook.Guard
		tables map[string]kind // by type
		fronts []front         // types by what they begin with, the longest first
		change string          // of the connection; empty: the type says it
		whole  bool

		after, before, record hook.Pointer
	}

	// kind is what is known of events of one type.
	kind struct{ table, change string }

	front struct {
		text string
		kind
	}
)

var _ connector.Receiver = (*Receiver)(nil)

// New makes the connector of one connection.
func New(c connector.Config, d connector.Deps) (*Receiver, error) {
	guard, err := hook.New(c, d)
	if err != nil {
		return nil, err
	}
	r := &Receiver{guard: guard, tables: map[string]kind{}, change: c.Options["change"], whole: c.Options["whole"] == "true"}
	for name, into := range map[string]*hook.Pointer{"after": &r.after, "before": &r.before, "record": &r.record} {
		var ok bool
		if *into, ok = hook.ParsePointer(c.Options[name]); !ok {
			return nil, fault.Invalidf("connector.option", "connection %s: option %s is a JSON pointer into data, such as /%s", c.Name, name, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Tables)) {
		k := kind{table: name, change: c.Options["change."+name]}
		if text, begins := strings.CutSuffix(c.Tables[name].Path, "*"); begins {
			r.fronts = append(r.fronts, front{text, k})
			continue
		}
		r.tables[c.Tables[name].Path] = k
	}
	slices.SortStableFunc(r.fronts, func(a, b front) int { return len(b.text) - len(a.text) })
	for name, change := range c.Options {
		if name == "change" || strings.HasPrefix(name, "change.") {
			if hook.Change(change) != change {
				return nil, fault.Invalidf("connector.option", "connection %s: option %s is create, update or delete", c.Name, name)
			}
		}
	}
	return r, nil
}

// Build is New as the registry wants it.
func Build(c connector.Config, d connector.Deps) (any, error) { return New(c, d) }

// Recognises goes by the media type, and in binary mode by its headers.
func (r *Receiver) Recognises(d connector.Delivery) bool {
	return strings.HasPrefix(hook.Media(d), "application/cloudevents") || http.Header(d.Header).Get("Ce-Specversion") != ""
}

// Receive proves and reads one delivery.
func (r *Receiver) Receive(_ context.Context, d connector.Delivery) ([]connector.Event, error) {
	if _, err := r.guard.Prove(d); err != nil {
		return nil, err
	}
	switch media := hook.Media(d); {
	case media == batched:
		return r.batch(d)
	case media == structured:
		v, err := hook.JSON(d, d.Body)
		if err != nil {
			return nil, err
		}
		event, err := r.structured(v, d)
		return []connector.Event{event}, err
	case http.Header(d.Header).Get("Ce-Specversion") != "":
		event, err := r.binary(d)
		return []connector.Event{event}, err
	default:
		return nil, fault.Invalidf("hook.media", "the delivery is no CloudEvent: send %s, %s, or the headers ce-specversion, ce-id, ce-source and ce-type", structured, batched)
	}
}

func (r *Receiver) batch(d connector.Delivery) ([]connector.Event, error) {
	v, err := hook.JSON(d, d.Body)
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		return nil, hook.Malformed("a batch is a list of events")
	}
	if err := hook.CheckCount(len(list)); err != nil {
		return nil, err
	}
	events := make([]connector.Event, len(list))
	for i, one := range list {
		if events[i], err = r.structured(one, d); err != nil {
			f := fault.Of(err)
			return nil, fault.Invalidf(f.Code, "event %d of the batch: %s", i, f.Text)
		}
	}
	return events, nil
}

// kindOf finds the table of a type.
func (r *Receiver) kindOf(name string) kind {
	if k, ok := r.tables[name]; ok {
		return k
	}
	for _, f := range r.fronts {
		if strings.HasPrefix(name, f.text) {
			return f.kind
		}
	}
	return kind{table: name}
}

// changeOf is what happened, where the event itself does not say it.
func (r *Receiver) changeOf(k kind, name string) string {
	if k.change != "" {
		return k.change
	}
	if r.change != "" {
		return r.change
	}
	if change := hook.Change(name[strings.LastIndexAny(name, "./:-_")+1:]); change != "" {
		return change
	}
	return "update"
}
