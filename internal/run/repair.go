package run

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/journal"
	"patchbay/internal/ledger"
	"patchbay/internal/store"
)

// mostRepairs bounds the repairs that are listed.
const mostRepairs = 500

// Repairs gives the tasks of services that nothing took back: those that wait for a person,
// the oldest first, or those that are settled, the newest first.
func (b *Book) Repairs(ctx context.Context, f flow.RepairFilter) (list []flow.Repair, err error) {
	limit := mostRepairs
	if f.Limit > 0 {
		limit = min(f.Limit, mostRepairs)
	}
	order := `coalesce(t.stands_at, t.ended_at, t.begun_at), t.run_id, t.ordinal`
	if f.Settled {
		order = `t.settled_at desc, t.run_id, t.ordinal`
	}
	err = b.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select t.run_id, w.flow, t.name, t.problem, coalesce(t.stands_at, t.ended_at, t.begun_at), t.was is not null,
			       coalesce(t.settled_by, ''), t.settled_at, coalesce(t.settled_note, '')
			from task t join work w using (run_id)
			where t.state = 'stands' and (t.settled_at is not null) = $1 and ($2 = '' or w.flow = $2) and ($3 = '' or t.run_id = $3)
			order by `+order+` limit $4`, f.Settled, f.Flow, f.RunID, limit)
		if err != nil {
			return err
		}
		if list, err = pgx.CollectRows(rows, scanRepair); err != nil {
			return err
		}
		return tellRemains(ctx, c, list)
	})
	return list, err
}

func scanRepair(row pgx.CollectableRow) (r flow.Repair, err error) {
	var problem []byte
	var s flow.Settlement
	var settled *time.Time
	if err := row.Scan(&r.RunID, &r.Flow, &r.Step, &problem, &r.Since, &r.Goes, &s.By, &settled, &s.Note); err != nil {
		return r, err
	}
	if r.Since = r.Since.UTC(); settled != nil {
		s.At = settled.UTC()
		r.Settled = &s
	}
	if problem != nil {
		err = json.Unmarshal(problem, &r.Problem)
	}
	return r, err
}

// tellRemains fills in what stands.
func tellRemains(ctx context.Context, q ledger.Querier, list []flow.Repair) error {
	ids := make([]string, len(list))
	for i, r := range list {
		ids[i] = r.RunID
	}
	all, err := ledger.Tallies(ctx, q, ids...)
	if err != nil {
		return err
	}
	for i := range list {
		list[i].Keys = []string{}
		for _, e := range ledger.Remains(all[list[i].RunID]) {
			if e.Step != list[i].Step {
				continue
			}
			list[i].Target, list[i].Keys = e.Target, append(list[i].Keys, e.Labels...)
			list[i].InDoubt = list[i].InDoubt || e.State == flow.Doubtful || e.State == flow.Attempt
		}
	}
	return nil
}

// Repaired notes that a person has put right what a task of a run left standing, or, of an
// empty step, what all of its tasks did. It gives their names. NotFound "run.not_found"; NotFound
// "repair.not_found" where nothing stands; Conflict "repair.settled" where somebody has settled
// it already.
func (b *Book) Repaired(ctx context.Context, runID, step, by, note string) (steps []string, err error) {
	err = b.store.Tx(ctx, func(tx pgx.Tx) error {
		row, err := lock(ctx, tx, runID)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `
			update task set settled_by = $3, settled_at = now(), settled_note = $4
			where run_id = $1 and ($2 = '' or name = $2) and state = 'stands' and settled_at is null returning name`,
			runID, store.Text(step), store.Text(by), store.Text(note))
		if err != nil {
			return err
		}
		if steps, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			return err
		}
		if len(steps) == 0 {
			return unsettled(ctx, tx, runID, step)
		}
		entries := make([]journal.Entry, len(steps))
		for i, name := range steps {
			entries[i] = journal.Entry{Flow: row.flow, Run: runID, What: "undo", Reason: journal.Repaired, Round: row.round, Keys: keysOf(row.params),
				Detail: map[string]any{"step": name, "by": by, "why": note}}
		}
		return journal.Write(ctx, tx, entries...)
	})
	if err != nil {
		return nil, err
	}
	b.hub.publish(runID)
	return steps, nil
}

// unsettled says why there was nothing to settle.
func unsettled(ctx context.Context, tx pgx.Tx, runID, step string) error {
	var by, name string
	err := tx.QueryRow(ctx, `
		select coalesce(max(settled_by), ''), coalesce(max(name), '') from task where run_id = $1 and ($2 = '' or name = $2) and state = 'stands'`,
		runID, step).Scan(&by, &name)
	switch {
	case err != nil:
		return err
	case name != "":
		return fault.New(fault.Conflict, "repair.settled", by+" has put it right already", nil)
	case step != "":
		return fault.NotFoundf("repair.not_found", "the step %.60q of run %s does not stand: nothing of it has to be put right by a person", step, runID)
	}
	return fault.NotFoundf("repair.not_found", "no step of run %s stands: nothing of it has to be put right by a person", runID)
}

// The codes of tasks that stand because nothing has taken them back.
const (
	codeAbandoned  = "undo.none"
	codeUnfinished = "undo.unfinished"
)

// stand keeps of runs that end which of their tasks have to be put right by a person: what
// was being taken back and is not, and, where nobody came to take anything back, all
// that was written. It gives what the journal says of them.
func stand(ctx context.Context, tx pgx.Tx, ends []ending) ([]journal.Entry, error) {
	var ids, steps, problems []string
	var abandoned []bool
	type one struct{ run, step string }
	known := map[one]journal.Entry{}
	for _, end := range ends {
		if end.status == flow.Completed {
			continue
		}
		p := flow.Problem{Code: codeUnfinished, Detail: "it was tried to take it back until the time for that was over"}
		if end.abandoned {
			p = flow.Problem{Code: codeAbandoned, Detail: "its run was cancelled while nobody carried it, and nothing was taken back"}
			if end.problem != nil {
				p.Detail = "nothing was taken back: " + end.problem.Detail
			}
		}
		body, err := encode(p)
		if err != nil {
			return nil, err
		}
		for _, e := range ledger.Remains(end.effects) {
			at := one{end.row.runID, e.Step}
			entry, again := known[at]
			if !again {
				ids, steps, problems, abandoned = append(ids, at.run), append(steps, at.step), append(problems, string(body)), append(abandoned, end.abandoned)
				entry = upright(end.row.flow, at.run, e.Step, end.row.round, keysOf(end.row.params), p)
			}
			known[at] = withRemains(entry, e)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	rows, err := tx.Query(ctx, `
		update task t set state = 'stands', was = case when e.abandoned then t.state end, stands_at = now(), waiting = null,
		       ended_at = coalesce(t.ended_at, now()), problem = coalesce(t.problem, e.problem::jsonb)
		from unnest($1::text[], $2::text[], $3::text[], $4::bool[]) as e(id, step, problem, abandoned)
		where t.run_id = e.id and t.name = e.step and (t.state = 'undoing' or e.abandoned and t.state in ('running', 'done', 'failed'))
		returning t.run_id, t.name`, ids, steps, problems, abandoned)
	if err != nil {
		return nil, err
	}
	var entries []journal.Entry
	var at one
	_, err = pgx.ForEachRow(rows, []any{&at.run, &at.step}, func() error { entries = append(entries, known[at]); return nil })
	return entries, err
}

// upright is what the journal says of a task that stands.
func upright(name, runID, step string, round int, keys []string, why flow.Problem) journal.Entry {
	return journal.Entry{Flow: name, Run: runID, What: "undo", Reason: journal.Stands, Round: round, Keys: keys,
		Detail: map[string]any{"step": step, "code": why.Code, "why": why.Detail}}
}

// withRemains adds to an entry what stands.
func withRemains(entry journal.Entry, e ledger.Tally) journal.Entry {
	labels, _ := entry.Detail["labels"].([]string)
	entry.Detail["target"], entry.Detail["labels"] = e.Target, append(labels, e.Labels[:min(len(e.Labels), labelsShown)]...)
	entry.Keys = append(e.Labels, entry.Keys...)
	return entry
}

// told keeps in the journal that a task stands.
func told(ctx context.Context, tx pgx.Tx, runID, step string, why *flow.Problem) error {
	row, err := lock(ctx, tx, runID)
	if err != nil {
		return err
	}
	all, err := ledger.Tallies(ctx, tx, runID)
	if err != nil {
		return err
	}
	if why == nil {
		why = &flow.Problem{}
	}
	entry := upright(row.flow, runID, step, row.round, keysOf(row.params), *why)
	for _, e := range ledger.Remains(all[runID]) {
		if e.Step == step {
			entry = withRemains(entry, e)
		}
	}
	return journal.Write(ctx, tx, entry)
}

// leftover is what the tasks of a run that has ended left standing, or decided.
type leftover struct {
	open, settled int
	goes          bool // a redrive as it was goes on with them
	decided       bool // what it decided stands: it has only not been written
}

func leftovers(ctx context.Context, q ledger.Querier, runID string) (l leftover, err error) {
	rows, err := q.Query(ctx, `
		select count(*) filter (where t.state = 'stands' and t.settled_at is null), count(t.settled_at),
		       count(t.was) filter (where t.state = 'stands') > 0 and count(t.settled_at) = 0,
		       exists (select from decision where run_id = $1 and state = 'decided')
		from task t where t.run_id = $1`, runID)
	if err != nil {
		return l, err
	}
	_, err = pgx.ForEachRow(rows, []any{&l.open, &l.settled, &l.goes, &l.decided}, func() error { return nil })
	return l, err
}

func (b *Book) leftovers(ctx context.Context, runID string) (l leftover, err error) {
	err = b.store.Read(ctx, func(c *pgxpool.Conn) error {
		l, err = leftovers(ctx, c, runID)
		return err
	})
	return l, err
}

// refuse says why no new run is made of a run whose tasks stand: it would write beside them, or
// decide again.
func (l leftover) refuse(runID string) error {
	if l.decided {
		return fault.New(fault.Conflict, "dead.decided", "run "+runID+" was decided; redrive it as it was, which writes that decision, or dismiss it", nil)
	}
	if l.open == 0 {
		return nil
	}
	how := "put it right and say so (patchbay repairs), then redrive the run"
	if l.goes {
		how += ", or redrive it as it was: it goes on where it was ended"
	}
	return fault.New(fault.Conflict, "dead.stands", "what run "+runID+" has written and nobody took back stands; "+how, nil)
}
