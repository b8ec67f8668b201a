package durable_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"patchbay/internal/contract"
	"patchbay/internal/durable"
	"patchbay/internal/fault"
)

const secret = "hunter2-7f3a"

// rowError has the shape of a database driver's error: the row is in its text.
type rowError struct{}

func (rowError) Error() string    { return "duplicate key: (patient)=(" + secret + ")" }
func (rowError) SQLState() string { return "23505" }

func TestNoForeignErrorTextReachesAHistoryOrTheLog(t *testing.T) {
	t.Parallel()
	leaks := map[string]func() error{
		"a URL": func() error {
			return &url.Error{Op: "Get", URL: "https://host/?key=" + secret, Err: errors.New("refused")}
		},
		"a row":                func() error { return fmt.Errorf("writing %s: %w", secret, rowError{}) },
		"joined errors":        func() error { return errors.Join(errors.New(secret), rowError{}) },
		"the cause of a fault": func() error { return fault.New(fault.Rejected, "x.refused", "refused", errors.New(secret)) },
		"a wrapped fault": func() error {
			return fmt.Errorf("posting %s: %w", secret, fault.New(fault.Rejected, "x.refused", "refused", nil))
		},
		"a panic with a value": func() error { panic(map[string]string{"patient": secret}) },
		"a panic with an error": func() error {
			panic(fmt.Errorf("row %s", secret))
		},
		"a cause of an application error": func() error {
			return temporal.NewApplicationErrorWithCause("refused", "x.refused", errors.New(secret))
		},
	}
	b := newBundle(t)
	b.worker("one", func(r worker.Registry) {
		registerCall(1, func(_ context.Context, in string) (string, error) { return "", leaks[in]() })(r)
		r.RegisterWorkflowWithOptions(func(_ workflow.Context, in string) (string, error) {
			return "", fmt.Errorf("deciding: %w", leaks[in]())
		}, workflow.RegisterOptions{Name: "fail"})
	})
	for name := range leaks {
		run := b.start("call", name, client.StartWorkflowOptions{})
		require.Error(t, run.Get(t.Context(), nil), name)
		_, text := b.history(run)
		require.NotContains(t, text, secret, name)
		require.NotContains(t, text, "stackTrace", name)
		require.Contains(t, text, "ACTIVITY_TASK_FAILED", name)
		if strings.Contains(name, "panic") {
			continue // a panic of a workflow blocks it until it is repaired
		}
		run = b.start("fail", name, client.StartWorkflowOptions{})
		require.Error(t, run.Get(t.Context(), nil), name)
		_, text = b.history(run)
		require.NotContains(t, text, secret, name+" from a workflow")
	}
	require.NotContains(t, b.logText(), secret)
	require.Contains(t, b.logText(), "durable_test.rowError 23505", "the log must say where to look")
}

func TestWorkflowPanicShowsNoValueInItsHistory(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.worker("one", func(r worker.Registry) {
		r.RegisterWorkflowWithOptions(func(workflow.Context, string) error { panic(secret) }, workflow.RegisterOptions{Name: "panic"})
	})
	run := b.start("panic", "", client.StartWorkflowOptions{})
	require.Eventually(t, func() bool {
		_, text := b.history(run)
		require.NotContains(t, text, secret)
		return strings.Contains(text, "WORKFLOW_TASK_FAILED")
	}, time.Minute, 50*time.Millisecond)
	require.NoError(t, b.client.TerminateWorkflow(t.Context(), run.GetID(), run.GetRunID(), "the test is over"))
}

func TestRefusalIsNotRetriedEvenWhenWrapped(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	var calls atomic.Int32
	b.worker("one", registerCall(5, func(context.Context, string) (string, error) {
		calls.Add(1)
		return "", fmt.Errorf("posting: %w", fault.New(fault.Rejected, "x.refused", "the target refused", nil))
	}))
	err := b.start("call", "", client.StartWorkflowOptions{}).Get(t.Context(), nil)
	f := contract.FromTemporal(err)
	require.NotNil(t, f)
	require.Equal(t, "x.refused", f.Code)
	require.Equal(t, fault.Rejected, f.Class)
	require.EqualValues(t, 1, calls.Load())
}

