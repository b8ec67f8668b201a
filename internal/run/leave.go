package run

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/flow"
	"patchbay/internal/journal"
	"patchbay/internal/ledger"
)

// leaving is the transaction in which somebody gives up a run.
type leaving struct {
	tx      pgx.Tx
	by      string
	ended   []locked // runs that this transaction ended, as they were before
	changed bool
}

// leave gives up a run that is open. The row of a leader is locked before those of
// its followers, here and wherever both are.
func (l *leaving) leave(ctx context.Context, runID string) error {
	leaderID, err := leaderOf(ctx, l.tx, runID)
	if err != nil {
		return err
	}
	for leaderID != "" {
		leader, err := lock(ctx, l.tx, leaderID)
		if err != nil {
			return err
		}
		row, err := lock(ctx, l.tx, runID)
		if err != nil {
			return err
		}
		// Another follower, or this one, may have come to lead meanwhile.
		now, err := leaderOf(ctx, l.tx, runID)
		switch {
		case err != nil:
			return err
		case now == leaderID:
			return l.leaveLeader(ctx, row, leader)
		}
		leaderID = now
	}
	row, err := lock(ctx, l.tx, runID)
	if err != nil || row.state.Final() || row.detached {
		return err
	}
	followers, err := l.followers(ctx, runID)
	switch {
	case err != nil:
		return err
	case len(followers) == 0:
		return l.seal(ctx, row)
	case row.state == flow.Accepted && row.fence == 0:
		return l.promote(ctx, row, followers)
	}
	return l.detach(ctx, row)
}

// leaderOf gives whose work a run shares; "" when it does its own.
func leaderOf(ctx context.Context, tx pgx.Tx, runID string) (leader string, err error) {
	err = tx.QueryRow(ctx, `select coalesce(leader, '') from work where run_id = $1`, runID).Scan(&leader)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", notFound()
	}
	return leader, err
}

// followers gives the open followers, the oldest first.
func (l *leaving) followers(ctx context.Context, leaderID string) ([]string, error) {
	rows, err := l.tx.Query(ctx, `
		select run_id from work where leader = $1 and closed_at is null
		order by accepted_at, run_id for no key update`, leaderID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// seal gives up the work itself, which nobody else shares. What nobody has in hands
// ends at once.
func (l *leaving) seal(ctx context.Context, row locked) error {
	already, err := ledger.Seal(ctx, l.tx, row.runID, l.by)
	if err != nil {
		return err
	}
	if !already {
		// The next identical press works anew.
		if _, err := l.tx.Exec(ctx, `update work set share = null where run_id = $1 and share is not null`, row.runID); err != nil {
			return err
		}
		if err := l.asked(ctx, row); err != nil {
			return err
		}
	}
	if row.state == flow.Accepted || row.batchID == "" {
		return l.end(ctx, row, "before it began")
	}
	return nil
}

// asked keeps in the journal who gave the run up.
func (l *leaving) asked(ctx context.Context, row locked) error {
	l.changed = true
	return journal.Write(ctx, l.tx, journal.Entry{Flow: row.flow, Run: row.runID, What: "cancel", Reason: journal.CancelAsked,
		Keys: keysOf(row.params), Detail: map[string]any{"by": l.by}})
}

func (l *leaving) end(ctx context.Context, row locked, note string) error {
	l.changed, l.ended = true, append(l.ended, row)
	return finish(ctx, l.tx, row, ending{status: flow.Cancelled, reason: journal.Cancelled, note: note, abandoned: true})
}

// leaveLeader detaches a follower. When its leader has been detached and no other
// follower is left, nobody wants the work any more.
func (l *leaving) leaveLeader(ctx context.Context, row, leader locked) error {
	if row.state.Final() {
		return nil
	}
	if err := l.asked(ctx, row); err != nil {
		return err
	}
	if err := keepCertificate(ctx, l.tx, detached(row)); err != nil {
		return err
	}
	if err := l.end(ctx, row, noteLeft); err != nil {
		return err
	}
	if _, err := l.tx.Exec(ctx, `update work set leader = null where run_id = $1`, row.runID); err != nil {
		return err
	}
	if !leader.detached || leader.state.Final() {
		return nil
	}
	others, err := l.followers(ctx, leader.runID)
	if err != nil || len(others) > 0 {
		return err
	}
	return l.seal(ctx, leader)
}

// noteLeft is in the progress of a run whose work goes on without it.
const noteLeft = "left to identical requests"

// promote lets the oldest follower of a leader that nobody has begun take its place
// in the queue, and gives the leader up.
func (l *leaving) promote(ctx context.Context, row locked, followers []string) error {
	first := followers[0]
	// A digest leads once: one gives it up before the other has it.
	var share *string
	var at time.Time
	err := l.tx.QueryRow(ctx, `
		update work set share = null from work as before where work.run_id = $1 and before.run_id = $1
		returning before.share, before.order_at`, row.runID).Scan(&share, &at)
	if err != nil {
		return err
	}
	var batch pgx.Batch
	batch.Queue(`update work set leader = null, share = $2, order_at = $3 where run_id = $1`, first, share, at)
	batch.Queue(`update work set leader = $1 where leader = $2 and closed_at is null`, first, row.runID)
	if err := l.tx.SendBatch(ctx, &batch).Close(); err != nil {
		return err
	}
	return l.seal(ctx, row)
}

// detach lets the owner of a run go whose work others share: the run is cancelled
// for all to see, the work goes on as theirs.
func (l *leaving) detach(ctx context.Context, row locked) error {
	if err := l.asked(ctx, row); err != nil {
		return err
	}
	if err := keepCertificate(ctx, l.tx, detached(row)); err != nil {
		return err
	}
	if _, err := l.tx.Exec(ctx, `update work set detached_at = now() where run_id = $1`, row.runID); err != nil {
		return err
	}
	return journal.Write(ctx, l.tx, journal.Entry{Flow: row.flow, Run: row.runID, What: "closed", Reason: journal.Cancelled, Final: true,
		Round: row.round, Keys: keysOf(row.params), Detail: map[string]any{"status": flow.Cancelled, "detached": true}})
}

// detached is the certificate of a run whose work goes on without it.
func detached(row locked) flow.Certificate {
	cert := certificate(row, flow.Cancelled, nil)
	cert.Detached = true
	return cert
}
