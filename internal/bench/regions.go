package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/devenv"
	"patchbay/internal/durable"
)

// The table that two regions share, and the flow that shares it.
const (
	sharedTable = `create table account (accountnumber text primary key, name text, phone text, credit numeric(20, 4), diagnosis text)`
	sharedFlow  = `flow: shared
pattern: synchronization
summary: Accounts are the same in two regions, for the bench
regions: { de: erp-de, fr: erp-fr }
tables:
  account: { key: [accountnumber], allow: [name, phone, credit] }
restricted: [account.diagnosis]
conflict: { default: latest }
expect: { lag: 30s }
`
	sharedConnection = `  erp-%[1]s:
    system: postgres
    region: %[1]s
    url: %[2]s
    auth: { kind: basic, username: "%[3]s", password: "${file:%[4]s}" }
    limits: { concurrent: 8, timeout: 60s }
    tables:
      account: { path: public.account, keys: [[accountnumber]], restricted: [diagnosis], columns: { accountnumber: string, name: string, phone: string, credit: decimal, diagnosis: string } }
`
	// singleEdits is of how many edits the lag is measured, one after the other, and changedAtOnce
	// how many rows one transaction of the load of edits changes.
	singleEdits   = 200
	changedAtOnce = 1000
)

type (
	// sharing is two regions that share a table, beside PostgreSQL's own replication of it.
	sharing struct {
		*environment
		rows int
		from string // databases, by URL
		to   string
		cmd  *exec.Cmd
		data string
	}

	// replicated is what one of the contenders did.
	replicated struct {
		load, edits time.Duration
		lag         []time.Duration
	}
)

// regions measures the initial load and an edit of each row from one PostgreSQL to
// another, beside native logical replication with the same column list and one more copy
// of each row.
func regions(ctx context.Context, env *environment, o options) error {
	native, err := env.native(ctx, o.shared)
	if err != nil {
		return fmt.Errorf("measuring logical replication: %w", err)
	}
	s := &sharing{environment: env, rows: o.shared}
	defer func() {
		if s.cmd != nil {
			_ = interrupt(s.cmd)
		}
	}()
	ours, memory, actions, err := s.measure(ctx)
	if err != nil {
		return fmt.Errorf("%w; the log ends with\n%s", err, env.logged("regions"))
	}
	rate := func(d time.Duration) float64 { return float64(o.shared) / d.Seconds() }
	fmt.Printf("\nSynchronization of %d rows, PostgreSQL to PostgreSQL, two regions; beside it logical replication with the same columns and one more copy of each row\n", o.shared)
	fmt.Printf("  initial load         %7.0f rows/s; native %7.0f; × the limit %.2f, goal at least 0.50\n", rate(ours.load), rate(native.load), native.load.Seconds()/ours.load.Seconds())
	fmt.Printf("  one edit of each row %7.0f rows/s; native %7.0f; × the limit %.2f, goal at least 0.40\n", rate(ours.edits), rate(native.edits), native.edits.Seconds()/ours.edits.Seconds())
	fmt.Printf("  lag of single edits  p50 %.0f ms, p99 %.0f ms; native p50 %.0f ms, p99 %.0f ms; goal p99 below 2000 ms\n",
		milliseconds(quantile(ours.lag, 0.5)), milliseconds(quantile(ours.lag, 0.99)), milliseconds(quantile(native.lag, 0.5)), milliseconds(quantile(native.lag, 0.99)))
	fmt.Printf("  Temporal actions per 1,000 changes %.1f, goal below 40\n", actions/float64(2*o.shared)*1000)
	fmt.Printf("  resident memory at the start, after the load, after the edits: de %s MB, fr %s MB\n", memory["de"], memory["fr"])
	return nil
}

// fresh makes a database with the table, and n rows of it.
func (e *environment) fresh(ctx context.Context, name string, n int) (string, error) {
	u, err := url.Parse(e.database)
	if err != nil {
		return "", fmt.Errorf("reading the address of the database: %w", err)
	}
	if err := execute(ctx, e.database, `create database `+name); err != nil {
		return "", err
	}
	u.Path = "/" + name
	fill := fmt.Sprintf(`insert into account select 'A' || n, 'Account ' || n, '+49 ' || n, n / 8.0, 'x' from generate_series(1, %d) n`, n)
	return u.String(), execute(ctx, u.String(), sharedTable, fill, `vacuum analyze account`)
}

