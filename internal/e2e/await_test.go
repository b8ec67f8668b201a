package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

const (
	shippedContract = `
accepts:
  shipped.v1:
    key: [nr]
    keep: %s
    schema:
      type: object
      required: [nr, status, vessel]
      properties:
        nr: { type: string }
        status: { type: string, enum: [departed, arrived] }
        vessel: { type: string, maxLength: 40 }
`

	// voyageFlow waits for two events of one key, one after the other.
	voyageFlow = `
flow: voyage
pattern: service
summary: A sale is shipped, and followed until it has arrived
params: { nr: { type: string } }
` + shippedContract + `
steps:
  - { step: sale, call: erp.sale, key: [nr], with: { nr: params.nr, customer: '"x"', state: '"open"' }, undo: { state: '"reversed"' } }
  - { step: departed, await: shipped.v1, where: { nr: params.nr, status: '"departed"' }, deadline: 20m }
  - { step: arrived, await: shipped.v1, where: { nr: params.nr, status: '"arrived"' }, deadline: 20m }
  - { step: notice, call: erp.notice, key: [nr], with: { nr: params.nr, document: steps.departed.row.vessel } }
`

	// hastyFlow waits for two seconds, and takes back what it has done.
	hastyFlow = `
flow: hasty
pattern: service
summary: A sale that has to be shipped at once
params: { nr: { type: string } }
` + shippedContract + `
steps:
  - { step: sale, call: erp.sale, key: [nr], with: { nr: params.nr, customer: '"x"', state: '"open"' }, undo: { state: '"reversed"' } }
  - { step: departed, await: shipped.v1, where: { nr: params.nr, status: '"departed"' }, deadline: 2s }
`

	// calmFlow goes on with what it says itself.
	calmFlow = `
flow: calm
pattern: service
summary: A sale of which nobody needs to know where it is
params: { nr: { type: string } }
` + shippedContract + `
steps:
  - step: departed
    await: shipped.v1
    where: { nr: params.nr, status: '"departed"' }
    deadline: 2s
    otherwise: { nr: params.nr, status: '"departed"', vessel: '"unknown"' }
  - { step: notice, call: erp.notice, key: [nr], with: { nr: params.nr, document: steps.departed.row.vessel } }
`
)

func harbour(t *testing.T, keep string) *erp {
	t.Helper()
	return company(t, map[string]string{"voyage": fmt.Sprintf(voyageFlow, keep), "hasty": fmt.Sprintf(hastyFlow, keep), "calm": fmt.Sprintf(calmFlow, keep)})
}

// tell posts an event.
func (e *erp) tell(id, nr, status, vessel string) (int, flow.TopicEvent) {
	e.t.Helper()
	var out flow.TopicEvent
	resp := e.do(http.MethodPost, e.HTTP+"/v1/events/shipped.v1", http.Header{"Content-Type": {"application/json"}},
		fmt.Sprintf(`{"id":%q,"data":{"nr":%q,"status":%q,"vessel":%q,"secret":"of no contract"}}`, id, nr, status, vessel), &out)
	return resp.StatusCode, out
}

// event is what became of an event.
func (e *erp) event(id, nr string) flow.TopicEvent {
	e.t.Helper()
	var out struct {
		Events []flow.TopicEvent `json:"events"`
	}
	e.do(http.MethodGet, e.HTTP+"/v1/events?topic=shipped.v1&key="+nr, nil, "", &out)
	for _, one := range out.Events {
		if one.ID == id {
			return one
		}
	}
	return flow.TopicEvent{}
}

// task waits until a task of a run is there as ok says.
func (e *erp) task(id, name string, ok func(flow.TaskView) bool) {
	e.t.Helper()
	e.patchbay.await(name+" of "+id, 2*time.Minute, func() bool {
		var run flow.Run
		e.do(http.MethodGet, e.HTTP+"/v1/runs/"+id, nil, "", &run)
		for _, t := range run.Tasks {
			if t.Name == name {
				return ok(t)
			}
		}
		return false
	})
}

func awaiting(t flow.TaskView) bool { return t.State == flow.TaskRunning && t.Await != nil }

