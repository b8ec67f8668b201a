package activities_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"patchbay/activities"
	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/run"
	"patchbay/internal/stage"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
)

// reading is one source that a test decides, read into a real stage.
type reading struct {
	testing.TB
	store   *store.Store
	book    *run.Book
	stage   *stage.Stage
	plan    *flow.Plan
	extract *activities.Extractor
	batch   contract.Batch
	runID   string

	pages    map[string]page // by token
	asked    []string        // tokens
	selected []string
	columns  []string // what the system says it has; nil: nothing
}

// page is what a source answers: a sheet of ids, or a failure.
type page struct {
	ids  []string
	next string
	err  error
}

func newReading(t testing.TB, params map[string]any, change ...func(*flow.Source)) *reading {
	t.Helper()
	s := storetest.New(t)
	plans := run.NewPlans(s)
	r := &reading{TB: t, store: s, book: run.NewBook(s, plans, run.Options{}), stage: stage.New(s), pages: map[string]page{}, plan: &flow.Plan{
		Flow: "picture", Pattern: flow.Consolidation, Summary: "A picture", Respond: flow.AfterWrite,
		Params: []flow.Param{{Name: flow.ParamFull, Type: flow.Bool, Optional: true}, {Name: flow.ParamAccept, Type: flow.Bool, Optional: true}},
		Gather: &flow.Gather{Sources: []flow.Source{{Name: "customers", Connection: "erp", Table: "t", Select: []string{"id"}, Types: []flow.Type{flow.String},
			Key: "row.id", Identity: []string{"id"}, OnMissing: flow.Hold, Lost: flow.DriftStop, Gained: flow.DriftIgnore}}},
		Map:    []flow.Column{{Name: "id", Expr: "key"}},
		Write:  &flow.Write{Connection: "crm", Table: "p", Key: []string{"id"}},
		Limits: flow.Limits{Timeout: time.Hour, Queue: 10},
	}}
	for _, c := range change {
		c(&r.plan.Gather.Sources[0])
	}
	_, err := plans.Apply(t.Context(), []*flow.Plan{r.plan}, nil, "test")
	require.NoError(t, err)
	r.extract = &activities.Extractor{Plans: plans, Runs: r.book, Sheets: r, Staging: r.stage, Patience: time.Hour}
	accepted, start, err := r.book.Accept(t.Context(), flow.Press{Flow: "picture", Principal: "dev", Params: params})
	require.NoError(t, err)
	r.batch, r.runID = contract.Batch{BatchID: start.BatchID, Flow: "picture", Digest: start.Digest}, accepted.RunID
	return r
}

func (r *reading) ExtractPage(_ context.Context, _ *flow.Plan, source flow.Source, _, token string) (flow.Sheet, error) {
	r.asked = append(r.asked, token)
	r.selected = source.Select
	p, ok := r.pages[token]
	if !ok {
		r.Errorf("a page that nobody was told of: %q", token)
	}
	sheet := flow.Sheet{Columns: []string{"id"}, Next: p.next, Bytes: 10}
	for _, id := range p.ids {
		cell, _ := json.Marshal(id)
		sheet.Cells = append(sheet.Cells, cell)
	}
	return sheet, p.err
}

func (r *reading) SourceColumns(context.Context, *flow.Plan, flow.Source) ([]string, error) {
	return r.columns, nil
}

// attempt executes the activity once.
func (r *reading) attempt() (contract.ExtractResult, error) {
	env := (&testsuite.WorkflowTestSuite{}).NewTestActivityEnvironment()
	contract.Extract.Register(env, func(ctx context.Context, in contract.ExtractInput) (contract.ExtractResult, error) {
		out, err := r.extract.Extract(ctx, in)
		return out, contract.ToTemporal(err)
	})
	value, err := env.ExecuteActivity("consolidation.extract.v1", contract.ExtractInput{Batch: r.batch, Source: "customers"})
	if err != nil {
		return contract.ExtractResult{}, contract.FromTemporal(err)
	}
	var out contract.ExtractResult
	require.NoError(r, value.Get(&out))
	return out, nil
}

func (r *reading) staged() int64 {
	states, err := r.stage.Sources(r.Context(), "picture")
	require.NoError(r, err)
	require.Len(r, states, 1)
	return states[0].Rows
}

var down = fault.New(fault.Unavailable, "erp.unavailable", "the system does not answer", nil)

