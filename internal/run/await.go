package run

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/claimcheck"
	"patchbay/internal/flow"
	"patchbay/internal/topic"
)

// Await takes an event for the task that the caller holds, and makes it what the task gave; see
// topic.Take. A run that is being cancelled takes none. It fails as Answer does.
func (b *Book) Await(ctx context.Context, item Item, w topic.Wait) (taken topic.Taken, err error) {
	w.RunID, w.Task = item.RunID, item.Task
	err = b.store.Tx(ctx, func(tx pgx.Tx) error {
		rows, err := holders(ctx, tx, exclusively, item)
		if err != nil {
			return err
		}
		if err := rows.refuse(item); err != nil {
			return err
		}
		var sealed bool
		if err := tx.QueryRow(ctx, `select exists (select from seal where cause = $1)`, item.RunID).Scan(&sealed); err != nil {
			return err
		}
		if sealed {
			taken = topic.Taken{Left: w.Within}
			return nil
		}
		if taken, err = topic.Take(ctx, tx, w); err != nil {
			return err
		}
		if taken.Event == nil {
			_, err = tx.Exec(ctx, `update task set waiting = $3 where run_id = $1 and name = $2`, item.RunID, item.Task,
				w.Topic+" of "+w.Key+", until "+taken.Until.Format(time.DateTime)+" UTC")
			return err
		}
		// Nobody keeps the event any more, and so its documents.
		if _, err := claimcheck.Hold(ctx, tx, claimcheck.Owner{Run: item.RunID}, flow.Claims(taken.Event)...); err != nil {
			return err
		}
		gave, err := encode([]flow.Row{taken.Event})
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `update task set gave = $3, waiting = null where run_id = $1 and name = $2`, item.RunID, item.Task, string(gave))
		return err
	})
	if err == nil {
		b.hub.publish(item.RunID)
	}
	return taken, err
}
