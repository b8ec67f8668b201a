package replica

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/store"
)

// Changed is the channel of the database on which processes of a region tell each other
// that something changed in a system: FLOW, then a space and the table; or FLOW alone:
// the system will tell of its changes from now on.
const Changed = "patchbay_changed"

// Hooked keeps that the system of our region tells of changes at a URL.
func (r *Replica) Hooked(ctx context.Context, flowName, url string) error {
	return r.store.Tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `insert into replica_hook (flow, url) values ($1, $2) on conflict (flow) do update set url = excluded.url, at = now()`,
			flowName, store.Text(url)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `select pg_notify($1, $2)`, Changed, flowName)
		return err
	})
}

// Hooks gives the URLs at which systems tell of changes, by flow.
func (r *Replica) Hooks(ctx context.Context) (map[string]string, error) {
	all := map[string]string{}
	err := r.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `select flow, url from replica_hook`)
		if err != nil {
			return err
		}
		var name, url string
		_, err = pgx.ForEachRow(rows, []any{&name, &url}, func() error { all[name] = url; return nil })
		return err
	})
	return all, err
}

// Tell has whoever follows these tables of our region look at once. It is a hint, and
// nothing is lost where nobody hears it.
func (r *Replica) Tell(ctx context.Context, flowName string, tables []string) error {
	return r.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `select pg_notify($1, $2 || ' ' || t) from unnest($3::text[]) t`, Changed, flowName, tables)
		return err
	})
}
