package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/ledger"
	"patchbay/internal/run"
	"patchbay/internal/topic"
)

// shelf is a book of runs in memory for one batch, with a fence of its own for
// what ended: as the real one it takes no second outcome of an item.
type shelf struct {
	mu      sync.Mutex
	items   []run.Item
	ways    map[string]string // how an item left, by run_id
	faults  map[string]*fault.Fault
	order   []string // in which they left
	sealed  []string
	settled int
	away    bool // the database does not answer
	left    chan string
}

func newShelf(ids ...string) *shelf {
	s := &shelf{ways: map[string]string{}, faults: map[string]*fault.Fault{}, left: make(chan string, 256)}
	for _, id := range ids {
		s.items = append(s.items, run.Item{RunID: id, BatchID: "b", Fence: 1, Params: flow.Row{"id": id}, DeadlineAt: time.Now().Add(time.Minute)})
	}
	return s
}

func (s *shelf) leave(id, how string, why *fault.Fault) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return fault.New(fault.Unavailable, "store.unavailable", "the database is away", nil)
	}
	if s.ways[id] != "" {
		return fault.New(fault.Conflict, "run.closed", "the run has ended", nil)
	}
	s.ways[id], s.faults[id], s.order = how, why, append(s.order, id)
	s.left <- id
	return nil
}

func (s *shelf) ByDigest(context.Context, string) (*flow.Plan, error) { return written, nil }

func (s *shelf) Take(context.Context, string, string) ([]run.Item, error) { return s.items, nil }

func (s *shelf) Answer(ctx context.Context, _ run.Item, _ flow.Result, _ string, _, _ bool) error {
	return ctx.Err()
}

func (s *shelf) Tell(ctx context.Context, _ run.Item, _ flow.Result, _ string, _ []*topic.Prepared) error {
	return ctx.Err()
}

func (s *shelf) Wait(context.Context, run.Item, flow.Status, string) error { return nil }

func (s *shelf) Attempt(_ context.Context, _ run.Item, _, _ string, members []ledger.Member) ([]ledger.Open, error) {
	open := make([]ledger.Open, len(members))
	for i, m := range members {
		open[i] = ledger.Open{Key: m.Key, Fence: 1}
	}
	return open, nil
}

func (s *shelf) AnswerAndAttempt(ctx context.Context, item run.Item, _ flow.Result, _ string, _ bool, step, target string, members []ledger.Member) ([]ledger.Open, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.Attempt(ctx, item, step, target, members)
}

func (s *shelf) Record(context.Context, run.Item, string, []ledger.Outcome) error { return nil }

func (s *shelf) Complete(_ context.Context, item run.Item, _ string, outcomes []ledger.Outcome, _ []string, _ string) (flow.Status, error) {
	status := flow.Completed
	for _, o := range outcomes {
		if o.State == flow.Refused {
			status = flow.Failed
		}
	}
	return status, s.leave(item.RunID, string(status), nil)
}

func (s *shelf) Fail(_ context.Context, item run.Item, why *fault.Fault) (flow.Status, error) {
	status := flow.Failed
	if why == nil {
		status = flow.Cancelled
	}
	return status, s.leave(item.RunID, string(status), why)
}

func (s *shelf) PutBack(_ context.Context, item run.Item, why *fault.Fault) error {
	return s.leave(item.RunID, "back", why)
}

func (s *shelf) Sealed(context.Context, string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sealed), nil
}

func (s *shelf) Settle(context.Context, string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled++
	return nil
}

func (s *shelf) seal(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealed = append(s.sealed, id)
}

// written is a flow that reads, answers and writes.
var written = &flow.Plan{Flow: "specs", Read: &flow.Read{Connection: "plm"}, Write: &flow.Write{Connection: "crm", Table: "specs", Key: []string{"id"}}, Respond: flow.AfterRead}

// world is both systems; what happens to an item is decided by its ID.
type world struct {
	mu     sync.Mutex
	reads  map[string]int
	writes map[string]int
	read   func(ctx context.Context, id string) error
	write  func(ctx context.Context, id string) (row, whole error)
	held   func(id string) bool // when it is read back
}

