package durable_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/protobuf/encoding/protojson"

	"patchbay/internal/devenv/testenv"
	"patchbay/internal/durable"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bundle is one test's own deployment and task queue on the shared server.
type bundle struct {
	t          *testing.T
	client     client.Client
	queue      string
	deployment string
	metricsURL string
	log        *zap.Logger
	logged     *observer.ObservedLogs
}

func newBundle(t *testing.T) *bundle {
	t.Helper()
	address, metricsURL := testenv.Temporal(t)
	core, logged := observer.New(zapcore.DebugLevel)
	log := zap.New(core)
	c, err := durable.Dial(t.Context(), durable.Options{Address: address, Namespace: client.DefaultNamespace, Logger: log})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	name := fmt.Sprintf("%s-%d", t.Name(), time.Now().UnixNano())
	return &bundle{t: t, client: c, queue: name, deployment: name, metricsURL: metricsURL, log: log, logged: logged}
}

// options are the product's worker options under the test's own deployment.
func (b *bundle) options(buildID string) worker.Options {
	o := durable.WorkerOptions(buildID, b.log)
	o.DeploymentOptions.Version.DeploymentName = b.deployment
	return o
}

// worker starts a worker of the build, makes it Current and stops it with the test.
func (b *bundle) worker(buildID string, register func(worker.Registry)) worker.Worker {
	b.t.Helper()
	w := worker.New(b.client, b.queue, b.options(buildID))
	register(w)
	require.NoError(b.t, w.Start())
	b.t.Cleanup(w.Stop)
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	require.NoError(b.t, durable.SetCurrent(ctx, b.client, b.deployment, buildID))
	return w
}

func (b *bundle) start(name string, in any, options client.StartWorkflowOptions) client.WorkflowRun {
	b.t.Helper()
	options.ID = fmt.Sprintf("%s-%d", b.t.Name(), time.Now().UnixNano())
	options.TaskQueue = b.queue
	options.WorkflowRunTimeout = time.Minute
	run, err := b.client.ExecuteWorkflow(b.t.Context(), options, name, in)
	require.NoError(b.t, err)
	return run
}

// history gives the events of a run and all of them as text.
func (b *bundle) history(run client.WorkflowRun) ([]*historypb.HistoryEvent, string) {
	b.t.Helper()
	var events []*historypb.HistoryEvent
	var text string
	it := b.client.GetWorkflowHistory(b.t.Context(), run.GetID(), run.GetRunID(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for it.HasNext() {
		e, err := it.Next()
		require.NoError(b.t, err)
		events = append(events, e)
		text += protojson.Format(e)
	}
	return events, text
}

// logText is everything logged so far.
func (b *bundle) logText() string {
	var text string
	for _, e := range b.logged.All() {
		text += fmt.Sprintln(e.Message, e.ContextMap())
	}
	return text
}

// callOnce is a workflow that runs the one activity, with at most attempts tries.
func callOnce(attempts int32) func(workflow.Context, string) (string, error) {
	return func(ctx workflow.Context, in string) (string, error) {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
			StartToCloseTimeout: 20 * time.Second,
			HeartbeatTimeout:    5 * time.Second,
			WaitForCancellation: true,
			RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Millisecond, MaximumAttempts: attempts},
		})
		var out string
		err := workflow.ExecuteActivity(ctx, "act", in).Get(ctx, &out)
		return out, err
	}
}

// registerCall registers callOnce as "call" and fn as its activity.
func registerCall(attempts int32, fn func(context.Context, string) (string, error)) func(worker.Registry) {
	return func(r worker.Registry) {
		r.RegisterWorkflowWithOptions(callOnce(attempts), workflow.RegisterOptions{Name: "call"})
		r.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: "act"})
	}
}
