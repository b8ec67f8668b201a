package replica

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

func fenced() error {
	return fault.New(fault.Unavailable, CodeFenced, "another attempt has taken over", nil)
}

func misshapen(t *flow.SyncTable) error {
	return fault.New(fault.Bug, CodeShape, "a record has more or fewer values than table "+t.Name+" has columns that may cross", nil)
}

func (c *Counts) add(o flow.SyncOutcome) {
	if c.Outcomes == nil {
		c.Outcomes = map[flow.SyncOutcome]int64{}
	}
	c.Outcomes[o]++
}

// Begin begins, or takes over, the observation of a table of our system.
func (r *Replica) Begin(ctx context.Context, p Place, table string) (*Reading, error) {
	reading := &Reading{Table: table}
	err := r.store.Tx(ctx, func(tx pgx.Tx) error {
		if err := atHome(ctx, tx); err != nil {
			return err
		}
		t, err := r.open(ctx, tx, p, table)
		if err != nil {
			return err
		}
		if reading.Recovery, err = t.recovery(ctx, tx); err != nil {
			return err
		}
		reading.fence = t.rev
		return tx.QueryRow(ctx, `update replica_table set fence = $2 where id = $1 returning cursor, load, scope, coalesce(observed_at, 'epoch')`, t.id, t.rev).
			Scan(&reading.Progress.Cursor, &reading.Progress.Load, &reading.Progress.Scope, &reading.Observed)
	})
	if err != nil {
		return nil, err
	}
	if reading.Observed.Unix() == 0 {
		reading.Observed = time.Time{}
	}
	return reading, nil
}

// Observe takes what our system says, in the order in which it happened there (of what
// has no order, deletes first): what differs from what is known goes to the outbox. State,
// outbox and progress commit together. A reading that was taken over is refused,
// CodeFenced.
func (r *Replica) Observe(ctx context.Context, p Place, reading *Reading, rows []Observed, next Progress) (Counts, error) {
	return r.observe(ctx, p, reading, reading.Table, rows, next)
}

// Rewind has a reading begin anew, of a source that lost its place and perhaps its own
// past: the versions that it gave are none to go by any more. why it has to is kept.
func (r *Replica) Rewind(ctx context.Context, p Place, reading *Reading, next Progress, why *fault.Fault) error {
	return r.store.Long(ctx, longest, func(tx pgx.Tx) error {
		t, err := r.open(ctx, tx, p, reading.Table)
		if err != nil {
			return err
		}
		if t.fence != reading.fence {
			return fenced()
		}
		if err := t.spread(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `update replica_record set version = null, written = null where tbl = $1 and (version is not null or written is not null)`, t.id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `update replica_page set version = null, written = null where tbl = $1 and (version is not null or written is not null)`, t.id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `update replica_written set version = 0 where tbl = $1`, t.id); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `update replica_table set cursor = $2, load = $3, scope = coalesce($4, scope), anew = $5 where id = $1`,
			t.id, next.Cursor, next.Load, next.Scope, flow.SyncAnew{At: time.UnixMicro(t.now), Code: why.Code, Text: why.Text})
		return err
	})
}

// ObserveNow takes what an importer found in our system before the reader came to it, which
// the reader then finds unchanged. It moves no cursor.
func (r *Replica) ObserveNow(ctx context.Context, p Place, table string, rows []Observed) (Counts, error) {
	return r.observe(ctx, p, nil, table, rows, Progress{})
}

func (r *Replica) observe(ctx context.Context, p Place, reading *Reading, name string, rows []Observed, next Progress) (Counts, error) {
	var counts Counts
	err := r.store.Tx(ctx, func(tx pgx.Tx) error {
		t, err := r.open(ctx, tx, p, name)
		if err != nil {
			return err
		}
		switch {
		case reading != nil && t.fence != reading.fence:
			return fenced()
		case reading == nil && t.restored != nil:
			return restoring(name)
		}
		counts = Counts{Changes: int64(len(rows))}
		added := int64(0)
		rows, err := t.news(ctx, tx, rows, &counts)
		if err != nil {
			return err
		}
		if len(rows) > 0 {
			if added, err = r.observed(ctx, tx, p, t, rows, &counts); err != nil {
				return err
			}
		}
		if reading == nil {
			_, err = tx.Exec(ctx, `update replica_table set records = records + $2 where id = $1 and $2 > 0`, t.id, added)
			return err
		}
		_, err = tx.Exec(ctx, `update replica_table set records = records + $2, cursor = $3, load = $4, scope = coalesce($5, scope), observed_at = clock_timestamp() where id = $1`,
			t.id, added, next.Cursor, next.Load, next.Scope)
		if err == nil && next.Recovered {
			err = t.recovered(ctx, tx)
		}
		return err
	})
	return counts, err
}

