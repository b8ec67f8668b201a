package replica

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/flow"
)

// adopted is how many records that wait for others are looked at in one go.
const adopted = 1000

// orphan is a record of our system some of whose lookups name records that were not known
// when it was observed.
type orphan struct {
	key, own string
	awaits   map[string]string
	at       *time.Time
	fills    bool
}

// Adopt looks at records, after a key, whose lookups name others that were not known when
// they were observed. What is known by now is told as if it had been then: what was observed
// of the record since has taken the place of what waited. It gives where to go on; "": from
// the beginning. A reading that was taken over is refused, CodeFenced.
func (r *Replica) Adopt(ctx context.Context, p Place, reading *Reading, after string) (counts Counts, last string, err error) {
	err = r.store.Tx(ctx, func(tx pgx.Tx) error {
		counts, last = Counts{}, ""
		t, err := r.open(ctx, tx, p, reading.Table)
		if err != nil {
			return err
		}
		if t.fence != reading.fence {
			return fenced()
		}
		if !t.refuses || t.restored != nil {
			return nil
		}
		found, err := tx.Query(ctx, `
			select key, own, awaits, changed_at, fills from replica_refused where tbl = $1 and awaits is not null and key > $2 order by key limit $3`, t.id, after, adopted)
		if err != nil {
			return err
		}
		all, err := pgx.CollectRows(found, func(row pgx.CollectableRow) (o orphan, err error) {
			return o, row.Scan(&o.key, &o.own, &o.awaits, &o.at, &o.fills)
		})
		if err != nil || len(all) == 0 {
			return err
		}
		if len(all) == adopted {
			last = all[len(all)-1].key
		}
		rows, err := t.adopt(ctx, tx, p, all)
		if err != nil || len(rows) == 0 {
			return err
		}
		_, err = r.observed(ctx, tx, p, t, rows, &counts)
		return err
	})
	return counts, last, err
}

// adopt gives what can be told of records now.
func (t *table) adopt(ctx context.Context, tx pgx.Tx, p Place, all []orphan) ([]Observed, error) {
	known := make([]map[string]string, len(t.flow.Columns)) // references by ID, by column
	for i, c := range t.flow.Columns {
		var ids []string
		for _, o := range all {
			if id := o.awaits[c.Name]; id != "" {
				ids = append(ids, id)
			}
		}
		if c.Refers == "" || len(ids) == 0 {
			continue
		}
		var err error
		if known[i], err = refs(ctx, tx, p, c.Refers, ids); err != nil {
			return nil, err
		}
	}
	var keys, own []string
	for _, o := range all {
		keys, own = append(keys, o.key), append(own, o.own)
	}
	s, err := t.take(ctx, tx, keys, own)
	if err != nil {
		return nil, err
	}
	var rows []Observed
	for _, of := range all {
		rec := s.holds(of)
		if rec == nil { // our own write has changed its key, or removed it, and is observed soon
			continue
		}
		o := Observed{ID: of.own, Key: rec.own(), Values: make([][]byte, len(t.flow.Columns))}
		if of.at != nil {
			o.At = *of.at
		}
		told := false
		for i, c := range t.flow.Columns {
			id := of.awaits[c.Name]
			if id == "" {
				continue
			}
			if ref, is := known[i][id]; is {
				o.Values[i], told = []byte(ref), true
				continue
			}
			if o.Awaits == nil {
				o.Awaits = make([]string, len(t.flow.Columns))
			}
			o.Awaits[i] = id
		}
		if of.fills {
			o.Reread, o.Fill = true, make([]bool, len(t.flow.Columns))
			for i := range o.Fill {
				o.Fill[i] = o.Values[i] != nil
			}
		}
		if told {
			rows = append(rows, o)
		}
	}
	return rows, nil
}

// holds gives the record of our system that waits for others; nil: it is not there so.
func (s *shelf) holds(of orphan) *record {
	if of.own != "" {
		if r := s.byID[of.own]; r != nil && !r.absent() {
			return r
		}
		return nil
	}
	for _, r := range s.under(of.key) {
		if !r.absent() && joinKey(r.own()) == of.key {
			return r
		}
	}
	return nil
}

// awaiting is the text of what lookups of an observation wait for, by column; nil: nothing.
func (t *table) awaiting(o *Observed) ([]byte, error) {
	waits := map[string]string{}
	for i, id := range o.Awaits {
		if id != "" {
			waits[t.flow.Columns[i].Name] = id
		}
	}
	if len(waits) == 0 {
		return nil, nil
	}
	return json.Marshal(waits)
}

// orphaned is why a record waits: a lookup of it is told later.
func orphaned(o *Observed, fills bool) refusal {
	return refusal{o: o, outcome: flow.SyncWaiting, code: CodeParent, fills: fills}
}
