package mirror

import (
	"encoding/json"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/flow"
)

func TestEqualValuesHaveOneText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   any
		kind flow.Type
		want string
	}{
		{nil, flow.String, `null`}, {true, flow.Bool, `true`}, {false, flow.Bool, `false`},
		{json.Number("1.50"), flow.Decimal, `1.5`}, {json.Number("1.5e0"), flow.Decimal, `1.5`}, {json.Number("15E-1"), flow.Decimal, `1.5`},
		{json.Number("-0.0"), flow.Decimal, `0`}, {json.Number("100"), flow.Int, `100`}, {json.Number("1e2"), flow.Decimal, `100`}, {json.Number("-0"), flow.Int, `0`},
		{json.Number("0.001e1"), flow.Decimal, `0.01`}, {json.Number("12345678901234567890.10"), flow.Decimal, `12345678901234567890.1`},
		{"a<b>\u2028é", flow.String, "\"a<b>\\u2028é\""}, {"2026-01-31T10:00:00+01:00", flow.Timestamp, `"2026-01-31T09:00:00Z"`},
		{"2026-01-31T09:00:00.000Z", flow.Timestamp, `"2026-01-31T09:00:00Z"`}, {"no time", flow.Timestamp, `"no time"`},
		{map[string]any{"b": json.Number("1"), "a": nil}, flow.Any, `{"a":null,"b":1}`},
	} {
		got, err := text(c.in, c.kind)
		require.NoError(t, err)
		require.Equal(t, c.want, string(got))
	}
}

// The one text of a number is worth what the number was.
func TestANumberKeepsItsWorth(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		s := rapid.StringMatching(`-?(0|[1-9][0-9]{0,12})(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,2})?`).Draw(r, "number")
		got := string(number(s))
		want, ok := new(big.Rat).SetString(s)
		require.True(r, ok)
		is, ok := new(big.Rat).SetString(got)
		require.True(r, ok, got)
		require.Zero(r, want.Cmp(is), "%s became %s", s, got)
		require.Equal(r, got, string(number(got)), "it is the one text already")
	})
}
