package review

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

type (
	// Reviews keeps plans. It is safe for concurrent use.
	Reviews struct {
		store *store.Store
	}

	// Proposal is a plan that is to be kept. Why is why a person has to see it; empty:
	// nobody has to.
	Proposal struct {
		Key  string
		Plan json.RawMessage
		Row  flow.Row // of the target
		Why  string
		// Refused is why it can be no row of the target; Row is nil then.
		Refused string
		Stale   []string // sources that it could not use
	}
)

// The states of a plan.
const (
	Due        = "due"    // nobody has to see it; it is to be written
	Waiting    = "review" // it waits for a person
	Approved   = "approved"
	Rejected   = "rejected"   // by a person
	Superseded = "superseded" // a newer plan of its key came first
	Written    = "written"
	Refused    = "refused" // by the target
)

// New gives Reviews on a store.
func New(s *store.Store) *Reviews { return &Reviews{store: s} }

// Known tells which of keys a run has plans of.
func (r *Reviews) Known(ctx context.Context, runID string, keys []string) (map[string]bool, error) {
	known := map[string]bool{}
	err := r.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `select key from advice where run_id = $1 and key = any ($2)`, runID, keys)
		if err != nil {
			return err
		}
		var key string
		_, err = pgx.ForEachRow(rows, []any{&key}, func() error { known[key] = true; return nil })
		return err
	})
	return known, err
}

// Keep keeps the plans of a run. One that is there already stays what it is.
func (r *Reviews) Keep(ctx context.Context, flowName, runID string, list []Proposal) error {
	var batch pgx.Batch
	for _, p := range list {
		row, err := json.Marshal(p.Row)
		if err != nil {
			return fault.New(fault.Bug, "review.row", "a plan that cannot be encoded", err)
		}
		state, stale := Due, p.Stale
		switch {
		case p.Refused != "":
			state, p.Why, row = Refused, p.Refused, []byte("{}")
		case p.Why != "":
			state = Waiting
		}
		if stale == nil {
			stale = []string{}
		}
		batch.Queue(`
			with made as (
				insert into advice (flow, run_id, key, state, plan, target_row, why, stale) values ($1, $2, $3, $4, $5, $6, $7, $8)
				on conflict (run_id, key) do nothing returning id
			)
			update advice a set state = 'superseded', decided_at = now() from made
			where a.flow = $1 and a.key = $3 and a.id < made.id and a.state in ('due', 'review', 'approved')`,
			flowName, runID, p.Key, state, []byte(p.Plan), row, store.Text(p.Why), stale)
	}
	if batch.Len() == 0 {
		return nil
	}
	return r.store.Tx(ctx, func(tx pgx.Tx) error { return tx.SendBatch(ctx, &batch).Close() })
}

// Due gives plans of a flow that are to be written, the oldest first: those of a run, or
// with an empty runID all.
func (r *Reviews) Due(ctx context.Context, flowName, runID string, limit int) ([]flow.ActionPlan, error) {
	return r.list(ctx, columns+`where flow = $1 and ($2 = '' or run_id = $2) and state in ('due', 'approved') order by id limit $3`, flowName, runID, limit)
}

// Heard keeps why the target did not take plans that are due, by ID, before the ledger
// has it.
func (r *Reviews) Heard(ctx context.Context, refused map[int64]string) error {
	if len(refused) == 0 {
		return nil
	}
	var ids []int64
	var whys []string
	for id, why := range refused {
		ids, whys = append(ids, id), append(whys, store.Text(why))
	}
	return r.store.Tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			update advice a set refusal = n.why from unnest($1::bigint[], $2::text[]) as n(id, why) where a.id = n.id and a.state in ('due', 'approved')`, ids, whys)
		return err
	})
}

// Wrote says that the outcome of plans that were due is known: they are written, but for
// those that Heard says were not taken. A second time it changes nothing.
func (r *Reviews) Wrote(ctx context.Context, ids []int64) error {
	return r.store.Tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			update advice set state = case refusal when '' then 'written' else 'refused' end, written_at = now(),
			       why = case refusal when '' then why else refusal end
			where id = any ($1) and state in ('due', 'approved')`, ids)
		return err
	})
}

