package ledger

import (
	"context"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/flow"
)

// EffectsOf gives the effects of each of the causes in the order they were
// intended; a cause without effects has none in the map.
func EffectsOf(ctx context.Context, q Querier, causes ...string) (map[string][]flow.Effect, error) {
	rows, err := q.Query(ctx, `
		select cause, step, target || ' ' || label, state, coalesce(reason, '') from effect
		where cause = any ($1) order by cause, ordinal, step, target_key`, causes)
	if err != nil {
		return nil, err
	}
	all := map[string][]flow.Effect{}
	var cause string
	var e flow.Effect
	_, err = pgx.ForEachRow(rows, []any{&cause, &e.Step, &e.Target, &e.State, &e.Reason}, func() error {
		all[cause] = append(all[cause], e)
		return nil
	})
	return all, err
}
