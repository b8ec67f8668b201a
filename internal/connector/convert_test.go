package connector_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/connector"
)

func TestRowsBecomeASheetAndComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	columns := []string{"a", "b", "c"}
	value := rapid.OneOf(
		rapid.Just[any](nil), rapid.Map(rapid.String(), func(s string) any { return s }), rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Map(rapid.StringMatching(`-?[1-9][0-9]{0,40}(\.[0-9]{1,20})?`), func(s string) any { return json.Number(s) }),
		rapid.Map(rapid.String(), func(s string) any { return []any{s, map[string]any{"x": json.Number("1.10")}} }),
	)
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOf(rapid.MapOf(rapid.SampledFrom(columns), value)).Draw(t, "rows")
		in := slices.Clone(rows)
		sheet, err := connector.SheetOf(columns, in)
		require.NoError(t, err)
		require.Equal(t, len(in), sheet.Rows())
		out, err := connector.RowsOf(sheet)
		require.NoError(t, err)
		for i := range in {
			require.Equal(t, in[i], out[i], "absent stays absent, null null, and every digit where it was")
		}
	})
}