// Outdated gives keys whose newest plan could not use one of sources, which by now are
// there: they are worth another question.
func (r *Reviews) Outdated(ctx context.Context, flowName, runID string, sources []string, limit int) ([]string, error) {
	var keys []string
	err := r.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select key from advice a where flow = $1 and stale && $3 and stale <> '{}' and state <> 'superseded' and run_id <> $2
			  and not exists (select from advice b where b.flow = a.flow and b.key = a.key and (b.id > a.id or b.run_id = $2))
			order by id limit $4`, flowName, runID, sources, limit)
		if err != nil {
			return err
		}
		keys, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return keys, err
}

// Tally counts the plans of a run by state, and those that the rules made.
func (r *Reviews) Tally(ctx context.Context, runID string) (t flow.AdviceTally, err error) {
	err = r.store.Read(ctx, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `
			select count(*), count(*) filter (where state = 'written'), count(*) filter (where plan->>'source' = 'rules'),
			       count(*) filter (where state = 'review'), count(*) filter (where plan->>'state' = 'withheld') from advice where run_id = $1`, runID).
			Scan(&t.Made, &t.Written, &t.Rules, &t.Review, &t.Withheld)
	})
	return t, err
}

// Get gives a plan; NotFound "review.not_found" when there is none.
func (r *Reviews) Get(ctx context.Context, id int64) (flow.ActionPlan, error) {
	list, err := r.list(ctx, columns+`where id = $1`, id)
	if err == nil && len(list) == 0 {
		err = fault.NotFoundf("review.not_found", "there is no such plan")
	}
	if err != nil {
		return flow.ActionPlan{}, err
	}
	return list[0], nil
}

// List gives plans, the newest first.
func (r *Reviews) List(ctx context.Context, f flow.PlanFilter) ([]flow.ActionPlan, error) {
	limit := f.Limit
	if limit <= 0 || limit > 500 {
		limit = 50
	}
	of, args := "", []any{f.Flow, f.RunID, f.State, f.Before, limit}
	if f.Key != "" { // in words of its own, so that it has its index
		of, args = ` and key = $6`, append(args, f.Key)
	}
	return r.list(ctx, columns+`
		where ($1 = '' or flow = $1) and ($2 = '' or run_id = $2) and ($3 = '' or state = $3) and ($4 = 0 or id < $4)`+of+`
		order by id desc limit $5`, args...)
}

// Decide keeps what a person decided about a plan that waits: to approve of it, as it is
// or changed (plan and row), or to reject it. Conflict "review.decided" when it does not
// wait any more.
func (r *Reviews) Decide(ctx context.Context, id int64, d flow.PlanDecision, plan json.RawMessage, row flow.Row) (flow.ActionPlan, error) {
	state := Rejected
	if d.Approve {
		state = Approved
	}
	var body []byte
	if row != nil {
		var err error
		if body, err = json.Marshal(row); err != nil {
			return flow.ActionPlan{}, fault.New(fault.Bug, "review.row", "a plan that cannot be encoded", err)
		}
	}
	err := r.store.Tx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			update advice set state = $2, decided_at = now(), decided_by = $3, note = $4,
			       proposed = case when $5::jsonb is null then proposed else plan end, plan = coalesce($5, plan), target_row = coalesce($6, target_row)
			where id = $1 and state = 'review'`, id, state, store.Text(d.By), store.Text(d.Reason), nilable(plan), nilable(body))
		if err == nil && tag.RowsAffected() == 0 {
			err = pgx.ErrNoRows
		}
		return err
	})
	now, found := r.Get(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) && found == nil {
		return now, fault.New(fault.Conflict, "review.decided", "the plan does not wait for anybody any more: it is "+now.State, nil)
	}
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return now, err
	}
	return now, found
}

func nilable(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

const columns = `select id, flow, run_id, key, state, plan, proposed, target_row, why, stale, made_at, decided_at, coalesce(decided_by, ''), note, written_at from advice `

func (r *Reviews) list(ctx context.Context, sql string, args ...any) (list []flow.ActionPlan, err error) {
	err = r.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (p flow.ActionPlan, err error) {
			var plan, proposed, row []byte
			err = r.Scan(&p.ID, &p.Flow, &p.RunID, &p.Key, &p.State, &plan, &proposed, &row, &p.Why, &p.Stale, &p.MadeAt, &p.DecidedAt, &p.DecidedBy, &p.Note, &p.WrittenAt)
			p.Plan, p.Proposed, p.Row, p.MadeAt = plan, proposed, row, p.MadeAt.UTC()
			p.DecidedAt, p.WrittenAt = utc(p.DecidedAt), utc(p.WrittenAt)
			return p, err
		})
		return err
	})
	return list, err
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}
