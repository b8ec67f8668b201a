package fleet_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"patchbay/calculator"
	"patchbay/fleet"
	"patchbay/internal/contract"
	"patchbay/internal/durable"
	"patchbay/internal/fault"
)

// What was asked for while the fleet had no worker at all, and had never had one, is computed
// by the first that comes.
func TestWhatWaitsForAFleetThatNeverWasIsComputedWhenItComes(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	run := b.start(job{In: asks("test.double", `{"n":21}`)})
	batch := b.start(job{Urgency: contract.Batched, In: asks("test.double", `{"n":4}`)})
	require.Eventually(t, func() bool {
		d, err := b.client.DescribeWorkflowExecution(b.ctx, run.GetID(), "")
		require.NoError(t, err)
		return len(d.GetPendingActivities()) == 1
	}, time.Minute, 50*time.Millisecond)
	began := time.Now()
	b.host(fleet.Tuning{}, doubles)
	var out contract.ComputeResult
	ctx, cancel := context.WithTimeout(b.ctx, 40*time.Second)
	defer cancel()
	require.NoError(t, run.Get(ctx, &out))
	require.JSONEq(t, `{"sum":42}`, string(out.Output))
	require.NoError(t, batch.Get(ctx, &out))
	t.Log(time.Since(began))
}

func TestWhatGoesWrongHasANameAndIsTriedOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	var tries atomic.Int32
	stay := make(chan struct{})
	t.Cleanup(func() { close(stay) })
	b.host(fleet.Tuning{Slots: 4, Runaways: -1},
		act("test.panic", func(context.Context, int, calculator.Run) (int, error) { tries.Add(1); panic("an income of 3000") }),
		act("test.fail", func(context.Context, int, calculator.Run) (int, error) { return 0, errors.New("an income of 3000") }),
		act("test.away", func(context.Context, int, calculator.Run) (int, error) {
			return 0, fault.New(fault.Unavailable, "acme.away", "it cannot be away", nil)
		}),
		act("test.slow", func(ctx context.Context, _ int, _ calculator.Run) (int, error) { <-ctx.Done(); return 0, ctx.Err() }),
		act("test.never", func(context.Context, int, calculator.Run) (int, error) { <-stay; return 0, nil }),
		calculator.New("test.nan", "v1", func(context.Context, figures, calculator.Run) (struct{ X float64 }, error) {
			return struct{ X float64 }{math.NaN()}, nil
		}),
		doubles)
	within := func(in contract.ComputeInput) contract.ComputeInput { in.Within = 300 * time.Millisecond; return in }
	for want, in := range map[string]contract.ComputeInput{
		"calculator.panicked":   asks("test.panic", `{"n":1}`),
		"calculator.failed":     asks("test.fail", `{"n":1}`),
		"calculator.not-finite": asks("test.nan", `{"n":1}`),
		"calculator.overdue":    within(asks("test.slow", `{"n":1}`)),
		"calculator.runaway":    within(asks("test.never", `{"n":1}`)),
		"calculator.unknown":    asks("test.none", `{"n":1}`),
		"calculator.missing":    asks("test.double", `{}`),
		"acme.away":             asks("test.away", `{"n":1}`),
	} {
		f := b.fault(b.start(job{In: in}))
		require.Equal(t, want, f.Code)
		require.False(t, f.Retryable(), want)
		require.NotContains(t, f.Error(), "3000")
	}
	require.EqualValues(t, 1, tries.Load())
	var out contract.ComputeResult
	require.NoError(t, b.start(job{In: asks("test.double", `{"n":3}`)}).Get(b.ctx, &out), "neighbours go on")
}

