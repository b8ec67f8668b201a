package paid

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

type (
	// turn is what a question comes to now: an answer, the right to ask, or neither.
	turn struct {
		answer    *Answer
		ours      bool
		question  []byte
		n, tries  int
		reference string
	}

	// inquiry is one that there is.
	inquiry struct {
		turn
		run, state string
		price      flow.Money
		date       string
		part       int
		asked      time.Time
		until      time.Time
		answer     []byte
		asOf       *time.Time
	}
)

// units is the amount of a numeric as Money has it.
const units = `(price * 10000)::bigint`

// begin finds an answer or takes the right to ask, and charges it.
func (p *Paid) begin(ctx context.Context, q Question, question []byte) (t turn, err error) {
	err = p.store.Tx(ctx, func(tx pgx.Tx) error {
		t = turn{question: question}
		var now time.Time
		var batch pgx.Batch
		// One question at a time: its first row is nobody's yet.
		batch.Queue(`select pg_advisory_xact_lock(hashtextextended('paid ' || encode($1, 'hex'), 0))`, question)
		batch.Queue(`select clock_timestamp()`).QueryRow(func(r pgx.Row) error { return r.Scan(&now) })
		if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
			return err
		}
		last, found, err := lastOf(ctx, tx, question)
		if err != nil {
			return err
		}
		today := dayOf(now, q.Budget, p.speed)
		switch {
		case found && last.state == "answered" && last.answer != nil && (last.run == q.Run || last.asOf.After(now.Add(-q.Reuse))):
			t.answer = last.said(true)
			return use(ctx, tx, q, last.reference)
		case found && last.state == "asking" && last.run != q.Run && last.until.After(now):
			return nil
		case found && (last.state == "asking" || last.state == "doubt"):
			return p.again(ctx, tx, q, &t, last, today, now)
		}
		return p.first(ctx, tx, q, &t, last.n+1, today, now)
	})
	return t, err
}

func lastOf(ctx context.Context, tx pgx.Tx, question []byte) (last inquiry, found bool, err error) {
	last.question = question
	err = tx.QueryRow(ctx, `
		select n, tries, reference, run_id, state, `+units+`, currency, day::text, part, asked_at, until, answer, as_of
		from paid_inquiry where question = $1 order by n desc limit 1 for update`, question).
		Scan(&last.n, &last.tries, &last.reference, &last.run, &last.state, &last.price.Units, &last.price.Currency, &last.date, &last.part,
			&last.asked, &last.until, &last.answer, &last.asOf)
	if errors.Is(err, pgx.ErrNoRows) {
		return last, false, nil
	}
	return last, err == nil, err
}

// said is the answer as a run gets it.
func (i inquiry) said(reused bool) *Answer {
	return &Answer{Body: i.answer, Reference: i.reference, AsOf: i.asOf.UTC(), Price: i.price, Run: i.run, Reused: reused}
}

