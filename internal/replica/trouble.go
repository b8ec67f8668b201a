package replica

import (
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// The parts of a synchronization that may have trouble.
const (
	PartExport  = "export"
	PartImport  = "import"
	PartCompare = "compare"
)

// Report makes the trouble of a part what it is now, by table; what is not named is over.
// The texts are safe to show.
func (r *Replica) Report(ctx context.Context, p Place, part, peer string, found map[string]*fault.Fault) error {
	names := slices.AppendSeq([]string{}, maps.Keys(found)) // not nil, of which nothing is different from
	slices.Sort(names)
	codes, texts := make([]string, len(names)), make([]string, len(names))
	for i, name := range names {
		codes[i], texts[i] = found[name].Code, found[name].Text
	}
	return r.store.Tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `delete from replica_trouble where flow = $1 and part = $2 and peer = $3 and name <> all($4)`, p.Flow, part, peer, names); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			insert into replica_trouble as t (flow, part, peer, name, code, text)
			select $1, $2, $3, f.name, f.code, f.text from unnest($4::text[], $5::text[], $6::text[]) as f (name, code, text)
			on conflict (flow, part, peer, name) do update set last = now(), text = excluded.text, code = excluded.code,
				since = case when t.code = excluded.code then t.since else now() end`, p.Flow, part, peer, names, codes, texts)
		return err
	})
}

// Troubles lists what is wrong, the oldest first.
func (r *Replica) Troubles(ctx context.Context, p Place) (out []flow.SyncTrouble, err error) {
	err = r.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `select part, peer, name, code, text, since, last from replica_trouble where flow = $1 order by since, name`, p.Flow)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (t flow.SyncTrouble, err error) {
			err = row.Scan(&t.Part, &t.Peer, &t.Table, &t.Code, &t.Text, &t.Since, &t.Last)
			return t, err
		})
		return err
	})
	return out, err
}

// Compared keeps the outcome of a comparison, in place of the one before.
func (r *Replica) Compared(ctx context.Context, p Place, c flow.SyncCompared) error {
	return r.store.Tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			insert into replica_compared (flow, peer, name, at, records, in_flight, held, pending, drift, changed, missing, added, repaired)
			values ($1, $2, $3, now(), $4, $5, $6, $7, $8, $9, $10, $11, $12)
			on conflict (flow, peer, name) do update set at = now(), records = excluded.records, in_flight = excluded.in_flight, held = excluded.held,
				pending = excluded.pending, drift = excluded.drift, changed = excluded.changed, missing = excluded.missing, added = excluded.added,
				repaired = excluded.repaired`,
			p.Flow, c.Peer, c.Table, c.Records, c.InFlight, c.Held, c.Pending, c.Drift, c.Changed, c.Missing, c.Added, c.Repaired)
		return err
	})
}

// Comparisons lists the last comparison of each table with our system (Peer is empty) and each region.
func (r *Replica) Comparisons(ctx context.Context, p Place) (out []flow.SyncCompared, err error) {
	err = r.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select peer, name, at, records, in_flight, held, pending, drift, changed, missing, added, repaired from replica_compared where flow = $1 order by peer, name`, p.Flow)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (c flow.SyncCompared, err error) {
			err = row.Scan(&c.Peer, &c.Table, &c.At, &c.Records, &c.InFlight, &c.Held, &c.Pending, &c.Drift, &c.Changed, &c.Missing, &c.Added, &c.Repaired)
			return c, err
		})
		return err
	})
	return out, err
}
