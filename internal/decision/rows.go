package decision

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// row is one of the table, read.
type row struct {
	flow.Referral
	plan     string
	rules    json.RawMessage
	rulesSum string
	accepted time.Time
	closed   bool
	now      time.Time
}

// numbers stay as they are in json; jsonb keeps their digits.
const columns = `
	d.run_id, d.flow, d.summary, d.state, d.opened_at, d.due_at, d.late, d.four_eyes, d.conflicts, d.facts, d.ruling, d.shown, d.plan, d.rules, d.rules_sum,
	coalesce(d.outcome, ''), d.reasons, coalesce(d.decided_by, ''), d.decided_at, w.accepted_at,
	w.closed_at is not null or exists (select from seal where cause = d.run_id), date_trunc('microseconds', clock_timestamp()),
	(select json_agg(json_build_object('by', o.by, 'decision', o.decision, 'reason', o.reason, 'at', to_json(o.at at time zone 'UTC') #>> '{}' || 'Z') order by o.at) from opinion o where o.run_id = d.run_id)
	from decision d join work w using (run_id) `

// take holds one row and reads it; NotFound "review.not_found" when there is none. It reads in a
// statement of its own: one that waits for the row would not see what was said of it meanwhile.
func take(ctx context.Context, tx pgx.Tx, runID string) (*row, error) {
	if _, err := tx.Exec(ctx, `select from decision where run_id = $1 for update`, runID); err != nil {
		return nil, err
	}
	r, err := scan(tx.QueryRow(ctx, `select `+columns+`where d.run_id = $1`, runID))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFoundf("review.not_found", "nothing was decided about this run, and nobody has to")
	}
	return r, err
}

func scan(from pgx.Row) (*row, error) {
	var r row
	var facts, ruling, shown, reasons, opinions []byte
	var due, decided *time.Time
	var outcome flow.Outcome
	var by string
	if err := from.Scan(&r.RunID, &r.Flow, &r.Summary, &r.State, &r.OpenedAt, &due, &r.Late, &r.FourEyes, &r.Conflicts, &facts, &ruling, &shown, &r.plan, &r.rules, &r.rulesSum,
		&outcome, &reasons, &by, &decided, &r.accepted, &r.closed, &r.now, &opinions); err != nil {
		return nil, err
	}
	r.OpenedAt, r.accepted, r.now = r.OpenedAt.UTC(), r.accepted.UTC(), r.now.UTC()
	if due != nil {
		r.DueAt = due.UTC()
	}
	for _, part := range []struct {
		body []byte
		into any
	}{{facts, &r.Case}, {ruling, &r.Ruling}, {shown, &r.Show}} {
		if err := decode(part.body, part.into); err != nil {
			return nil, err
		}
	}
	r.Opinions = []flow.Opinion{}
	if opinions != nil {
		if err := decode(opinions, &r.Opinions); err != nil {
			return nil, err
		}
	}
	if decided != nil {
		r.Decision = &flow.Decision{RunID: r.RunID, Outcome: outcome, Rule: r.Ruling.Rule, Partial: r.Ruling.Partial, By: by, At: decided.UTC()}
		if err := decode(reasons, &r.Decision.Reasons); err != nil {
			return nil, err
		}
	}
	r.May = []flow.Outcome{}
	if r.Decision == nil && !r.closed && r.now.Before(r.DueAt) {
		if len(r.Ruling.Partial) == 0 {
			r.May = append(r.May, flow.Approve)
		}
		r.May = append(r.May, flow.Decline)
	}
	return &r, nil
}

func (r *row) standing() Standing {
	return Standing{Decision: r.Decision, Due: r.DueAt, Left: max(r.DueAt.Sub(r.now), 0)}
}
