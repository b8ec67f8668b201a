package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// Claim makes batches of the rows that wait, of every flow, and gives their starts
// in the order of the queue. Rows whose time is over are closed instead: failed,
// "run.deadline". Any number of processes may claim.
//
// A flow has at most four batches in flight, and besides them sixteen runs of one
// that have to be alone and what claimed itself ahead of others; batches of several take at most three quarters of what the
// workers carry at a time. Flows of events have one after the other, see
// room.unhurried. What a batch holds does not change until it has been put
// back or settled. An error may come beside starts, as for Due.
func (b *Book) Claim(ctx context.Context) ([]Start, error) {
	expired := b.expire(ctx)
	flows, err := b.flowsWaiting(ctx)
	if err != nil {
		return nil, err
	}
	var claims []claim
	failed := []error{expired}
	for _, name := range flows {
		made, late, err := b.claimFlow(ctx, name, len(flows) > 1)
		claims = append(claims, made...)
		failed = append(failed, err, b.closeExpired(ctx, late))
	}
	starts, err := b.starts(ctx, claims)
	return starts, errors.Join(append(failed, err)...)
}

// waits is what a row that waits to be claimed looks like, as its index has it.
const waits = `batch_id is null and leader is null and closed_at is null`

// flowsWaiting gives the flows that have rows to be claimed: a step of the index for
// each, however many rows.
func (b *Book) flowsWaiting(ctx context.Context) ([]string, error) {
	var flows []string
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			with recursive f(flow) as (
				select min(flow) from work where `+waits+`
				union all
				select (select min(flow) from work where `+waits+` and work.flow > f.flow) from f where f.flow is not null
			)
			select flow from f where flow is not null`)
		if err != nil {
			return err
		}
		flows, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return flows, err
}

// candidates are the first rows of a flow that may be claimed, in the order of
// their index, see hold. A row whose order key is held by a batch, or by one that was
// accepted before it, has to wait; the flow of those is written so that no index of all
// that is open in a flow seems as good as that of the key. Rows without an answer, or
// with one, may be left out.
const candidates = `
	select run_id, digest, class, tries, coalesce(order_key, ''), answered_at is not null, deadline_at <= now() and answered_at is null, order_at > now()
	from work w
	where flow = $1 and ` + waits + ` and (due_at is null or due_at <= now())
	  and not (answered_at is null and $3 or answered_at is not null and $4)
	  and (order_key is null or not exists (
		select from work o where o.order_key = w.order_key and o.flow || '' = w.flow and o.closed_at is null
		and o.leader is null and (o.batch_id is not null or (o.accepted_at, o.run_id) < (w.accepted_at, w.run_id))))
	order by flow, class, order_at limit $2`

// claimFlow claims of one flow, one process at a time. late are rows whose time is
// over; contested reports that rows of other flows wait, too.
func (b *Book) claimFlow(ctx context.Context, name string, contested bool) (claims []claim, late []string, err error) {
	err = b.store.Tx(ctx, func(tx pgx.Tx) error {
		claims, late = nil, nil
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended($1, 3))`, name); err != nil {
			return err
		}
		r, err := b.room(ctx, tx, name)
		if err != nil || r.free == 0 && r.alone == 0 {
			return err
		}
		var rows []waitingRow
		var early bool
		rows, early, late, err = b.waitingRows(ctx, tx, name, max(r.free, 1)*capOf(r.pattern, untroubled)+r.alone)
		if err != nil {
			return err
		}
		if r.pattern == flow.Hybrid {
			if rows, err = b.computable(ctx, tx, name, rows); err != nil {
				return err
			}
		}
		if rows, err = b.allowed(ctx, name, rows); err != nil || len(rows) == 0 {
			return err
		}
		if early && r.express {
			r = r.yield()
		}
		if r.most, err = b.share(ctx, tx, name, rows[0].digest, contested); err != nil {
			return err
		}
		if r.pattern == flow.Event {
			p, err := pacing(ctx, tx, name)
			if err != nil {
				return err
			}
			r = r.unhurried(p, rows)
		}
		batches, err := hold(ctx, tx, pack(rows, r))
		if err != nil {
			return err
		}
		claims, err = b.claim(ctx, tx, name, r.pattern, batches)
		return err
	})
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.ConstraintName == "work_order" {
		// A press of an idle flow claimed itself and its order key at the same time.
		b.hub.rowsWait()
		return nil, nil, nil
	}
	return claims, late, err
}

