package flowfile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"patchbay/internal/expr"
	"patchbay/internal/flow"
)

// How long events are kept for somebody who awaits them.
const (
	defaultKeep = 30 * 24 * time.Hour
	maxKeep     = 366 * 24 * time.Hour
)

// topics compiles contracts about business events.
func (c *compiler) topics(d *dict[topicDoc, *topicDoc], section string) []flow.Topic {
	var out []flow.Topic
	for _, e := range d.entries {
		t := flow.Topic{Name: e.key, Keep: c.duration(e.value.keep, defaultKeep)}
		if e.value.keep.value > maxKeep {
			c.add(e.value.keep.at, CodeTimeout, fmt.Sprintf("%s.%s.keep is longer than 366 days", section, e.key), "write at most 366d")
		}
		if section == "emits" {
			if t.Keep = 0; e.value.keep.given() {
				c.add(e.value.keep.at, CodePattern, fmt.Sprintf("emits.%s.keep says nothing: who accepts an event says how long it is kept", e.key), "remove it")
			}
		}
		t.Fields = c.schema(&e.value.schema, section+"."+e.key+".schema")
		for _, k := range e.value.key.items {
			if k.value != "" && c.keyField(k, section+"."+e.key+".key", t.Fields) {
				t.Key = append(t.Key, k.value)
			}
		}
		if e.value.key.ok && len(e.value.key.items) == 0 {
			c.add(e.value.key.at, CodeRequired, section+"."+e.key+".key names no field", "write [FIELD]")
		}
		out = append(out, t)
	}
	return out
}

// schema compiles the fields that an event has.
func (c *compiler) schema(d *schemaDoc, name string) []flow.Param {
	var fields []flow.Param
	for _, e := range d.properties.entries {
		if slices.Contains(reserved, e.key) {
			c.add(e.keyAt, CodeID, fmt.Sprintf("%q is a word of the expression language", e.key), "choose another name")
			continue
		}
		fields = append(fields, c.property(e.value, e.key, name+".properties."+e.key))
	}
	for _, r := range d.required.items {
		i := slices.IndexFunc(fields, func(f flow.Param) bool { return f.Name == r.value })
		if i < 0 && r.value != "" {
			c.add(r.at, CodeUnknownRef, fmt.Sprintf("%s.required: there is no property %q", name, clip(r.value)), suggest(r.value, fieldNames(fields), "declare it in properties"))
		} else if i >= 0 {
			fields[i].Optional = false
		}
	}
	return fields
}

func fieldNames(fields []flow.Param) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return names
}

// property compiles one field; it is optional until required names it.
func (c *compiler) property(d *propertyDoc, key, name string) flow.Param {
	f := flow.Param{Name: key, Title: d.title.value, Help: d.description.value, Optional: true}
	switch d.typ.value {
	case "string":
		f.Type, f.Pattern = flow.String, d.pattern.value
		switch d.format.value {
		case "date":
			f.Type = flow.Date
		case "date-time":
			f.Type = flow.Timestamp
		case "document":
			c.add(d.format.at, CodeType, name+".format: a document is of type: object", "write type: object")
		}
		for _, v := range d.enum.items {
			f.Enum = append(f.Enum, v.value)
		}
		f.Min, f.Max = bound(&d.short), bound(&d.long)
	case "integer":
		f.Type = flow.Int
		f.Min, f.Max = bound(&d.least), bound(&d.most)
	case "number":
		f.Type = flow.Decimal
	case "boolean":
		f.Type = flow.Bool
	case "object", "array":
		f.Type = flow.Any
		if d.format.value == "document" && d.typ.value == "object" {
			f.Type = flow.Document
		}
	default:
		return f // what is wrong with it has been said
	}
	only := func(p at, what, of string) {
		if p.given() && d.typ.value != of {
			c.add(p, CodeType, fmt.Sprintf("%s.%s is for type: %s, and the field is of type: %s", name, what, of, d.typ.value), "remove it")
		}
	}
	if f.Type != flow.Document {
		only(d.format.at, "format", "string")
	}
	only(d.pattern.at, "pattern", "string")
	only(d.enum.at, "enum", "string")
	only(d.short.at, "minLength", "string")
	only(d.long.at, "maxLength", "string")
	only(d.least.at, "minimum", "integer")
	only(d.most.at, "maximum", "integer")
	if f.Min != nil && f.Max != nil && *f.Min > *f.Max {
		c.add(c.firstOf(d.least.at, d.short.at), CodeRange, name+": the least is greater than the greatest", "exchange them")
	}
	return f
}

