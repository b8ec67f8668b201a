package fault_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
)

func TestClosestFindsWhatWasMeant(t *testing.T) {
	t.Parallel()
	known := []string{"retry", "timeout", "ItemNumber", "ItemDescription", "id"}
	for name, want := range map[string]string{
		"retyr": "retry", "timout": "timeout", "itemnumber": "ItemNumber", "Itemnumbre": "ItemNumber",
		"zzz": "", "": "", "ItemClass": "", "ID": "id",
	} {
		require.Equal(t, want, fault.Closest(name, known), name)
	}
}
