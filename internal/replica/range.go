package replica

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// Records that came together and that our system has none of are pending as a range: a row
// of replica_written without a version, in place of a row of replica_pending for each. Whoever
// received them writes them and closes the range; whoever else wants to write, or anything
// that does not go well, spreads it first.

// inRange says of a replica_record r that nothing became of it since its range was received.
const inRange = `exists (select from replica_written w where w.tbl = r.tbl and w.version is null and w.rev = r.written and r.uid between w.first and w.last)`

// gather finds the records of a shelf that are to be a range, if they are worth one.
func (t *table) gather(ctx context.Context, tx pgx.Tx, s *shelf) error {
	var of []*record
	for _, r := range s.order {
		if r.dirty && !r.known && r.base != nil && r.base.absent && r.moved == nil && r.gone == nil && len(r.rest) == 0 && r.id == "" &&
			joinKey(r.key) == r.uid && len(s.byKey[r.uid]) == 0 && t.stand(r) == pending {
			of = append(of, r)
		}
	}
	if len(of) < Together {
		return nil
	}
	for _, r := range of {
		r.ranged = true
	}
	t.spanned = len(of)
	return tx.QueryRow(ctx, `select nextval('replica_id')`).Scan(&t.span)
}

// opens keeps the range that gather found.
func (t *table) opens(ctx context.Context, tx pgx.Tx, s *shelf, from string) error {
	if t.span == 0 {
		return nil
	}
	first, last := "", ""
	for _, r := range s.order {
		if !r.ranged {
			continue
		}
		if first == "" {
			first = r.uid
		}
		first, last = min(first, r.uid), max(last, r.uid)
	}
	_, err := tx.Exec(ctx, `insert into replica_written (tbl, rev, first, last, rows, since, peer) values ($1, $2, $3, $4, $5, clock_timestamp(), $6)`,
		t.id, t.span, first, last, t.spanned, from)
	return err
}

// leave counts the records that are pending by themselves now, or not at all, out of their
// ranges.
func (t *table) leave(ctx context.Context, tx pgx.Tx, changed []*record) error {
	left := map[int64]int{}
	for _, r := range changed {
		if r.inRange {
			left[r.rev]++
		}
	}
	for rev, n := range left { // in any order
		if _, err := tx.Exec(ctx, `update replica_written set rows = rows - $3 where tbl = $1 and rev = $2 and version is null`, t.id, rev, n); err != nil {
			return err
		}
	}
	return nil
}

// spread makes of each open range of the table a row for each of its records.
func (t *table) spread(ctx context.Context, tx pgx.Tx) error {
	return t.spreadOf(ctx, tx, nil, nil)
}

// spreadOf does so for some records of a range, which stays; nil: for all records of all.
func (t *table) spreadOf(ctx context.Context, tx pgx.Tx, rev *int64, uids []string) error {
	if rev != nil {
		if err := t.unfold(ctx, tx, uids, func(k *kept) bool { return k.written != nil && *k.written == *rev }); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			insert into replica_pending (tbl, absent, rev, seen, due, since, uid)
			select $1, true, w.rev, w.rev, clock_timestamp(), w.since, k.uid
			from replica_written w cross join unnest($3::text[]) as k (uid)
			cross join lateral (select written from replica_record where tbl = $1 and uid = k.uid offset 0) as r
			where w.tbl = $1 and w.rev = $2 and w.version is null and r.written = w.rev on conflict do nothing`, t.id, *rev, uids)
		return err
	}
	if err := t.unfoldPages(ctx, tx, `p.written = any(array(select rev from replica_written where tbl = $1 and version is null))`); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		with open as (select rev, first, last, since from replica_written where tbl = $1 and version is null),
		closed as (update replica_written set version = 0, rows = 0, last = '' where tbl = $1 and version is null)
		insert into replica_pending (tbl, absent, rev, seen, due, since, uid)
		select $1, true, o.rev, o.rev, clock_timestamp(), o.since, r.uid
		from open o join replica_record r on r.tbl = $1 and r.written = o.rev and r.uid between o.first and o.last on conflict do nothing`, t.id)
	return err
}

// closes closes the ranges of which all that is left was settled, and tells, by place, which
// orders were settled by that. Of the others of a range each gets a row of its own; slow are
// those that became another thing meanwhile.
func (t *table) closes(ctx context.Context, tx pgx.Tx, settled []Settled) (whole map[int]bool, slow []*Settled, err error) {
	byRev := map[int64][]int{}
	for i := range settled {
		if o := &settled[i].Order; o.span > 0 {
			byRev[o.rev] = append(byRev[o.rev], i)
		}
	}
	whole = map[int]bool{}
	for rev, places := range byRev { // each by itself
		if len(places) != settled[places[0]].Order.span { // a part of it says nothing of the rest
			if err := t.spread(ctx, tx); err != nil {
				return nil, nil, err
			}
			continue
		}
		var apart []string
		written := make([]int, 0, len(places))
		version := int64(0)
		for _, i := range places {
			s := &settled[i]
			if s.group() == (group{}) || version != 0 && s.Version != version {
				apart = append(apart, s.Order.uid)
				continue
			}
			version, written = s.Version, append(written, i)
		}
		if len(apart) > 0 {
			if err := t.spreadOf(ctx, tx, &rev, apart); err != nil {
				return nil, nil, err
			}
		}
		if version == 0 {
			continue // nothing of it was written: Pending has what is left
		}
		var rows int
		err := tx.QueryRow(ctx, `
			update replica_written w set version = $3, rows = $4 from (select rows from replica_written where tbl = $1 and rev = $2 and version is null) was
			where tbl = $1 and rev = $2 and version is null returning was.rows`, t.id, rev, version, len(written)).Scan(&rows)
		if errors.Is(err, pgx.ErrNoRows) {
			continue // it was spread: there are rows
		}
		if err != nil {
			return nil, nil, err
		}
		var others map[string]bool
		if rows != len(places) {
			if others, err = t.outside(ctx, tx, rev, settled, written); err != nil {
				return nil, nil, err
			}
		}
		for _, i := range written {
			if whole[i] = true; others[settled[i].Order.uid] {
				slow = append(slow, &settled[i])
			}
		}
		if len(others) > 0 { // what the write made of these, the source has to tell
			if _, err := tx.Exec(ctx, `update replica_written set rows = rows - $3 where tbl = $1 and rev = $2`, t.id, rev, len(others)); err != nil {
				return nil, nil, err
			}
		}
	}
	return whole, slow, nil
}

// outside tells which of some orders are of records that are in their range no more.
func (t *table) outside(ctx context.Context, tx pgx.Tx, rev int64, settled []Settled, places []int) (map[string]bool, error) {
	uids := make([]string, len(places))
	for n, i := range places {
		uids[n] = settled[i].Order.uid
	}
	rows, err := tx.Query(ctx, `
		select k.uid from unnest($2::text[]) as k (uid) cross join lateral (select written from replica_record where tbl = $1 and uid = k.uid offset 0) as r
		where r.written is distinct from $3`, t.id, uids, rev)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	others := make(map[string]bool, len(found))
	for _, uid := range found {
		others[uid] = true
	}
	return others, err
}
