package run

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/flow"
)

// RunID is the run_id that Accept gives a press that has a key.
func (b *Book) RunID(ctx context.Context, press flow.Press) (string, error) {
	return b.runID(ctx, press)
}

// Count keeps what became of every row that a consolidation read: the JSON of a
// flow.Completeness, shown as part of the run.
func (b *Book) Count(ctx context.Context, runID string, completeness []byte) error {
	return b.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `update work set completeness = $2::json where run_id = $1`, runID, string(completeness))
		return err
	})
}
