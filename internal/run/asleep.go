package run

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/flow"
)

// Sleeper is an open run whose workflow waits for a connection, see flow.Asleep.
type Sleeper struct {
	Handed
	Connection string
}

// Asleep gives the runs that sleep, in the order in which they were accepted, and of each
// connection that they wait for at most so many: one that rests hides none of another.
func (b *Book) Asleep(ctx context.Context, limit int) ([]Sleeper, error) {
	var list []Sleeper
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select batch_id, flow, pattern, workflow_id, waiting from (
				select w.batch_id, w.flow, w.pattern, coalesce(w.workflow_id, '') as workflow_id, x.waiting, w.accepted_at, w.run_id,
				       row_number() over (partition by split_part(x.waiting, ':', 1) order by w.accepted_at, w.run_id) as nth
				from work w cross join lateral (
					select w.waiting union all
					select waiting from task t where t.run_id = w.run_id and t.state in ('running', 'undoing')
				) as x
				where w.closed_at is null and w.batch_id is not null and starts_with(x.waiting, $1)
			) as asleep
			where nth <= $2 order by accepted_at, run_id`, flow.SleepsFor, limit)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (s Sleeper, err error) {
			var name, pattern, waiting string
			err = r.Scan(&s.BatchID, &name, &pattern, &s.WorkflowID, &waiting)
			if s.WorkflowID == "" {
				s.WorkflowID = workflowID(pattern, name, s.BatchID)
			}
			s.Connection = flow.ObstacleOf(waiting).Connection
			return s, err
		})
		return err
	})
	return list, err
}
