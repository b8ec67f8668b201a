package app

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"patchbay/activities"
	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
	"patchbay/internal/ledger"
	"patchbay/internal/run"
	sandboxsap "patchbay/internal/sandbox/sap"
	"patchbay/internal/stop"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
)

const (
	// callerFlow calls another, and its answer cannot be made of what that gives.
	callerFlow = `
flow: caller
pattern: service
summary: Another flow is called
params: { nr: { type: string }, customer: { type: string }, quantity: { type: decimal } }
steps:
  - step: traded
    call: trade
    with: { nr: params.nr, customer: params.customer, quantity: params.quantity }
answer: { nr: "steps.traded.rows[0].SalesOrder" }
`
)

// trader is the activities of services over a real book and the systems of the sandbox.
type trader struct {
	warehouse
	store   *store.Store
	book    *run.Book
	stops   *stop.Stops
	systems *systems
	mappers *mappers
	tasker  *activities.Tasker
}

func traderOf(t *testing.T) *trader {
	t.Helper()
	w := warehouseOf(t)
	resolve := func(text string) (string, error) {
		return strings.NewReplacer("${env:PATCHBAY_SANDBOX}", w.base, "${env:PATCHBAY_SANDBOX_SECRET}", "sandbox-secret").Replace(text), nil
	}
	parsed, diags := flowfile.ParseConnections(flowfile.File{Name: "connections.yaml", Data: []byte(tradeConnections)})
	require.Empty(t, diags)
	var list []*flow.Plan
	for _, text := range []string{tradeFlow, callerFlow} {
		plan, diags := flowfile.Compile(flowfile.File{Name: "flow.yaml", Data: []byte(text)}, parsed.List, flowfile.Options{Identity: Identity(resolve)})
		require.Empty(t, diags)
		list = append(list, plan)
	}
	r := &trader{warehouse: w, store: storetest.New(t), mappers: &mappers{}}
	plans := run.NewPlans(r.store)
	_, err := plans.Apply(t.Context(), list, parsed.List, "test")
	require.NoError(t, err)
	r.stops = stop.New(r.store, stop.Options{})
	r.book = run.NewBook(r.store, plans, run.Options{Stops: r.stops})
	r.systems = newSystems(listed(parsed.List), r.mappers, registry(), resolve, 1)
	t.Cleanup(r.systems.client.CloseIdleConnections)
	r.tasker = &activities.Tasker{Plans: plans, Source: r.systems, Mapper: r.mappers, Steps: sagas{r.mappers}, Target: r.systems, Look: r.systems,
		Runs: r.book, Effects: r.book, Documents: r.systems}
	return r
}

// begin gives a run of its own.
func (r *trader) begin(name, nr string) (flow.Run, contract.TaskInput) {
	r.t.Helper()
	accepted, start, err := r.book.Accept(r.t.Context(), flow.Press{Flow: name, Principal: "dev",
		Params: flow.Row{"nr": nr, "customer": "ACC-00004", "quantity": json.Number("2")}})
	require.NoError(r.t, err)
	return accepted, contract.TaskInput{Batch: contract.Batch{BatchID: start.BatchID, Flow: name, Digest: start.Digest}}
}

// sent has the order of a run sent, of which nobody hears; it gives how it arrives.
func (r *trader) sent(in contract.TaskInput, nr string) (arrive func()) {
	r.t.Helper()
	item, tasks, err := r.book.TakeTask(r.t.Context(), in.BatchID, "order", false)
	require.NoError(r.t, err)
	_, err = r.book.Attempt(r.t.Context(), item, "order", "sap.sales_orders", []ledger.Member{{Key: `["` + nr + `"]`, Label: nr, SHA256: []byte("a")}})
	require.NoError(r.t, err)
	plan, err := r.tasker.Plans.ByDigest(r.t.Context(), in.Digest)
	require.NoError(r.t, err)
	task, err := r.tasker.Steps.Plan(plan, "order")
	require.NoError(r.t, err)
	rows, err := r.mappers.Map(task, r.tasker.Steps.Inputs(plan, item.Params, tasks), []flow.Row{{}})
	require.NoError(r.t, err)
	return func() {
		errs, err := r.systems.Upsert(r.t.Context(), task, activities.Call{Rows: rows})
		require.NoError(r.t, err)
		require.NoError(r.t, errs[0])
	}
}

// ordered is what there is, by the sandbox's own rows.
func (r *trader) ordered(nr string) (list []sandboxsap.Ordered) {
	r.t.Helper()
	require.NoError(r.t, json.Unmarshal(r.control(http.MethodGet, "sap/orders?reference="+nr, ""), &list))
	return list
}

func (r *trader) exec(sql string) {
	r.t.Helper()
	_, err := r.store.Pool().Exec(r.t.Context(), sql)
	require.NoError(r.t, err)
}

