package ledger

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/flow"
)

// Tally is the effects of one cause that share step, target, state and reason.
type Tally struct {
	Step, Target string
	State        flow.EffectState
	Reason       string
	Labels       []string // in the order they were intended
}

// EffectsOf gives the effects of each of the causes in the order they were
// intended; a cause without effects has none in the map.
func EffectsOf(ctx context.Context, q Querier, causes ...string) (map[string][]flow.Effect, error) {
	rows, err := q.Query(ctx, `
		select cause, step, target || ' ' || label, state, coalesce(reason, '') from effect, unnest(ordinals, labels) as m(ordinal, label)
		where cause = any ($1) order by cause, m.ordinal`, causes)
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

// Standing is where one effect stands.
type Standing struct {
	State flow.EffectState
	Fence int64 // of its last attempt
	// Since is how long ago that attempt whose outcome is not known began, see Open.
	Since time.Duration
}

// Standings gives where the effects of one step of a cause stand, by their keys.
func Standings(ctx context.Context, q Querier, cause, step string) (map[string]Standing, error) {
	rows, err := q.Query(ctx, `
		select unnest(keys), state, fence, coalesce(extract(epoch from now() -
			case state when 'attempt' then attempted_at else coalesce(unsure_at, attempted_at) end) * 1000000, 0)::bigint
		from effect where cause = $1 and step = $2`, cause, step)
	if err != nil {
		return nil, err
	}
	all := map[string]Standing{}
	var key string
	var s Standing
	var since int64
	_, err = pgx.ForEachRow(rows, []any{&key, &s.State, &s.Fence, &since}, func() error {
		s.Since = time.Duration(max(since, 0)) * time.Microsecond
		all[key] = s
		return nil
	})
	return all, err
}

// Tallies counts the effects of many causes; those of a cause come in the order
// of their first effects.
func Tallies(ctx context.Context, q Querier, causes ...string) (map[string][]Tally, error) {
	rows, err := q.Query(ctx, talliesQuery, causes)
	if err != nil {
		return nil, err
	}
	return scanTallies(rows)
}

const talliesQuery = `
	select cause, step, target, state, coalesce(reason, ''), ordinals, labels from effect where cause = any ($1) order by cause, ordinal`

// scanTallies puts together what a call was split into and fares alike again.
func scanTallies(rows pgx.Rows) (map[string][]Tally, error) {
	type labelled struct {
		ordinal int32
		label   string
	}
	type gathered struct {
		Tally
		members []labelled
	}
	all := map[string][]*gathered{}
	var cause string
	var t Tally
	var ordinals []int32
	var labels []string
	_, err := pgx.ForEachRow(rows, []any{&cause, &t.Step, &t.Target, &t.State, &t.Reason, &ordinals, &labels}, func() error {
		i := slices.IndexFunc(all[cause], func(g *gathered) bool {
			return g.Step == t.Step && g.Target == t.Target && g.State == t.State && g.Reason == t.Reason
		})
		if i < 0 {
			i = len(all[cause])
			all[cause] = append(all[cause], &gathered{Tally: t})
		}
		for n, label := range labels {
			all[cause][i].members = append(all[cause][i].members, labelled{ordinals[n], label})
		}
		return nil
	})
	tallies := make(map[string][]Tally, len(all))
	for cause, list := range all {
		for _, g := range list {
			slices.SortStableFunc(g.members, func(a, b labelled) int { return cmp.Compare(a.ordinal, b.ordinal) })
			for _, m := range g.members {
				g.Labels = append(g.Labels, m.label)
			}
			tallies[cause] = append(tallies[cause], g.Tally)
		}
	}
	return tallies, err
}
