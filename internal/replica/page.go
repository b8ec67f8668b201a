package replica

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Records that came together, and of which there is nothing more to say than what came, are
// kept in pages. Whoever changes one gives it a row of its own and notes in the page that it
// is away. Whatever is asked of many records by SQL asks replica_paged beside replica_record,
// or unfolds the pages first.

// apartBy separates records in a page: it is in no JSON text, either.
const apartBy = "\x1e"

// perPage is how many records a page has at most: an edit of one reads all.
const perPage = 500

// What replica_record and the pages have, for whoever looks at all of it, as r. listed is in
// the order of the first keys what follows $2, at most $3 of those from $4 and before $5.
const (
	paged    = `tbl, layout, dead, version, uid, key, id, cells, ver, vers, gone, moved, written`
	allKnown = `(select ` + paged + ` from replica_record union all select ` + paged + ` from replica_paged) as r`
	listed   = `(select * from (select ` + paged + ` from replica_record where tbl = $1 and uid > $2 and uid >= $4 and uid < $5 order by uid limit $3) as o
		union all select ` + paged + ` from replica_paged where tbl = $1 and last > $2 and last >= $4 and first < $5 and uid > $2 and uid >= $4 and uid < $5) as r`
	// beyond is greater than each uid.
	beyond = "\U0010ffff"
)

type (
	// spot is where a record is in a page.
	spot struct {
		size  int32
		first string
		place int32 // from 1
	}

	// extent is what a page is found by.
	extent struct {
		size        int32
		first, last string
	}

	// leaf is a record as a page has it.
	leaf struct {
		r          *record
		cells, ver string
	}
)

// fold keeps records that were not known in pages, and gives those that have to have a row.
func (t *table) fold(ctx context.Context, tx pgx.Tx, made []*record) (rest []*record, err error) {
	type alike struct{ version, written int64 }
	groups := map[alike][]leaf{}
	var order []alike
	for _, r := range made {
		if joinKey(r.key) != r.uid || r.id != "" || r.gone != nil || r.moved != nil || len(r.rest) > 0 {
			rest = append(rest, r)
			continue
		}
		cells, ver, vers, err := registers(r)
		if err != nil {
			return nil, err
		}
		if vers != nil {
			rest = append(rest, r)
			continue
		}
		of := alike{r.version, r.written}
		if groups[of] == nil {
			order = append(order, of)
		}
		groups[of] = append(groups[of], leaf{r, cells, ver})
	}
	var pages [][]leaf
	for _, of := range order {
		group := groups[of]
		if len(group) < t.together {
			for _, l := range group {
				rest = append(rest, l.r)
			}
			continue
		}
		slices.SortFunc(group, func(a, b leaf) int {
			return cmp.Or(cmp.Compare(len(a.r.uid), len(b.r.uid)), strings.Compare(a.r.uid, b.r.uid))
		})
		for from, i := 0, 1; i <= len(group); i++ {
			if i == len(group) || i-from == perPage || len(group[i].r.uid) != len(group[from].r.uid) {
				pages, from = append(pages, group[from:i]), i
			}
		}
	}
	if len(pages) == 0 {
		return rest, nil
	}
	want := make([]extent, len(pages))
	for i, page := range pages {
		want[i] = extent{int32(len(page[0].r.uid)), page[0].r.uid, page[len(page)-1].r.uid}
	}
	taken, err := extents(ctx, tx, t.id, want)
	if err != nil {
		return nil, err
	}
	t.folds = true
	rows := make([][]any, 0, len(pages))
	for i, page := range pages {
		if slices.ContainsFunc(taken, want[i].overlaps) {
			for _, l := range page {
				rest = append(rest, l.r)
			}
			continue
		}
		taken = append(taken, want[i])
		rows = append(rows, t.page(want[i], page))
	}
	_, err = tx.CopyFrom(ctx, pgx.Identifier{"replica_page"},
		[]string{"tbl", "size", "first", "last", "layout", "version", "written", "records", "uids", "cells", "ver", "vers"}, pgx.CopyFromRows(rows))
	return rest, err
}

// page is the row of a page.
func (t *table) page(of extent, page []leaf) []any {
	var uids, cells, vers strings.Builder
	same := true
	for i, l := range page {
		if i > 0 {
			uids.WriteString(apartBy)
			cells.WriteString(apartBy)
			vers.WriteString(apartBy)
		}
		uids.WriteString(l.r.uid)
		cells.WriteString(l.cells)
		vers.WriteString(l.ver)
		same = same && l.ver == page[0].ver
	}
	var version, written *int64
	if v := page[0].r.version; v != 0 {
		version = &v
	}
	if w := page[0].r.written; w != 0 {
		written = &w
	}
	var one, each *string
	if same {
		one = &page[0].ver
	} else {
		all := vers.String()
		each = &all
	}
	return []any{t.id, of.size, of.first, of.last, t.layout, version, written, int32(len(page)), uids.String(), cells.String(), one, each}
}

