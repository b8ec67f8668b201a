package replica

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"patchbay/internal/flow"
)

// Records are found by everything that may name them: what they were first called, are
// called, are still called in our system, and what our system's IDs are. Each name is looked
// up by itself ("offset 0" keeps it so): given thousands of names at once, PostgreSQL may go through
// the whole table for them. Where no record of a table has another key, none is looked for.
const (
	others = `
		select r.uid from unnest($2::text[]) as k (key) cross join lateral (select uid from replica_record where tbl = $1 and key is not null and key = k.key offset 0) as r
			where exists (select from replica_record where tbl = $1 and key is not null)
		union all select r.uid from unnest($2::text[]) as k (key) cross join lateral (select uid from replica_pending where tbl = $1 and key is not null and key = k.key offset 0) as r
			where exists (select from replica_pending where tbl = $1 and key is not null)
		union all select r.uid from unnest($3::text[]) as k (id) cross join lateral (select uid from replica_record where tbl = $1 and id is not null and id = k.id offset 0) as r`
	byUID = `
		select r.layout, r.uid, r.key, r.id, r.cells, r.ver, r.vers, r.gone, r.moved, r.written, greatest(r.version, w.version),
			p.rev is null and w.open, coalesce(p.absent, w.open), coalesce(p.attempts, 0), coalesce(p.rev, r.written), coalesce(p.seen, r.written), p.key, coalesce(p.outcome, ''), coalesce(p.code, ''), p.base
		from (select distinct uid from unnest($2::text[]) as k (uid)) as k
		cross join lateral (select * from replica_record where tbl = $1 and uid = k.uid offset 0) as r
		left join lateral (select * from replica_pending where tbl = $1 and uid = k.uid offset 0) as p on true
		left join lateral (select max(version) as version, nullif(bool_or(version is null), false) as open from replica_written where tbl = $1 and rev = r.written and r.uid between first and last) as w on r.written is not null`
	// What goes is found in the same way, and deleted by where it lies: only who holds the
	// lock on the table moves it.
	endedOf = `
		delete from replica_pending where ctid = any(array(
			select r.ctid from unnest($2::text[]) as k (uid) cross join lateral (select ctid from replica_pending where tbl = $1 and uid = k.uid offset 0) as r))`
)

// take reads the records that keys and IDs may mean.
func (t *table) take(ctx context.Context, tx pgx.Tx, keys, ids []string) (*shelf, error) {
	s := newShelf(t.alg, len(keys))
	s.batch = t.rev
	rows, err := tx.Query(ctx, others, t.id, keys, ids)
	if err != nil {
		return nil, err
	}
	more, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	all, err := t.read(ctx, tx, append(more, keys...))
	if err != nil {
		return nil, err
	}
	for i := range all {
		r, err := all[i].record(t.places[all[i].layout], len(t.flow.Columns))
		if err != nil {
			return nil, err
		}
		for i := range r.rest {
			if t.alg.held(r, i) {
				if r.wasHeld == nil {
					r.wasHeld = map[int]bool{}
				}
				r.wasHeld[i] = true
			}
		}
		s.put(r)
	}
	return s, nil
}

// read gives records by their first keys.
func (t *table) read(ctx context.Context, tx pgx.Tx, uids []string) ([]kept, error) {
	all, err := t.rows(ctx, tx, uids)
	if err != nil || !t.folds {
		return all, err
	}
	found := make(map[string]bool, len(all))
	for i := range all {
		found[all[i].uid] = true
	}
	more, err := folded(ctx, tx, t.id, slices.DeleteFunc(slices.Clone(uids), func(uid string) bool { return found[uid] }))
	for i := range more {
		if t.places[more[i].layout] == nil {
			return nil, broken("its columns")
		}
	}
	return append(all, more...), err
}

