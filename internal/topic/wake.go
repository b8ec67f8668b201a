package topic

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/flow"
)

type (
	// Due is an event that was not told to those who await it, or is not known to have been.
	Due struct {
		ID    int64 // of its row
		Topic string
		Event string // its ID
		Data  flow.Row
		Waits []Sleeper
	}

	// Sleeper is a task of a run that awaits the event.
	Sleeper struct{ RunID, Task, Workflow string }

	querier interface {
		Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	}
)

// Due gives the events after a row that somebody is to be told of, the oldest first, at
// most so many.
func (t *Topics) Due(ctx context.Context, after int64, most int) (all []Due, err error) {
	err = t.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select e.id, e.topic, e.event_id, e.data, coalesce(w.run_id, ''), coalesce(w.task, ''), coalesce(w.workflow_id, '')
			from (select id, topic, event_id, key, data, state from topic_event where dispatched_at is null and id > $2 order by id limit $1) as e
			left join topic_wait w on e.state = 'kept' and w.topic = e.topic and w.key = e.key and w.ended_at is null and e.data @> w.match
			order by e.id, w.since`, most, after)
		if err != nil {
			return err
		}
		all = nil
		var one Due
		var data []byte
		var s Sleeper
		_, err = pgx.ForEachRow(rows, []any{&one.ID, &one.Topic, &one.Event, &data, &s.RunID, &s.Task, &s.Workflow}, func() error {
			if len(all) == 0 || all[len(all)-1].ID != one.ID {
				all = append(all, one)
				if err := decode(data, &all[len(all)-1].Data); err != nil {
					return err
				}
			}
			if last := &all[len(all)-1]; s.RunID != "" {
				last.Waits = append(last.Waits, s)
			}
			return nil
		})
		return err
	})
	return all, err
}

// Dispatched notes that those who await events have been woken.
func (t *Topics) Dispatched(ctx context.Context, ids []int64) error {
	return t.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `update topic_event set dispatched_at = now() where id = any ($1)`, ids)
		return err
	})
}

// Starters gives the flows in force that an event starts and is not known to have started.
func (t *Topics) Starters(ctx context.Context, d Due) ([]*flow.Plan, error) {
	plans, err := t.plans.List(ctx)
	var out []*flow.Plan
	for _, p := range plans {
		if p.Plan.Starts == d.Topic {
			out = append(out, p.Plan)
		}
	}
	if err != nil || len(out) == 0 {
		return nil, err
	}
	err = t.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `select flow from topic_run where event = $1`, d.ID)
		if err != nil {
			return err
		}
		known, err := pgx.CollectRows(rows, pgx.RowTo[string])
		out = slices.DeleteFunc(out, func(p *flow.Plan) bool { return slices.Contains(known, p.Flow) })
		return err
	})
	return out, err
}

// Started notes the run that an event started of a flow, or why it started none. What was
// noted first holds.
func (t *Topics) Started(ctx context.Context, id int64, s flow.TopicStart) error {
	var code, detail *string
	if s.Problem != nil {
		code, detail = &s.Problem.Code, &s.Problem.Detail
	}
	return t.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `insert into topic_run (event, flow, run_id, code, detail) values ($1, $2, nullif($3, ''), $4, $5) on conflict do nothing`, id, s.Flow, s.Run, code, detail)
		return err
	})
}

// Gone ends what a task awaits whose workflow has ended.
func (t *Topics) Gone(ctx context.Context, s Sleeper) error {
	return t.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `update topic_wait set ended_at = now() where run_id = $1 and task = $2 and ended_at is null`, s.RunID, s.Task)
		return err
	})
}

// othersShown bounds the events of a key that a task shows and has not taken.
const othersShown = 20

// Views gives what the tasks of runs await, by run and task.
func Views(ctx context.Context, q querier, runIDs []string) (map[string]map[string]*flow.AwaitView, error) {
	rows, err := q.Query(ctx, `
		select w.run_id, w.task, w.topic, w.key, w.until, coalesce(e.event_id, ''), e.received_at
		from topic_wait w left join topic_event e on e.id = w.event where w.run_id = any ($1)`, runIDs)
	if err != nil {
		return nil, err
	}
	all := map[string]map[string]*flow.AwaitView{}
	var run, task string
	var v flow.AwaitView
	_, err = pgx.ForEachRow(rows, []any{&run, &task, &v.Topic, &v.Key, &v.Until, &v.Event, &v.Came}, func() error {
		one := v
		if one.Until = v.Until.UTC(); v.Came != nil {
			at := v.Came.UTC()
			one.Came = &at
		}
		if all[run] == nil {
			all[run] = map[string]*flow.AwaitView{}
		}
		all[run][task] = &one
		v.Came = nil // not to be overwritten by the next row
		return nil
	})
	if err != nil || len(all) == 0 {
		return all, err
	}
	rows, err = q.Query(ctx, `
		select w.run_id, w.task, o.* from topic_wait w, lateral (
			select `+shown+` from topic_event e where e.topic = w.topic and e.key = w.key and e.id is distinct from w.event order by e.id desc limit $2
		) as o where w.run_id = any ($1)`, runIDs, othersShown)
	if err != nil {
		return nil, err
	}
	var e flow.TopicEvent
	_, err = pgx.ForEachRow(rows, append([]any{&run, &task}, fields(&e)...), func() error {
		if view := all[run][task]; view != nil {
			view.Others = append(view.Others, inUTC(e))
		}
		e.EndedAt, e.Started = nil, nil
		return nil
	})
	return all, err
}
