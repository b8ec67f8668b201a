package stage

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/join"
)

// known is what a source is known by before a reading of it is complete.
type known struct {
	spec       string
	generation int64
	seen       string
	rows       int64
	sum        join.Sum
}

// Complete ends a reading whose last page is in: what was read becomes what the source
// is. Figures that the guard does not believe are held instead, unless accepted says
// that they are right: the source stays what it was, and Held says why. A second call
// changes nothing.
func (r *Reading) Complete(ctx context.Context, guard flow.Guard, accepted bool) error {
	err := r.stage.store.Long(ctx, longest, func(tx pgx.Tx) error {
		if err := r.lock(ctx, tx); err != nil || r.Ended {
			return err
		}
		before, err := r.known(ctx, tx)
		if err != nil {
			return err
		}
		if err := r.separate(ctx, tx); err != nil {
			return err
		}
		now := known{spec: r.spec, generation: r.generation, rows: r.Rows, sum: r.sum}
		if err := r.resolve(ctx, tx); err != nil {
			return err
		}
		if r.base != 0 {
			if now, err = r.merge(ctx, tx, before); err != nil {
				return err
			}
		}
		if held, err := believe(ctx, tx, r.Flow, "source "+r.source.Name, r.source.Name, now.rows, guard, accepted); held != nil || err != nil {
			return errors.Join(err, asError(held))
		}
		if r.base == 0 && r.source.Changed != nil { // what changes is found in it by its identity
			if _, err := tx.Exec(ctx, `create index on `+table(r.generation)+` (hash)`); err != nil {
				return err
			}
		}
		return r.point(ctx, tx, before, now)
	})
	var held *fault.Fault
	if errors.As(err, &held) && (held.Code == CodeZero || held.Code == CodeShare) {
		r.Held = held
		err = r.hold(ctx)
	}
	if err == nil {
		r.Ended = true
	}
	return settled(err)
}

func asError(f *fault.Fault) error {
	if f == nil {
		return nil
	}
	return f
}

// lock holds the reading until the end of the transaction.
func (r *Reading) lock(ctx context.Context, tx pgx.Tx) error {
	err := tx.QueryRow(ctx, `select ended_at is not null, held from stage_read where run_id = $1 and source = $2 and fence = $3 for update`,
		r.RunID, r.source.Name, r.fence).Scan(&r.Ended, &r.Held)
	return fenced(err)
}

// known reads and locks what the source is.
func (r *Reading) known(ctx context.Context, tx pgx.Tx) (k known, err error) {
	var sum []byte
	err = tx.QueryRow(ctx, `select spec, generation, seen, rows, sum from stage_source where flow = $1 and source = $2 for update`, r.Flow, r.source.Name).
		Scan(&k.spec, &k.generation, &k.seen, &k.rows, &sum)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	if err == nil && r.base != 0 && k.generation != r.base {
		return k, fault.New(fault.Unavailable, CodeMoved, "another run has read "+r.source.Name+" meanwhile", nil)
	}
	k.sum = join.SumOf(sum)
	return k, err
}

// separate marks rows that a later row of the same identity has replaced under another
// key: the record was changed while its source was read. Of those under one key the join
// finds the latest itself.
func (r *Reading) separate(ctx context.Context, tx pgx.Tx) error {
	if r.packer.Settled() {
		return nil
	}
	_, err := tx.Exec(ctx, `
		with twice as (select hash from `+table(r.generation)+` group by hash having count(*) > 1),
		ranked as (
			select ctid as at, key, first_value(key) over (partition by ident order by n desc) as latest
			from `+table(r.generation)+` where hash in (select hash from twice))
		update `+table(r.generation)+` g set n = -1 - n from ranked r where g.ctid = r.at and r.key <> r.latest`)
	return err
}

// resolve closes the rejects of earlier readings that this one has read again: all of
// them when it read everything.
func (r *Reading) resolve(ctx context.Context, tx pgx.Tx) error {
	again := ``
	if r.base != 0 {
		again = ` and ident in (select ident from ` + table(r.generation) + `
			union all select ident from stage_reject where run_id = $3 and source = $2 and ident <> '')`
	}
	if _, err := tx.Exec(ctx, `
		update stage_reject set resolved_at = now()
		where flow = $1 and source = $2 and resolved_at is null and open and run_id <> $3`+again, r.Flow, r.source.Name, r.RunID); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `update stage_reject set open = true where run_id = $1 and source = $2`, r.RunID, r.source.Name)
	return err
}

