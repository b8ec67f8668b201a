package residency

import (
	"context"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
)

// Database scans every table of a database as its rows are: what PostgreSQL keeps
// compressed or outside the row is text here. The URL is a superuser's, who may read
// everything.
func (s *Scanner) Database(ctx context.Context, name, url string) error {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return err
	}
	return s.tables(ctx, name, config)
}

func (s *Scanner) tables(ctx context.Context, name string, config *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("scanning %s: %w", name, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, err := conn.Query(ctx, `
		select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind in ('r', 'm') and n.nspname !~ '^pg_toast' and c.relpersistence <> 't' order by 1, 2`)
	if err != nil {
		return fmt.Errorf("scanning %s: %w", name, err)
	}
	type table struct{ Schema, Name string }
	tables, err := pgx.CollectRows(rows, pgx.RowToStructByPos[table])
	if err != nil {
		return fmt.Errorf("scanning %s: %w", name, err)
	}
	for _, t := range tables {
		read, write := io.Pipe()
		failed := make(chan error, 1)
		go func() {
			// The alias is no column's name: a column would be taken for the row.
			query := `copy (select "the whole row"::text from only ` + pgx.Identifier{t.Schema, t.Name}.Sanitize() + ` "the whole row") to stdout`
			_, err := conn.PgConn().CopyTo(ctx, write, query)
			_ = write.CloseWithError(err) // nil is the end
			failed <- err
		}()
		err := s.Stream(fmt.Sprintf("%s, table %s.%s", name, t.Schema, t.Name), read)
		_ = read.CloseWithError(err)
		if copied := <-failed; copied != nil {
			err = copied
		}
		if err != nil {
			return fmt.Errorf("scanning %s.%s of %s: %w", t.Schema, t.Name, name, err)
		}
	}
	return nil
}

// Cluster scans every database of a server by its tables.
func (s *Scanner) Cluster(ctx context.Context, name, url string) error {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("scanning %s: %w", name, err)
	}
	rows, err := conn.Query(ctx, `select datname from pg_database where datallowconn`)
	if err != nil {
		return fmt.Errorf("scanning %s: %w", name, err)
	}
	databases, err := pgx.CollectRows(rows, pgx.RowTo[string])
	_ = conn.Close(context.WithoutCancel(ctx))
	if err != nil {
		return fmt.Errorf("scanning %s: %w", name, err)
	}
	for _, database := range databases {
		config.Database = database
		if err := s.tables(ctx, name+", database "+database, config); err != nil {
			return err
		}
	}
	return nil
}
