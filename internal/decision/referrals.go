package decision

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

// Sleeper is a run whose referral was decided.
type Sleeper struct{ RunID, Workflow string }

// Referral gives one referral; NotFound "review.not_found" when nobody has, or had, to decide
// about the run.
func (d *Decisions) Referral(ctx context.Context, runID string) (found flow.Referral, err error) {
	err = d.store.Read(ctx, func(c *pgxpool.Conn) error {
		r, err := scan(c.QueryRow(ctx, `select `+columns+`where d.run_id = $1 and d.due_at is not null`, runID))
		if err == nil {
			found = r.Referral
		}
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = fault.NotFoundf("review.not_found", "nobody has to decide about this run")
	}
	return found, err
}

// Referrals lists referrals: open ones by their deadline, decided ones the newest first. Those of
// runs that were cancelled are not open.
func (d *Decisions) Referrals(ctx context.Context, f flow.ReferralFilter) ([]flow.Referral, error) {
	limit := f.Limit
	if limit <= 0 || limit > 500 {
		limit = 50
	}
	which := `where d.state = 'open' and d.due_at is not null and w.closed_at is null and not exists (select from seal where cause = d.run_id) and ($1 = '' or d.flow = $1) order by d.due_at, d.run_id limit $2`
	if f.State == "decided" {
		which = `where d.state = 'decided' and d.due_at is not null and ($1 = '' or d.flow = $1) order by d.decided_at desc limit $2`
	}
	list := []flow.Referral{}
	err := d.store.Read(ctx, func(c *pgxpool.Conn) error {
		list = list[:0]
		rows, err := c.Query(ctx, `select `+columns+which, f.Flow, limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			r, err := scan(rows)
			if err != nil {
				return err
			}
			list = append(list, r.Referral)
		}
		return rows.Err()
	})
	return list, err
}

// Opine keeps what a person says of a referral, and decides it where that is enough: a decline
// is, and an approval unless it needs two people. The same opinion of the same person again
// changes nothing. Conflict faults are review.decided, review.closed, review.late, review.twice
// (another opinion of a person who has spoken), review.partial (an approval where a substitute
// stands for a source) and review.conflict (a person who may not decide).
func (d *Decisions) Opine(ctx context.Context, runID string, o flow.Opinion) (found flow.Referral, err error) {
	o.By, o.Reason = store.Text(o.By), store.Text(o.Reason)
	err = d.store.Tx(ctx, func(tx pgx.Tx) error {
		r, err := take(ctx, tx, runID)
		if err != nil {
			return err
		}
		if r.DueAt.IsZero() {
			return fault.NotFoundf("review.not_found", "nobody has to decide about this run")
		}
		before := slices.IndexFunc(r.Opinions, func(p flow.Opinion) bool { return p.By == o.By })
		if before >= 0 && r.Opinions[before].Decision == o.Decision && r.Opinions[before].Reason == o.Reason {
			found = r.Referral
			return nil
		}
		if err := r.takes(o, before >= 0); err != nil {
			return err
		}
		o.At = r.now
		if _, err := tx.Exec(ctx, `insert into opinion (run_id, by, decision, reason, at) values ($1, $2, $3, $4, $5)`, runID, o.By, string(o.Decision), o.Reason, o.At); err != nil {
			return err
		}
		r.Opinions = append(r.Opinions, o)
		var who, why []string
		for _, one := range r.Opinions {
			if one.Decision == o.Decision {
				who, why = append(who, one.By), append(why, one.Reason)
			}
		}
		if o.Decision == flow.Decline || !r.FourEyes || len(who) > 1 {
			if err := open(ctx, tx, runID); err != nil {
				return err
			}
			if err := d.decide(ctx, tx, r, o.Decision, why, strings.Join(who, ", ")); err != nil {
				return err
			}
			r.May = []flow.Outcome{}
		}
		found = r.Referral
		return nil
	})
	if err == nil && found.Decision != nil && d.Wake != nil {
		d.Wake()
	}
	return found, err
}

// takes says why an opinion is not taken.
func (r *row) takes(o flow.Opinion, spoken bool) error {
	refuse := func(code, text string) error { return fault.New(fault.Conflict, code, text, nil) }
	switch {
	case r.Decision != nil:
		return refuse(codeDecided, "it is decided: "+string(r.Decision.Outcome)+", by "+r.Decision.By)
	case r.closed:
		return refuse(codeClosed, "the run is being cancelled or has ended: nothing is decided about it any more")
	case !r.now.Before(r.DueAt):
		return refuse(codeLate, "the time to decide is over")
	case r.Barred(o.By):
		return refuse(codeConflict, "you may not decide about this: the flow declares a conflict, such as being the applicant's adviser or having started the run")
	case spoken:
		return refuse(codeTwice, "you have decided about this before; somebody else has to")
	case o.Decision == flow.Approve && len(r.Ruling.Partial) > 0:
		return refuse(codePartial, "a substitute stands for "+strings.Join(r.Ruling.Partial, ", ")+", and what is partial is not approved; decline it, or apply again when the source answers")
	}
	return nil
}

// Asleep gives runs whose referral was decided and that do not know, at most so many.
func (d *Decisions) Asleep(ctx context.Context, most int) (all []Sleeper, err error) {
	err = d.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `select run_id, workflow_id from decision where state = 'decided' and woken_at is null and due_at is not null order by run_id limit $1`, most)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Sleeper])
		return err
	})
	return all, err
}

// Woken notes that runs know.
func (d *Decisions) Woken(ctx context.Context, runIDs []string) error {
	return d.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `update decision set woken_at = now() where run_id = any ($1) and woken_at is null`, runIDs)
		return err
	})
}
