package sandbox_test

import (
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
			s, err := sandbox.New(sandbox.Options{DatabaseURL: url})
			require.NoError(b, err)
			s.Close()
		}
	})
	b.Run("lean", func(b *testing.B) {
		for b.Loop() {
			s, err := sandbox.New(sandbox.Options{Lean: true})
			require.NoError(b, err)
			s.Close()
		}
	})
}
