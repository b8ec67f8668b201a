package fleet_test

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/durationpb"

	"patchbay/calculator"
	"patchbay/fleet"
	"patchbay/internal/contract"
	"patchbay/internal/devenv/testenv"
	"patchbay/internal/durable"
	"patchbay/internal/fault"
)

type (
	// job starts the workflow that asks for one computation.
	job struct {
		Urgency contract.Urgency
		User    string
		In      contract.ComputeInput
	}

	// bundle is a namespace of the test's own with a worker for the workflow of jobs.
	bundle struct {
		*testing.T
		ctx       context.Context //nolint:containedctx // it bounds a test
		client    client.Client
		address   string
		namespace string
	}
)

var jobs = contract.DeclareWorkflow[job, contract.ComputeResult]("test.job.v1", "jobs")

func newBundle(t *testing.T) *bundle {
	t.Helper()
	address, _ := testenv.Temporal(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	b := &bundle{T: t, ctx: ctx, address: address, namespace: "test-" + strings.ToLower(rand.Text())}
	b.client = b.dial()
	t.Cleanup(b.client.Close)
	_, err := b.client.WorkflowService().RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: b.namespace, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour)})
	require.NoError(t, err)
	w := worker.New(b.client, "jobs", durable.WorkerOptions(fleet.Build(), zap.NewNop()))
	jobs.Register(w, func(ctx workflow.Context, j job) (contract.ComputeResult, error) {
		return contract.Compute(contract.Risk, j.Urgency, j.User).Run(ctx, j.In, j.In.Function)
	})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	require.NoError(t, durable.SetCurrent(ctx, b.client, contract.Deployment, fleet.Build()))
	return b
}

func (b *bundle) dial() client.Client {
	c, err := durable.Dial(b.ctx, durable.Options{Address: b.address, Namespace: b.namespace})
	require.NoError(b, err)
	return c
}

// host runs a Host in this process until the test ends, or stop is called.
func (b *bundle) host(t fleet.Tuning, calculators ...calculator.Calculator) (stop func() error) {
	registry, err := calculator.Register(calculators...)
	require.NoError(b, err)
	host := fleet.NewHost(b.client, []contract.Queue{contract.Risk}, registry, t, zap.NewNop())
	ctx, cancel := context.WithCancel(b.ctx)
	done := make(chan error, 1)
	go func() { done <- host.Run(ctx) }()
	var ended error
	stopped := false
	stop = func() error {
		cancel()
		if !stopped {
			ended, stopped = <-done, true
		}
		return ended
	}
	b.Cleanup(func() { _ = stop() })
	return stop
}

func (b *bundle) start(j job) client.WorkflowRun {
	run, err := jobs.Start(b.ctx, b.client, client.StartWorkflowOptions{ID: rand.Text()}, j)
	require.NoError(b, err)
	return run
}

// fault is why a job failed.
func (b *bundle) fault(run client.WorkflowRun) *fault.Fault {
	var out contract.ComputeResult
	err := run.Get(b.ctx, &out)
	require.Error(b, err)
	return contract.FromTemporal(err)
}

type (
	figures struct {
		N int `json:"n"`
	}
	sum struct {
		Sum int `json:"sum"`
	}
)

// acts are calculators by what they do.
func act(name string, does func(ctx context.Context, n int, run calculator.Run) (int, error)) calculator.Calculator {
	return calculator.New(name, "v1", func(ctx context.Context, f figures, run calculator.Run) (sum, error) {
		s, err := does(ctx, f.N, run)
		return sum{s}, err
	})
}

func asks(function, input string) contract.ComputeInput {
	return contract.ComputeInput{Function: function, Version: "v1", Seed: 1, Input: []byte(input)}
}

var doubles = act("test.double", func(_ context.Context, n int, _ calculator.Run) (int, error) { return 2 * n, nil })

func TestMain(m *testing.M) {
	if os.Getenv("FLEET_TEST_CHILD") != "" {
		child()
		return
	}
	os.Exit(m.Run())
}
