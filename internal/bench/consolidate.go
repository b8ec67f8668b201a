package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"patchbay/internal/devenv"
)

// The three tables of another party's database that are joined by the customer, and
// what the picture of each customer is made of.
const (
	pictureSources = `
		create table patchbay_effect (cause text not null, step text not null, key text not null, fence bigint not null,
			noted_at timestamptz not null default now(), applied_at timestamptz, primary key (cause, step, key));
		create table customer (id text primary key, name text not null, region text, credit numeric(15,2), since date, changed timestamptz not null);
		create table receivable (customer text primary key, amount numeric(15,2), overdue numeric(15,2), invoices int, due date, changed timestamptz not null);
		create table stock (customer text primary key, item text, quantity int, reserved int, place text, changed timestamptz not null)`
	pictureTarget = `(id text primary key, name text, region text, credit numeric(15,2), receivable numeric(15,2), overdue numeric(15,2),
		invoices int, item text, quantity int, place text)`

	pictureFlow = `flow: %s
pattern: consolidation
summary: One picture of each customer, for the bench
gather:
  customer: { from: erp.customer, select: [id, name, region, credit, since, changed], key: row.id, identity: [id], one: true%[3]s }
  receivable: { from: erp.receivable, select: [customer, amount, overdue, invoices, due, changed], key: row.customer, identity: [customer], one: true%[3]s }
  stock: { from: erp.stock, select: [customer, item, quantity, reserved, place, changed], key: row.customer, identity: [customer], one: true%[3]s }
base: customer
map:
  id: key
  name: customer.name
  receivable: receivable.amount
  item: stock.item
  place: stock.place
%[4]s
write: { to: erp.%[2]s, key: [id] }
`
	plainColumns = `  region: customer.region
  credit: customer.credit
  overdue: receivable.overdue
  invoices: receivable.invoices
  quantity: stock.quantity`
	celColumns = `  region: customer.region + "/" + stock.place
  credit: customer.credit - receivable.amount
  overdue: "receivable.amount > 1000.0 ? receivable.overdue : 0.0"
  invoices: receivable.invoices + 1
  quantity: stock.quantity - stock.reserved`

	pictureConnection = `connections:
  erp:
    system: postgres
    url: ${env:BENCH_ERP_URL}
    auth: { kind: basic, username: "%s", password: "${env:BENCH_ERP_PASSWORD}" }
    limits: { concurrent: 16, timeout: 60s }
    tables:
      customer: { path: public.customer, keys: [[id]], columns: { id: string, name: string, region: string, credit: decimal, since: date, changed: timestamp } }
      receivable: { path: public.receivable, keys: [[customer]], columns: { customer: string, amount: decimal, overdue: decimal, invoices: int, due: date, changed: timestamp } }
      stock: { path: public.stock, keys: [[customer]], columns: { customer: string, item: string, quantity: int, reserved: int, place: string, changed: timestamp } }
`
	pictureTable = `      %s: { path: public.%[1]s, keys: [[id]], columns: { id: string, name: string, region: string, credit: decimal, receivable: decimal, overdue: decimal, invoices: int, item: string, quantity: int, place: string } }
`
)

// pictures are the contenders: each flow writes a table of its own.
var pictures = []picture{
	{"plain", "plain columns", plainColumns, ""},
	{"cel", "five CEL columns", celColumns, ""},
	{"since", "plain columns since a watermark", plainColumns, ", changed: { by: changed, overlap: 1m }"},
}

type (
	picture struct{ name, words, columns, changed string }

	// gathering is a `patchbay dev` beside a database with sources.
	gathering struct {
		*environment
		site
		cmd  *exec.Cmd
		erp  string // URL with the password
		rows int
	}

	// carried is one run, as its own row tells.
	carried struct {
		took     time.Duration
		read     int64
		bytes    int64
		written  int64
		peak     int64 // of the process, in bytes
		workflow string
	}
)

// consolidate measures one flow of three sources beside the same rows in plain SQL.
func consolidate(ctx context.Context, env *environment, o options) error {
	for _, rows := range o.rows {
		g, err := env.gather(ctx, rows, o.rounds)
		if err != nil {
			return err
		}
		err = g.measure(ctx, o.rounds)
		_ = interrupt(g.cmd)
		if err != nil {
			return fmt.Errorf("%w; the log ends with\n%s", err, env.logged(g.name()))
		}
	}
	return decode(ctx)
}