// room counts what is in flight, and how fast the last batches were.
func (b *Book) room(ctx context.Context, tx pgx.Tx, name string) (room, error) {
	var shared, single, several int
	var rate float64
	var express bool
	var pattern flow.Pattern
	err := tx.QueryRow(ctx, `
		select count(*) filter (where flow = $1 and tier < $2 and not express), count(*) filter (where flow = $1 and tier = $2), count(*) filter (where size > 1),
		       (select coalesce(sum(done) / nullif(sum(extract(epoch from settled_at - claimed_at)), 0), 0)::float8 from (
				select done, settled_at, claimed_at from batch
				where flow = $1 and settled_at > now() - $3::interval and done > 0 order by settled_at desc limit 8) as lately),
		       coalesce((select pattern from work where flow = $1 and `+waits+` limit 1), ''),
		       coalesce(bool_or(express and flow = $1), false)
		       or exists (select from batch where flow = $1 and express and settled_at > now() - $5::interval)
		from batch where settled_at is null and claimed_at > now() - $4::interval`,
		name, alone, rateRemembered, inFlightFor, expressFor).Scan(&shared, &single, &several, &rate, &pattern, &express)
	most := mostInFlight
	if capOf(pattern, untroubled) == 1 { // batches of these save nothing, and one that waits for weeks holds no slot
		most = max(b.slots/2, mostInFlight)
	}
	r := room{pattern: pattern, free: max(most-shared, 0), alone: max(mostAlone-single, 0), several: max(b.slots*3/4-several, 0),
		most: -1, express: express, shared: shared}
	if rate > 0 {
		r.rate = int(rate) + 1
	}
	return r, err
}

// pacing measures what room counts by batches for one flow as a whole. Runs of one tell
// of its rate only where there were no others.
func pacing(ctx context.Context, tx pgx.Tx, name string) (p pace, err error) {
	var rate float64
	err = tx.QueryRow(ctx, `
		select (select count(*) from batch b join work w using (batch_id)
				where b.flow = $1 and b.settled_at is null and b.claimed_at > now() - $3::interval and w.closed_at is null),
		       (select coalesce(max(claimed_at) > now() - $4::interval, false) from batch where flow = $1 and settled_at is null and tier < $2),
		       (select coalesce(sum(done) / nullif(extract(epoch from max(settled_at) - min(claimed_at)), 0), 0)::float8 from (
				select * from (
					select size, done, claimed_at, settled_at from batch
					where flow = $1 and settled_at > now() - $5::interval and done > 0 order by settled_at desc limit 24) as last
				order by size > 1 desc, settled_at desc limit 8) as lately)`,
		name, alone, inFlightFor, gathering, rateRemembered).Scan(&p.under, &p.recent, &rate)
	if rate > 0 {
		p.rate = int(rate) + 1
	}
	return p, err
}

// waitingRows reads candidates. early reports that the first has no right to a place
// yet, but to what others leave; late are those whose time is over.
func (b *Book) waitingRows(ctx context.Context, tx pgx.Tx, name string, limit int) (list []waitingRow, early bool, late []string, err error) {
	unanswered, answered := b.stopped(ctx, name)
	rows, err := tx.Query(ctx, candidates, name, limit, unanswered, answered)
	if err != nil {
		return nil, false, nil, err
	}
	var row waitingRow
	var over, beyond bool
	_, err = pgx.ForEachRow(rows, []any{&row.runID, &row.digest, &row.class, &row.tries, &row.orderKey, &row.answered, &over, &beyond}, func() error {
		switch {
		case over:
			late = append(late, row.runID)
			return nil
		case len(list) == 0:
			early = beyond
		}
		list = append(list, row)
		return nil
	})
	return list, early, late, err
}

// hold locks the rows of batches until they are claimed. Those that somebody is
// cancelling, or has, are left out.
func hold(ctx context.Context, tx pgx.Tx, batches []packed) ([]packed, error) {
	var ids []string
	for _, p := range batches {
		ids = append(ids, p.rows...)
	}
	rows, err := tx.Query(ctx, `
		select run_id from work where run_id = any ($1) and `+waits+` order by run_id `+exclusively+` skip locked`, ids)
	if err != nil {
		return nil, err
	}
	held := make(map[string]bool, len(ids))
	var id string
	if _, err = pgx.ForEachRow(rows, []any{&id}, func() error { held[id] = true; return nil }); err != nil {
		return nil, err
	}
	left := batches[:0]
	for _, p := range batches {
		p.rows = slices.DeleteFunc(p.rows, func(id string) bool { return !held[id] })
		if len(p.rows) > 0 {
			left = append(left, p)
		}
	}
	return left, nil
}

