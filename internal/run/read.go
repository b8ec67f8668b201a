package run

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/ledger"
)

// Pages of List.
const (
	defaultPage = 50
	largestPage = 500
)

// columns are what scan reads.
const columns = `run_id, flow, pattern, principal, params, digest, state, deadline_at, coalesce(batch_id, ''), coalesce(workflow_id, ''),
	case when answered_at is not null then answer end, answered_at, problem, progress, coalesce(waiting, ''), accepted_at, closed_at,
	case when state in ('accepted', 'running') then due_at end, coalesce(leader, ''),
	state in ('accepted', 'running', 'parked') and exists (select from seal where cause = run_id),
	case when state in ('failed', 'cancelled') then (select count(*) from effect where cause = run_id and state in ('attempt', 'in_doubt')) else 0 end `

// record is a row of work, as far as it is shown.
type record struct {
	flow.Run
	pattern, batchID, door            string // door: the workflow that brought it, by the second one
	params, answer, problem, progress []byte
}

func (r *record) scan(row pgx.Row) error {
	return row.Scan(&r.RunID, &r.Flow, &r.pattern, &r.Principal, &r.params, &r.Digest, &r.Status, &r.DeadlineAt, &r.batchID, &r.door,
		&r.answer, &r.AnsweredAt, &r.problem, &r.progress, &r.Waiting, &r.AcceptedAt, &r.ClosedAt, &r.DueAt, &r.Shared, &r.Cancelling, &r.InDoubt)
}

// show completes the outside view of a row. It needs no plan: a run stays
// visible when its plan cannot be read.
func (r *record) show() (flow.Run, error) {
	run := r.Run
	switch { // none carries a run that waits for its turn
	case r.door != "":
		run.WorkflowID = r.door
	case r.batchID != "":
		run.WorkflowID = workflowID(r.pattern, run.Flow, r.batchID)
	}
	run.DueAt = utc(run.DueAt)
	run.AcceptedAt, run.DeadlineAt = run.AcceptedAt.UTC(), run.DeadlineAt.UTC()
	run.AnsweredAt, run.ClosedAt = utc(run.AnsweredAt), utc(run.ClosedAt)
	if run.Effects == nil {
		run.Effects = []flow.Effect{}
	}
	broken := decode(r.params, &run.Params)
	if r.problem != nil {
		broken = errors.Join(broken, decode(r.problem, &run.Problem))
	}
	if broken != nil {
		return flow.Run{}, fault.New(fault.Bug, "run.decode", "a stored run cannot be read", broken)
	}
	var err error
	if run.Result, err = result(r.answer); err != nil {
		return flow.Run{}, err
	}
	run.Progress, err = steps(r.progress)
	return run, err
}

// Get gives a run; NotFound "run.not_found" when there is none.
func (b *Book) Get(ctx context.Context, runID string) (flow.Run, error) {
	var r record
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		r = record{}
		// The row before its effects: a run that looks final has all of them.
		if err := r.scan(c.QueryRow(ctx, `select `+columns+`from work where run_id = $1`, runID)); err != nil {
			return err
		}
		var err error
		r.Effects, err = ledger.Effects(ctx, c, runID)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return flow.Run{}, notFound()
	}
	if err != nil {
		return flow.Run{}, err
	}
	return r.show()
}

// List gives a page of runs, newest first, and the cursor of the next; "" when it
// is the last. It leaves out results and effects: ask Get for them. A cursor that
// is none of ours is Invalid "runs.cursor".
func (b *Book) List(ctx context.Context, f flow.RunFilter) ([]flow.Run, string, error) {
	limit := f.Limit
	if limit <= 0 {
		limit = defaultPage
	}
	limit = min(limit, largestPage)
	var before, until *time.Time
	if !f.Until.IsZero() {
		until = &f.Until
	}
	var beforeID string
	if f.Before != "" {
		at, id, err := parseCursor(f.Before)
		if err != nil {
			return nil, "", err
		}
		before, beforeID = &at, id
	}
	var records []record
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select `+columns+`from work
			where ($1 = '' or flow = $1) and ($2 = '' or state = $2) and ($3 = '' or principal = $3)
			  and ($4::timestamptz is null or (accepted_at, run_id) < ($4, $5)) and ($6::timestamptz is null or accepted_at <= $6)
			order by accepted_at desc, run_id desc limit $7`,
			f.Flow, string(f.Status), f.Principal, before, beforeID, until, limit+1)
		if err != nil {
			return err
		}
		records, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (record, error) {
			var r record
			err := r.scan(row)
			r.answer = nil
			return r, err
		})
		return err
	})
	if err != nil {
		return nil, "", err
	}
	next := ""
	if len(records) > limit {
		records = records[:limit]
		last := records[limit-1]
		next = cursor(last.AcceptedAt, last.RunID)
	}
	runs := make([]flow.Run, len(records))
	for i, r := range records {
		if runs[i], err = r.show(); err != nil {
			return nil, "", err
		}
	}
	return runs, next, nil
}

// A cursor is the place of the last row of a page. Times of PostgreSQL have
// microseconds.
func cursor(at time.Time, runID string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(at.UTC().Format(time.RFC3339Nano) + " " + runID))
}

func parseCursor(s string) (time.Time, string, error) {
	text, err := base64.RawURLEncoding.DecodeString(s)
	at, id, ok := strings.Cut(string(text), " ")
	t, terr := time.Parse(time.RFC3339Nano, at)
	if err != nil || terr != nil || !ok || len(id) > 64 || strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r > '~' }) {
		return time.Time{}, "", fault.Invalidf("runs.cursor", "the cursor is not one that a list of runs gave")
	}
	return t, id, nil
}

func result(body []byte) (*flow.Result, error) {
	if body == nil {
		return nil, nil
	}
	var r flow.Result
	if err := decode(body, &r); err != nil {
		return nil, fault.New(fault.Bug, "run.decode", "a stored answer cannot be read", err)
	}
	return &r, nil
}

func steps(body []byte) ([]flow.Step, error) {
	var steps []flow.Step
	if err := decode(body, &steps); err != nil {
		return nil, fault.New(fault.Bug, "run.decode", "a stored progress cannot be read", err)
	}
	for i := range steps {
		steps[i].At = steps[i].At.UTC()
	}
	return steps, nil
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}
