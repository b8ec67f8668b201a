package inbox

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/journal"
)

type (
	// spikes remembers in which mode flows are, for a moment.
	spikes struct {
		mu    sync.Mutex
		known map[string]spiking
	}

	spiking struct {
		mode  flow.SpikeMode
		until time.Time
	}

	// Spike is a flow past what it expects.
	Spike struct {
		Flow     string
		Mode     flow.SpikeMode // empty: it is not past it, or any more
		Since    time.Time
		Received int64      // in the sliding day or month that is the worse
		Expected int64      // of it
		Drained  *time.Time // when what waits is expected to be gone; nil: not known
	}

	// Backlog is what of a flow waits in windows.
	Backlog struct {
		Open   int64      // windows that are open
		Due    int64      // of them, those whose time has come
		Oldest *time.Time // when the oldest was opened
		// Rate is windows a second that became runs in the last minute, or since the first
		// of those that wait came due; 0: that is not known yet.
		Rate float64
		// Drained is when they are expected to be gone, at what the provider of the target
		// takes or at Rate, whichever is slower; nil: not known.
		Drained *time.Time
	}

	// taking is what Options.Forecast gives; nil: no limit is stated.
	taking func(waiting int64) (d time.Duration, tight bool)
)

const lookAgain = 2 * time.Second

// mode gives the mode of a flow's spike plan: none up to what it expects, then each
// of its modes in turn, the first from there on, each next from twice as much as the
// one before. Where the database does not say, nothing is past anything.
func (s *spikes) mode(ctx context.Context, x *Inbox, plan *flow.Plan) flow.SpikeMode {
	r := plan.Reaction
	if len(r.Spike) == 0 || r.Expect == (flow.Expect{}) {
		return ""
	}
	now := time.Now()
	s.mu.Lock()
	known := s.known[plan.Flow]
	s.mu.Unlock()
	if now.Before(known.until) {
		return known.mode
	}
	spike, err := x.measure(ctx, plan) // no other flow waits for it
	if err != nil {
		return known.mode
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[string]spiking{}
	}
	s.known[plan.Flow] = spiking{spike.Mode, now.Add(time.Duration(float64(lookAgain) / min(x.options.Speed, 10)))}
	return spike.Mode
}

// measure compares what came with what was expected, and journals a change of mode in
// the transaction that notes it: once, whichever process sees it first.
func (x *Inbox) measure(ctx context.Context, plan *flow.Plan) (Spike, error) {
	var now Spike
	takes, err := x.taking(ctx, plan)
	if err != nil {
		return now, err
	}
	err = x.store.Tx(ctx, func(tx pgx.Tx) error {
		now = Spike{Flow: plan.Flow}
		if err := lockFlows(ctx, tx, plan.Flow); err != nil {
			return err
		}
		day, month, err := x.received(ctx, tx, plan.Flow)
		if err != nil {
			return err
		}
		now.Mode, now.Received, now.Expected = past(plan.Reaction, day, month)
		var before flow.SpikeMode
		err = tx.QueryRow(ctx, `select coalesce((select mode from spike where flow = $1), '')`, plan.Flow).Scan(&before)
		if err != nil || before == now.Mode {
			return err
		}
		return x.turn(ctx, tx, before, &now, takes)
	})
	return now, err
}

// past gives the mode for what came in a day and a month.
func past(r *flow.Reaction, day, month int64) (mode flow.SpikeMode, received, expected int64) {
	received, expected = day, r.Expect.PerDay
	if r.Expect.PerMonth > 0 && (expected == 0 || month*expected > day*r.Expect.PerMonth) {
		received, expected = month, r.Expect.PerMonth
	}
	if expected == 0 {
		return "", received, expected
	}
	for i, m := range r.Spike {
		if received > expected<<i {
			mode = m
		}
	}
	return mode, received, expected
}

// received counts what came in the last day and month, without repeats.
func (x *Inbox) received(ctx context.Context, tx pgx.Tx, name string) (day, month int64, err error) {
	span := func(days float64) time.Duration {
		return time.Duration(days * 24 * float64(time.Hour) / x.options.Speed)
	}
	err = tx.QueryRow(ctx, `
		select coalesce(sum(case when stage = 'duplicate' then -n else n end) filter (where at > now() - $2::interval), 0),
		       coalesce(sum(case when stage = 'duplicate' then -n else n end), 0)
		from funnel where flow = $1 and stage in ('received', 'duplicate') and at > now() - $3::interval`, name, span(1), span(30)).Scan(&day, &month)
	return day, month, err
}