func newWorld() *world { return &world{reads: map[string]int{}, writes: map[string]int{}} }

func (w *world) Rows(ctx context.Context, _ *flow.Plan, params flow.Row) ([]flow.Row, error) {
	id := params["id"].(string)
	w.mu.Lock()
	w.reads[id]++
	w.mu.Unlock()
	if w.read != nil {
		if err := w.read(ctx, id); err != nil {
			return nil, err
		}
	}
	return []flow.Row{{"id": id}}, nil
}

func (w *world) Map(_ *flow.Plan, _ flow.Row, rows []flow.Row) ([]flow.Row, error) { return rows, nil }

func (w *world) Upsert(ctx context.Context, _ *flow.Plan, call Call) ([]error, error) {
	rows := call.Rows
	id := rows[0]["id"].(string)
	w.mu.Lock()
	w.writes[id]++
	w.mu.Unlock()
	if w.write == nil {
		return make([]error, len(rows)), nil
	}
	row, whole := w.write(ctx, id)
	return []error{row}, whole
}

func (w *world) ReadBack(_ context.Context, _ *flow.Plan, rows []flow.Row, _ []Mark) (Sight, error) {
	sight := Sight{Rows: make([]flow.Row, len(rows)), Conditional: true}
	if w.held != nil && w.held(rows[0]["id"].(string)) {
		sight.Rows = rows
	}
	return sight, nil
}

func (w *world) FoldKeys(_ context.Context, _ *flow.Plan, rows []flow.Row) ([]string, error) {
	return []string{rows[0]["id"].(string)}, nil
}

func carrier(s *shelf, w *world) *Carrier {
	return &Carrier{
		Reader:   &Reader{Plans: s, Source: w, Mapper: w, Runs: s},
		Writer:   &Writer{Plans: s, Target: w, Effects: s, Runs: s},
		Batches:  s,
		Outcomes: s,
	}
}

// carried runs the activity and fails the test when it fails.
func carried(t *testing.T, s *shelf, w *world) contract.CarryResult {
	t.Helper()
	env := (&testsuite.WorkflowTestSuite{}).NewTestActivityEnvironment()
	contract.Carry.Register(env, carrier(s, w).Carry)
	value, err := env.ExecuteActivity("instant.carry.v1", contract.Batch{BatchID: "b"})
	require.NoError(t, err)
	var result contract.CarryResult
	require.NoError(t, value.Get(&result))
	return result
}

// loaded carries the shelf's items in ctx, without the clockwork of an activity.
func loaded(ctx context.Context, s *shelf, w *world) contract.CarryResult {
	l := &load{Carrier: carrier(s, w), batchID: "b", plan: written, cancels: map[string]context.CancelCauseFunc{}}
	return l.all(ctx, s.items)
}

func unanswered(ctx context.Context) error {
	<-ctx.Done()
	return fault.New(fault.Unavailable, "vendor.timeout", "no answer", ctx.Err())
}