func TestAServiceTakesTheEventsThatItAwaitsOnce(t *testing.T) {
	t.Parallel()
	e := harbour(t, "20m")
	nr := func(name string) string { return fmt.Sprintf(`{"nr":%q}`, name) }

	// The event was there before the run, the second one comes while it is awaited.
	status, early := e.tell("e1", "early", "departed", "Ada")
	require.Equal(t, http.StatusAccepted, status)
	require.Equal(t, flow.TopicKept, early.State)
	id := e.begin("voyage", nr("early"))
	e.task(id, "arrived", awaiting)
	require.Equal(t, id, e.event("e1", "early").Run)
	_, _ = e.tell("e2", "early", "arrived", "Ada")
	run := e.final(id, 2*time.Minute)
	require.Equal(t, flow.Completed, run.Status, "%+v", run.Problem)
	require.EqualValues(t, 1, e.number(`select count(*) from notice where nr = 'early' and document = 'Ada'`))
	require.Equal(t, flow.TopicTaken, e.event("e2", "early").State)

	// Out of order and twice: the one that is for a later step is kept, and shown, until that.
	id = e.begin("voyage", nr("turned"))
	e.task(id, "departed", awaiting)
	_, _ = e.tell("t2", "turned", "arrived", "Bea")
	e.task(id, "departed", func(v flow.TaskView) bool {
		return awaiting(v) && len(v.Await.Others) == 1 && v.Await.Others[0].State == flow.TopicKept
	})
	_, first := e.tell("t1", "turned", "departed", "Bea")
	status, again := e.tell("t1", "turned", "departed", "Bea")
	require.Equal(t, http.StatusAccepted, status)
	require.False(t, first.Duplicate)
	require.True(t, again.Duplicate)
	status, _ = e.tell("t1", "turned", "departed", "Cleo")
	require.Equal(t, http.StatusConflict, status, "the ID stands for another event")
	run = e.final(id, 2*time.Minute)
	require.Equal(t, flow.Completed, run.Status, "%+v", run.Problem)
	require.Equal(t, "t1", run.Tasks[1].Await.Event)
	require.Equal(t, "t2", run.Tasks[2].Await.Event)

	// None in time: one run takes back what it did, the other goes on without.
	id = e.begin("hasty", nr("late"))
	run = e.final(id, 2*time.Minute)
	require.Equal(t, flow.Failed, run.Status)
	require.Equal(t, flow.AwaitLateCode, run.Problem.Code)
	require.Equal(t, []string{"sale open", "sale reversed"}, e.log("late"))
	_, _ = e.tell("l1", "late", "departed", "Dora")
	require.Equal(t, flow.TopicKept, e.event("l1", "late").State, "it came late, and is for nobody")
	run = e.final(e.begin("calm", nr("calm")), 2*time.Minute)
	require.Equal(t, flow.Completed, run.Status, "%+v", run.Problem)
	require.EqualValues(t, 1, e.number(`select count(*) from notice where nr = 'calm' and document = 'unknown'`))

	// A run that is cancelled takes nothing any more.
	id = e.begin("voyage", nr("left"))
	e.task(id, "departed", awaiting)
	e.do(http.MethodPost, e.HTTP+"/v1/runs/"+id+"/cancel", nil, "", nil)
	run = e.final(id, 2*time.Minute)
	require.Equal(t, flow.Cancelled, run.Status)
	_, _ = e.tell("c1", "left", "departed", "Eve")
	require.Equal(t, []string{"sale open", "sale reversed"}, e.log("left"))
	require.Equal(t, flow.TopicKept, e.event("c1", "left").State)

	// What is not as the contract says is refused where it comes in, with the field.
	var problem struct {
		Code   string
		Errors []struct{ Path string }
	}
	resp := e.do(http.MethodPost, e.HTTP+"/v1/events/shipped.v1", http.Header{"Content-Type": {"application/json"}}, `{"id":"x","data":{"nr":"n","status":"sunk","vessel":"v"}}`, &problem)
	require.Equal(t, http.StatusUnprocessableEntity, resp.StatusCode)
	require.Equal(t, "event.invalid", problem.Code)
	require.Equal(t, "data.status", problem.Errors[0].Path)
	resp = e.do(http.MethodPost, e.HTTP+"/v1/events/shipped.v2", http.Header{"Content-Type": {"application/json"}}, `{"id":"x","data":{}}`, &problem)
	require.Equal(t, http.StatusNotFound, resp.StatusCode)

	stdout, stderr, code := e.cli("explain", "--server", e.HTTP, "turned")
	require.Zero(t, code, "%s%s", stdout, stderr)
	require.Contains(t, stdout, "shipped.v1")
}

func TestAnEventThatNobodyComesForExpiresWithTheReason(t *testing.T) {
	t.Parallel()
	e := harbour(t, "3s")
	_, kept := e.tell("u1", "unknown", "departed", "Ada")
	require.Equal(t, flow.TopicKept, kept.State)
	run := e.final(e.begin("hasty", `{"nr":"late"}`), 2*time.Minute)
	require.Equal(t, flow.Failed, run.Status)
	_, _ = e.tell("l1", "late", "departed", "Bea")
	for id, why := range map[string]string{"u1": "no run awaited it", "l1": run.RunID} {
		nr := map[string]string{"u1": "unknown", "l1": "late"}[id]
		e.patchbay.await("the end of "+id, 2*time.Minute, func() bool { return e.event(id, nr).State == flow.TopicExpired })
		require.Contains(t, e.event(id, nr).Why, why)
	}
}

