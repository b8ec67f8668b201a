package mirror

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// A source whose bell is relied on is asked seldom, one whose bell was silent often, and
// one whose bell rings at once.
func TestABellEndsTheWaitAndIsReliedOnUntilItMissesSomething(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bell := NewBell()
		f := &follower{sight: &sight{Side: &Side{Poll: time.Second, Seldom: 30 * time.Second, Bell: func(string) *Bell { return bell }}, table: &flow.SyncTable{Name: "account"}}}
		wait := func() (time.Duration, bool) {
			begun := time.Now()
			rung := f.rest(t.Context(), begun)
			return time.Since(begun), rung
		}
		took, rung := wait()
		require.Equal(t, time.Second, took, "nobody has said that it rings")
		require.False(t, rung)
		bell.Ring()
		bell.Ring()
		took, rung = wait()
		require.Equal(t, brieflyRung, took, "those that come together are one")
		require.True(t, rung)
		took, rung = wait()
		require.Equal(t, 30*time.Second, took)
		require.False(t, rung)
		bell.missed()
		took, _ = wait()
		require.Equal(t, time.Second, took)
		time.AfterFunc(700*time.Millisecond, bell.Ring)
		took, rung = wait()
		require.Equal(t, 700*time.Millisecond, took)
		require.True(t, rung)
	})
}