func TestWhatGoesWrongWithOneItemLeavesTheBatchAndDelaysNobody(t *testing.T) {
	t.Parallel()
	ids := []string{"hangs", "missing", "throttled", "panics", "cancelled", "denied", "refused", "unset", "settles", "doubtful", "rejected"}
	for i := range 40 {
		ids = append(ids, fmt.Sprintf("fine-%d", i))
	}
	s, w := newShelf(ids...), newWorld()
	w.read = func(ctx context.Context, id string) error {
		switch id {
		case "hangs":
			return unanswered(ctx)
		case "cancelled":
			s.seal(id)
			return unanswered(ctx)
		case "missing":
			return fault.NotFoundf("source.not_found", "no such product")
		case "denied":
			return fault.New(fault.Unauthorized, "vendor.denied", "wrong credentials", nil)
		case "panics":
			panic("a row of data")
		}
		return nil
	}
	w.write = func(ctx context.Context, id string) (row, whole error) {
		switch id {
		case "throttled":
			return nil, fault.New(fault.Throttled, "crm.throttled", "slower", nil) // names no time: the others go on
		case "refused":
			return fault.New(fault.Rejected, "crm.too_long", "too long", nil), nil
		case "unset":
			return nil, fault.New(fault.Unauthorized, "crm.denied", "wrong credentials", nil)
		case "rejected":
			return nil, fault.New(fault.Rejected, "crm.no_table", "no such table", nil)
		case "settles", "doubtful":
			<-ctx.Done()
			return nil, fault.New(fault.InDoubt, "crm.answer_lost", "the answer was lost", ctx.Err())
		}
		return nil, nil
	}
	w.held = func(id string) bool { return id == "settles" }
	result := carried(t, s, w)

	want := map[string]string{"hangs": "back", "missing": "failed", "throttled": "back", "panics": "failed", "cancelled": "cancelled", "denied": "failed",
		"refused": "failed", "unset": "back", "settles": "completed", "doubtful": "back", "rejected": "failed"}
	for _, id := range ids {
		if strings.HasPrefix(id, "fine") {
			want[id] = "completed"
		}
	}
	require.Equal(t, want, s.ways)
	require.Equal(t, contract.CarryResult{Done: 42, Failed: 5, Later: 1, Open: 3}, result)
	require.Equal(t, 1, s.settled)
	require.Equal(t, "item.panic", s.faults["panics"].Code)
	require.Equal(t, fault.Throttled, s.faults["throttled"].Class, "no try is counted")
	require.Zero(t, s.faults["unset"].After, "a connection that is not set up right: the item comes again alone, and parks there")
	slow := slices.IndexFunc(s.order, func(id string) bool { return id == "cancelled" || id == "hangs" || id == "settles" || id == "doubtful" })
	require.GreaterOrEqual(t, slow, len(ids)-4, "everybody else had left before")
	require.Equal(t, 1, w.writes["doubtful"], "what may have been written is not sent again here")
}

func TestAConnectionThatAsksForSilenceIsAskedOnce(t *testing.T) {
	t.Parallel()
	s, w := newShelf("first", "second", "third"), newWorld()
	quiet := make(chan struct{})
	w.read = func(_ context.Context, id string) error {
		if id != "first" {
			<-quiet
		}
		return nil
	}
	w.write = func(context.Context, string) (row, whole error) {
		return nil, fault.ThrottledFor(time.Minute, "crm.throttled", "slower", nil)
	}
	go func() { <-s.left; close(quiet) }()
	result := carried(t, s, w)
	require.Equal(t, contract.CarryResult{Later: 3}, result)
	require.Equal(t, map[string]int{"first": 1}, w.writes)
	require.InDelta(t, time.Minute, s.faults["third"].After, float64(10*time.Second), "what is left of the silence")
}

func TestAnItemThatWasAnsweredBeforeIsOnlyWritten(t *testing.T) {
	t.Parallel()
	s, w := newShelf("a"), newWorld()
	s.items[0].Answer = &flow.Result{Rows: []flow.Row{{"id": "a"}}, Count: 1}
	require.Equal(t, contract.CarryResult{Done: 1}, carried(t, s, w))
	require.Empty(t, w.reads)
	require.Equal(t, map[string]int{"a": 1}, w.writes)
}

func TestAnItemWhoseCancelWasAskedBeforeTouchesNothing(t *testing.T) {
	t.Parallel()
	s, w := newShelf("a", "b"), newWorld()
	s.items[0].Sealed = true
	require.Equal(t, contract.CarryResult{Done: 2}, carried(t, s, w))
	require.Equal(t, map[string]int{"b": 1}, w.reads)
	require.Equal(t, map[string]string{"a": "cancelled", "b": "completed"}, s.ways)
}

func TestAnItemWhoseTimeIsOverFailsForItsDeadline(t *testing.T) {
	t.Parallel()
	s, w := newShelf("over", "soon", "fine"), newWorld()
	s.items[0].DeadlineAt = time.Now().Add(-time.Second)
	s.items[1].DeadlineAt = time.Now().Add(time.Second)
	w.read = func(ctx context.Context, id string) error {
		if id == "soon" {
			return unanswered(ctx)
		}
		return nil
	}
	require.Equal(t, contract.CarryResult{Done: 1, Failed: 2}, carried(t, s, w))
	require.Equal(t, flow.DeadlineCode, s.faults["over"].Code)
	require.Equal(t, flow.DeadlineCode, s.faults["soon"].Code)
	require.Zero(t, w.reads["over"])
}

