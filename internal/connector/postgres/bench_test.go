package postgres_test

import (
	"bytes"
	"context"
	"io"
	"net/url"
	"runtime"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/postgres"
	"patchbay/internal/store/storetest"
)

const (
	benchRows    = 200_000
	benchColumns = `id, customer, number, amount, currency, due, changed, note`
)

// BenchmarkSheets is what reading and writing by sheets costs beside COPY of the same
// rows. The figure to compare is rows/s.
func BenchmarkSheets(b *testing.B) {
	owner := storetest.Empty(b)
	c, err := pgx.Connect(b.Context(), owner)
	require.NoError(b, err)
	b.Cleanup(func() { _ = c.Close(context.Background()) })
	exec := func(sql string) {
		_, err := c.Exec(b.Context(), sql)
		require.NoError(b, err)
	}
	const types = ` (id bigint primary key, customer varchar(20), number text, amount numeric(20, 4), currency char(3), due date, changed timestamptz, note text)`
	exec(`create table here` + types + `; create table there` + types + `; create table staging (like here);
		insert into here select n, 'ACC-' || n % 5000, 'SO-' || n, n * 1.0137, 'EUR', date '2026-01-01' + n % 300, timestamptz '2026-01-01' + n * interval '1 s', 'Delivered "as agreed", line ' || n
		from generate_series(1, 200000) as n; analyze here`)
	u, err := url.Parse(owner)
	require.NoError(b, err)
	password, _ := u.User.Password()
	user := u.User.Username()
	u.User, u.RawQuery = nil, ""
	pg, err := postgres.New(connector.Config{Name: "bench", URL: u.String(), Auth: connector.Auth{Kind: "basic", Username: user, Password: password},
		Limits: connector.Limits{Timeout: time.Minute},
		Tables: map[string]connector.Table{"here": {Path: "here", Keys: [][]string{{"id"}}}, "there": {Path: "there", Keys: [][]string{{"id"}}}}}, connector.Deps{})
	require.NoError(b, err)
	b.Cleanup(func() { pg.Close(context.Background()) })
	q := connector.Query{Table: "here", Select: []string{"id", "customer", "number", "amount", "currency", "due", "changed", "note"}}
	read := func(take func(connector.Sheet)) {
		for token := ""; ; {
			sheet, err := pg.ExtractPage(b.Context(), q, token)
			require.NoError(b, err)
			take(sheet)
			if token = sheet.Next; token == "" {
				return
			}
		}
	}
	var sheets []connector.Sheet
	read(func(s connector.Sheet) { sheets = append(sheets, s) })
	var text bytes.Buffer
	_, err = c.PgConn().CopyTo(b.Context(), &text, `copy here to stdout`)
	require.NoError(b, err)
	load := func() {
		for _, s := range sheets {
			refusals, err := pg.Load(b.Context(), connector.Load{Table: "there", Key: []string{"id"}, Sheet: s})
			require.NoError(b, err)
			require.Empty(b, refusals)
		}
	}
	copyIn := func(table string) {
		_, err := c.PgConn().CopyFrom(b.Context(), bytes.NewReader(text.Bytes()), `copy `+table+` from stdin`)
		require.NoError(b, err)
	}
	const merge = `insert into there select * from staging order by id on conflict (id) do update set customer = excluded.customer, number = excluded.number, amount = excluded.amount,
		currency = excluded.currency, due = excluded.due, changed = excluded.changed, note = excluded.note`
	for _, run := range []struct {
		name   string
		before string // not measured
		work   func()
	}{
		{"read/copy to stdout", "", func() {
			_, err := c.PgConn().CopyTo(b.Context(), io.Discard, `copy here to stdout`)
			require.NoError(b, err)
		}},
		{"read/copy of a select in order of the key", "", func() {
			_, err := c.PgConn().CopyTo(b.Context(), io.Discard, `copy (select `+benchColumns+` from here order by id) to stdout`)
			require.NoError(b, err)
		}},
		{"read/extract", "", func() { read(func(connector.Sheet) {}) }},
		{"insert/copy from stdin", `truncate there`, func() { copyIn("there") }},
		{"insert/copy and merge", `truncate there, staging`, func() { copyIn("staging"); exec(merge) }},
		{"insert/load", `truncate there`, load},
		{"update/copy and merge", `truncate there, staging; insert into there select * from here`, func() { copyIn("staging"); exec(merge) }},
		{"update/load", `truncate there; insert into there select * from here`, load},
	} {
		b.Run(run.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				if run.before != "" {
					exec(run.before)
					exec(`vacuum there`)
				}
				runtime.GC()
				b.StartTimer()
				run.work()
			}
			b.ReportMetric(float64(b.N)*benchRows/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(text.Len())/benchRows, "B/row")
		})
	}
}
