package app

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/activities"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/stage"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
)

// The sources of the benchmark: three tables of as many rows, joined by the customer.
var benchTables = []string{
	`create table customer (id text primary key, name text not null, region text, credit numeric(15,2), since date, changed timestamptz not null)`,
	`create table receivable (customer text primary key, amount numeric(15,2), overdue numeric(15,2), invoices int, due date, changed timestamptz not null)`,
	`create table stock (customer text primary key, item text, quantity int, reserved int, place text, changed timestamptz not null)`,
	`create table picture (id text primary key, name text, region text, credit numeric(15,2), receivable numeric(15,2), overdue numeric(15,2), invoices int, item text, quantity int, place text)`,
}

const fillBench = `
	insert into customer select 'C' || lpad(n::text, 9, '0'), 'Customer number ' || n, 'R' || n % 17, (n % 100000) * 1.25, date '2015-01-01' + n % 3000, timestamptz '2026-01-01' + n * interval '1 second' from generate_series(1, $1) n;
	insert into receivable select 'C' || lpad(n::text, 9, '0'), n % 90000 * 3.17, n % 700 * 1.01, n % 40, date '2026-01-01' + n % 300, timestamptz '2026-01-01' + n * interval '1 second' from generate_series(1, $1) n;
	insert into stock select 'C' || lpad(n::text, 9, '0'), 'AS' || n % 5000, n % 1000, n % 90, 'Hall ' || n % 7, timestamptz '2026-01-01' + n * interval '1 second' from generate_series(1, $1) n`

func benchSource(name, key string, changed bool, columns ...string) flow.Source {
	s := flow.Source{Name: name, Connection: "erp", Table: name, Select: columns, Key: "row." + key, Identity: []string{key}, One: true, OnMissing: flow.Hold, Lost: flow.DriftStop, Gained: flow.DriftIgnore}
	for _, c := range columns {
		s.Types = append(s.Types, map[string]flow.Type{"credit": flow.Decimal, "amount": flow.Decimal, "overdue": flow.Decimal, "invoices": flow.Int, "quantity": flow.Int,
			"reserved": flow.Int, "since": flow.Date, "due": flow.Date, "changed": flow.Timestamp}[c])
		if s.Types[len(s.Types)-1] == "" {
			s.Types[len(s.Types)-1] = flow.String
		}
	}
	if changed {
		s.Changed = &flow.Watermark{Column: "changed", Overlap: time.Minute, Full: 24 * time.Hour}
	}
	return s
}

func benchPlan(changed bool, cel bool) *flow.Plan {
	p := &flow.Plan{Flow: "picture", Pattern: flow.Consolidation, Gather: &flow.Gather{Base: "customer", Sources: []flow.Source{
		benchSource("customer", "id", changed, "id", "name", "region", "credit", "since", "changed"),
		benchSource("receivable", "customer", changed, "customer", "amount", "overdue", "invoices", "due", "changed"),
		benchSource("stock", "customer", changed, "customer", "item", "quantity", "reserved", "place", "changed"),
	}}, Write: &flow.Write{Connection: "erp", Table: "picture", Key: []string{"id"}}}
	columns := []flow.Column{{Name: "id", Expr: "key"}, {Name: "name", Expr: "customer.name"}, {Name: "region", Expr: "customer.region"}, {Name: "credit", Expr: "customer.credit"},
		{Name: "receivable", Expr: "receivable.amount"}, {Name: "overdue", Expr: "receivable.overdue"}, {Name: "invoices", Expr: "receivable.invoices"},
		{Name: "item", Expr: "stock.item"}, {Name: "quantity", Expr: "stock.quantity"}, {Name: "place", Expr: "stock.place"}}
	if cel {
		for i, e := range map[int]string{2: `customer.region + "/" + stock.place`, 3: `customer.credit - receivable.amount`, 5: `receivable.amount > 1000.0 ? receivable.overdue : 0.0`,
			6: `receivable.invoices + 1`, 8: `stock.quantity - stock.reserved`} {
			columns[i].Expr = e
		}
	}
	p.Map = columns
	return p
}

