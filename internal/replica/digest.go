package replica

import (
	"context"
	"math/big"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
)

// Digests and buckets are computed by MD5, which every PostgreSQL computes alike; nobody
// chooses the values to deceive it. The digest of a bucket is the sum of those of its
// records, so that their order does not matter.
const (
	bucketOf = `('x' || substr(md5(uid), 1, 8))::bit(32)::bigint % $3`
	digestOf = `('x' || substr(md5(coalesce(key, uid) || E'\x1e' || said), 1, 15))::bit(60)::bigint`
	// said are the chosen values of a record, from wherever its layout has them.
	said = `case when $4::int[] is null then cells else array_to_string(array(
		select coalesce((string_to_array(cells, E'\x1f'))[p], '') from unnest($4::int[]) with ordinality as u (p, n) order by n), E'\x1f') end`
)

// Digests gives the digests of a table in so many buckets, without the empty ones: regions
// that know the same living records have the same. Columns restrict them; nil: all of the plan.
func (r *Replica) Digests(ctx context.Context, p Place, table string, columns []string, buckets int) ([]Bucket, error) {
	sums := map[int]*big.Int{}
	rows := map[int]int64{}
	err := r.each(ctx, p, table, columns, func(tx pgx.Tx, id, layout int32, places []int32) error {
		found, err := tx.Query(ctx, `
			select bucket, count(*), sum(digest)::text from (
				select (`+bucketOf+`)::int as bucket, `+digestOf+` as digest
				from (select uid, key, `+said+` as said from replica_record where tbl = $1 and layout = $2 and not dead) as r) as d group by bucket`,
			id, layout, buckets, places)
		if err != nil {
			return err
		}
		var n int
		var count int64
		var text string
		_, err = pgx.ForEachRow(found, []any{&n, &count, &text}, func() error {
			sum, ok := new(big.Int).SetString(text, 10)
			if !ok {
				return broken("a digest")
			}
			if sums[n] != nil {
				sum.Add(sum, sums[n])
			}
			sums[n], rows[n] = sum, rows[n]+count
			return nil
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make([]Bucket, 0, len(sums))
	for n, sum := range sums { // sorted below
		out = append(out, Bucket{N: n, Rows: rows[n], Digest: sum.Text(16)})
	}
	slices.SortFunc(out, func(a, b Bucket) int { return a.N - b.N })
	return out, nil
}

// Entries lists the records of one bucket, deleted ones included, by reference.
func (r *Replica) Entries(ctx context.Context, p Place, table string, columns []string, buckets, n int) ([]Entry, error) {
	var out []Entry
	err := r.each(ctx, p, table, columns, func(tx pgx.Tx, id, layout int32, places []int32) error {
		found, err := tx.Query(ctx, `
			select r.uid, coalesce(r.key, r.uid), to_hex(`+digestOf+`), r.dead, w.uid is not null, coalesce(w.outcome, '')
			from (select uid, key, dead, `+said+` as said from replica_record where tbl = $1 and layout = $2 and `+bucketOf+` = $5) as r
			left join (select uid, outcome from replica_pending where tbl = $1) as w using (uid)`, id, layout, buckets, places, n)
		if err != nil {
			return err
		}
		var uid, key string
		var e Entry
		_, err = pgx.ForEachRow(found, []any{&uid, &key, &e.Digest, &e.Deleted, &e.Open, (*string)(&e.Outcome)}, func() error {
			e.Ref, e.Key = refOf(uid), splitKey(key)
			out = append(out, e)
			return nil
		})
		return err
	})
	slices.SortFunc(out, func(a, b Entry) int { return strings.Compare(a.Ref, b.Ref) })
	return out, err
}

// each calls fn for each layout of a table, with the places (from 1; 0: none) of the
// columns; nil: the values are kept in just that form.
func (r *Replica) each(ctx context.Context, p Place, table string, columns []string, fn func(tx pgx.Tx, id, layout int32, places []int32) error) error {
	shape, err := tableOf(p, table)
	if err != nil {
		return err
	}
	of := make([]string, 0, len(shape.Columns))
	for _, c := range shape.Columns {
		if columns == nil || slices.Contains(columns, c.Name) {
			of = append(of, c.Name)
		}
	}
	if columns != nil && len(of) != len(columns) {
		return fault.NotFoundf(CodeTable, "table %s has no such column that may cross", table)
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
