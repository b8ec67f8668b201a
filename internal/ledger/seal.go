package ledger

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Seal lets no attempt of the cause begin after the transaction has committed;
// already reports an earlier seal. The caller holds the cause, as for Begin, before
// he commits: an attempt that is being recorded has then ended, or comes after.
func Seal(ctx context.Context, tx pgx.Tx, cause, by string) (already bool, err error) {
	tag, err := tx.Exec(ctx, `insert into seal (cause, sealed_by) values ($1, $2) on conflict do nothing`, cause, by)
	return tag.RowsAffected() == 0, err
}

// Sealed gives those of the causes that have been sealed.
func Sealed(ctx context.Context, q Querier, causes ...string) (map[string]bool, error) {
	rows, err := q.Query(ctx, sealedQuery, causes)
	if err != nil {
		return nil, err
	}
	sealed := map[string]bool{}
	return sealed, scanSealed(rows, sealed)
}

const sealedQuery = `select cause from seal where cause = any ($1)`

func scanSealed(rows pgx.Rows, sealed map[string]bool) error {
	var cause string
	_, err := pgx.ForEachRow(rows, []any{&cause}, func() error { sealed[cause] = true; return nil })
	return err
}
