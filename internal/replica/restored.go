package replica

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// CodeRestored says of a table that our database is as it was at an earlier time, and that
// the other regions have not told all that it forgot. Unavailable: it ends by itself.
const CodeRestored = "sync.restored"

// Recovery is what a table waits for whose database was restored.
type Recovery struct {
	Since time.Time       // zero: it was not
	Told  map[string]bool // the regions that have told all that they know
}

// identity is what PostgreSQL knows a database by: a copy is another one, and so is one whose
// cluster was restored to a point in time, or failed over to a standby that may be behind.
const identity = `(pg_control_system()).system_identifier || '/' || (select oid from pg_database where datname = current_database()) || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)`

// Recovering tells whether a table waits for the other regions to tell it what it forgot. It
// is asked before anything else is done: it is here that a database is found to be another.
func (r *Replica) Recovering(ctx context.Context, p Place, table string) (rec Recovery, err error) {
	err = r.store.Tx(ctx, func(tx pgx.Tx) error {
		if err := atHome(ctx, tx); err != nil {
			return err
		}
		t, err := r.open(ctx, tx, p, table)
		if err == nil {
			rec, err = t.recovery(ctx, tx)
		}
		return err
	})
	return rec, err
}

func (t *table) recovery(ctx context.Context, tx pgx.Tx) (rec Recovery, err error) {
	if t.restored == nil {
		return rec, nil
	}
	rec = Recovery{Since: *t.restored, Told: map[string]bool{}}
	rows, err := tx.Query(ctx, `select peer from replica_told where tbl = $1 and done`, t.id)
	if err != nil {
		return rec, err
	}
	var peer string
	_, err = pgx.ForEachRow(rows, []any{&peer}, func() error { rec.Told[peer] = true; return nil })
	return rec, err
}

// atHome compares the database with the one that it was, and has all tables recover that are
// in another one.
func atHome(ctx context.Context, tx pgx.Tx) error {
	// Locked only where something is to be done: whoever begins waits for the lock of its table
	// behind it, and all others would wait for that.
	var moved bool
	err := tx.QueryRow(ctx, `select identity <> `+identity+` from replica_home`).Scan(&moved)
	if err == nil && moved {
		err = tx.QueryRow(ctx, `select identity <> `+identity+` from replica_home for update`).Scan(&moved)
	}
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		_, err = tx.Exec(ctx, `insert into replica_home (identity) select `+identity+` on conflict do nothing`)
		return err
	case err != nil || !moved:
		return err
	}
	if _, err := tx.Exec(ctx, `update replica_home set identity = `+identity); err != nil {
		return err
	}
	return forgetful(ctx, tx, nil)
}

// forgetful makes tables that are known wait for what they forgot; nil: all. Whoever works on
// one is fenced off.
func forgetful(ctx context.Context, tx pgx.Tx, only *int32) error {
	for _, sql := range []string{
		`update replica_table set restored = clock_timestamp(), fence = nextval('replica_id'), writer = 0, writer_until = '-infinity' where ($1::int is null or id = $1)`,
		`delete from replica_told where ($1::int is null or tbl = $1)`,
		`delete from replica_passed where ($1::int is null or tbl = $1)`,
	} {
		if _, err := tx.Exec(ctx, sql, only); err != nil {
			return err
		}
	}
	return nil
}

// Forgot has a table recover of which another region says that we knew more than we do.
func (r *Replica) Forgot(ctx context.Context, p Place, table string) error {
	return r.store.Tx(ctx, func(tx pgx.Tx) error {
		t, err := r.open(ctx, tx, p, table)
		if err != nil || t.restored != nil {
			return err
		}
		return forgetful(ctx, tx, &t.id)
	})
}

// Asked notes that another region was asked to tell all of a table, and up to which batch we
// had acknowledged it before. Where it was asked earlier that had counts still.
func (r *Replica) Asked(ctx context.Context, p Place, from, table string, asked time.Time, had int64) error {
	return r.store.Tx(ctx, func(tx pgx.Tx) error {
		t, err := r.open(ctx, tx, p, table)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `insert into replica_told (tbl, peer, asked, had) values ($1, $2, $3, $4)
			on conflict (tbl, peer) do update set asked = excluded.asked`, t.id, from, asked, had)
		return err
	})
}

// Told notes that another region has told all of a table.
func (r *Replica) Told(ctx context.Context, p Place, from, table string) error {
	return r.store.Tx(ctx, func(tx pgx.Tx) error {
		t, err := r.open(ctx, tx, p, table)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `update replica_told set done = true where tbl = $1 and peer = $2`, t.id, from)
		return err
	})
}

// recovered ends the recovery of a table: our system was read since all was told.
func (t *table) recovered(ctx context.Context, tx pgx.Tx) error {
	for _, sql := range []string{
		`delete from replica_told where tbl = $1`,
		`delete from replica_passed where tbl = $1`,
		`update replica_table set restored = null where id = $1`,
	} {
		if _, err := tx.Exec(ctx, sql, t.id); err != nil {
			return err
		}
	}
	return nil
}

func restoring(table string) error {
	return fault.New(fault.Unavailable, CodeRestored, "the database of this region was restored from a backup: of table "+table+" it is told first what the other regions know", nil)
}

// passing is a writing that replaced values which our system may still have.
type passing struct {
	region string
	n      int64
	late   bool
	sums   []int64
}

// pass notes what the writings of a batch took the place of, which of them we have not had.
func (t *table) pass(ctx context.Context, tx pgx.Tx, from string, deltas []flow.Delta, upto int64) error {
	var had int64
	err := tx.QueryRow(ctx, `select had from replica_told where tbl = $1 and peer = $2`, t.id, from).Scan(&had)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // nobody has asked it yet: it tells all of this again
	}
	if err != nil {
		return err
	}
	var rows [][]any
	for i := range deltas {
		d := &deltas[i]
		uid := joinKey(d.Key)
		if d.Was != nil {
			uid = joinKey(d.Was)
		}
		for n, c := range d.Cells {
			if c.Over == 0 {
				continue
			}
			sums := []int64{int64(sum(t.flow.Columns[n].Type, c.Value)), int64(c.Over & 0xffffffff), int64(c.Over >> 32)}
			rows = append(rows, []any{t.id, uid, t.flow.Columns[n].Name, c.Version.Region, c.Version.Seen[c.Version.Region], upto > had, sums})
		}
	}
	_, err = tx.CopyFrom(ctx, pgx.Identifier{"replica_passed"}, []string{"tbl", "uid", "col", "region", "n", "late", "sums"}, pgx.CopyFromRows(rows))
	return err
}

// passed gives records what other regions replaced of them.
func (t *table) passed(ctx context.Context, tx pgx.Tx, s *shelf) error {
	uids := make([]string, 0, len(s.byUID))
	for uid := range s.byUID { // in any order
		uids = append(uids, uid)
	}
	rows, err := tx.Query(ctx, `select uid, col, region, n, late, sums from replica_passed where tbl = $1 and uid = any($2)`, t.id, uids)
	if err != nil {
		return err
	}
	var uid, col string
	var p passing
	_, err = pgx.ForEachRow(rows, []any{&uid, &col, &p.region, &p.n, &p.late, &p.sums}, func() error {
		i := t.column(col)
		if i < 0 {
			return nil
		}
		rec := s.byUID[uid]
		if rec.passed == nil {
			rec.passed = map[int][]passing{}
		}
		rec.passed[i] = append(rec.passed[i], passing{p.region, p.n, p.late, slices.Clone(p.sums)})
		return nil
	})
	return err
}
