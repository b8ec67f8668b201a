package flowfile

import (
	"encoding/json"
	"fmt"
)

// Schema is the JSON Schema (draft 2020-12) of a flow file. Editors use it to
// complete and to explain; check knows more than a schema can say.
func Schema() []byte {
	return render("Patchbay flow", "One flow: what starts it, what it reads, and what it makes of it.", &flowDoc{})
}

// ConnectionsSchema is the JSON Schema of connections.yaml.
func ConnectionsSchema() []byte {
	return render("Patchbay connections", "The systems that flows talk to. Secrets are references.", &connectionsDoc{})
}

// TestsSchema is the JSON Schema of a file of flow tests, NAME_test.yaml.
func TestsSchema() []byte {
	return render("Patchbay flow tests", "Rows as the source gives them, and what the flow must make of them.", &testsDoc{})
}

func render(title, description string, root sheet) []byte {
	s := schemaOf(field{into: root})
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
			if inner.required {
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
