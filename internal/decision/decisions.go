package decision

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/capsule"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

type (
	// Decisions keeps decisions. It is safe for concurrent use.
	Decisions struct {
		store *store.Store
		key   func() (ed25519.PrivateKey, error)
		// Wake is called when somebody has decided; it must not block. nil: nobody is told.
		Wake func()
	}

	// Proposal is what the rules said of a run.
	Proposal struct {
		RunID, Flow, Summary string
		Plan                 string          // digest
		Rules                json.RawMessage // what the rules are
		RulesDigest          string
		Workflow             string // the ID of the workflow that is woken
		Case                 flow.Case
		Ruling               flow.Ruling
		// Of a referral: how the review goes.
		FourEyes  bool
		Conflicts []string
		Show      flow.Row
		Late      flow.Outcome
		Due       time.Time
	}

	// Standing is how a run stands: Decision is nil while a person has to decide, for Left at most.
	Standing struct {
		Decision *flow.Decision
		Due      time.Time
		Left     time.Duration
	}
)

// The codes of faults.
const (
	codeClosed   = "review.closed"
	codeDecided  = "review.decided"
	codeLate     = "review.late"
	codeConflict = "review.conflict"
	codePartial  = "review.partial"
	codeTwice    = "review.twice"
)

// By what is not a person decides.
const (
	byRules    = "rules"
	byDeadline = "deadline"
)

// New gives Decisions on a store; key signs capsules, and its error is why none can be.
func New(s *store.Store, key func() (ed25519.PrivateKey, error)) *Decisions {
	return &Decisions{store: s, key: key}
}

