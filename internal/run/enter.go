package run

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/journal"
	"patchbay/internal/store/group"
)

// standing is what a press has to know of the row that is there already.
type standing struct {
	sum     []byte
	digest  string
	batchID string
	begun   bool // Temporal has it, or somebody had it in hands
}

// standings reads the rows there are of run_ids.
func (b *Book) standings(ctx context.Context, runIDs []string) (map[string]standing, error) {
	var found map[string]standing
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select run_id, body_sha256, work.digest, coalesce(batch_id, ''),
			       state <> 'accepted' or workflow_id is null and relayed_at is not null
			from work left join batch using (batch_id) where run_id = any ($1)`, runIDs)
		if err != nil {
			return err
		}
		found = map[string]standing{}
		var id string
		var s standing
		_, err = pgx.ForEachRow(rows, []any{&id, &s.sum, &s.digest, &s.batchID, &s.begun}, func() error {
			found[id] = s
			s.sum = nil // not to be overwritten by the next row
			return nil
		})
		return err
	})
	return found, err
}

// insert commits rows of presses and their journal entries in one statement, and
// those that have a leader in a second one. A press is left out, neither made nor with an error, when a row with
// its run_id exists, or when another transaction was quicker with its share or its
// order key. wait keeps all from claiming themselves; doubtful reports that some of
// those left out may have been made.
func (b *Book) insert(ctx context.Context, entries []*entry, wait bool) (replies []group.Reply[accepted], doubtful bool, err error) {
	rows, err := b.rowsOf(entries, wait)
	if err != nil {
		return nil, false, err
	}
	err = b.store.Write(ctx, func(c *pgxpool.Conn) error {
		replies = make([]group.Reply[accepted], len(entries))
		r, err := c.Query(ctx, enter, rows.args(b.lease)...)
		if err != nil {
			return err
		}
		return scanEntered(r, entries, replies)
	})
	if err != nil {
		return nil, false, err
	}
	doubtful = b.join(ctx, entries, replies)
	waiting := false
	for i := range replies {
		got := &replies[i]
		waiting = waiting || got.Out.made && got.Out.batchID == "" && got.Out.run.Shared == ""
	}
	if waiting {
		b.hub.rowsWait()
	}
	b.refuse(ctx, entries, replies)
	return replies, doubtful, nil
}

// enter makes rows that are nobody's followers. A press claims itself when it is
// next: nobody who waits stands before it, and nobody else here beside it; fewer than
// four batches are in flight, or six when others wait to be claimed, and none where
// nobody waits at a button; and no open run has its order key. One that went ahead of
// others is express: claims leave room for the next. What waits is counted per
// transaction, so several processes together may exceed a queue by what each of them was
// adding.
const enter = `
	with p as materialized (
		select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::text[], $8::smallint[], $9::bigint[],
		                     $10::text[], $11::text[], $12::bigint[], $13::int[], $14::text[], $15::text[], $17::bool[]) with ordinality
		as p (run_id, flow, pattern, principal, sum, params, digest, class, timeout, share, keys, lead, queue, order_key, workflow_id, waits, ord)
	), fresh as materialized (
		select *, row_number() over (partition by flow, workflow_id = '' order by ord) as nth,
			row_number() over ahead = 1 and coalesce((lead(class) over ahead, lead(lead) over ahead) > (class, lead), true) as first
		from (
			select *, row_number() over (partition by share order by ord) as twin from p
			where not exists (select from work w where w.run_id = p.run_id)
			  and (share = '' or not exists (select from work w where w.share = p.share))
		) as p
		where share = '' or twin = 1
		window ahead as (partition by flow, workflow_id = '' order by class, lead, ord)
	), room as materialized (
		select flow,
			(select count(*) from (select from work w where w.flow = f.flow and w.batch_id is null and w.leader is null
				and w.closed_at is null limit f.queue) as w) as waiting,
			exists (select from work w where w.flow = f.flow and w.batch_id is null and w.leader is null
				and w.closed_at is null and (w.due_at is null or w.due_at <= now())) as others,
			(select count(*) from (select from batch b where b.flow = f.flow and b.settled_at is null
				and b.claimed_at > now() - interval '5 seconds' limit 6) as b) as flying
		from (select flow, max(queue) as queue from fresh group by flow) as f
	), entered as materialized (
		select *, workflow_id = '' and waiting + nth > queue as crowded, case
			when workflow_id <> '' then workflow_id
			when first and not waits and flying < case when class > 0 then 1 when others then 6 else 4 end and (not others or not exists (
				select from work w where w.flow = fresh.flow and w.batch_id is null and w.leader is null and w.closed_at is null
				and (w.class, w.order_at) <= (fresh.class, now() + fresh.lead * interval '1 microsecond')))
			and (order_key = '' or not exists (
				select from work w where w.order_key = fresh.order_key and w.flow || '' = fresh.flow
				and w.leader is null and w.closed_at is null)) then run_id end as batch_id
		from fresh join room using (flow)
	), made as (
		insert into work (run_id, flow, pattern, principal, body_sha256, params, digest, class, timeout, deadline_at, order_at, order_key, share,
		                  batch_id, workflow_id, progress)
		select run_id, flow, pattern, principal, sum, params::json, digest, class, timeout * interval '1 microsecond',
		       now() + timeout * interval '1 microsecond', now() + (lead + ord) * interval '1 microsecond',
		       nullif(order_key, ''), nullif(share, ''), batch_id, nullif(workflow_id, ''), work_step('[]', 'accepted', '')
		from entered where not crowded order by share, run_id
		on conflict do nothing
		returning run_id, batch_id, accepted_at, deadline_at, progress
	), claimed as (
		insert into batch (batch_id, flow, pattern, digest, class, size, lease_until, relayed_at, express)
		select e.batch_id, flow, pattern, digest, class, 1, now() + $16::interval, case when workflow_id <> '' then now() end,
		       others and workflow_id = ''
		from made join entered e using (run_id) where e.batch_id is not null
	), said as (
		` + journal.Insert + `
		select flow, run_id, 'accepted', 'accepted', false, array(select jsonb_array_elements_text(keys::jsonb)), '{}'
		from made join entered using (run_id)
	)
	select p.ord - 1, made.run_id is not null, coalesce(made.batch_id, ''), accepted_at, deadline_at, made.progress, coalesce(entered.crowded, false), coalesce(entered.others, false)
	from p left join entered using (ord) left join made on made.run_id = p.run_id`

// pressRows are presses as columns.
type pressRows struct {
	runIDs, flows, patterns, principals, params, digests, share, keys, orderKeys, workflows []string
	sums                                                                                    [][]byte
	classes                                                                                 []int16
	timeouts, leads                                                                         []int64 // microseconds
	queues                                                                                  []int32
	waits                                                                                   []bool
}

func (b *Book) rowsOf(entries []*entry, wait bool) (pressRows, error) {
	var r pressRows
	for _, e := range entries {
		keys, err := json.Marshal(journal.Keys(append(keysOf(e.params), e.runID)...))
		if err != nil {
			return r, fault.New(fault.Bug, "run.encode", "the keys of a run cannot be encoded", err)
		}
		r.runIDs, r.flows = append(r.runIDs, e.runID), append(r.flows, e.press.Flow)
		r.patterns, r.principals = append(r.patterns, string(e.plan.Pattern)), append(r.principals, e.press.Principal)
		r.params, r.sums = append(r.params, string(e.body)), append(r.sums, e.sum[:])
		r.digests, r.classes = append(r.digests, e.digest), append(r.classes, int16(e.press.Class))
		r.timeouts, r.leads = append(r.timeouts, e.timeout().Microseconds()), append(r.leads, e.lead.Microseconds())
		r.share, r.keys = append(r.share, e.share), append(r.keys, string(keys))
		r.queues, r.orderKeys = append(r.queues, e.queue()), append(r.orderKeys, e.orderKey)
		r.workflows, r.waits = append(r.workflows, e.press.Workflow), append(r.waits, e.waits || wait)
	}
	return r, nil
}

// followers are the columns that follow takes.
func (r *pressRows) followers() []any {
	return []any{r.runIDs, r.flows, r.patterns, r.principals, r.sums, r.params, r.digests, r.classes, r.timeouts, r.share, r.keys, r.leads}
}

func (r *pressRows) args(lease time.Duration) []any {
	return append(r.followers(), r.queues, r.orderKeys, r.workflows, lease, r.waits)
}

func (e *entry) timeout() time.Duration {
	if e.plan.Limits.Timeout <= 0 {
		return anyTimeout
	}
	return e.plan.Limits.Timeout
}

func (e *entry) queue() int32 {
	if e.plan.Limits.Queue <= 0 {
		return anyQueue
	}
	return int32(min(e.plan.Limits.Queue, 1<<30))
}

// made is the run as it was committed.
func (e *entry) made(at, deadline time.Time, progress []byte) (flow.Run, error) {
	run := flow.Run{
		RunID: e.runID, Flow: e.press.Flow, Status: flow.Accepted, Effects: []flow.Effect{}, Params: e.params,
		Principal: e.press.Principal, Digest: e.digest, AcceptedAt: at.UTC(), DeadlineAt: deadline.UTC(),
	}
	var err error
	run.Progress, err = steps(progress)
	return run, err
}

// errFull marks a press that found its queue full, until refuse words it.
var errFull = fault.New(fault.Throttled, "queue.full", "too many runs of this flow are waiting", nil)

func scanEntered(rows pgx.Rows, entries []*entry, replies []group.Reply[accepted]) error {
	var i int
	var there, full, others bool
	var batchID string
	var at, deadline *time.Time
	var progress []byte
	_, err := pgx.ForEachRow(rows, []any{&i, &there, &batchID, &at, &deadline, &progress, &full, &others}, func() error {
		switch {
		case there:
			run, err := entries[i].made(*at, *deadline, progress)
			if batchID != "" {
				run.WorkflowID = entries[i].start().WorkflowID()
			}
			replies[i].Out = accepted{run: run, batchID: batchID, made: true, others: others}
			return err
		case full:
			replies[i].Err = errFull
		}
		return nil
	})
	return err
}

// Bounds of a Retry-After, and how long a flow's past tells of its future.
const (
	soonest   = time.Second
	latest    = time.Minute
	lately    = 10 * time.Second
	unknowing = 5 * time.Second // nothing was finished lately
)

// join makes followers of the presses that found their share taken. When others were
// in the way, or nobody knows whether it did, they are left out, to be tried again.
func (b *Book) join(ctx context.Context, entries []*entry, replies []group.Reply[accepted]) (doubtful bool) {
	var places []int
	for i, e := range entries {
		if e.share != "" && replies[i].Err == nil && !replies[i].Out.made {
			places = append(places, i)
		}
	}
	if len(places) == 0 {
		return false
	}
	sharing := pick(entries, places)
	rows, err := b.rowsOf(sharing, false)
	joined := make([]group.Reply[accepted], len(sharing))
	if err == nil {
		err = b.store.Write(ctx, func(c *pgxpool.Conn) error {
			r, err := c.Query(ctx, follow, rows.followers()...)
			if err != nil {
				return err
			}
			return scanFollowing(r, sharing, joined)
		})
	}
	for n, i := range places {
		switch {
		case err == nil:
			replies[i] = joined[n]
		case !fault.Is(err, fault.InDoubt) && fault.Of(err).Code != "store.contended":
			replies[i].Err = err
		}
	}
	return fault.Is(err, fault.InDoubt)
}

// refuse tells presses that found their queue full when to come again: after the
// time in which the flow, as fast as lately, works off what waits now.
func (b *Book) refuse(ctx context.Context, entries []*entry, replies []group.Reply[accepted]) {
	after := map[string]time.Duration{}
	for i, e := range entries {
		if replies[i].Err != errFull { //nolint:errorlint // the mark itself
			continue
		}
		wait, known := after[e.press.Flow]
		if !known {
			wait = b.drain(ctx, e)
			after[e.press.Flow] = wait
		}
		replies[i].Err = fault.ThrottledFor(wait, errFull.Code, fmt.Sprintf(
			"as many runs of %s wait as its limits.queue allows; try again after the time that Retry-After names", e.press.Flow), nil)
	}
}

// drain estimates how long a full queue needs. It is a hint: when the database does
// not say, nothing is known.
func (b *Book) drain(ctx context.Context, e *entry) time.Duration {
	var done int64
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `select coalesce(sum(done), 0) from batch where flow = $1 and settled_at > now() - $2::interval`,
			e.press.Flow, lately).Scan(&done)
	})
	if err != nil || done == 0 {
		return unknowing
	}
	wait := time.Duration(float64(e.queue()) / float64(done) * float64(lately))
	return min(max(wait, soonest), latest).Round(time.Second)
}
