// Package shadow owns the table shadow: what a calculator in the shadow of another made of the
// figures that a run was decided by, compared with what decided.
//
// An activity keeps each comparison once, by Shadows.Keep; API and console read List. It may import
// store, flow, fault and pgx.
//
// Invariants: nothing here has an effect on a run: it is neither read by one nor joined to what
// decides. A run has one comparison a step. Outputs are figures; no names are in them.
package shadow

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/flow"
	"patchbay/internal/store"
)

// Shadows are the comparisons of a store. It is safe for concurrent use.
type Shadows struct{ store *store.Store }

// New gives the comparisons of a store.
func New(s *store.Store) *Shadows { return &Shadows{store: s} }

// Keep keeps a comparison; one that is there already stays. Output may be nil.
func (s *Shadows) Keep(ctx context.Context, c flow.ShadowRun, output json.RawMessage) error {
	return s.store.Tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			insert into shadow (run_id, task, flow, live, beside, equal, differ, fault, output) values ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::json)
			on conflict (run_id, task) do nothing`,
			c.Run, c.Step, c.Flow, c.Live, c.Beside, c.Equal, append([]string{}, c.Differ...), c.Fault, text(output))
		return err
	})
}

func text(output json.RawMessage) *string {
	if output == nil {
		return nil
	}
	t := string(output)
	return &t
}

// mostShown is how many comparisons without agreement are listed.
const mostShown = 100

// List gives how far calculators agree with those in their shadow, of one flow or, empty, of all,
// and the newest runs in which they do not, at most 100.
func (s *Shadows) List(ctx context.Context, of string) (list flow.ShadowList, err error) {
	err = s.store.Read(ctx, func(c *pgxpool.Conn) error {
		list = flow.ShadowList{Shadows: []flow.ShadowTotal{}, Differing: []flow.ShadowRun{}}
		rows, err := c.Query(ctx, `
			select flow, task, live, beside, count(*)::int, count(*) filter (where equal)::int, count(*) filter (where fault <> '')::int
			from shadow where $1 in ('', flow) group by 1, 2, 3, 4 order by 1, 2, 3, 4`, of)
		if err != nil {
			return err
		}
		var t flow.ShadowTotal
		if _, err = pgx.ForEachRow(rows, []any{&t.Flow, &t.Step, &t.Live, &t.Beside, &t.Compared, &t.Equal, &t.Failed}, func() error {
			list.Shadows = append(list.Shadows, t)
			return nil
		}); err != nil {
			return err
		}
		if rows, err = c.Query(ctx, `
			select run_id, task, flow, live, beside, equal, differ, fault, at
			from shadow where $1 in ('', flow) and not equal order by at desc, run_id limit $2`, of, mostShown); err != nil {
			return err
		}
		var one flow.ShadowRun
		_, err = pgx.ForEachRow(rows, []any{&one.Run, &one.Step, &one.Flow, &one.Live, &one.Beside, &one.Equal, &one.Differ, &one.Fault, &one.At}, func() error {
			next := one
			next.At = one.At.UTC()
			list.Differing = append(list.Differing, next)
			return nil
		})
		return err
	})
	return list, err
}
