package run

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/ledger"
)

// Seal asks for the cancel of a run: from its commit on no effect of the run
// begins. A run that waits, or that nobody has taken yet, is cancelled at once;
// another one is Cancelling until its workflow has ended, see SealedOpen and Sealed.
// A final run stays as it is.
//
// A run that shares its work with others leaves it to them and is cancelled at once,
// with a certificate that says so (Detached). Its work is sealed when the last of
// them has left. The open runs that it called are sealed after it.
//
// It waits for nothing but its own commit and gives the run as it then is; NotFound
// "run.not_found" when there is none.
func (b *Book) Seal(ctx context.Context, runID, by string) (flow.Run, error) {
	var l leaving
	err := b.store.Tx(ctx, func(tx pgx.Tx) error {
		l = leaving{tx: tx, by: by}
		return l.leave(ctx, runID)
	})
	if err != nil {
		return flow.Run{}, fmt.Errorf("sealing the run: %w", err)
	}
	for _, row := range l.ended {
		b.ended(row.flow, flow.Cancelled, time.Since(row.acceptedAt))
	}
	if l.changed {
		b.hub.publish(runID)
		b.hub.rowsWait() // a place in flight may be free, a follower may lead
	}
	called, err := b.items(ctx, `
		select w.run_id from seal s join task t on t.run_id = s.cause join work w on w.run_id = t.child
		where s.cause = $1 and w.closed_at is null order by w.run_id`, runID)
	if err != nil {
		return flow.Run{}, fmt.Errorf("looking for what the run called: %w", err)
	}
	for _, id := range called {
		if _, err := b.Seal(ctx, id, by); err != nil {
			return flow.Run{}, err
		}
	}
	return b.Get(ctx, runID)
}

// Certificate says what a final run had done, not done, and left in doubt. The
// first answer is kept: the same run always gets the same one. One that shared the
// work of another has the effects of that one. Conflict "run.open" while the run is
// not final, NotFound "run.not_found" when there is none.
func (b *Book) Certificate(ctx context.Context, runID string) (flow.Certificate, error) {
	var cert flow.Certificate
	err := b.store.Tx(ctx, func(tx pgx.Tx) error {
		row, err := lock(ctx, tx, runID)
		switch {
		case err != nil:
			return err
		case row.stored != nil:
			cert = flow.Certificate{}
			return decode(row.stored, &cert)
		case !row.state.Final():
			return fault.New(fault.Conflict, "run.open", "the run has not ended", nil)
		}
		leader, err := leaderOf(ctx, tx, runID)
		if err != nil {
			return err
		}
		cause := cmp.Or(leader, runID)
		effects, err := ledger.EffectsOf(ctx, tx, cause)
		if err != nil {
			return err
		}
		cert = certificate(row, row.state, effects[cause])
		return keepCertificate(ctx, tx, cert)
	})
	return cert, err
}

func keepCertificate(ctx context.Context, tx pgx.Tx, cert flow.Certificate) error {
	body, err := encode(cert)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `update work set certificate = $2 where run_id = $1`, cert.RunID, body)
	return err
}

func certificate(row locked, status flow.Status, effects []flow.Effect) flow.Certificate {
	cert := flow.Certificate{RunID: row.runID, Status: status, At: row.at.UTC(),
		Done: []flow.Effect{}, Undone: []flow.Effect{}, InDoubt: []flow.Effect{}}
	effects = flow.WithUndone(effects)
	for _, e := range effects {
		switch e.State {
		case flow.Confirmed, flow.Settled:
			if e.Reason == flow.TakenBack {
				cert.Undone = append(cert.Undone, e)
				continue
			}
			cert.Done = append(cert.Done, e)
		case flow.Intent, flow.Refused:
			cert.Undone = append(cert.Undone, e)
		default:
			cert.InDoubt = append(cert.InDoubt, e)
		}
	}
	return cert
}
