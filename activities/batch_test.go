package activities_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"patchbay/activities"
	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/run"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
)

// bundle is the activities over a real book and two systems that a test decides.
type bundle struct {
	testing.TB
	store *store.Store
	book  *run.Book
	plans *run.Plans
	set   activities.Set
	plan  *flow.Plan

	mu     sync.Mutex
	held   map[string]flow.Row // what the target holds, by key
	writes map[string]int
	marks  []activities.Mark // of all writes that were asked for
	sight  activities.Sight  // what the target is like
	read   func(ctx context.Context, id string) error
	write  func(ctx context.Context, id string) error // before the row is held
	after  func(ctx context.Context, id string) error // once it is
}

func newBundle(t testing.TB, rows int) *bundle {
	t.Helper()
	s := storetest.New(t)
	plans := run.NewPlans(s)
	b := &bundle{TB: t, store: s, book: run.NewBook(s, plans, run.Options{}), held: map[string]flow.Row{}, writes: map[string]int{}, sight: activities.Sight{Conditional: true},
		plan: &flow.Plan{
			Flow: "specs", Pattern: flow.Instant, Summary: "Specifications of a product", Respond: flow.AfterRead,
			Params: []flow.Param{{Name: "id", Type: flow.String}},
			Read:   &flow.Read{Connection: "plm", Table: "items"},
			Write:  &flow.Write{Connection: "crm", Table: "specs", Key: []string{"id", "n"}},
			Limits: flow.Limits{Timeout: 30 * time.Second, Rows: rows, Queue: 10_000},
		}}
	b.plans = plans
	b.apply()
	b.set = activities.NewSet(plans, b, b, b.book)
	return b
}

func (b *bundle) apply() {
	b.Helper()
	_, err := b.plans.Apply(b.Context(), []*flow.Plan{b.plan}, nil, "test")
	require.NoError(b, err)
}

// accept has the author accept that a row may be written twice.
func (b *bundle) accept() {
	b.Helper()
	b.plan.Write.Repeat = true
	b.apply()
}

func (b *bundle) Rows(ctx context.Context, plan *flow.Plan, params flow.Row) ([]flow.Row, error) {
	id := params["id"].(string)
	if b.read != nil {
		if err := b.read(ctx, id); err != nil {
			return nil, err
		}
	}
	rows := make([]flow.Row, plan.Limits.Rows)
	for i := range rows {
		rows[i] = flow.Row{"id": id, "n": json.Number(fmt.Sprint(i)), "value": "1.50"}
	}
	return rows, nil
}

func (b *bundle) Map(_ *flow.Plan, _ flow.Row, rows []flow.Row) ([]flow.Row, error) { return rows, nil }

func (b *bundle) Upsert(ctx context.Context, _ *flow.Plan, call activities.Call) ([]error, error) {
	rows, marks := call.Rows, call.Marks
	id := rows[0]["id"].(string)
	b.mu.Lock()
	b.marks = append(b.marks, marks...)
	b.mu.Unlock()
	if b.write != nil {
		if err := b.write(ctx, id); err != nil {
			return nil, err
		}
	}
	b.mu.Lock()
	b.writes[id]++
	for _, row := range rows {
		b.held[place(row)] = row
	}
	b.mu.Unlock()
	if b.after != nil {
		if err := b.after(ctx, id); err != nil {
			return nil, err
		}
	}
	return make([]error, len(rows)), nil
}

func (b *bundle) ReadBack(_ context.Context, _ *flow.Plan, rows []flow.Row, _ []activities.Mark) (activities.Sight, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	sight := b.sight
	if sight.Applied != nil {
		return sight, nil
	}
	sight.Rows = make([]flow.Row, len(rows))
	for i, row := range rows {
		sight.Rows[i] = b.held[place(row)]
	}
	return sight, nil
}

func (b *bundle) FoldKeys(_ context.Context, _ *flow.Plan, rows []flow.Row) ([]string, error) {
	folded := make([]string, len(rows))
	for i, row := range rows {
		folded[i] = place(row)
	}
	return folded, nil
}

func place(row flow.Row) string { return fmt.Sprint(row["id"], " ", row["n"]) }

