package replica

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Feed is what the system behind a connection keeps for us so that a table can be
// followed, by the name that the system knows it by.
type Feed struct {
	Flow, Table, Connection, Name string
}

// Follow notes that our system keeps a feed, before it is made to.
func (r *Replica) Follow(ctx context.Context, p Place, table, feed string) error {
	return r.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `
			insert into replica_feed as f (flow, name, connection, feed, asked_at) values ($1, $2, $3, $4, clock_timestamp())
			on conflict (flow, name, connection) do update set feed = excluded.feed, asked_at = excluded.asked_at`,
			p.Flow, table, p.Sync.Region(p.Region).Connection, feed)
		return err
	})
}

// Feeds lists what systems keep for us, of all flows.
func (r *Replica) Feeds(ctx context.Context) (all []Feed, err error) {
	err = r.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `select flow, name, connection, feed from replica_feed order by 1, 2, 3`)
		if err == nil {
			all, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Feed])
		}
		return err
	})
	return all, err
}

// Unfollow forgets a feed that its system does not keep any more, unless somebody may be
// making it still: it was asked for within a while.
func (r *Replica) Unfollow(ctx context.Context, f Feed, while time.Duration) error {
	return r.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `delete from replica_feed where flow = $1 and name = $2 and connection = $3 and feed = $4 and asked_at < clock_timestamp() - $5::interval`,
			f.Flow, f.Table, f.Connection, f.Name, while)
		return err
	})
}
