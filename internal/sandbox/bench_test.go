package sandbox_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/sandbox"
	"patchbay/internal/store/storetest"
)

func BenchmarkFreshStart(b *testing.B) {
	b.Run("on PostgreSQL", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			url := storetest.Empty(b)
			b.StartTimer()
			s, err := sandbox.New(b.Context(), sandbox.Options{DatabaseURL: url})
			require.NoError(b, err)
			s.Close()
		}
	})
	b.Run("lean", func(b *testing.B) {
		for b.Loop() {
			s, err := sandbox.New(b.Context(), sandbox.Options{Lean: true})
			require.NoError(b, err)
			s.Close()
		}
	})
}

// A press of the product-specs example as its two HTTP calls: the read with its
// children, then one bulk write of twelve rows.
func BenchmarkReadAndWriteOfOneProduct(b *testing.B) {
	var targets []string
	for i := range 12 {
		targets = append(targets, target("", fmt.Sprintf("msx_productnumber='AS54888',msx_attribute='%d'", i), `,"msx_value":"x","msx_unit":"kg"`))
	}
	body := `{"Targets":[` + strings.Join(targets, ",") + `]}`
	for name, opts := range map[string]func() sandbox.Options{
		"on PostgreSQL": func() sandbox.Options { return sandbox.Options{DatabaseURL: storetest.Empty(b)} },
		"lean":          func() sandbox.Options { return sandbox.Options{Lean: true} },
	} {
		o := opts()
		c := newBundle(b, o)
		b.Run(name+"/read", func(b *testing.B) {
			for b.Loop() {
				r := c.oracle(http.MethodGet, "itemsV2?q=ItemNumber='AS54888'&expand=ItemEffCategory.ItemEFFBTechnicalSpecifications_Private&onlyData=true", "")
				require.Equal(b, http.StatusOK, r.status)
			}
		})
		b.Run(name+"/write", func(b *testing.B) {
			for b.Loop() {
				r := c.dataverse(http.MethodPost, "msx_specifications/Microsoft.Dynamics.CRM.UpsertMultiple", body)
				require.Contains(b, []int{http.StatusNoContent, http.StatusTooManyRequests}, r.status)
			}
		})
	}
}
