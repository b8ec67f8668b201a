package replica

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/flow"
)

// again is when a waiting record is due again, where nobody says.
const again = 5 * time.Second

// Write begins to write what is pending of a table; nil: another one does, until its
// lease ends, or the table was restored and has not recovered. Pending and Settle make the lease begin anew.
func (r *Replica) Write(ctx context.Context, p Place, table string, lease time.Duration) (*Writing, error) {
	var w *Writing
	err := r.store.Tx(ctx, func(tx pgx.Tx) error {
		w = nil
		t, err := r.open(ctx, tx, p, table)
		if err != nil || t.writing || t.restored != nil {
			return err
		}
		w = &Writing{Table: table, lease: lease, fence: t.rev, last: t.writer}
		_, err = tx.Exec(ctx, `update replica_table set writer = $2, writer_until = clock_timestamp() + $3 where id = $1`, t.id, w.fence, lease)
		return err
	})
	return w, err
}

// Follows reports whether nobody has written between another writing and this one.
func (w *Writing) Follows(last *Writing) bool { return last != nil && w.last == last.fence }

// Release ends a writing before its lease does; one that was taken over is none any more.
func (r *Replica) Release(ctx context.Context, p Place, w *Writing) error {
	return r.store.Tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update replica_table set writer_until = '-infinity' where flow = $1 and name = $2 and writer = $3`, p.Flow, w.Table, w.fence)
		return err
	})
}

// extend makes the lease of a writing begin anew.
func (t *table) extend(ctx context.Context, tx pgx.Tx, w *Writing) error {
	if t.writer != w.fence || t.restored != nil {
		return fenced()
	}
	_, err := tx.Exec(ctx, `update replica_table set writer_until = clock_timestamp() + $2 where id = $1`, t.id, w.lease)
	return err
}

// Pending gives the next of what is due, at most so many and none twice; none: all was
// given, and the next call begins anew. It gives what it gave before again to a writing
// that took over: an order is carried out as often as that, and settled once.
func (r *Replica) Pending(ctx context.Context, p Place, w *Writing, most int) ([]Order, error) {
	var orders []Order
	last := ""
	err := r.store.Tx(ctx, func(tx pgx.Tx) error {
		orders, last = nil, w.after
		t, err := r.open(ctx, tx, p, w.Table)
		if err != nil {
			return err
		}
		if err := t.extend(ctx, tx, w); err != nil {
			return err
		}
		if err := t.spread(ctx, tx); err != nil {
			return err
		}
		for len(orders) == 0 {
			found, err := t.due(ctx, tx, last, most)
			if err != nil || len(found) == 0 {
				last = ""
				return err
			}
			last = found[len(found)-1].uid
			if orders, err = t.free(ctx, tx, found); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	w.after = last
	return orders, nil
}

// due reads the orders after one, by the first key.
func (t *table) due(ctx context.Context, tx pgx.Tx, after string, most int) ([]Order, error) {
	// In the order of the index: sorting all that is pending for each part of it would take
	// ever longer.
	if _, err := tx.Exec(ctx, `select set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true)`); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `select uid, since from replica_pending where tbl = $1 and uid > $2 and due <= clock_timestamp() order by uid limit $3`, t.id, after, most)
	if err != nil {
		return nil, err
	}
	var uid string
	var at time.Time
	var uids []string
	since := map[string]time.Time{}
	if _, err = pgx.ForEachRow(rows, []any{&uid, &at}, func() error {
		uids, since[uid] = append(uids, uid), at
		return nil
	}); err != nil || len(uids) == 0 {
		return nil, err
	}
	all, err := t.read(ctx, tx, uids)
	if err != nil {
		return nil, err
	}
	orders := make([]Order, len(all))
	for i := range all {
		rec, err := all[i].record(t.places[all[i].layout], len(t.flow.Columns))
		if err != nil {
			return nil, err
		}
		o := t.alg.order(rec)
		o.rev, o.Attempts, o.Since = rec.rev, rec.attempts, since[rec.uid]
		o.alike = rec.written == rec.rev
		orders[i] = o
	}
	slices.SortFunc(orders, func(a, b Order) int { return strings.Compare(a.uid, b.uid) })
	return orders, nil
}

// free leaves out the orders whose key another record of our system has: written by key
// they would change that one.
func (t *table) free(ctx context.Context, tx pgx.Tx, orders []Order) ([]Order, error) {
	var keys, first []string
	for i := range orders {
		if o := &orders[i]; o.Create && !o.Check || o.Was != nil {
			key := joinKey(o.Key)
			if keys = append(keys, key); key != o.uid {
				first = append(first, key)
			}
		}
	}
	if len(keys) == 0 {
		return orders, nil
	}
	var others bool
	if err := tx.QueryRow(ctx, `
		select exists (select from unnest($2::text[]) as k (key) cross join lateral (select from replica_record where tbl = $1 and key is not null and key = k.key offset 0) as r)
			or exists (select from unnest($2::text[]) as k (key) cross join lateral (select from replica_pending where tbl = $1 and key is not null and key = k.key offset 0) as r)
			or exists (select from unnest($3::text[]) as k (uid) cross join lateral (select from replica_record where tbl = $1 and uid = k.uid offset 0) as r)`, t.id, keys, first).Scan(&others); err != nil {
		return nil, err
	}
	if !others && t.folds {
		paged, err := inPages(ctx, tx, t.id, first)
		if err != nil {
			return nil, err
		}
		others = len(paged) > 0
	}
	if !others {
		return orders, nil
	}
	s, err := t.take(ctx, tx, keys, []string{})
	if err != nil {
		return nil, err
	}
	var ours, theirs []Order
	var taken []string
	for _, o := range orders {
		if (o.Create && !o.Check || o.Was != nil) && s.occupied(joinKey(o.Key), o.uid) {
			taken, theirs = append(taken, o.uid), append(theirs, o)
			continue
		}
		ours = append(ours, o)
	}
	if len(taken) > 0 {
		if err := t.apart(ctx, tx, theirs); err != nil {
			return nil, err
		}
		_, err = tx.Exec(ctx, `
			update replica_pending set outcome = $3, code = $4, reason = 'another record has this key', attempts = attempts + 1, due = clock_timestamp() + interval '1 minute'
			where tbl = $1 and uid = any($2)`, t.id, taken, string(flow.SyncRejected), CodeKeyTaken)
	}
	return ours, err
}

// occupied reports whether our system has a key for another record than the one.
func (s *shelf) occupied(key, uid string) bool {
	for _, r := range s.under(key) {
		if r.uid != uid && !r.absent() && joinKey(r.own()) == key {
			return true
		}
	}
	return false
}

// Settle notes what became of orders. Counts tells it by outcome; what was settled before,
// or is about another state of the record by now, changes nothing more than it should.
func (r *Replica) Settle(ctx context.Context, p Place, w *Writing, settled []Settled) (Counts, error) {
	var counts Counts
	err := r.store.Tx(ctx, func(tx pgx.Tx) error {
		counts = Counts{Changes: int64(len(settled))}
		t, err := r.open(ctx, tx, p, w.Table)
		if err != nil {
			return err
		}
		if err := t.extend(ctx, tx, w); err != nil {
			return err
		}
		for i := range settled {
			counts.add(settled[i].Outcome)
		}
		return t.settle(ctx, tx, settled, &counts)
	})
	return counts, err
}

func (t *table) settle(ctx context.Context, tx pgx.Tx, settled []Settled, counts *Counts) error {
	whole, slow, err := t.closes(ctx, tx, settled)
	if err != nil {
		return err
	}
	groups := together(settled, whole)
	var others []Order
	of := map[string]*Settled{}
	var uids []string
	var revs []int64
	for i := range settled {
		s := &settled[i]
		if whole[i] {
			continue
		}
		grouped := groups[s.group()] != nil
		if s.Order.alike && !grouped {
			others = append(others, s.Order)
		}
		switch {
		case grouped, s.Outcome == flow.SyncApplied && s.plain() && s.Version == 0:
			of[s.Order.uid] = s
			uids, revs = append(uids, s.Order.uid), append(revs, s.Order.rev)
		case s.Outcome == flow.SyncApplied, s.Outcome == flow.SyncTruncated && s.Kept != nil:
			slow = append(slow, s)
		}
	}
	if err := t.apart(ctx, tx, others); err != nil {
		return err
	}
	if len(uids) > 0 {
		rows, err := tx.Query(ctx, `
			delete from replica_pending where ctid = any(array(
				select r.ctid from unnest($2::text[], $3::bigint[]) as k (uid, rev)
				cross join lateral (select ctid, rev from replica_pending where tbl = $1 and uid = k.uid offset 0) as r where r.rev = k.rev)) returning uid`, t.id, uids, revs)
		if err != nil {
			return err
		}
		gone, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, uid := range gone {
			delete(of, uid)
		}
		for _, uid := range uids { // what became another thing meanwhile
			if s := of[uid]; s != nil {
				slow = append(slow, s)
				if span := groups[s.group()]; span != nil {
					span.n-- // what the write made of it, the source has to tell
				}
			}
		}
	}
	for g, span := range groups { // in any order
		if _, err := tx.Exec(ctx, `
			insert into replica_written as w (tbl, rev, first, last, version, rows) values ($1, $2, $3, $4, $5, $6)
			on conflict (tbl, rev, first) do update set last = greatest(w.last, excluded.last), version = greatest(w.version, excluded.version), rows = excluded.rows`,
			t.id, g.rev, span.first, span.last, g.version, span.n); err != nil {
			return err
		}
	}
	if err := t.done(ctx, tx, slow, counts); err != nil {
		return err
	}
	return t.postpone(ctx, tx, settled)
}

type (
	// group is what became of several records alike: what is pending of them was one thing,
	// and one write of our system has made all of it.
	group struct{ rev, version int64 }

	// span is the first and the last of a group. Whoever is between them and of the same rev
	// is of the group, or was taken apart.
	span struct {
		n           int
		first, last string
	}
)

// Together is from how many on records are settled together; of fewer each is told what it
// became, so that not every small change leaves a row behind.
const Together = 100

// together finds the groups that are worth it.
func together(settled []Settled, whole map[int]bool) map[group]*span {
	found := map[group]*span{}
	for i := range settled {
		s := &settled[i]
		g := s.group()
		if g == (group{}) || whole[i] {
			continue
		}
		uid := s.Order.uid
		if found[g] == nil {
			found[g] = &span{first: uid, last: uid}
		}
		of := found[g]
		of.n, of.first, of.last = of.n+1, min(of.first, uid), max(of.last, uid)
	}
	byRev := map[int64]int{}
	for g := range found { // in any order
		byRev[g.rev]++
	}
	maps.DeleteFunc(found, func(g group, of *span) bool { return of.n < Together || byRev[g.rev] > 1 })
	return found
}

// group is what a settled order may be of; the zero one: of none.
func (s *Settled) group() group {
	if s.Outcome != flow.SyncApplied || !s.Order.alike || s.Version == 0 || !s.plain() {
		return group{}
	}
	return group{s.Order.rev, s.Version}
}

// plain reports whether our system has just what was to be written, and nothing is learnt
// of the record but that.
func (s *Settled) plain() bool {
	return s.Kept == nil && s.ID == "" && !s.Order.held && !(s.Order.Delete && s.Order.ID != "")
}

// Wrote tells how many records one of our writes made that is known, by the versions of its
// last record and of its end.
func (r *Replica) Wrote(ctx context.Context, p Place, table string, last, end int64) (n int64, err error) {
	err = r.store.Read(ctx, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `
			select coalesce(sum(w.rows), 0)::bigint from replica_written w join replica_table t on t.id = w.tbl where t.flow = $1 and t.name = $2 and w.version between $3 and $4`,
			p.Flow, table, last, end).Scan(&n)
	})
	return n, err
}

// apart takes records out of what becomes of their rev.
func (t *table) apart(ctx context.Context, tx pgx.Tx, orders []Order) error {
	var uids []string
	var revs []int64
	for i := range orders {
		if o := &orders[i]; o.alike {
			uids, revs = append(uids, o.uid), append(revs, o.rev)
		}
	}
	if len(uids) == 0 {
		return nil
	}
	if t.folds {
		alike := make(map[string]int64, len(uids))
		for i, uid := range uids {
			alike[uid] = revs[i]
		}
		if err := t.unfold(ctx, tx, uids, func(k *kept) bool { return k.written != nil && *k.written == alike[k.uid] }); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, `
		update replica_record set written = null where ctid = any(array(
			select r.ctid from unnest($2::text[], $3::bigint[]) as k (uid, rev)
			cross join lateral (select ctid, written from replica_record where tbl = $1 and uid = k.uid offset 0) as r where r.written = k.rev))`, t.id, uids, revs)
	return err
}

// done notes what our system holds now of records whose rows have to be read for it.
func (t *table) done(ctx context.Context, tx pgx.Tx, slow []*Settled, counts *Counts) error {
	if len(slow) == 0 {
		return nil
	}
	uids := make([]string, len(slow))
	for i, s := range slow {
		uids[i] = s.Order.uid
	}
	found, err := t.take(ctx, tx, uids, []string{})
	if err != nil {
		return err
	}
	for _, s := range slow {
		rec := found.byUID[s.Order.uid]
		if rec == nil {
			continue
		}
		if s.ID != "" && rec.id != s.ID {
			rec.id, rec.dirty = s.ID, true
		}
		// Of a record that became another thing meanwhile the source tells what the write made
		// of it: what it tells must then not count as older.
		if rec.waits && rec.seen == s.Order.seen {
			rec.version, rec.dirty = max(rec.version, s.Version), true
			rec.closed = s.Outcome == flow.SyncApplied
			if t.alg.done(rec, s.Order, s.Kept); rec.absent() {
				rec.id = ""
			}
			rec.seen++ // this is what our system said last
		}
	}
	_, counts.Pending, err = t.keep(ctx, tx, found)
	if err != nil {
		return err
	}
	for _, s := range slow {
		if rec := found.byUID[s.Order.uid]; s.Outcome == flow.SyncTruncated && rec != nil {
			s.Order.rev = t.rev
		}
	}
	return nil
}

// postpone notes why orders were not carried out, unless something is new since.
func (t *table) postpone(ctx context.Context, tx pgx.Tx, settled []Settled) error {
	var uids, outcomes, codes, reasons []string
	var revs, waits []int64
	for i := range settled {
		s := &settled[i]
		wait := int64(-1)
		switch s.Outcome {
		case flow.SyncApplied:
			continue
		case flow.SyncWaiting:
			if wait = s.Retry.Milliseconds(); s.Retry == 0 {
				wait = again.Milliseconds()
			}
		}
		uids, revs, outcomes = append(uids, s.Order.uid), append(revs, s.Order.rev), append(outcomes, string(s.Outcome))
		codes, reasons, waits = append(codes, s.Code), append(reasons, s.Text), append(waits, wait)
	}
	if len(uids) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `
		update replica_pending p set outcome = s.outcome, code = s.code, reason = s.reason, attempts = p.attempts + 1,
			due = case when s.wait < 0 then 'infinity' else clock_timestamp() + s.wait * interval '1 millisecond' end
		from unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bigint[]) as s(uid, rev, outcome, code, reason, wait)
		where p.tbl = $1 and p.uid = s.uid and p.rev = s.rev`, t.id, uids, revs, outcomes, codes, reasons, waits)
	return err
}

// Wake makes due what waits: after the records it may refer to were written.
func (r *Replica) Wake(ctx context.Context, p Place, table string) (int64, error) {
	return r.hurry(ctx, p, table, nil, flow.SyncWaiting)
}

// Retry makes due what the target rejected or truncated, of one record (by key or
// reference) or, with nil, of the table.
func (r *Replica) Retry(ctx context.Context, p Place, table string, key []string) (int64, error) {
	return r.hurry(ctx, p, table, key, flow.SyncRejected, flow.SyncTruncated, flow.SyncWaiting)
}

func (r *Replica) hurry(ctx context.Context, p Place, table string, key []string, of ...flow.SyncOutcome) (n int64, err error) {
	outcomes := make([]string, len(of))
	for i, o := range of {
		outcomes[i] = string(o)
	}
	var keys []string
	if key != nil {
		keys = []string{joinKey(key)}
	}
	err = r.store.Tx(ctx, func(tx pgx.Tx) error {
		t, err := r.open(ctx, tx, p, table)
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `
			update replica_pending p set due = clock_timestamp() where tbl = $1 and outcome <> '' and outcome = any($2) and due > clock_timestamp()
				and ($3::text[] is null or uid = any($3) or exists (select from replica_record r where r.tbl = p.tbl and r.uid = p.uid and r.key = any($3)))`,
			t.id, outcomes, keys)
		n = tag.RowsAffected()
		return err
	})
	return n, err
}
