package activities

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

func TestNumbersAreComparedByValueAndNeverScaled(t *testing.T) {
	t.Parallel()
	equal := [][2]string{{"1.50", "1.5"}, {"15e-1", "1.5"}, {"0", "-0.000"}, {"100", "1e2"}, {"0.001", "1E-3"}, {"-7", "-7.0"}, {"1e999999999", "10e999999998"}}
	for _, c := range equal {
		require.True(t, same(json.Number(c[0]), json.Number(c[1])), "%s is %s", c[0], c[1])
	}
	different := [][2]string{{"1.5", "1.51"}, {"1", "-1"}, {"10", "1"}, {"9007199254740993", "9007199254740992"}}
	for _, c := range different {
		require.False(t, same(json.Number(c[0]), json.Number(c[1])), "%s is not %s", c[0], c[1])
	}
	require.True(t, same(int64(3), json.Number("3.0")))
	require.False(t, same("3", json.Number("3")), "a text is no number")
}

func TestARowHoldsAnotherWhenEveryValueIsThere(t *testing.T) {
	t.Parallel()
	found := flow.Row{"a": "x", "n": json.Number("2.0"), "extra": true}
	require.True(t, Holds(found, flow.Row{"a": "x", "n": json.Number("2")}))
	require.True(t, Holds(found, flow.Row{"gone": nil}), "what was written as null may be left out")
	require.False(t, Holds(found, flow.Row{"a": "y"}))
	require.False(t, Holds(found, flow.Row{"a": nil}))

	items := flow.Row{"items": []any{map[string]any{"nr": "10", "quantity": json.Number("5.000"), "net": json.Number("1")}, map[string]any{"nr": "20"}}}
	require.True(t, Holds(items, flow.Row{"items": []any{map[string]any{"quantity": json.Number("5")}, map[string]any{}}}), "rows within rows have members of the system's own")
	require.False(t, Holds(items, flow.Row{"items": []any{map[string]any{"quantity": json.Number("6")}, map[string]any{}}}))
	require.False(t, Holds(items, flow.Row{"items": []any{map[string]any{}}}), "none may be missing or too many")
}