func TestACancelReachesAComputationAndItsProgressIsTold(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	heard := make(chan struct{})
	b.host(fleet.Tuning{}, act("test.long", func(ctx context.Context, n int, run calculator.Run) (int, error) {
		run.Progress(3, n)
		<-ctx.Done()
		close(heard)
		return 0, ctx.Err()
	}))
	run := b.start(job{In: asks("test.long", `{"n":10}`)})
	require.Eventually(t, func() bool {
		d, err := b.client.DescribeWorkflowExecution(b.ctx, run.GetID(), "")
		require.NoError(t, err)
		for _, p := range d.GetPendingActivities() {
			var beat contract.ComputeBeat
			if durable.NewDataConverter().FromPayloads(p.GetHeartbeatDetails(), &beat) == nil && beat.Total == 10 {
				return beat.Done == 3
			}
		}
		return false
	}, time.Minute, 50*time.Millisecond)
	began := time.Now()
	require.NoError(t, b.client.CancelWorkflow(b.ctx, run.GetID(), ""))
	<-heard
	require.Less(t, time.Since(began), 5*time.Second)
	require.True(t, temporal.IsCanceledError(run.Get(b.ctx, nil)))
}

func TestAProgramOfOnesOwnSaysWhatItNeedsAndWhatItHosts(t *testing.T) {
	t.Parallel()
	var out, errs strings.Builder
	require.Equal(t, 2, fleet.Main([]string{"acme"}, &out, &errs, doubles))
	require.Contains(t, errs.String(), "--queues acme")
	require.Equal(t, 2, fleet.Main([]string{"acme", "--queues", "acme", "--http", "nowhere"}, &out, &errs, doubles))
	require.Contains(t, errs.String(), "--http HOST:PORT")
	require.Equal(t, 2, fleet.Main([]string{"acme", "--queues", "acme"}, &out, &errs, doubles, doubles))
	require.Contains(t, errs.String(), "there are two calculators test.double v1")
	require.Empty(t, out.String())
	require.Equal(t, 0, fleet.Main([]string{"acme", "--contracts"}, &out, &errs, doubles))
	require.Equal(t, string(doubles.Contract()), out.String())
}

// What a worker gives back when it has to end counts as no death, however often that happens.
func TestAComputationThatIsGivenBackIsBegunElsewhereAndIsNoPoison(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	begun, enough := make(chan struct{}), make(chan struct{})
	long := act("test.long", func(ctx context.Context, n int, _ calculator.Run) (int, error) {
		select {
		case begun <- struct{}{}:
		case <-ctx.Done():
		}
		select {
		case <-enough:
			return n, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	})
	run := b.start(job{In: asks("test.long", `{"n":5}`)})
	for range contract.Deaths + 2 {
		stop := b.host(fleet.Tuning{Grace: 100 * time.Millisecond}, long)
		<-begun
		require.NoError(t, stop())
	}
	close(enough)
	b.host(fleet.Tuning{}, long)
	<-begun
	var out contract.ComputeResult
	require.NoError(t, run.Get(b.ctx, &out))
	require.JSONEq(t, `{"sum":5}`, string(out.Output))
}

// An output travels with what it belongs to: one that just fits by itself would stop its workflow.
func TestAnOutputThatDoesNotFitBesideItsTaskHasAName(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	type text struct {
		Text string `json:"text"`
	}
	letters := func(name, letter string) calculator.Calculator {
		return calculator.New(name, "v1", func(_ context.Context, f figures, _ calculator.Run) (text, error) {
			return text{strings.Repeat(letter, f.N-len(`{"text":""}`))}, nil
		})
	}
	b.host(fleet.Tuning{}, letters("test.letters", "x"), letters("test.signs", "<"))
	for _, in := range []contract.ComputeInput{asks("test.letters", `{"n":61441}`), asks("test.letters", `{"n":65400}`), asks("test.signs", `{"n":20000}`)} {
		f := b.fault(b.start(job{In: in}))
		require.Equal(t, "calculator.size", f.Code, string(in.Input))
		require.False(t, f.Retryable())
	}
	var out contract.ComputeResult
	require.NoError(t, b.start(job{In: asks("test.letters", `{"n":61440}`)}).Get(b.ctx, &out))
	require.Len(t, out.Output, 61440)
	_, err := durable.NewDataConverter().ToPayload(contract.TaskInput{Task: strings.Repeat("t", 1000), Computed: &out})
	require.NoError(t, err)
}