func TestWhatCannotBeRecordedIsLeftForRelease(t *testing.T) {
	t.Parallel()
	s, w := newShelf("a", "b"), newWorld()
	s.away = true
	require.Equal(t, contract.CarryResult{Left: 2}, carried(t, s, w))
	require.Zero(t, s.settled, "a batch that carries something is not settled")
}

func TestABatchWhoseRunsHaveEndedHasNothingToDo(t *testing.T) {
	t.Parallel()
	s := newShelf()
	env := (&testsuite.WorkflowTestSuite{}).NewTestActivityEnvironment()
	a := carrier(s, newWorld())
	a.Batches = gone{s}
	contract.Carry.Register(env, a.Carry)
	value, err := env.ExecuteActivity("instant.carry.v1", contract.Batch{BatchID: "b"})
	require.NoError(t, err)
	var result contract.CarryResult
	require.NoError(t, value.Get(&result))
	require.Zero(t, result)
}

type gone struct{ *shelf }

func (gone) Take(context.Context, string, string) ([]run.Item, error) {
	return nil, fault.New(fault.Conflict, "run.closed", "the run has ended", nil)
}

func TestTemporalsCancelEndsEveryItemAndHearsOutWhatWasSent(t *testing.T) {
	t.Parallel()
	s, w := newShelf("sent", "reading"), newWorld()
	ctx, cancel := context.WithCancelCause(t.Context())
	reading, sending := make(chan struct{}), make(chan struct{})
	w.read = func(ctx context.Context, id string) error {
		if id == "reading" {
			close(reading)
			return unanswered(ctx)
		}
		return nil
	}
	w.write = func(context.Context, string) (row, whole error) {
		close(sending)
		<-s.left // until the other has ended
		return nil, nil
	}
	go func() { <-reading; <-sending; cancel(temporal.NewCanceledError()) }()
	require.Equal(t, contract.CarryResult{Done: 2}, loaded(ctx, s, w))
	require.Equal(t, map[string]string{"sent": "completed", "reading": "cancelled"}, s.ways)
}

func TestAWorkerThatStopsPutsItsItemsBackWithoutCountingATry(t *testing.T) {
	t.Parallel()
	s, w := newShelf("a"), newWorld()
	ctx, cancel := context.WithCancelCause(t.Context())
	w.read = func(ctx context.Context, _ string) error {
		cancel(worker.ErrWorkerShutdown)
		return unanswered(ctx)
	}
	require.Equal(t, contract.CarryResult{Later: 1}, loaded(ctx, s, w))
	require.Equal(t, fault.Throttled, s.faults["a"].Class)
}

func TestACallThatDoesNotEndWithItsTimeHoldsNoBatch(t *testing.T) {
	t.Parallel()
	s, w := newShelf("stubborn", "fine"), newWorld()
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	w.read = func(_ context.Context, id string) error {
		if id == "stubborn" {
			<-release
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	require.Equal(t, contract.CarryResult{Done: 1, Open: 1}, loaded(ctx, s, w))
	require.Equal(t, "back", s.ways["stubborn"])
}

func TestABatchOutlivesAReportThatTemporalDidNotAnswer(t *testing.T) {
	t.Parallel()
	for cause, ends := range map[error]bool{
		errors.New("rpc error: unavailable"): false, temporal.NewCanceledError(): true, worker.ErrWorkerShutdown: true,
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			on, stop := steady(ctx)
			defer stop()
			cancel(cause)
			synctest.Wait()
			require.Equal(t, ends, on.Err() != nil, "%v", cause)
			require.Equal(t, ends, errors.Is(context.Cause(on), cause))
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	on, stop := steady(ctx)
	defer stop()
	<-on.Done()
	require.ErrorIs(t, on.Err(), context.DeadlineExceeded, "but not the time of the attempt")
}
