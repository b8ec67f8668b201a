package run_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// Services wait for weeks: those that are open keep nobody from starting.
func TestServicesThatWaitKeepNoOthersFromStarting(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Pattern = flow.Service })
	waiting := b.wait(60)
	require.ElementsMatch(t, waiting, runIDs(b.claim()), "all at once, each by itself")
	more := b.wait(60)
	some := runIDs(b.claim())
	require.Len(t, some, 40, "a hundred that have just begun, half of the slots")
	b.exec(`update batch set claimed_at = claimed_at - interval '10 seconds'`)
	require.ElementsMatch(t, more, append(some, runIDs(b.claim())...))
}
