package inbox

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/flow"
)

// throttle decides which of the windows may go now, in their order, by the generic
// cell rate algorithm: each value has a theoretical arrival time of its next, which
// each that goes moves on by Per/Rate, and Burst of them may go ahead of it. The
// others get the time at which their turn comes if nobody else comes first.
func throttle(ctx context.Context, tx pgx.Tx, plan *flow.Plan, judge Judge, list []*due) error {
	t := plan.Reaction.Throttle
	if t == nil || len(list) == 0 {
		return nil
	}
	keys := make([]hash, len(list))
	for i, d := range list {
		value, err := judge.ThrottleKey(d.net.Row)
		if err != nil {
			value = "" // of what cannot be told apart there is one
		}
		keys[i] = hashOf([]byte("throttle"), []byte(value))
	}
	now, next, err := turnsOf(ctx, tx, plan.Flow, keys)
	if err != nil {
		return err
	}
	went := cells(t, now, next, keys, list)
	for by := range next {
		if !went[by] {
			delete(next, by)
		}
	}
	return keepTurns(ctx, tx, plan.Flow, next)
}

// turnsOf reads, for each key, when its next turn is: the zero time for one that never
// had any. now is that of the transaction.
func turnsOf(ctx context.Context, tx pgx.Tx, name string, keys []hash) (now time.Time, next map[hash]time.Time, err error) {
	next = make(map[hash]time.Time, len(keys))
	var bys [][]byte
	for _, by := range keys {
		if _, asked := next[by]; !asked {
			next[by] = time.Time{}
			bys = append(bys, by[:])
		}
	}
	var batch pgx.Batch
	batch.Queue(`select now()`).QueryRow(func(r pgx.Row) error { return r.Scan(&now) })
	batch.Queue(`select by, next_at from throttle where flow = $1 and by = any($2)`, name, bys).Query(func(rows pgx.Rows) error {
		var by []byte
		var at time.Time
		_, err := pgx.ForEachRow(rows, []any{&by, &at}, func() error { next[hash(by)] = at; return nil })
		return err
	})
	return now, next, tx.SendBatch(ctx, &batch).Close()
}

func keepTurns(ctx context.Context, tx pgx.Tx, name string, next map[hash]time.Time) error {
	if len(next) == 0 {
		return nil
	}
	var bys [][]byte
	var ats []time.Time
	for by, at := range next {
		bys, ats = append(bys, by[:]), append(ats, at)
	}
	_, err := tx.Exec(ctx, `
		insert into throttle (flow, by, next_at) select $1, by, at from unnest($2::bytea[], $3::timestamptz[]) as t(by, at)
		on conflict (flow, by) do update set next_at = excluded.next_at`, name, bys, ats)
	return err
}

// cells lets windows go or says when; next is moved on for those that go, and went
// tells whose was.
func cells(t *flow.Throttle, now time.Time, next map[hash]time.Time, keys []hash, list []*due) (went map[hash]bool) {
	interval := t.Per / time.Duration(t.Rate)
	ahead := interval * time.Duration(max(t.Burst, 1)-1)
	went = map[hash]bool{}
	behind := map[hash]time.Time{}
	for i, d := range list {
		by := keys[i]
		if last, waits := behind[by]; waits {
			d.until = last.Add(interval)
			behind[by] = d.until
			continue
		}
		at := next[by]
		if at.Before(now) {
			at = now
		}
		if due := at.Add(-ahead); due.After(now) {
			d.until, behind[by] = due, due
			continue
		}
		next[by], went[by] = at.Add(interval), true
	}
	return went
}
