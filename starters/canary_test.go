package starters_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.uber.org/zap"

	"patchbay/starters"
)

// birds are the canaries of a bundle and what they told, one after the other.
type birds struct {
	*bundle
	told chan starters.Song
	stop func()
}

func (b *bundle) canaries(temporal client.Client) birds {
	c := starters.NewCanary(temporal, b.namespace, b.db, zap.NewNop())
	told := make(chan starters.Song, 100)
	c.Changed = func(s starters.Song) { told <- s }
	stop := b.background(func(ctx context.Context) error { c.Run(ctx); return nil })
	return birds{b, told, stop}
}

// until waits for what the canaries tell, and gives how long that took.
func (b birds) until(ok func(starters.Song) bool) (starters.Song, time.Duration) {
	b.Helper()
	begun, over := time.Now(), time.After(time.Minute)
	for {
		select {
		case s := <-b.told:
			if ok(s) {
				return s, time.Since(begun)
			}
			b.Logf("%s: %+v", time.Since(begun).Round(time.Millisecond), s)
		case <-over:
			b.Fatal("the canaries did not tell it in time")
		}
	}
}

func well(s starters.Song) bool { return s.Well() && s.Misses == 0 }
func lost(s starters.Song) bool { return !s.Well() && s.Misses >= 3 }

func TestACanaryComesThroughEveryProcessAndLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	c := b.canaries(b.temporal)
	for range 3 {
		c.until(well)
	}
	c.stop()
	require.Eventually(t, func() bool { // the server deletes when it has time
		page, err := b.temporal.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Query: "WorkflowType = 'patchbay.canary.v1'"})
		require.NoError(t, err)
		return len(page.GetExecutions()) <= 2
	}, time.Minute, 100*time.Millisecond, "none stays but the last, and the one before where Run ended between the two")
	var rows int
	require.NoError(t, b.db.Pool().QueryRow(t.Context(), `select count(*) from work`).Scan(&rows))
	require.Zero(t, rows, "it is no run")
}

func TestCanariesTellWithin30SecondsThatNoWorkerTakesThemAndThenThatOneDoes(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan(), withoutWorker)
	stop := b.workThrough(temporalAddress(t))
	c := b.canaries(b.temporal)
	c.until(well)
	stop()
	s, took := c.until(lost)
	require.Equal(t, starters.WorkerLeg, s.Leg, s.Detail)
	require.True(t, s.Untaken)
	require.Less(t, took, 30*time.Second)
	b.workThrough(temporalAddress(t))
	_, took = c.until(well)
	require.Less(t, took, 15*time.Second)
}

func TestCanariesTellThatTemporalIsAway(t *testing.T) {
	t.Parallel()
	door := newDoor(t, temporalAddress(t))
	b := newBundle(t, temporalAddress(t), plan())
	c := b.canaries(b.dial(door.address()))
	c.until(well)
	door.shut()
	s, took := c.until(lost)
	require.Equal(t, starters.TemporalLeg, s.Leg, s.Detail)
	require.Less(t, took, 30*time.Second)
	door.open()
	c.until(well)
}
