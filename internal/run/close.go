package run

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/journal"
	"patchbay/internal/ledger"
)

type (
	// ending is how a run ends.
	ending struct {
		status  flow.Status
		reason  journal.Reason
		problem *flow.Problem
		note    string
		keys    []string // business keys besides those among the parameters
		// abandoned: its workflow did not end it, so nobody took back what its tasks did.
		abandoned bool

		row     locked
		effects []ledger.Tally
	}

	// locked is a row of work that the transaction holds.
	locked struct {
		runID, batchID, flow string
		state                flow.Status
		fence                int64
		tries                int
		params               flow.Row
		stored               []byte // the certificate, if it was given before
		relayed              bool
		detached             bool      // its owner has left: the run's final reason was given then
		at                   time.Time // when it closed, or closes if this transaction does it
		acceptedAt           time.Time
		waiting              string // what it waited for last, in words
		round                int    // how often it was accepted again
	}
)

// unheard is why an attempt is in doubt when its run closes.
const unheard = "no answer came back"

// lock takes the row of an open or final run until the transaction ends.
func lock(ctx context.Context, tx pgx.Tx, runID string) (locked, error) {
	rows, _, err := lockAll(ctx, tx, []string{runID})
	if err != nil {
		return locked{}, err
	}
	row, found := rows[runID]
	if !found {
		return row, notFound()
	}
	return row, nil
}

// lockAll takes rows until the transaction ends, in the order of their IDs, and
// tells of which the cancel was asked. Whoever seals a run locks its row before he
// commits, so that a seal is either seen here or comes after what this transaction
// does.
func lockAll(ctx context.Context, tx pgx.Tx, runIDs []string) (all map[string]locked, sealed map[string]bool, err error) {
	all = make(map[string]locked, len(runIDs))
	sealed = map[string]bool{}
	var batch pgx.Batch
	batch.Queue(`
		select w.run_id, coalesce(w.batch_id, ''), w.flow, w.state, w.fence, w.tries, w.params, w.certificate, b.relayed_at is not null,
		       w.detached_at is not null, coalesce(w.closed_at, now()), w.accepted_at, coalesce(w.waiting, ''), w.round
		from work w left join batch b on b.batch_id = w.batch_id
		where w.run_id = any ($1) order by w.run_id `+exclusively+` of w`, runIDs).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var row locked
			var params []byte
			if err := rows.Scan(&row.runID, &row.batchID, &row.flow, &row.state, &row.fence, &row.tries, &params, &row.stored, &row.relayed,
				&row.detached, &row.at, &row.acceptedAt, &row.waiting, &row.round); err != nil {
				return err
			}
			if err := decode(params, &row.params); err != nil {
				return fault.New(fault.Bug, "run.decode", "the parameters of a run cannot be read", err)
			}
			all[row.runID] = row
		}
		return rows.Err()
	})
	batch.Queue(`select cause from seal where cause = any ($1)`, runIDs).Query(func(rows pgx.Rows) error {
		var cause string
		_, err := pgx.ForEachRow(rows, []any{&cause}, func() error { sealed[cause] = true; return nil })
		return err
	})
	err = tx.SendBatch(ctx, &batch).Close()
	return all, sealed, err
}

// Complete settles what a write learned and closes the run, in one transaction:
// completed; failed "write.refused" when the target refused some, "write.in_doubt"
// when nobody can know of some; cancelled when a cancel was asked meanwhile. step is
// the ledger's, keys are business keys besides the texts among the parameters, note
// goes to the progress.
//
// Unavailable "run.fenced" and Conflict "run.closed" as for Answer, with nothing
// settled. Unavailable "run.effects_open" when effects are left open: what is known
// is kept, and the next attempt reads back the rest and ends it.
func (b *Book) Complete(ctx context.Context, item Item, step string, outcomes []ledger.Outcome, keys []string, note string) (flow.Status, error) {
	got, err := b.conclude(ctx, conclusion{wish: complete, item: item, keys: keys, note: note,
		news: ledger.News{Cause: item.RunID, Step: step, Outcomes: outcomes}})
	if err != nil {
		return "", err
	}
	return got.status, nil
}

// Fail ends an item that cannot be carried out: f says why, nil that it was
// cancelled; one whose cancel was asked is cancelled in either case. Attempts whose
// outcome never came back are in doubt. It fails as Answer does.
func (b *Book) Fail(ctx context.Context, item Item, f *fault.Fault) (flow.Status, error) {
	got, err := b.conclude(ctx, conclusion{wish: fail, item: item, why: f})
	if err != nil {
		return "", err
	}
	return got.status, nil
}

// PutBack gives an item to another batch. Throttled, or with a time to wait: it is
// due after that, and no try is counted. Else a try is counted, which bounds the
// batch that it may join; alone it has five, after which it has failed
// "run.tries". Attempts whose outcome never came back are in doubt: the next one
// reads them back. An item whose cancel was asked is cancelled instead. It fails as
// Answer does.
func (b *Book) PutBack(ctx context.Context, item Item, why *fault.Fault) error {
	_, err := b.conclude(ctx, conclusion{wish: putBack, item: item, why: orLost(why)})
	if err == nil {
		b.hub.rowsWait()
	}
	return err
}

// orLost is why an item goes back when nobody can say it.
func orLost(why *fault.Fault) *fault.Fault {
	if why != nil {
		return why
	}
	return fault.New(fault.Unavailable, "run.lost", "the work on it was lost", nil)
}

