package run

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/claimcheck"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/ledger"
	"patchbay/internal/topic"
)

type (
	// Task is where one task of a run stands.
	Task struct {
		Name    string
		State   flow.TaskState
		Gave    []flow.Row // of a task that is done
		Child   string     // run_id of the flow that it called
		Problem *flow.Problem
		// About is where what it gave is from, for tasks of a hybrid.
		About json.RawMessage
	}

	// TaskNews is what an attempt of a task came to.
	TaskNews struct {
		State    flow.TaskState
		Gave     []flow.Row // kept where it is not nil
		Child    string     // kept where it is not empty
		Note     string
		Problem  *flow.Problem
		About    json.RawMessage  // kept where it is not nil
		Outcomes []ledger.Outcome // of Step
		Step     string
		Event    *topic.Prepared // that it told of; nil: of none
	}
)

// TakeTask takes one task of the run of a batch of one into an activity's hands: who had it
// before is fenced off, other tasks of the run are not touched. The item's Fence is that of
// the task; tasks are all of the run by now, this one among them. undo takes only a task that
// was begun: one that never was is not among the tasks, and the item's Task is empty then.
//
// It fails as Take does.
func (b *Book) TakeTask(ctx context.Context, batchID, name string, undo bool) (item Item, tasks map[string]Task, err error) {
	var params []byte
	err = b.store.Tx(ctx, func(tx pgx.Tx) error {
		item, params = Item{BatchID: batchID}, nil
		var state flow.Status
		err := tx.QueryRow(ctx, `
			select run_id, flow, digest, principal, params, accepted_at, deadline_at, tries, state, exists (select from seal where cause = run_id)
			from work where batch_id = $1 `+exclusively, batchID).Scan(&item.RunID, &item.Flow, &item.Digest, &item.Principal, &params,
			&item.AcceptedAt, &item.DeadlineAt, &item.Tries, &state, &item.Sealed)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return notFound()
		case err != nil:
			return err
		case state.Final():
			return closed()
		}
		if _, err := tx.Exec(ctx, takeTask, item.RunID, name, undo); err != nil { // of no name: it takes none
			return err
		}
		if _, err := tx.Exec(ctx, `update work set state = 'running', waiting = null, progress = work_step(progress, 'working', '') where run_id = $1`, item.RunID); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `update batch set relayed_at = now() where batch_id = $1 and relayed_at is null`, batchID); err != nil {
			return err
		}
		tasks, err = tasksOf(ctx, tx, &item, name)
		return err
	})
	if err != nil {
		return Item{}, nil, err
	}
	plan, err := b.plans.ByDigest(ctx, item.Digest)
	if err != nil {
		return Item{}, nil, err
	}
	if err := decode(params, &item.Params); err != nil {
		return Item{}, nil, fault.New(fault.Bug, "run.decode", "the parameters of a run cannot be read", err)
	}
	item.Params, item.DeadlineAt = typedParams(plan, item.Params), item.DeadlineAt.UTC()
	b.hub.stepped(item.RunID)
	return item, tasks, nil
}

// takeTask gives a task a new holder. What has ended keeps its state; its fence still moves.
const takeTask = `
	insert into task (run_id, name, ordinal, state, fence)
	select $1, $2, (select count(*) + 1 from task where run_id = $1), 'running', (extract(epoch from clock_timestamp()) * 1000000)::bigint
	where not $3 or exists (select from task where run_id = $1 and name = $2)
	on conflict (run_id, name) do update set
		fence = greatest(task.fence + 1, excluded.fence), waiting = null,
		state = case when $3 and task.state in ('running', 'done', 'failed') then 'undoing' else task.state end`

// tasksOf reads the tasks of a run, and the fence of one of them into the item.
func tasksOf(ctx context.Context, q ledger.Querier, item *Item, name string) (map[string]Task, error) {
	rows, err := q.Query(ctx, `select name, state, fence, gave, coalesce(child, ''), problem, about from task where run_id = $1`, item.RunID)
	if err != nil {
		return nil, err
	}
	tasks := map[string]Task{}
	var t Task
	var fence int64
	var gave, problem, about []byte
	_, err = pgx.ForEachRow(rows, []any{&t.Name, &t.State, &fence, &gave, &t.Child, &problem, &about}, func() error {
		one := t
		one.About = slices.Clone(about)
		if gave != nil {
			if err := decode(gave, &one.Gave); err != nil {
				return fault.New(fault.Bug, "run.decode", "what a task gave cannot be read", err)
			}
		}
		if problem != nil {
			if err := json.Unmarshal(problem, &one.Problem); err != nil {
				return fault.New(fault.Bug, "run.decode", "the problem of a task cannot be read", err)
			}
		}
		if t.Name == name {
			item.Task, item.Fence = name, fence
		}
		tasks[t.Name] = one
		return nil
	})
	return tasks, err
}

