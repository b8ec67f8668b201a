package alert

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

type (
	// Kind is what alerts are about. Those of one kind are found together.
	Kind string

	// Finding is one thing that is wrong now.
	Finding struct {
		Flow   string // empty: of no single flow
		Code   string
		Text   string // what is wrong, a sentence that is safe to show
		Sample string // one that it is about, safe to show
		Link   string // path of the console's page of it
		Count  int64  // how often; 0: once more than before
		First  time.Time
		Last   time.Time // zero: now
		Once   bool      // people are told of it once, and not again while it lasts
	}

	// Board knows what is wrong. It is safe for concurrent use.
	Board struct {
		store *store.Store
		speed float64
	}
)

// The kinds of alerts.
const (
	Events   Kind = "events"   // events that were rejected or are dead
	Letters  Kind = "letters"  // dead letters
	Repairs  Kind = "repairs"  // what services wrote and nobody took back
	Topics   Kind = "topics"   // business events that expired or are dead
	Spike    Kind = "spike"    // a flow past what it expects
	Sweeps   Kind = "sweeps"   // a sweep that does not come to its end
	Conflict Kind = "conflict" // hook.id_conflict
	Canary   Kind = "canary"   // a leg of the canary that is down

	Regions     Kind = "regions"     // synchronizations that are late, stopped or wait for a person
	Drift       Kind = "drift"       // systems that are not what flows go by any more
	Credentials Kind = "credentials" // credentials and certificates that end soon

	Schedules Kind = "schedules" // silent schedules, missed slots, runs that fill their interval
)

const (
	// grace is how long a finding has to be missing before it is over: another process
	// may see it still.
	grace = 15 * time.Second
	// quiet is how long after it happened last something that has no end is over.
	quiet = time.Hour
	// kept is how long what is over is remembered.
	kept = 30 * 24 * time.Hour
)

// New gives the board of a store. speed divides durations; 0 and 1 are real time.
func New(s *store.Store, speed float64) *Board {
	if speed <= 0 {
		speed = 1
	}
	return &Board{store: s, speed: speed}
}

func (b *Board) scaled(d time.Duration) time.Duration {
	return max(time.Duration(float64(d)/b.speed), 100*time.Millisecond)
}

// Found keeps what is wrong of a kind now: what is new becomes an alert, what is known
// is counted, and what is missing for a while is over.
func (b *Board) Found(ctx context.Context, kind Kind, list []Finding) error {
	return b.store.Tx(ctx, func(tx pgx.Tx) error {
		if err := keep(ctx, tx, kind, list); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `update alert set resolved_at = now() where kind = $1 and resolved_at is null and seen_at < now() - $2::interval`,
			string(kind), b.scaled(grace))
		return err
	})
}

// Happened keeps something that has no end of its own: it is over when it did not
// happen again for an hour.
func (b *Board) Happened(ctx context.Context, kind Kind, f Finding) error {
	return b.store.Tx(ctx, func(tx pgx.Tx) error { return keep(ctx, tx, kind, []Finding{f}) })
}

// Lapse ends the alerts of a kind that has no end of its own and that did not happen
// again, and forgets what is over for a month.
func (b *Board) Lapse(ctx context.Context, kind Kind) error {
	return b.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `update alert set resolved_at = now() where kind = $1 and resolved_at is null and seen_at < now() - $2::interval`,
			string(kind), b.scaled(quiet))
		if err != nil {
			return err
		}
		_, err = c.Exec(ctx, `delete from alert where id in (select id from alert where resolved_at < now() - $1::interval limit 1000)`, b.scaled(kept))
		return err
	})
}

func keep(ctx context.Context, tx pgx.Tx, kind Kind, list []Finding) error {
	var batch pgx.Batch
	for _, f := range list {
		var first, last *time.Time
		if !f.First.IsZero() {
			first = &f.First
		}
		if !f.Last.IsZero() {
			last = &f.Last
		}
		batch.Queue(`
			insert into alert (flow, kind, code, text, sample, link, count, first_at, last_at, once)
			values ($1, $2, $3, $4, $5, $6, greatest($7, 1), coalesce($8, now()), coalesce($9, now()), $10)
			on conflict (flow, kind, code) where resolved_at is null do update
			set text = excluded.text, sample = excluded.sample, link = excluded.link, once = excluded.once, seen_at = now(), last_at = excluded.last_at,
				count = case when $7 = 0 then alert.count + 1 else $7 end`,
			store.Text(f.Flow), string(kind), store.Text(f.Code), store.Text(f.Text), store.Text(f.Sample), store.Text(f.Link), f.Count, first, last, f.Once)
	}
	return tx.SendBatch(ctx, &batch).Close()
}

// Open gives what is wrong now, the oldest first.
func (b *Board) Open(ctx context.Context) ([]flow.Alert, error) {
	var list []flow.Alert
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, alerts+`where resolved_at is null order by first_at, id limit 200`)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, one)
		return err
	})
	return list, err
}

const alerts = `select id, flow, kind, code, text, sample, link, count, first_at, last_at, told, resolved_at from alert `

func one(r pgx.CollectableRow) (flow.Alert, error) {
	var a flow.Alert
	err := r.Scan(&a.ID, &a.Flow, &a.Kind, &a.Code, &a.Text, &a.Sample, &a.Link, &a.Count, &a.First, &a.Last, &a.Told, &a.Resolved)
	a.First, a.Last = a.First.UTC(), a.Last.UTC()
	return a, err
}

// Apply puts rules in force: who is told.
func (b *Board) Apply(ctx context.Context, rules flow.Alerting) error {
	body, err := json.Marshal(rules)
	if err != nil {
		return fault.New(fault.Bug, "alert.rules", "the rules of alerts cannot be encoded", err)
	}
	return b.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `insert into alerting (rules) values ($1) on conflict (only_one) do update set rules = excluded.rules`, body)
		return err
	})
}

// Rules gives the rules in force; the zero value tells nobody but the console.
func (b *Board) Rules(ctx context.Context) (flow.Alerting, error) {
	var rules flow.Alerting
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		var body []byte
		err := c.QueryRow(ctx, `select coalesce((select rules from alerting), '{}')`).Scan(&body)
		if err != nil {
			return err
		}
		return json.Unmarshal(body, &rules)
	})
	return rules, err
}