func (e extent) overlaps(o extent) bool {
	return e.size == o.size && e.first <= o.last && o.first <= e.last
}

// extents gives the pages that overlap some ranges, in order.
func extents(ctx context.Context, q querier, tbl int32, want []extent) ([]extent, error) {
	sizes, firsts, lasts := make([]int32, len(want)), make([]string, len(want)), make([]string, len(want))
	for i, e := range want {
		sizes[i], firsts[i], lasts[i] = e.size, e.first, e.last
	}
	rows, err := q.Query(ctx, `
		select distinct p.size, p.first, p.last from unnest($2::int[], $3::text[], $4::text[]) as c (size, first, last)
		cross join lateral (
			select * from (select size, first, last from replica_page where tbl = $1 and size = c.size and first <= c.first order by first desc limit 1) as before
			union all select size, first, last from replica_page where tbl = $1 and size = c.size and first > c.first and first <= c.last) as p
		where p.last >= c.first order by p.size, p.first`, tbl, sizes, firsts, lasts)
	if err != nil {
		return nil, err
	}
	var found []extent
	var e extent
	_, err = pgx.ForEachRow(rows, []any{&e.size, &e.first, &e.last}, func() error { found = append(found, e); return nil })
	return found, err
}

// folded gives, of some records, those that are in pages, as byUID would.
func folded(ctx context.Context, q querier, tbl int32, uids []string) ([]kept, error) {
	all, err := inPages(ctx, q, tbl, uids)
	if err != nil {
		return nil, err
	}
	return all, inRanges(ctx, q, tbl, all)
}

// inPages is folded without what became of the ranges that records came in.
func inPages(ctx context.Context, q querier, tbl int32, uids []string) ([]kept, error) {
	if len(uids) == 0 {
		return nil, nil
	}
	wanted := make(map[string]bool, len(uids))
	ranges := map[int32]*extent{}
	for _, uid := range uids {
		wanted[uid] = true
		size := int32(len(uid))
		if e := ranges[size]; e == nil {
			ranges[size] = &extent{size, uid, uid}
		} else {
			e.first, e.last = min(e.first, uid), max(e.last, uid)
		}
	}
	want := make([]extent, 0, len(ranges))
	for _, e := range ranges { // they are looked for together
		want = append(want, *e)
	}
	there, err := extents(ctx, q, tbl, want)
	if err != nil || len(there) == 0 {
		return nil, err
	}
	needed := map[int]bool{}
	for uid := range wanted { // which pages that are is the same in any order
		i, exact := slices.BinarySearchFunc(there, extent{size: int32(len(uid)), first: uid}, func(a, b extent) int {
			return cmp.Or(cmp.Compare(a.size, b.size), strings.Compare(a.first, b.first))
		})
		if !exact {
			i--
		}
		if i >= 0 && there[i].overlaps(extent{int32(len(uid)), uid, uid}) {
			needed[i] = true
		}
	}
	var sizes []int32
	var firsts []string
	for i, e := range there {
		if needed[i] {
			sizes, firsts = append(sizes, e.size), append(firsts, e.first)
		}
	}
	if len(sizes) == 0 {
		return nil, nil
	}
	rows, err := q.Query(ctx, `
		select p.size, p.first, p.layout, p.version, p.written, p.away, p.uids, p.cells, p.ver, p.vers from unnest($2::int[], $3::text[]) as c (size, first)
		cross join lateral (select * from replica_page where tbl = $1 and size = c.size and first = c.first offset 0) as p`, tbl, sizes, firsts)
	if err != nil {
		return nil, err
	}
	var all []kept
	var at spot
	var k kept
	var away []int32
	var names, cells string
	var one, each *string
	if _, err = pgx.ForEachRow(rows, []any{&at.size, &at.first, &k.layout, &k.version, &k.written, &away, &names, &cells, &one, &each}, func() error {
		for at.place = 1; names != ""; at.place++ {
			k.uid, names, _ = strings.Cut(names, apartBy)
			k.cells, cells, _ = strings.Cut(cells, apartBy)
			if one != nil {
				k.ver = *one
			} else {
				k.ver, *each, _ = strings.Cut(*each, apartBy)
			}
			if wanted[k.uid] && !slices.Contains(away, at.place) {
				spot := at
				k.page = &spot
				all = append(all, k)
			}
		}
		return nil
	}); err != nil {
		return nil, err
	}
	return all, nil
}

