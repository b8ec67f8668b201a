package flow

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"patchbay/internal/fault"
)

// mostUnknown is how many unknown parameters are named one by one: an answer must
// not outgrow the request.
const mostUnknown = 20

// Validate checks params against the plan and returns them complete: defaults
// filled in, integers as int64. Every wrong parameter is named in one Invalid
// fault with code "params.invalid"; nothing is coerced.
func (p *Plan) Validate(params map[string]any) (Row, error) {
	out := make(Row, len(p.Params))
	var bad []fault.Field
	wrong := func(name, code, detail, fix string) {
		bad = append(bad, fault.Field{Path: fault.At("params", name), Code: code, Detail: detail, Fix: fix})
	}
	known := map[string]bool{}
	for _, d := range p.Params {
		known[d.Name] = true
		v, given := params[d.Name]
		switch {
		case !given && d.Default != nil:
			out[d.Name] = d.Default
			continue
		case !given && d.Optional:
			continue
		case !given:
			wrong(d.Name, "field.required", fmt.Sprintf("%s is missing", d.Name), "give a "+string(d.Type)+d.hint())
			continue
		}
		value, code, detail := d.check(v)
		if code != "" {
			wrong(d.Name, code, d.Name+" "+detail, "give a "+string(d.Type)+d.hint())
			continue
		}
		out[d.Name] = value
	}
	unknown := 0
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if known[name] {
			continue
		}
		if unknown++; unknown > mostUnknown {
			continue
		}
		fix := "remove it"
		for _, d := range p.Params {
			if strings.EqualFold(d.Name, name) {
				fix = fmt.Sprintf("did you mean %q?", d.Name)
			}
		}
		wrong(name, "field.unknown", "the flow has no such parameter", fix)
	}
	if len(bad) > 0 {
		details := make([]string, len(bad))
		for i, f := range bad {
			details[i] = f.Detail
			if f.Code == "field.unknown" {
				details[i] = f.Path + " is unknown"
			}
		}
		text := strings.Join(details, "; ")
		if more := unknown - mostUnknown; more > 0 {
			text += fmt.Sprintf("; and %d more are unknown", more)
		}
		return nil, fault.Invalidf("params.invalid", "%s", text).With(bad...)
	}
	return out, nil
}

// hint describes the accepted values for a person.
func (d Param) hint() string {
	switch {
	case len(d.Enum) > 0:
		return ", one of " + strings.Join(d.Enum, ", ")
	case d.Pattern != "":
		text := " that matches " + d.Pattern
		if d.Example != nil {
			text += fmt.Sprintf(", such as %v", d.Example)
		}
		return text
	case d.Example != nil:
		return fmt.Sprintf(" such as %v", d.Example)
	}
	return ""
}

// check returns the value in its own Go type, or a field code and what is wrong.
func (d Param) check(v any) (value any, code, detail string) {
	switch d.Type {
	case Int:
		n, ok := v.(json.Number)
		if !ok {
			return nil, "field.type", "must be a whole number, not " + kind(v)
		}
		i, err := strconv.ParseInt(n.String(), 10, 64)
		if err != nil {
			return nil, "field.range", "must be a whole number of at most 64 bits"
		}
		if d.Min != nil && i < *d.Min || d.Max != nil && i > *d.Max {
			return nil, "field.range", "is out of range"
		}
		return i, "", ""
	case Decimal:
		if n, ok := v.(json.Number); ok {
			return n, "", ""
		}
		return nil, "field.type", "must be a number, not " + kind(v)
	case Bool:
		if b, ok := v.(bool); ok {
			return b, "", ""
		}
		return nil, "field.type", "must be true or false, not " + kind(v)
	case Any:
		return v, "", ""
	case Document:
		c, is := ClaimOf(v)
		switch {
		case !is:
			return nil, "field.type", "must be what a step gave as a document: an object of name, type, size and sha256"
		case !SafeName(c.Name):
			return nil, "field.pattern", "has a name that is none of a file: it has a path, or characters that cannot be seen"
		}
		return c.Row(), "", ""
	}
	s, ok := v.(string)
	if !ok {
		return nil, "field.type", "must be a " + string(d.Type) + ", not " + kind(v)
	}
	n := int64(utf8.RuneCountInString(s))
	switch {
	case d.Min != nil && n < *d.Min || d.Max != nil && n > *d.Max:
		return nil, "field.range", "has a length out of range"
	case len(d.Enum) > 0 && !slices.Contains(d.Enum, s):
		return nil, "field.enum", "is not one of the allowed values"
	case d.Pattern != "":
		if re, err := compiled(d.Pattern); err != nil || !re.MatchString(s) {
			return nil, "field.pattern", "does not match " + d.Pattern
		}
	}
	if d.Type == Date {
		if _, err := time.Parse(time.DateOnly, s); err != nil {
			return nil, "field.type", "must be a date like 2026-01-31"
		}
	}
	if d.Type == Timestamp {
		if _, err := time.Parse(time.RFC3339, s); err != nil {
			return nil, "field.type", "must be a time like 2026-01-31T10:00:00Z"
		}
	}
	return s, "", ""
}

func kind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "a list"
	}
	return "an object"
}

// patterns keeps compiled patterns: those of plans, so they are few.
var patterns sync.Map

func compiled(pattern string) (*regexp.Regexp, error) {
	if known, ok := patterns.Load(pattern); ok {
		return known.(*regexp.Regexp), nil
	}
	re, err := regexp.Compile(pattern)
	if err == nil {
		patterns.Store(pattern, re)
	}
	return re, err
}
