package replica

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/flow"
)

// Received tells up to which batch of another region a table was received.
func (r *Replica) Received(ctx context.Context, p Place, from, table string) (upto int64, err error) {
	if _, err := tableOf(p, table); err != nil {
		return 0, err
	}
	err = r.store.Read(ctx, func(c *pgxpool.Conn) error {
		err := c.QueryRow(ctx, `
			select d.upto from replica_received d join replica_table t on t.id = d.tbl where t.flow = $1 and t.name = $2 and d.peer = $3`,
			p.Flow, table, from).Scan(&upto)
		if errors.Is(err, pgx.ErrNoRows) {
			upto, err = 0, nil
		}
		return err
	})
	return upto, err
}

// Receive takes the deltas of batches of another region, in their order, the last of
// which is upto. What was received before is nothing new; an upto that was passed changes
// nothing. The orders are those of what became pending by it that are simple, as Pending
// would give them: whoever carries them out at once spares reading them again, and they are
// none any more once somebody else may have written (see Writing.Follows).
func (r *Replica) Receive(ctx context.Context, p Place, from, table string, deltas []flow.Delta, upto int64) (Counts, []Order, error) {
	var counts Counts
	var orders []Order
	err := r.store.Tx(ctx, func(tx pgx.Tx) error {
		t, err := r.open(ctx, tx, p, table)
		if err != nil {
			return err
		}
		counts, orders = Counts{}, nil
		stamp := int64(0)
		for i := range deltas {
			stamp = max(stamp, latest(&deltas[i]))
		}
		tag, err := tx.Exec(ctx, `
			insert into replica_received as d (tbl, peer, upto, at, stamp) values ($1, $2, $3, clock_timestamp(), $4)
			on conflict (tbl, peer) do update set upto = excluded.upto, at = excluded.at, stamp = greatest(d.stamp, excluded.stamp) where d.upto < excluded.upto`,
			t.id, from, upto, stamp)
		if err != nil || tag.RowsAffected() == 0 || len(deltas) == 0 {
			return err
		}
		counts.Changes = int64(len(deltas))
		if t.restored != nil {
			if err := t.pass(ctx, tx, from, deltas, upto); err != nil {
				return err
			}
		}
		orders, err = t.receive(ctx, tx, from, deltas, &counts)
		return err
	})
	if err != nil {
		return counts, nil, err
	}
	return counts, orders, nil
}

// latest is the greatest stamp of a delta.
func latest(d *flow.Delta) (stamp int64) {
	for i := range d.Cells {
		stamp = max(stamp, d.Cells[i].Version.Stamp)
	}
	if d.Gone != nil {
		stamp = max(stamp, d.Gone.Stamp)
	}
	if d.Moved != nil {
		stamp = max(stamp, d.Moved.Stamp)
	}
	return stamp
}

func (t *table) receive(ctx context.Context, tx pgx.Tx, from string, deltas []flow.Delta, counts *Counts) ([]Order, error) {
	keys := make([]string, len(deltas))
	for i, d := range deltas {
		if len(d.Key) != len(t.flow.Key) || d.Was != nil && len(d.Was) != len(t.flow.Key) || d.Cells != nil && len(d.Cells) != len(t.flow.Columns) {
			return nil, misshapen(t.flow)
		}
		if keys[i] = joinKey(d.Key); d.Was != nil {
			keys[i] = joinKey(d.Was)
		}
	}
	s, err := t.take(ctx, tx, keys, []string{})
	if err != nil {
		return nil, err
	}
	var clashes []clashed
	for _, d := range deltas {
		rec := s.told(d)
		out, decided, changed := t.alg.receive(rec, d)
		if changed {
			rec.dirty = true
			if out == "" && rec.base == nil {
				out = flow.SyncUnchanged // our system holds it already
			}
		}
		if out != "" {
			counts.add(out)
		}
		for _, c := range decided {
			clashes = append(clashes, clashed{rec, c})
		}
	}
	if err := t.gather(ctx, tx, s); err != nil {
		return nil, err
	}
	added, due, err := t.keep(ctx, tx, s)
	if err == nil {
		err = t.opens(ctx, tx, s, from)
	}
	if err != nil {
		return nil, err
	}
	counts.Pending = due
	if added > 0 {
		if _, err := tx.Exec(ctx, `update replica_table set records = records + $2 where id = $1`, t.id, added); err != nil {
			return nil, err
		}
	}
	return t.simple(s), t.decided(ctx, tx, clashes)
}

// alike reports whether an order may be settled together with others of its transaction: nothing
// has to be looked at but the record.
func (t *table) alike(s *shelf, o *Order) bool {
	return !o.Delete && !o.Check && o.Was == nil && !o.held && !(o.Create && s.occupied(joinKey(o.Key), o.uid))
}

// simple gives the orders of what this transaction made pending, as it is kept now, but
// for those of which more has to be looked at than the record.
func (t *table) simple(s *shelf) []Order {
	var orders []Order
	for _, r := range s.order {
		if !r.dirty || r.written != t.rev && !r.ranged || r.base == nil {
			continue
		}
		var o Order
		if r.order != nil {
			o = *r.order
		} else if o = t.alg.order(r); !t.alike(s, &o) {
			continue
		}
		o.rev, o.seen, o.alike, o.Since = t.rev, t.seenOf(r), true, time.UnixMicro(t.now)
		if r.ranged {
			o.rev, o.seen, o.span = t.span, t.span, t.spanned
		}
		orders = append(orders, o)
	}
	return orders
}