// inRanges tells records of pages what became of the ranges that they came in.
func inRanges(ctx context.Context, q querier, tbl int32, all []kept) error {
	revs := map[int64]bool{}
	var list []int64
	for i := range all {
		if w := all[i].written; w != nil && !revs[*w] {
			revs[*w], list = true, append(list, *w)
		}
	}
	if len(list) == 0 {
		return nil
	}
	rows, err := q.Query(ctx, `select rev, first, last, version from replica_written where tbl = $1 and rev = any($2)`, tbl, list)
	if err != nil {
		return err
	}
	var rev int64
	var first, last string
	var version *int64
	none, yes, nothing := "", true, 0
	_, err = pgx.ForEachRow(rows, []any{&rev, &first, &last, &version}, func() error {
		for i := range all {
			k := &all[i]
			if k.written == nil || *k.written != rev || k.uid < first || k.uid > last {
				continue
			}
			switch {
			case version == nil:
				k.absent, k.ranged, k.rev, k.seen = &yes, &yes, k.written, k.written
				k.outcome, k.code, k.attempts = &none, &none, &nothing
			case k.version == nil || *k.version < *version:
				v := *version
				k.version = &v
			}
		}
		return nil
	})
	return err
}

// unfold gives rows to records that are in pages; those of which so is said.
func (t *table) unfold(ctx context.Context, tx pgx.Tx, uids []string, which func(*kept) bool) error {
	if !t.folds {
		return nil
	}
	all, err := inPages(ctx, tx, t.id, uids)
	if err != nil {
		return err
	}
	var rows [][]any
	var spots []spot
	for i := range all {
		if k := &all[i]; which(k) {
			rows = append(rows, []any{t.id, k.layout, k.version, k.uid, k.cells, k.ver, k.written})
			spots = append(spots, *k.page)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"replica_record"}, []string{"tbl", "layout", "version", "uid", "cells", "ver", "written"}, pgx.CopyFromRows(rows)); err != nil {
		return err
	}
	return t.depart(ctx, tx, spots)
}

// unfoldPages gives rows to all records of the pages that a condition on replica_page p holds for.
func (t *table) unfoldPages(ctx context.Context, tx pgx.Tx, where string, args ...any) error {
	if !t.folds {
		return nil
	}
	if _, err := tx.Exec(ctx, `
		insert into replica_record (tbl, layout, version, uid, cells, ver, written)
		select p.tbl, p.layout, p.version, p.uid, p.cells, p.ver, p.written from replica_paged p where p.tbl = $1 and `+where, append([]any{t.id}, args...)...); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `delete from replica_page p where p.tbl = $1 and `+where, append([]any{t.id}, args...)...)
	return err
}

// depart notes that records have rows; a page that has none any more goes.
func (t *table) depart(ctx context.Context, tx pgx.Tx, spots []spot) error {
	if len(spots) == 0 {
		return nil
	}
	sizes, firsts, places := make([]int32, len(spots)), make([]string, len(spots)), make([]int32, len(spots))
	for i, s := range spots {
		sizes[i], firsts[i], places[i] = s.size, s.first, s.place
	}
	if _, err := tx.Exec(ctx, `
		update replica_page p set away = p.away || c.places
		from (select size, first, array_agg(place) as places from unnest($2::int[], $3::text[], $4::int[]) as u (size, first, place) group by 1, 2) as c
		where p.tbl = $1 and p.size = c.size and p.first = c.first`, t.id, sizes, firsts, places); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		delete from replica_page p using (select distinct size, first from unnest($2::int[], $3::text[]) as u (size, first)) as c
		where p.tbl = $1 and p.size = c.size and p.first = c.first and cardinality(p.away) >= p.records`, t.id, sizes, firsts)
	return err
}

// window bounds what is listed after a record, so that few pages are read for it. There is
// something in it, unless nothing follows.
func window(ctx context.Context, tx pgx.Tx, tbl int32, after string, most int) (from, upto string, err error) {
	for {
		rows, err := tx.Query(ctx, `
			select first, records - cardinality(away) from replica_page where tbl = $1 and last > $2 and last >= $3 order by first limit $4`, tbl, after, from, most+1)
		if err != nil {
			return "", "", err
		}
		upto = beyond
		var first string
		var records, sum int
		if _, err := pgx.ForEachRow(rows, []any{&first, &records}, func() error {
			if sum >= most && first > max(after, from) && upto == beyond {
				upto = first
			}
			sum += records
			return nil
		}); err != nil || upto == beyond {
			return from, upto, err
		}
		var some bool
		if err := tx.QueryRow(ctx, `select exists (select from `+listed+`)`, tbl, after, most, from, upto).Scan(&some); err != nil || some {
			return from, upto, err
		}
		from = upto
	}
}
