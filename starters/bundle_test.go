package starters_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/durationpb"

	"patchbay/activities"
	"patchbay/internal/devenv/testenv"
	"patchbay/internal/durable"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/ledger"
	"patchbay/internal/run"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
	"patchbay/starters"
	"patchbay/workers"
)

// bundle is everything between a press and two outside systems, real but for
// those systems: a database and a Temporal namespace of its own, trigger, relay,
// control and worker.
type bundle struct {
	*testing.T
	db       *store.Store
	plans    *run.Plans
	book     *run.Book
	temporal client.Client
	trigger  *starters.Trigger
	relay    *starters.Relay
	control  *starters.Control
	outside  *outside
}

// outside is the two systems: what Oracle answers, what Dataverse holds and how
// often it was written. Each hook may block or fail a call.
type outside struct {
	mu       sync.Mutex
	reads    int
	writes   int
	held     map[string]flow.Row
	onRead   func(ctx context.Context, n int) error
	onWrite  func(ctx context.Context, n int) error // before the rows are held
	afterPut func(ctx context.Context, n int) error // once they are
}

func (o *outside) Rows(ctx context.Context, _ *flow.Plan, params flow.Row) ([]flow.Row, error) {
	o.mu.Lock()
	o.reads++
	n, hook := o.reads, o.onRead
	o.mu.Unlock()
	if hook != nil {
		if err := hook(ctx, n); err != nil {
			return nil, err
		}
	}
	return []flow.Row{{"product": params["product_id"], "attribute": "Weight", "value": json.Number("1.50")},
		{"product": params["product_id"], "attribute": "Display", "value": json.Number("14")}}, nil
}

func (o *outside) Map(_ *flow.Plan, _ flow.Row, rows []flow.Row) ([]flow.Row, error) {
	return rows, nil
}

func (o *outside) Upsert(ctx context.Context, plan *flow.Plan, rows []flow.Row) ([]error, error) {
	o.mu.Lock()
	o.writes++
	n, before, after := o.writes, o.onWrite, o.afterPut
	o.mu.Unlock()
	if before != nil {
		if err := before(ctx, n); err != nil {
			return nil, err
		}
	}
	o.mu.Lock()
	for _, row := range rows {
		o.held[key(plan, row)] = row
	}
	o.mu.Unlock()
	if after != nil {
		if err := after(ctx, n); err != nil {
			return nil, err
		}
	}
	return make([]error, len(rows)), nil
}

func (o *outside) ReadBack(_ context.Context, plan *flow.Plan, rows []flow.Row) ([]flow.Row, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	found := make([]flow.Row, len(rows))
	for i, row := range rows {
		found[i] = o.held[key(plan, row)]
	}
	return found, nil
}

func (o *outside) FoldKeys(_ context.Context, plan *flow.Plan, rows []flow.Row) ([]string, error) {
	folded := make([]string, len(rows))
	for i, row := range rows {
		folded[i] = key(plan, row)
	}
	return folded, nil
}

func (o *outside) counts() (reads, writes, held int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reads, o.writes, len(o.held)
}

func key(plan *flow.Plan, row flow.Row) string {
	var values []any
	for _, k := range plan.Write.Key {
		values = append(values, row[k])
	}
	b, _ := json.Marshal(values)
	return string(b)
}

// plan is a flow with one parameter that reads, answers and writes.
func plan() *flow.Plan {
	return &flow.Plan{
		Flow: "specs", Pattern: flow.Instant, Summary: "Specifications of a product",
		Params:  []flow.Param{{Name: "product_id", Type: flow.String}},
		Read:    &flow.Read{Connection: "plm", Table: "items"},
		Write:   &flow.Write{Connection: "crm", Table: "specs", Key: []string{"product", "attribute"}},
		Respond: flow.AfterRead,
		Limits:  flow.Limits{Timeout: 20 * time.Second, Rows: 100, Queue: 1000},
	}
}

// newBundle runs everything but the worker and the relay, see work and relayOn.
func newBundle(t *testing.T, address string, p *flow.Plan) *bundle {
	t.Helper()
	db := storetest.New(t)
	b := &bundle{T: t, db: db, plans: run.NewPlans(db), outside: &outside{held: map[string]flow.Row{}}}
	b.book = run.NewBook(db, b.plans, run.Options{Lease: time.Second})
	_, err := b.plans.Apply(t.Context(), []*flow.Plan{p}, nil, "test")
	require.NoError(t, err)
	b.temporal, err = durable.Dial(t.Context(), durable.Options{Address: address, Namespace: namespace(t, address)})
	require.NoError(t, err)
	t.Cleanup(b.temporal.Close)
	b.trigger = starters.NewTrigger(b.book, b.temporal, current, zap.NewNop())
	t.Cleanup(b.trigger.Close)
	b.relay = starters.NewRelay(b.book, b.temporal, current, zap.NewNop())
	b.trigger.Wake = b.relay.Wake
	b.control = starters.NewControl(b.book, b.temporal)
	b.background(b.book.Run)

	w := workers.New(b.temporal, activities.Set{
		Reader: &activities.Reader{Plans: b.plans, Source: b.outside, Mapper: b.outside, Runs: b.book},
		Writer: &activities.Writer{Plans: b.plans, Target: b.outside, Effects: ledger.New(db), Runs: b.book},
		Closer: &activities.Closer{Runs: b.book},
	}, zap.NewNop())
	b.background(w.Run)
	require.NoError(t, workers.Promote(t.Context(), b.temporal))
	return b
}

// current: the bundle's only worker is promoted before anything is pressed.
func current() bool { return true }

// namespace makes a namespace of the test's own, since task queue and deployment
// have one name in every Patchbay.
func namespace(t *testing.T, address string) string {
	t.Helper()
	name := "test-" + strings.ToLower(rand.Text())
	c, err := client.NewLazyClient(client.Options{HostPort: address, Logger: durable.NewLogger(zap.NewNop())})
	require.NoError(t, err)
	defer c.Close()
	_, err = c.WorkflowService().RegisterNamespace(t.Context(), &workflowservice.RegisterNamespaceRequest{
		Namespace: name, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour)})
	require.NoError(t, err)
	require.NoError(t, durable.RegisterSearchAttributes(t.Context(), c, name))
	return name
}

// background runs f until the test ends and waits for it.
func (b *bundle) background(f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = f(ctx) }()
	b.Cleanup(func() { cancel(); <-done })
}

func (b *bundle) press(product, key string) flow.Run {
	b.Helper()
	r, err := b.trigger.Press(b.Context(), flow.Press{Flow: "specs", Principal: "test", Key: key, Params: map[string]any{"product_id": product}})
	require.NoError(b, err)
	return r
}

// until waits until ok says so of the run.
func (b *bundle) until(id string, ok func(flow.Run) bool) flow.Run {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 40*time.Second)
	defer cancel()
	changed, stop := b.book.Watch(ctx, id)
	defer stop()
	for {
		r, err := b.book.Get(ctx, id)
		require.NoError(b, err)
		if ok(r) {
			return r
		}
		select {
		case <-changed:
		case <-ctx.Done():
			b.Fatalf("run %s stays %s, waiting for %q", id, r.Status, r.Waiting)
		}
	}
}

func final(r flow.Run) bool    { return r.Status.Final() }
func answered(r flow.Run) bool { return r.AnsweredAt != nil }

var errAway = fault.New(fault.Unavailable, "crm.unavailable", "the service is unavailable", nil)

func temporalAddress(t *testing.T) string {
	t.Helper()
	address, _ := testenv.Temporal(t)
	return address
}