func TestASourceIsReadPageByPageOverAttempts(t *testing.T) {
	t.Parallel()
	r := newReading(t, nil)
	r.pages = map[string]page{"": {ids: []string{"1", "2"}, next: "b"}, "b": {err: down}}
	_, err := r.attempt()
	require.Equal(t, "erp.unavailable", fault.Of(err).Code)
	require.True(t, fault.Of(err).Retryable())
	r.pages["b"] = page{ids: []string{"3"}, next: "c"}
	r.pages["c"] = page{}
	got, err := r.attempt()
	require.NoError(t, err)
	require.Equal(t, contract.ExtractResult{Source: "customers", State: flow.Fresh, Rows: 3, Pages: 3}, got)
	require.Equal(t, []string{"", "b", "b", "c"}, r.asked, "no page is read twice that was kept")
	again, err := r.attempt()
	require.NoError(t, err)
	require.Equal(t, got, again)
	require.Len(t, r.asked, 4)
	require.Equal(t, int64(3), r.staged())
}

func TestASourceThatStaysAwayIsMissing(t *testing.T) {
	t.Parallel()
	r := newReading(t, nil)
	r.extract.Patience = 0
	r.pages[""] = page{err: down}
	got, err := r.attempt()
	require.NoError(t, err)
	require.Equal(t, flow.Missing, got.State)
	require.Equal(t, "erp.unavailable", got.Fault.Code)
	again, err := r.attempt()
	require.NoError(t, err)
	require.Equal(t, got.Fault.Code, again.Fault.Code)
	require.Len(t, r.asked, 1, "it is not asked again")
}

func TestARefusalOfASourceIsFinal(t *testing.T) {
	t.Parallel()
	r := newReading(t, nil)
	r.pages[""] = page{err: fault.New(fault.Unauthorized, "erp.unauthorized", "the credentials are wrong", nil)}
	got, err := r.attempt()
	require.NoError(t, err)
	require.Equal(t, flow.Missing, got.State)
	require.Equal(t, "erp.unauthorized", got.Fault.Code)
}

// A server that repeats a token would be read for ever; one whose page breaks off is
// not at its end.
func TestASourceThatGoesInCirclesOrBreaksOffIsNoEnd(t *testing.T) {
	t.Parallel()
	r := newReading(t, nil)
	r.pages = map[string]page{"": {ids: []string{"1"}, next: "b"}, "b": {ids: []string{"2"}, next: "c"}, "c": {ids: []string{"3"}, next: "b"}}
	_, err := r.attempt()
	require.Equal(t, stage.CodePageLoop, fault.Of(err).Code)
	r.extract.Patience = 0
	got, err := r.attempt()
	require.NoError(t, err)
	require.Equal(t, stage.CodePageLoop, got.Fault.Code)
	require.Equal(t, flow.Missing, got.State)
	require.Equal(t, int64(2), got.Rows)
}

func TestASourceWhoseCursorExpiredIsReadAnew(t *testing.T) {
	t.Parallel()
	r := newReading(t, nil)
	r.pages = map[string]page{"": {ids: []string{"1", "2"}, next: "b"}, "b": {err: fault.New(fault.Conflict, "connector.cursor_expired", "the cursor is too old", nil)}}
	_, err := r.attempt()
	require.True(t, fault.Of(err).Retryable())
	r.pages = map[string]page{"": {ids: []string{"1", "2", "3"}}}
	got, err := r.attempt()
	require.NoError(t, err)
	require.Equal(t, int64(3), got.Rows)
}

func TestASourceThatLostAColumnCountsAsDown(t *testing.T) {
	t.Parallel()
	r := newReading(t, nil)
	r.columns = []string{"number"}
	got, err := r.attempt()
	require.NoError(t, err)
	require.Equal(t, stage.CodeLost, got.Fault.Code)
	require.Empty(t, r.asked)
}

func TestALostColumnThatDoesNotMatterIsNotAskedFor(t *testing.T) {
	t.Parallel()
	r := newReading(t, nil, func(s *flow.Source) {
		s.Select, s.Types, s.Lost = []string{"id", "more"}, []flow.Type{flow.String, flow.Any}, flow.DriftIgnore
	})
	r.columns = []string{"id", "unknown"}
	r.pages[""] = page{ids: []string{"1"}}
	got, err := r.attempt()
	require.NoError(t, err)
	require.Equal(t, int64(1), got.Rows)
	require.Equal(t, []string{"id"}, r.selected)
}

func TestFiguresThatAreHeldWereReadAllTheSame(t *testing.T) {
	t.Parallel()
	r := newReading(t, nil)
	r.pages[""] = page{}
	got, err := r.attempt()
	require.NoError(t, err)
	require.Equal(t, flow.Fresh, got.State)
	require.Equal(t, stage.CodeZero, got.Fault.Code)
}

func TestAPersonWhoAcceptsTheFiguresIsHeard(t *testing.T) {
	t.Parallel()
	r := newReading(t, map[string]any{flow.ParamAccept: true})
	r.pages[""] = page{}
	got, err := r.attempt()
	require.NoError(t, err)
	require.Nil(t, got.Fault)
	require.Zero(t, r.staged())
}