// press accepts one press for each ID and gives the run_ids by ID.
func (b *bundle) press(ids ...string) map[string]string {
	b.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	runs := map[string]string{}
	for _, id := range ids {
		all.Go(func() {
			accepted, _, err := b.book.Accept(b.Context(), flow.Press{Flow: "specs", Principal: "dev", Params: map[string]any{"id": id}})
			if err != nil {
				b.Error(err)
			}
			mu.Lock()
			runs[id] = accepted.RunID
			mu.Unlock()
		})
	}
	all.Wait()
	return runs
}

// queue presses while three of the four batches that a flow may have are under way
// and stay so: what is claimed then is one batch.
func (b *bundle) queue(ids ...string) map[string]string {
	b.Helper()
	for i := range 4 {
		b.press(fmt.Sprintf("before-%d", i))
	}
	b.exec(`update batch set claimed_at = now() + interval '1 hour'`)
	runs := b.press(ids...)
	b.exec(`update batch set claimed_at = now() - interval '1 hour' where batch_id = (select min(batch_id) from batch)`)
	return runs
}

func (b *bundle) exec(sql string) {
	b.Helper()
	_, err := b.store.Pool().Exec(b.Context(), sql)
	require.NoError(b, err)
}

// claim gives the one batch of what waits.
func (b *bundle) claim() run.Start {
	b.Helper()
	starts, err := b.book.Claim(b.Context())
	require.NoError(b, err)
	require.Len(b, starts, 1)
	return starts[0]
}

func batchOf(start run.Start) contract.Batch {
	return contract.Batch{BatchID: start.BatchID, Flow: start.Flow, Digest: start.Digest}
}

func (b *bundle) carry(start contract.Batch) contract.CarryResult {
	b.Helper()
	env := (&testsuite.WorkflowTestSuite{}).NewTestActivityEnvironment()
	contract.Carry.Register(env, b.set.Carrier.Carry)
	value, err := env.ExecuteActivity("instant.carry.v1", start)
	require.NoError(b, err)
	var result contract.CarryResult
	require.NoError(b, value.Get(&result))
	return result
}

func (b *bundle) get(runID string) flow.Run {
	b.Helper()
	r, err := b.book.Get(b.Context(), runID)
	require.NoError(b, err)
	return r
}

