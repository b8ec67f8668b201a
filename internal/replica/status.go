package replica

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// Status tells how the tables of a flow are, in the order of the plan. A table of which
// nothing is known yet is there with its name alone.
func (r *Replica) Status(ctx context.Context, p Place) ([]TableState, error) {
	var out []TableState
	err := r.store.Read(ctx, func(c *pgxpool.Conn) error {
		out = make([]TableState, len(p.Sync.Tables))
		by := map[string]*TableState{}
		for i, t := range p.Sync.Tables {
			out[i] = TableState{Table: t.Name, Open: map[flow.SyncOutcome]int64{}, Peers: map[string]PeerState{}}
			by[t.Name] = &out[i]
		}
		if err := tables(ctx, c, p, by); err != nil {
			return err
		}
		if err := opened(ctx, c, p, by); err != nil {
			return err
		}
		if err := peers(ctx, c, p, by); err != nil {
			return err
		}
		return ways(ctx, c, p, by)
	})
	return out, err
}

func tables(ctx context.Context, c *pgxpool.Conn, p Place, by map[string]*TableState) error {
	rows, err := c.Query(ctx, `
		select name, records, cursor, load is not null, observed_at, (select count(*) from replica_refused where tbl = t.id), anew, restored is not null from replica_table t where flow = $1`, p.Flow)
	if err != nil {
		return err
	}
	var s TableState
	var at *time.Time
	_, err = pgx.ForEachRow(rows, []any{&s.Table, &s.Records, &s.Cursor, &s.Loading, &at, &s.Refused, &s.Anew, &s.Restored}, func() error {
		if t := by[s.Table]; t != nil {
			t.Anew, t.Restored = s.Anew, s.Restored
			t.Records, t.Cursor, t.Loading, t.Refused = s.Records, s.Cursor, s.Loading, s.Refused
			if at != nil {
				t.Observed = *at
			}
		}
		return nil
	})
	return err
}

func opened(ctx context.Context, c *pgxpool.Conn, p Place, by map[string]*TableState) error {
	rows, err := c.Query(ctx, `
		select name, outcome, sum(n)::bigint, min(since) from (
			select t.name, w.outcome, count(*) as n, min(w.since) as since from replica_table t join replica_pending w on w.tbl = t.id where t.flow = $1 group by t.name, w.outcome
			union all select t.name, '', sum(w.rows), min(w.since) from replica_table t join replica_written w on w.tbl = t.id and w.version is null where t.flow = $1 group by t.name) as o
		group by name, outcome`, p.Flow)
	if err != nil {
		return err
	}
	var name, outcome string
	var n int64
	var oldest time.Time
	_, err = pgx.ForEachRow(rows, []any{&name, &outcome, &n, &oldest}, func() error {
		if t := by[name]; t != nil {
			if t.Open[flow.SyncOutcome(outcome)] = n; outcome == "" {
				t.Oldest = oldest
			}
		}
		return nil
	})
	return err
}

func peers(ctx context.Context, c *pgxpool.Conn, p Place, by map[string]*TableState) error {
	rows, err := c.Query(ctx, `
		select t.name, d.peer, d.upto, d.at, d.stamp from replica_table t join replica_received d on d.tbl = t.id where t.flow = $1`, p.Flow)
	if err != nil {
		return err
	}
	var name, peer string
	var s PeerState
	var stamp int64
	_, err = pgx.ForEachRow(rows, []any{&name, &peer, &s.Upto, &s.At, &stamp}, func() error {
		if s.Stamp = time.UnixMicro(stamp); by[name] != nil {
			by[name].Peers[peer] = s
		}
		return nil
	})
	return err
}

// Account tells all that is known of a record, by key or reference; NotFound, CodeRecord,
// where that is nothing.
func (r *Replica) Account(ctx context.Context, p Place, name string, key []string) (Account, error) {
	a := Account{Table: name, Key: key, Ref: refOf(joinKey(key))}
	known := false
	err := r.look(ctx, p, name, []string{joinKey(key)}, func(t *table, s *shelf) error {
		for _, rec := range s.under(joinKey(key)) {
			if !known || rec.alive() {
				known = true
				t.account(&a, rec)
			}
		}
		return nil
	})
	if err != nil {
		return a, err
	}
	refused, err := r.tell(ctx, p, &a, known)
	if err == nil && !known && !refused {
		err = fault.NotFoundf(CodeRecord, "nothing is known of such a record of table %s", name)
	}
	if err != nil || !known {
		return a, err
	}
	a.Held, err = r.heldOf(ctx, p, name, a.uid)
	return a, err
}

