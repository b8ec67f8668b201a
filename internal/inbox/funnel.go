package inbox

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

type (
	// sums are counts on their way into the funnel.
	sums struct {
		bucket time.Duration
		n      map[[2]string]int64 // by flow and stage
	}

	// Count is how many events of a flow came to a stage in one interval. Stages are
	// received, duplicate, throttled (windows), and reasons with their clause, as in
	// "filtered:where".
	Count struct {
		At    time.Time
		Stage string
		N     int64
	}
)

func newFunnel(bucket time.Duration) *sums { return &sums{bucket: bucket, n: map[[2]string]int64{}} }

func (s *sums) add(flow string, counts map[string]int64) {
	for stage, n := range counts {
		s.n[[2]string{flow, stage}] += n
	}
}

// queue adds the counts in the order of their keys: nobody waits for another in a circle.
func (s *sums) queue(batch *pgx.Batch) {
	if len(s.n) == 0 {
		return
	}
	var flows, stages []string
	var ns []int64
	for at, n := range s.n {
		flows, stages, ns = append(flows, at[0]), append(stages, at[1]), append(ns, n)
	}
	batch.Queue(`
		insert into funnel (flow, at, stage, n)
		select flow, date_bin($4::interval, now(), '2000-01-01'), stage, n from unnest($1::text[], $2::text[], $3::bigint[]) as f(flow, stage, n)
		order by flow, stage
		on conflict (flow, at, stage) do update set n = funnel.n + excluded.n`, flows, stages, ns, s.bucket)
}

// bucket is the interval that the funnel counts by.
func (x *Inbox) bucket() time.Duration {
	return max(time.Duration(float64(time.Minute)/x.options.Speed).Truncate(time.Second), time.Second)
}

// Funnel gives the counts of a flow since a time, the oldest first.
func (x *Inbox) Funnel(ctx context.Context, name string, since time.Time) ([]Count, error) {
	var list []Count
	err := x.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `select at, stage, n from funnel where flow = $1 and at >= $2 order by at, stage`, name, since)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (Count, error) {
			var n Count
			err := r.Scan(&n.At, &n.Stage, &n.N)
			n.At = n.At.UTC()
			return n, err
		})
		return err
	})
	return slices.Clip(list), err
}