func TestABatchInTheRealBook(t *testing.T) {
	t.Parallel()
	b := newBundle(t, 3)
	ids := []string{"hangs", "missing", "throttled", "panics", "cancelled", "doubtful"}
	for i := range 20 {
		ids = append(ids, fmt.Sprintf("fine-%d", i))
	}
	runs := b.queue(ids...)
	cancelled := make(chan struct{})
	var begun sync.WaitGroup // the reads of all but the throttled one, which would put those back that have not begun
	begun.Add(len(ids) - 1)
	b.read = func(ctx context.Context, id string) error {
		if id != "throttled" {
			begun.Done()
		}
		switch id {
		case "hangs":
			<-ctx.Done()
			return fault.New(fault.Unavailable, "plm.timeout", "plm did not answer", ctx.Err())
		case "missing":
			return fault.NotFoundf("source.not_found", "no such product")
		case "throttled":
			begun.Wait()
			return fault.ThrottledFor(time.Hour, "plm.throttled", "slower", nil)
		case "panics":
			panic("a row")
		case "cancelled":
			close(cancelled)
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	b.after = func(_ context.Context, id string) error {
		if id == "doubtful" {
			return fault.New(fault.InDoubt, "crm.answer_lost", "the answer was lost", nil)
		}
		return nil
	}
	go func() {
		<-cancelled
		_, err := b.book.Seal(t.Context(), runs["cancelled"], "dev")
		if err != nil {
			t.Error(err)
		}
	}()
	start := b.claim()
	require.Equal(t, len(ids), start.Size)
	require.Equal(t, contract.CarryResult{Done: 22, Failed: 2, Later: 1, Open: 1}, b.carry(batchOf(start)))
	for id, runID := range runs {
		r := b.get(runID)
		switch {
		case strings.HasPrefix(id, "fine"), id == "doubtful":
			require.Equal(t, flow.Completed, r.Status, id)
			require.Len(t, r.Effects, 3, id)
			require.NotNil(t, r.Result, id)
		case id == "missing":
			require.Equal(t, "source.not_found", r.Problem.Code)
		case id == "panics":
			require.Equal(t, "item.panic", r.Problem.Code)
		case id == "cancelled":
			require.Equal(t, flow.Cancelled, r.Status)
		default:
			require.False(t, r.Status.Final(), id)
			require.NotEmpty(t, r.Waiting, id)
		}
	}
	require.Equal(t, 1, b.writes["doubtful"], "read back, not written again")
	require.Equal(t, []string{runs["hangs"]}, b.claim().RunIDs, "the one that hung comes again, the throttled one in its time")
}

func TestAWriteWithoutAnAnswerIsReadBackByTheNextBatch(t *testing.T) {
	t.Parallel()
	b := newBundle(t, 2)
	runs := b.queue("a", "b")
	hidden := true // the target has it and does not show it yet
	lost := fault.New(fault.InDoubt, "crm.answer_lost", "the answer was lost", nil)
	b.write = func(_ context.Context, id string) error {
		if id == "a" && hidden {
			b.mu.Lock()
			b.writes[id]++
			b.mu.Unlock()
			return lost
		}
		return nil
	}
	b.carry(batchOf(b.claim()))
	require.False(t, b.get(runs["a"]).Status.Final())
	require.Equal(t, flow.Completed, b.get(runs["b"]).Status)
	hidden = false
	for i := range 2 {
		row := flow.Row{"id": "a", "n": json.Number(fmt.Sprint(i)), "value": "1.50"}
		b.held[place(row)] = row
	}
	b.carry(batchOf(b.claim()))
	require.Equal(t, flow.Completed, b.get(runs["a"]).Status)
	require.Equal(t, 1, b.writes["a"], "it took effect once")
}

func TestAZombieOfABatchThatWasReleasedWritesNothing(t *testing.T) {
	t.Parallel()
	b := newBundle(t, 2)
	runs := b.queue("a", "b")
	reading, on := make(chan struct{}, 4), make(chan struct{})
	b.read = func(context.Context, string) error {
		reading <- struct{}{}
		<-on
		return nil
	}
	start := b.claim()
	carried := make(chan contract.CarryResult)
	go func() { carried <- b.carry(batchOf(start)) }()
	<-reading
	<-reading
	released, err := b.set.Releaser.Release(t.Context(), contract.ReleaseInput{Batch: contract.Batch{BatchID: start.BatchID}})
	require.NoError(t, err)
	require.Equal(t, 2, released.Open)
	close(on)
	require.Equal(t, contract.CarryResult{Open: 2}, <-carried, "what it learned is nobody's business any more")
	require.Empty(t, b.writes)
	b.read = nil
	b.carry(batchOf(b.claim()))
	for id, runID := range runs {
		require.Equal(t, flow.Completed, b.get(runID).Status, id)
		require.Equal(t, 1, b.writes[id])
	}
}

// Items of a batch from claim to outcome, with systems that answer at once: what
// the book and the activity cost. Four batches at a time, twelve rows an item.
func BenchmarkCarry(bench *testing.B) {
	b := newBundle(bench, 12)
	const many = 64 * 4
	items := 0
	for round := 0; bench.Loop(); round++ {
		ids := make([]string, many)
		for i := range ids {
			ids[i] = fmt.Sprintf("p-%d-%d", round, i)
		}
		bench.StopTimer()
		b.press(ids...)
		b.exec(`update batch set claimed_at = now() - interval '1 hour'`) // those that claimed themselves
		bench.StartTimer()
		for {
			starts, err := b.book.Claim(b.Context())
			require.NoError(b, err)
			if len(starts) == 0 {
				break
			}
			var all sync.WaitGroup
			for _, s := range starts {
				items += s.Size
				all.Go(func() { b.carry(batchOf(s)) })
			}
			all.Wait()
		}
	}
	bench.ReportMetric(float64(items)/bench.Elapsed().Seconds(), "items/s")
}