// account says what the registers and the base have.
func (t *table) account(a *Account, rec *record) {
	a.Key, a.Ref, a.ID, a.uid, a.Words = rec.key, refOf(rec.uid), rec.id, rec.uid, nil
	a.inRange = rec.inRange
	a.Values, a.Deleted, a.Outcome = rec.cells, !rec.alive(), flow.SyncApplied
	for i, c := range rec.cells {
		switch name := t.flow.Columns[i].Name; {
		case c.Value == nil:
			a.Words = append(a.Words, "Nothing was said of "+name+" yet.")
		case t.alg.held(rec, i):
			a.Words = append(a.Words, fmt.Sprintf("%s was written in %d ways that did not know of each other; a person decides.", name, 1+len(rec.rest[i])))
		default:
			a.Words = append(a.Words, fmt.Sprintf("%s was written in region %s at %s.", name, c.Version.Region, at(c.Version.Stamp)))
		}
	}
	if rec.moved != nil {
		a.Words = append(a.Words, fmt.Sprintf("Its key was changed in region %s at %s.", rec.moved.Region, at(rec.moved.Stamp)))
	}
	switch {
	case rec.gone != nil && a.Deleted:
		a.Words = append(a.Words, fmt.Sprintf("It was deleted in region %s at %s.", rec.gone.Region, at(rec.gone.Stamp)))
	case rec.gone != nil:
		a.Words = append(a.Words, fmt.Sprintf("It was deleted in region %s at %s, and written later.", rec.gone.Region, at(rec.gone.Stamp)))
	}
	if !rec.waits {
		a.Words = append(a.Words, "Our system holds it so.")
	}
}

// at is a time for people; before unknown it is that of a value which was there before it
// was allowed to cross.
func at(stamp int64) string {
	const unknown = 1 << 40 // microseconds, in 1970
	if stamp < unknown {
		return "a time that is not known"
	}
	return time.UnixMicro(stamp).UTC().Format(time.RFC3339)
}

// tell adds what a record waits for, and why it is refused. It reports whether it is.
func (r *Replica) tell(ctx context.Context, p Place, a *Account, known bool) (refused bool, err error) {
	err = r.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select w.outcome, w.code, w.reason, w.attempts from replica_pending w join replica_table t on t.id = w.tbl where t.flow = $1 and t.name = $2 and w.uid = $3 and $4
			union all select '', '', '', 0 where $6
			union all select f.outcome, f.code, '', -1 from replica_refused f join replica_table t on t.id = f.tbl where t.flow = $1 and t.name = $2 and f.key = $5`,
			p.Flow, a.Table, a.uid, known, joinKey(a.Key), a.inRange)
		if err != nil {
			return err
		}
		var outcome, code, reason string
		var attempts int
		_, err = pgx.ForEachRow(rows, []any{&outcome, &code, &reason, &attempts}, func() error {
			a.Outcome, a.Code, a.Text = flow.SyncOutcome(outcome), code, reason
			switch {
			case attempts < 0 && a.Outcome == flow.SyncWaiting:
				refused = true
				a.Words = append(a.Words, "It names a record that is not known yet, and is told of that when it is ("+code+").")
			case attempts < 0:
				refused = true
				a.Words = append(a.Words, "Our system's record stays: "+strings.TrimPrefix(code, "replica.")+".")
			case outcome == "":
				a.Words = append(a.Words, "It is to be written to our system.")
			case a.Outcome == flow.SyncHeld:
				a.Words = append(a.Words, "Our system keeps its value until then.")
			default:
				a.Words = append(a.Words, fmt.Sprintf("It was tried %d times to write it to our system: %s (%s).", attempts, outcome, code))
			}
			return nil
		})
		return err
	})
	return refused, err
}

// heldOf lists the conflicts of one record.
func (r *Replica) heldOf(ctx context.Context, p Place, table, uid string) ([]Held, error) {
	var out []Held
	err := r.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select c.id, t.name, c.uid, c.col, c.rule, c.opened_at, c.decided_at, c.decided_by, c.cells, c.winner
			from replica_conflict c join replica_table t on t.id = c.tbl
			where t.flow = $1 and t.name = $2 and c.uid = $3 order by c.id desc limit 100`, p.Flow, table, uid)
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
