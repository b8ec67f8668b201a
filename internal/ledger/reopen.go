package ledger

import (
	"context"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/flow"
)

// Reopen lets a cause that is accepted again send what its target refused: such a
// write certainly did not take effect. What is confirmed or settled is never sent
// again, and what is in doubt is read back first (promise 2). The caller holds the
// cause, as for Begin.
func Reopen(ctx context.Context, tx pgx.Tx, cause string) error {
	_, err := tx.Exec(ctx, `
		update effect set state = 'intent', reason = null, settled_at = null where cause = $1 and state = 'refused'`, cause)
	return err
}

// Counts gives how many effects of each cause are in which state.
func Counts(ctx context.Context, q Querier, causes ...string) (map[string]map[flow.EffectState]int, error) {
	rows, err := q.Query(ctx, `select cause, state, sum(cardinality(keys))::int from effect where cause = any ($1) group by cause, state`, causes)
	if err != nil {
		return nil, err
	}
	all := make(map[string]map[flow.EffectState]int, len(causes))
	var cause string
	var state flow.EffectState
	var n int
	_, err = pgx.ForEachRow(rows, []any{&cause, &state, &n}, func() error {
		if all[cause] == nil {
			all[cause] = map[flow.EffectState]int{}
		}
		all[cause][state] = n
		return nil
	})
	return all, err
}
