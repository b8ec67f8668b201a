package stage_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/join"
	"patchbay/internal/stage"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
)

// bundle is a stage on a real database, and a consolidation of customers, their orders
// and their stock.
type bundle struct {
	testing.TB
	store *store.Store
	stage *stage.Stage
	plan  *flow.Plan
	runs  int
}

func newBundle(t testing.TB) *bundle {
	t.Helper()
	s := storetest.New(t)
	return &bundle{TB: t, store: s, stage: stage.New(s), plan: &flow.Plan{
		Flow: "picture", Pattern: flow.Consolidation,
		Gather: &flow.Gather{Base: "customer", Sources: []flow.Source{
			{Name: "customer", Connection: "crm", Table: "customers", Select: []string{"id", "name", "changed"}, Types: []flow.Type{flow.String, flow.String, flow.Timestamp},
				Key: "row.id", Identity: []string{"id"}, One: true, OnMissing: flow.Hold, Lost: flow.DriftStop, Gained: flow.DriftIgnore},
			{Name: "orders", Connection: "sap", Table: "orders", Select: []string{"no", "customer", "amount", "day"}, Types: []flow.Type{flow.String, flow.String, flow.Decimal, flow.Date},
				Key: "row.customer", Identity: []string{"no"}, OnMissing: flow.Hold, Lost: flow.DriftStop, Gained: flow.DriftIgnore},
		}},
		Map: []flow.Column{{Name: "id", Expr: "key"}, {Name: "name", Expr: "customer.name"}, {Name: "orders", Expr: "orders.size()"},
			{Name: "first", Expr: `orders.size() > 0 ? orders[0].amount : null`}},
		Write: &flow.Write{Connection: "crm", Table: "pictures", Key: []string{"id"}},
	}}
}

func (b *bundle) source(name string) *flow.Source {
	i := slices.IndexFunc(b.plan.Gather.Sources, func(s flow.Source) bool { return s.Name == name })
	return &b.plan.Gather.Sources[i]
}

// run names a new run.
func (b *bundle) run() string {
	b.runs++
	return fmt.Sprint("run-", b.runs)
}

func (b *bundle) begin(run, source string) *stage.Reading {
	b.Helper()
	r, err := b.stage.Begin(b.Context(), b.plan, *b.source(source), run, false)
	require.NoError(b, err)
	return r
}

// sheet makes a page of rows; "" is an absent cell.
func sheet(columns []string, next string, rows ...[]string) flow.Sheet {
	s := flow.Sheet{Columns: columns, Next: next, Bytes: 100}
	for _, row := range rows {
		for _, c := range row {
			var cell []byte
			if c != "" {
				cell = []byte(c)
			}
			s.Cells = append(s.Cells, cell)
		}
	}
	return s
}

// read reads a source whole, in pages of two rows.
func (b *bundle) read(run, source string, rows ...[]string) *stage.Reading {
	b.Helper()
	r := b.begin(run, source)
	columns := b.source(source).Select
	for i := 0; ; i += 2 {
		next := ""
		if i+2 < len(rows) {
			next = fmt.Sprint("after ", i)
		}
		require.NoError(b, r.Put(b.Context(), sheet(columns, next, rows[min(i, len(rows)):min(i+2, len(rows))]...)))
		if next == "" {
			break
		}
	}
	require.NoError(b, r.Complete(b.Context(), b.plan.Gather.Guard, false))
	return r
}

func (b *bundle) join(run string) stage.Joined {
	b.Helper()
	j, err := join.NewPlan(b.plan)
	require.NoError(b, err)
	out, err := b.stage.Join(b.Context(), b.plan, j, run, stage.JoinOptions{Rows: 3})
	require.NoError(b, err)
	return out
}

