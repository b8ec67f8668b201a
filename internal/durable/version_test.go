package durable_test

import (
	"context"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.uber.org/zap/zapcore"

	"patchbay/internal/contract"
	"patchbay/internal/durable"
	"patchbay/internal/fault"
)

func echo(_ context.Context, in string) (string, error) { return in, nil }

func TestEagerStartRunsPinnedOnTheCurrentBuild(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.worker("one", registerCall(1, echo))
	eager := false
	for range 5 { // the server gives no eager task while a poll is being matched
		run := b.start("call", "hello", client.StartWorkflowOptions{EnableEagerStart: true})
		var out string
		require.NoError(t, run.Get(t.Context(), &out))
		require.Equal(t, "hello", out)
		events, text := b.history(run)
		require.Contains(t, text, "PINNED")
		require.Contains(t, text, b.deployment)
		eager = eager || events[0].GetWorkflowExecutionStartedEventAttributes().GetEagerExecutionAccepted()
	}
	require.True(t, eager, "client and worker share a process and the build is Current")
}

// The server hands an eager task to whoever asks, whatever is Current: only a
// relay whose worker runs the Current build may ask for one.
func TestEagerStartBypassesTheRoutingToTheCurrentBuild(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	answer := func(s string) func(worker.Registry) {
		return registerCall(1, func(context.Context, string) (string, error) { return s, nil })
	}
	b.worker("one", answer("one"))

	// A client of its own: its eager dispatcher knows the new build alone.
	other := newBundle(t)
	other.queue, other.deployment = b.queue, b.deployment
	w := worker.New(other.client, b.queue, other.options("two"))
	answer("two")(w)
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)

	for _, eager := range []bool{true, false} {
		run := other.start("call", "", client.StartWorkflowOptions{EnableEagerStart: eager})
		var out string
		require.NoError(t, run.Get(t.Context(), &out))
		events, _ := other.history(run)
		accepted := events[0].GetWorkflowExecutionStartedEventAttributes().GetEagerExecutionAccepted()
		require.Equal(t, eager, accepted)
		require.Equal(t, map[bool]string{true: "two", false: "one"}[accepted], out)
	}
}

func TestSetCurrentMovesNewRunsAndLeavesOldOnes(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	wait := func(answer string) func(worker.Registry) {
		return func(r worker.Registry) {
			r.RegisterWorkflowWithOptions(func(ctx workflow.Context, _ string) (string, error) {
				workflow.GetSignalChannel(ctx, "go").Receive(ctx, nil)
				return answer, nil
			}, workflow.RegisterOptions{Name: "wait"})
		}
	}
	b.worker("one", wait("one"))
	require.NoError(t, durable.SetCurrent(t.Context(), b.client, b.deployment, "one"), "setting it again changes nothing")
	old := b.start("wait", "", client.StartWorkflowOptions{})
	require.Eventually(t, func() bool { events, _ := b.history(old); return len(events) >= 4 }, time.Minute, 20*time.Millisecond)
	b.worker("two", wait("two"))
	fresh := b.start("wait", "", client.StartWorkflowOptions{})
	for run, want := range map[client.WorkflowRun]string{old: "one", fresh: "two"} {
		require.NoError(t, b.client.SignalWorkflow(t.Context(), run.GetID(), run.GetRunID(), "go", nil))
		var out string
		require.NoError(t, run.Get(t.Context(), &out))
		require.Equal(t, want, out)
	}
}

func TestSetCurrentGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.worker("one", registerCall(1, echo))
	for _, deployment := range []string{b.deployment, b.deployment + "-of-nobody"} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		// By the third look it has heard twice that there is none.
		err := durable.SetCurrent(ctx, &impatient{Client: b.client, looks: 3, end: cancel}, deployment, "nobody")
		require.Equal(t, durable.NoVersion, fault.Of(err).Code)
		require.Contains(t, fault.Of(err).Text, "no worker of build nobody")
	}
	current, err := durable.Current(t.Context(), b.client, b.deployment)
	require.NoError(t, err)
	require.Equal(t, "one", current)
	current, err = durable.Current(t.Context(), b.client, b.deployment+"-of-nobody")
	require.NoError(t, err)
	require.Empty(t, current)
}

// impatient ends a context when a deployment is looked at for the last time.
type impatient struct {
	client.Client
	looks int
	end   func()
}

