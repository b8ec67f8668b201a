package slot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/calendar"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

type (
	// Ledger knows the slots of schedules. It is safe for concurrent use.
	Ledger struct {
		store *store.Store
	}

	// Entry is a flow with its schedule.
	Entry struct {
		Flow     string
		Schedule flow.Schedule
	}

	// Standing is a schedule as the ledger has it.
	Standing struct {
		Entry
		Since   time.Time
		Made    string // digest of what Temporal's was last made of; see Entry.Digest
		Dropped bool   // Temporal's is to be removed
		Told    bool   // Temporal knows whether it is paused
		Pause   *flow.Pause
		Silent  *time.Time // the first slot that nothing started or explained
		Nudged  *time.Time
		Now     time.Time // by the clock of the database
		// Forecast is the last that was made; nil: too little is known.
		Forecast *flow.Forecast
	}
)

// New gives the ledger of a store.
func New(s *store.Store) *Ledger { return &Ledger{store: s} }

// Digest names a schedule by what it says.
func (e Entry) Digest() string {
	body, err := json.Marshal(e)
	if err != nil {
		panic("slot: a schedule that cannot be encoded: " + err.Error())
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// Apply puts schedules in force: those of the list and no others. One that is new
// begins paused where its file says so or held is not empty, for that reason; a pause
// that the file asks for, or no longer asks for, is carried out when the file changes.
// Whoever holds a schedule keeps it held.
func (l *Ledger) Apply(ctx context.Context, list []Entry, by, held string) error {
	return l.store.Tx(ctx, func(tx pgx.Tx) error {
		names := make([]string, len(list))
		for i, e := range list {
			names[i] = e.Flow
			if err := put(ctx, tx, e, by, held); err != nil {
				return fmt.Errorf("putting the schedule of %s in force: %w", e.Flow, err)
			}
		}
		_, err := tx.Exec(ctx, `update schedule set dropped_at = now() where dropped_at is null and not (flow = any ($1))`, names)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `delete from slot where outcome = 'expected' and at > now() and flow in (select flow from schedule where dropped_at is not null)`)
		return err
	})
}

func put(ctx context.Context, tx pgx.Tx, e Entry, by, held string) error {
	body, err := json.Marshal(e.Schedule)
	if err != nil {
		return fault.New(fault.Bug, "slot.schedule", "a schedule cannot be encoded", err)
	}
	var before []byte
	var dropped bool
	err = tx.QueryRow(ctx, `select spec, dropped_at is not null from schedule where flow = $1 for update`, e.Flow).Scan(&before, &dropped)
	reason := e.Schedule.Paused
	switch {
	case errors.Is(err, pgx.ErrNoRows), err == nil && dropped:
		if held != "" {
			reason = held
		}
		_, err = tx.Exec(ctx, `
			insert into schedule (flow, spec, since, filled_to) values ($1, $2, now(), now())
			on conflict (flow) do update set spec = excluded.spec, since = now(), filled_to = now(), made = '', dropped_at = null, silent_at = null, nudged_at = null, forecast = null`,
			e.Flow, body)
		if err == nil {
			_, err = tx.Exec(ctx, `update schedule_pause set until = now() where flow = $1 and until is null`, e.Flow)
		}
		if err != nil || reason == "" {
			return err
		}
		return pause(ctx, tx, e.Flow, by, reason, false)
	case err != nil:
		return err
	}
	var was flow.Schedule
	if err := json.Unmarshal(before, &was); err != nil {
		return fault.New(fault.Bug, "slot.schedule", "a schedule cannot be read", err)
	}
	switch {
	case was.Paused == reason:
	case reason != "":
		err = pause(ctx, tx, e.Flow, by, reason, false)
	default:
		err = resume(ctx, tx, e.Flow, false)
	}
	if err != nil || (Entry{e.Flow, was}).Digest() == e.Digest() {
		return err
	}
	if _, err = tx.Exec(ctx, `delete from slot where flow = $1 and outcome = 'expected' and at > now()`, e.Flow); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `update schedule set spec = $2, since = now(), filled_to = now(), made = '' where flow = $1`, e.Flow, body)
	return err
}

const standings = `
	select s.flow, s.spec, s.since, s.made, s.dropped_at is not null, s.told, s.silent_at, s.nudged_at, now(), s.forecast, p.since, p.by, p.reason
	from schedule s left join schedule_pause p on p.flow = s.flow and p.until is null `

