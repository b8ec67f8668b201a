package main

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// tables is what PostgreSQL has counted of one database so far: what a press
// costs there, whatever else the machine does.
type tables struct{ commits, changed, looked, wal float64 }

// counted reads the statistics. Backends report them about once a second, so it
// is asked when all has been quiet for longer than that.
func counted(ctx context.Context, address string) (t tables, err error) {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return t, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	err = conn.QueryRow(ctx, `
		select xact_commit::float8, (tup_inserted + tup_updated + tup_deleted)::float8, tup_returned::float8,
		       (select wal_bytes::float8 from pg_stat_wal)
		from pg_stat_database where datname = current_database()`).Scan(&t.commits, &t.changed, &t.looked, &t.wal)
	return t, err
}

func (t tables) since(before tables) tables {
	return tables{t.commits - before.commits, t.changed - before.changed, t.looked - before.looked, t.wal - before.wal}
}