// rows gives those that have a row. Of many that are new, as they are while a table is read
// for the first time, one look at where they would be tells.
func (t *table) rows(ctx context.Context, tx pgx.Tx, uids []string) ([]kept, error) {
	if len(uids) >= Together {
		var some bool
		if err := tx.QueryRow(ctx, `select exists (select from replica_record where tbl = $1 and uid between $2 and $3)`, t.id, slices.Min(uids), slices.Max(uids)).Scan(&some); err != nil || !some {
			return nil, err
		}
	}
	rows, err := tx.Query(ctx, byUID, t.id, uids)
	if err != nil {
		return nil, err
	}
	var all []kept
	var k kept
	_, err = pgx.ForEachRow(rows, []any{&k.layout, &k.uid, &k.key, &k.id, &k.cells, &k.ver, &k.vers, &k.gone, &k.moved, &k.written, &k.version,
		&k.ranged, &k.absent, &k.attempts, &k.rev, &k.seen, &k.baseKey, &k.outcome, &k.code, &k.baseText}, func() error {
		if t.places[k.layout] == nil {
			return broken("its columns")
		}
		all = append(all, k)
		return nil
	})
	return all, err
}

// never is when something is due that waits for something else than time.
var never = pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}

type (
	// copied copies the rows of records that had none.
	copied struct {
		t    *table
		of   []*record
		next int
	}

	// waits copies the rows of what is pending of records that were not known.
	waits struct {
		t    *table
		of   []*record
		next int
		at   time.Time
	}
)

func (f *copied) Next() bool { f.next++; return f.next <= len(f.of) }
func (f *copied) Err() error { return nil }

func (f *copied) Values() ([]any, error) {
	row, err := f.t.row(f.of[f.next-1])
	return row, err
}

// row is a record as replica_record has it, from the layout on.
func (t *table) row(r *record) ([]any, error) {
	cells, ver, vers, err := registers(r)
	var key, id *string
	var version, written *int64
	if k := joinKey(r.key); k != r.uid {
		key = &k
	}
	if r.id != "" {
		id = &r.id
	}
	if r.version != 0 {
		version = &r.version
	}
	if r.written != 0 {
		written = &r.written
	}
	return []any{t.id, t.layout, version, r.uid, key, id, cells, ver, vers, optional(r.gone), optional(r.moved), !r.alive(), written}, err
}

var recordColumns = []string{"tbl", "layout", "version", "uid", "key", "id", "cells", "ver", "vers", "gone", "moved", "dead", "written"}

// keep writes the records of a shelf that are not as the store has them, and tells how
// many of them were not known and how many have something to be written.
func (t *table) keep(ctx context.Context, tx pgx.Tx, s *shelf) (added, due int64, err error) {
	var fresh, made, changed, waiting []*record // fresh: and nothing else is to be said of them
	var ended []string
	for _, r := range s.order {
		if !r.dirty {
			continue
		}
		waits := len(waiting)
		r.written = 0
		switch t.stand(r) {
		case pending:
			due++
			if r.ranged {
				r.written = t.span
				break
			}
			if o := t.alg.order(r); t.alike(s, &o) {
				r.written, r.order = t.rev, &o
			}
			fallthrough
		case withheld:
			waiting = append(waiting, r)
		case settled:
			if r.base != nil { // our system is asked, see receive
				due++
				waiting = append(waiting, r)
			} else if r.waits {
				ended = append(ended, r.uid)
			}
		}
		switch {
		case r.known:
			changed = append(changed, r)
		case len(waiting) == waits:
			fresh = append(fresh, r)
		default:
			made = append(made, r)
		}
	}
	added = int64(len(fresh) + len(made))
	rest, err := t.fold(ctx, tx, fresh)
	if err != nil {
		return 0, 0, err
	}
	made = append(made, rest...)
	if err := t.change(ctx, tx, made, changed); err != nil {
		return 0, 0, err
	}
	if err := t.leave(ctx, tx, changed); err != nil {
		return 0, 0, err
	}
	if err := t.await(ctx, tx, waiting); err != nil {
		return 0, 0, err
	}
	if len(ended) > 0 {
		if _, err := tx.Exec(ctx, endedOf, t.id, ended); err != nil {
			return 0, 0, err
		}
	}
	return added, due, t.conflicts(ctx, tx, slices.Concat(made, changed))
}

// stand weighs a record. A base that was not in the store and is what the registers say is
// none.
func (t *table) stand(r *record) standing {
	if r.base == nil {
		return settled
	}
	if r.waits && !r.closed {
		return t.alg.weigh(r)
	}
	return t.alg.close(r)
}

