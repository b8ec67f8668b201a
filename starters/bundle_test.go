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
	db        *store.Store
	plans     *run.Plans
	namespace string
	book      *run.Book
	temporal  client.Client
	trigger   *starters.Trigger
	relay     *starters.Relay
	control   *starters.Control
	outside   *outside
	holding   chan struct{} // ticks when a read begins that is held, see held
}

// outside is the two systems: what Oracle answers, what Dataverse holds and how
// often it was written. Each hook may block or fail a call.
type outside struct {
	mu       sync.Mutex
	reads    int
	writes   int
	held     map[string]flow.Row
	puts     map[string]int                  // writes of each row, by key
	products map[string]int                  // reads of each product
	rows     func(product string) []flow.Row // what a read gives; nil: two rows
	onRead   func(ctx context.Context, n int) error
	of       map[string]func(ctx context.Context) error // hooks on the reads of one product
	onWrite  func(ctx context.Context, n int) error     // before the rows are held
	afterPut func(ctx context.Context, n int) error     // once they are
}

func newOutside() *outside {
	return &outside{held: map[string]flow.Row{}, puts: map[string]int{}, products: map[string]int{}, of: map[string]func(context.Context) error{}}
}

// on has every read of a product do as the hook says.
func (o *outside) on(product string, hook func(ctx context.Context) error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.of[product] = hook
}

func (o *outside) Rows(ctx context.Context, _ *flow.Plan, params flow.Row) ([]flow.Row, error) {
	product, _ := params["product_id"].(string)
	o.mu.Lock()
	o.reads++
	o.products[product]++
	n, hook, of, rows := o.reads, o.onRead, o.of[product], o.rows
	o.mu.Unlock()
	if hook != nil {
		if err := hook(ctx, n); err != nil {
			return nil, err
		}
	}
	if of != nil {
		if err := of(ctx); err != nil {
			return nil, err
		}
	}
	if rows != nil {
		return rows(product), nil
	}
	return []flow.Row{{"product": params["product_id"], "attribute": "Weight", "value": json.Number("1.50")},
		{"product": params["product_id"], "attribute": "Display", "value": json.Number("14")}}, nil
}

func (o *outside) Map(_ *flow.Plan, _ flow.Row, rows []flow.Row) ([]flow.Row, error) {
	return rows, nil
}

func (o *outside) Upsert(ctx context.Context, plan *flow.Plan, call activities.Call) ([]error, error) {
	rows := call.Rows
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
		o.puts[key(plan, row)]++
	}
	o.mu.Unlock()
	if after != nil {
		if err := after(ctx, n); err != nil {
			return nil, err
		}
	}
	return make([]error, len(rows)), nil
}

func (o *outside) ReadBack(_ context.Context, plan *flow.Plan, rows []flow.Row, _ []activities.Mark) (activities.Sight, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	found := make([]flow.Row, len(rows))
	for i, row := range rows {
		found[i] = o.held[key(plan, row)]
	}
	return activities.Sight{Rows: found, Conditional: true}, nil
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

// written says how often the rows of a product were written, readOf how often they
// were asked for.
func (o *outside) written(product string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return max(o.puts[`["`+product+`","Weight"]`], o.puts[`["`+product+`","Display"]`])
}

func (o *outside) readOf(product string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.products[product]
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

// withoutWorker leaves the workers of a bundle to the test, see workThrough.
const withoutWorker = false

// newBundle runs everything but the relay.
func newBundle(t *testing.T, address string, p *flow.Plan, work ...bool) *bundle {
	t.Helper()
	db := storetest.New(t)
	b := &bundle{T: t, db: db, plans: run.NewPlans(db), outside: newOutside(), namespace: newNamespace(t, address)}
	b.book = b.newBook()
	_, err := b.plans.Apply(t.Context(), []*flow.Plan{p}, nil, "test")
	require.NoError(t, err)
	b.temporal = b.dial(address)
	b.trigger = starters.NewTrigger(b.book, b.temporal, current, zap.NewNop())
	t.Cleanup(b.trigger.Close)
	b.relay = starters.NewRelay(b.book, b.temporal, current, zap.NewNop())
	b.trigger.Wake = b.relay.Wake
	b.control = starters.NewControl(b.book, b.temporal)
	b.background(b.book.Run)
	if len(work) == 0 || work[0] {
		b.workWith(b.temporal, b.book)
	}
	return b
}

// newBook gives the book of a process of its own.
func (b *bundle) newBook() *run.Book {
	return run.NewBook(b.db, b.plans, run.Options{Lease: time.Second})
}

func (b *bundle) dial(address string) client.Client {
	b.Helper()
	c, err := durable.Dial(b.Context(), durable.Options{Address: address, Namespace: b.namespace})
	require.NoError(b, err)
	b.Cleanup(c.Close)
	return c
}

// workThrough runs a worker of a process of its own, which reaches Temporal by an
// address; stop ends it and waits for it.
func (b *bundle) workThrough(address string) (stop func()) {
	b.Helper()
	book := b.newBook()
	b.background(book.Run)
	return b.workWith(b.dial(address), book)
}

func (b *bundle) workWith(temporal client.Client, book *run.Book) (stop func()) {
	b.Helper()
	set := activities.NewSet(b.plans, b.outside, b.outside, book)
	set.Canary = &activities.Canary{Store: b.db}
	w := workers.New(temporal, set, zap.NewNop())
	stop = b.background(w.Run)
	require.NoError(b, workers.Promote(b.Context(), temporal))
	return stop
}

// current: the bundle's only worker is promoted before anything is pressed.
func current() bool { return true }

// newNamespace makes a namespace of the test's own, since task queue and deployment
// have one name in every Patchbay.
func newNamespace(t *testing.T, address string) string {
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

// background runs f until the test ends, or stop is called, and waits for it.
func (b *bundle) background(f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = f(ctx) }()
	stop = func() { cancel(); <-done }
	b.Cleanup(stop)
	return stop
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