func bound(w *whole) *int64 {
	if !w.given() {
		return nil
	}
	return &w.value
}

// keyField reports whether a field can be part of a business key: every event has it, and
// it has one spelling.
func (c *compiler) keyField(k *text, name string, fields []flow.Param) bool {
	i := slices.IndexFunc(fields, func(f flow.Param) bool { return f.Name == k.value })
	switch {
	case i < 0:
		c.add(k.at, CodeUnknownRef, fmt.Sprintf("%s: the schema has no property %q", name, clip(k.value)), suggest(k.value, fieldNames(fields), "declare it in properties"))
		return false
	case fields[i].Optional:
		c.add(k.at, CodeRequired, fmt.Sprintf("%s: %s may be missing, and an event without a key is nobody's", name, k.value), "add it to required")
	case !slices.Contains([]flow.Type{flow.String, flow.Int, flow.Date}, fields[i].Type):
		c.add(k.at, CodeType, fmt.Sprintf("%s: %s is a %s, which has several spellings", name, k.value, fields[i].Type), "choose a string, an integer or a date")
	}
	return true
}

// awaits compiles a step that waits for an event.
func (s *services) awaits(d *stepDoc, t *flow.Task) expr.Type {
	s.only(d, "awaits an event", "await", "where", "otherwise")
	t.Await = &flow.Await{Topic: d.await.value}
	accepted := s.declared(&d.await, d.step.value+".await", "accepts", s.out.Accepts)
	if accepted == nil {
		return expr.Anything
	}
	switch within := cmp.Or(s.doc.limits.timeout.value, defaultServiceTime); {
	case !d.deadline.given():
		s.add(d.at, CodeRequired, fmt.Sprintf("%s does not say how long it waits", d.step.value), "add deadline: 14d")
	case d.deadline.ok && d.deadline.value <= 0:
		s.add(d.deadline.at, CodeTimeout, fmt.Sprintf("%s waits for no time", d.step.value), "write a duration such as 14d")
	case d.deadline.value > within:
		s.add(d.deadline.at, CodeTimeout, fmt.Sprintf("%s waits longer than the whole run may take", d.step.value), "write at most as much as limits.timeout, or make that longer")
	}
	for _, m := range s.fieldsOf(&d.where, d.step.value+".where", s.env(d.at), accepted) {
		t.Await.Where = append(t.Await.Where, flow.Match{Column: m.Name, Expr: m.Expr})
	}
	for _, k := range accepted.Key {
		if !slices.ContainsFunc(t.Await.Where, func(m flow.Match) bool { return m.Column == k }) {
			s.add(d.at, CodeRequired, fmt.Sprintf("%s.where: the business key of %s is %s, and %s is missing", d.step.value, accepted.Name, strings.Join(accepted.Key, ", "), k),
				"add to where "+k+": with an expression over params and steps")
		}
	}
	t.Await.Otherwise = s.fieldsOf(&d.otherwise, d.step.value+".otherwise", s.env(d.at), accepted)
	return expr.Params(accepted.Fields)
}