// KeepTask keeps what became of a task that the caller holds, with the outcomes of its writes, in one
// transaction. It fails as Answer does.
func (b *Book) KeepTask(ctx context.Context, item Item, n TaskNews) error {
	news := ledger.News{Cause: item.RunID, Step: n.Step, Outcomes: n.Outcomes}
	if err := news.Valid(); err != nil {
		return err
	}
	var gave, problem, about *string
	if n.About != nil {
		about = new(string(n.About))
	}
	if n.Gave != nil {
		body, err := encode(n.Gave)
		if err != nil {
			return err
		}
		gave = new(string(body))
	}
	if n.Problem != nil {
		body, err := encode(n.Problem)
		if err != nil {
			return err
		}
		problem = new(string(body))
	}
	err := b.store.Tx(ctx, func(tx pgx.Tx) error {
		rows, err := holders(ctx, tx, exclusively, item)
		if err != nil {
			return err
		}
		if err := rows.refuse(item); err != nil {
			return err
		}
		if _, err := ledger.SettleAll(ctx, tx, news); err != nil {
			return err
		}
		if _, err := claimcheck.Hold(ctx, tx, claimcheck.Owner{Run: item.RunID}, n.claims()...); err != nil {
			return err
		}
		if n.Event != nil {
			if _, err := topic.Put(ctx, tx, n.Event); err != nil {
				return err
			}
		}
		if _, err = tx.Exec(ctx, `
			update task set state = $3, gave = coalesce($4::json, gave), child = coalesce(nullif($5, ''), child), note = $6, problem = $7::jsonb, waiting = null,
				about = coalesce($8::json, about),
				ended_at = case when $3 in ('running', 'undoing') then null else now() end, stands_at = case when $3 = 'stands' then now() end
			where run_id = $1 and name = $2`, item.RunID, item.Task, string(n.State), gave, n.Child, n.Note, problem, about); err != nil || n.State != flow.TaskStands {
			return err
		}
		return told(ctx, tx, item.RunID, item.Task, n.Problem)
	})
	if err == nil {
		b.hub.publish(item.RunID)
	}
	return err
}

// claims are the documents that a task gave: the run needs them from now on.
func (n TaskNews) claims() []string {
	values := make([]any, len(n.Gave))
	for i, row := range n.Gave {
		values[i] = row
	}
	return flow.Claims(values...)
}

// EndTasks closes the run of a batch all of whose tasks are done, with its answer; why is,
// where it is not nil, why it has failed nevertheless. It fails as Close does, and with Conflict
// "ledger.sealed" where a cancel was asked first: the run is open then, for its tasks are to be
// taken back before Close ends it.
func (b *Book) EndTasks(ctx context.Context, batchID string, answer flow.Result, why *fault.Fault) (flow.Status, error) {
	c := conclusion{wish: fail, why: why, heeds: true}
	if why == nil {
		c.wish = complete
		if answer.Rows == nil {
			answer.Rows = []flow.Row{}
		}
		body, err := encode(answer)
		if err != nil {
			return "", err
		}
		if err := b.store.Write(ctx, func(c *pgxpool.Conn) error {
			_, err := c.Exec(ctx, `update work set answer = $2 where batch_id = $1 and closed_at is null`, batchID, string(body))
			return err
		}); err != nil {
			return "", err
		}
	}
	all, err := b.concludeBatch(ctx, batchID, c)
	switch {
	case err != nil:
		return "", err
	case len(all) == 0:
		return "", notFound()
	case all[len(all)-1].sealed:
		return "", fault.New(fault.Conflict, "ledger.sealed", "the run was cancelled before it came to its end", nil)
	}
	return all[len(all)-1].status, b.Settle(ctx, batchID)
}

// States gives where the effects of one step of a run stand, by their keys.
func (b *Book) States(ctx context.Context, runID, step string) (states map[string]ledger.Standing, err error) {
	err = b.store.Read(ctx, func(c *pgxpool.Conn) error {
		states, err = ledger.Standings(ctx, c, runID, step)
		return err
	})
	return states, err
}

// views reads the tasks of runs as they are shown, in the order in which they were begun.
func views(ctx context.Context, q ledger.Querier, runIDs []string) (map[string][]flow.TaskView, error) {
	rows, err := q.Query(ctx, `
		select run_id, name, state, note, coalesce(waiting, ''), problem, coalesce(child, ''), begun_at, ended_at,
			coalesce(settled_by, ''), settled_at, coalesce(settled_note, '') from task
		where run_id = any ($1) order by run_id, ordinal, name`, runIDs)
	if err != nil {
		return nil, err
	}
	all := map[string][]flow.TaskView{}
	var id string
	var v flow.TaskView
	var problem []byte
	var begun time.Time
	var settled flow.Settlement
	var settledAt *time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &v.Name, &v.State, &v.Note, &v.Waiting, &problem, &v.Run, &begun, &v.EndedAt,
		&settled.By, &settledAt, &settled.Note}, func() error {
		one := v
		if settledAt != nil {
			one.Settled = &flow.Settlement{By: settled.By, At: settledAt.UTC(), Note: settled.Note}
		}
		one.BegunAt, one.EndedAt = begun.UTC(), utc(v.EndedAt)
		one.Problem = nil
		if problem != nil {
			if err := json.Unmarshal(problem, &one.Problem); err != nil {
				return fault.New(fault.Bug, "run.decode", "the problem of a task cannot be read", err)
			}
		}
		all[id] = append(all[id], one)
		return nil
	})
	if err != nil {
		return nil, err
	}
	awaits, err := topic.Views(ctx, q, runIDs)
	for id, tasks := range all {
		for i := range tasks {
			tasks[i].Await = awaits[id][tasks[i].Name]
		}
	}
	return all, err
}
