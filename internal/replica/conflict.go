package replica

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
)

// Conflicts lists conflicts, the newest first.
func (r *Replica) Conflicts(ctx context.Context, p Place, f HeldFilter) ([]Held, error) {
	if f.Most == 0 {
		f.Most = 100
	}
	var out []Held
	err := r.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select c.id, t.name, c.uid, c.col, c.rule, c.opened_at, c.decided_at, c.decided_by, c.cells, c.winner
			from replica_conflict c join replica_table t on t.id = c.tbl
			where t.flow = $1 and ($2 = '' or t.name = $2) and (not $3 or c.decided_at is null) and ($4 = 0 or c.id < $4)
			order by c.id desc limit $5`, p.Flow, f.Table, f.Open, f.After, f.Most)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, heldFrom)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, r.fill(ctx, p, out)
}

func heldFrom(row pgx.CollectableRow) (Held, error) {
	h := Held{Local: -1}
	var uid string
	var rule, cells, winner []byte
	var decided *time.Time
	err := row.Scan(&h.ID, &h.Table, &uid, &h.Column, &rule, &h.OpenedAt, &decided, &h.DecidedBy, &cells, &winner)
	if err != nil {
		return h, err
	}
	h.Key, h.Ref, h.uid = splitKey(uid), refOf(uid), uid
	if decided != nil {
		h.DecidedAt = *decided
	}
	err = json.Unmarshal(rule, &h.Rule)
	if cells != nil && err == nil {
		err = json.Unmarshal(cells, &h.Values)
	}
	if winner != nil && err == nil {
		err = json.Unmarshal(winner, &h.Winner)
	}
	return h, err
}

// fill gives open conflicts the values that are held, which the records have, and all the
// keys that the records have now.
func (r *Replica) fill(ctx context.Context, p Place, all []Held) error {
	byTable := map[string][]string{}
	for _, h := range all {
		byTable[h.Table] = append(byTable[h.Table], h.uid)
	}
	for name, uids := range byTable { // each fills its own
		if p.Sync.Table(name) == nil {
			continue // of an earlier plan
		}
		if err := r.look(ctx, p, name, uids, func(t *table, s *shelf) error {
			for i := range all {
				if h := &all[i]; h.Table == name && s.byUID[h.uid] != nil {
					t.fill(h, s.byUID[h.uid])
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func (t *table) fill(h *Held, rec *record) {
	h.Key = rec.key
	i := t.column(h.Column)
	if i < 0 || !h.DecidedAt.IsZero() {
		return
	}
	h.Values = rec.writings(i)
	for j, c := range h.Values {
		if rec.base != nil && Same(t.flow.Columns[i].Type, c.Value, rec.base.cells[i].Value) {
			h.Local = j
			break
		}
	}
}

func (t *table) column(name string) int {
	for i, c := range t.flow.Columns {
		if c.Name == name {
			return i
		}
	}
	return -1
}

// look reads records without the lock on their table. It may make their layout.
func (r *Replica) look(ctx context.Context, p Place, name string, keys []string, fn func(*table, *shelf) error) error {
	return r.store.Tx(ctx, func(tx pgx.Tx) error {
		t, err := r.open(ctx, tx, p, name)
		if err != nil {
			return err
		}
		s, err := t.take(ctx, tx, keys, []string{})
		if err != nil {
			return err
		}
		return fn(t, s)
	})
}

// Decide carries out a person's decision: a writing of our region that knows all that is
// held. It goes to the other regions and to our own target.
func (r *Replica) Decide(ctx context.Context, p Place, c Choice) error {
	return r.store.Tx(ctx, func(tx pgx.Tx) error {
		var name, uid, column string
		err := tx.QueryRow(ctx, `
			select t.name, c.uid, c.col from replica_conflict c join replica_table t on t.id = c.tbl
			where c.id = $1 and t.flow = $2 and c.decided_at is null`, c.ID, p.Flow).Scan(&name, &uid, &column)
		if errors.Is(err, pgx.ErrNoRows) {
			return fault.New(fault.Conflict, CodeDecided, "there is no such conflict, or it was decided", nil)
		}
		if err != nil {
			return err
		}
		t, err := r.open(ctx, tx, p, name)
		if err != nil {
			return err
		}
		s, err := t.take(ctx, tx, []string{uid}, []string{})
		if err != nil {
			return err
		}
		rec, i := s.byUID[uid], t.column(column)
		if rec == nil || i < 0 || !t.alg.held(rec, i) {
			return fault.New(fault.Conflict, CodeDecided, "nothing is held any more", nil)
		}
		value := c.Value
		if value == nil {
			all := rec.writings(i)
			if c.Pick < 0 || c.Pick >= len(all) {
				return fault.Invalidf(CodeChoice, "there are %d values to choose from", len(all))
			}
			value = all[c.Pick].Value
		} else if !json.Valid(value) {
			return fault.Invalidf(CodeChoice, "the value is no JSON text")
		}
		t.alg.decide(rec, i, value, t.now)
		rec.dirty, rec.decidedBy = true, c.By
		deltas := rec.deltas()
		if _, _, err := t.keep(ctx, tx, s); err != nil {
			return err
		}
		return r.outbox.Put(ctx, tx, p.Flow, t.flow, deltas)
	})
}
