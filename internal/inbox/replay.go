package inbox

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/flow"
)

// Recorded is an event as it was kept, and when it came.
type Recorded struct {
	Event flow.Occurrence
	At    time.Time
}

// Recorded gives the events of a flow that came in a time, the oldest first, at most
// limit. What only counts (explain: counts) was not kept.
func (x *Inbox) Recorded(ctx context.Context, name string, from, to time.Time, limit int) ([]Recorded, error) {
	var list []Recorded
	err := x.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select source, record, change, before, after, sent, received_at from event
			where received_at >= $2 and received_at < $3 and flow = $1 order by received_at, id limit $4`, name, from, to, limit)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Recorded, error) {
			var r Recorded
			var source string
			var before, after []byte
			if err := row.Scan(&source, &r.Event.Record, &r.Event.Change, &before, &after, &r.Event.Sent, &r.At); err != nil {
				return r, err
			}
			r.Event.Connection, r.Event.Table, _ = strings.Cut(source, ".")
			if err := decode(before, &r.Event.Before); err != nil {
				return r, err
			}
			return r, decode(after, &r.Event.After)
		})
		return err
	})
	return list, err
}

// Open is how many runs of a flow are not final, and how many have ended well or ill.
func (x *Inbox) Open(ctx context.Context, name string, since time.Time) (open, completed, failed int64, err error) {
	err = x.store.Read(ctx, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `
			select (select count(*) from work where flow = $1 and closed_at is null), count(*) filter (where state = 'completed'), count(*) filter (where state <> 'completed')
			from work where flow = $1 and closed_at >= $2`, name, since).Scan(&open, &completed, &failed)
	})
	return open, completed, failed, err
}
