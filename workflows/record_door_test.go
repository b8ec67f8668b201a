package workflows_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"patchbay/internal/contract"
	"patchbay/internal/devenv/testenv"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/workflows"
)

// visit is a scenario of the second door.
type visit struct {
	name    string
	signal  any
	respond flow.Respond
	further []any // signalled while it reads
	cancel  bool  // while it reads
	accept  error
	answer  contract.DoorAnswer // as the activity reads it
	again   bool                // the run has ended under an earlier workflow
	ends    enums.WorkflowExecutionStatus
	want    contract.DoorAnswer // of the query
	failure string              // code of the workflow's failure
	closed  int
}

const pressed = `{"flow":"product-specs","params":{"product_id":"AS54888"}}`

func visits() []visit {
	completed, failed, cancelled := enums.WORKFLOW_EXECUTION_STATUS_COMPLETED, enums.WORKFLOW_EXECUTION_STATUS_FAILED, enums.WORKFLOW_EXECUTION_STATUS_CANCELED
	press, other := json.RawMessage(pressed), json.RawMessage(`{"flow":"product-specs","params":{"product_id":"OTHER"}}`)
	rows := &flow.Result{Rows: []flow.Row{{"attribute": "Weight"}}, Count: 1}
	running := contract.DoorAnswer{RunID: "r", Status: flow.Running, Result: rows, Count: 1}
	done := contract.DoorAnswer{RunID: "r", Status: flow.Completed, Result: rows, Count: 1}
	ended := contract.DoorAnswer{RunID: "r", Status: flow.Failed, Fault: fault.New(fault.Rejected, "source.not_found", "no such product", nil)}
	invalid := fault.Invalidf("params.invalid", "product_id is missing").With(fault.Field{Path: "params.product_id", Code: "field.required", Detail: "product_id is missing"})
	rejected := done
	rejected.Rejected = 1
	return []visit{
		{name: "door-answered", signal: press, respond: flow.AfterRead, answer: running, ends: completed, want: done},
		{name: "door-answered-after-the-write", signal: press, respond: flow.AfterWrite, answer: done, ends: completed, want: done},
		{name: "door-invalid", signal: press, accept: invalid, ends: failed, failure: "params.invalid",
			want: contract.DoorAnswer{Status: flow.Failed, Fault: invalid}},
		{name: "door-payload-nobody-can-read", signal: converter.NewRawValue(&commonpb.Payload{
			Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: []byte(`{"flow":`)}),
			accept: fault.Invalidf("json.syntax", "no JSON"), ends: failed, failure: "json.syntax",
			want: contract.DoorAnswer{Status: flow.Failed, Fault: fault.Invalidf("json.syntax", "no JSON")}},
		{name: "door-replayed", signal: press, respond: flow.AfterRead, answer: done, again: true, ends: completed, want: done},
		{name: "door-replayed-failure", signal: press, respond: flow.AfterRead, answer: ended, again: true, ends: failed, failure: "source.not_found", want: ended},
		{name: "door-further-signals", signal: press, respond: flow.AfterRead, further: []any{press, other}, answer: running, ends: completed, want: rejected},
		{name: "door-cancelled-while-reading", signal: press, respond: flow.AfterRead, cancel: true, ends: cancelled, closed: 1,
			want: contract.DoorAnswer{RunID: "r", Status: flow.Cancelled}},
	}
}

func TestRecordOfTheSecondDoor(t *testing.T) {
	t.Parallel()
	address, _ := testenv.Temporal(t)
	for _, s := range visits() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.play(newStage(t, address, s.name))
		})
	}
}

