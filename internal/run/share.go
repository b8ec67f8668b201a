package run

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/flow"
	"patchbay/internal/journal"
	"patchbay/internal/store/group"
)

// Single flight. Identical presses of a flow with share_identical share one run's
// work: the first is the leader, the others are rows of their own, with their own
// key, principal and deadline, that are never claimed. A follower is answered with
// its leader and ends as it ends, with the final reason "shared". It can join until
// its leader has ended other than by completing.
//
// The leader's row orders all of it: who changes its answer or its end holds it, and
// so does whoever joins or leaves. So a follower either finds the answer when it
// joins, or is there to be answered.
//
// The deadline of a follower is no earlier than that of its leader, which ends both
// when there is no answer in time.

// shareOf is equal for presses that may share one run's work: of the same flow,
// plan, class and parameters in the same span of time. Who asks is no part of it: a
// system is read with the connection's credentials, so everybody who may press the
// flow would get the same answer. What a workflow carries already shares with none.
func shareOf(e *entry, now time.Time) string {
	span := e.plan.Limits.ShareIdentical
	if span <= 0 || e.press.Workflow != "" {
		return ""
	}
	h := sha256.New()
	for _, part := range []string{e.press.Flow, e.digest, strconv.Itoa(int(e.press.Class)), strconv.FormatInt(now.UnixNano()/int64(span), 10)} {
		h.Write([]byte(part + "\x00"))
	}
	h.Write(e.body)
	return hex.EncodeToString(h.Sum(nil))
}

// follow makes rows of presses that have a leader. One whose leader was answered or
// has completed is answered and completed at once. A leader that waits gets the
// place of the follower when that one is better: nobody stands behind the many
// presses of another because one of them was the same.
const follow = `
	with p as materialized (
		select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::text[], $8::smallint[], $9::bigint[],
		                     $10::text[], $11::text[], $12::bigint[]) with ordinality
		as p (run_id, flow, pattern, principal, sum, params, digest, class, timeout, share, keys, lead, ord)
		where share <> ''
	), ahead as materialized (
		select run_id as leader, share, order_key, state, answer, answered_at from work
		where share in (select share from p) order by run_id for no key update
	), made as (
		insert into work (run_id, flow, pattern, principal, body_sha256, params, digest, class, timeout, deadline_at, order_key, leader,
		                  state, answer, answered_at, closed_at, progress)
		select run_id, flow, pattern, principal, sum, params::json, digest, class, timeout * interval '1 microsecond',
		       now() + timeout * interval '1 microsecond', order_key, leader,
		       case when state = 'completed' then state when answered_at is not null then 'running' else 'accepted' end,
		       case when answered_at is not null then answer end, case when answered_at is not null then now() end,
		       case when state = 'completed' then now() end,
		       case when state = 'completed' and answered_at is not null then work_step(work_step(work_step('[]', 'accepted', ''), 'answered', ''), 'closed', '')
		            when state = 'completed' then work_step(work_step('[]', 'accepted', ''), 'closed', '')
		            when answered_at is not null then work_step(work_step('[]', 'accepted', ''), 'answered', '')
		            else work_step('[]', 'accepted', '') end
		from p join ahead using (share)
		where run_id <> leader and not exists (select from work w where w.run_id = p.run_id)
		order by run_id
		on conflict do nothing
		returning run_id, leader, state, answered_at, accepted_at, deadline_at, progress
	), hurried as (
		update work l set order_at = now() + f.lead * interval '1 microsecond'
		from (select leader, min(lead) as lead from made join p using (run_id) group by leader) as f
		where l.run_id = f.leader and l.batch_id is null and l.order_at > now() + f.lead * interval '1 microsecond'
	), said as (
		` + journal.Insert + `
		select flow, run_id, 'accepted', 'accepted', false, array(select jsonb_array_elements_text(keys::jsonb)), '{}'
		from made join p using (run_id)
		union all
		select flow, run_id, 'closed', 'shared', true, array(select jsonb_array_elements_text(keys::jsonb)),
		       jsonb_build_object('run', leader, 'status', state)
		from made join p using (run_id) where made.state = 'completed'
	)
	select ord - 1, leader, answered_at is not null or state = 'completed', accepted_at, deadline_at, progress from made join p using (run_id)`