// first asks a question that nobody asks, under a reference of its own.
func (p *Paid) first(ctx context.Context, tx pgx.Tx, q Question, t *turn, n int, today day, now time.Time) error {
	reference, err := p.reference(ctx, t.question, n)
	if err != nil {
		return err
	}
	if err := charge(ctx, tx, q.Connection, q.Price, q.Budget.PerDay, today); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		insert into paid_inquiry (question, n, reference, connection, flow, run_id, source, state, price, currency, day, part, asked_at, until)
		values ($1, $2, $3, $4, $5, $6, $7, 'asking', $8::text::numeric, $9, $10::text::date, $11, $12, $13)`,
		t.question, n, reference, q.Connection, q.Flow, q.Run, q.Source, q.Price.Amount(), q.Price.Currency, today.date, today.part, now, now.Add(p.lease))
	t.ours, t.n, t.tries, t.reference = true, n, 1, reference
	return err
}

// again asks once more under the same reference. The provider may charge the earlier question or
// this one, and not both, so the charge moves to today: what was the day of the earlier one is over.
func (p *Paid) again(ctx context.Context, tx pgx.Tx, q Question, t *turn, last inquiry, today day, now time.Time) error {
	if last.date != today.date || last.part != today.part {
		if err := release(ctx, tx, q.Connection, last); err != nil {
			return err
		}
		if err := charge(ctx, tx, q.Connection, last.price, q.Budget.PerDay, today); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, `
		update paid_inquiry set state = 'asking', tries = tries + 1, until = $3, day = $4::text::date, part = $5, flow = $6, run_id = $7, source = $8
		where question = $1 and n = $2`, last.question, last.n, now.Add(p.lease), today.date, today.part, q.Flow, q.Run, q.Source)
	*t = last.turn
	t.ours, t.tries = true, last.tries+1
	return err
}

// charge takes a price from what is left of a day. It is one statement, so that no two take the same.
func charge(ctx context.Context, tx pgx.Tx, connection string, price, most flow.Money, of day) error {
	var limit *string
	if most.Currency != "" {
		if most.Currency != price.Currency {
			return fault.Invalidf("budget.currency", "the budget of %s is of another currency than its price", connection)
		}
		amount := most.Amount()
		limit = &amount
	}
	tag, err := tx.Exec(ctx, `
		insert into paid_day as d (connection, currency, day, part, spent)
		select $1, $2, $3::text::date, $4, $5::text::numeric where $6::text is null or $5::text::numeric <= $6::text::numeric
		on conflict (connection, currency, day, part) do update set spent = d.spent + excluded.spent
		where $6::text is null or d.spent + excluded.spent <= $6::text::numeric`,
		connection, price.Currency, of.date, of.part, price.Amount(), limit)
	if err == nil && tag.RowsAffected() == 0 {
		return fault.ThrottledFor(of.ends, UsedUp, "the budget of "+connection+" for today, "+most.String()+", is used up", nil)
	}
	return err
}

// release gives a charge back.
func release(ctx context.Context, tx pgx.Tx, connection string, of inquiry) error {
	_, err := tx.Exec(ctx, `
		update paid_day set spent = spent - $5::text::numeric where connection = $1 and currency = $2 and day = $3::text::date and part = $4`,
		connection, of.price.Currency, of.date, of.part, of.price.Amount())
	return err
}

// use notes that a run uses an answer, and keeps the answer for as long as it may be used.
func use(ctx context.Context, tx pgx.Tx, q Question, reference string) error {
	var batch pgx.Batch
	batch.Queue(`insert into paid_use (reference, run_id, flow) values ($1, $2, $3) on conflict do nothing`, reference, q.Run, q.Flow)
	batch.Queue(`update paid_inquiry set keep_until = greatest(keep_until, as_of + make_interval(secs => $2), now() + make_interval(secs => $3)) where reference = $1`,
		reference, q.Reuse.Seconds(), forRun.Seconds())
	return tx.SendBatch(ctx, &batch).Close()
}

// forRun is how long the run that paid may come back for its answer.
const forRun = 24 * time.Hour

// keep settles an inquiry with its answer; one that somebody else settled meanwhile keeps that one's.
func (p *Paid) keep(ctx context.Context, q Question, t turn, reply Reply) (answer Answer, err error) {
	err = p.store.Tx(ctx, func(tx pgx.Tx) error {
		var asOf *time.Time
		if !reply.AsOf.IsZero() {
			asOf = &reply.AsOf
		}
		tag, err := tx.Exec(ctx, `
			update paid_inquiry set state = 'answered', answer = $3, as_of = coalesce($4, asked_at), why = '', run_id = $5, flow = $6, source = $7
			where question = $1 and n = $2 and state in ('asking', 'doubt')`, t.question, t.n, []byte(reply.Body), asOf, q.Run, q.Flow, q.Source)
		if err != nil {
			return err
		}
		last, _, err := lastOf(ctx, tx, t.question)
		if err != nil {
			return err
		}
		if last.state != "answered" || last.answer == nil { // others found it unusable, and asked anew
			return fault.New(fault.Unavailable, "paid.overtaken", "another run asked "+q.Connection+" the same meanwhile", nil)
		}
		answer = *last.said(tag.RowsAffected() == 0)
		return use(ctx, tx, q, last.reference)
	})
	return answer, err
}

// fail settles an inquiry that came to nothing: refused, and then it is not charged, in doubt, or
// paid in vain. A refusal says nothing of what was sent before it.
func (p *Paid) fail(ctx context.Context, t turn, failed error) error {
	code := fault.Of(failed).Code
	return p.store.Tx(ctx, func(tx pgx.Tx) error {
		last, found, err := lastOf(ctx, tx, t.question)
		if err != nil || !found || last.n != t.n || last.tries != t.tries || last.state != "asking" {
			return err // somebody else's by now
		}
		state, unusable := "doubt", 0
		switch kindOf(failed) {
		case refusal:
			if t.tries == 1 {
				state = "refused"
				var connection string
				if err := tx.QueryRow(ctx, `select connection from paid_inquiry where question = $1 and n = $2`, t.question, t.n).Scan(&connection); err != nil {
					return err
				}
				if err := release(ctx, tx, connection, last); err != nil {
					return err
				}
			}
		case vain:
			unusable = 1
		}
		_, err = tx.Exec(ctx, `
			update paid_inquiry set unusable = unusable + $4, why = $5, until = now(),
			       state = case when unusable + $4 >= `+strconv.Itoa(mostUnusable)+` then 'spoiled' else $3 end
			where question = $1 and n = $2`, t.question, t.n, state, unusable, code)
		return err
	})
}

type outcome int

const (
	doubt outcome = iota
	refusal
	vain
)

func kindOf(err error) outcome {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return doubt
	}
	switch f := fault.Of(err); {
	case f.Code == "connector.resting": // nothing was sent
		return refusal
	case f.Class == fault.Unavailable, f.Class == fault.InDoubt:
		return doubt
	case f.Class == fault.Bug, f.Code == "vendor.too_large":
		return vain
	}
	return refusal
}
