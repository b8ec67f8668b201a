package topic

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/flow"
)

type (
	// Due is an event that was not told to those who await it, or is not known to have been.
	Due struct {
		ID    int64 // of its row
		Waits []Sleeper
	}

	// Sleeper is a task of a run that awaits the event.
	Sleeper struct{ RunID, Task, Workflow string }

	querier interface {
		Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	}
)

// Due gives the events that somebody is to be woken for, the oldest first, at most so many.
func (t *Topics) Due(ctx context.Context, most int) (all []Due, err error) {
	err = t.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select e.id, coalesce(w.run_id, ''), coalesce(w.task, ''), coalesce(w.workflow_id, '')
			from (select id, topic, key, data, state from topic_event where dispatched_at is null order by id limit $1) as e
			left join topic_wait w on e.state = 'kept' and w.topic = e.topic and w.key = e.key and w.ended_at is null and e.data @> w.match
			order by e.id, w.since`, most)
		if err != nil {
			return err
		}
		all = nil
		var id int64
		var s Sleeper
		_, err = pgx.ForEachRow(rows, []any{&id, &s.RunID, &s.Task, &s.Workflow}, func() error {
			if len(all) == 0 || all[len(all)-1].ID != id {
				all = append(all, Due{ID: id})
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
		select w.run_id, w.task, e.* from topic_wait w, lateral (
			select `+shown+` from topic_event o where o.topic = w.topic and o.key = w.key and o.id is distinct from w.event order by o.id desc limit $2
		) as e where w.run_id = any ($1)`, runIDs, othersShown)
	if err != nil {
		return nil, err
	}
	var e flow.TopicEvent
	_, err = pgx.ForEachRow(rows, append([]any{&run, &task}, fields(&e)...), func() error {
		if view := all[run][task]; view != nil {
			view.Others = append(view.Others, inUTC(e))
		}
		e.EndedAt = nil
		return nil
	})
	return all, err
}
