package run

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/claimcheck"
	"patchbay/internal/flow"
)

// lettersKeep is how long the documents of a dead letter are kept.
const lettersKeep = "30 days"

// reserve holds the documents among the parameters of a run that is about to be accepted.
// Rejected "document.unknown" where one is not kept.
func (b *Book) reserve(ctx context.Context, e *entry) error {
	var values []any
	for _, p := range e.plan.Params {
		if p.Type == flow.Document {
			values = append(values, e.params[p.Name])
		}
	}
	if len(values) == 0 {
		return nil
	}
	return claimcheck.New(b.store).Reserve(ctx, e.runID, flow.Claims(values...)...)
}

// Needing implements claimcheck.Runs: a run needs its documents while it is open, and as a
// dead letter for 30 days, unless somebody has decided about it.
func (b *Book) Needing(ctx context.Context, runIDs []string) (map[string]bool, error) {
	needing := map[string]bool{}
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select run_id, closed_at is null or exists (select from dead d where d.run_id = w.run_id and d.state = 'dead' and d.died_at > now() - $2::interval)
			from work w where run_id = any ($1)`, runIDs, lettersKeep)
		if err != nil {
			return err
		}
		var id string
		var needs bool
		_, err = pgx.ForEachRow(rows, []any{&id, &needs}, func() error { needing[id] = needs; return nil })
		return err
	})
	return needing, err
}
