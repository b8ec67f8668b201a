package slot

import (
	"context"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/calendar"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

const (
	mostMissing = 10_000 // slots that one backfill looks at
	span        = 7 * 24 * time.Hour
	shown       = 10 // next slots
)

// Gone are the slots of a flow that were missed lately and that no run took since.
type Gone struct {
	Flow        string
	Count       int64
	First, Last time.Time
	Reason      string // of the last
}

// Slots gives the slots of a flow between two times, both included, the oldest first.
func (l *Ledger) Slots(ctx context.Context, name string, from, to time.Time, limit int) ([]flow.Slot, error) {
	return l.slots(ctx, `where s.flow = $1 and s.at between $2 and $3 order by s.at limit $4`, name, from, to, limit)
}

// Newest gives the last slots of a flow whose time has come, the newest first.
func (l *Ledger) Newest(ctx context.Context, name string, limit int) ([]flow.Slot, error) {
	return l.slots(ctx, `where s.flow = $1 and s.at <= now() order by s.at desc limit $2`, name, limit)
}

// Running gives the slots of a flow whose run is under way, the oldest first.
func (l *Ledger) Running(ctx context.Context, name string) ([]flow.Slot, error) {
	return l.slots(ctx, `where s.flow = $1 and s.outcome = 'running' order by s.at limit 100`, name)
}

func (l *Ledger) slots(ctx context.Context, where string, args ...any) ([]flow.Slot, error) {
	list := []flow.Slot{}
	err := l.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select s.flow, s.at, s.outcome, s.reason, coalesce(s.run_id, ''), coalesce(r.status, ''), s.started_at, s.ended_at,
				coalesce(r.rows, 0), coalesce(r.bytes, 0), s.backfill_at is not null
			from slot s left join slot_run r on r.run_id = s.run_id `+where, args...)
		if err != nil {
			return err
		}
		list, err = pgx.AppendRows(list[:0], rows, func(r pgx.CollectableRow) (flow.Slot, error) {
			var s flow.Slot
			err := r.Scan(&s.Flow, &s.At, &s.Outcome, &s.Reason, &s.RunID, &s.Status, &s.StartedAt, &s.EndedAt, &s.Rows, &s.Bytes, &s.Backfilled)
			s.At = s.At.UTC()
			for _, t := range []*time.Time{s.StartedAt, s.EndedAt} {
				if t != nil {
					*t = t.UTC()
				}
			}
			return s, err
		})
		return err
	})
	return list, err
}

// Rhythm gives a schedule as it stands.
func (l *Ledger) Rhythm(ctx context.Context, name string) (flow.Rhythm, error) {
	s, err := l.Schedule(ctx, name)
	if err != nil {
		return flow.Rhythm{}, err
	}
	times, err := calendar.Compile(s.Schedule)
	if err != nil {
		return flow.Rhythm{}, err
	}
	r := flow.Rhythm{Flow: name, Schedule: s.Schedule, Words: calendar.Words(s.Schedule), Paused: s.Pause, Since: s.Now.Add(-span),
		Next: times.Between(s.Now, s.Now.AddDate(10, 0, 0), shown), Interval: times.Interval(s.Now), Forecast: s.Forecast}
	if r.Open, err = l.Running(ctx, name); err != nil {
		return r, err
	}
	r.Outcomes, err = l.outcomes(ctx, name, r.Since)
	return r, err
}

// Rhythms gives all schedules in force as they stand.
func (l *Ledger) Rhythms(ctx context.Context) ([]flow.Rhythm, error) {
	all, err := l.Schedules(ctx)
	if err != nil {
		return nil, err
	}
	list := []flow.Rhythm{}
	for _, s := range all {
		if s.Dropped {
			continue
		}
		r, err := l.Rhythm(ctx, s.Flow)
		if fault.Is(err, fault.NotFound) { // it was dropped meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

func (l *Ledger) outcomes(ctx context.Context, name string, since time.Time) (map[flow.SlotOutcome]int64, error) {
	counts := map[flow.SlotOutcome]int64{}
	err := l.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `select outcome, count(*) from slot where flow = $1 and at between $2 and now() group by outcome`, name, since)
		if err != nil {
			return err
		}
		clear(counts)
		var outcome string
		var n int64
		_, err = pgx.ForEachRow(rows, []any{&outcome, &n}, func() error { counts[flow.SlotOutcome(outcome)] = n; return nil })
		return err
	})
	return counts, err
}

// Gone gives what was missed in the last week and is missing still, by flow.
func (l *Ledger) Gone(ctx context.Context) ([]Gone, error) {
	var list []Gone
	err := l.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select flow, count(*), min(at), max(at), (array_agg(reason order by at desc))[1]
			from slot where outcome = 'missed' and at > now() - $1::interval group by flow order by flow`, span)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Gone])
		return err
	})
	return list, err
}

// Counts gives how many slots of the last day have which outcome, by flow.
func (l *Ledger) Counts(ctx context.Context) (map[string]map[flow.SlotOutcome]int64, error) {
	counts := map[string]map[flow.SlotOutcome]int64{}
	err := l.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select s.flow, s.outcome, count(*) from slot s join schedule using (flow)
			where s.at between now() - interval '1 day' and now() group by s.flow, s.outcome`)
		if err != nil {
			return err
		}
		clear(counts)
		var name, outcome string
		var n int64
		_, err = pgx.ForEachRow(rows, []any{&name, &outcome, &n}, func() error {
			if counts[name] == nil {
				counts[name] = map[flow.SlotOutcome]int64{}
			}
			counts[name][flow.SlotOutcome(outcome)] = n
			return nil
		})
		return err
	})
	return counts, err
}

func count(n int) string {
	if n == 1 {
		return "1 slot"
	}
	return strconv.Itoa(n) + " slots"
}

func tooMany(name string) error {
	return fault.Invalidf("backfill.size", "the schedule of %s has more than %d slots in that time; choose a shorter one", name, mostMissing)
}
