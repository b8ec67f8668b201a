package run

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Stats is the state of the queue, for the metrics.
type Stats struct {
	OldestDue   time.Duration // age of the oldest accepted row that Temporal does not have; 0 when there is none
	Due         int           // such rows
	OpenRuns    int           // accepted, running or parked
	OpenBatches int           // that Temporal has and that are not final
	Retried     int           // open rows with tries above 0
}

// Stats reads the open rows once.
func (b *Book) Stats(ctx context.Context) (Stats, error) {
	var s Stats
	var oldest float64
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `
			select coalesce(extract(epoch from now() - min(order_at) filter (where due)), 0)::float8,
			       count(*) filter (where due), count(*),
			       count(distinct batch_id) filter (where relayed_at is not null),
			       count(*) filter (where tries > 0)
			from (
				select order_at, batch_id, relayed_at, tries, state = 'accepted' and relayed_at is null as due
				from work left join batch using (batch_id) where state in ('accepted', 'running', 'parked')
			) as open`).Scan(&oldest, &s.Due, &s.OpenRuns, &s.OpenBatches, &s.Retried)
	})
	s.OldestDue = max(0, time.Duration(oldest*float64(time.Second)))
	return s, err
}
