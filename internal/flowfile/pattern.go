package flowfile

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// patternName is the pattern of a flow: one this version runs.
type patternName struct {
	at
	value flow.Pattern
}

// allPatterns are the names a flow file of any version may use.
var allPatterns = []string{
	string(flow.Instant), string(flow.Event), string(flow.Consolidation),
	string(flow.Service), string(flow.Synchronization), string(flow.Hybrid),
}

func (p *patternName) read(r *reader, n *yaml.Node, f field) {
	v, ok := r.text(n, f)
	switch {
	case !ok:
	case slices.Contains(patterns, v):
		p.value = flow.Pattern(v)
	case slices.Contains(allPatterns, v):
		r.add(placeOf(n), CodePattern, fmt.Sprintf("this version does not run the pattern %s", v), "it runs: "+strings.Join(patterns, ", "))
	default:
		fix := "it runs: " + strings.Join(patterns, ", ")
		if near := fault.Closest(v, patterns); near != "" {
			fix = fmt.Sprintf("did you mean %q?", near)
		}
		r.add(placeOf(n), CodePattern, fmt.Sprintf("there is no pattern %q", clip(v)), fix)
	}
}

func (p *patternName) schema(field) object { return object{"type": "string", "enum": patterns} }

// other reports a pattern that exists but is not run, whose sections therefore
// mean nothing yet.
func otherPattern(root *yaml.Node) (*yaml.Node, bool) {
	if root.Kind != yaml.MappingNode {
		return nil, false
	}
	for i := 0; i < len(root.Content); i += 2 {
		if v := root.Content[i+1]; root.Content[i].Value == "pattern" && v.Kind == yaml.ScalarNode {
			return v, slices.Contains(allPatterns, v.Value) && !slices.Contains(patterns, v.Value)
		}
	}
	return nil, false
}
