package replica

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/flow"
)

// Buried lists, by their first keys, deleted records whose values are still kept although
// our system is known not to have them: at most so many.
func (r *Replica) Buried(ctx context.Context, p Place, table string, most int) (uids []string, err error) {
	err = r.store.Read(ctx, func(c *pgxpool.Conn) error {
		id, err := idOf(ctx, c, p, table)
		if err != nil || id == 0 {
			return err
		}
		rows, err := c.Query(ctx, `
			select uid from replica_record r where tbl = $1 and dead and translate(cells, E'\x1f', '') <> ''
				and not exists (select from replica_pending w where w.tbl = r.tbl and w.uid = r.uid) order by uid limit $2`, id, most)
		if err != nil {
			return err
		}
		uids, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return uids, err
}

// Erase forgets the values of deleted records, and those of the conflicts about them. What
// stays is the key, and versions: of the deletion and of each value, by which a late
// writing is known as late, and one that makes the record anew as newer. One that is there
// again, or that our system may still have, is left as it is. It gives how many were erased.
//
// Whoever calls it has made sure that all regions know of the deletion, and that nothing is
// on its way that somebody wrote who did not.
func (r *Replica) Erase(ctx context.Context, p Place, table string, uids []string) (n int64, err error) {
	err = r.store.Tx(ctx, func(tx pgx.Tx) error {
		t, err := r.open(ctx, tx, p, table)
		if err != nil {
			return err
		}
		s, err := t.take(ctx, tx, uids, []string{})
		if err != nil {
			return err
		}
		var erased []string
		for _, uid := range uids {
			if rec := s.byUID[uid]; rec != nil && rec.base == nil && !rec.alive() {
				rec.erase()
				erased = append(erased, uid)
			}
		}
		n = int64(len(erased))
		if _, _, err := t.keep(ctx, tx, s); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `update replica_conflict set cells = null, winner = null where tbl = $1 and uid = any($2)`, t.id, erased)
		return err
	})
	return n, err
}

// erase leaves of each value what its last writings had seen.
func (r *record) erase() {
	for i, c := range r.cells {
		for _, other := range r.rest[i] {
			c.Version.Stamp, c.Version.Seen = max(c.Version.Stamp, other.Version.Stamp), join(c.Version.Seen, other.Version.Seen)
		}
		r.cells[i] = flow.SyncCell{Version: c.Version}
	}
	r.rest, r.dirty = nil, true
}