func (g *gathering) name() string { return fmt.Sprint("consolidate-", g.rows) }

// gather fills a database with sources and starts a Patchbay with the flows, one for
// each round: a first run has nothing that it could compare with.
func (e *environment) gather(ctx context.Context, rows, rounds int) (*gathering, error) {
	g := &gathering{environment: e, rows: rows}
	u, err := url.Parse(e.database)
	if err != nil {
		return nil, fmt.Errorf("reading the address of the database: %w", err)
	}
	name := fmt.Sprint("bench_erp_", rows)
	if err := execute(ctx, e.database, `create database `+name); err != nil {
		return nil, err
	}
	u.Path = "/" + name
	g.erp = u.String()
	if err := execute(ctx, g.erp, pictureSources, fmt.Sprintf(`
		insert into customer select 'C' || lpad(n::text, 9, '0'), 'Customer number ' || n, 'R' || n %% 17, (n %% 100000) * 1.25, date '2015-01-01' + n %% 3000, timestamptz '2026-01-01' + n * interval '1 second' from generate_series(1, %[1]d) n;
		insert into receivable select 'C' || lpad(n::text, 9, '0'), n %% 90000 * 3.17, n %% 700 * 1.01, n %% 40, date '2026-01-01' + n %% 300, timestamptz '2026-01-01' + n * interval '1 second' from generate_series(1, %[1]d) n;
		insert into stock select 'C' || lpad(n::text, 9, '0'), 'AS' || n %% 5000, n %% 1000, n %% 90, 'Hall ' || n %% 7, timestamptz '2026-01-01' + n * interval '1 second' from generate_series(1, %[1]d) n`, rows), `vacuum analyze`); err != nil {
		return nil, err
	}
	dir := filepath.Join(e.dir, g.name())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	connections := fmt.Sprintf(pictureConnection, u.User.Username())
	for _, p := range pictures {
		for round := range rounds {
			id := pictureOf(p.name, round)
			connections += fmt.Sprintf(pictureTable, id)
			file := fmt.Appendf(nil, pictureFlow, strings.ReplaceAll(id, "_", "-"), id, p.changed, p.columns)
			if err := os.WriteFile(filepath.Join(dir, id+".yaml"), file, 0o600); err != nil {
				return nil, err
			}
			if err := execute(ctx, g.erp, `create table `+id+pictureTarget); err != nil {
				return nil, err
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "connections.yaml"), []byte(connections), 0o600); err != nil {
		return nil, err
	}
	password, _ := u.User.Password()
	u.User, u.RawQuery = nil, ""
	return g, g.launch(ctx, dir, u.String(), password)
}

// beside is up to how many rows of a source all contenders are measured, and plain SQL
// beside them. Of more it is the memory that matters.
const beside = 1_000_000

// contenders are the flows that are measured.
func (g *gathering) contenders() []picture {
	if g.rows > beside {
		return pictures[:1]
	}
	return pictures
}

func pictureOf(kind string, round int) string { return fmt.Sprintf("picture_%s_%d", kind, round) }

func (g *gathering) launch(ctx context.Context, flows, erp, password string) error {
	ports, err := devenv.FreePorts(ctx, 1)
	if err != nil {
		return err
	}
	address := fmt.Sprintf("127.0.0.1:%d", ports[0])
	g.cmd, err = g.environment.launch(g.name(), []string{"BENCH_ERP_URL=" + erp, "BENCH_ERP_PASSWORD=" + password, "PATCHBAY_BENCH_HOOK=" + benchKey},
		"dev", "--lean", "--database", g.environment.database, "--temporal", g.temporal, "--data", filepath.Join(flows, "data"), "--flows", flows,
		"--http", address, "--sandbox-port", "0")
	if err != nil {
		return err
	}
	g.site = site{api: "http://" + address, actionsAt: g.environment.actionsAt, database: g.environment.database, running: processes{"patchbay": g.cmd.Process.Pid}}
	if err := await(ctx, "patchbay dev", time.Minute, func() bool { return answers(g.api + "/readyz") }); err != nil {
		return fmt.Errorf("%w; its log ends with\n%s", err, g.logged(g.name()))
	}
	return nil
}

// measure has each round measure every contender once, and the plain SQL beside it.
func (g *gathering) measure(ctx context.Context, rounds int) error {
	ratios, again, took := map[string][]float64{}, map[string][]float64{}, map[string][]float64{}
	var limits, nothing []float64
	var peak int64
	var last carried
	idle, err := g.idle(ctx)
	if err != nil {
		return err
	}
	actions := 0.0
	for round := range rounds {
		var limit time.Duration
		if g.rows <= beside {
			if limit, err = g.limit(ctx); err != nil {
				return fmt.Errorf("measuring plain SQL: %w", err)
			}
		}
		limits = append(limits, limit.Seconds())
		for _, p := range g.contenders() {
			id := pictureOf(p.name, round)
			began := time.Now()
			before, err := g.actions(ctx)
			if err != nil {
				return err
			}
			first, err := g.carry(ctx, id)
			if err != nil {
				return err
			}
			after, err := g.actions(ctx)
			if err != nil {
				return err
			}
			if p.name == "plain" {
				last, actions = first, after-before-idle*time.Since(began).Seconds()
			}
			second, err := g.carry(ctx, id)
			if err != nil {
				return err
			}
			if first.written != int64(g.rows) || second.written != 0 {
				return fmt.Errorf("%s wrote %d and then %d rows", id, first.written, second.written)
			}
			if p.name == "since" {
				nothing = append(nothing, second.took.Seconds())
			}
			took[p.name] = append(took[p.name], first.took.Seconds())
			ratios[p.name] = append(ratios[p.name], limit.Seconds()/first.took.Seconds())
			again[p.name] = append(again[p.name], second.took.Seconds()/first.took.Seconds())
			peak = max(peak, first.peak, second.peak)
		}
	}
	events, size, err := g.history(ctx, last.workflow)
	if err != nil {
		return err
	}
	fmt.Printf("\nConsolidation, 3 sources × %d rows, PostgreSQL to PostgreSQL, %d rows and %.0f MB read, %d rows written, %d rounds, median (min … max)\n",
		g.rows, last.read, float64(last.bytes)/1e6, last.written, rounds)
	if g.rows <= beside {
		fmt.Printf("  %-34s %24s s\n", "plain SQL: copy, join, merge", spread(limits, 1))
	}
	for i, p := range g.contenders() {
		goal := []string{"0.40", "0.25", ""}[i]
		if p.changed != "" {
			fmt.Printf("  %-34s %24s s, goal below 2\n", "since a watermark, without changes", spread(nothing, 2))
			continue
		}
		fmt.Printf("  %-34s %24s s", p.words, spread(took[p.name], 1))
		if g.rows <= beside {
			fmt.Printf("; × the limit %s, goal at least %s", spread(ratios[p.name], 2), goal)
		}
		fmt.Println()
		fmt.Printf("  %-34s %24s of the first, goal at most 0.80; nothing written\n", "again in full, without changes", spread(again[p.name], 2))
	}
	fmt.Printf("  peak resident memory of patchbay %d MB, goal below 256; history of a run %d events, %d KB, goal below 500 and 1024; Temporal actions a run %.0f, without what always runs\n",
		peak>>20, events, size>>10, actions)
	return nil
}

// idle is how many actions a second Temporal counts of what always runs.
func (g *gathering) idle(ctx context.Context) (float64, error) {
	before, err := g.actions(ctx)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := pause(ctx, 10*time.Second); err != nil {
		return 0, err
	}
	after, err := g.actions(ctx)
	return (after - before) / time.Since(began).Seconds(), err
}

// limit does the same work in plain SQL: a copy of each source, one join, one merge.
func (g *gathering) limit(ctx context.Context) (time.Duration, error) {
	defer func() { _ = execute(ctx, g.erp, `checkpoint`) }() // what it wrote is not paid for by who comes next
	if err := execute(ctx, g.erp, `drop table if exists picture_limit`, `create table picture_limit `+pictureTarget, `checkpoint`); err != nil {
		return 0, err
	}
	began := time.Now()
	var side errgroup.Group // all at a time, as Patchbay reads them
	for _, name := range []string{"customer", "receivable", "stock"} {
		side.Go(func() error {
			if err := execute(ctx, g.erp, `drop table if exists copy_`+name, `create table copy_`+name+` (like `+name+`)`); err != nil {
				return err
			}
			return g.copy(ctx, name)
		})
	}
	if err := side.Wait(); err != nil {
		return 0, fmt.Errorf("copying: %w", err)
	}
	err := execute(ctx, g.erp, `set work_mem = '256MB'`, `insert into picture_limit
		select c.id, c.name, c.region, c.credit, r.amount, r.overdue, r.invoices, s.item, s.quantity, s.place
		from copy_customer c left join copy_receivable r on r.customer = c.id left join copy_stock s on s.customer = c.id
		on conflict (id) do update set name = excluded.name, region = excluded.region, credit = excluded.credit, receivable = excluded.receivable,
			overdue = excluded.overdue, invoices = excluded.invoices, item = excluded.item, quantity = excluded.quantity, place = excluded.place`)
	return time.Since(began), err
}

// copy copies a table by COPY, out of one connection and into another.
func (g *gathering) copy(ctx context.Context, name string) error {
	from, err := pgx.Connect(ctx, g.erp)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer func() { _ = from.Close(ctx) }()
	to, err := pgx.Connect(ctx, g.erp)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer func() { _ = to.Close(ctx) }()
	r, w := io.Pipe()
	go func() {
		_, err := from.PgConn().CopyTo(ctx, w, `copy `+name+` to stdout`)
		_ = w.CloseWithError(err)
	}()
	if _, err = to.PgConn().CopyFrom(ctx, r, `copy copy_`+name+` from stdin`); err != nil {
		return fmt.Errorf("copying %s: %w", name, err)
	}
	return nil
}

// carry asks for a run of a flow and waits for its end.
func (g *gathering) carry(ctx context.Context, id string) (c carried, err error) {
	pid := g.cmd.Process.Pid
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0) // the peak begins anew
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.api+"/v1/flows/"+strings.ReplaceAll(id, "_", "-")+"/runs", strings.NewReader("{}"))
	if err != nil {
		return c, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Prefer", "wait=0")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return c, fmt.Errorf("asking for a run: %w", err)
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	var run struct {
		RunID        string    `json:"run_id"`
		Status       string    `json:"status"`
		WorkflowID   string    `json:"workflow_id"`
		AcceptedAt   time.Time `json:"accepted_at"`
		ClosedAt     time.Time `json:"closed_at"`
		Completeness struct {
			Sources map[string]struct{ Fresh, Bytes int64 }
			Target  struct{ Written int64 }
		}
	}
	if err := json.Unmarshal(body, &run); err != nil || run.RunID == "" {
		return c, fmt.Errorf("a run was answered with %d: %s", resp.StatusCode, body)
	}
	for run.ClosedAt.IsZero() {
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return c, err
		}
		if resp, err = g.get(ctx, g.api+"/v1/runs/"+run.RunID); err != nil {
			return c, err
		}
		body, _ = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err := json.Unmarshal(body, &run); err != nil {
			return c, fmt.Errorf("reading a run: %w", err)
		}
	}
	if run.Status != "completed" {
		return c, fmt.Errorf("the run of %s is %s: %s", id, run.Status, body)
	}
	c = carried{took: run.ClosedAt.Sub(run.AcceptedAt), written: run.Completeness.Target.Written, workflow: run.WorkflowID}
	for _, s := range run.Completeness.Sources {
		c.read += s.Fresh
		c.bytes += s.Bytes
	}
	c.peak, err = statusOf(pid, "VmHWM:")
	return c, err
}

// history is how long a run's history is, and how large.
func (g *gathering) history(ctx context.Context, workflow string) (events, size int64, err error) {
	c, err := client.DialContext(ctx, client.Options{HostPort: g.temporal, Logger: silent{}})
	if err != nil {
		return 0, 0, fmt.Errorf("reaching Temporal: %w", err)
	}
	defer c.Close()
	d, err := c.DescribeWorkflowExecution(ctx, workflow, "")
	if err != nil {
		return 0, 0, fmt.Errorf("looking at the workflow: %w", err)
	}
	return d.GetWorkflowExecutionInfo().GetHistoryLength(), d.GetWorkflowExecutionInfo().GetHistorySizeBytes(), nil
}

// execute runs statements one after the other, each by itself.
func execute(ctx context.Context, database string, statements ...string) error {
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("preparing the database of the sources: %w", err)
		}
	}
	return nil
}
