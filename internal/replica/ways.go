package replica

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/flow"
)

// Waiting counts the conflicts of a flow that wait for a person, and tells when the oldest
// of them was opened; zero: none waits.
func (r *Replica) Waiting(ctx context.Context, p Place) (n int64, oldest time.Time, err error) {
	err = r.store.Read(ctx, func(c *pgxpool.Conn) error {
		var at *time.Time
		err := c.QueryRow(ctx, `
			select count(*), min(c.opened_at) from replica_conflict c join replica_table t on t.id = c.tbl where t.flow = $1 and c.decided_at is null`, p.Flow).Scan(&n, &at)
		if at != nil {
			oldest = *at
		}
		return err
	})
	return n, oldest, err
}

// mostWeighed is how many pending records of a table are looked at for where they come
// from. The oldest are; of more, each region has the share that it has of these.
const mostWeighed = 2000

// ways tells by the latest writing of each record that is to be written where it came
// from. One that our own region decided comes from no other.
func ways(ctx context.Context, c *pgxpool.Conn, p Place, by map[string]*TableState) error {
	rows, err := c.Query(ctx, `
		select o.name, o.region, count(*), min(o.since)
		from (
			select t.name, w.since, v.region
			from replica_table t
			cross join lateral (select uid, since from replica_pending where tbl = t.id and outcome = '' order by since limit $3) w
			join replica_record r on r.tbl = t.id and r.uid = w.uid
			cross join lateral (
				select split_part(x, '|', 2) as region
				from (select r.ver union all select r.gone union all select r.moved union all select value from jsonb_each_text(r.vers->'v')) a(x)
				where x <> '' and split_part(x, '|', 2) <> $2 order by split_part(x, '|', 1)::bigint desc limit 1) v
			where t.flow = $1) o
		group by 1, 2
		union all select t.name, w.peer, sum(w.rows)::bigint, min(w.since) from replica_table t join replica_written w on w.tbl = t.id and w.version is null where t.flow = $1 group by 1, 2`, p.Flow, p.Region, mostWeighed)
	if err != nil {
		return err
	}
	weighed := map[string]int64{}
	var name, region string
	var n int64
	var oldest time.Time
	_, err = pgx.ForEachRow(rows, []any{&name, &region, &n, &oldest}, func() error {
		t := by[name]
		if t == nil {
			return nil
		}
		s := t.Peers[region]
		if s.Rows += n; s.Oldest.IsZero() || oldest.Before(s.Oldest) {
			s.Oldest = oldest
		}
		t.Peers[region] = s
		weighed[name] += n
		return nil
	})
	for name, sum := range weighed {
		all := by[name].Open[flow.SyncOutcome("")]
		if all <= mostWeighed {
			continue
		}
		for region, s := range by[name].Peers {
			s.Rows = s.Rows * all / sum
			by[name].Peers[region] = s
		}
	}
	return err
}