// change writes the rows of records that had none, and rewrites those of others.
func (t *table) change(ctx context.Context, tx pgx.Tx, made, known []*record) error {
	var changed []*record
	var left []spot
	for _, r := range known {
		if r.page == nil {
			changed = append(changed, r)
			continue
		}
		made, left = append(made, r), append(left, *r.page)
	}
	if len(made) > 0 {
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{"replica_record"}, recordColumns, &copied{t: t, of: made}); err != nil {
			return err
		}
	}
	if err := t.depart(ctx, tx, left); err != nil || len(changed) == 0 {
		return err
	}
	n := len(changed)
	uids, cells, vers := make([]string, n), make([]string, n), make([]string, n)
	version, written := make([]*int64, n), make([]*int64, n)
	dead := make([]bool, n)
	key, id, more, gone, moved := make([]*string, n), make([]*string, n), make([]*string, n), make([]*string, n), make([]*string, n)
	for i, r := range changed {
		row, err := t.row(r)
		if err != nil {
			return err
		}
		uids[i], cells[i], vers[i] = r.uid, row[6].(string), row[7].(string)
		version[i], written[i] = row[2].(*int64), row[12].(*int64)
		key[i], id[i], gone[i], moved[i] = row[4].(*string), row[5].(*string), row[9].(*string), row[10].(*string)
		dead[i] = row[11].(bool)
		if v := row[8].([]byte); v != nil {
			text := string(v)
			more[i] = &text
		}
	}
	// They are there; a join would be planned for a table of another size than it has by now.
	_, err := tx.Exec(ctx, `
		insert into replica_record (tbl, layout, uid, version, key, id, cells, ver, vers, gone, moved, dead, written)
		select $1, $2, uid, version, key, id, cells, ver, vers::jsonb, gone, moved, dead, written
		from unnest($3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::boolean[], $13::bigint[])
			as s(uid, version, key, id, cells, ver, vers, gone, moved, dead, written)
		on conflict (tbl, uid) do update set layout = excluded.layout, version = excluded.version, key = excluded.key, id = excluded.id, cells = excluded.cells,
			ver = excluded.ver, vers = excluded.vers, gone = excluded.gone, moved = excluded.moved, dead = excluded.dead, written = excluded.written`,
		t.id, t.layout, uids, version, key, id, cells, vers, more, gone, moved, dead, written)
	return err
}

var waitColumns = []string{"tbl", "absent", "rev", "seen", "due", "since", "uid", "key", "outcome", "base"}

func (w *waits) Next() bool { w.next++; return w.next <= len(w.of) }
func (w *waits) Err() error { return nil }

// Values is what becomes pending of a record. What was tried in vain is tried again, now
// that something is new.
func (w *waits) Values() ([]any, error) {
	r := w.of[w.next-1]
	text, err := bases(r)
	var key *string
	if own := joinKey(r.base.key); own != joinKey(r.key) {
		key = &own
	}
	due, outcome := any(w.at), ""
	if w.t.alg.weigh(r) == withheld {
		due, outcome = never, string(flow.SyncHeld)
	}
	return []any{w.t.id, r.base.absent, w.t.rev, w.t.seenOf(r), due, w.at, r.uid, key, outcome, text}, err
}

// seenOf is what is kept as the seen of a record that waits.
func (t *table) seenOf(r *record) int64 {
	if r.seenAs == 0 || r.seen != r.seenAs {
		return t.rev
	}
	return r.seenAs
}

