package run_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// Thousands that nobody waits for stay rows: no more are under way than keep the fleet busy, and
// one that somebody waits for passes them.
func TestRunsThatNobodyWaitsForAreStartedAsTheFleetTakesThem(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Pattern = flow.Hybrid })
	background := func(p *flow.Press) { p.Class = flow.Background }
	batch := b.wait(20, background)
	started := func() (ids []string) {
		for range 5 { // rows that are under way for long are no measure of what a flow can carry
			ids = append(ids, runIDs(b.claim())...)
			b.exec(`update batch set claimed_at = claimed_at - interval '10 seconds'`)
		}
		return ids
	}
	first := started()
	require.Equal(t, batch[:4], first, "twice the two slots of the fleet")
	urgent := b.wait(3)
	require.Equal(t, urgent, started(), "they wait for none of the batch")
	b.exec(`update work set waiting = 'a person' where run_id = $1`, first[0])
	require.Equal(t, batch[4:5], started(), "who waits for a person computes nothing")
	b.exec(`update work set closed_at = now(), state = 'failed' where run_id = any($1)`, first[1:3])
	require.Equal(t, batch[5:7], started())
}
