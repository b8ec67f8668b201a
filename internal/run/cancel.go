package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/journal"
	"patchbay/internal/ledger"
)

// Seal asks for the cancel of a run: from its commit on no effect of the run
// begins. A run that Temporal does not have yet is cancelled at once; another one
// is Cancelling until its workflow has ended, see SealedOpen. A final run stays as
// it is. It waits for nothing but its own commit and gives the run as it then is;
// NotFound "run.not_found" when there is none.
func (b *Book) Seal(ctx context.Context, runID, by string) (flow.Run, error) {
	var state flow.Status
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `select state from work where run_id = $1`, runID).Scan(&state)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return flow.Run{}, notFound()
	}
	if err != nil {
		return flow.Run{}, err
	}
	if !state.Final() {
		var row locked
		var ended bool
		err := b.store.Tx(ctx, func(tx pgx.Tx) error {
			var err error
			row, ended, err = seal(ctx, tx, runID, by)
			return err
		})
		if err != nil {
			return flow.Run{}, fmt.Errorf("sealing the run: %w", err)
		}
		if ended {
			b.ended(row.flow, flow.Cancelled, time.Since(row.acceptedAt))
		}
		b.hub.publish(runID)
	}
	return b.Get(ctx, runID)
}

// seal also ends a run that nobody has begun; ended says whether it did.
func seal(ctx context.Context, tx pgx.Tx, runID, by string) (row locked, ended bool, err error) {
	already, err := ledger.Seal(ctx, tx, runID, by)
	if err != nil {
		return row, false, err
	}
	row, err = lock(ctx, tx, runID)
	if err != nil || row.state.Final() {
		return row, false, err
	}
	if !already {
		if err := journal.Write(ctx, tx, journal.Entry{Flow: row.flow, Run: runID, What: "cancel", Reason: journal.CancelAsked,
			Keys: keysOf(row.params), Detail: map[string]any{"by": by}}); err != nil {
			return row, false, err
		}
	}
	if row.state != flow.Accepted || row.relayed {
		return row, false, nil
	}
	return row, true, finish(ctx, tx, row, ending{status: flow.Cancelled, reason: journal.Cancelled, note: "before it began"}, nil)
}

// Certificate says what a final run had done, not done, and left in doubt. The
// first answer is kept: the same run always gets the same one. Conflict "run.open"
// while the run is not final, NotFound "run.not_found" when there is none.
func (b *Book) Certificate(ctx context.Context, runID string) (flow.Certificate, error) {
	var cert flow.Certificate
	err := b.store.Tx(ctx, func(tx pgx.Tx) error {
		row, err := lock(ctx, tx, runID)
		switch {
		case err != nil:
			return err
		case !row.state.Final():
			return fault.New(fault.Conflict, "run.open", "the run has not ended", nil)
		case row.stored != nil:
			cert = flow.Certificate{}
			return decode(row.stored, &cert)
		}
		effects, err := ledger.Details(ctx, tx, runID)
		if err != nil {
			return err
		}
		cert = certificate(row, row.state, effects)
		body, err := encode(cert)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `update work set certificate = $2 where run_id = $1`, runID, body)
		return err
	})
	return cert, err
}

func certificate(row locked, status flow.Status, effects []ledger.Detail) flow.Certificate {
	cert := flow.Certificate{RunID: row.runID, Status: status, At: row.at.UTC(),
		Done: []flow.Effect{}, Undone: []flow.Effect{}, InDoubt: []flow.Effect{}}
	for _, e := range effects {
		switch e.State {
		case flow.Confirmed, flow.Settled:
			cert.Done = append(cert.Done, e.Effect)
		case flow.Intent, flow.Refused:
			cert.Undone = append(cert.Undone, e.Effect)
		default:
			cert.InDoubt = append(cert.InDoubt, e.Effect)
		}
	}
	return cert
}