// native is PostgreSQL's own replication, and the copy of what came.
func (e *environment) native(ctx context.Context, n int) (out replicated, err error) {
	from, err := e.fresh(ctx, "bench_native_from", n)
	if err != nil {
		return out, err
	}
	to, err := e.fresh(ctx, "bench_native_to", 0)
	if err != nil {
		return out, err
	}
	if err := execute(ctx, from, `create publication bench for table account (accountnumber, name, phone, credit)`,
		`select pg_create_logical_replication_slot('bench_native', 'pgoutput')`); err != nil {
		return out, err
	}
	began := time.Now()
	if err := execute(ctx, to, `create table staging (like account)`,
		`create subscription bench connection '`+strings.ReplaceAll(from, "'", "''")+`' publication bench with (create_slot = false, slot_name = 'bench_native')`); err != nil {
		return out, err
	}
	if err := arrived(ctx, to, `select count(*) from account`, n); err != nil {
		return out, err
	}
	if err := execute(ctx, to, `insert into staging select * from account`); err != nil {
		return out, err
	}
	out.load = time.Since(began)
	if out.edits, err = edited(ctx, from, to, n, `insert into staging select * from account`); err != nil {
		return out, err
	}
	if out.lag, err = lags(ctx, from, to, n); err != nil {
		return out, err
	}
	return out, execute(ctx, to, `alter subscription bench disable`, `alter subscription bench set (slot_name = none)`, `drop subscription bench`)
}

// measure starts both regions and has them do what native replication did.
func (s *sharing) measure(ctx context.Context) (out replicated, memory map[string]string, actions float64, err error) {
	if s.from, err = s.fresh(ctx, "bench_erp_de", s.rows); err != nil {
		return out, nil, 0, err
	}
	if s.to, err = s.fresh(ctx, "bench_erp_fr", 0); err != nil {
		return out, nil, 0, err
	}
	if err := s.launch(ctx); err != nil {
		return out, nil, 0, err
	}
	// The load begins when the place is kept from which changes are followed.
	if err := arrived(ctx, s.from, `select count(*) from pg_replication_slots where database = current_database() and slot_name like 'patchbay%'`, 1); err != nil {
		return out, nil, 0, err
	}
	began := time.Now()
	sizes := map[string][]string{}
	info, err := s.look(sizes)
	if err != nil {
		return out, nil, 0, err
	}
	before, err := acted(ctx, info)
	if err != nil {
		return out, nil, 0, err
	}
	if err := arrived(ctx, s.to, `select count(*) from account`, s.rows); err != nil {
		return out, nil, 0, err
	}
	out.load = time.Since(began)
	if _, err := s.look(sizes); err != nil {
		return out, nil, 0, err
	}
	if out.edits, err = edited(ctx, s.from, s.to, s.rows); err != nil {
		return out, nil, 0, err
	}
	if _, err := s.look(sizes); err != nil {
		return out, nil, 0, err
	}
	if err := pause(ctx, 1500*time.Millisecond); err != nil { // Temporal publishes its count once a second
		return out, nil, 0, err
	}
	after, err := acted(ctx, info)
	if err != nil {
		return out, nil, 0, err
	}
	if out.lag, err = lags(ctx, s.from, s.to, s.rows); err != nil {
		return out, nil, 0, err
	}
	memory = map[string]string{}
	for name, list := range sizes {
		memory[name] = strings.Join(list, ", ")
	}
	return out, memory, after - before, nil
}

