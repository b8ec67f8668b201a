package flowfile_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"patchbay/flows"
	"patchbay/internal/flowfile"
)

func schema(t *testing.T, source []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(source))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("schema.json", doc))
	s, err := c.Compile("schema.json") // also validates it against draft 2020-12
	require.NoError(t, err)
	return s
}

func decoded(t *testing.T, data []byte) any {
	t.Helper()
	var v any
	require.NoError(t, yaml.Unmarshal(data, &v))
	return v
}

func TestTheExamplesKeepTheSchemas(t *testing.T) {
	t.Parallel()
	for name, s := range map[string][]byte{
		"product-specs.yaml":           flowfile.Schema(),
		"case-notifications.yaml":      flowfile.Schema(),
		"customer-360.yaml":            flowfile.Schema(),
		"connections.yaml":             flowfile.ConnectionsSchema(),
		"product-specs_test.yaml":      flowfile.TestsSchema(),
		"case-notifications_test.yaml": flowfile.TestsSchema(),
		"customer-360_test.yaml":       flowfile.TestsSchema(),
	} {
		data, err := flows.Files.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, schema(t, s).Validate(decoded(t, data)), name)
	}
}

// What the decoder refuses because of its shape the schema refuses too, since
// both come from one declaration.
func TestTheSchemaRefusesWhatTheDecoderRefuses(t *testing.T) {
	t.Parallel()
	schemas := map[string]*jsonschema.Schema{
		"flows": schema(t, flowfile.Schema()), "connections": schema(t, flowfile.ConnectionsSchema()), "tests": schema(t, flowfile.TestsSchema()),
	}
	n := 0
	for _, pattern := range []string{"*/flow.unknown_field.yaml", "*/flow.pattern*.yaml", "*/flow.range.yaml", "*/flow.type.yaml", "*/flow.wildcard.yaml", "flows/gather_s*.yaml"} {
		names, err := filepath.Glob(filepath.Join("testdata", pattern))
		require.NoError(t, err)
		for _, name := range names {
			if name == filepath.Join("testdata", "tests", "flow.type.yaml") {
				continue // the traps of YAML are gone once it is JSON
			}
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			require.Error(t, schemas[filepath.Base(filepath.Dir(name))].Validate(decoded(t, data)), name)
			n++
		}
	}
	require.Greater(t, n, 7)
}

func TestEveryKeyOfTheSchemaIsExplained(t *testing.T) {
	t.Parallel()
	for _, source := range [][]byte{flowfile.Schema(), flowfile.ConnectionsSchema(), flowfile.TestsSchema()} {
		var walk func(path string, v any)
		walk = func(path string, v any) {
			m, ok := v.(map[string]any)
			if !ok {
				return
			}
			properties, _ := m["properties"].(map[string]any)
			for name, p := range properties {
				require.NotEmpty(t, p.(map[string]any)["description"], "%s.%s", path, name)
				walk(path+"."+name, p)
			}
			walk(path+"[]", m["items"])
			walk(path+".*", m["additionalProperties"])
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(source))
		require.NoError(t, err)
		walk("", doc)
		require.True(t, strings.HasSuffix(string(source), "}\n"))
	}
}
