package flowfile

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// patternName is the pattern of a flow.
type patternName struct {
	at
	value flow.Pattern
}

func (p *patternName) read(r *reader, n *yaml.Node, f field) {
	v, ok := r.text(n, f)
	switch {
	case !ok:
	case slices.Contains(patterns, v):
		p.value = flow.Pattern(v)
	default:
		fix := "there are: " + strings.Join(patterns, ", ")
		if near := fault.Closest(v, patterns); near != "" {
			fix = fmt.Sprintf("did you mean %q?", near)
		}
		r.add(placeOf(n), CodePattern, fmt.Sprintf("there is no pattern %q", clip(v)), fix)
	}
}

func (p *patternName) schema(field) object { return object{"type": "string", "enum": patterns} }
