package ledger

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

// lockKey is the advisory lock of a cause ($1); the seed keeps it apart from the
// locks of other packages.
const lockKey = `hashtextextended($1, 1)`

const isSealed = `select exists (select from seal where cause = $1)`

// Querier reads; a pgx.Tx, a connection and a pool are ones.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Settle applies outcomes by compare-and-set on their fences and returns how many
// it applied: news of a superseded attempt, and of an effect whose outcome is
// known already, changes nothing. A confirmation of an effect in doubt settles it.
// That this attempt never reached the target, or was refused, says nothing of the
// one before it: where that one's outcome is unknown the effect is in doubt.
func Settle(ctx context.Context, tx pgx.Tx, cause, step string, outcomes []Outcome) (applied int, err error) {
	var keys, states, reasons []string
	var fences []int64
	for _, o := range outcomes {
		switch o.State {
		case flow.Confirmed, flow.Refused, flow.Doubtful, flow.Intent:
		default:
			return 0, fault.New(fault.Bug, "ledger.outcome", "an attempt cannot end as "+string(o.State), nil)
		}
		keys, fences = append(keys, o.Key), append(fences, o.Fence)
		states, reasons = append(states, string(o.State)), append(reasons, store.Text(o.Reason))
	}
	if len(keys) == 0 {
		return 0, nil
	}
	tag, err := tx.Exec(ctx, `
		update effect e set
			state = case when e.state = 'in_doubt' and o.state = 'confirmed' then 'settled'
			             when e.unsure and o.state in ('intent', 'refused') then 'in_doubt'
			             else o.state end,
			reason = nullif(o.reason, ''),
			settled_at = case when o.state = 'confirmed' or o.state = 'refused' and not e.unsure then now() end
		from unnest($3::text[], $4::bigint[], $5::text[], $6::text[]) as o(key, fence, state, reason)
		where e.cause = $1 and e.step = $2 and e.target_key = o.key and e.fence = o.fence
		  and (e.state = 'attempt' or e.state = 'in_doubt' and o.state in ('confirmed', 'refused'))`,
		cause, step, keys, fences, states, reasons)
	return int(tag.RowsAffected()), err
}

// Seal lets no attempt of the cause begin after the transaction has committed. It
// waits for attempts that are being recorded; already reports an earlier seal.
func Seal(ctx context.Context, tx pgx.Tx, cause, by string) (already bool, err error) {
	var batch pgx.Batch
	batch.Queue(`select pg_advisory_xact_lock(`+lockKey+`)`, cause)
	batch.Queue(`insert into seal (cause, sealed_by) values ($1, $2) on conflict do nothing`, cause, by).
		Exec(func(tag pgconn.CommandTag) error { already = tag.RowsAffected() == 0; return nil })
	err = tx.SendBatch(ctx, &batch).Close()
	return already, err
}

// Hold keeps the cause from being sealed until the transaction ends and reports
// whether it has been.
func Hold(ctx context.Context, tx pgx.Tx, cause string) (sealed bool, err error) {
	var batch pgx.Batch
	batch.Queue(`select pg_advisory_xact_lock_shared(`+lockKey+`)`, cause)
	batch.Queue(isSealed, cause).QueryRow(func(r pgx.Row) error { return r.Scan(&sealed) })
	err = tx.SendBatch(ctx, &batch).Close()
	return sealed, err
}

// Sealed gives those of the causes that have been sealed.
func Sealed(ctx context.Context, q Querier, causes ...string) (map[string]bool, error) {
	rows, err := q.Query(ctx, `select cause from seal where cause = any ($1)`, causes)
	if err != nil {
		return nil, err
	}
	sealed := map[string]bool{}
	var cause string
	_, err = pgx.ForEachRow(rows, []any{&cause}, func() error { sealed[cause] = true; return nil })
	return sealed, err
}

// Doubt marks every attempt of the cause whose outcome never came back.
func Doubt(ctx context.Context, tx pgx.Tx, cause, reason string) error {
	_, err := tx.Exec(ctx, `update effect set state = 'in_doubt', reason = $2 where cause = $1 and state = 'attempt'`,
		cause, store.Text(reason))
	return err
}

// Effects gives the effects of a cause in the order they were intended; never nil.
func Effects(ctx context.Context, q Querier, cause string) ([]flow.Effect, error) {
	details, err := Details(ctx, q, cause)
	effects := make([]flow.Effect, len(details))
	for i, d := range details {
		effects[i] = d.Effect
	}
	return effects, err
}

// Detail is an effect with what only the books need.
type Detail struct {
	flow.Effect
	Label string
}

// Details is Effects with labels.
func Details(ctx context.Context, q Querier, cause string) ([]Detail, error) {
	rows, err := q.Query(ctx, `
		select step, target, label, state, coalesce(reason, '') from effect where cause = $1 order by ordinal, step, target_key`, cause)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (Detail, error) {
		var e Detail
		err := r.Scan(&e.Step, &e.Target, &e.Label, &e.State, &e.Reason)
		e.Target += " " + e.Label
		return e, err
	})
}
