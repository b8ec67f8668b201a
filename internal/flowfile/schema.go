package flowfile

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"patchbay/internal/flow"
)

// Schema is the JSON Schema (draft 2020-12) of a flow file. Editors use it to
// complete and to explain; check knows more than a schema can say.
func Schema() []byte {
	return render("Patchbay flow", "One flow: what starts it, what it reads, and what it makes of it.", &flowDoc{}, object{
		"allOf": byPattern(),
	})
}

// byPattern says for each pattern which sections it needs and which it may not have.
func byPattern() []object {
	out := make([]object, len(patterns))
	for i, name := range patterns {
		var required, foreign []string
		for _, f := range needed[flow.Pattern(name)] {
			required = append(required, f.key)
		}
		for section, of := range owners {
			if !strings.Contains(section, ".") && !slices.Contains(of, flow.Pattern(name)) {
				foreign = append(foreign, section)
			}
		}
		slices.Sort(foreign)
		out[i] = object{
			"if":   object{"properties": object{"pattern": object{"const": name}}},
			"then": object{"required": required, "not": object{"anyOf": forbidden(foreign)}},
		}
	}
	return out
}

// ConnectionsSchema is the JSON Schema of connections.yaml.
func ConnectionsSchema() []byte {
	return render("Patchbay connections", "The systems that flows talk to. Secrets are references.", &connectionsDoc{}, nil)
}

// TestsSchema is the JSON Schema of a file of flow tests, NAME_test.yaml.
func TestsSchema() []byte {
	return render("Patchbay flow tests", "Rows as the source gives them, and what the flow must make of them.", &testsDoc{}, nil)
}

// forbidden matches whatever has one of the keys.
func forbidden(keys []string) []any {
	out := make([]any, len(keys))
	for i, key := range keys {
		out[i] = object{"required": []string{key}}
	}
	return out
}

func render(title, description string, root sheet, more object) []byte {
	s := schemaOf(field{into: root})
	maps.Copy(s, more)
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"], s["description"] = title, description
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("flowfile: a schema that cannot be encoded: %v", err)) // the declaration is ours
	}
	return append(b, '\n')
}

// schemaOf describes what a field declares.
func schemaOf(f field) object {
	var s object
	switch into := f.into.(type) {
	case leaf:
		s = into.schema(f)
	case sheet:
		properties, required := object{}, []string{}
		for _, inner := range into.fields() {
			properties[inner.key] = schemaOf(inner)
			if inner.required && inner.unless == "" {
				required = append(required, inner.key)
			}
		}
		s = object{"type": "object", "additionalProperties": false, "properties": properties}
		if len(required) > 0 {
			s["required"] = required
		}
	}
	if f.doc != "" {
		s["description"] = f.doc
	}
	if f.example != nil {
		s["examples"] = []any{f.example}
	}
	return s
}
