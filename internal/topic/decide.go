package topic

import (
	"cmp"
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/claimcheck"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

// Troubles counts the events that a person has to decide on, by topic and by whether they
// expired or a flow could not be started by them.
func (t *Topics) Troubles(ctx context.Context) (list []flow.TopicTrouble, err error) {
	err = t.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			with wrong as (
				select e.topic, case when e.state = 'expired' then e.state else 'dead' end as state, count(*) as n, max(e.id) as newest,
				       min(coalesce(e.ended_at, e.received_at)) as first, max(coalesce(e.ended_at, e.received_at)) as last
				from topic_event e where `+undecided+` group by 1, 2
			)
			select w.topic, w.state, w.n, w.first, w.last, `+shown+` from wrong w join topic_event e on e.id = w.newest order by w.topic, w.state`)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (one flow.TopicTrouble, err error) {
			err = row.Scan(append([]any{&one.Topic, &one.State, &one.Count, &one.First, &one.Last}, fields(&one.Sample)...)...)
			one.First, one.Last, one.Sample = one.First.UTC(), one.Last.UTC(), inUTC(one.Sample)
			return one, err
		})
		return err
	})
	return list, err
}

// Redrive offers events again that expired or that a flow could not be started by: they are
// kept once more as long as the flows that accept them say, wake who awaits them and start the flows that they have not
// started. It gives those that it offered; what somebody else decided meanwhile is left as it
// is. Only undecided events are. One that tells of a document that is not kept any more is left, too: where
// nothing else was to be offered it is the fault, Rejected "document.unknown".
func (t *Topics) Redrive(ctx context.Context, by string, f flow.TopicFilter) ([]flow.TopicEvent, error) {
	list, err := t.undecided(ctx, f)
	var done []flow.TopicEvent
	var left error
	for _, e := range list {
		accepted, _, err := t.accepted(ctx, e.Topic)
		if err != nil {
			return done, err
		}
		keep := time.Duration(0)
		for _, c := range accepted {
			keep = max(keep, c.Keep)
		}
		keep = cmp.Or(keep, defaultKeep)
		offered := false
		err = t.store.Tx(ctx, func(tx pgx.Tx) error {
			if err := hold(ctx, tx, e.Topic, e.Key); err != nil { // who begins to await it now finds it, or is found
				return err
			}
			var id int64
			var data []byte
			rows, err := tx.Query(ctx, `
				update topic_event e set dispatched_at = null, redriven = redriven + 1, decided_by = $3,
				       state = case when ended.over then 'kept' else e.state end, why = case when ended.over then '' else e.why end,
				       ended_at = case when not ended.over then e.ended_at end,
				       expires_at = case when ended.over then clock_timestamp() + $4::interval else e.expires_at end
				from (select id, state in ('expired', 'dead') as over from topic_event where topic = $1 and event_id = $2) as ended
				where e.id = ended.id and `+undecided+` returning e.id, e.data`, e.Topic, e.ID, store.Text(by), keep)
			if err != nil {
				return err
			}
			offered = false
			if _, err = pgx.ForEachRow(rows, []any{&id, &data}, func() error { offered = true; return nil }); err != nil || !offered {
				return err
			}
			var kept flow.Row
			if err := decode(data, &kept); err != nil {
				return err
			}
			if err := claimcheck.HoldAll(ctx, tx, claimcheck.Owner{Event: id}, documents(accepted, kept)...); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, `delete from topic_run where event = $1 and code is not null`, id)
			return err
		})
		if f := fault.Of(err); err != nil && f.Code == flow.DocumentUnknownCode {
			left = cmp.Or(left, error(fault.New(f.Class, f.Code, "the event "+e.ID+" of "+e.Topic+" cannot be offered again: "+f.Text+"; put it aside, or have it sent again under another ID", err)))
			continue
		}
		if err != nil {
			return done, err
		}
		if offered {
			done = append(done, e)
		}
	}
	if len(done) > 0 && t.Wake != nil {
		t.Wake()
	}
	if err == nil && len(done) == 0 {
		err = left
	}
	return done, err
}

// Dismiss puts undecided events aside: nothing more has to be done about them, and why says
// so. It gives how many it put aside.
func (t *Topics) Dismiss(ctx context.Context, by, why string, f flow.TopicFilter) (n int, err error) {
	f.Undecided = true
	err = t.store.Write(ctx, func(c *pgxpool.Conn) error {
		tag, err := c.Exec(ctx, `update topic_event e set decided_at = now(), decided_by = $8, note = $9 where `+choose, append(chosen(f), store.Text(by), store.Text(why))...)
		n = int(tag.RowsAffected())
		return err
	})
	return n, err
}

// undecided lists events to decide on, the oldest first.
func (t *Topics) undecided(ctx context.Context, f flow.TopicFilter) ([]flow.TopicEvent, error) {
	f.Undecided, f.Oldest = true, true
	return t.List(ctx, f)
}