// await writes what our system holds of records that it does not hold as the registers say.
func (t *table) await(ctx context.Context, tx pgx.Tx, all []*record) error {
	var made, changed []*record
	for _, r := range all {
		if r.waits {
			changed = append(changed, r)
		} else {
			made = append(made, r)
		}
	}
	at := time.UnixMicro(t.now)
	if len(made) > 0 {
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{"replica_pending"}, waitColumns, &waits{t: t, of: made, at: at}); err != nil {
			return err
		}
	}
	if len(changed) == 0 {
		return nil
	}
	w := &waits{t: t, of: changed, at: at}
	n := len(changed)
	absent, seen, due := make([]bool, n), make([]int64, n), make([]pgtype.Timestamptz, n)
	uids, keys, outcomes, texts := make([]string, n), make([]*string, n), make([]string, n), make([]*string, n)
	for i := 0; w.Next(); i++ {
		v, err := w.Values()
		if err != nil {
			return err
		}
		absent[i], seen[i], uids[i], keys[i], outcomes[i] = v[1].(bool), v[3].(int64), v[6].(string), v[7].(*string), v[8].(string)
		due[i] = never
		if at, ok := v[4].(time.Time); ok {
			due[i] = pgtype.Timestamptz{Time: at, Valid: true}
		}
		if text := v[9].([]byte); text != nil {
			s := string(text)
			texts[i] = &s
		}
	}
	_, err := tx.Exec(ctx, `
		insert into replica_pending as p (tbl, absent, rev, seen, due, since, uid, key, outcome, base)
		select $1, absent, $2, seen, due, $3, uid, key, outcome, base::jsonb
		from unnest($4::boolean[], $5::bigint[], $6::timestamptz[], $7::text[], $8::text[], $9::text[], $10::text[]) as s(absent, seen, due, uid, key, outcome, base)
		on conflict (tbl, uid) do update set absent = excluded.absent, rev = excluded.rev, seen = excluded.seen, due = excluded.due, key = excluded.key, outcome = excluded.outcome,
			base = excluded.base, attempts = 0, code = '', reason = '', since = case when p.due = 'infinity' then clock_timestamp() else p.since end`,
		t.id, t.rev, at, absent, seen, due, uids, keys, outcomes, texts)
	return err
}

// conflicts notes what is held of records, and what is no longer.
func (t *table) conflicts(ctx context.Context, tx pgx.Tx, changed []*record) error {
	for _, r := range changed {
		if r.rest == nil && r.wasHeld == nil {
			continue
		}
		for i, c := range t.flow.Columns {
			holds := t.alg.held(r, i)
			var err error
			switch {
			case holds && !r.wasHeld[i]:
				_, err = tx.Exec(ctx, `
					insert into replica_conflict (id, tbl, uid, col, rule) values (nextval('replica_id'), $1, $2, $3, $4) on conflict do nothing`,
					t.id, r.uid, c.Name, t.alg.rules[i])
			case !holds && r.wasHeld[i]:
				by := r.decidedBy
				if by == "" {
					by = fmt.Sprint("region ", r.cells[i].Version.Region)
				}
				_, err = tx.Exec(ctx, `
					update replica_conflict set decided_at = now(), decided_by = $4, winner = $5 where tbl = $1 and uid = $2 and col = $3 and decided_at is null`,
					t.id, r.uid, c.Name, by, r.cells[i])
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// clashed is a conflict that a rule decided, of a record.
type clashed struct {
	r *record
	clash
}

// decided notes conflicts that rules decided.
func (t *table) decided(ctx context.Context, tx pgx.Tx, all []clashed) error {
	if len(all) == 0 {
		return nil
	}
	n := len(all)
	uids, cols, rules, by, cells, winners := make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	for i, c := range all {
		rule, winner := t.alg.rules[c.column], c.ours
		if c.won {
			winner = c.theirs
		}
		uids[i], cols[i], by[i] = c.r.uid, t.flow.Columns[c.column].Name, "rule "+string(rule.Rule)
		for _, part := range []struct {
			to *string
			v  any
		}{{&rules[i], rule}, {&cells[i], []flow.SyncCell{c.ours, c.theirs}}, {&winners[i], winner}} {
			text, err := json.Marshal(part.v)
			if err != nil {
				return err
			}
			*part.to = string(text)
		}
	}
	_, err := tx.Exec(ctx, `
		insert into replica_conflict (id, tbl, uid, col, rule, decided_at, decided_by, cells, winner)
		select nextval('replica_id'), $1, uid, col, rule::jsonb, now(), by, cells::jsonb, winner::jsonb
		from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[]) as s(uid, col, rule, by, cells, winner)`,
		t.id, uids, cols, rules, by, cells, winners)
	return err
}