// TestEventsAreTakenOnceWhateverDies kills everything while hundreds of runs wait: each
// takes the events of its number, once.
func TestEventsAreTakenOnceWhateverDies(t *testing.T) {
	t.Parallel()
	const runs = 200
	e := harbour(t, "1h")
	ids := make([]string, runs)
	for i := range runs {
		ids[i] = e.begin("voyage", fmt.Sprintf(`{"nr":"k%d"}`, i))
		if i == runs/2 {
			e.kill()
			e.patchbay = start(t, e.dir, "--flows", filepath.Join(e.dir, "flows"))
		}
	}
	for i := range runs {
		for _, what := range []string{"arrived", "departed", "departed"} { // out of order, and one of them twice
			status, _ := e.tell(fmt.Sprintf("%s-%d", what, i), fmt.Sprintf("k%d", i), what, fmt.Sprintf("V%d", i))
			require.Equal(t, http.StatusAccepted, status)
		}
		if i%80 == 40 {
			e.kill()
			e.patchbay = start(t, e.dir, "--flows", filepath.Join(e.dir, "flows"))
		}
	}
	for i, id := range ids {
		run := e.final(id, 5*time.Minute)
		require.Equal(t, flow.Completed, run.Status, "%+v", run.Problem)
		require.Equal(t, []string{"sale open", "notice "}, e.log(fmt.Sprintf("k%d", i)))
		require.Equal(t, fmt.Sprintf("departed-%d arrived-%d", i, i), strings.Join([]string{run.Tasks[1].Await.Event, run.Tasks[2].Await.Event}, " "))
	}
	require.EqualValues(t, runs, e.number(`select count(*) from notice where document like 'V%'`))
}

const (
	placedContract = `
  placed.v1:
    key: [nr]
    schema:
      type: object
      required: [nr, quantity]
      properties: { nr: { type: string, pattern: "^[a-z0-9-]+$" }, quantity: { type: integer, minimum: 1 } }
`

	// orderFlow tells that something was ordered, and follows what others do about it.
	orderFlow = `
flow: order
pattern: service
summary: An order is placed, packed by others, and told of when it has left
params: { nr: { type: string }, quantity: { type: int } }
emits: ` + placedContract + shippedContract + `
steps:
  - { step: sale, call: erp.sale, key: [nr], with: { nr: params.nr, customer: '"x"', state: '"open"' }, undo: { state: '"reversed"' } }
  - { step: placed, emit: placed.v1, with: { nr: params.nr, quantity: params.quantity } }
  - { step: departed, await: shipped.v1, where: { nr: params.nr, status: '"departed"' }, deadline: 20m }
  - { step: notice, call: erp.notice, key: [nr], with: { nr: params.nr, document: steps.departed.row.vessel } }
`

	// packFlow is started by an order, and knows nothing of who placed it.
	packFlow = `
flow: pack
pattern: service
summary: What was ordered is reserved and leaves
on: [{ event: placed.v1 }]
accepts: ` + placedContract + `
emits:
  shipped.v1:
    key: [nr]
    schema:
      type: object
      required: [nr, status, vessel]
      properties: { nr: { type: string }, status: { type: string, enum: [departed] }, vessel: { type: string, maxLength: 40 } }
steps:
  - { step: stock, call: erp.stock, key: [nr], with: { nr: params.nr, quantity: params.quantity, state: '"reserved"' } }
  - { step: shipped, emit: shipped.v1, with: { nr: params.nr, status: '"departed"', vessel: '"Ada"' } }
`
)

// TestFlowsMeetByTheEventsThatTheyEmit starts a flow by the event of another, which awaits
// what that one emits, while everything is killed.
func TestFlowsMeetByTheEventsThatTheyEmit(t *testing.T) {
	t.Parallel()
	const orders = 24
	e := company(t, map[string]string{"order": fmt.Sprintf(orderFlow, "1h"), "pack": packFlow})
	ids := make([]string, orders)
	for i := range orders {
		ids[i] = e.begin("order", fmt.Sprintf(`{"nr":"o%d","quantity":%d}`, i, 1+i))
		if i%10 == 5 {
			e.kill()
			e.patchbay = start(t, e.dir, "--flows", filepath.Join(e.dir, "flows"))
		}
	}
	for i, id := range ids {
		run := e.final(id, 4*time.Minute)
		require.Equal(t, flow.Completed, run.Status, "%+v", run.Problem)
		require.Equal(t, []string{"sale open", "stock reserved", "notice "}, e.log(fmt.Sprintf("o%d", i)), "each once, in this order")
	}
	require.EqualValues(t, orders*(orders+1)/2, e.number(`select sum(quantity) from stock`))
	var out struct {
		Events []flow.TopicEvent `json:"events"`
	}
	e.do(http.MethodGet, e.HTTP+"/v1/events?topic=placed.v1&key=o3", nil, "", &out)
	require.Len(t, out.Events, 1)
	require.Equal(t, ids[3]+"/placed", out.Events[0].ID)
	require.Len(t, out.Events[0].Started, 1)
	require.Equal(t, "pack", out.Events[0].Started[0].Flow)

	// What is not as the contract says goes nowhere: the run that would have told it is the dead letter.
	run := e.final(e.begin("order", `{"nr":"NOT","quantity":1}`), 2*time.Minute)
	require.Equal(t, flow.Failed, run.Status)
	require.Equal(t, "event.invalid", run.Problem.Code)
	require.Contains(t, run.Problem.Detail, "nr does not match")
	require.Equal(t, []string{"sale open", "sale reversed"}, e.log("NOT"))
}