// benchBundle is sources and target in one database, Patchbay's own in another.
type benchBundle struct {
	testing.TB
	stage    *stage.Stage
	systems  *systems
	joins    joins
	erp      string
	identity string
	rows     int
	runs     int
	between  func(source string) // two pages
}

type oneConnection flow.Connection

func (c oneConnection) Connection(context.Context, string) (flow.Connection, error) {
	return flow.Connection(c), nil
}

func newBenchBundle(b testing.TB, rows int) *benchBundle {
	b.Helper()
	d := storetest.NewDatabase(b)
	s, err := store.Open(b.Context(), d.App, store.Options{})
	require.NoError(b, err)
	b.Cleanup(s.Close)
	bb := &benchBundle{TB: b, stage: stage.New(s), erp: storetest.Empty(b), rows: rows}
	marks, err := os.ReadFile("../../docs/postgres.md")
	require.NoError(b, err)
	bb.exec(string(regexp.MustCompile("(?s)```sql\n(create table patchbay_effect.*?)```").FindSubmatch(marks)[1]))
	bb.exec(benchTables...)
	for _, sql := range bytes.Split([]byte(fillBench), []byte(";")) {
		conn := bb.conn()
		_, err := conn.Exec(b.Context(), string(sql), rows)
		require.NoError(b, err)
		require.NoError(b, conn.Close(b.Context()))
	}
	bb.exec(`vacuum analyze`)
	u, err := url.Parse(bb.erp)
	require.NoError(b, err)
	password, _ := u.User.Password()
	c := oneConnection{Name: "erp", System: "postgres", Auth: flow.Auth{Kind: "basic", Username: u.User.Username(), Password: password},
		Limits: flow.ConnectionLimits{Timeout: time.Minute}, Tables: map[string]flow.Table{
			"customer": {Path: "customer", Keys: [][]string{{"id"}}}, "receivable": {Path: "receivable", Keys: [][]string{{"customer"}}},
			"stock": {Path: "stock", Keys: [][]string{{"customer"}}}, "picture": {Path: "picture", Keys: [][]string{{"id"}}}}}
	u.User, u.RawQuery = nil, ""
	c.URL = u.String()
	resolve := func(text string) (string, error) { return text, nil }
	identity, err := Identity(resolve)(flow.Connection(c))
	require.NoError(b, err)
	bb.identity = identity
	bb.systems = newSystems(c, &mappers{}, registry(), resolve, 1)
	bb.joins = joins{bb.stage, bb.systems}
	return bb
}

func (b *benchBundle) conn() *pgx.Conn {
	conn, err := pgx.Connect(b.Context(), b.erp)
	require.NoError(b, err)
	return conn
}

func (b *benchBundle) exec(statements ...string) {
	conn := b.conn()
	for _, sql := range statements {
		_, err := conn.Exec(b.Context(), sql)
		require.NoError(b, err)
	}
	require.NoError(b, conn.Close(b.Context()))
}

// extract reads all sources, at a time, and gives how long it took.
func (b *benchBundle) extract(plan *flow.Plan, run string) {
	var all sync.WaitGroup
	for _, source := range plan.Gather.Sources {
		all.Go(func() {
			r, err := b.stage.Begin(b.Context(), plan, source, run, false)
			for err == nil && !r.Last() {
				var sheet flow.Sheet
				if sheet, err = b.systems.ExtractPage(b.Context(), plan, source, r.Since, r.Token); err == nil {
					err = r.Put(b.Context(), sheet)
				}
				if b.between != nil {
					b.between(source.Name)
				}
			}
			if err == nil {
				err = r.Complete(b.Context(), flow.Guard{}, false)
			}
			if err != nil {
				b.Error(err, fault.Of(err))
			}
		})
	}
	all.Wait()
}

