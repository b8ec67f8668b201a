package expr_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"patchbay/internal/expr"
	"patchbay/internal/fault"
)

// FuzzCompile compiles whatever an author may write, and evaluates what compiles
// on a row. There is a program or there are issues, each at a place in the source;
// an evaluation ends within its budget, and what it gives is JSON.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		`row.a + 1.5`, `-1.5e3`, `row.specs.map(s, s.value)`, `has(row.x) ? row.x : null`, `"\u00e9".matches("[")`, `.5`, `1.`,
		`row.specs.all(a, row.specs.all(b, row.specs.all(c, row.specs.all(d, a != b))))`, `"x".matches("(a+)+$")`,
		`decimal("1e999") * decimal("1e999")`, `divide(1, 3, 100)`, `row.?z.orValue(1)`, `timestamp("2026-01-31T00:00:00Z") + duration("1h")`,
		`{"a": [1, {"b": row}]}`, `{b"x": row}`, `{row: 1}`, `{1: row.a}`, `type(row)`, `b"x"`, `1u`, `row["a"]`, `"%s".format([1])`, `dyn(1.0) == 1`, `row . a`, "row\n.b",
		`sum(row.specs.map(s, s.value))`, `row.specs.sortBy(s, s.value).last().?name`, `max(row.specs.map(s, s.name)) + unpad("007")`, `[1, "a", 1.5, null].sort()`,
		`row.specs.map(s, s.name).distinct().join(pad("1", 99))`, `days(row.changed, "2026-01-01") + size(date(row.changed))`, `row.specs.sortBy(s, row.specs.sortBy(t, t.value).first().?name)`,
		`min([[1]])`, `"a".sortBy(x, x)`, `sum({"a": 1})`,
		`9223372036854775807 + 1`, `-9223372036854775808`, `"a".replace("", "aaaaaaaaaaaaaaaaaaaaaaaa").replace("", "bbbbbbbbbbbbbbbbbbbbbbb")`,
	} {
		f.Add(s)
	}
	specs := make([]any, 100)
	for i := range specs {
		specs[i] = map[string]any{"name": strings.Repeat("n", 100), "value": json.Number("1.25")}
	}
	row := map[string]any{
		"ItemNumber": "AS54888", "count": json.Number("7"), "price": json.Number("19.99"), "active": true,
		"changed": "2026-01-31T10:00:00Z", "any": map[string]any{"a": nil}, "specs": specs, "a": json.Number("1"),
	}
	vars := map[string]any{"row": row, "params": map[string]any{"id": strings.Repeat("x", 1000), "n": json.Number("3")}}
	f.Fuzz(func(t *testing.T, source string) {
		for _, env := range []*expr.Env{typed(t), untyped(t)} {
			p, issues := env.Compile(source, expr.Anything)
			if p == nil {
				require.NotEmpty(t, issues)
				lines := strings.Split(source, "\n")
				for _, i := range issues {
					require.NotEmpty(t, i.Message)
					require.True(t, i.Line >= 1 && i.Line <= len(lines), "%+v", i)
					require.True(t, i.Col >= 1 && i.Col <= utf8.RuneCountInString(lines[i.Line-1])+1, "%q: %+v", source, i)
				}
				continue
			}
			require.Empty(t, issues)
			v, err := p.Eval(vars)
			if err != nil {
				f := fault.Of(err)
				require.NotEqual(t, fault.Bug, f.Class, "%q: %s", source, f)
				continue
			}
			if v != expr.Absent {
				_, err = json.Marshal(v)
				require.NoError(t, err)
			}
		}
	})
}