// act executes an activity.
func act[In, Out any](t *testing.T, a contract.Activity[In, Out], name string, fn func(context.Context, In) (Out, error), in In) (out Out, f *fault.Fault) {
	t.Helper()
	env := (&testsuite.WorkflowTestSuite{}).NewTestActivityEnvironment()
	a.Register(env, func(ctx context.Context, in In) (Out, error) {
		out, err := fn(ctx, in)
		return out, contract.ToTemporal(err)
	})
	value, err := env.ExecuteActivity(name, in)
	if err != nil {
		return out, contract.FromTemporal(err)
	}
	require.NoError(t, value.Get(&out))
	return out, nil
}

func (r *trader) undo(in contract.TaskInput) (flow.TaskState, *fault.Fault) {
	r.t.Helper()
	in.Task = "order"
	out, f := act(r.t, contract.UndoTask, "service.undo.v1", r.tasker.Undo, in)
	return out.State, f
}

// What may have been sent is looked for until the target has had its time since it was sent,
// however old the run is. Then it stands, and a person is told.
func TestAnUndoInDoubtWaitsForItsTargetAndThenStands(t *testing.T) {
	t.Parallel()
	r := traderOf(t)
	late, lateIn := r.begin("trade", "T-1")
	arrive := r.sent(lateIn, "T-1")
	r.exec(`update work set accepted_at = accepted_at - interval '1 day'`)
	_, f := r.undo(lateIn)
	require.Equal(t, "write.unsettled", f.Code)
	arrive()
	state, f := r.undo(lateIn)
	require.Nil(t, f)
	require.Equal(t, flow.TaskUndone, state)
	require.Equal(t, "C", r.ordered("T-1")[0].Rejection)

	lost, lostIn := r.begin("trade", "T-2")
	r.sent(lostIn, "T-2")
	r.exec(`update effect set attempted_at = attempted_at - interval '2 hours'`)
	state, f = r.undo(lostIn)
	require.Nil(t, f)
	require.Equal(t, flow.TaskStands, state)
	require.Empty(t, r.ordered("T-2"))
	repairs, err := r.book.Repairs(t.Context(), flow.RepairFilter{})
	require.NoError(t, err)
	require.Len(t, repairs, 1, "and none of %s", late.RunID)
	require.Equal(t, []any{lost.RunID, "order", []string{"T-2"}, true, "write.in_doubt"},
		[]any{repairs[0].RunID, repairs[0].Step, repairs[0].Keys, repairs[0].InDoubt, repairs[0].Problem.Code})
}

// An answer that cannot be made leaves the run open, for what it did is to be taken back.
func TestARunWhoseAnswerCannotBeMadeIsNotEnded(t *testing.T) {
	t.Parallel()
	r := traderOf(t)
	accepted, in := r.begin("caller", "T-3")
	item, _, err := r.book.TakeTask(t.Context(), in.BatchID, "traded", false)
	require.NoError(t, err)
	require.NoError(t, r.book.KeepTask(t.Context(), item, run.TaskNews{State: flow.TaskDone, Gave: []flow.Row{}}))
	_, f := act(t, contract.EndService, "service.end.v1", r.tasker.End, contract.EndInput{Batch: in.Batch})
	require.NotNil(t, f)
	require.False(t, f.Retryable(), "%+v", f)
	got, err := r.book.Get(t.Context(), accepted.RunID)
	require.NoError(t, err)
	require.Equal(t, flow.Running, got.Status)
}

// A flow that is held is not called, nor is one by a run that was cancelled.
func TestAFlowThatIsHeldIsNotCalled(t *testing.T) {
	t.Parallel()
	r := traderOf(t)
	call := func(in contract.TaskInput) (contract.Called, *fault.Fault) {
		in.Task = "traded"
		return act(t, contract.CallFlow, "service.call.v1", r.tasker.Call, in)
	}
	accepted, in := r.begin("caller", "T-4")
	require.NoError(t, r.stops.Hold(t.Context(), flow.StopFlow, "trade", "ben", "wrong prices"))
	_, f := call(in)
	require.Equal(t, "flow.held", f.Code)
	require.True(t, f.Retryable())
	got, err := r.book.Get(t.Context(), accepted.RunID)
	require.NoError(t, err)
	require.Contains(t, got.Tasks[0].Waiting, "held by ben: wrong prices")
	var calls int
	require.NoError(t, r.store.Pool().QueryRow(t.Context(), `select count(*) from work where flow = 'trade'`).Scan(&calls))
	require.Zero(t, calls)
	require.NoError(t, r.stops.Resume(t.Context(), flow.StopFlow, "trade"))
	called, f := call(in)
	require.Nil(t, f)
	require.Equal(t, "trade", called.Flow)

	cancelled, in := r.begin("caller", "T-5")
	_, _, err = r.book.TakeTask(t.Context(), in.BatchID, "traded", false)
	require.NoError(t, err)
	_, err = r.book.Seal(t.Context(), cancelled.RunID, "dev")
	require.NoError(t, err)
	_, f = call(in)
	require.Equal(t, "ledger.sealed", f.Code)
	require.False(t, f.Retryable())
}