func (b *benchBundle) deliver(plan *flow.Plan, run string) {
	chunks, _, err := b.stage.Chunks(b.Context(), run)
	require.NoError(b, err)
	for n := range chunks {
		c, err := b.stage.Chunk(b.Context(), plan, run, n)
		require.NoError(b, err)
		refused, err := b.systems.Load(b.Context(), plan, activities.Load{Sheet: c.Sheet, Mark: activities.Mark{Cause: run, Step: "write", Key: fmt.Sprint(n), Fence: 1}})
		require.NoError(b, err)
		require.Empty(b, refused)
		require.NoError(b, b.stage.Written(b.Context(), run, c, refused))
	}
}

// round is one run, and how long each part of it took.
func (b *benchBundle) round(plan *flow.Plan) (took [3]time.Duration, joined stage.Joined) {
	b.runs++
	run := fmt.Sprint("run-", b.runs)
	at := time.Now()
	b.extract(plan, run)
	took[0] = time.Since(at)
	at = time.Now()
	joined, err := b.joins.Join(b.Context(), plan, run, false)
	require.NoError(b, err)
	require.Nil(b, joined.Held)
	took[1] = time.Since(at)
	at = time.Now()
	b.deliver(plan, run)
	took[2] = time.Since(at)
	return took, joined
}

// limit is the same work in plain SQL: copies of the sources, one join, one merge.
func (b *benchBundle) limit() time.Duration {
	b.exec(`create table if not exists limit_picture (like picture including all)`, `truncate limit_picture`)
	at := time.Now()
	for _, name := range []string{"customer", "receivable", "stock"} {
		b.exec(`drop table if exists copy_`+name, `create table copy_`+name+` (like `+name+`)`)
		from, to := b.conn(), b.conn()
		r, w := io.Pipe()
		go func() {
			_, err := from.PgConn().CopyTo(b.Context(), w, `copy `+name+` to stdout`)
			_ = w.CloseWithError(err)
		}()
		_, err := to.PgConn().CopyFrom(b.Context(), r, `copy copy_`+name+` from stdin`)
		require.NoError(b, err)
		require.NoError(b, from.Close(b.Context()))
		require.NoError(b, to.Close(b.Context()))
	}
	b.exec(`insert into limit_picture select c.id, c.name, c.region, c.credit, r.amount, r.overdue, r.invoices, s.item, s.quantity, s.place
		from copy_customer c left join copy_receivable r on r.customer = c.id left join copy_stock s on s.customer = c.id
		on conflict (id) do update set name = excluded.name, region = excluded.region, credit = excluded.credit, receivable = excluded.receivable,
			overdue = excluded.overdue, invoices = excluded.invoices, item = excluded.item, quantity = excluded.quantity, place = excluded.place`)
	return time.Since(at)
}

// One round, for a profile: `go test -bench Consolidation -benchtime 1x`. The figures
// that count are those of internal/bench, by way of the built program.
func BenchmarkConsolidation(bench *testing.B) {
	for _, kind := range []string{"plain", "cel", "incremental"} {
		bench.Run(kind, func(bench *testing.B) {
			rows, err := strconv.Atoi(cmp.Or(os.Getenv("PATCHBAY_BENCH_ROWS"), "20000"))
			require.NoError(bench, err)
			b := newBenchBundle(bench, rows)
			plan := benchPlan(kind == "incremental", kind == "cel")
			plan.Bindings = map[string]flow.Binding{"erp": {System: "postgres", Identity: b.identity}}
			for bench.Loop() {
				limit := b.limit()
				b.exec(`truncate picture`)
				first, joined := b.round(plan)
				require.Equal(b, int64(b.rows), joined.Keys)
				again, joined := b.round(plan)
				require.Equal(b, int64(b.rows), joined.Unchanged)
				total := first[0] + first[1] + first[2]
				var usage syscall.Rusage
				require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
				bench.Logf("limit %v; first %v = %v, ratio %.2f; again %v; peak %d MB", limit, first, total, limit.Seconds()/total.Seconds(), again, usage.Maxrss>>10)
			}
		})
	}
}
