package paid

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/flow"
)

// mostInquiries is how many of a day are given.
const mostInquiries = 1000

// Day gives what was paid on a day, of all connections; connections are those that state a budget.
// An empty date is today, in UTC.
func (p *Paid) Day(ctx context.Context, date string, connections []flow.Connection) (flow.PaidDay, error) {
	var d flow.PaidDay
	err := p.store.Read(ctx, func(c *pgxpool.Conn) error {
		d = flow.PaidDay{Day: date, Totals: []flow.PaidTotal{}, Inquiries: []flow.Inquiry{}}
		var now time.Time
		if err := c.QueryRow(ctx, `select clock_timestamp()`).Scan(&now); err != nil {
			return err
		}
		if d.Day == "" {
			d.Day = now.UTC().Format(time.DateOnly)
		}
		if err := totals(ctx, c, &d); err != nil {
			return err
		}
		for _, one := range connections {
			if err := p.left(ctx, c, &d, one, now); err != nil {
				return err
			}
		}
		slices.SortFunc(d.Totals, func(a, b flow.PaidTotal) int {
			return cmp.Or(cmp.Compare(a.Connection, b.Connection), cmp.Compare(a.Paid.Currency, b.Paid.Currency))
		})
		return inquiries(ctx, c, &d)
	})
	return d, err
}

func totals(ctx context.Context, c *pgxpool.Conn, d *flow.PaidDay) error {
	rows, err := c.Query(ctx, `
		select connection, currency, coalesce(sum(`+units+`) filter (where state in ('answered', 'spoiled')), 0)::bigint,
		       coalesce(sum(`+units+`) filter (where state in ('asking', 'doubt')), 0)::bigint, count(*)::int,
		       coalesce(sum((select count(*) from paid_use u where u.reference = i.reference and u.run_id <> i.run_id)), 0)::int
		from paid_inquiry i where day = $1::text::date group by connection, currency order by connection, currency`, d.Day)
	if err != nil {
		return err
	}
	var t flow.PaidTotal
	_, err = pgx.ForEachRow(rows, []any{&t.Connection, &t.Paid.Currency, &t.Paid.Units, &t.InDoubt.Units, &t.Inquiries, &t.Reused}, func() error {
		t.InDoubt.Currency = t.Paid.Currency
		d.Totals = append(d.Totals, t)
		return nil
	})
	return err
}

// left puts the budget of a connection beside what was spent of it.
func (p *Paid) left(ctx context.Context, c *pgxpool.Conn, d *flow.PaidDay, one flow.Connection, now time.Time) error {
	if one.Budget == nil {
		return nil
	}
	most := one.Budget.PerDay
	at := -1
	for i, t := range d.Totals {
		if t.Connection == one.Name && t.Paid.Currency == most.Currency {
			at = i
		}
	}
	if at < 0 {
		none := flow.Money{Currency: most.Currency}
		d.Totals, at = append(d.Totals, flow.PaidTotal{Connection: one.Name, Paid: none, InDoubt: none}), len(d.Totals)
	}
	t := &d.Totals[at]
	t.Budget = &most
	today := dayOf(now, *one.Budget, p.speed)
	if today.date != d.Day {
		return nil
	}
	spent := flow.Money{Currency: most.Currency}
	err := c.QueryRow(ctx, `
		select coalesce((select (spent * 10000)::bigint from paid_day where connection = $1 and currency = $2 and day = $3::text::date and part = $4), 0)`,
		one.Name, most.Currency, today.date, today.part).Scan(&spent.Units)
	left := flow.Money{Units: max(most.Units-spent.Units, 0), Currency: most.Currency}
	t.Left, t.Until = &left, now.Add(today.ends).UTC().Format(time.RFC3339)
	return err
}

func inquiries(ctx context.Context, c *pgxpool.Conn, d *flow.PaidDay) error {
	rows, err := c.Query(ctx, `
		select reference, connection, flow, run_id, source, asked_at, `+units+`, currency, state, why, as_of,
		       (select count(*)::int from paid_use u where u.reference = i.reference and u.run_id <> i.run_id),
		       array(select run_id from paid_use u where u.reference = i.reference and u.run_id <> i.run_id order by at, run_id limit 10)
		from paid_inquiry i where day = $1::text::date order by asked_at desc, reference limit $2`, d.Day, mostInquiries+1)
	if err != nil {
		return err
	}
	var i flow.Inquiry
	_, err = pgx.ForEachRow(rows, []any{&i.Reference, &i.Connection, &i.Flow, &i.Run, &i.Source, &i.At, &i.Price.Units, &i.Price.Currency, &i.State, &i.Reason,
		&i.AsOf, &i.Reused, &i.UsedBy}, func() error {
		one := i
		one.At = one.At.UTC()
		if one.AsOf != nil {
			of := one.AsOf.UTC()
			one.AsOf = &of
		}
		if d.More = len(d.Inquiries) == mostInquiries; !d.More {
			d.Inquiries = append(d.Inquiries, one)
		}
		return nil
	})
	return err
}

// Forget erases answers and outputs that nobody may use any more. That they were paid is kept.
func (p *Paid) Forget(ctx context.Context) error {
	return p.store.Tx(ctx, func(tx pgx.Tx) error {
		var batch pgx.Batch
		batch.Queue(`update paid_inquiry set answer = null where answer is not null and keep_until < now()`)
		batch.Queue(`update computed set output = null where output is not null and keep_until < now()`)
		return tx.SendBatch(ctx, &batch).Close()
	})
}