func TestUnavailableIsRetried(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	var calls atomic.Int32
	b.worker("one", registerCall(5, func(context.Context, string) (string, error) {
		if calls.Add(1) < 3 {
			return "", fault.New(fault.Unavailable, "x.down", "nobody answered", nil)
		}
		return "done", nil
	}))
	var out string
	require.NoError(t, b.start("call", "", client.StartWorkflowOptions{}).Get(t.Context(), &out))
	require.Equal(t, "done", out)
	require.EqualValues(t, 3, calls.Load())
}

func TestOversizedResultIsRefusedWithItsCode(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	var calls atomic.Int32
	b.worker("one", registerCall(5, func(context.Context, string) (string, error) {
		calls.Add(1)
		return strings.Repeat("x", durable.MaxPayload), nil
	}))
	f := contract.FromTemporal(b.start("call", "", client.StartWorkflowOptions{}).Get(t.Context(), nil))
	require.NotNil(t, f)
	require.Equal(t, "durable.payload_too_large", f.Code)
	require.EqualValues(t, 1, calls.Load(), "the same activity would give the same result")
}

func TestOversizedFaultKeepsItsCode(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.worker("one", registerCall(1, func(context.Context, string) (string, error) {
		fields := make([]fault.Field, 2000)
		for i := range fields {
			fields[i] = fault.Field{Path: fmt.Sprintf("params.field_%d", i), Code: "field.required", Detail: "is missing and must be given"}
		}
		return "", fault.Invalidf("x.invalid", "many fields are wrong").With(fields...)
	}))
	run := b.start("call", "", client.StartWorkflowOptions{})
	err := run.Get(t.Context(), nil)
	f := contract.FromTemporal(err)
	require.NotNil(t, f)
	require.Equal(t, "x.invalid", f.Code)
	require.Equal(t, fault.Invalid, f.Class)
	require.Equal(t, "many fields are wrong", f.Text)
	_, text := b.history(run)
	require.Less(t, len(text), durable.MaxPayload)
}

func TestStoppingWorkerDoesNotCancelTheWorkflow(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	began := make(chan struct{}, 1)
	first := worker.New(b.client, b.queue, func() worker.Options {
		o := b.options("one")
		o.WorkerStopTimeout = 1 // the activity below ends with its context only
		return o
	}())
	registerCall(0, func(ctx context.Context, _ string) (string, error) {
		began <- struct{}{}
		<-ctx.Done()
		return "", fmt.Errorf("waiting: %w", ctx.Err())
	})(first)
	require.NoError(t, first.Start())
	require.NoError(t, durable.SetCurrent(t.Context(), b.client, b.deployment, "one"))
	run := b.start("call", "", client.StartWorkflowOptions{})
	<-began
	first.Stop()

	b.worker("one", registerCall(0, func(ctx context.Context, _ string) (string, error) {
		return fmt.Sprintf("attempt %d", activity.GetInfo(ctx).Attempt), nil
	}))
	var out string
	require.NoError(t, run.Get(t.Context(), &out))
	require.Equal(t, "attempt 2", out)
	require.Contains(t, b.logText(), "activity.interrupted")
}

func TestCancelReachesAnActivityAndStaysACancel(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	began := make(chan struct{}, 1)
	b.worker("one", registerCall(0, func(ctx context.Context, _ string) (string, error) {
		began <- struct{}{}
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				activity.RecordHeartbeat(ctx)
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
	}))
	run := b.start("call", "", client.StartWorkflowOptions{})
	<-began
	asked := time.Now()
	require.NoError(t, b.client.CancelWorkflow(t.Context(), run.GetID(), run.GetRunID()))
	err := run.Get(t.Context(), nil)
	require.True(t, temporal.IsCanceledError(err) || strings.Contains(err.Error(), "canceled"), "%v", err)
	require.Nil(t, contract.FromTemporal(errors.Unwrap(err)))
	require.Less(t, time.Since(asked), 4*time.Second, "heartbeats are throttled to half a second")
	_, text := b.history(run)
	require.Contains(t, text, "ACTIVITY_TASK_CANCELED")
}