// merge puts what was read since the watermark into the generation: a row replaces all
// of its identity that are older, one that was rejected now leaves it. Rows that are as
// they were, which is what an overlap mostly finds, are dropped before.
func (r *Reading) merge(ctx context.Context, tx pgx.Tx, before known) (known, error) {
	own, base := table(r.generation), table(r.base)
	now := known{spec: r.spec, generation: r.base, rows: before.rows, sum: before.sum}
	// What was just filled has no statistics, and is nearly always the smaller.
	if _, err := tx.Exec(ctx, `analyze `+own); err != nil {
		return now, err
	}
	// How many are as they were cannot be estimated: a loop over them for each would take
	// the square of their number.
	if _, err := tx.Exec(ctx, `set local enable_nestloop = off`); err != nil {
		return now, err
	}
	if _, err := tx.Exec(ctx, `
		delete from `+own+` d using (
			select hash, ident from (select hash, ident, array_agg(cells order by n) as cells from `+own+` group by hash, ident) n
			where cells = (select array_agg(g.cells order by g.n) from `+base+` g where g.hash = n.hash and g.ident = n.ident and g.n >= 0)
		) same where d.hash = same.hash and d.ident = same.ident`); err != nil {
		return now, err
	}
	if _, err := tx.Exec(ctx, `set local enable_nestloop = on`); err != nil {
		return now, err
	}
	gone, err := tx.Query(ctx, `
		with gone as (select distinct hash, ident from `+own+`)
		delete from `+base+` g using gone where g.hash = gone.hash and g.ident = gone.ident returning g.key, g.cells`)
	if err != nil {
		return now, err
	}
	if err := eachRow(gone, func(sum join.Sum) { now.sum = now.sum.Sub(sum); now.rows-- }); err != nil {
		return now, err
	}
	if r.Rejected > 0 {
		gone, err = tx.Query(ctx, `
		delete from `+base+` g using stage_reject o where o.run_id = $1 and o.source = $2 and o.ident <> '' and g.ident = o.ident
		returning g.key, g.cells`, r.RunID, r.source.Name)
		if err != nil {
			return now, err
		}
		if err := eachRow(gone, func(sum join.Sum) { now.sum = now.sum.Sub(sum); now.rows-- }); err != nil {
			return now, err
		}
	}
	came, err := tx.Query(ctx, `insert into `+base+` (key, hash, ident, n, cells) select key, hash, ident, n, cells from `+own+` returning key, cells`)
	if err != nil {
		return now, err
	}
	return now, eachRow(came, func(sum join.Sum) { now.sum = now.sum.Add(sum); now.rows++ })
}

// eachRow gives the digest of each row of key and cells.
func eachRow(rows pgx.Rows, fn func(join.Sum)) error {
	defer rows.Close()
	for rows.Next() {
		raw := rows.RawValues() // of texts they are the same in every format
		fn(join.SumOfRow(raw[0], raw[1]))
	}
	return rows.Err()
}

// point moves the source to what was read.
func (r *Reading) point(ctx context.Context, tx pgx.Tx, before, now known) error {
	seen, since := r.seen, ""
	if r.base != 0 {
		seen = join.Later(before.seen, []byte(r.seen))
	}
	if w := r.source.Changed; w != nil && seen != "" {
		// Rows that change while others are read are later than what is certain: a time
		// is not later than the beginning of the read, a number not later than what the
		// first page or an earlier reading had.
		certain := join.Earliest(seen, r.beganAt)
		if !join.IsInstant(seen) {
			certain = join.Later(r.firstSeen, []byte(before.seen))
		}
		if certain != "" {
			since = join.Less(certain, w.Overlap)
		}
	}
	if _, err := tx.Exec(ctx, `
		insert into stage_source as s (flow, source, spec, generation, run_id, as_of, full_at, since, seen, rows, sum)
		values ($1, $2, $3, $4, $5, $6, $6, $7, $8, $9, $10)
		on conflict (flow, source) do update set spec = $3, generation = $4, run_id = $5, as_of = $6,
			full_at = case when $11 then s.full_at else $6 end, since = $7, seen = $8, rows = $9, sum = $10`,
		r.Flow, r.source.Name, now.spec, now.generation, r.RunID, r.beganAt, since, seen, now.rows, now.sum.Bytes(), r.base != 0); err != nil {
		return err
	}
	if r.base != 0 {
		if _, err := tx.Exec(ctx, `drop table `+table(r.generation)); err != nil {
			return err
		}
	}
	return r.end(ctx, tx)
}

func (r *Reading) end(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `delete from stage_token where run_id = $1 and source = $2`, r.RunID, r.source.Name); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `update stage_read set ended_at = now(), failing_at = null, held = $3 where run_id = $1 and source = $2`, r.RunID, r.source.Name, r.Held)
	return err
}

// hold ends the reading without believing it.
func (r *Reading) hold(ctx context.Context) error {
	held := r.Held
	return r.stage.store.Tx(ctx, func(tx pgx.Tx) error {
		if err := r.lock(ctx, tx); err != nil || r.Ended {
			return err
		}
		r.Held = held
		if err := r.end(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `drop table `+table(r.generation))
		return err
	})
}

// Restart gives up what was read so far, for a source that no longer knows where the
// next page begins. The next attempt begins anew. What was rejected may be millions of
// rows, and goes with the reading or not at all: it takes as long as it takes.
func (r *Reading) Restart(ctx context.Context) error {
	return settled(r.stage.store.Long(ctx, longest, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `delete from stage_read where run_id = $1 and source = $2 and fence = $3 and ended_at is null`, r.RunID, r.source.Name, r.fence)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return fenced(pgx.ErrNoRows)
		}
		for _, sql := range []string{`delete from stage_token where run_id = $1 and source = $2`, `delete from stage_reject where run_id = $1 and source = $2`} {
			if _, err := tx.Exec(ctx, sql, r.RunID, r.source.Name); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, `drop table if exists `+table(r.generation))
		return err
	}))
}
