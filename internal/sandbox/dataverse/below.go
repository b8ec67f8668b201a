package dataverse

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

// below answers what stands behind a row in a path: one property, a navigation,
// its references or its count.
func (s *System) below(ctx context.Context, tx storage.Tx, r *request, t *Table, at address) (exchange.Answer, error) {
	found, err := row(ctx, tx, t, at, r.Method != http.MethodGet)
	if err != nil {
		return exchange.Answer{}, err
	}
	if found == nil {
		return exchange.Answer{}, at.missing(t)
	}
	name, rest := r.segments[1], r.segments[2:]
	if set, key, keyed := splitKey(name); keyed { // DELETE …/nav(id)/$ref
		name = set
		r.RawQuery = "$id=" + url.QueryEscape("("+key+")")
	}
	if c := t.byProperty[name]; c != nil && len(rest) <= 1 {
		return s.property(ctx, tx, r, t, c, found, rest)
	}
	if c, target, ok := t.navigation(name); ok {
		return s.single(ctx, tx, r, t, c, s.env.byLogical[target], found, rest)
	}
	if c, ok := t.collection(name); ok {
		return s.many(ctx, tx, r, t, c, found, rest)
	}
	return exchange.Answer{}, noSegment(name)
}

func (s *System) property(ctx context.Context, tx storage.Tx, r *request, t *Table, c *Column, found storage.Row, rest []string) (exchange.Answer, error) {
	name := c.Property()
	switch {
	case r.Method == http.MethodGet && len(rest) == 1 && rest[0] == "$value":
		return exchange.Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {"text/plain"}}, Body: fmt.Append(nil, found[name])}, nil
	case len(rest) > 0:
		return exchange.Answer{}, noSegment(rest[0])
	case r.Method == http.MethodGet && found[name] == nil:
		return exchange.Answer{Status: http.StatusNoContent}, nil
	case r.Method == http.MethodGet:
		return reply(http.StatusOK, ordered.New("@odata.context", fmt.Sprintf("%s/$metadata#%s(%v)/%s", r.service, t.Set, found[t.Primary], name),
			"value", shown(c, found[name]))), nil
	case r.Method == http.MethodPut:
		var body struct {
			Value json.RawMessage `json:"value"`
		}
		if err := json.Unmarshal(r.Body, &body); err != nil || body.Value == nil {
			return exchange.Answer{}, badPayload(t, "The payload has no value.")
		}
		payload, err := decode(t, fmt.Appendf(nil, `{%q:%s}`, name, body.Value))
		if err != nil {
			return exchange.Answer{}, err
		}
		return s.changed(ctx, tx, r, t, found, payload)
	case r.Method == http.MethodDelete && c.Type != Lookup:
		return s.changed(ctx, tx, r, t, found, map[string]any{name: nil})
	default:
		return exchange.Answer{}, wrongVerb(r)
	}
}

func (s *System) changed(ctx context.Context, tx storage.Tx, r *request, t *Table, found storage.Row, payload map[string]any) (exchange.Answer, error) {
	if _, err := s.change(ctx, tx, r, t, found, payload); err != nil {
		return exchange.Answer{}, err
	}
	return exchange.Answer{Status: http.StatusNoContent}, nil
}

func (s *System) single(ctx context.Context, tx storage.Tx, r *request, t *Table, c *Column, to *Table, found storage.Row, rest []string) (exchange.Answer, error) {
	ref := len(rest) == 1 && rest[0] == "$ref"
	navigation := r.segments[1]
	switch {
	case len(rest) > 0 && !ref:
		return exchange.Answer{}, noSegment(rest[0])
	case ref && r.Method == http.MethodPut:
		id, err := s.bodyReference(ctx, tx, r, t)
		if err != nil {
			return exchange.Answer{}, err
		}
		return s.changed(ctx, tx, r, t, found, map[string]any{navigation + "@odata.bind": "/" + to.Set + "(" + id + ")"})
	case ref && r.Method == http.MethodDelete:
		return s.changed(ctx, tx, r, t, found, map[string]any{navigation + "@odata.bind": nil})
	case r.Method != http.MethodGet:
		return exchange.Answer{}, wrongVerb(r)
	}
	id, ok := found[c.Property()].(string)
	if !ok || targetOf(c, found) != to.Logical {
		return exchange.Answer{Status: http.StatusNoContent}, nil
	}
	if ref {
		return reply(http.StatusOK, ordered.New("@odata.context", r.service+"/$metadata#$ref", "@odata.id", r.service+"/"+to.Set+"("+id+")")), nil
	}
	return s.retrieve(ctx, tx, r, to, address{values: map[string]any{to.Primary: id}, keyed: []string{to.Primary}})
}

func (s *System) many(ctx context.Context, tx storage.Tx, r *request, t *Table, c Collection, found storage.Row, rest []string) (exchange.Answer, error) {
	to := s.env.byLogical[c.Table]
	within := t.children(to, c, found)
	switch {
	case len(rest) == 0 && r.Method == http.MethodGet:
		return s.list(ctx, tx, r, to, within)
	case len(rest) == 1 && rest[0] == "$count" && r.Method == http.MethodGet:
		return s.countOnly(ctx, tx, r, to, within)
	case len(rest) == 1 && rest[0] == "$ref" && (r.Method == http.MethodPost || r.Method == http.MethodDelete):
		back := to.column(c.Column)
		at, err := s.memberAddress(ctx, tx, r, to)
		if err != nil {
			return exchange.Answer{}, err
		}
		member, err := row(ctx, tx, to, at, true)
		if err != nil {
			return exchange.Answer{}, err
		}
		if member == nil {
			return exchange.Answer{}, at.missing(to)
		}
		navigation := back.Name
		for _, x := range back.Targets {
			if x.Table == t.Logical && x.Navigation != "" {
				navigation = x.Navigation
			}
		}
		var bind any
		if r.Method == http.MethodPost {
			bind = fmt.Sprintf("/%s(%v)", t.Set, found[t.Primary])
		}
		return s.changed(ctx, tx, r, to, member, map[string]any{navigation + "@odata.bind": bind})
	default:
		return exchange.Answer{}, wrongVerb(r)
	}
}

// memberAddress is the row that a POST or DELETE of …/$ref is about.
func (s *System) memberAddress(ctx context.Context, tx storage.Tx, r *request, to *Table) (address, error) {
	if r.Method == http.MethodDelete {
		values, err := readQuery(r.RawQuery)
		if err != nil {
			return address{}, err
		}
		_, key, ok := splitKey(values.Get("$id"))
		if !ok {
			return address{}, badQuery("The parameter $id is missing.")
		}
		return to.parseAddress(key)
	}
	id, err := s.bodyReference(ctx, tx, r, to)
	return address{values: map[string]any{to.Primary: id}, keyed: []string{to.Primary}}, err
}

// bodyReference reads {"@odata.id": …}.
func (s *System) bodyReference(ctx context.Context, tx storage.Tx, r *request, t *Table) (string, error) {
	var body map[string]any
	if err := json.Unmarshal(r.Body, &body); err != nil {
		return "", badPayload(t, "The payload is not a JSON object.")
	}
	text, ok := body["@odata.id"].(string)
	if !ok {
		return "", badPayload(t, "The payload has no @odata.id.")
	}
	_, id, err := s.resolve(ctx, tx, r, text)
	return id, err
}