// Schedules gives those in force, and those whose Temporal schedule is to be removed,
// by name.
func (l *Ledger) Schedules(ctx context.Context) ([]Standing, error) {
	var list []Standing
	err := l.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, standings+`order by s.flow`)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, standing)
		return err
	})
	return list, err
}

// Schedule gives one that is in force; NotFound "schedule.not_found" when the flow has
// none.
func (l *Ledger) Schedule(ctx context.Context, name string) (Standing, error) {
	var s Standing
	err := l.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, standings+`where s.flow = $1 and s.dropped_at is null`, name)
		if err != nil {
			return err
		}
		s, err = pgx.CollectExactlyOneRow(rows, standing)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return s, unknown(name)
	}
	return s, err
}

func unknown(name string) error {
	return fault.NotFoundf("schedule.not_found", "the flow %s has no schedule in force", name)
}

func standing(r pgx.CollectableRow) (Standing, error) {
	var s Standing
	var body, foreseen []byte
	var since *time.Time
	var by, reason *string
	err := r.Scan(&s.Flow, &body, &s.Since, &s.Made, &s.Dropped, &s.Told, &s.Silent, &s.Nudged, &s.Now, &foreseen, &since, &by, &reason)
	if err != nil {
		return s, err
	}
	if foreseen != nil {
		s.Forecast = new(flow.Forecast)
		if err := json.Unmarshal(foreseen, s.Forecast); err != nil {
			return s, err
		}
	}
	if since != nil {
		s.Pause = &flow.Pause{Since: since.UTC(), By: *by, Reason: *reason}
	}
	s.Since, s.Now = s.Since.UTC(), s.Now.UTC()
	return s, json.Unmarshal(body, &s.Schedule)
}

// Made notes what Temporal's schedule was made of, and that it knows whether it is
// paused. What is put in force for the first time, or anew, is expected from then on:
// what came before Temporal knew of it was nobody's to start. What Temporal had lost
// goes on, and its slots stay expected.
func (l *Ledger) Made(ctx context.Context, e Entry, from time.Time) error {
	return l.store.Tx(ctx, func(tx pgx.Tx) error {
		var before string
		err := tx.QueryRow(ctx, `select made from schedule where flow = $1 and dropped_at is null for update`, e.Flow).Scan(&before)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if before == "" {
			_, err = tx.Exec(ctx, `
				delete from slot where flow = $1 and outcome = 'expected' and backfill_at is null
					and at > (select since from schedule where flow = $1) and at <= $2`, e.Flow, from)
			if err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, `
			update schedule set made = $2, told = true, since = case when made = '' then greatest(since, $3) else since end,
				filled_to = case when made = '' then greatest(filled_to, $3) else filled_to end
			where flow = $1`, e.Flow, e.Digest(), from)
		return err
	})
}

// lost is in the place of a digest when Temporal does not have what it had.
const lost = "lost"

// Unmade notes that Temporal does not have the schedule as it was made.
func (l *Ledger) Unmade(ctx context.Context, name string) error {
	return l.one(ctx, `update schedule set made = $2 where flow = $1 and made <> ''`, name, lost)
}

// Removed forgets a schedule whose Temporal schedule is gone; its slots stay.
func (l *Ledger) Removed(ctx context.Context, name string) error {
	return l.one(ctx, `delete from schedule where flow = $1 and dropped_at is not null`, name)
}

// Silence notes the first slot that nothing started or explained; nil: it speaks again.
func (l *Ledger) Silence(ctx context.Context, name string, at *time.Time, nudged bool) error {
	return l.one(ctx, `
		update schedule set silent_at = $2, nudged_at = case when $3 then now() when $2 is null then null else nudged_at end
		where flow = $1 and (silent_at is distinct from $2 or $3)`, name, at, nudged)
}

// one executes one statement that may be repeated.
func (l *Ledger) one(ctx context.Context, sql string, args ...any) error {
	return l.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, sql, args...)
		return err
	})
}

// lateAfter is how long after its time a run may begin before it is late, besides
// jitter.
func lateAfter(gap time.Duration) time.Duration {
	return min(max(gap/10, 5*time.Second), time.Minute)
}

// dueBy is when a slot has to have begun.
func dueBy(t *calendar.Times, at time.Time) time.Time {
	gap := t.Gap(at)
	return at.Add(min(t.Jitter, max(gap, 0)) + lateAfter(gap))
}