func (i *impatient) WorkerDeploymentClient() client.WorkerDeploymentClient {
	return impatientDeployments{i.Client.WorkerDeploymentClient(), i}
}

type impatientDeployments struct {
	client.WorkerDeploymentClient
	by *impatient
}

func (d impatientDeployments) GetHandle(name string) client.WorkerDeploymentHandle {
	return impatientHandle{d.WorkerDeploymentClient.GetHandle(name), d.by}
}

type impatientHandle struct {
	client.WorkerDeploymentHandle
	by *impatient
}

func (h impatientHandle) Describe(ctx context.Context, o client.WorkerDeploymentDescribeOptions) (client.WorkerDeploymentDescribeResponse, error) {
	if h.by.looks--; h.by.looks == 0 {
		h.by.end()
	}
	return h.WorkerDeploymentHandle.Describe(ctx, o)
}

// Waiting mends neither a namespace that is not there nor credentials.
func TestSetCurrentReturnsAtOnceWhatWaitingDoesNotMend(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for want, err := range map[string]error{
		"temporal.denied":       serviceerror.NewPermissionDenied("no", ""),
		"temporal.invalid":      serviceerror.NewInvalidArgument("no"),
		"temporal.no_namespace": serviceerror.NewNamespaceNotFound("nowhere"),
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		got := durable.SetCurrent(ctx, refusing{b.client, err}, b.deployment, "one")
		require.Equal(t, want, fault.Of(got).Code)
		require.NoError(t, ctx.Err(), "it did not wait")
	}
}

// refusing is a client whose deployments cannot be described.
type refusing struct {
	client.Client
	err error
}

func (r refusing) WorkerDeploymentClient() client.WorkerDeploymentClient {
	return refusingDeployments{err: r.err}
}

type refusingDeployments struct {
	client.WorkerDeploymentClient
	err error
}

func (r refusingDeployments) GetHandle(string) client.WorkerDeploymentHandle {
	return refusingHandle{err: r.err}
}

type refusingHandle struct {
	client.WorkerDeploymentHandle
	err error
}

func (r refusingHandle) Describe(context.Context, client.WorkerDeploymentDescribeOptions) (client.WorkerDeploymentDescribeResponse, error) {
	return client.WorkerDeploymentDescribeResponse{}, r.err
}

// A row that is not there is an outcome of the run, not an error of the worker.
func TestAFailedAttemptIsNoErrorInTheLog(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.worker("one", registerCall(1, func(context.Context, string) (string, error) {
		return "", fault.NotFoundf("source.not_found", "there is no such row")
	}))
	require.Error(t, b.start("call", "", client.StartWorkflowOptions{}).Get(t.Context(), nil))
	told := b.logged.FilterMessage("Activity error.").All()
	require.NotEmpty(t, told)
	for _, e := range told {
		require.Equal(t, zapcore.InfoLevel, e.Level)
	}
}

func TestSearchAttributesAreUsableOnceRegistered(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	require.NoError(t, durable.RegisterSearchAttributes(t.Context(), b.client, client.DefaultNamespace))
	require.NoError(t, durable.RegisterSearchAttributes(t.Context(), b.client, client.DefaultNamespace))
	b.worker("one", registerCall(1, echo))
	run := b.start("call", "hello", client.StartWorkflowOptions{TypedSearchAttributes: temporal.NewSearchAttributes(
		contract.FlowAttribute.ValueSet("product-specs"),
		contract.RunsAttribute.ValueSet([]string{"abc"}),
	)})
	require.NoError(t, run.Get(t.Context(), nil))
}

func TestActionsCountWhatARunCosts(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	if b.metricsURL == "" {
		t.Fatal("the test environment names no Temporal metrics; set PATCHBAY_TEST_TEMPORAL_METRICS")
	}
	b.worker("one", registerCall(1, echo))
	actions := func(namespace string) (n float64) {
		t.Helper()
		require.Eventually(t, func() (answered bool) { // a busy server may break off
			counted, err := durable.Actions(t.Context(), b.metricsURL, namespace)
			n = float64(counted)
			return err == nil
		}, time.Minute, 100*time.Millisecond)
		return n
	}
	before := actions(client.DefaultNamespace)
	require.NoError(t, b.start("call", "hello", client.StartWorkflowOptions{}).Get(t.Context(), nil))
	require.Eventually(t, func() bool { // the server publishes once a second
		return actions(client.DefaultNamespace)-before >= 2
	}, time.Minute, 100*time.Millisecond, "a start and an activity are an action each")
	require.Zero(t, actions("no-such-namespace"))
}

