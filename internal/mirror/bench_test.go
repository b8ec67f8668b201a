package mirror_test

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"patchbay/internal/store/storetest"
)

var benchRows = flag.Int("bench-rows", 200_000, "records of BenchmarkBesideNativeReplication")

// The limit is PostgreSQL's own logical replication with the same column list, and one more
// copy of each row in a table, beside the same rows from region to region, in one run on one
// server. Ratios are of rows a second.
func BenchmarkBesideNativeReplication(b *testing.B) {
	n := *benchRows
	fill := fmt.Sprintf(`insert into account select 'A' || n, 'Account ' || n, '+49 ' || n, n / 8.0, 'x' from generate_series(1, %d) n`, n)
	edit := fmt.Sprintf(`update account set phone = '+33 ' || accountnumber where accountnumber in (select 'A' || n from generate_series(1, %d) n)`, n/10)
	for b.Loop() {
		from, to := pool(b), pool(b)
		for _, p := range []*pgxpool.Pool{from, to} {
			run(b, p, schema)
		}
		run(b, to, `create table staging (like account)`)
		run(b, from, fill)
		name := fmt.Sprintf("bench_%d", time.Now().UnixNano())
		run(b, from, `create publication `+name+` for table account (accountnumber, name, phone, credit)`)
		run(b, from, `select pg_create_logical_replication_slot('`+name+`', 'pgoutput')`)
		u, err := url.Parse(from.Config().ConnString())
		require.NoError(b, err)
		native := took(b, func() {
			run(b, to, fmt.Sprintf(`create subscription %s connection '%s' publication %s with (create_slot = false, slot_name = '%s')`, name, u, name, name))
			until(b, to, `select count(*) from account`, n)
			run(b, to, `insert into staging select * from account`)
		})
		nativeEdit := took(b, func() {
			run(b, from, edit)
			until(b, to, `select count(*) from account where phone like '+33%'`, n/10)
			run(b, to, `insert into staging select * from account where phone like '+33%'`)
		})
		run(b, to, `alter subscription `+name+` disable`)
		run(b, to, `alter subscription `+name+` set (slot_name = none)`)
		run(b, to, `drop subscription `+name)
		until(b, from, `select count(*) filter (where not active) from pg_replication_slots where slot_name = '`+name+`'`, 1)
		run(b, from, `select pg_drop_replication_slot('`+name+`')`)

		w := newWorld(b, sharing(), "de", "fr")
		w.run("de", fill)
		de, fr := w.regions["de"].erp, w.regions["fr"].erp
		ours := took(b, func() {
			w.work("de", "fr")
			until(b, fr, `select count(*) from account`, n)
		})
		oursEdit := took(b, func() {
			run(b, de, edit)
			until(b, fr, `select count(*) from account where phone like '+33%'`, n/10)
		})
		w.halt("de", "fr")
		b.ReportMetric(float64(n)/native.Seconds(), "native-load-rows/s")
		b.ReportMetric(float64(n)/ours.Seconds(), "load-rows/s")
		b.ReportMetric(native.Seconds()/ours.Seconds(), "load-of-limit")
		b.ReportMetric(float64(n/10)/nativeEdit.Seconds(), "native-edit-rows/s")
		b.ReportMetric(float64(n/10)/oursEdit.Seconds(), "edit-rows/s")
		b.ReportMetric(nativeEdit.Seconds()/oursEdit.Seconds(), "edit-of-limit")
	}
}

func pool(b *testing.B) *pgxpool.Pool {
	b.Helper()
	p, err := pgxpool.New(b.Context(), storetest.Empty(b))
	require.NoError(b, err)
	b.Cleanup(p.Close)
	return p
}

func run(b *testing.B, p *pgxpool.Pool, sql string) {
	b.Helper()
	_, err := p.Exec(b.Context(), sql, pgx.QueryExecModeSimpleProtocol)
	require.NoError(b, err)
}

func until(b *testing.B, p *pgxpool.Pool, sql string, want int) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
	defer cancel()
	began := time.Now()
	for got := -1; got != want; {
		select {
		case <-ctx.Done():
			b.Fatalf("%d, not %d", got, want)
		case <-time.After(max(20*time.Millisecond, time.Since(began)/30)): // looking is not to be what is measured
		}
		require.NoError(b, p.QueryRow(ctx, sql).Scan(&got))
	}
}

func took(b *testing.B, do func()) time.Duration {
	b.Helper()
	began := time.Now()
	do()
	return time.Since(began)
}

// How many records a second a region compares with its own system, and makes digests of
// for another region.
func BenchmarkComparing(b *testing.B) {
	n := *benchRows
	w := newWorld(b, sharing(), "de", "fr")
	w.run("de", fmt.Sprintf(`insert into account select 'A' || n, 'Account ' || n, '+49 ' || n, n / 8.0, 'x' from generate_series(1, %d) n`, n))
	w.work("de")
	de := w.regions["de"]
	require.Eventually(b, func() bool {
		states, err := de.replica.Status(b.Context(), de.side.Place)
		require.NoError(b, err)
		return states[0].Records == int64(n) && !states[0].Loading
	}, 10*time.Minute, 100*time.Millisecond)
	var compared, digests time.Duration
	rounds := 0
	for b.Loop() {
		rounds++
		compared += took(b, func() {
			found, trouble, err := de.side.Compare(b.Context())
			require.NoError(b, err)
			require.Empty(b, trouble)
			require.EqualValues(b, n, found[0].Records)
			require.Zero(b, found[0].Drift)
		})
		digests += took(b, func() {
			parts, err := de.replica.Digests(b.Context(), de.side.Place, "account", n/1000+1)
			require.NoError(b, err)
			require.Len(b, parts, n/1000+1)
		})
	}
	b.ReportMetric(float64(rounds*n)/compared.Seconds(), "compared-rows/s")
	b.ReportMetric(float64(rounds*n)/digests.Seconds(), "digest-rows/s")
}
