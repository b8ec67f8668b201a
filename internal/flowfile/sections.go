package flowfile

import (
	"fmt"
	"slices"
	"strings"

	"patchbay/internal/flow"
)

// owners are the sections that not every pattern has, and the limits of such.
var owners = map[string][]flow.Pattern{
	"params": {flow.Instant, flow.Service, flow.Hybrid}, "steps": {flow.Service}, "answer": {flow.Service, flow.Hybrid}, "accepts": {flow.Service}, "emits": {flow.Instant, flow.Event, flow.Service}, "emit": {flow.Instant, flow.Event}, "respond": {flow.Instant}, "order": {flow.Instant, flow.Hybrid},
	"read": {flow.Instant, flow.Event}, "each": {flow.Instant, flow.Event},
	"on": {flow.Event, flow.Service}, "sweep": {flow.Event}, "collapse": {flow.Event}, "throttle": {flow.Event}, "expect": {flow.Event, flow.Synchronization},
	"spike": {flow.Event}, "explain": {flow.Event}, "send": {flow.Event}, "loop": {flow.Event},
	"schedule": {flow.Consolidation}, "gather": {flow.Consolidation}, "base": {flow.Consolidation}, "guard": {flow.Consolidation}, "advise": {flow.Consolidation},
	"map": {flow.Instant, flow.Event, flow.Consolidation, flow.Hybrid}, "write": {flow.Instant, flow.Event, flow.Consolidation, flow.Hybrid}, "limits": {flow.Instant, flow.Event, flow.Consolidation, flow.Service, flow.Hybrid},
	"collect": {flow.Hybrid}, "personal": {flow.Hybrid}, "require": {flow.Hybrid}, "calculate": {flow.Hybrid}, "decide": {flow.Hybrid}, "review": {flow.Hybrid}, "write.when": {flow.Hybrid},
	"regions": {flow.Synchronization}, "tables": {flow.Synchronization}, "restricted": {flow.Synchronization}, "conflict": {flow.Synchronization},
	"skew": {flow.Synchronization}, "reconcile": {flow.Synchronization}, "max_row": {flow.Synchronization},
	"expect.per_day": {flow.Event}, "expect.per_month": {flow.Event}, "expect.lag": {flow.Synchronization},
	"limits.rows": {flow.Instant, flow.Event, flow.Service, flow.Hybrid}, "limits.concurrent": {flow.Instant, flow.Event, flow.Service, flow.Hybrid}, "limits.queue": {flow.Instant, flow.Event, flow.Service, flow.Hybrid},
	"limits.per_user": {flow.Instant, flow.Service, flow.Hybrid}, "limits.share_identical": {flow.Instant},
}

// needed are the sections that a pattern cannot do without.
var needed = map[flow.Pattern][]field{
	flow.Instant:         {{key: "read", advice: "{ from: CONNECTION.TABLE, select: [COLUMN, …] }"}},
	flow.Event:           {{key: "on", advice: "with what the flow reacts to: - { source: CONNECTION.TABLE, change: [update], key: row.COLUMN }"}},
	flow.Consolidation:   {{key: "gather", advice: "with what is read: NAME: { from: CONNECTION.TABLE, select: [COLUMN, …], key: row.COLUMN, identity: [COLUMN] }"}, {key: "write", advice: "{ to: CONNECTION.TABLE, key: [COLUMN] }"}},
	flow.Service:         {{key: "steps", advice: "with what it does, one after the other: - { step: NAME, call: CONNECTION.TABLE, select: [COLUMN, …] }"}},
	flow.Hybrid:          {{key: "collect", advice: "with what is read: NAME: { from: CONNECTION.TABLE, select: [COLUMN, …], deadline: 10s, refuse: … }"}, {key: "decide", advice: "with the rules, the last for all that is left: - { rule: otherwise, then: refer, reason: … }"}},
	flow.Synchronization: {{key: "regions", advice: "with the connection of each region: { de: CONNECTION, fr: CONNECTION }"}, {key: "tables", advice: "with what they share: TABLE: { key: [COLUMN], allow: [COLUMN, …] }"}},
}

// sections refuses those of other patterns and names what is missing.
func (c *compiler) sections() {
	d := c.doc
	pattern := d.pattern.value
	if pattern == "" {
		return
	}
	given := map[string]bool{}
	check := func(prefix string, fields []field) {
		for _, f := range fields {
			p := *f.into.place()
			name := joined(prefix, f.key)
			given[name] = p.given()
			if of, some := owners[name]; p.given() && some && !slices.Contains(of, pattern) {
				c.add(p, CodePattern, fmt.Sprintf("%s belongs to the pattern %s, and this flow is %s", name, strings.Join(words(of), " or "), pattern), c.instead(name))
			}
		}
	}
	check("", d.fields())
	check("limits", d.limits.fields())
	check("expect", d.expect.fields())
	check("write", d.write.fields())
	for _, f := range needed[pattern] {
		if !given[f.key] {
			c.add(d.at, CodeRequired, f.key+" is missing", "add "+f.key+": "+f.advice)
		}
	}
}

// instead says what to write where a section is of another pattern.
func (c *compiler) instead(name string) string {
	if c.doc.pattern.value != flow.Consolidation {
		return "remove it"
	}
	switch name {
	case "params":
		return fmt.Sprintf("remove it; a run of a consolidation takes %s and %s, and nothing else", flow.ParamFull, flow.ParamAccept)
	case "read":
		return "write gather: with a name for each table that is read"
	}
	return "remove it"
}