// Rule keeps what the rules said, as a decision or as a referral. A run that has either keeps
// it, whatever is proposed. Conflict "review.closed" when the run is being cancelled or has ended.
func (d *Decisions) Rule(ctx context.Context, p Proposal) (s Standing, err error) {
	facts, err := encode(p.Case)
	if err != nil {
		return s, err
	}
	ruling, err := encode(p.Ruling)
	if err != nil {
		return s, err
	}
	if p.Show == nil {
		p.Show = flow.Row{}
	}
	shown, err := encode(p.Show)
	if err != nil {
		return s, err
	}
	if p.Conflicts == nil {
		p.Conflicts = []string{}
	}
	var due *time.Time
	if p.Ruling.Outcome == flow.Refer {
		due = &p.Due
	}
	err = d.store.Tx(ctx, func(tx pgx.Tx) error {
		if err := open(ctx, tx, p.RunID); err != nil {
			return err
		}
		var row *row
		if row, err = take(ctx, tx, p.RunID); err != nil && fault.Of(err).Class != fault.NotFound {
			return err
		}
		if row == nil {
			if _, err := tx.Exec(ctx, `
				insert into decision (run_id, flow, plan, rules, rules_sum, state, facts, ruling, summary, four_eyes, conflicts, shown, late, due_at, workflow_id)
				values ($1, $2, $3, $4, $5, 'open', $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
				p.RunID, p.Flow, p.Plan, []byte(p.Rules), p.RulesDigest, facts, ruling, store.Text(p.Summary), p.FourEyes, p.Conflicts, shown, string(p.Late), due, p.Workflow); err != nil {
				return err
			}
			if row, err = take(ctx, tx, p.RunID); err != nil {
				return err
			}
			if p.Ruling.Outcome != flow.Refer {
				if err := d.decide(ctx, tx, row, p.Ruling.Outcome, p.Ruling.Reasons, byRules); err != nil {
					return err
				}
			}
		}
		s = row.standing()
		return nil
	})
	return s, err
}

// Standing gives how a run stands, and ends a referral whose time is over. While it is open, the
// workflow that asks is the one that is woken: a run that was started anew has another.
func (d *Decisions) Standing(ctx context.Context, runID, workflow string) (s Standing, err error) {
	err = d.store.Tx(ctx, func(tx pgx.Tx) error {
		row, err := take(ctx, tx, runID)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `update decision set workflow_id = $2 where run_id = $1 and state = 'open' and workflow_id <> $2`, runID, workflow); err != nil {
			return err
		}
		if row.Decision == nil && !row.now.Before(row.DueAt) {
			if err := open(ctx, tx, runID); err != nil {
				return err
			}
			reason := "Nobody decided about it in time. Please apply again."
			if row.Late == flow.Decline {
				reason = "It could not be approved in time."
			}
			if err := d.decide(ctx, tx, row, row.Late, []string{reason}, byDeadline); err != nil {
				return err
			}
		}
		s = row.standing()
		return nil
	})
	return s, err
}

// Capsule gives the sealed record of a decision; NotFound "capsule.not_found" when there is none.
func (d *Decisions) Capsule(ctx context.Context, runID string) (file []byte, err error) {
	err = d.store.Read(ctx, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `select capsule from decision where run_id = $1 and capsule is not null`, runID).Scan(&file)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = fault.NotFoundf("capsule.not_found", "nothing was decided about this run, so it has no capsule")
	}
	return file, err
}

// open refuses a run that is being cancelled or has ended.
func open(ctx context.Context, tx pgx.Tx, runID string) error {
	var over bool
	err := tx.QueryRow(ctx, `select closed_at is not null or exists (select from seal where cause = run_id) from work where run_id = $1 for no key update`, runID).Scan(&over)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fault.NotFoundf("run.not_found", "there is no such run")
	case err != nil:
		return err
	case over:
		return fault.New(fault.Conflict, codeClosed, "the run is being cancelled or has ended: nothing is decided about it any more", nil)
	}
	return nil
}

// decide makes the decision and seals it; row is then as it stands.
func (d *Decisions) decide(ctx context.Context, tx pgx.Tx, r *row, outcome flow.Outcome, reasons []string, by string) error {
	if reasons == nil {
		reasons = []string{}
	}
	r.Decision = &flow.Decision{RunID: r.RunID, Outcome: outcome, Rule: r.Ruling.Rule, Reasons: reasons, Partial: r.Ruling.Partial, By: by, At: r.now}
	r.State = "decided"
	key, err := d.key()
	if err != nil {
		return err
	}
	file, err := seal(r, key)
	if err != nil {
		return err
	}
	why, err := encode(reasons)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		update decision set state = 'decided', outcome = $2, reasons = $3, decided_by = $4, decided_at = $5, capsule = $6
		where run_id = $1 and state = 'open'`, r.RunID, string(outcome), why, store.Text(by), r.now, file)
	return err
}

// seal makes the capsule of a decision.
func seal(r *row, key ed25519.PrivateKey) ([]byte, error) {
	params, err := encode(r.Params)
	if err != nil {
		return nil, err
	}
	c := capsule.Capsule{
		Run: r.RunID, Flow: r.Flow, Plan: r.plan, Rules: r.rules,
		Inputs:   []capsule.Input{{Name: "params", Source: "the caller", AsOf: r.accepted, Data: params}},
		Computed: []capsule.Computation{},
		Decision: capsule.Decision{Outcome: string(r.Decision.Outcome), Reasons: r.Decision.Reasons, Rules: r.rulesSum, By: r.Decision.By, At: r.Decision.At},
	}
	for _, one := range r.Inputs {
		data, err := encode(one.Rows)
		if err != nil {
			return nil, err
		}
		in := capsule.Input{Name: one.Name, Source: one.Source, AsOf: one.AsOf, Data: data}
		if one.Substitute {
			in.Substitute = one.Why
		}
		c.Inputs = append(c.Inputs, in)
	}
	for _, one := range r.Computed {
		c.Computed = append(c.Computed, capsule.Computation{
			Task: one.Name, Name: one.Function, Version: one.Version, Contract: one.Contract, Model: one.Model, Seed: one.Seed, Input: one.Input, Output: one.Output,
		})
	}
	for _, o := range r.Opinions {
		c.Opinions = append(c.Opinions, capsule.Opinion{By: o.By, Decision: string(o.Decision), Reason: o.Reason, At: o.At})
	}
	if c.Gaps, err = encode(r.Gaps); err != nil {
		return nil, err
	}
	if c.Ruling, err = encode(r.Ruling); err != nil {
		return nil, err
	}
	return capsule.Seal(c, key)
}

func encode(v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fault.New(fault.Bug, "decision.encode", "a decision that cannot be encoded", err)
	}
	return body, nil
}

// decode reads JSON of our own, numbers as json.Number.
func decode(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return fault.New(fault.Bug, "decision.decode", "a decision cannot be read", err)
	}
	return nil
}
