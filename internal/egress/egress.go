package egress

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

type (
	// Egress is the exporter's side, in the region's own database. It is safe for
	// concurrent use.
	Egress struct {
		store *store.Store
		// Keep is how much of what all regions have stays, before the last time that any of
		// them said so: one that is restored looks in the last of what it had for what was on
		// its way to its system. Set it before use.
		Keep time.Duration
	}

	// Waiting is what one region has not acknowledged of one table.
	Waiting struct {
		Peer    string // the region
		Table   string
		Batches int64
		Rows    int64
		Bytes   int64
		Oldest  time.Time // when the oldest change of it was made, by its source's clock; zero: nothing waits
		Since   time.Time // when the oldest batch of it was made; zero: nothing waits
		Seen    time.Time // when the region acknowledged last; zero: never
	}
)

// MaxValue is how many bytes the JSON text of one value may have, on either side.
const MaxValue = 8 << 20

// New gives the exporter's side.
func New(s *store.Store) *Egress { return &Egress{store: s} }

// portion is about how many rows one statement of Prune takes.
const portion = 20_000

// Prune removes the batches of a flow that all its regions have acknowledged, a bounded
// portion at a time, and tells how many rows went. It may be repeated and cut short.
func (e *Egress) Prune(ctx context.Context, flowName string) (int64, error) {
	var gone int64
	borders, err := e.borders(ctx, flowName)
	if err != nil {
		return 0, err
	}
	for _, b := range borders {
		for more := true; more; {
			n, err := e.prune(ctx, flowName, b)
			if err != nil {
				return gone, err
			}
			gone, more = gone+n, n > 0
		}
	}
	return gone, nil
}

type border struct{ table, relation string }

func (e *Egress) borders(ctx context.Context, flowName string) (out []border, err error) {
	err = e.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `select "table", relation from egress.border where flow = $1 order by 1`, flowName)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (b border, err error) {
			return b, r.Scan(&b.table, &b.relation)
		})
		return err
	})
	return out, err
}

// prune removes whole batches of one table, about a portion, and never part of one: a
// region that joins later finds each batch whole or not at all.
func (e *Egress) prune(ctx context.Context, flowName string, b border) (rows int64, err error) {
	err = e.store.Write(ctx, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `
			with due as (
				select max(batch) as upto from (
					select batch, sum(rows) over (order by batch) - rows as before from (
						select batch, rows from egress.batch
						where flow = $1 and "table" = $2
						  and batch <= (select min(batch) from egress.acknowledged where flow = $1 and "table" = $2)
						  and ($4::interval = interval '0' or made_at < (select min(at) from egress.acknowledged where flow = $1 and "table" = $2) - $4::interval)
						order by batch limit 1000) b) p
				where before < $3),
			emptied as (delete from `+qualified(b.relation)+` where ":batch" <= (select upto from due)),
			gone as (delete from egress.batch where flow = $1 and "table" = $2 and batch <= (select upto from due) returning rows)
			select coalesce(sum(rows), 0)::bigint from gone`, flowName, b.table, portion, e.Keep).Scan(&rows)
	})
	if f := fault.Of(err); f != nil && f.Code == "store.schema" {
		return 0, nil // apply has just dropped it, and its batches
	}
	return rows, err
}

// Backlog tells what each region has not acknowledged, by region and table.
func (e *Egress) Backlog(ctx context.Context, flowName string) (out []Waiting, err error) {
	err = e.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select a.peer, a."table", coalesce(a.at, 'epoch'), b.batches, b.rows, b.bytes, coalesce(b.oldest, 'epoch'), coalesce(b.since, 'epoch')
			from egress.acknowledged a cross join lateral (
				select count(*) as batches, coalesce(sum(rows), 0)::bigint as rows, coalesce(sum(bytes), 0)::bigint as bytes,
				       min(oldest) as oldest, min(made_at) as since
				from egress.batch b where b.flow = a.flow and b."table" = a."table" and b.batch > a.batch) b
			where a.flow = $1 order by 1, 2`, flowName)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (w Waiting, err error) {
			err = r.Scan(&w.Peer, &w.Table, &w.Seen, &w.Batches, &w.Rows, &w.Bytes, &w.Oldest, &w.Since)
			for _, at := range []*time.Time{&w.Seen, &w.Oldest, &w.Since} {
				if at.Unix() == 0 {
					*at = time.Time{}
				}
			}
			return w, err
		})
		return err
	})
	return out, err
}

// Underway tells which regions have still to fetch a record, and since when.
func (e *Egress) Underway(ctx context.Context, flowName string, t *flow.SyncTable, key []string) (out []Waiting, err error) {
	where := make([]string, len(t.Key))
	args := []any{flowName, t.Name}
	for i, name := range t.Key {
		args = append(args, key[i])
		where[i] = pgx.Identifier{columnOf(name)}.Sanitize() + " = $" + strconv.Itoa(len(args))
	}
	err = e.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select a.peer, a."table", min(b.made_at) from egress.acknowledged a join egress.batch b using (flow, "table")
			where a.flow = $1 and a."table" = $2 and b.batch > a.batch
				and b.batch in (select ":batch" from `+qualified(relationOf(flowName, t.Name))+` where `+strings.Join(where, " and ")+`)
			group by 1, 2 order by 1`, args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (w Waiting, err error) { return w, r.Scan(&w.Peer, &w.Table, &w.Since) })
		return err
	})
	if f := fault.Of(err); f != nil && f.Code == "store.schema" {
		return nil, nil // it is not applied, and nothing is there
	}
	return out, err
}