// launch writes the flow and starts a `patchbay dev` with both regions.
func (s *sharing) launch(ctx context.Context) error {
	flows := filepath.Join(s.dir, "regions")
	s.data = filepath.Join(flows, "data")
	if err := os.MkdirAll(flows, 0o755); err != nil {
		return err
	}
	connections := "regions:\n  de: { egress: \"${env:PATCHBAY_EGRESS_DE}\" }\n  fr: { egress: \"${env:PATCHBAY_EGRESS_FR}\" }\nconnections:\n"
	for region, at := range map[string]string{"de": s.from, "fr": s.to} { // in any order
		u, err := url.Parse(at)
		if err != nil {
			return fmt.Errorf("reading the address of a region's system: %w", err)
		}
		password, _ := u.User.Password()
		user := u.User.Username()
		u.User, u.RawQuery = nil, ""
		secret := filepath.Join(s.dir, "password-"+region)
		if err := os.WriteFile(secret, []byte(password), 0o600); err != nil {
			return err
		}
		connections += fmt.Sprintf(sharedConnection, region, u.String(), user, secret)
	}
	for name, text := range map[string]string{"shared.yaml": sharedFlow, "connections.yaml": connections} {
		if err := os.WriteFile(filepath.Join(flows, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	ports, err := devenv.FreePorts(ctx, 1)
	if err != nil {
		return err
	}
	address := fmt.Sprintf("127.0.0.1:%d", ports[0])
	s.cmd, err = s.environment.launch("regions", nil, "dev", "--lean", "--regions", "de,fr", "--database", s.database, "--temporal", s.temporal,
		"--data", s.data, "--flows", flows, "--http", address, "--sandbox-port", "0")
	if err != nil {
		return err
	}
	return await(ctx, "patchbay dev --regions", 2*time.Minute, func() bool { return answers("http://" + address + "/readyz") })
}

// look adds what the regions' processes hold in memory, in megabytes, and tells where they
// are.
func (s *sharing) look(sizes map[string][]string) (devenv.Info, error) {
	info, err := devenv.ReadInfo(s.data)
	if err != nil {
		return info, err
	}
	var record struct {
		Children []struct {
			Name string `json:"name"`
			PID  int    `json:"pid"`
		} `json:"children"`
	}
	b, err := os.ReadFile(filepath.Join(s.data, devenv.RecordFile))
	if err != nil {
		return info, err
	}
	if err := json.Unmarshal(b, &record); err != nil {
		return info, err
	}
	for _, child := range record.Children {
		name, ok := strings.CutPrefix(child.Name, "region-")
		if !ok {
			continue
		}
		size, err := resident(child.PID)
		if err != nil {
			return info, err
		}
		sizes[name] = append(sizes[name], fmt.Sprint(size>>20))
	}
	return info, nil
}

// acted is Temporal's count of actions of all regions.
func acted(ctx context.Context, info devenv.Info) (total float64, err error) {
	for _, region := range info.Regions {
		n, err := durable.Actions(ctx, region.Metrics, "default")
		if err != nil {
			return 0, err
		}
		total += float64(n)
	}
	return total, nil
}

// edited changes each row once, in many transactions, and waits until all of it has come;
// what is to be done with it then counts, too.
func edited(ctx context.Context, from, to string, n int, then ...string) (time.Duration, error) {
	conn, err := pgx.Connect(ctx, from)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	began := time.Now()
	for first := 1; first <= n; first += changedAtOnce {
		if _, err := conn.Exec(ctx, `update account set phone = '+33 ' || accountnumber where accountnumber in (select 'A' || n from generate_series($1::int, $2::int) n)`,
			first, min(first+changedAtOnce-1, n)); err != nil {
			return 0, err
		}
	}
	if err := arrived(ctx, to, `select count(*) from account where phone like '+33%'`, n); err != nil {
		return 0, err
	}
	if err := execute(ctx, to, then...); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}

// arrived waits until a count is n.
func arrived(ctx context.Context, at, count string, n int) error {
	conn, err := pgx.Connect(ctx, at)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	began := time.Now()
	for deadline := began.Add(10 * time.Minute); ; {
		var got int
		if err := conn.QueryRow(ctx, count).Scan(&got); err != nil || got == n {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d rows came within ten minutes", got, n)
		}
		// Looking must not be what is measured: a count of a million rows takes a while.
		if err := pause(ctx, max(20*time.Millisecond, time.Since(began)/30)); err != nil {
			return err
		}
	}
}

// lags measures how long single edits take to be there, while nothing else happens.
func lags(ctx context.Context, from, to string, n int) ([]time.Duration, error) {
	here, err := pgx.Connect(ctx, from)
	if err != nil {
		return nil, err
	}
	defer func() { _ = here.Close(context.WithoutCancel(ctx)) }()
	there, err := pgx.Connect(ctx, to)
	if err != nil {
		return nil, err
	}
	defer func() { _ = there.Close(context.WithoutCancel(ctx)) }()
	var all []time.Duration
	for i := range singleEdits {
		key, name := fmt.Sprint("A", 1+i*7919%n), fmt.Sprint("edit ", i)
		began := time.Now()
		if _, err := here.Exec(ctx, `update account set name = $2 where accountnumber = $1`, key, name); err != nil {
			return nil, err
		}
		for got := ""; got != name; {
			if err := pause(ctx, 2*time.Millisecond); err != nil {
				return nil, err
			}
			if err := there.QueryRow(ctx, `select name from account where accountnumber = $1`, key).Scan(&got); err != nil {
				return nil, err
			}
			if time.Since(began) > time.Minute {
				return nil, errors.New("an edit did not come within a minute")
			}
		}
		all = append(all, time.Since(began))
		if err := pause(ctx, time.Duration(20+i*37%60)*time.Millisecond); err != nil { // in step with nobody's looks
			return nil, err
		}
	}
	return all, nil
}
