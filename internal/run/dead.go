package run

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/journal"
	"patchbay/internal/ledger"
	"patchbay/internal/store"
)

// bury makes dead letters of the runs that failed, in the transaction that ends
// them. Those who shared the work of another have none of their own.
func bury(batch *pgx.Batch, ends []ending, problems []*string) {
	var ids, flows, reasons, codes, why []string
	for i, end := range ends {
		if end.status != flow.Failed || end.problem == nil || end.problem.Code == flow.MissingCode {
			continue
		}
		ids, flows = append(ids, end.row.runID), append(flows, end.row.flow)
		reasons, codes, why = append(reasons, string(end.reason)), append(codes, end.problem.Code), append(why, *problems[i])
	}
	if len(ids) == 0 {
		return
	}
	batch.Queue(`
		insert into dead (run_id, flow, reason, code, problem)
		select id, flow, reason, code, problem::jsonb from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
			as d(id, flow, reason, code, problem)
		on conflict (run_id) do update set state = 'dead', reason = excluded.reason, code = excluded.code, problem = excluded.problem,
			died_at = now(), times = dead.times + 1, decided_at = null, decided_by = null, note = null, into_run = null`,
		ids, flows, reasons, codes, why)
}

const letterColumns = `d.run_id, d.flow, d.state, d.reason, d.problem, w.params, w.principal, w.digest, coalesce(c.digest <> w.digest, false),
	w.accepted_at, w.answered_at, d.died_at, d.times, d.decided_at, coalesce(d.decided_by, ''), coalesce(d.note, ''), coalesce(d.into_run, '')
	from dead d join work w using (run_id) left join flow_current c on c.flow = d.flow `

func scanLetter(row pgx.CollectableRow) (flow.Letter, error) {
	var l flow.Letter
	var problem, params []byte
	if err := row.Scan(&l.RunID, &l.Flow, &l.State, &l.Reason, &problem, &params, &l.Principal, &l.Digest, &l.Changed,
		&l.AcceptedAt, &l.AnsweredAt, &l.DiedAt, &l.Times, &l.DecidedAt, &l.DecidedBy, &l.Note, &l.Into); err != nil {
		return l, err
	}
	l.AcceptedAt, l.DiedAt = l.AcceptedAt.UTC(), l.DiedAt.UTC()
	l.AnsweredAt, l.DecidedAt = utc(l.AnsweredAt), utc(l.DecidedAt)
	if err := errors.Join(decode(problem, &l.Problem), decode(params, &l.Params)); err != nil {
		return l, fault.New(fault.Bug, "run.decode", "a stored dead letter cannot be read", err)
	}
	return l, nil
}

// Letters gives a page of dead letters and the cursor of the next; "" when it is
// the last. A cursor that is none of ours is Invalid "dead.cursor".
func (b *Book) Letters(ctx context.Context, f flow.LetterFilter) ([]flow.Letter, string, error) {
	limit := f.Limit
	if limit <= 0 {
		limit = defaultPage
	}
	limit = min(limit, largestPage)
	var from *time.Time
	var fromID string
	if f.Cursor != "" {
		at, id, err := parseCursor(f.Cursor)
		if err != nil {
			return nil, "", fault.Invalidf("dead.cursor", "the cursor is not one that a list of dead letters gave")
		}
		from, fromID = &at, id
	}
	state := f.State
	if state == "" {
		state = flow.LetterDead
	}
	order, beyond := `desc`, `<`
	if f.Oldest {
		order, beyond = `asc`, `>`
	}
	var list []flow.Letter
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `select `+letterColumns+`
			where d.state = $1 and ($2 = '' or d.flow = $2) and ($3 = '' or d.reason = $3 or d.code = $3)
			  and ($4::timestamptz is null or d.died_at >= $4) and ($5::timestamptz is null or d.died_at < $5)
			  and ($6::timestamptz is null or (d.died_at, d.run_id) `+beyond+` ($6, $7))
			order by d.died_at `+order+`, d.run_id `+order+` limit $8`,
			string(state), f.Flow, f.Reason, instant(f.Since), instant(f.Until), from, fromID, limit+1)
		if err != nil {
			return err
		}
		if list, err = pgx.CollectRows(rows, scanLetter); err != nil {
			return err
		}
		return tally(ctx, c, list[:min(len(list), limit)])
	})
	if err != nil {
		return nil, "", err
	}
	if len(list) <= limit {
		return list, "", nil
	}
	last := list[limit-1]
	return list[:limit], cursor(last.DiedAt, last.RunID), nil
}

