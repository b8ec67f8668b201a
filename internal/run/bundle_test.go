package run_test

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/journal"
	"patchbay/internal/ledger"
	"patchbay/internal/run"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
)

// bundle is a fresh database with one flow in force.
type bundle struct {
	*testing.T
	store   *store.Store
	plans   *run.Plans
	book    *run.Book
	journal *journal.Journal
	plan    *flow.Plan
	waiting sync.WaitGroup // callers of the test
}

func newBundle(t *testing.T, change ...func(*flow.Plan)) *bundle {
	t.Helper()
	return bundleOn(t, storetest.URL(t), change...)
}

// bundleOn is a bundle on a database that there is.
func bundleOn(t *testing.T, url string, change ...func(*flow.Plan)) *bundle {
	t.Helper()
	s := storetest.Open(t, url)
	plans := run.NewPlans(s)
	b := &bundle{
		T: t, store: s, plans: plans, journal: journal.New(s),
		book: run.NewBook(s, plans, run.Options{}), plan: specs(change...),
	}
	_, err := plans.Apply(t.Context(), []*flow.Plan{b.plan}, []flow.Connection{{Name: "plm", System: "oracle"}}, "test")
	require.NoError(t, err)
	return b
}

func specs(change ...func(*flow.Plan)) *flow.Plan {
	p := &flow.Plan{
		Flow: "product-specs", Pattern: flow.Instant, Summary: "Specifications of one product",
		Params: []flow.Param{
			{Name: "product_id", Type: flow.String, Pattern: "^[A-Z0-9-]{3,40}$"},
			{Name: "depth", Type: flow.Int, Default: int64(3), Optional: true},
		},
		Read:     &flow.Read{Connection: "plm", Table: "items"},
		Write:    &flow.Write{Connection: "crm", Table: "specification", Key: []string{"number"}},
		Respond:  flow.AfterRead,
		Limits:   flow.Limits{Timeout: 30 * time.Second, Queue: 100},
		Bindings: map[string]flow.Binding{"plm": {System: "oracle", Identity: "x"}},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

func press(key string) flow.Press {
	return flow.Press{Flow: "product-specs", Principal: "dev", Key: key, Params: map[string]any{"product_id": "AS54888"}}
}

// accept presses when nothing has been claimed lately, so that the press claims
// itself.
func (b *bundle) accept(key string) (flow.Run, run.Start) {
	b.Helper()
	b.exec(`update batch set claimed_at = claimed_at - interval '1 minute'`)
	r, s, err := b.book.Accept(b.Context(), press(key))
	require.NoError(b, err)
	return r, s
}

// busy lets the flow have four batches in flight for the rest of the test, so that
// presses wait.
func (b *bundle) busy() {
	b.Helper()
	b.exec(`insert into batch (batch_id, flow, pattern, digest, size, claimed_at, lease_until, relayed_at)
		select 'busy ' || n, $1, 'instant', $2, 1, now() + interval '1 day', now() + interval '1 day', now() from generate_series(1, 4) as n`,
		b.plan.Flow, b.plan.Digest())
}

func (b *bundle) begin(batchID, step string) run.Item {
	b.Helper()
	items, err := b.book.Take(b.Context(), batchID, step)
	require.NoError(b, err)
	require.Len(b, items, 1)
	return items[0]
}

func (b *bundle) get(runID string) flow.Run {
	b.Helper()
	r, err := b.book.Get(b.Context(), runID)
	require.NoError(b, err)
	return r
}

// attempt records two writes and gives the outcomes that confirm them.
func (b *bundle) attempt(item run.Item) []ledger.Outcome {
	b.Helper()
	open, err := b.book.Attempt(b.Context(), item, "write", "crm.specification", members())
	require.NoError(b, err)
	outcomes := make([]ledger.Outcome, len(open))
	for i, o := range open {
		outcomes[i] = ledger.Outcome{Key: o.Key, Fence: o.Fence, State: flow.Confirmed}
	}
	return outcomes
}

func members() []ledger.Member {
	return []ledger.Member{
		{Key: `["AS54888","Weight"]`, Label: "AS54888, Weight", SHA256: []byte("a")},
		{Key: `["AS54888","Height"]`, Label: "AS54888, Height", SHA256: []byte("b")},
	}
}

// finals gives the final reasons in the journal of a run.
func (b *bundle) finals(runID string) []string {
	b.Helper()
	rows, err := b.store.Pool().Query(b.Context(), `select reason from journal where run = $1 and final`, runID)
	require.NoError(b, err)
	var reasons []string
	for rows.Next() {
		var r string
		require.NoError(b, rows.Scan(&r))
		reasons = append(reasons, r)
	}
	require.NoError(b, rows.Err())
	return reasons
}

func (b *bundle) count(sql string, args ...any) (n int) {
	b.Helper()
	require.NoError(b, b.store.Pool().QueryRow(b.Context(), sql, args...).Scan(&n))
	return n
}

func (b *bundle) texts(sql string, args ...any) []string {
	b.Helper()
	rows, err := b.store.Pool().Query(b.Context(), sql, args...)
	require.NoError(b, err)
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(b, err)
	return texts
}

// exec changes a row behind the book's back, as time or a crash would.
func (b *bundle) exec(sql string, args ...any) {
	b.Helper()
	_, err := b.store.Pool().Exec(b.Context(), sql, args...)
	require.NoError(b, err)
}

func answer(n int) flow.Result {
	rows := make([]flow.Row, n)
	for i := range rows {
		rows[i] = flow.Row{"number": "AS54888", "value": json.Number("1.50"), "absent": nil}
	}
	return flow.Result{Rows: rows, Count: n}
}

func requireFault(t *testing.T, err error, class fault.Class, code string) {
	t.Helper()
	require.Error(t, err)
	f := fault.Of(err)
	require.Equal(t, code, f.Code, "%v", err)
	require.Equal(t, class, f.Class)
}

func names(steps []flow.Step) []string {
	var names []string
	for _, s := range steps {
		names = append(names, s.Name)
	}
	return names
}
