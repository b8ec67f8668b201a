package workflows_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.uber.org/zap"
	"google.golang.org/protobuf/encoding/protojson"

	"patchbay/internal/contract"
	"patchbay/internal/devenv/testenv"
	"patchbay/internal/durable"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/workflows"
)

var record = flag.Bool("record", false, "write the histories of scenarios that have none yet to testdata/replay")

// host is how the SDK names the machine: in a client's identity and in the name
// of a sticky task queue.
var host = regexp.MustCompile(`"(\d+@[^"]*|[^":]+:[0-9a-f]{8}-[0-9a-f-]{27})"`)

// stand is what the activities do in one scenario: the workflow is real, the
// server is real, the outside world is scripted.
type stand struct {
	read  func(context.Context) (contract.ReadResult, error)
	write func(context.Context) (contract.WriteResult, error)
}

type scenario struct {
	name    string
	respond flow.Respond
	noWrite bool
	timeout time.Duration
	stand   stand
	cancel  func(reading, writing <-chan struct{}) <-chan struct{} // when to cancel; nil: never
	status  flow.Status                                            // how the run was closed; empty: no close activity
	ends    enums.WorkflowExecutionStatus
}

func rows(n int) func(context.Context) (contract.ReadResult, error) {
	return func(context.Context) (contract.ReadResult, error) { return contract.ReadResult{Rows: n}, nil }
}

func written(n int) func(context.Context) (contract.WriteResult, error) {
	return func(context.Context) (contract.WriteResult, error) {
		return contract.WriteResult{Confirmed: n, Status: flow.Completed}, nil
	}
}

func untilCancelled[T any](ctx context.Context) (T, error) {
	var none T
	beat := time.NewTicker(50 * time.Millisecond)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return none, ctx.Err()
		case <-beat.C:
			activity.RecordHeartbeat(ctx)
		}
	}
}

// once fails the first try with err and hands the next ones to then.
func once[T any](err error, then func(context.Context) (T, error)) func(context.Context) (T, error) {
	var tries atomic.Int32
	return func(ctx context.Context) (T, error) {
		if tries.Add(1) == 1 {
			var none T
			return none, err
		}
		return then(ctx)
	}
}

func fails[T any](err error) func(context.Context) (T, error) {
	return func(context.Context) (T, error) {
		var none T
		return none, err
	}
}

func scenarios() []scenario {
	completed, failed, cancelled := enums.WORKFLOW_EXECUTION_STATUS_COMPLETED, enums.WORKFLOW_EXECUTION_STATUS_FAILED, enums.WORKFLOW_EXECUTION_STATUS_CANCELED
	throttled := fault.ThrottledFor(300*time.Millisecond, "oracle.throttled", "too many requests", nil)
	away := fault.New(fault.Unavailable, "dataverse.unavailable", "the service is unavailable", nil)
	doubt := fault.New(fault.InDoubt, "dataverse.answer_lost", "the answer was lost", nil)
	during := func(which int) func(reading, writing <-chan struct{}) <-chan struct{} {
		return func(reading, writing <-chan struct{}) <-chan struct{} {
			return []<-chan struct{}{reading, writing}[which]
		}
	}
	return []scenario{
		{name: "answered-then-written", respond: flow.AfterRead, stand: stand{rows(12), written(12)}, ends: completed},
		{name: "written-then-answered", respond: flow.AfterWrite, stand: stand{rows(3), written(3)}, ends: completed},
		{name: "read-only", respond: flow.AfterRead, noWrite: true, stand: stand{read: rows(1)}, ends: completed},
		{name: "not-found", respond: flow.AfterRead, status: flow.Failed, ends: failed,
			stand: stand{read: fails[contract.ReadResult](fault.NotFoundf("source.not_found", "no such product"))}},
		{name: "throttled-then-answered", respond: flow.AfterRead, stand: stand{once(throttled, rows(2)), written(2)}, ends: completed},
		{name: "throttled-alone", respond: flow.AfterRead, ends: completed,
			stand: stand{once(throttled, once(throttled, rows(2))), once(throttled, written(2))}},
		{name: "write-retried", respond: flow.AfterRead, stand: stand{rows(2), once(away, written(2))}, ends: completed},
		{name: "write-in-doubt-then-settled", respond: flow.AfterRead, stand: stand{rows(2), once(doubt, written(2))}, ends: completed},
		{name: "some-refused", respond: flow.AfterRead, status: flow.Failed, ends: failed,
			stand: stand{rows(5), func(context.Context) (contract.WriteResult, error) {
				return contract.WriteResult{Confirmed: 3, Refused: 2, Status: flow.Failed}, nil
			}}},
		{name: "completed-by-an-attempt-that-was-lost", respond: flow.AfterRead, status: flow.Completed, ends: completed,
			stand: stand{rows(4), fails[contract.WriteResult](fault.New(fault.Conflict, "run.closed", "the run has ended", nil))}},
		{name: "deadline-passed", respond: flow.AfterRead, timeout: time.Second, status: flow.Failed, ends: failed,
			stand: stand{read: untilCancelled[contract.ReadResult]}},
		{name: "cancelled-while-reading", respond: flow.AfterRead, status: flow.Cancelled, ends: cancelled,
			stand: stand{read: untilCancelled[contract.ReadResult]}, cancel: during(0)},
		{name: "cancelled-while-writing", respond: flow.AfterRead, status: flow.Cancelled, ends: cancelled,
			stand: stand{rows(4), untilCancelled[contract.WriteResult]}, cancel: during(1)},
		{name: "sealed-before-the-cancel-arrived", respond: flow.AfterRead, status: flow.Cancelled, ends: cancelled,
			stand: stand{rows(4), fails[contract.WriteResult](fault.New(fault.Conflict, "ledger.sealed", "a cancel was asked", nil))}},
	}
}

