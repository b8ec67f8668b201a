package flowfile

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"patchbay/internal/flow"
)

type (
	// hookDoc declares how the deliveries of a system prove who sent them.
	hookDoc struct {
		at
		scheme  word
		name    text
		secrets list[secret, *secret]
		retired list[secret, *secret]
		from    list[setting, *setting]
	}

	// quotaDoc declares one limit that the provider of a system states.
	quotaDoc struct {
		at
		requests   whole
		messages   whole
		execution  span
		concurrent whole
		per        span
		reserve    whole
	}
)

var hookSchemes = []string{"standard", "hmac", "key", "header", "query", "client-state", "none"}

func (d *hookDoc) fields() []field {
	return []field{
		{key: "scheme", into: &d.scheme, required: true, enum: hookSchemes, example: "standard", doc: "How a delivery proves who sent it: standard (Standard Webhooks signature), hmac (a signature in a header), key (Dataverse's webhook key), header or query (a value that is sent along), client-state (what a subscription of Microsoft Graph was made with), none (anybody may deliver)."},
		{key: "name", into: &d.name, example: "x-signature", doc: "Of the header or the query parameter, where the scheme leaves it open."},
		{key: "secrets", into: &d.secrets, example: []string{"${env:HOOK_SECRET}"}, doc: "References; each is accepted, so that a secret can be changed without a gap."},
		{key: "retired", into: &d.retired, doc: "References to secrets that are no longer accepted, and whose senders are told so."},
		{key: "from", into: &d.from, example: []string{"203.0.113.0/24"}, doc: "Addresses or networks that may deliver; others are refused, whatever they know. Without it: any."},
	}
}

func (d *quotaDoc) fields() []field {
	return []field{
		{key: "requests", into: &d.requests, min: 1, max: 1 << 40, example: 6000, doc: "Requests in each per."},
		{key: "messages", into: &d.messages, min: 1, max: 1 << 40, example: 30, doc: "Messages in each per."},
		{key: "execution", into: &d.execution, example: "20m", doc: "Time that the system may take to answer, added up over each per."},
		{key: "concurrent", into: &d.concurrent, min: 1, max: 100_000, example: 52, doc: "Requests at a time; it has no per."},
		{key: "per", into: &d.per, example: "5m", doc: "The sliding window that the limit is of."},
		{key: "reserve", into: &d.reserve, min: 1, max: 90, example: 10, doc: "Per cent that only instant flows may use."},
	}
}

// hook checks that a scheme has what it needs.
func (r *reader) hook(d *hookDoc, connection string) *flow.Hook {
	if !d.given() {
		return nil
	}
	h := &flow.Hook{Scheme: d.scheme.value, Name: d.name.value}
	for _, s := range d.secrets.items {
		h.Secrets = append(h.Secrets, s.value)
	}
	for _, s := range d.retired.items {
		h.Retired = append(h.Retired, s.value)
	}
	for _, s := range d.from.items {
		if _, err := netip.ParsePrefix(s.value); err != nil {
			if _, err := netip.ParseAddr(s.value); err != nil {
				r.add(s.at, CodeRange, fmt.Sprintf("the hook of %s: from: %q is no address and no network", connection, clip(s.value)), "write 203.0.113.7 or 203.0.113.0/24")
			}
		}
		h.From = append(h.From, s.value)
	}
	switch {
	case h.Scheme == "":
	case h.Scheme == "none" && (d.secrets.given() || d.name.given()):
		r.add(d.at, CodeUnused, fmt.Sprintf("the hook of %s has the scheme none, and also says how to prove a delivery", connection), "choose a scheme, or remove secrets and name")
	case h.Scheme != "none" && len(h.Secrets) == 0:
		r.add(d.at, CodeRequired, fmt.Sprintf("the hook of %s has no secret", connection), `add secrets: ["${env:NAME}"]`)
	case h.Name == "" && slices.Contains([]string{"header", "query"}, h.Scheme):
		r.add(d.at, CodeRequired, fmt.Sprintf("the hook of %s does not say which %s", connection, h.Scheme), "add name")
	}
	return h
}

const maxQuotaPer = 31 * 24 * time.Hour

func (r *reader) quotas(list []*quotaDoc, connection string) []flow.Quota {
	var out []flow.Quota
	for _, d := range list {
		q := flow.Quota{Per: d.per.value, Reserve: int(d.reserve.value)}
		kinds := 0
		for _, k := range []struct {
			kind  flow.QuotaKind
			given bool
			most  int64
		}{
			{flow.QuotaRequests, d.requests.given(), d.requests.value},
			{flow.QuotaMessages, d.messages.given(), d.messages.value},
			{flow.QuotaExecution, d.execution.given(), d.execution.value.Milliseconds()},
			{flow.QuotaConcurrent, d.concurrent.given(), d.concurrent.value},
		} {
			if k.given {
				q.Kind, q.Most = k.kind, k.most
				kinds++
			}
		}
		switch {
		case kinds != 1:
			r.add(d.at, CodeRequired, fmt.Sprintf("a quota of %s limits nothing, or several things", connection), "write one of requests, messages, execution, concurrent in each")
			continue
		case q.Kind == flow.QuotaConcurrent && d.per.given():
			r.add(d.per.at, CodeUnused, fmt.Sprintf("a quota of %s has per, and concurrent is at any time", connection), "remove per")
		case q.Kind != flow.QuotaConcurrent && !d.per.given():
			r.add(d.at, CodeRequired, fmt.Sprintf("a quota of %s does not say in how long", connection), "add per: 5m")
		case d.per.ok && (q.Per <= 0 || q.Per > maxQuotaPer):
			r.add(d.per.at, CodeRange, fmt.Sprintf("per of a quota of %s is zero or longer than 31 days", connection), "write a duration such as 5m or 24h")
		}
		out = append(out, q)
	}
	return out
}