// PutBackAll puts back what a lost batch left open, whoever holds it, counting a
// try of each, and settles the batch. Those whose cancel was asked are cancelled.
// It gives how many were put back; again it finds none. One that has no answer has
// its whole time again: that of a lost worker is ours.
func (b *Book) PutBackAll(ctx context.Context, batchID string, why *fault.Fault) (int, error) {
	lost := orLost(why)
	lost = fault.New(fault.Unavailable, lost.Code, lost.Text, nil) // never later: a try is counted
	n := 0
	all, err := b.concludeBatch(ctx, batchID, conclusion{wish: putBack, why: lost})
	for _, got := range all {
		if got.back {
			n++
		}
	}
	if err != nil {
		return n, err
	}
	return n, b.Settle(ctx, batchID)
}

// Close ends the runs of a batch that did not complete: f says why they failed,
// nil that they were cancelled; one whose cancel was asked is cancelled in either
// case. No attempt begins afterwards; those whose outcome never came back are in
// doubt. A run that had ended keeps its status. NotFound "run.not_found" when no
// row carries the batch.
func (b *Book) Close(ctx context.Context, batchID string, f *fault.Fault) (flow.Status, error) {
	all, err := b.concludeBatch(ctx, batchID, conclusion{wish: fail, why: f})
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return "", notFound()
	}
	return all[len(all)-1].status, b.Settle(ctx, batchID)
}

// concludeBatch has the same wish for every item of a batch, whoever holds it.
func (b *Book) concludeBatch(ctx context.Context, batchID string, c conclusion) ([]concluded, error) {
	ids, err := b.items(ctx, `select run_id from work where batch_id = $1 order by run_id`, batchID)
	if err != nil {
		return nil, err
	}
	in := make([]conclusion, len(ids))
	for i, id := range ids {
		in[i] = c
		in[i].whole, in[i].item = true, Item{RunID: id, BatchID: batchID}
	}
	return b.concludeEach(ctx, in)
}

// concludeEach carries out wishes of one caller and gives what became of those that
// still could be; others are in other hands by now.
func (b *Book) concludeEach(ctx context.Context, in []conclusion) ([]concluded, error) {
	var all []concluded
	for turn := range slices.Chunk(in, inOne) {
		replies, err := b.concludeAll(ctx, turn)
		if err != nil {
			return all, err
		}
		for i, r := range replies {
			if r.Err != nil {
				continue
			}
			if r.Out.ended {
				b.ended(r.Out.row.flow, r.Out.status, time.Since(r.Out.row.acceptedAt))
			}
			b.hub.publish(turn[i].item.RunID)
			all = append(all, r.Out)
		}
	}
	return all, nil
}

// Settle says that a batch carries nothing any more: it gives its place in flight
// to the next. A batch of one is settled with the outcome of its item.
func (b *Book) Settle(ctx context.Context, batchID string) error {
	err := b.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `
			update batch set settled_at = now(), done = (select count(*) from work
				where work.batch_id = $1 and state in ('completed', 'failed', 'cancelled'))
			where batch_id = $1 and settled_at is null`, batchID)
		return err
	})
	if err == nil {
		b.hub.rowsWait()
	}
	return err
}

// SettleEmpty settles batches that were claimed longer ago than age and carry
// nothing any more, as of when the last of their runs ended: who carried them died,
// or lost the database, before it could say so. It gives how many there were.
func (b *Book) SettleEmpty(ctx context.Context, age time.Duration) (n int, err error) {
	err = b.store.Write(ctx, func(c *pgxpool.Conn) error {
		tag, err := c.Exec(ctx, quick+`
			, empty as (
				select batch_id from batch
				where settled_at is null and claimed_at < now() - $1::interval
				  and not exists (select from work where work.batch_id = batch.batch_id and closed_at is null)
				order by claimed_at limit 1000 for update skip locked
			), carried as (
				select batch_id, count(run_id) as done, max(closed_at) as last from empty left join work using (batch_id) group by batch_id
			)
			update batch set settled_at = coalesce(carried.last, now()), done = carried.done
			from quick, carried where batch.batch_id = carried.batch_id and settled_at is null`, age)
		n = int(tag.RowsAffected())
		return err
	})
	if n > 0 {
		b.hub.rowsWait()
	}
	return n, err
}

// Sealed gives the open items of a batch whose cancel was asked.
func (b *Book) Sealed(ctx context.Context, batchID string) ([]string, error) {
	return b.items(ctx, `
		select w.run_id from work w join seal s on s.cause = w.run_id
		where w.batch_id = $1 and w.closed_at is null order by w.run_id`, batchID)
}

// items reads run_ids.
func (b *Book) items(ctx context.Context, sql string, args ...any) ([]string, error) {
	var ids []string
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		ids, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return ids, err
}

// detail tells a person why the run failed; of one that ran out of time also what
// it had been waiting for.
func detail(f *fault.Fault, waiting string) string {
	if f.Code == flow.DeadlineCode && waiting != "" {
		return f.Text + "; it was " + waiting
	}
	return f.Text
}

// reasonOf is the final reason of a run that failed with f.
func reasonOf(f *fault.Fault) journal.Reason {
	switch {
	case f.Code == flow.DeadlineCode:
		return journal.Deadline
	case f.Class == fault.NotFound:
		return journal.NotFound
	case f.Class == fault.Invalid || f.Class == fault.Rejected:
		return journal.Rejected
	}
	return journal.Failed
}
