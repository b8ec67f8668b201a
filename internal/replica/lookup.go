package replica

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// querier is a connection, or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Refs gives the references of records by our system's IDs; what is not known is absent.
// A reference is a JSON text that names the record in all regions, whatever its key becomes.
// In a system without IDs of its own the ID is the JSON text of the key.
func (r *Replica) Refs(ctx context.Context, p Place, table string, ids []string) (found map[string]string, err error) {
	err = r.store.Read(ctx, func(c *pgxpool.Conn) error {
		found, err = refs(ctx, c, p, table, ids)
		return err
	})
	return found, err
}

func refs(ctx context.Context, q querier, p Place, table string, ids []string) (map[string]string, error) {
	refs := make(map[string]string, len(ids))
	err := find(ctx, q, p, table, ids, `
		select k.name, r.uid from unnest($2::text[]) as k (name) cross join lateral (select uid from replica_record where tbl = $1 and id is not null and id = k.name offset 0) as r
		union all select k.name, r.uid from unnest($2::text[]) as k (name) cross join lateral (select uid, id from replica_record where tbl = $1 and key is not null and key = k.name offset 0) as r where r.id is null
		union all select k.name, r.uid from unnest($2::text[]) as k (name) cross join lateral (select uid, id, key from replica_record where tbl = $1 and uid = k.name offset 0) as r where r.id is null and r.key is null`,
		func(*kept) bool { return true }, func(id, uid string) { refs[id] = refOf(uid) }, func(id string, columns int) string {
			if key, ok := uidOf(id, columns); ok {
				return key
			}
			return id
		})
	return refs, err
}

// IDs gives our system's IDs of records by their references; what our target does not hold
// is absent. The ID of a record without one is the JSON text of its key.
func (r *Replica) IDs(ctx context.Context, p Place, table string, refs []string) (map[string]string, error) {
	ids := make(map[string]string, len(refs))
	err := r.store.Read(ctx, func(c *pgxpool.Conn) error {
		return find(ctx, c, p, table, refs, `
			select r.uid, coalesce(r.id, p.key, r.key, r.uid) from unnest($2::text[]) as k (uid)
			cross join lateral (select tbl, uid, id, key, dead, written from replica_record where tbl = $1 and uid = k.uid offset 0) as r
			left join lateral (select key, absent from replica_pending where tbl = $1 and uid = k.uid offset 0) as p on true
			where not coalesce(p.absent, r.dead or `+inRange+`)`,
			func(k *kept) bool { return k.absent == nil }, func(uid, id string) { ids[uid] = refOf(id) }, func(ref string, columns int) string {
				uid, _ := uidOf(ref, columns)
				return uid
			})
	})
	return ids, err
}

// find runs a lookup whose answer has what was asked for, as read makes it, and what was
// found. Those of the records in pages that count are known by their first keys.
func find(ctx context.Context, q querier, p Place, table string, names []string, sql string, counts func(*kept) bool, found func(asked, got string), read func(string, int) string) error {
	shape, err := tableOf(p, table)
	if err != nil || len(names) == 0 {
		return err
	}
	asked := make(map[string]string, len(names))
	list := make([]string, 0, len(names))
	for _, name := range names {
		if key := read(name, len(shape.Key)); key != "" {
			asked[key] = name
			list = append(list, key)
		}
	}
	id, err := idOf(ctx, q, p, table)
	if err != nil || id == 0 {
		return err
	}
	// In pages first: between the two looks a record may get a row, and never the other way.
	paged, err := folded(ctx, q, id, list)
	if err != nil {
		return err
	}
	for i := range paged {
		if counts(&paged[i]) {
			found(asked[paged[i].uid], paged[i].uid)
		}
	}
	rows, err := q.Query(ctx, sql, id, list)
	if err != nil {
		return err
	}
	var name, got string
	_, err = pgx.ForEachRow(rows, []any{&name, &got}, func() error {
		found(asked[name], got)
		return nil
	})
	return err
}
