package replica

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// longest is how long all records of a table may be gone through.
const longest = 30 * time.Minute

// Pause leaves a table, or another region, alone until Resume.
func (r *Replica) Pause(ctx context.Context, p Place, what Paused) error {
	if what.Table != "" {
		if _, err := tableOf(p, what.Table); err != nil {
			return err
		}
	}
	return r.store.Tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `insert into replica_pause (flow, name, peer, by, why) values ($1, $2, $3, $4, $5) on conflict do nothing`,
			p.Flow, what.Table, what.Peer, what.By, what.Why)
		return err
	})
}

// Resume ends a pause; none is no error.
func (r *Replica) Resume(ctx context.Context, p Place, table, peer string) error {
	return r.store.Tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `delete from replica_pause where flow = $1 and name = $2 and peer = $3`, p.Flow, table, peer)
		return err
	})
}

// Pauses lists what is paused.
func (r *Replica) Pauses(ctx context.Context, p Place) (out []Paused, err error) {
	err = r.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `select name, peer, by, why, at from replica_pause where flow = $1 order by name, peer`, p.Flow)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Paused])
		return err
	})
	return out, err
}

// Bind keeps the identities of the columns of a table, as of an apply, in place of those
// that were kept. Values of columns that the plan does not have any more are forgotten.
func (r *Replica) Bind(ctx context.Context, p Place, table string, columns []Bound) error {
	return r.store.Long(ctx, longest, func(tx pgx.Tx) error {
		t, err := r.open(ctx, tx, p, table)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `delete from replica_column where tbl = $1`, t.id); err != nil {
			return err
		}
		for _, c := range columns {
			if _, err := tx.Exec(ctx, `insert into replica_column (tbl, name, identity, type) values ($1, $2, $3, $4)`, t.id, c.Column, c.ID, c.Type); err != nil {
				return err
			}
		}
		return t.forget(ctx, tx)
	})
}

// Allow keeps the identities of columns that the plan newly allows beside those that were
// kept. Values of columns that it does not have any more are forgotten.
func (r *Replica) Allow(ctx context.Context, p Place, table string, columns []Bound) error {
	return r.store.Long(ctx, longest, func(tx pgx.Tx) error {
		t, err := r.open(ctx, tx, p, table)
		if err != nil {
			return err
		}
		for _, c := range columns {
			if _, err := tx.Exec(ctx, `
				insert into replica_column (tbl, name, identity, type) values ($1, $2, $3, $4)
				on conflict (tbl, name) do update set identity = excluded.identity, type = excluded.type, at = now()`, t.id, c.Column, c.ID, c.Type); err != nil {
				return err
			}
		}
		return t.forget(ctx, tx)
	})
}

// forget removes the values of columns that may not cross any more (promise 5).
func (t *table) forget(ctx context.Context, tx pgx.Tx) error {
	if t.refuses {
		if _, err := tx.Exec(ctx, `
			with kept as (select key, own, (select jsonb_object_agg(k, v) from jsonb_each(awaits) as e (k, v) where k = any($2)) as awaits from replica_refused where tbl = $1 and awaits is not null),
			none as (delete from replica_refused r using kept k where r.tbl = $1 and r.key = k.key and r.own = k.own and k.awaits is null)
			update replica_refused r set awaits = k.awaits from kept k where r.tbl = $1 and r.key = k.key and r.own = k.own and k.awaits <> r.awaits`, t.id, t.names()); err != nil {
			return err
		}
	}
	for layout, places := range t.places { // each concerns rows of its own
		var ended []int32
		var names []string
		for place, i := range places {
			if i < 0 {
				ended = append(ended, int32(place+1))
				names = append(names, fmt.Sprint(place))
			}
		}
		if len(ended) == 0 {
			continue
		}
		if err := t.unfoldPages(ctx, tx, `p.layout = $2`, layout); err != nil {
			return err
		}
		for _, sql := range []string{`
			update replica_pending p set base = case when p.base ? 'c' then jsonb_set(p.base, '{c}', (p.base->'c') - $3::text[]) else p.base end
			from replica_record r where p.tbl = $1 and r.tbl = p.tbl and r.uid = p.uid and r.layout = $2 and cardinality($4::int[]) > 0`, `
			update replica_record r set
				cells = (select string_agg(case when n = any($4::int[]) then '' else part end, E'\x1f' order by n) from unnest(string_to_array(r.cells, E'\x1f')) with ordinality as u (part, n)),
				vers = case when r.vers ? 'h' then jsonb_set(r.vers, '{h}', (r.vers->'h') - $3::text[]) else r.vers end
			where r.tbl = $1 and r.layout = $2 and exists (select from unnest(string_to_array(r.cells, E'\x1f')) with ordinality as u (part, n) where n = any($4::int[]) and part <> '')`} {
			if _, err := tx.Exec(ctx, sql, t.id, layout, names, ended); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, `update replica_conflict set cells = null, winner = null, decided_at = coalesce(decided_at, now()), decided_by = case when decided_at is null then 'plan' else decided_by end
			where tbl = $1 and not col = any($2) and (cells is not null or winner is not null or decided_at is null)`, t.id, t.names()); err != nil {
			return err
		}
	}
	return nil
}

func (t *table) names() []string {
	names := make([]string, len(t.flow.Columns))
	for i, c := range t.flow.Columns {
		names[i] = c.Name
	}
	return names
}

// Bindings gives the identities that were kept.
func (r *Replica) Bindings(ctx context.Context, p Place, table string) (out []Bound, err error) {
	err = r.store.Read(ctx, func(c *pgxpool.Conn) error {
		id, err := idOf(ctx, c, p, table)
		if err != nil || id == 0 {
			return err
		}
		rows, err := c.Query(ctx, `select name, identity, type, at from replica_column where tbl = $1 order by name`, id)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Bound])
		return err
	})
	return out, err
}
