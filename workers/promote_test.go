package workers_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"patchbay/activities"
	"patchbay/calculator"
	"patchbay/fleet"
	"patchbay/internal/contract"
	"patchbay/internal/devenv/testenv"
	"patchbay/internal/fault"
	"patchbay/workers"
)

// A process that only computes makes its build known to Temporal; runs would begin on it
// that nobody carries.
func TestABuildBecomesCurrentWithAWorkerThatCarriesRunsAndNotWithTheFleet(t *testing.T) {
	t.Parallel()
	address, _ := testenv.Temporal(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := dial(ctx, t, address)
	none, err := calculator.Register()
	require.NoError(t, err)
	run := func(part func(context.Context) error) {
		running, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- part(running) }()
		t.Cleanup(func() { stop(); require.NoError(t, <-done) })
	}
	run(fleet.NewHost(c, []contract.Queue{contract.Risk}, none, fleet.Tuning{}, zap.NewNop()).Run)
	short, stop := context.WithTimeout(ctx, 3*time.Second)
	defer stop()
	require.Contains(t, []string{"temporal.no_version", "temporal.unavailable"}, fault.Of(workers.Promote(short, c)).Code, "the last question may be the one that time cuts off")
	run(workers.New(c, activities.Set{}, zap.NewNop()).Run)
	require.NoError(t, workers.Promote(ctx, c))
	current, err := workers.Current(ctx, c)
	require.NoError(t, err)
	require.True(t, current)
}
