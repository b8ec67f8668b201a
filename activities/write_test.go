package activities

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

func TestRowsThatAreOneToTheTargetAreOneEffectAndTheLaterWins(t *testing.T) {
	t.Parallel()
	members, err := freeze([]string{"k"}, []flow.Row{
		{"k": "Weight", "v": json.Number("1"), "u": "kg"},
		{"k": "Height", "v": json.Number("2")},
		{"k": "WEIGHT", "v": json.Number("3")},
	}, []string{"weight", "height", "weight"})
	require.NoError(t, err)
	require.Len(t, members, 2)
	require.Equal(t, flow.Row{"k": "Weight", "v": json.Number("3"), "u": "kg"}, members[0].row)
	require.Equal(t, `["Weight"]`, members[0].Key)
	require.Equal(t, "Height", members[1].Label)
	require.Len(t, members[0].SHA256, 32)
}