// Every scenario runs on a real server and ends as it should; with -record its
// history is kept for the replay test.
func TestRecord(t *testing.T) {
	t.Parallel()
	address, _ := testenv.Temporal(t)
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.play(t, newStage(t, address, s.name))
		})
	}
}

// stage is a task queue of its own with a worker that hosts the workflows.
type stage struct {
	*testing.T
	ctx    context.Context //nolint:containedctx // of the test
	name   string
	kind   string // of workflow, the directory of its histories
	client client.Client
	worker worker.Worker
}

func newStage(t *testing.T, address, name string) *stage {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(stop)
	c, err := durable.Dial(ctx, durable.Options{Address: address})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	require.NoError(t, durable.RegisterSearchAttributes(ctx, c, "default"))
	w := worker.New(c, "record-"+name, worker.Options{
		Identity:                     "recorder",
		Interceptors:                 []interceptor.WorkerInterceptor{durable.NewInterceptor(zap.NewNop())},
		DisableRegistrationAliasing:  true,
		MaxHeartbeatThrottleInterval: 50 * time.Millisecond,
	})
	workflows.Register(w)
	return &stage{T: t, ctx: ctx, name: name, kind: "Instant", client: c, worker: w}
}

// work begins to poll, once everything is registered.
func (s *stage) work() {
	s.Helper()
	require.NoError(s, s.worker.Start())
	s.Cleanup(s.worker.Stop)
}

func (s *stage) options(summary string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID: contract.WorkflowID("instant", "product-specs", "record-"+s.name), TaskQueue: "record-" + s.name,
		TypedSearchAttributes: temporal.NewSearchAttributes(contract.FlowAttribute.ValueSet("product-specs")),
		StaticSummary:         summary,
	}
}

func (s *stage) batch() contract.Batch {
	return contract.Batch{BatchID: "record-" + s.name, Flow: "product-specs", Digest: "0000"}
}

// await returns when something is told on c.
func (s *stage) await(c <-chan struct{}) {
	s.Helper()
	select {
	case <-c:
	case <-s.ctx.Done():
		s.Fatal("the scenario never came to the point that it waits for")
	}
}

// ended waits for the end of a workflow, which must be as expected, keeps its
// history where none is kept under the name, and gives its error.
func (s *stage) ended(run client.WorkflowRun, how enums.WorkflowExecutionStatus, result any) error {
	s.Helper()
	failed := run.Get(s.ctx, result)
	require.Equal(s, how == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED, failed == nil, "%v", failed)
	described, err := s.client.DescribeWorkflowExecution(s.ctx, run.GetID(), run.GetRunID())
	require.NoError(s, err)
	require.Equal(s, how, described.GetWorkflowExecutionInfo().GetStatus())
	s.keep(run.GetID(), run.GetRunID())
	return failed
}

// keep writes the history of a run where none is kept under the name.
func (s *stage) keep(id, runID string) {
	s.Helper()
	path := filepath.Join("testdata", "replay", s.kind, s.name+".json")
	if _, err := os.Stat(path); err == nil || !*record {
		return
	}
	events := &history.History{}
	for i := s.client.GetWorkflowHistory(s.ctx, id, runID, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); i.HasNext(); {
		event, err := i.Next()
		require.NoError(s, err)
		events.Events = append(events.Events, event)
	}
	b, err := protojson.Marshal(events)
	require.NoError(s, err)
	b = host.ReplaceAll(b, []byte(`"recorder"`)) // the machine it was recorded on is nobody's business
	var text bytes.Buffer
	require.NoError(s, json.Indent(&text, b, "", " ")) // protojson's own spacing is random on purpose
	require.NoError(s, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(s, os.WriteFile(path, append(text.Bytes(), '\n'), 0o644))
}

// play runs the scenario.
func (s scenario) play(t *testing.T, st *stage) {
	t.Helper()
	ctx, c, w := st.ctx, st.client, st.worker
	reading, writing := make(chan struct{}, 64), make(chan struct{}, 64)
	closed := make(chan contract.CloseInput, 64)
	contract.Read.Register(w, func(ctx context.Context, _ contract.Batch) (contract.ReadResult, error) {
		reading <- struct{}{}
		return s.stand.read(ctx)
	})
	contract.Write.Register(w, func(ctx context.Context, _ contract.Batch) (contract.WriteResult, error) {
		writing <- struct{}{}
		return s.stand.write(ctx)
	})
	contract.CloseRun.Register(w, func(_ context.Context, in contract.CloseInput) (contract.CloseResult, error) {
		closed <- in
		return contract.CloseResult{Status: s.status}, nil
	})
	st.work()

	timeout := s.timeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	started, err := c.ExecuteWorkflow(ctx, st.options("1 press of product-specs"), contract.Instant.Name(), contract.InstantInput{
		Batch:    st.batch(),
		Size:     1,
		Skeleton: flow.Skeleton{Respond: s.respond, Reads: true, Writes: !s.noWrite, Source: "oracle-plm", Target: "dataverse", Timeout: timeout},
	})
	require.NoError(t, err)
	if s.cancel != nil {
		st.await(s.cancel(reading, writing))
		require.NoError(t, c.CancelWorkflow(ctx, started.GetID(), started.GetRunID()))
	}
	_ = st.ended(started, s.ends, nil)
	if s.status == "" {
		require.Empty(t, closed, "a run that completed is closed by its last activity alone")
	} else {
		require.Len(t, closed, 1, "a run that did not complete is closed once")
		require.Equal(t, s.cancel != nil, (<-closed).Fault == nil, "only Temporal's own cancel closes without a fault")
	}
}