func (s visit) play(st *stage) {
	st.Helper()
	reading, further := make(chan struct{}, 64), make(chan struct{})
	closed, payloads := make(chan contract.CloseInput, 64), make(chan []byte, 64)
	contract.DoorAccept.Register(st.worker, func(_ context.Context, in contract.DoorSignal) (contract.DoorAccepted, error) {
		payloads <- in.Payload
		return contract.DoorAccepted{Batch: st.batch(), RunID: "r", Replayed: s.again,
			Skeleton: flow.Skeleton{Respond: s.respond, Reads: true, Writes: true, Source: "oracle-plm", Target: "dataverse", Timeout: 30 * time.Second}}, s.accept
	})
	contract.DoorRead.Register(st.worker, func(context.Context, contract.DoorAccepted) (contract.DoorAnswer, error) { return s.answer, nil })
	contract.Read.Register(st.worker, func(ctx context.Context, _ contract.Batch) (contract.ReadResult, error) {
		reading <- struct{}{}
		if s.cancel {
			return untilCancelled[contract.ReadResult](ctx)
		}
		select {
		case <-further:
		case <-ctx.Done():
		}
		return contract.ReadResult{Rows: 1}, nil
	})
	contract.Write.Register(st.worker, func(context.Context, contract.Batch) (contract.WriteResult, error) {
		return contract.WriteResult{Confirmed: 1, Status: flow.Completed}, nil
	})
	contract.CloseRun.Register(st.worker, func(_ context.Context, in contract.CloseInput) (contract.CloseResult, error) {
		closed <- in
		return contract.CloseResult{Status: flow.Cancelled}, nil
	})
	st.work()
	options := st.options("")
	options.TypedSearchAttributes, options.StaticSummary = temporal.SearchAttributes{}, "" // an app knows neither
	started, err := st.client.SignalWithStartWorkflow(st.ctx, options.ID, contract.PressSignalName, s.signal, options, contract.Instant.Name())
	require.NoError(st, err)
	if s.cancel || s.further != nil {
		st.await(reading)
	}
	for _, signal := range s.further {
		require.NoError(st, st.client.SignalWorkflow(st.ctx, started.GetID(), started.GetRunID(), contract.PressSignalName, signal))
	}
	close(further)
	if s.cancel {
		require.NoError(st, st.client.CancelWorkflow(st.ctx, started.GetID(), started.GetRunID()))
	}
	var result contract.InstantResult
	failure := st.ended(started, s.ends, &result)
	if s.failure != "" {
		require.Equal(st, s.failure, contract.FromTemporal(failure).Code)
	}
	value, err := st.client.QueryWorkflow(st.ctx, started.GetID(), started.GetRunID(), contract.AnswerQueryName)
	require.NoError(st, err)
	var answer contract.DoorAnswer
	require.NoError(st, value.Get(&answer))
	require.Equal(st, s.want, answer)
	if failure == nil {
		require.Equal(st, &s.want, result.Answer, "the result carries what the query gives")
	}
	require.Len(st, closed, s.closed)
	sent, err := converter.GetDefaultDataConverter().ToPayload(s.signal)
	require.NoError(st, err)
	require.Equal(st, string(sent.GetData()), string(<-payloads), "what came reaches who judges it, byte for byte")
	if s.accept == nil {
		described, err := st.client.DescribeWorkflow(st.ctx, started.GetID(), started.GetRunID())
		require.NoError(st, err)
		runs, _ := described.TypedSearchAttributes.GetKeywordList(contract.RunsAttribute)
		require.Equal(st, []string{"r"}, runs, "the run is found in the Web UI")
	}
}

func TestADoorThatNobodySignalsClosesByItself(t *testing.T) {
	t.Parallel()
	env := (&testsuite.WorkflowTestSuite{}).NewTestWorkflowEnvironment()
	workflows.Register(env)
	begun := env.Now()
	env.ExecuteWorkflow(contract.Instant.Name(), contract.InstantInput{})
	require.True(t, env.IsWorkflowCompleted())
	f := contract.FromTemporal(env.GetWorkflowError())
	require.Equal(t, "door.no_signal", f.Code)
	require.Equal(t, fault.Invalid, f.Class)
	require.GreaterOrEqual(t, env.Now().Sub(begun), contract.DoorPatience)
}

func TestASignalTooLargeToBeReadIsInvalid(t *testing.T) {
	t.Parallel()
	env := (&testsuite.WorkflowTestSuite{}).NewTestWorkflowEnvironment()
	workflows.Register(env)
	env.RegisterDelayedCallback(func() {
		env.SignalWorkflow(contract.PressSignalName, map[string]any{"flow": string(make([]byte, contract.MostSignal))})
	}, 0)
	env.ExecuteWorkflow(contract.Instant.Name(), contract.InstantInput{})
	require.Equal(t, "door.too_large", contract.FromTemporal(env.GetWorkflowError()).Code)
}
