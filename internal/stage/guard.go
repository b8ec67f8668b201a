package stage

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// history is how many of the last runs make the median that figures are held against.
const history = 10

// believe is why a number of rows is not believed, nil when it is. source names the
// source that they are of, empty: the target. Runs that were held count for nothing, and
// a run whose figures a person accepted begins the history anew.
func believe(ctx context.Context, tx pgx.Tx, flowName, what, source string, rows int64, guard flow.Guard, accepted bool) (*fault.Fault, error) {
	if accepted {
		return nil, nil
	}
	if rows == 0 && !guard.Zero {
		return fault.New(fault.Rejected, CodeZero, "the "+what+" has no rows at all; nothing is written", nil), nil
	}
	if guard.Share <= 0 {
		return nil, nil
	}
	var median, runs int64
	err := tx.QueryRow(ctx, `
		select coalesce(percentile_disc(0.5) within group (order by n), 0), count(n) from (
			select case when $2 = '' then keys else (sources->$2->>'staged')::bigint end as n from stage_join j
			where flow = $1 and held is null and ($2 = '' or sources->$2->>'state' = 'fresh')
			  and id >= (select coalesce(max(id), 0) from stage_join where flow = $1 and accepted and held is null)
			order by id desc limit $3) last`, flowName, source, history).Scan(&median, &runs)
	if err != nil || runs == 0 {
		return nil, err
	}
	off := rows - median
	if off < 0 {
		off = -off
	}
	if off*100 <= median*int64(guard.Share) {
		return nil, nil
	}
	return fault.New(fault.Rejected, CodeShare, fmt.Sprintf("the %s has %d rows where the median of the last %d runs is %d, and may differ by %d %%; nothing is written",
		what, rows, runs, median, guard.Share), nil), nil
}

// drifted is why a source whose columns are others than they were is not read, nil
// when it is.
func drifted(policy flow.Drift, code, text string, approved bool) *fault.Fault {
	if policy == flow.DriftIgnore || policy == flow.DriftApprove && approved {
		return nil
	}
	if policy == flow.DriftApprove {
		text += "; it is not read until a person has approved"
	}
	return fault.New(fault.Rejected, code, text, nil)
}

// Columns compares the columns that the source of a reading has now with those that it
// had: the plan's and, where whole is set because the system itself listed them, those
// of earlier runs. What the plan's policies do not let pass is a final fault.
func (r *Reading) Columns(ctx context.Context, columns []string, whole bool) error {
	return settled(r.stage.store.Tx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `select column_name, kind, approved_at is not null from stage_drift where flow = $1 and source = $2`, r.Flow, r.source.Name)
		if err != nil {
			return err
		}
		before, approved := map[string]bool{}, map[string]bool{}
		var name, kind string
		var yes bool
		if _, err := pgx.ForEachRow(rows, []any{&name, &kind, &yes}, func() error {
			before[name] = before[name] || kind == "known"
			approved[kind+name] = yes
			return nil
		}); err != nil {
			return err
		}
		lost, gained := r.packer.Lost(columns)
		var faults []error
		note := func(name, kind string) error {
			_, err := tx.Exec(ctx, `insert into stage_drift (flow, source, column_name, kind, run_id) values ($1, $2, $3, $4, $5) on conflict do nothing`,
				r.Flow, r.source.Name, name, kind, r.RunID)
			return err
		}
		for _, c := range lost {
			if err := note(c, "lost"); err != nil {
				return err
			}
			if f := drifted(r.source.Lost, CodeLost, r.source.Name+" has no column "+c+" any more", approved["lost"+c]); f != nil {
				faults = append(faults, f)
			}
		}
		first := len(before) == 0
		for _, c := range gained {
			switch {
			case before[c]:
				continue
			case first && whole: // all that it has is new to us, and none of it is news
				if err := note(c, "known"); err != nil {
					return err
				}
				continue
			}
			if err := note(c, "gained"); err != nil {
				return err
			}
			if f := drifted(r.source.Gained, CodeGained, r.source.Name+" has a column that nobody knows: "+c, approved["gained"+c]); f != nil {
				faults = append(faults, f)
			}
		}
		if first && whole {
			for _, c := range r.source.Select {
				if err := note(c, "known"); err != nil {
					return err
				}
			}
		}
		r.drift = errors.Join(faults...)
		return nil
	}))
}

// Drift is why the source is not read: what Columns found and no policy lets pass.
func (r *Reading) Drift() error { return r.drift }

// Approve has a person approve of columns that a source has lost or gained.
func (s *Stage) Approve(ctx context.Context, flowName, source, column, by string) error {
	return settled(s.store.Tx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			update stage_drift set approved_at = now(), approved_by = $4
			where flow = $1 and source = $2 and column_name = $3 and kind <> 'known' and approved_at is null`, flowName, source, column, by)
		if err == nil && tag.RowsAffected() == 0 {
			return fault.NotFoundf("stage.no_drift", "no such change of a column waits for approval")
		}
		return err
	}))
}
