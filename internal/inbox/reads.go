package inbox

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

// Unread is an event whose record has to be read before it can be decided.
type Unread struct {
	ID      int64
	Flow    string
	Event   flow.Occurrence
	Columns []string // to read
	Tries   int      // before this one
	again   bool     // it is judged again
}

const (
	readLease = 30 * time.Second // after it somebody else tries
	mostReads = 8                // then the event is a dead letter
)

// Unread takes events whose record has to be read, at most limit; nobody else gets
// them for half a minute.
func (x *Inbox) Unread(ctx context.Context, limit int) ([]Unread, error) {
	var list []Unread
	err := x.store.Write(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			update event e set read_at = now() + $2::interval, reads = reads + 1
			from (select id from event where read_at <= now() order by read_at limit $1 for update skip locked) as d
			where e.id = d.id
			returning e.id, e.flow, e.source, e.record, e.change, e.version, e.at, e.before, e.sent, e.origin, e.reads - 1, e.redriven > 0`, limit, readLease)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (Unread, error) {
			var u Unread
			var source string
			var before []byte
			if err := r.Scan(&u.ID, &u.Flow, &source, &u.Event.Record, &u.Event.Change, &u.Event.Version, &u.Event.At, &before, &u.Event.Sent,
				&u.Event.Origin, &u.Tries, &u.again); err != nil {
				return u, err
			}
			u.Event.Connection, u.Event.Table, _ = strings.Cut(source, ".")
			return u, decode(before, &u.Event.Before)
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range list {
		if plan, _, err := x.reacting(ctx, list[i].Flow); err == nil {
			list[i].Columns = watched(plan, list[i].Event.Connection, list[i].Event.Table)
		}
	}
	return list, nil
}

// Learn decides an event by its record as it is now; nil when it is gone.
func (x *Inbox) Learn(ctx context.Context, u Unread, row flow.Row) error {
	plan, judge, err := x.reacting(ctx, u.Flow)
	if err != nil {
		return x.Unreadable(ctx, u, err)
	}
	e := u.Event
	e.After, e.Whole, e.Trimmed = row, true, false
	if row == nil {
		e.Change, e.After = flow.Deleted, nil
	}
	n, err := newEntry(plan, e)
	if err != nil {
		return err
	}
	n.row, n.learned, n.again = u.ID, true, u.again
	_, err = x.commit(ctx, &delivery{plan: plan, judge: judge, entries: []*entry{n}, counts: map[string]int64{}})
	return err
}

// Unreadable notes that a record could not be read: it is tried again later, and
// after eight times, or when another try would not help, the event is a dead letter.
func (x *Inbox) Unreadable(ctx context.Context, u Unread, why error) error {
	f := fault.Of(why)
	if f.Retryable() && u.Tries+1 < mostReads {
		wait := max(f.After, time.Second<<min(u.Tries, 8))
		return x.store.Write(ctx, func(c *pgxpool.Conn) error {
			_, err := c.Exec(ctx, `update event set read_at = now() + $2::interval, detail = $3 where id = $1 and read_at is not null`, u.ID, wait, store.Text(f.Text))
			return err
		})
	}
	return x.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `
			update event set reason = 'dead', clause = $2, detail = $3, decided_at = now(), read_at = null where id = $1 and read_at is not null`,
			u.ID, f.Code, store.Text(f.Text))
		return err
	})
}
