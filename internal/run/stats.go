package run

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Stats is the state of the queue, for the metrics.
type Stats struct {
	OldestDue   time.Duration // how long the oldest row waits that could be carried out and that Temporal does not have; 0 when there is none
	Due         int           // such rows: those that wait to be claimed, and those of a batch that is not handed over
	OpenRuns    int           // accepted, running or parked
	OpenBatches int           // that Temporal has and that have an open run
	Retried     int           // open rows with tries above 0
}

// Stats reads the open rows once.
func (b *Book) Stats(ctx context.Context) (Stats, error) {
	var s Stats
	var oldest float64
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `
			select coalesce(extract(epoch from now() - min(coalesce(due_at, accepted_at)) filter (where due)), 0)::float8,
			       count(*) filter (where due), count(*),
			       count(distinct batch_id) filter (where relayed_at is not null),
			       count(*) filter (where tries > 0)
			from (
				select accepted_at, due_at, batch_id, relayed_at, tries, leader is null and case
					when batch_id is null then due_at is null or due_at <= now()
					else state = 'accepted' and relayed_at is null end as due
				from work left join batch using (batch_id) where closed_at is null
			) as open`).Scan(&oldest, &s.Due, &s.OpenRuns, &s.OpenBatches, &s.Retried)
	})
	s.OldestDue = max(0, time.Duration(oldest*float64(time.Second)))
	return s, err
}
