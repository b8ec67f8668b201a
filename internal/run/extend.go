package run

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Extend gives every row that has no answer, and less than half of its time, the whole
// again: those that wait and those that somebody has in hands. It is for who could have nothing carried out for a
// while and now can: the time of an outage is ours and not the caller's, as for Due.
func (b *Book) Extend(ctx context.Context) error {
	return b.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `
			with held as (select run_id from work where closed_at is null and leader is null and answered_at is null
				and deadline_at < now() + timeout / 2 order by run_id `+exclusively+`)
			update work w set deadline_at = greatest(w.deadline_at, now() + w.timeout) from held where w.run_id = held.run_id`)
		return err
	})
}

// GoOn reports whether the run of a batch of one, which nobody carries any more, is
// to be carried on. reading: it was being read. It is when it has been answered
// meanwhile and nobody heard of it, or has time left to be answered in, because Extend
// gave it some. late is the word of its workflow that it ran out of time long after it
// should have: nobody was there to end it or to carry it, and it has its whole time
// again.
func (b *Book) GoOn(ctx context.Context, batchID string, reading, late bool) (on bool, err error) {
	err = b.store.Write(ctx, func(c *pgxpool.Conn) error {
		tag, err := c.Exec(ctx, `
			update work set deadline_at = case when $3 then greatest(deadline_at, now() + timeout) else deadline_at end
			where batch_id = $1 and closed_at is null
			  and case when answered_at is null then $3 or deadline_at > now() + interval '1 second' else $2 end
			  and not exists (select from seal where cause = run_id)`, batchID, reading, late)
		on = tag.RowsAffected() > 0
		return err
	})
	return on, err
}
