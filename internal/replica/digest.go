package replica

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/flow"
)

// Digests of records are computed by MD5, which every PostgreSQL computes alike; nobody
// chooses the values to deceive it.
const (
	digestOf = `('x' || substr(md5(coalesce(key, uid) || E'\x1e' || said), 1, 15))::bit(60)::bigint`
	// said are the values of a record that may cross, from wherever its layout has them.
	said = `case when $3::int[] is null then cells else array_to_string(array(
		select coalesce((string_to_array(cells, E'\x1f'))[p], '') from unnest($3::int[]) with ordinality as u (p, n) order by n), E'\x1f') end`
	// entrySize are the bytes of an entry: its name and its digest.
	entrySize = 16
)

// NameOf is what stands for a record, by its first key, among the entries of all regions.
func NameOf(uid string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(uid)) // it cannot fail
	return h.Sum64()
}

// Digests gives the digests of a table in so many parts, the empty ones too: regions that
// know the same records have the same. They are of the columns of the plan.
func (r *Replica) Digests(ctx context.Context, p Place, table string, parts int) ([]Part, error) {
	out := make([]Part, parts)
	for n := range out {
		out[n].N = n
	}
	type entry struct {
		name   uint64
		digest int64
	}
	all := make([][]entry, parts)
	err := r.each(ctx, p, table, func(tx pgx.Tx, id, layout int32, places []int32) error {
		rows, err := tx.Query(ctx, `
			select uid, case when dead then 0 else `+digestOf+` end from (
				select uid, key, dead, `+said+` as said from `+allKnown+` where tbl = $1 and layout = $2) as r`, id, layout, places)
		if err != nil {
			return err
		}
		var uid string
		var digest int64
		_, err = pgx.ForEachRow(rows, []any{&uid, &digest}, func() error {
			name := NameOf(uid)
			n := int(name % uint64(parts))
			if all[n] = append(all[n], entry{name, digest}); digest != 0 {
				out[n].Rows, out[n].Digest = out[n].Rows+1, out[n].Digest+digest
			}
			return nil
		})
		return err
	})
	for n, list := range all {
		slices.SortFunc(list, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
		for _, e := range list {
			out[n].Entries = binary.BigEndian.AppendUint64(out[n].Entries, e.name)
			out[n].Entries = binary.BigEndian.AppendUint64(out[n].Entries, uint64(e.digest))
		}
	}
	return out, err
}

// EntriesOf reads the entries of a part of any region; false: they are none.
func EntriesOf(b []byte) (map[uint64]int64, bool) {
	out := make(map[uint64]int64, len(b)/entrySize)
	for ; len(b) >= entrySize; b = b[entrySize:] {
		out[binary.BigEndian.Uint64(b)] = int64(binary.BigEndian.Uint64(b[8:]))
	}
	return out, len(b) == 0
}

// Entries lists the records that are in some of so many parts, deleted ones included.
func (r *Replica) Entries(ctx context.Context, p Place, table string, parts int, some []int) ([]Entry, error) {
	wanted := make(map[int]bool, len(some))
	for _, n := range some {
		wanted[n] = true
	}
	var out []Entry
	err := r.each(ctx, p, table, func(tx pgx.Tx, id, layout int32, places []int32) error {
		// Digests are made for the records of the parts alone: it is only here that which
		// those are is known.
		rows, err := tx.Query(ctx, `select uid from `+allKnown+` where tbl = $1 and layout = $2`, id, layout)
		if err != nil {
			return err
		}
		var uid string
		var uids []string
		if _, err := pgx.ForEachRow(rows, []any{&uid}, func() error {
			if wanted[int(NameOf(uid)%uint64(parts))] {
				uids = append(uids, uid)
			}
			return nil
		}); err != nil || len(uids) == 0 {
			return err
		}
		rows, err = tx.Query(ctx, `
			select uid, case when dead then 0 else `+digestOf+` end, held from (
				select r.uid, r.key, r.dead, `+said+` as said, exists (select from replica_conflict c where c.tbl = $1 and c.uid = r.uid and c.decided_at is null) as held
				from `+allKnown+` where r.tbl = $1 and r.layout = $2 and r.uid = any($4)) as r`, id, layout, places, uids)
		if err != nil {
			return err
		}
		var e Entry
		_, err = pgx.ForEachRow(rows, []any{&e.UID, &e.Digest, &e.Held}, func() error {
			e.Name = NameOf(e.UID)
			out = append(out, e)
			return nil
		})
		return err
	})
	return out, err
}

// each calls fn for each layout of a table, with the places (from 1; 0: none) of the
// columns of the plan; nil: the values are kept in just that form.
func (r *Replica) each(ctx context.Context, p Place, table string, fn func(tx pgx.Tx, id, layout int32, places []int32) error) error {
	shape, err := tableOf(p, table)
	if err != nil {
		return err
	}
	of := make([]string, len(shape.Columns))
	for i, c := range shape.Columns {
		of[i] = c.Name
	}
	return r.store.Long(ctx, longest, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			select l.tbl, l.id, l.columns from replica_layout l join replica_table t on t.id = l.tbl where t.flow = $1 and t.name = $2`, p.Flow, table)
		if err != nil {
			return err
		}
		type layout struct {
			Table, ID int32
			Columns   []string
		}
		layouts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[layout])
		if err != nil {
			return err
		}
		for _, l := range layouts {
			var places []int32
			if !slices.Equal(l.Columns, of) {
				places = make([]int32, len(of))
				for i, name := range of {
					places[i] = int32(slices.Index(l.Columns, name) + 1)
				}
			}
			if err := fn(tx, l.Table, l.ID, places); err != nil {
				return err
			}
		}
		return nil
	})
}

// Known tells what our system should hold of the records that it has under some keys, in
// their order; nil: nothing is known of one.
func (r *Replica) Known(ctx context.Context, p Place, table string, keys [][]string) ([]*Known, error) {
	out := make([]*Known, len(keys))
	uids := make([]string, len(keys))
	for i, key := range keys {
		uids[i] = joinKey(key)
	}
	err := r.store.Tx(ctx, func(tx pgx.Tx) error {
		t, err := r.open(ctx, tx, p, table)
		if err != nil {
			return err
		}
		s, err := t.take(ctx, tx, uids, []string{})
		if err != nil {
			return err
		}
		refused := map[string]bool{}
		if t.refuses {
			rows, err := tx.Query(ctx, `select key from replica_refused where tbl = $1 and key = any($2)`, t.id, uids)
			if err != nil {
				return err
			}
			var key string
			if _, err := pgx.ForEachRow(rows, []any{&key}, func() error { refused[key] = true; return nil }); err != nil {
				return err
			}
		}
		for i, uid := range uids {
			if out[i] = s.known(uid); refused[uid] {
				if out[i] == nil {
					out[i] = &Known{Key: keys[i]}
				}
				out[i].Refused = true
			}
		}
		return nil
	})
	return out, err
}

// known is the record that our system has under a key; where it has none, one that it should
// have, and else one that was deleted.
func (s *shelf) known(key string) *Known {
	var of *record
	rank := func(r *record) int {
		switch {
		case !r.absent() && joinKey(r.own()) == key:
			return 3
		case r.alive() && joinKey(r.key) == key:
			return 2
		case !r.alive():
			return 1
		}
		return 0
	}
	for _, r := range s.under(key) {
		if rank(r) > 0 && (of == nil || rank(r) > rank(of)) {
			of = r
		}
	}
	if of == nil {
		return nil
	}
	k := &Known{Key: of.own(), Values: of.cells, Deleted: !of.alive(), Open: of.waits}
	if of.gone != nil {
		k.Gone = time.UnixMicro(of.gone.Stamp)
	}
	return k
}

// Settled lists, by their first keys, the keys of living records that our system should hold
// as they are known: at most so many after the last one that was given. An empty last: that
// was all.
func (r *Replica) Settled(ctx context.Context, p Place, table, after string, most int) (keys [][]string, last string, err error) {
	return r.list(ctx, p, table, after, most, `
		select uid, coalesce(key, uid), not dead and not exists (select from replica_pending w where w.tbl = r.tbl and w.uid = r.uid) and not `+inRange+`
		from `+listed+` order by uid limit $3`)
}

// All lists, in the same way, the first keys of all records that are known.
func (r *Replica) All(ctx context.Context, p Place, table, after string, most int) (uids []string, last string, err error) {
	keys, last, err := r.list(ctx, p, table, after, most, `select uid, uid, true from `+listed+` order by uid limit $3`)
	for _, key := range keys {
		uids = append(uids, joinKey(key))
	}
	return uids, last, err
}

// Made lists in the same way the keys of records that our region wrote, that should be there
// and of which it is not known that our system has them.
func (r *Replica) Made(ctx context.Context, p Place, table, after string, most int) (keys [][]string, last string, err error) {
	return r.list(ctx, p, table, after, most, fmt.Sprintf(`
		select r.uid, coalesce(r.key, r.uid), not r.dead and coalesce(w.absent, false) and concat(r.ver, r.vers) ~ %s
		from `+listed+` left join lateral (select absent from replica_pending where tbl = r.tbl and uid = r.uid offset 0) w on true
		order by r.uid limit $3`, quote(`[|,]`+regexp.QuoteMeta(p.Region)+`:\d`)))
}

// quote makes a text of SQL.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// Holds lists in the same way the keys of all records that our system has, as far as is
// known, whatever is to be written of them; but those whose key we are to change.
func (r *Replica) Holds(ctx context.Context, p Place, table, after string, most int) (keys [][]string, last string, err error) {
	return r.list(ctx, p, table, after, most, `
		select r.uid, coalesce(r.key, r.uid), not coalesce(w.absent or w.key is not null, r.dead or `+inRange+`)
		from `+listed+` left join lateral (select key, absent from replica_pending where tbl = r.tbl and uid = r.uid offset 0) w on true
		order by r.uid limit $3`)
}

// list goes through records in the order of the index, whatever the planner makes of it.
func (r *Replica) list(ctx context.Context, p Place, table, after string, most int, sql string) (keys [][]string, last string, err error) {
	if _, err := tableOf(p, table); err != nil {
		return nil, "", err
	}
	err = r.store.Tx(ctx, func(tx pgx.Tx) error {
		keys, last = nil, ""
		if _, err := tx.Exec(ctx, `select set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true)`); err != nil {
			return err
		}
		id, err := idOf(ctx, tx, p, table)
		if err != nil || id == 0 {
			return err
		}
		from, upto, err := window(ctx, tx, id, after, most)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, sql, id, after, most, from, upto)
		if err != nil {
			return err
		}
		var uid, key string
		var is bool
		n := 0
		if _, err = pgx.ForEachRow(rows, []any{&uid, &key, &is}, func() error {
			if n++; is {
				keys = append(keys, splitKey(key))
			}
			return nil
		}); n == most || n > 0 && upto != beyond {
			last = uid
		}
		return err
	})
	return keys, last, err
}

// Resend tells the other regions all that is known of records, by their first keys, as it
// is: each writing with its version, so that whoever knows as much, or more, is told nothing
// new. It gives how many records that were.
func (r *Replica) Resend(ctx context.Context, p Place, table string, uids []string) (n int64, err error) {
	err = r.store.Tx(ctx, func(tx pgx.Tx) error {
		t, err := r.open(ctx, tx, p, table)
		if err != nil {
			return err
		}
		s, err := t.take(ctx, tx, uids, []string{})
		if err != nil {
			return err
		}
		var deltas []flow.Delta
		n = 0
		for _, uid := range uids {
			if rec := s.byUID[uid]; rec != nil {
				deltas = append(deltas, rec.whole()...)
				n++
			}
		}
		if len(deltas) == 0 {
			return nil
		}
		return r.outbox.Put(ctx, tx, p.Flow, t.flow, deltas)
	})
	return n, err
}

// whole is all that is known of a record: what the registers have and, of what is held, one
// writing more at a time.
func (r *record) whole() []flow.Delta {
	d := flow.Delta{Key: r.key, Cells: slices.Clone(r.cells), Gone: r.gone, Moved: r.moved}
	if d.Moved != nil || joinKey(d.Key) != r.uid {
		d.Was = splitKey(r.uid)
	}
	out := []flow.Delta{d}
	for i := range r.cells {
		for _, c := range r.rest[i] {
			more := flow.Delta{Key: d.Key, Was: d.Was, Moved: d.Moved, Cells: make([]flow.SyncCell, len(r.cells))}
			more.Cells[i] = c
			out = append(out, more)
		}
	}
	return out
}