// emits compiles a step that tells of an event.
func (s *services) emits(d *stepDoc, t *flow.Task) expr.Type {
	s.only(d, "tells of an event", "emit", "with")
	t.Emit = d.emit.value
	emitted := s.declared(&d.emit, d.step.value+".emit", "emits", s.out.Emits)
	if emitted == nil {
		return expr.Anything
	}
	t.Map = s.fills(&d.with, d.at, d.step.value+".with", "params and steps", s.env(d.at), emitted)
	return expr.Params(emitted.Fields)
}

// emitSection compiles the business event that each row is told as, in the place of a write.
func (c *compiler) emitSection(row expr.Type, item *expr.Type) {
	d := c.doc
	emitted := c.declared(&d.tell, "emit", "emits", c.out.Emits)
	if emitted == nil {
		return
	}
	c.out.Emit = emitted.Name
	c.out.Map = c.fills(&d.mapping, d.tell.at, "map", "row and params", c.rowEnv(row, item), emitted)
}

// fills compiles the fields of an event that is told of: at least those that it requires.
func (c *compiler) fills(d *dict[cel, *cel], p at, name, over string, env *expr.Env, t *flow.Topic) []flow.Column {
	out := c.fieldsOf(d, name, env, t)
	for _, f := range t.Fields {
		if !f.Optional && !slices.ContainsFunc(out, func(m flow.Column) bool { return m.Name == f.Name }) {
			c.add(p, CodeRequired, fmt.Sprintf("%s: %s requires the field %s", name, t.Name, f.Name), "add "+f.Name+" with an expression over "+over)
		}
	}
	return out
}

// fieldsOf compiles an expression for each of some fields of a topic.
func (c *compiler) fieldsOf(d *dict[cel, *cel], name string, env *expr.Env, t *flow.Topic) []flow.Column {
	var out []flow.Column
	for _, e := range d.entries {
		want := expr.Anything
		if i := slices.IndexFunc(t.Fields, func(f flow.Param) bool { return f.Name == e.key }); i >= 0 {
			want = expr.Scalar(t.Fields[i].Type)
		} else {
			c.add(e.keyAt, CodeUnknownColumn, fmt.Sprintf("%s: %s has no field %q", name, t.Name, clip(e.key)), suggest(e.key, fieldNames(t.Fields), ""))
		}
		c.compile(env, e.value, want, c.selectIt)
		out = append(out, flow.Column{Name: e.key, Expr: e.value.source})
	}
	return out
}

// declared finds the contract that a name means; nil after a diagnostic.
func (c *compiler) declared(d *text, name, section string, topics []flow.Topic) *flow.Topic {
	names := make([]string, len(topics))
	for i := range topics {
		if names[i] = topics[i].Name; names[i] == d.value {
			return &topics[i]
		}
	}
	c.add(d.at, CodeUnknownRef, fmt.Sprintf("%s is %q, which %s does not declare", name, clip(d.value), section),
		suggest(d.value, names, "declare it: "+section+": { shipped.v1: { key: [FIELD], schema: { type: object, … } } }"))
	return nil
}

// starts compiles the business event that starts a run of a service.
func (c *compiler) starts() {
	d := &c.doc.on
	if !d.given() {
		return
	}
	if len(d.items) != 1 {
		c.add(d.at, CodeRequired, fmt.Sprintf("on names %d events, and a service is started by one", len(d.items)), "write - event: shipped.v1, and another service for another event")
		return
	}
	t := d.items[0]
	for _, f := range t.fields() {
		if p := *f.into.place(); p.given() && f.key != "event" {
			c.add(p, CodePattern, fmt.Sprintf("on.%s belongs to the pattern event: a service is started by a business event", f.key), "write event: shipped.v1 only")
			return
		}
	}
	accepted := c.declared(&t.event, "on.event", "accepts", c.out.Accepts)
	if accepted == nil {
		return
	}
	if c.doc.params.given() {
		c.add(c.doc.params.at, CodePattern, "params: the parameters are the fields of "+accepted.Name, "remove params, and declare the fields in accepts")
	}
	c.out.Starts, c.out.Params = accepted.Name, accepted.Fields
}