func TestDialSucceedsAndReadyFailsWhileTemporalIsDown(t *testing.T) {
	t.Parallel()
	c, err := durable.Dial(t.Context(), durable.Options{Address: "127.0.0.1:1"})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	began := time.Now()
	f := fault.Of(durable.Ready(t.Context(), c, client.DefaultNamespace))
	require.Equal(t, "temporal.unavailable", f.Code)
	require.True(t, f.Retryable())
	require.Less(t, time.Since(began), 5*time.Second)
}

func TestReadyNamesAMissingNamespace(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	require.NoError(t, durable.Ready(t.Context(), b.client, client.DefaultNamespace))
	require.Equal(t, "temporal.no_namespace", fault.Of(durable.Ready(t.Context(), b.client, "nowhere")).Code)
}

func TestBuildIDChangesWithCodeOnly(t *testing.T) {
	t.Parallel()
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	base := fstest.MapFS{"a.go": file("package a"), "b.go": file("package b")}
	other := fstest.MapFS{"c.go": file("package c")}
	id := durable.BuildID(base, other)
	require.Len(t, id, 16)
	require.Equal(t, id, durable.BuildID(base, other))
	require.Equal(t, id, durable.BuildID(fstest.MapFS{"a.go": base["a.go"], "b.go": base["b.go"], "b_test.go": file("x"), "notes.md": file("y")}, other))
	require.NotEqual(t, id, durable.BuildID(fstest.MapFS{"a.go": file("package a "), "b.go": base["b.go"]}, other))
	require.NotEqual(t, id, durable.BuildID(fstest.MapFS{"a.go": base["a.go"]}, fstest.MapFS{"b.go": base["b.go"], "c.go": other["c.go"]}))
	require.NotEmpty(t, durable.BuildID(contract.Sources))
}

// A build that ramps takes a part of the new runs, none once that is ended, and all as soon as
// it is current.
func TestABuildThatRampsTakesAPartOfTheNewRuns(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	answer := func(s string) func(worker.Registry) {
		return registerCall(1, func(context.Context, string) (string, error) { return s, nil })
	}
	limited := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		t.Cleanup(cancel)
		return ctx
	}
	second := func() {
		w := worker.New(b.client, b.queue, b.options("two"))
		answer("two")(w)
		require.NoError(t, w.Start())
		t.Cleanup(w.Stop)
	}
	began := func() map[string]int {
		of := map[string]int{}
		for range 24 {
			var out string
			require.NoError(t, b.start("call", "", client.StartWorkflowOptions{}).Get(t.Context(), &out))
			of[out]++
		}
		return of
	}
	b.worker("one", answer("one"))
	second()
	require.Equal(t, "temporal.is_current", fault.Of(durable.SetRamp(limited(), b.client, b.deployment, "one", 50)).Code)
	require.NoError(t, durable.SetRamp(limited(), b.client, b.deployment, "two", 0), "nothing ramps, so there is nothing to end")
	require.NoError(t, durable.SetRamp(limited(), b.client, b.deployment, "two", 50))
	build, percent, err := durable.Ramp(t.Context(), b.client, b.deployment)
	require.NoError(t, err)
	require.Equal(t, "two", build)
	require.Equal(t, 50, percent)
	require.Len(t, began(), 2, "both are begun on")
	require.NoError(t, durable.SetRamp(limited(), b.client, b.deployment, "two", 0))
	build, _, err = durable.Ramp(t.Context(), b.client, b.deployment)
	require.NoError(t, err)
	require.Empty(t, build)
	require.Equal(t, map[string]int{"one": 24}, began())
	require.NoError(t, durable.SetRamp(limited(), b.client, b.deployment, "two", 50))
	require.NoError(t, durable.SetCurrent(limited(), b.client, b.deployment, "two"))
	require.Equal(t, map[string]int{"two": 24}, began())
	_, percent, err = durable.Ramp(t.Context(), b.client, b.deployment)
	require.NoError(t, err)
	require.Zero(t, percent)
}