// turn notes a change of mode.
func (x *Inbox) turn(ctx context.Context, tx pgx.Tx, before flow.SpikeMode, now *Spike, takes taking) error {
	b, err := backlog(ctx, tx, now.Flow, takes)
	if err != nil {
		return err
	}
	detail := map[string]any{"from": string(before), "to": string(now.Mode), "received": now.Received, "expected": now.Expected, "waiting": b.Open}
	if now.Drained = b.Drained; now.Drained != nil {
		detail["drained_at"] = now.Drained.Format(time.RFC3339)
	}
	if now.Mode == "" {
		_, err = tx.Exec(ctx, `delete from spike where flow = $1`, now.Flow)
	} else {
		_, err = tx.Exec(ctx, `
			insert into spike (flow, mode, received, expected, drained) values ($1, $2, $3, $4, $5)
			on conflict (flow) do update set mode = excluded.mode, since = now(), received = excluded.received,
				expected = excluded.expected, drained = excluded.drained`, now.Flow, string(now.Mode), now.Received, now.Expected, now.Drained)
	}
	if err != nil {
		return err
	}
	return journal.Write(ctx, tx, journal.Entry{Flow: now.Flow, Run: "spike/" + now.Flow, What: "spike", Reason: journal.Spike,
		Keys: []string{now.Flow}, Detail: detail})
}

// Backlog measures what of a flow waits.
func (x *Inbox) Backlog(ctx context.Context, name string) (Backlog, error) {
	var b Backlog
	plan, _, err := x.plans.Current(ctx, name)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return b, err
	}
	var takes taking
	if err == nil {
		if takes, err = x.taking(ctx, plan); err != nil {
			return b, err
		}
	}
	err = x.store.Read(ctx, func(c *pgxpool.Conn) error {
		var err error
		b, err = backlog(ctx, c, name, takes)
		return err
	})
	return b, err
}

func (x *Inbox) taking(ctx context.Context, plan *flow.Plan) (taking, error) {
	if x.options.Forecast == nil {
		return nil, nil
	}
	return x.options.Forecast(ctx, plan)
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// leastSpan is what a rate is measured over at least.
const leastSpan = 2 * time.Second

// backlog counts. What became runs before anything waited tells how much came, and not
// how much could go.
func backlog(ctx context.Context, q querier, name string, takes taking) (Backlog, error) {
	var b Backlog
	var now time.Time
	var span float64
	err := q.QueryRow(ctx, `
		with open as (
			select count(*) as n, count(*) filter (where due_at <= now() or throttled) as due, min(opened_at) as oldest,
			       greatest(min(due_at), now() - interval '1 minute') as since
			from change_window where flow = $1 and frozen_at is null
		)
		select n, due, oldest, now(), coalesce(extract(epoch from now() - since), 0)::float8,
		       (select count(*) from change_window where flow = $1 and outcome = 'run' and frozen_at > since)::float8
		from open`, name).Scan(&b.Open, &b.Due, &b.Oldest, &now, &span, &b.Rate)
	if err != nil {
		return b, err
	}
	if b.Rate /= max(span, leastSpan.Seconds()); span < leastSpan.Seconds() {
		b.Rate = 0
	}
	b.Drained = drained(b, takes, now)
	return b, nil
}

// drained is when what waits is gone.
func drained(b Backlog, takes taking, now time.Time) *time.Time {
	var d time.Duration
	var tight bool
	if takes != nil {
		d, tight = takes(b.Open)
	}
	switch {
	case b.Rate > 0 && !tight:
		d = max(d, time.Duration(float64(b.Open)/b.Rate*float64(time.Second)))
	case takes == nil:
		return nil
	}
	at := now.Add(d).UTC()
	return &at
}

// Spikes gives the flows that are past what they expect.
func (x *Inbox) Spikes(ctx context.Context) ([]Spike, error) {
	var list []Spike
	err := x.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `select flow, mode, since, received, expected, drained from spike order by flow`)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (Spike, error) {
			var s Spike
			err := r.Scan(&s.Flow, &s.Mode, &s.Since, &s.Received, &s.Expected, &s.Drained)
			return s, err
		})
		return err
	})
	return list, err
}
