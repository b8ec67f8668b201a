package postgres_test

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/postgres"
	"patchbay/internal/store/storetest"
)

// BenchmarkFollowing is what a stream tells of 100,000 updates that are in the log, and
// what ranges read of 1,000,000 rows. The figure is rows/s.
func BenchmarkFollowing(b *testing.B) {
	owner := storetest.Empty(b)
	c, err := pgx.Connect(b.Context(), owner)
	require.NoError(b, err)
	b.Cleanup(func() { _ = c.Close(context.Background()) })
	exec := func(sql string) {
		_, err := c.Exec(b.Context(), sql)
		require.NoError(b, err)
	}
	exec(`create table account (id bigint primary key, name text, city text, amount numeric(20, 4), changed timestamptz, secret text);
		insert into account select n, 'Account ' || n, 'Ulm', n * 1.01, timestamptz '2026-01-01' + n * interval '1 s', 'secret' from generate_series(1, 1000000) as n; analyze account`)
	u, err := url.Parse(owner)
	require.NoError(b, err)
	password, _ := u.User.Password()
	user := u.User.Username()
	u.User, u.RawQuery = nil, ""
	pg, err := postgres.New(connector.Config{Name: "bench", URL: u.String(), Auth: connector.Auth{Kind: "basic", Username: user, Password: password},
		Limits: connector.Limits{Timeout: time.Minute}, Tables: map[string]connector.Table{"account": {Path: "account", Keys: [][]string{{"id"}}}}}, connector.Deps{})
	require.NoError(b, err)
	table := connector.FeedTable{Table: "account", Key: []string{"id"}, Columns: []string{"name", "city", "amount", "changed"}}
	stream, err := pg.Tail(b.Context(), connector.Feed{Name: "bench", Tables: []connector.FeedTable{table}}, "")
	require.NoError(b, err)
	b.Cleanup(func() {
		_ = stream.Close(context.Background())
		require.NoError(b, pg.DropFeed(context.Background(), "bench"))
		pg.Close(context.Background())
	})
	b.Run("stream", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			for n := range 100 {
				exec(`update account set amount = amount + 1 where id between ` + []string{"1 and 1000", "5001 and 6000"}[n%2])
			}
			b.StartTimer()
			for n := 0; n < 100_000; {
				got, err := stream.Next(b.Context(), 2000, time.Second)
				require.NoError(b, err)
				n += len(got.Changes)
				require.NoError(b, stream.Confirm(b.Context(), got.Position))
			}
		}
		b.ReportMetric(float64(b.N)*100_000/b.Elapsed().Seconds(), "rows/s")
	})
	b.Run("ranges", func(b *testing.B) {
		for b.Loop() {
			var after connector.Row
			for n := 0; ; {
				part, err := pg.ReadChunk(b.Context(), table, after, 5000)
				require.NoError(b, err)
				n += len(part.Rows)
				if after = part.Last; after == nil {
					require.Equal(b, 1_000_000, n)
					break
				}
			}
		}
		b.ReportMetric(float64(b.N)*1_000_000/b.Elapsed().Seconds(), "rows/s")
	})
	b.Run("writes", func(b *testing.B) {
		base := 2_000_000
		for b.Loop() {
			for range 10 {
				rows := make([]connector.Row, 5000)
				for i := range rows {
					base++
					rows[i] = connector.Row{"id": base, "name": "Account", "city": "Ulm", "amount": 1}
				}
				results, err := pg.UpsertAt(b.Context(), connector.Upsert{Table: "account", Key: []string{"id"}, Rows: rows}, make([]string, len(rows)))
				require.NoError(b, err)
				require.NoError(b, results[0].Err)
			}
		}
		b.ReportMetric(float64(b.N)*50_000/b.Elapsed().Seconds(), "rows/s")
	})
}
