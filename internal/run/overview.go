package run

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/flow"
)

// rates remembers what was counted last. Counting costs no more than a part in two
// hundred of the time, however many runs there are.
type rates struct {
	mu    sync.Mutex
	until time.Time
	list  []flow.Rate
	n     int
}

const (
	ratesFor   = 2 * time.Second
	ratesShare = 200
)

// Rates counts the runs of each flow that were accepted in each of the last n
// minutes. What it answers may be a few seconds old, more under load.
func (b *Book) Rates(ctx context.Context, n int) ([]flow.Rate, error) {
	b.rates.mu.Lock()
	defer b.rates.mu.Unlock()
	began := time.Now()
	if began.Before(b.rates.until) && b.rates.n == n {
		return b.rates.list, nil
	}
	all := map[string]*flow.Rate{}
	var order []string
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select flow, $1 - 1 - floor(extract(epoch from date_trunc('minute', now()) - date_trunc('minute', accepted_at)) / 60)::int as minute, count(*),
			       count(*) filter (where state = 'failed' and coalesce(problem->>'code', '') <> $2)
			from work where accepted_at >= date_trunc('minute', now()) - ($1 - 1) * interval '1 minute'
			group by flow, minute order by flow`, n, flow.MissingCode)
		if err != nil {
			return err
		}
		clear(all)
		order = nil
		var name string
		var minute, runs, failed int
		_, err = pgx.ForEachRow(rows, []any{&name, &minute, &runs, &failed}, func() error {
			r := all[name]
			if r == nil {
				r = &flow.Rate{Flow: name, Runs: make([]int, n), Failed: make([]int, n)}
				all[name] = r
				order = append(order, name)
			}
			if minute >= 0 && minute < n { // a clock may go back
				r.Runs[minute], r.Failed[minute] = r.Runs[minute]+runs, r.Failed[minute]+failed
			}
			return nil
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	list := make([]flow.Rate, len(order))
	for i, name := range order {
		list[i] = *all[name]
	}
	now := time.Now()
	b.rates.list, b.rates.n, b.rates.until = list, n, now.Add(max(ratesFor, ratesShare*now.Sub(began)))
	return list, nil
}

// DeadLetters counts those that nobody has decided on, up to a thousand.
func (b *Book) DeadLetters(ctx context.Context) (n int, err error) {
	err = b.store.Read(ctx, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `select count(*) from (select from dead where state = 'dead' limit 1000) as d`).Scan(&n)
	})
	return n, err
}

// Changes gives the versions of flows that came last, the newest first.
func (b *Book) Changes(ctx context.Context, limit int) ([]flow.Change, error) {
	var list []flow.Change
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select p.created_at, p.flow, p.digest, coalesce(c.applied_by, ''), c.flow is not null,
			       not exists (select from plan o where o.flow = p.flow and o.created_at < p.created_at)
			from plan p left join flow_current c on c.flow = p.flow and c.digest = p.digest
			order by p.created_at desc, p.flow limit $1`, limit)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (flow.Change, error) {
			var c flow.Change
			err := row.Scan(&c.At, &c.Flow, &c.Digest, &c.By, &c.InForce, &c.First)
			c.At = c.At.UTC()
			return c, err
		})
		return err
	})
	return list, err
}