// observed decides about the rows of a batch, and keeps what came of it.
func (r *Replica) observed(ctx context.Context, tx pgx.Tx, p Place, t *table, rows []Observed, counts *Counts) (int64, error) {
	s, err := t.take(ctx, tx, keysOf(rows), idsOf(rows))
	if err != nil {
		return 0, err
	}
	if t.restored != nil {
		if err := t.passed(ctx, tx, s); err != nil {
			return 0, err
		}
	}
	var refusals []refusal
	var clashes []clashed
	var touched []*record
	for i := range rows {
		o := &rows[i]
		if !o.Deleted && (len(o.Values) != len(t.flow.Columns) || len(o.Key) != len(t.flow.Key)) {
			return 0, misshapen(t.flow)
		}
		if t.alg.max > 0 && !o.Ours && sizeOf(o) > t.alg.max {
			refusals = append(refusals, refusal{o: o, outcome: flow.SyncOversize, code: CodeOversize})
			counts.add(flow.SyncOversize)
			continue
		}
		rec, code := s.observed(*o)
		switch {
		case code != "":
			refusals = append(refusals, refusal{o: o, outcome: flow.SyncRejected, code: code})
			counts.add(flow.SyncRejected)
			continue
		case rec == nil && o.Ours:
			counts.add(flow.SyncEcho)
			continue
		case rec == nil:
			counts.add(flow.SyncUnchanged)
			continue
		}
		if fills := t.alg.fills(rec, *o); o.Awaits != nil && (fills || o.Version == 0 || o.Version > rec.version) {
			refusals = append(refusals, orphaned(o, fills))
		}
		n := t.alg.observe(rec, *o, t.now)
		counts.add(n.outcome)
		if n.ahead > 0 {
			counts.Skewed++
			counts.Ahead = max(counts.Ahead, time.Duration(n.ahead)*time.Microsecond)
		}
		if n.behind > t.alg.skew && !o.Reread && !o.Recover {
			counts.Behind = max(counts.Behind, time.Duration(n.behind)*time.Microsecond)
		}
		if n.outcome != flow.SyncUnchanged || rec.base != nil && !rec.waits {
			rec.dirty, rec.closed = rec.dirty || n.outcome != flow.SyncUnchanged, true
			s.index(rec)
			if !rec.touched {
				rec.touched = true
				touched = append(touched, rec)
			}
		}
		for _, c := range n.clashes {
			clashes = append(clashes, clashed{rec, c})
		}
	}
	deltas := make([]flow.Delta, 0, len(touched))
	for _, rec := range touched {
		deltas = append(deltas, rec.deltas()...)
	}
	added, due, err := t.keep(ctx, tx, s)
	counts.Pending = due
	if err == nil {
		err = t.decided(ctx, tx, clashes)
	}
	if err == nil {
		err = t.refuse(ctx, tx, rows, refusals)
	}
	if err == nil && len(deltas) > 0 {
		err = r.outbox.Put(ctx, tx, p.Flow, t.flow, deltas)
	}
	return added, err
}

// fewestEchoes is from how many on it is worth to look at echoes by themselves.
const fewestEchoes = 50

