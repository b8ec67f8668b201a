package run

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Extend gives every row that waits its whole time again. It is for who could start
// nothing for a while and now can: the time of an outage is ours and not the
// caller's, as for Due.
func (b *Book) Extend(ctx context.Context) error {
	return b.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `
			with held as (select run_id from work where `+waits+` and answered_at is null order by run_id for update skip locked)
			update work w set deadline_at = greatest(w.deadline_at, now() + w.timeout) from held where w.run_id = held.run_id`)
		return err
	})
}
