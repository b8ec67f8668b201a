package flowfile

import (
	"fmt"
	"slices"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// reserved are the words CEL does not allow as names, and the variables of a
// flow.
var reserved = []string{
	"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let",
	"loop", "namespace", "null", "package", "return", "true", "var", "void", "while",
}

func (c *compiler) params() {
	for _, e := range c.doc.params.entries {
		d := e.value
		if slices.Contains(reserved, e.key) {
			c.add(e.keyAt, CodeID, fmt.Sprintf("%q is a word of the expression language", e.key), "choose another name")
			continue
		}
		p := flow.Param{
			Name: e.key, Type: flow.Type(d.typ.value), Title: d.title.value, Help: d.help.value, Pattern: d.pattern.value,
			Optional: d.optional.value, Personal: d.personal.value, Default: d.initial.value, Example: d.example.value,
		}
		for _, v := range d.enum.items {
			p.Enum = append(p.Enum, v.value)
		}
		if d.min.given() {
			p.Min = &d.min.value
		}
		if d.max.given() {
			p.Max = &d.max.value
		}
		if p.Type != "" {
			c.param(e, p)
		}
		c.out.Params = append(c.out.Params, p)
	}
}

// param checks that the parts of a parameter agree: what is said of strings is
// said of a string, and default and example would be accepted.
func (c *compiler) param(e entry[paramDoc], p flow.Param) {
	d := e.value
	only := func(given bool, p at, what string) {
		if given {
			c.add(p, CodeType, fmt.Sprintf("%s.%s is for a string, and %s is a %s", "params."+e.key, what, e.key, d.typ.value), "remove it")
		}
	}
	if p.Type != flow.String {
		only(d.pattern.given(), d.pattern.at, "pattern")
		only(d.enum.given(), d.enum.at, "enum")
		if p.Type != flow.Int {
			only(d.min.given(), d.min.at, "min")
			only(d.max.given(), d.max.at, "max")
		}
	}
	if p.Min != nil && p.Max != nil && *p.Min > *p.Max {
		c.add(d.min.at, CodeRange, fmt.Sprintf("params.%s: min is greater than max", e.key), "exchange them")
		return
	}
	for _, v := range []struct {
		name string
		doc  literal
	}{{"default", d.initial}, {"example", d.example}} {
		if v.doc.node == nil || v.doc.value == nil {
			continue
		}
		alone := flow.Plan{Params: []flow.Param{p}}
		if _, err := alone.Validate(map[string]any{p.Name: v.doc.value}); err != nil {
			c.add(v.doc.at, CodeType, fmt.Sprintf("params.%s.%s would be refused: %s", e.key, v.name, fault.Of(err).Text), "")
		}
	}
}
