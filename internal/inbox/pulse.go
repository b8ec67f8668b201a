package inbox

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/flow"
)

const (
	// beats is how many intervals a pulse tells of.
	beats = 60
	// mostCounted bounds the windows of a pulse whose runs are looked up.
	mostCounted = 20_000
)

// Pulse gives an event flow as it stands, over the last hour; less where time is sped
// up.
func (x *Inbox) Pulse(ctx context.Context, plan *flow.Plan) (flow.Pulse, error) {
	bucket := x.bucket()
	p := flow.Pulse{Flow: plan.Flow, Bucket: bucket, Stages: map[string]int64{}, Runs: map[flow.Status]int64{}}
	if plan.Reaction == nil {
		return p, nil
	}
	p.Expected = x.expected(plan.Reaction.Expect, bucket)
	takes, err := x.taking(ctx, plan)
	if err != nil {
		return p, err
	}
	var now time.Time
	ticks := map[time.Time]*flow.Tick{}
	tick := func(at time.Time) *flow.Tick {
		if ticks[at.UTC()] == nil {
			ticks[at.UTC()] = &flow.Tick{At: at.UTC()}
		}
		return ticks[at.UTC()]
	}
	feeds := map[string]*flow.Feed{}
	for _, source := range sourcesOf(plan) {
		feeds[source] = &flow.Feed{Source: source}
	}
	err = x.store.Read(ctx, func(c *pgxpool.Conn) error {
		var batch pgx.Batch
		span := bucket * (beats - 1)
		batch.Queue(`select date_bin($1::interval, now(), '2000-01-01')`, bucket).QueryRow(func(r pgx.Row) error { return r.Scan(&now) })
		batch.Queue(`select at, stage, n from funnel where flow = $1 and at >= date_bin($3::interval, now(), '2000-01-01') - $2::interval`,
			plan.Flow, span, bucket).Query(func(rows pgx.Rows) error {
			var at time.Time
			var stage string
			var n int64
			_, err := pgx.ForEachRow(rows, []any{&at, &stage, &n}, func() error {
				p.Stages[stage] += n
				switch stage {
				case stageReceived:
					tick(at).Received += n
				case stageDuplicate:
					tick(at).Received -= n
				}
				return nil
			})
			return err
		})
		batch.Queue(`
			select date_bin($3::interval, w.frozen_at, '2000-01-01'), coalesce(r.state, 'accepted'), count(*) from (
				select run_id, frozen_at from change_window
				where flow = $1 and outcome = 'run' and frozen_at >= date_bin($3::interval, now(), '2000-01-01') - $2::interval
				order by frozen_at desc limit $4
			) w left join work r on r.run_id = w.run_id group by 1, 2`, plan.Flow, span, bucket, mostCounted).Query(func(rows pgx.Rows) error {
			var at time.Time
			var status flow.Status
			var n int64
			_, err := pgx.ForEachRow(rows, []any{&at, &status, &n}, func() error {
				tick(at).Ran += n
				p.Runs[status] += n
				return nil
			})
			return err
		})
		batch.Queue(`
			select count(*), count(*) filter (where due_at <= now() or throttled), count(*) filter (where throttled), min(opened_at),
			       (select count(*) from change_window where flow = $1 and outcome = 'run' and frozen_at > now() - interval '1 minute')::float8 / 60
			from change_window where flow = $1 and frozen_at is null`, plan.Flow).QueryRow(func(r pgx.Row) error {
			return r.Scan(&p.Open, &p.Due, &p.Held, &p.Oldest, &p.RunRate)
		})
		batch.Queue(`select source, swept_at, due_at, problem from cursor where flow = $1`, plan.Flow).Query(func(rows pgx.Rows) error {
			var f flow.Feed
			_, err := pgx.ForEachRow(rows, []any{&f.Source, &f.SweptAt, &f.SweepAt, &f.Problem}, func() error {
				if at := feeds[f.Source]; at != nil && plan.Reaction.Sweep > 0 {
					*at = f
				}
				return nil
			})
			return err
		})
		for source := range feeds {
			// The newest of all are looked at: an index by source would be paid for by every event.
			batch.Queue(`select max(received_at) from (select flow, source, received_at from event order by received_at desc limit 5000) as e
				where flow = $1 and source = $2`, plan.Flow, source).QueryRow(func(r pgx.Row) error { return r.Scan(&feeds[source].Last) })
		}
		batch.Queue(`select mode, since, received, expected, drained from spike where flow = $1`, plan.Flow).Query(func(rows pgx.Rows) error {
			s := flow.Spiking{Flow: plan.Flow}
			_, err := pgx.ForEachRow(rows, []any{&s.Mode, &s.Since, &s.Received, &s.Expected, &s.Drained}, func() error { p.Spike = &s; return nil })
			return err
		})
		batch.Queue(`select count(*) from (select from event where flow = $1 and reason in ('rejected', 'dead') and dismissed_at is null limit 10000) as e`, plan.Flow).
			QueryRow(func(r pgx.Row) error { return r.Scan(&p.Troubles) })
		return c.SendBatch(ctx, &batch).Close()
	})
	if err != nil {
		return p, err
	}
	p.Since = now.Add(-bucket * (beats - 1)).UTC()
	for i := range beats {
		p.Ticks = append(p.Ticks, *tick(p.Since.Add(bucket * time.Duration(i))))
	}
	for _, source := range sourcesOf(plan) {
		p.Sources = append(p.Sources, *feeds[source])
	}
	forecast(&p, plan.Reaction.Throttle, takes)
	return p, nil
}

// expected is how many events of an interval a flow expects.
func (x *Inbox) expected(e flow.Expect, bucket time.Duration) float64 {
	day := float64(24*time.Hour) / x.options.Speed
	switch {
	case e.PerDay > 0:
		return float64(e.PerDay) * float64(bucket) / day
	case e.PerMonth > 0:
		return float64(e.PerMonth) / 30 * float64(bucket) / day
	}
	return 0
}

// forecast says when what waits is gone: at the rate of the throttle where it is what
// holds them back, else at that of the last minute, and not before the provider of the
// target has taken all of it. While that is what they wait for, the last minute tells
// nothing.
func forecast(p *flow.Pulse, t *flow.Throttle, takes taking) {
	if p.Due == 0 {
		return
	}
	throttled := p.Held > 0 && t != nil && t.By == "" && t.Rate > 0
	if throttled {
		p.RunRate, p.Limited = float64(t.Rate)/t.Per.Seconds(), "the throttle"
	}
	var least, d time.Duration
	var tight bool
	if takes != nil {
		least, tight = takes(p.Due)
	}
	if p.RunRate > 0 && (throttled || !tight) {
		d = time.Duration(float64(p.Due) / p.RunRate * float64(time.Second))
	}
	if least > d {
		d, p.Limited = least, "what its provider takes"
	}
	if d > 0 {
		at := time.Now().Add(d).UTC()
		p.Drained = &at
	}
}
