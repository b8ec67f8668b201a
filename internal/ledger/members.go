package ledger

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

type (
	// effects is one row: the members of one call of a cause that share their fate. A
	// call begins as one row, and stays one as long as all its members fare alike.
	effects struct {
		cause, step    string
		ordinal        int32 // of its first member; with cause and step the row's key
		target, callID string
		members        []effect
		state          flow.EffectState
		fence          int64
	}

	// effect is one member: its place among all of the cause, and what it is known by.
	effect struct {
		ordinal    int32
		key, label string
		sum        []byte
	}

	// part are members that leave their row for one of their own, in the order of the
	// row; never none.
	part []effect
)

// effectsOf reads the rows of the causes, in the order they were intended.
func effectsOf(ctx context.Context, tx pgx.Tx, causes []string) ([]*effects, error) {
	rows, err := tx.Query(ctx, effectsQuery, causes)
	if err != nil {
		return nil, err
	}
	return scanEffects(rows)
}

const effectsQuery = `
	select cause, step, ordinal, target, coalesce(call_id, ''), state, fence, ordinals, keys, labels, sums
	from effect where cause = any ($1) order by cause, ordinal`

func scanEffects(rows pgx.Rows) ([]*effects, error) {
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (*effects, error) {
		e := &effects{}
		var ordinals []int32
		var keys, labels []string
		var sums [][]byte
		if err := r.Scan(&e.cause, &e.step, &e.ordinal, &e.target, &e.callID, &e.state, &e.fence, &ordinals, &keys, &labels, &sums); err != nil {
			return nil, err
		}
		if len(keys) != len(ordinals) || len(labels) != len(ordinals) || len(sums) != len(ordinals) {
			return nil, fault.New(fault.Bug, "ledger.members", "the members of an effect are not of equal number", nil)
		}
		for i, n := range ordinals {
			e.members = append(e.members, effect{n, keys[i], labels[i], sums[i]})
		}
		return e, nil
	})
}

// take gives the members whose keys are among those given.
func (e *effects) take(keys map[string]bool) part {
	var p part
	for _, m := range e.members {
		if keys[m.key] {
			p = append(p, m)
		}
	}
	return p
}

// without gives the members that no part has.
func (e *effects) without(parts []part) part {
	gone := map[int32]bool{}
	for _, p := range parts {
		for _, m := range p {
			gone[m.ordinal] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(part(e.members)), func(m effect) bool { return gone[m.ordinal] })
}

// split gives each part of a row, and what is left of it, a row of its own with the
// same fate, to be changed by statements that follow in the batch.
func (e *effects) split(batch *pgx.Batch, parts []part) {
	if rest := e.without(parts); len(rest) > 0 {
		parts = append(slices.Clone(parts), rest)
	}
	for _, p := range parts {
		if p[0].ordinal != e.ordinal {
			batch.Queue(`
				insert into effect (cause, step, ordinal, target, call_id, ordinals, keys, labels, sums, whole,
				                    state, reason, fence, attempts, unsure, unsure_at, intended_at, attempted_at, settled_at)
				select cause, step, $4, target, call_id, $5, $6, $7, $8, false,
				       state, reason, fence, attempts, unsure, unsure_at, intended_at, attempted_at, settled_at
				from effect where cause = $1 and step = $2 and ordinal = $3`, append([]any{e.cause, e.step, e.ordinal, p[0].ordinal}, p.columns()...)...)
		}
	}
	for _, p := range parts {
		if p[0].ordinal == e.ordinal {
			batch.Queue(`
				update effect set ordinals = $4, keys = $5, labels = $6, sums = $7, whole = false
				where cause = $1 and step = $2 and ordinal = $3`, append([]any{e.cause, e.step, e.ordinal}, p.columns()...)...)
		}
	}
}

// columns are the members as arrays: ordinals, keys, labels, sums.
func (p part) columns() []any {
	ordinals, keys, labels, sums := make([]int32, len(p)), make([]string, len(p)), make([]string, len(p)), make([][]byte, len(p))
	for i, m := range p {
		ordinals[i], keys[i], labels[i], sums[i] = m.ordinal, m.key, m.label, m.sum
	}
	return []any{ordinals, keys, labels, sums}
}
