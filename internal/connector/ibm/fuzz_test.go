package ibm

import (
	"strings"
	"testing"

	"patchbay/internal/connector"
)

// A value never ends its literal: whoever reads the condition finds the value.
func FuzzLiteral(f *testing.F) {
	for _, seed := range []string{"a", "it's", "' OR '1'='1", "''", "x\x00'"} {
		f.Add(seed)
	}
	r := &read{i: &IBM{}, table: connector.Table{Name: "papers"}}
	f.Fuzz(func(t *testing.T, value string) {
		text, err := r.compare("CustomerNumber", "=", value)
		if err != nil {
			t.Fatal(err)
		}
		rest, ok := strings.CutPrefix(text, "d.[CustomerNumber] = '")
		inner, closed := strings.CutSuffix(rest, "'")
		if !ok || !closed || strings.ReplaceAll(inner, "''", "'") != value || strings.Count(inner, "'") != 2*strings.Count(value, "'") {
			t.Fatalf("%q became %q", value, text)
		}
	})
}