func scanFollowing(rows pgx.Rows, entries []*entry, replies []group.Reply[accepted]) error {
	var i int
	var leader string
	var answered bool
	var at, deadline time.Time
	var progress []byte
	_, err := pgx.ForEachRow(rows, []any{&i, &leader, &answered, &at, &deadline, &progress}, func() error {
		run, err := entries[i].made(at, deadline, progress)
		run.Shared = leader
		replies[i] = group.Reply[accepted]{Out: accepted{run: run, made: true, read: answered}}
		return err
	})
	return err
}

// sharing is a follower that a transaction changed.
type sharing struct {
	runID, flow string
	status      flow.Status
	acceptedAt  time.Time
}

// shareAnswers gives the followers of leaders the answers that these show. It is
// called after the statement that shows them, in its transaction; what it returns
// goes to Book.shared when that is committed.
func shareAnswers(ctx context.Context, tx pgx.Tx, leaderIDs []string) ([]sharing, error) {
	return followers(ctx, tx, `
		update work f set answer = l.answer, answered_at = now(), state = 'running', progress = work_step(f.progress, 'answered', '')
		from work l
		where f.leader = l.run_id and l.run_id = any ($1) and l.answered_at is not null
		  and f.answered_at is null and f.closed_at is null
		returning f.run_id, f.flow, f.state, f.accepted_at`, leaderIDs)
}

// shareEnds ends the followers of leaders that have ended, as these ended: an answer
// included that was kept back until then. Who ended other than by completing leads
// no more, so that the next press works anew. It is called as shareAnswers is, after
// the statement that ended the leaders.
func shareEnds(ctx context.Context, tx pgx.Tx, leaderIDs []string) ([]sharing, error) {
	return followers(ctx, tx, `
		with over as (
			update work set share = null where run_id = any ($1) and share is not null and state in ('failed', 'cancelled')
		), ended as (
			update work f set
				state = l.state, problem = l.problem, closed_at = now(), waiting = null,
				answer = case when l.answered_at is not null then l.answer end,
				answered_at = case when l.answered_at is not null then coalesce(f.answered_at, now()) end,
				progress = work_step(case when l.answered_at is not null then work_step(f.progress, 'answered', '') else f.progress end, 'closed', '')
			from work l
			where f.leader = l.run_id and l.run_id = any ($1) and l.state in ('completed', 'failed', 'cancelled')
			  and f.closed_at is null
			returning f.run_id, f.flow, f.state, f.accepted_at, f.leader, f.round
		), said as (
			`+journal.InsertRound+`
			select round, flow, run_id, 'closed', 'shared', true, coalesce((select keys from journal j where j.run = ended.run_id order by id limit 1), '{}'),
			       jsonb_build_object('run', leader, 'status', state)
			from ended
		)
		select run_id, flow, state, accepted_at from ended`, leaderIDs)
}

// leaders finds, in a batch that has locked the runs before, those that others share
// or may: most share with nobody, and this costs less than sharing with nobody.
func leaders(batch *pgx.Batch, runIDs []string, found *[]string) {
	if len(runIDs) == 0 {
		return
	}
	batch.Queue(`
		select run_id from work w where run_id = any ($1)
		and (share is not null and state in ('failed', 'cancelled') or exists (select from work f where f.leader = w.run_id))`,
		runIDs).Query(func(rows pgx.Rows) (err error) {
		*found, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
}

func followers(ctx context.Context, tx pgx.Tx, sql string, leaderIDs []string) ([]sharing, error) {
	if len(leaderIDs) == 0 {
		return nil, nil
	}
	rows, err := tx.Query(ctx, sql, leaderIDs)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (sharing, error) {
		var s sharing
		err := r.Scan(&s.runID, &s.flow, &s.status, &s.acceptedAt)
		return s, err
	})
}

// shared tells of followers that a committed transaction changed.
func (b *Book) shared(list ...sharing) {
	ids := make([]string, len(list))
	for i, s := range list {
		ids[i] = s.runID
		if s.status.Final() {
			b.ended(s.flow, s.status, time.Since(s.acceptedAt))
		}
	}
	b.hub.publish(ids...)
}