// deliver takes all chunks but the rows whose key is refused, and gives what it got.
func (b *bundle) deliver(run string, refused ...string) map[string]string {
	b.Helper()
	got := map[string]string{}
	chunks, _, err := b.stage.Chunks(b.Context(), run)
	require.NoError(b, err)
	for n := range chunks {
		c, err := b.stage.Chunk(b.Context(), b.plan, run, n)
		require.NoError(b, err)
		var not []stage.Refusal
		for i, key := range c.Keys {
			if slices.Contains(refused, key) {
				not = append(not, stage.Refusal{Row: i, Code: "crm.refused", Reason: "the system does not like it"})
				continue
			}
			text := ""
			for j, cell := range c.Sheet.Row(i) {
				if cell != nil {
					text += c.Sheet.Columns[j] + "=" + string(cell) + " "
				}
			}
			got[key] = text
		}
		require.NoError(b, b.stage.Written(b.Context(), run, c, not))
		require.NoError(b, b.stage.Written(b.Context(), run, c, not), "a second time changes nothing")
	}
	return got
}

func (b *bundle) completeness(run string) flow.Completeness {
	b.Helper()
	c, ok, err := b.stage.Completeness(b.Context(), run)
	require.NoError(b, err)
	require.True(b, ok)
	for name, s := range c.Sources {
		require.Equal(b, s.Read, s.Staged+s.Rejected, name)
		require.Equal(b, s.Staged, s.Used+s.Unmatched+s.Duplicate, name)
	}
	return c
}

func (b *bundle) rejects(f stage.RejectFilter) (codes []string) {
	b.Helper()
	found, err := b.stage.Rejects(b.Context(), f)
	require.NoError(b, err)
	for _, r := range found {
		codes = append(codes, r.Source+"/"+r.Identity+"/"+r.Code)
	}
	slices.Sort(codes)
	return codes
}

var (
	customers = [][]string{{`"A"`, `"Acme"`, `"2026-01-01T00:00:00Z"`}, {`"B"`, `"Best"`, `"2026-01-02T00:00:00Z"`}, {`"C"`, `"Cool"`, `"2026-01-03T00:00:00Z"`}, {`"D"`, `null`, `null`}}
	orders    = [][]string{{`"2"`, `"A"`, `20.50`, `"2026-01-01"`}, {`"1"`, `"A"`, `"10.00"`, `"2026-01-01"`}, {`"3"`, `"B"`, `null`, `null`}, {`"4"`, `"X"`, `1`, `null`}}
)

func TestARunIsReadJoinedAndWritten(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	run := b.run()
	b.read(run, "customer", customers...)
	b.read(run, "orders", orders...)
	require.Equal(t, stage.Joined{Keys: 4, Changed: 4}, b.join(run))
	require.Equal(t, stage.Joined{Keys: 4, Changed: 4}, b.join(run), "it is not joined again")
	require.Equal(t, map[string]string{
		"A": `id="A" name="Acme" orders=2 first="10.00" `,
		"B": `id="B" name="Best" orders=1 first=null `,
		"C": `id="C" name="Cool" orders=0 first=null `,
		"D": `id="D" name=null orders=0 first=null `,
	}, b.deliver(run))
	c := b.completeness(run)
	require.Equal(t, flow.TargetCount{Keys: 4, Written: 4}, c.Target)
	got := c.Sources["orders"]
	require.Equal(t, flow.SourceCount{Read: 4, Staged: 4, Used: 3, Unmatched: 1, Fresh: 4, Pages: 2, Bytes: 200, State: flow.Fresh, AsOf: got.AsOf}, got)
	require.WithinDuration(t, time.Now(), got.AsOf, time.Minute)
	require.Equal(t, []string{"customer", "orders"}, append(c.Fields["name"].Sources, c.Fields["first"].Sources...))
	require.NoError(t, b.stage.Prune(t.Context(), run, time.Hour))
	require.Equal(t, 2, b.tables())
}

func (b *bundle) tables() (n int) {
	require.NoError(b, b.store.Pool().QueryRow(b.Context(), `select count(*) from pg_tables where schemaname = 'stage'`).Scan(&n))
	return n
}

