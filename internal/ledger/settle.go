package ledger

import (
	"context"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

// Querier reads; a pgx.Tx, a connection and a pool are ones.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// News is what an attempt of one cause learned.
type News struct {
	Cause, Step string
	Outcomes    []Outcome
}

// SettleAll applies outcomes by compare-and-set on their fences and returns how
// many it applied: news of a superseded attempt, and of an effect whose outcome is
// known already, changes nothing. A confirmation of an effect in doubt settles it.
// That this attempt never reached the target, or was refused, says nothing of the
// one before it: where that one's outcome is unknown the effect is in doubt.
func SettleAll(ctx context.Context, tx pgx.Tx, news ...News) (applied int, err error) {
	var causes, steps, keys, states, reasons []string
	var fences []int64
	for _, n := range news {
		if err := n.Valid(); err != nil {
			return 0, err
		}
		for _, o := range n.Outcomes {
			causes, steps = append(causes, n.Cause), append(steps, n.Step)
			keys, fences = append(keys, o.Key), append(fences, o.Fence)
			states, reasons = append(states, string(o.State)), append(reasons, store.Text(o.Reason))
		}
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
		from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[]) as o(cause, step, key, fence, state, reason)
		where e.cause = o.cause and e.step = o.step and e.target_key = o.key and e.fence = o.fence
		  and (e.state = 'attempt' or e.state = 'in_doubt' and o.state in ('confirmed', 'refused'))`,
		causes, steps, keys, fences, states, reasons)
	return int(tag.RowsAffected()), err
}

// Valid is a Bug, code "ledger.outcome", when an outcome is none that an attempt
// can have.
func (n News) Valid() error {
	for _, o := range n.Outcomes {
		switch o.State {
		case flow.Confirmed, flow.Refused, flow.Doubtful, flow.Intent:
		default:
			return fault.New(fault.Bug, "ledger.outcome", "an attempt cannot end as "+string(o.State), nil)
		}
	}
	return nil
}

// Seal lets no attempt of the cause begin after the transaction has committed;
// already reports an earlier seal. The caller holds the cause, as for Begin, before
// he commits: an attempt that is being recorded has then ended, or comes after.
func Seal(ctx context.Context, tx pgx.Tx, cause, by string) (already bool, err error) {
	tag, err := tx.Exec(ctx, `insert into seal (cause, sealed_by) values ($1, $2) on conflict do nothing`, cause, by)
	return tag.RowsAffected() == 0, err
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

// Doubt marks every attempt of the causes whose outcome never came back.
func Doubt(ctx context.Context, tx pgx.Tx, reason string, causes ...string) error {
	_, err := tx.Exec(ctx, `update effect set state = 'in_doubt', reason = $2 where cause = any ($1) and state = 'attempt'`,
		causes, store.Text(reason))
	return err
}

// Tally is the effects of one cause that share step, target, state and reason.
type Tally struct {
	Step, Target string
	State        flow.EffectState
	Reason       string
	Labels       []string // in the order they were intended
}

// Tallies counts the effects of many causes; those of a cause come in the order
// of their first effects.
func Tallies(ctx context.Context, q Querier, causes ...string) (map[string][]Tally, error) {
	rows, err := q.Query(ctx, `
		select cause, step, target, state, coalesce(reason, ''), array_agg(label order by ordinal) from effect
		where cause = any ($1) group by cause, step, target, state, reason order by cause, min(ordinal)`, causes)
	if err != nil {
		return nil, err
	}
	all := make(map[string][]Tally, len(causes))
	for rows.Next() {
		var cause string
		var t Tally
		if err := rows.Scan(&cause, &t.Step, &t.Target, &t.State, &t.Reason, &t.Labels); err != nil {
			return nil, err
		}
		all[cause] = append(all[cause], t)
	}
	return all, rows.Err()
}