// computable leaves out what the compute fleet has no use for yet: runs that nobody waits for
// are started while fewer are under way than keep its slots for them busy, so that thousands
// wait as rows, where one that somebody waits for passes them. What waits for a person
// computes nothing.
func (b *Book) computable(ctx context.Context, tx pgx.Tx, name string, rows []waitingRow) ([]waitingRow, error) {
	var under int
	if err := tx.QueryRow(ctx, `
		select count(*) from work where flow = $1 and class > $2 and batch_id is not null and closed_at is null and waiting is null`,
		name, flow.Interactive).Scan(&under); err != nil {
		return nil, err
	}
	left := max(2*b.computing-under, 0)
	return slices.DeleteFunc(rows, func(row waitingRow) bool {
		if row.class <= flow.Interactive {
			return false
		}
		left--
		return left < 0
	}), nil
}

// share gives how many rows of a flow may be claimed: its limit binds only while
// another flow waits.
func (b *Book) share(ctx context.Context, tx pgx.Tx, name, digest string, contested bool) (int, error) {
	if !contested {
		return -1, nil
	}
	plan, err := b.plans.ByDigest(ctx, digest)
	switch {
	case err != nil && unreadable(err), err == nil && plan.Limits.Concurrent <= 0:
		return -1, nil
	case err != nil:
		return 0, err
	}
	var inHands int
	err = tx.QueryRow(ctx, `
		select count(*) from work where flow = $1 and batch_id is not null and closed_at is null`, name).Scan(&inHands)
	return max(plan.Limits.Concurrent-inHands, 0), err
}

// claim writes the batches and gives their rows to them, in one go.
func (b *Book) claim(ctx context.Context, tx pgx.Tx, name string, pattern flow.Pattern, batches []packed) ([]claim, error) {
	if len(batches) == 0 {
		return nil, nil
	}
	claims := make([]claim, len(batches))
	var ids, digests, owners, items []string
	var classes, tiers []int16
	var sizes []int32
	for i, p := range batches {
		id := lowerBase32.EncodeToString(randomBytes(16))
		claims[i] = claim{batchID: id, flow: name, digest: p.digest, class: p.class, runIDs: p.rows}
		ids, digests = append(ids, id), append(digests, p.digest)
		classes, tiers, sizes = append(classes, int16(p.class)), append(tiers, int16(p.tier)), append(sizes, int32(len(p.rows)))
		for _, row := range p.rows {
			owners, items = append(owners, id), append(items, row)
		}
	}
	var batch pgx.Batch
	batch.Queue(`
		insert into batch (batch_id, flow, pattern, digest, class, tier, size, lease_until)
		select id, $1, $2, digest, class, tier, size, now() + $3::interval
		from unnest($4::text[], $5::text[], $6::smallint[], $7::smallint[], $8::int[]) as c(id, digest, class, tier, size)`,
		name, string(pattern), b.lease, ids, digests, classes, tiers, sizes)
	batch.Queue(`
		update work w set batch_id = c.owner, due_at = null
		from unnest($1::text[], $2::text[]) as c(owner, id) where w.run_id = c.id`, owners, items)
	return claims, tx.SendBatch(ctx, &batch).Close()
}

// starts are what starts the claims. Those whose plan cannot be read are left out
// until their lease has lapsed; the error names them.
func (b *Book) starts(ctx context.Context, claims []claim) ([]Start, error) {
	starts := make([]Start, 0, len(claims))
	var unread []error
	for _, c := range claims {
		plan, err := b.plans.ByDigest(ctx, c.digest)
		switch {
		case err == nil:
			s := start(plan, c.digest, c.batchID, c.runIDs...)
			s.Class = c.class
			starts = append(starts, s)
		case unreadable(err):
			unread = append(unread, fmt.Errorf("preparing the start of %s: %w", c.batchID, err))
		default: // the database went away: it would for the others, too
			return starts, errors.Join(append(unread, err)...)
		}
	}
	return starts, errors.Join(unread...)
}

// expireEvery is how often rows are looked for whose time ended behind others that
// are claimed first.
const expireEvery = time.Second

// expire closes rows that waited longer than their answer may take.
func (b *Book) expire(ctx context.Context) error {
	last := b.expired.Load()
	if now := time.Now().UnixNano(); now-last < int64(expireEvery) || !b.expired.CompareAndSwap(last, now) {
		return nil
	}
	late, err := b.items(ctx, `
		select run_id from work where `+waits+` and deadline_at <= now() and answered_at is null limit 1000`)
	if err != nil {
		return err
	}
	return b.closeExpired(ctx, late)
}

// closeExpired ends rows that wait and whose time is over.
func (b *Book) closeExpired(ctx context.Context, runIDs []string) error {
	why := fault.New(fault.Unavailable, flow.DeadlineCode, "", nil)
	in := make([]conclusion, len(runIDs))
	for i, id := range runIDs {
		in[i] = conclusion{wish: fail, item: Item{RunID: id}, queued: true, why: why}
	}
	_, err := b.concludeEach(ctx, in)
	return err
}
