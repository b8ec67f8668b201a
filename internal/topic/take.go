package topic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

type (
	// Wait is a task that awaits an event.
	Wait struct {
		RunID, Task, Workflow string // the ID of the workflow that is woken
		Topic                 string
		Key                   string
		Match                 flow.Row      // fields that an event must have, with these values
		Within                time.Duration // from when it is first known
	}

	// Taken is what a task that awaits an event has: the event, or the time that is left.
	// Event is nil while none came; Left is then 0 when none may come any more.
	Taken struct {
		Event flow.Row
		ID    string
		Until time.Time
		Left  time.Duration
	}
)

// hold lets nobody else look for, or add, an event of a topic and a key until the
// transaction ends.
func hold(ctx context.Context, tx pgx.Tx, topic, key string) error {
	_, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 31))`, topic, key)
	return err
}

// Take notes that a task awaits an event, and takes the oldest that is there for it. What it
// has taken before it takes again. An event that was received when the time of the wait was
// over is not for it.
func Take(ctx context.Context, tx pgx.Tx, w Wait) (t Taken, err error) {
	match, err := json.Marshal(w.Match)
	if err != nil {
		return t, err
	}
	key := store.Text(w.Key)
	if err := hold(ctx, tx, w.Topic, key); err != nil {
		return t, err
	}
	var taken *int64
	var over bool
	if err := tx.QueryRow(ctx, `
		insert into topic_wait (run_id, task, topic, key, match, workflow_id, until) values ($1, $2, $3, $4, $5::jsonb, $6, clock_timestamp() + $7::interval)
		on conflict (run_id, task) do update set workflow_id = excluded.workflow_id
		returning until, event, ended_at is not null`, w.RunID, w.Task, w.Topic, key, string(match), w.Workflow, w.Within).Scan(&t.Until, &taken, &over); err != nil {
		return t, err
	}
	t.Until = t.Until.UTC()
	if over && taken == nil {
		return t, nil
	}
	var data []byte
	err = tx.QueryRow(ctx, `
		with found as (
			select id from topic_event where topic = $1 and key = $2 and case when $3::bigint is null
				then state = 'kept' and received_at <= $4 and expires_at > now() and data @> $5::jsonb else id = $3 end
			order by id limit 1
		), wait as (
			update topic_wait w set event = found.id, ended_at = coalesce(w.ended_at, now()) from found where w.run_id = $6 and w.task = $7
		)
		update topic_event e set state = 'taken', run_id = $6, task = $7, why = 'awaited', ended_at = coalesce(e.ended_at, now())
		from found where e.id = found.id
		returning e.event_id, e.data`, w.Topic, key, taken, t.Until, string(match), w.RunID, w.Task).Scan(&t.ID, &data)
	switch {
	case err == nil:
		return t, decode(data, &t.Event)
	case !errors.Is(err, pgx.ErrNoRows):
		return t, err
	}
	// What comes from now on finds this row, and what came has been looked for.
	err = tx.QueryRow(ctx, `
		update topic_wait set ended_at = case when until <= t then t end from (select clock_timestamp() as t) as c
		where run_id = $1 and task = $2 returning greatest(until - t, interval '0')`, w.RunID, w.Task).Scan(&t.Left)
	return t, err
}

func decode(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return fault.New(fault.Bug, "event.decode", "a stored event cannot be read", err)
	}
	return nil
}
