package stage

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

type (
	// Reject is a row that was not used.
	Reject = flow.Reject
	// RejectFilter chooses rejects.
	RejectFilter = flow.RejectFilter
	// State is what is known of a source.
	State = flow.SourceStanding
	// Drift is a change of a source's columns.
	Drift = flow.ColumnDrift
)

// Completeness is what became of the rows of a run; false when it was not joined. While
// its chunks are on their way, Written and Rejected of the target are those so far.
func (s *Stage) Completeness(ctx context.Context, runID string) (c flow.Completeness, ok bool, err error) {
	err = s.store.Read(ctx, func(conn *pgxpool.Conn) error {
		var held *fault.Fault
		err := conn.QueryRow(ctx, `
			select sources, fields, keys, written, unchanged, rejected + refused, gone, held from stage_join where run_id = $1`, runID).
			Scan(&c.Sources, &c.Fields, &c.Target.Keys, &c.Target.Written, &c.Target.Unchanged, &c.Target.Rejected, &c.Target.Gone, &held)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if held != nil {
			c.Held = held.Text
		}
		ok = err == nil
		return err
	})
	return c, ok, err
}

// Rejects lists dead letters, the newest first.
func (s *Stage) Rejects(ctx context.Context, f RejectFilter) ([]Reject, error) {
	if f.Limit <= 0 {
		f.Limit = 100
	}
	of, args := "", []any{f.Flow, f.RunID, f.Source, f.Target, f.Resolved, f.Before, f.Limit}
	if f.Key != "" { // in words of its own, so that it has its index
		of, args = ` and key = $8 and key <> ''`, append(args, f.Key)
	}
	return read(ctx, s.store, func(r pgx.CollectableRow) (x Reject, err error) {
		err = r.Scan(&x.ID, &x.Flow, &x.RunID, &x.At, &x.Source, &x.Key, &x.Identity, &x.Code, &x.Reason, &x.ResolvedAt)
		return x, err
	}, `
		select id, flow, run_id, at, source, key, identity, code, reason, resolved_at from stage_reject
		where ($1 = '' or flow = $1) and ($2 = '' or run_id = $2) and ($3 = '' and not $4 or source = $3)
		  and ($5 or resolved_at is null and open) and ($6 = 0 or id < $6)`+of+`
		order by id desc limit $7`, args...)
}

// Sources tells what is known of the sources of a flow, in the order of their names.
func (s *Stage) Sources(ctx context.Context, flowName string) ([]State, error) {
	return read(ctx, s.store, func(r pgx.CollectableRow) (x State, err error) {
		err = r.Scan(&x.Flow, &x.Source, &x.RunID, &x.AsOf, &x.FullAt, &x.Watermark, &x.Rows, &x.Rejected, &x.FailingAt)
		return x, err
	}, `
		select flow, source, run_id, as_of, full_at, since, rows,
		       (select count(*) from stage_reject r where r.flow = s.flow and r.source = s.source and resolved_at is null and open),
		       (select min(failing_at) from stage_read r where r.flow = s.flow and r.source = s.source and ended_at is null)
		from stage_source s where flow = $1 order by source`, flowName)
}

// Drifts lists the changes of columns of a flow's sources, the newest first.
func (s *Stage) Drifts(ctx context.Context, flowName string) ([]Drift, error) {
	return read(ctx, s.store, func(r pgx.CollectableRow) (x Drift, err error) {
		err = r.Scan(&x.Flow, &x.Source, &x.Column, &x.Kind, &x.RunID, &x.SeenAt, &x.ApprovedAt, &x.ApprovedBy)
		return x, err
	}, `
		select flow, source, column_name, kind, run_id, seen_at, approved_at, coalesce(approved_by, '')
		from stage_drift where flow = $1 and kind <> 'known' order by seen_at desc, column_name`, flowName)
}

// pruned is how many rows of a kind one transaction of Prune takes; bodies of chunks
// are large, and of these a few.
const (
	pruned       = 5000
	prunedBodies = 16
)

// Prune ends what a run that is over has left: readings that nobody goes on with, the
// tables that no source points to any more, the bodies of chunks that are written.
// What is told of runs is kept for keep, rejects as long as they are open. It takes a
// bit at a time, so that an attempt that is cut short has brought the next one further.
func (s *Stage) Prune(ctx context.Context, runID string, keep time.Duration) error {
	for _, bit := range []struct {
		sql  string
		arg  any
		most int
	}{
		// One that did not end is no reading: whoever carries the run again reads anew.
		{`delete from stage_read where run_id = $1 and ended_at is null and $2 > 0`, runID, pruned},
		{`delete from stage_token where (run_id, source, sha256) in (select run_id, source, sha256 from stage_token where run_id = $1 limit $2)`, runID, pruned},
		{`update stage_chunk set body = '' where (run_id, n) in (
			select run_id, n from stage_chunk where run_id = $1 and written_at is not null and body <> '' limit $2)`, runID, prunedBodies},
		{`delete from stage_reject where id in (select id from stage_reject where run_id = $1 and not open limit $2)`, runID, pruned},
		{`delete from stage_chunk where (run_id, n) in (
			select run_id, n from stage_chunk where run_id in (select run_id from stage_read where began_at < now() - $1::interval) limit $2)`, keep, prunedBodies},
		{`delete from stage_join where run_id in (select run_id from stage_join j
			where at < now() - $1::interval and exists (select from stage_join l where l.flow = j.flow and l.id > j.id) limit $2)`, keep, pruned},
		{`delete from stage_read where (run_id, source) in (
			select run_id, source from stage_read where began_at < now() - $1::interval and ended_at is not null limit $2)`, keep, pruned},
		{`delete from stage_reject where id in (select id from stage_reject where resolved_at < now() - $1::interval limit $2)`, keep, pruned},
	} {
		for more := true; more; {
			if err := s.store.Write(ctx, func(c *pgxpool.Conn) error {
				tag, err := c.Exec(ctx, bit.sql, bit.arg, bit.most)
				more = int(tag.RowsAffected()) >= bit.most
				return err
			}); err != nil {
				return settled(err)
			}
		}
	}
	return s.sweep(ctx)
}

// sweep drops the tables of rows that nothing points to. One that is still read by
// another run is left for the next sweep.
func (s *Stage) sweep(ctx context.Context) error {
	left, err := read(ctx, s.store, pgx.RowTo[string], `
		select t.tablename from pg_tables t where schemaname = 'stage' and tablename like 'g\_%'
		  and not exists (select from stage_source where generation = substr(t.tablename, 3)::bigint)
		  and not exists (select from stage_read where generation = substr(t.tablename, 3)::bigint and ended_at is null)`)
	for _, name := range left {
		err := s.store.Tx(ctx, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `set local lock_timeout = '100ms'`); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `drop table if exists `+pgx.Identifier{"stage", name}.Sanitize())
			return err
		})
		if err != nil && fault.Of(err).Code != "store.timeout" {
			return settled(err)
		}
	}
	return err
}