// instant is a time, nil for the zero one.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// tally fills in what letters have written.
func tally(ctx context.Context, q ledger.Querier, list []flow.Letter) error {
	ids := make([]string, len(list))
	for i, l := range list {
		ids[i] = l.RunID
	}
	counts, err := ledger.Counts(ctx, q, ids...)
	for i := range list {
		n := counts[list[i].RunID]
		list[i].Effects = flow.Tally{Done: n[flow.Confirmed] + n[flow.Settled], Refused: n[flow.Refused],
			InDoubt: n[flow.Doubtful] + n[flow.Attempt], Undone: n[flow.Intent]}
	}
	return err
}

// Letter gives the dead letter of a run, decided or not. NotFound "run.not_found"
// when there is no such run, NotFound "dead.not_found" when it never became one.
func (b *Book) Letter(ctx context.Context, runID string) (flow.Letter, error) {
	var list []flow.Letter
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `select `+letterColumns+`where d.run_id = $1`, runID)
		if err != nil {
			return err
		}
		if list, err = pgx.CollectRows(rows, scanLetter); err != nil {
			return err
		}
		return tally(ctx, c, list)
	})
	if err != nil {
		return flow.Letter{}, err
	}
	if len(list) == 1 {
		return list[0], nil
	}
	run, err := b.Get(ctx, runID)
	if err != nil {
		return flow.Letter{}, err
	}
	return flow.Letter{}, noLetter(run)
}

// noLetter says why a run is no dead letter.
func noLetter(run flow.Run) error {
	why := "run " + run.RunID + " is " + string(run.Status) + ", no dead letter"
	switch {
	case run.Shared != "":
		why = "run " + run.RunID + " shared the work of run " + run.Shared + ", and its dead letter"
	case run.Problem != nil && run.Problem.Code == flow.MissingCode:
		why = "run " + run.RunID + " asked for what does not exist; press again with other parameters"
	case !run.Status.Final():
		why = "run " + run.RunID + " has not ended"
	}
	return fault.NotFoundf("dead.not_found", "%s", why)
}

// Dismiss puts a dead letter aside: nobody will redrive it, and why says so. Again
// it changes nothing; Conflict "dead.redriven" when it has been redriven. It fails
// otherwise as Letter does.
func (b *Book) Dismiss(ctx context.Context, runID, by, why string) error {
	if _, err := b.Letter(ctx, runID); err != nil {
		return err
	}
	err := b.store.Tx(ctx, func(tx pgx.Tx) error {
		d, err := unbury(ctx, tx, runID)
		switch {
		case err != nil:
			return err
		case d.state == flow.LetterRedriven:
			return d.taken()
		case d.state == flow.LetterDismissed:
			return nil
		}
		if _, err := tx.Exec(ctx, `update dead set state = 'dismissed', decided_at = now(), decided_by = $2, note = $3 where run_id = $1`,
			runID, by, store.Text(why)); err != nil {
			return err
		}
		return journal.Write(ctx, tx, journal.Entry{Flow: d.row.flow, Run: runID, What: "dismissed", Reason: journal.Dismissed,
			Round: d.row.round, Keys: keysOf(d.row.params), Detail: map[string]any{"by": by, "why": why}})
	})
	if err == nil {
		b.hub.publish(runID)
	}
	return err
}

// exhumed is a dead letter in the hands of a transaction that holds its run's row.
type exhumed struct {
	row   locked
	state flow.LetterState
	by    string
	at    *time.Time
	into  string

	principal, digest string
	class             flow.Class
}

// unbury takes the dead letter of a run that has one, so that it is decided on once.
func unbury(ctx context.Context, tx pgx.Tx, runID string) (exhumed, error) {
	row, err := lock(ctx, tx, runID)
	if err != nil {
		return exhumed{}, err
	}
	d := exhumed{row: row}
	return d, tx.QueryRow(ctx, `
		select d.state, coalesce(d.decided_by, ''), d.decided_at, coalesce(d.into_run, ''), w.principal, w.digest, w.class
		from dead d join work w using (run_id) where d.run_id = $1`, runID).
		Scan(&d.state, &d.by, &d.at, &d.into, &d.principal, &d.digest, &d.class)
}

// taken says that the letter has been redriven.
func (d exhumed) taken() error {
	text := "run " + d.row.runID + " was redriven by " + d.by
	if d.at != nil {
		text += " at " + d.at.UTC().Format(time.RFC3339)
	}
	if d.into != d.row.runID {
		text += "; it goes on as run " + d.into
	}
	return fault.New(fault.Conflict, "dead.redriven", text, nil)
}