func TestAFullRunWithoutChangesWritesNothing(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	first := b.run()
	b.read(first, "customer", customers...)
	b.read(first, "orders", orders...)
	b.join(first)
	b.deliver(first)
	again := b.run()
	b.read(again, "customer", customers[3], customers[1], customers[0], customers[2])
	b.read(again, "orders", orders...)
	require.Equal(t, stage.Joined{Keys: 4, Unchanged: 4}, b.join(again))
	require.Empty(t, b.deliver(again))
	require.Equal(t, flow.TargetCount{Keys: 4, Unchanged: 4}, b.completeness(again).Target)
	require.NoError(t, b.stage.Prune(t.Context(), again, time.Hour))
	require.Equal(t, 2, b.tables(), "generations that were replaced are dropped")

	third := b.run()
	b.read(third, "customer", append(customers[:3:3], []string{`"E"`, `"Else"`, `null`})...)
	b.read(third, "orders", orders...)
	require.Equal(t, stage.Joined{Keys: 4, Changed: 1, Unchanged: 3}, b.join(third))
	require.Equal(t, map[string]string{"E": `id="E" name="Else" orders=0 first=null `}, b.deliver(third))
	require.Equal(t, int64(1), b.completeness(third).Target.Gone)
}

func TestRowsThatTheTargetRefusesAreTriedAgain(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	first := b.run()
	b.read(first, "customer", customers...)
	b.read(first, "orders", orders...)
	b.join(first)
	b.deliver(first, "B")
	require.Equal(t, flow.TargetCount{Keys: 4, Written: 3, Rejected: 1}, b.completeness(first).Target)
	require.Equal(t, []string{`/["B"]/crm.refused`}, b.rejects(stage.RejectFilter{}))
	again := b.run()
	b.read(again, "customer", customers...)
	b.read(again, "orders", orders...)
	require.Equal(t, stage.Joined{Keys: 4, Changed: 1, Unchanged: 3}, b.join(again))
	require.Len(t, b.deliver(again), 1)
	require.Empty(t, b.rejects(stage.RejectFilter{}))
	require.Len(t, b.rejects(stage.RejectFilter{Resolved: true}), 1)
}

func requireCode(t testing.TB, code string, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, code, fault.Of(err).Code, err)
}

func TestARunThatALaterOneHasPassedWritesNothing(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	first := b.run()
	b.read(first, "customer", customers...)
	b.read(first, "orders", orders...)
	require.Equal(t, stage.Joined{Keys: 4, Changed: 4}, b.join(first))
	second := b.run()
	b.read(second, "customer", customers...)
	b.read(second, "orders", orders...)
	b.join(second)
	b.deliver(second)
	require.Equal(t, stage.CodePassed, b.join(first).Held.Code)
	require.Nil(t, b.join(second).Held, "what is written stays what it is")
}

func TestWhatWasPerhapsWrittenIsNotUnchanged(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	first := b.run()
	b.read(first, "customer", customers...)
	b.read(first, "orders", orders...)
	b.join(first)
	b.deliver(first)
	lost := b.run() // its chunk was sent, and nobody heard of it
	b.read(lost, "customer", append([][]string{{`"A"`, `"Other"`, `null`}}, customers[1:]...)...)
	b.read(lost, "orders", orders...)
	require.Equal(t, stage.Joined{Keys: 4, Changed: 1, Unchanged: 3}, b.join(lost))
	require.NoError(t, b.stage.Prune(t.Context(), lost, time.Hour))
	for range 2 {
		again := b.run()
		b.read(again, "customer", customers...)
		b.read(again, "orders", orders...)
		require.Equal(t, stage.Joined{Keys: 4, Changed: 1, Unchanged: 3}, b.join(again), "the target may have the other name")
		if b.runs == 4 {
			require.Equal(t, map[string]string{"A": `id="A" name="Acme" orders=2 first="10.00" `}, b.deliver(again))
		}
	}
	last := b.run()
	b.read(last, "customer", customers...)
	b.read(last, "orders", orders...)
	require.Equal(t, stage.Joined{Keys: 4, Unchanged: 4}, b.join(last))
}

func TestAnotherTargetHasNothingYet(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for i, table := range []string{"pictures", "pictures", "others"} {
		b.plan.Write.Table = table
		run := b.run()
		b.read(run, "customer", customers...)
		b.read(run, "orders", orders...)
		require.Equal(t, []int64{4, 0, 4}[i], b.join(run).Changed)
		b.deliver(run)
	}
}