// news leaves out the echoes of writes that are settled: records that have the key that they
// had first, are held as they are known, and are known to be as new. Most of what a system
// tells of while it is filled is that.
func (t *table) news(ctx context.Context, tx pgx.Tx, rows []Observed, counts *Counts) ([]Observed, error) {
	var uids []string
	var versions []int64
	var places []int
	for i := range rows {
		if o := &rows[i]; o.Ours && o.Version != 0 && !o.Deleted && o.ID == "" && o.Was == nil && !keyless(o.Key) && len(o.Key) == len(t.flow.Key) && len(o.Values) == len(t.flow.Columns) {
			uids, versions, places = append(uids, joinKey(o.Key)), append(versions, o.Version), append(places, i)
		}
	}
	if len(uids) < fewestEchoes || t.refuses || t.restored != nil {
		return rows, nil
	}
	found, err := tx.Query(ctx, `
		select k.n::int from unnest($2::text[], $3::bigint[]) with ordinality as k (uid, version, n)
		cross join lateral (select uid, version, written from replica_record where tbl = $1 and uid = k.uid and key is null and not dead offset 0) as r
		where k.version <= case when r.written is null then r.version else greatest(r.version, (select max(version) from replica_written where tbl = $1 and rev = r.written and r.uid between first and last)) end
			and not exists (select from replica_pending where tbl = $1 and uid = k.uid offset 0)`, t.id, uids, versions)
	if err != nil {
		return nil, err
	}
	known, err := pgx.CollectRows(found, pgx.RowTo[int])
	if err != nil || len(known) == 0 {
		return rows, err
	}
	old := make([]bool, len(rows))
	for _, n := range known {
		old[places[n-1]] = true
		counts.add(flow.SyncUnchanged)
	}
	news := make([]Observed, 0, len(rows)-len(known))
	for i := range rows {
		if !old[i] {
			news = append(news, rows[i])
		}
	}
	return news, nil
}

func keysOf(rows []Observed) []string {
	keys := make([]string, 0, len(rows))
	for i := range rows {
		if len(rows[i].Key) > 0 {
			keys = append(keys, joinKey(rows[i].Key))
		}
		if len(rows[i].Was) > 0 {
			keys = append(keys, joinKey(rows[i].Was))
		}
	}
	return keys
}

func idsOf(rows []Observed) []string {
	ids := []string{}
	for i := range rows {
		if rows[i].ID != "" {
			ids = append(ids, rows[i].ID)
		}
	}
	return ids
}

func sizeOf(o *Observed) (size int) {
	for _, v := range o.Values {
		size += len(v)
	}
	return size
}

// refusal is a record of our system that cannot be shared as it is, or not all of it yet.
type refusal struct {
	o       *Observed
	outcome flow.SyncOutcome
	code    string
	fills   bool
}

// refuse notes what stays, and forgets what was refused earlier and is not any more. What
// waits for the same as before was changed when it was then.
func (t *table) refuse(ctx context.Context, tx pgx.Tx, rows []Observed, refusals []refusal) error {
	if t.refuses {
		keys, own := make([]string, len(refusals)), make([]string, len(refusals))
		for i, f := range refusals {
			keys[i], own[i] = joinKey(f.o.Key), f.o.ID
		}
		if _, err := tx.Exec(ctx, `delete from replica_refused where tbl = $1 and (key = any($2) or own <> '' and own = any($3))
			and not (key, own) in (select * from unnest($4::text[], $5::text[]))`, t.id, keysOf(rows), idsOf(rows), keys, own); err != nil {
			return err
		}
	}
	for _, f := range refusals {
		awaits, err := t.awaiting(f.o)
		if err != nil {
			return err
		}
		var at *time.Time
		if !f.o.At.IsZero() {
			at = &f.o.At
		}
		if _, err := tx.Exec(ctx, `
			insert into replica_refused as r (tbl, key, own, outcome, code, awaits, changed_at, fills) values ($1, $2, $3, $4, $5, $6, $7, $8)
			on conflict (tbl, key, own) do update set at = now(), outcome = excluded.outcome, code = excluded.code, awaits = excluded.awaits,
				changed_at = case when r.awaits = excluded.awaits then r.changed_at else excluded.changed_at end,
				fills = case when r.awaits = excluded.awaits then r.fills else excluded.fills end`,
			t.id, joinKey(f.o.Key), f.o.ID, string(f.outcome), f.code, awaits, at, f.fills); err != nil {
			return err
		}
	}
	return nil
}
