package topic

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

type (
	// Plans gives the flows in force.
	Plans interface {
		List(ctx context.Context) ([]flow.Applied, error)
	}

	// Topics keeps business events. It is safe for concurrent use.
	Topics struct {
		// Wake is called when somebody may have to be woken; it must not block. It is
		// set before the first event, or stays nil.
		Wake func()

		store *store.Store
		plans Plans
	}
)

const (
	// DefaultKeep is how long an event waits for somebody unless a contract says otherwise.
	DefaultKeep = 30 * 24 * time.Hour
	// remembered is how long what became of an event is known after its end.
	remembered = 30 * 24 * time.Hour
	mostID     = 200
	mostData   = 48 << 10 // of its JSON: it becomes part of no history, and is no file
	mostKey    = 500
	mostListed = 500
)

// New gives the business events of a store.
func New(s *store.Store, plans Plans) *Topics { return &Topics{store: s, plans: plans} }

// Post keeps an event of a topic for whoever awaits it, now or later: what it returns without
// error is committed (promise 1). id is what the sender, from, knows it by. One whose ID is known with the same content is a duplicate and
// changes nothing. Faults: NotFound "event.not_found" where no flow accepts the topic, Invalid
// "event.invalid" with every field that is not as a flow that accepts it says, and
// Conflict "event.id_conflict" for an ID that stands for another content.
func (t *Topics) Post(ctx context.Context, topic, id string, data flow.Row, from string) (flow.TopicEvent, error) {
	accepted, err := t.accepted(ctx, topic)
	if err != nil {
		return flow.TopicEvent{}, err
	}
	kept, keep := flow.Row{}, time.Duration(0)
	for _, a := range accepted {
		row, err := a.Validate(data)
		if err != nil {
			return flow.TopicEvent{}, err
		}
		for name, v := range row {
			kept[name] = v
		}
		keep = max(keep, a.Keep)
	}
	key, known := accepted[0].KeyOf(kept)
	if !known || len(key) > mostKey {
		return flow.TopicEvent{}, fault.Invalidf(flow.TopicInvalidCode, "the business key of the event, %s, is empty or longer than %d bytes", strings.Join(accepted[0].Key, ", "), mostKey)
	}
	switch {
	case id == "" || len(id) > mostID || id != store.Text(id):
		return flow.TopicEvent{}, fault.Invalidf(flow.TopicInvalidCode, "the event has no ID of 1 to %d bytes of text", mostID).
			With(fault.Field{Path: "id", Code: "field.required", Detail: "must tell the event from every other one of its topic", Fix: "give what the sender knows it by; the same ID again is the same event"})
	case !storable(kept):
		return flow.TopicEvent{}, fault.Invalidf(flow.TopicInvalidCode, "the event has text with a NUL character or broken UTF-8, which cannot be kept")
	}
	body, err := json.Marshal(kept) // keys are sorted: the same content is the same text
	if err != nil {
		return flow.TopicEvent{}, fault.New(fault.Bug, "event.encode", "an event cannot be encoded", err)
	}
	if len(body) > mostData {
		return flow.TopicEvent{}, fault.Invalidf(flow.TopicInvalidCode, "the event has %d bytes, and at most %d are kept; send a reference to what is large", len(body), mostData)
	}
	e, err := t.insert(ctx, flow.TopicEvent{Topic: topic, ID: id, Key: key, From: from}, body, keep)
	if err == nil && !e.Duplicate && t.Wake != nil {
		t.Wake()
	}
	return e, err
}

// accepted are the contracts of a topic in the flows in force; there is at least one.
func (t *Topics) accepted(ctx context.Context, name string) (all []*flow.Topic, err error) {
	plans, err := t.plans.List(ctx)
	if err != nil {
		return nil, err
	}
	var others []string
	for _, p := range plans {
		for i := range p.Plan.Accepts {
			if a := &p.Plan.Accepts[i]; a.Name == name {
				all = append(all, a)
			} else if !slices.Contains(others, a.Name) {
				others = append(others, a.Name)
			}
		}
	}
	if len(all) > 0 {
		return all, nil
	}
	text := "no flow accepts events of this name"
	if slices.Sort(others); len(others) > 0 {
		text += "; accepted are " + strings.Join(others, ", ")
	}
	return nil, fault.NotFoundf(flow.TopicUnknownCode, "%s", text)
}

// storable reports whether PostgreSQL keeps all texts of a value.
func storable(v any) bool {
	switch v := v.(type) {
	case string:
		return v == store.Text(v)
	case []any:
		return !slices.ContainsFunc(v, func(one any) bool { return !storable(one) })
	case map[string]any:
		for name, one := range v {
			if !storable(name) || !storable(one) {
				return false
			}
		}
	}
	return true
}

func (t *Topics) insert(ctx context.Context, p flow.TopicEvent, body []byte, keep time.Duration) (e flow.TopicEvent, err error) {
	sum := sha256.Sum256(body)
	err = t.store.Tx(ctx, func(tx pgx.Tx) error {
		if err := hold(ctx, tx, p.Topic, p.Key); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `
			insert into topic_event (topic, event_id, key, data, sum, source, received_at, expires_at)
			select $1, $2, $3, $4::jsonb, $5, $6, at, at + $7::interval from (select clock_timestamp() as at) as now
			on conflict (topic, event_id) do nothing`, p.Topic, p.ID, p.Key, string(body), sum[:], store.Text(p.From), keep)
		if err != nil {
			return err
		}
		var known []byte
		if err := tx.QueryRow(ctx, `select sum, `+shown+` from topic_event where topic = $1 and event_id = $2`, p.Topic, p.ID).
			Scan(append([]any{&known}, fields(&e)...)...); err != nil {
			return err
		}
		if !bytes.Equal(known, sum[:]) {
			return fault.New(fault.Conflict, flow.TopicClashCode, "an event of this topic had the ID and said something else; give each event an ID of its own", nil)
		}
		e.Duplicate = tag.RowsAffected() == 0
		return nil
	})
	if err != nil {
		return flow.TopicEvent{}, err
	}
	return inUTC(e), nil
}

// shown are the columns of an event as it is shown, and fields what they are read into.
const shown = `topic, event_id, key, source, state, why, coalesce(run_id, ''), coalesce(task, ''), received_at, expires_at, ended_at`

func fields(e *flow.TopicEvent) []any {
	return []any{&e.Topic, &e.ID, &e.Key, &e.From, &e.State, &e.Why, &e.Run, &e.Task, &e.ReceivedAt, &e.ExpiresAt, &e.EndedAt}
}

func inUTC(e flow.TopicEvent) flow.TopicEvent {
	e.ReceivedAt, e.ExpiresAt = e.ReceivedAt.UTC(), e.ExpiresAt.UTC()
	if e.EndedAt != nil {
		at := e.EndedAt.UTC()
		e.EndedAt = &at
	}
	return e
}

func collect(rows pgx.Rows) ([]flow.TopicEvent, error) {
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (e flow.TopicEvent, err error) {
		err = row.Scan(fields(&e)...)
		return inUTC(e), err
	})
}

// List gives events, the newest first.
func (t *Topics) List(ctx context.Context, f flow.TopicFilter) (list []flow.TopicEvent, err error) {
	limit := mostListed
	if f.Limit > 0 {
		limit = min(f.Limit, mostListed)
	}
	err = t.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select `+shown+` from topic_event
			where ($1 = '' or topic = $1) and ($2 = '' or key = $2) and ($3 = '' or state = $3) order by id desc limit $4`,
			store.Text(f.Topic), store.Text(f.Key), string(f.State), limit)
		if err == nil {
			list, err = collect(rows)
		}
		return err
	})
	return list, err
}

// Expire ends the time of events that nobody came for, each with the reason, and forgets
// what ended long ago, a part at a time; it says how many expired.
func (t *Topics) Expire(ctx context.Context) (expired int, err error) {
	const most = 1000
	err = t.store.Write(ctx, func(c *pgxpool.Conn) error {
		tag, err := c.Exec(ctx, `
			update topic_event e set state = 'expired', ended_at = now(), why = case when late.run_id is null
				then 'no run awaited it before ' || to_char(e.expires_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC'
				else 'the run ' || late.run_id || ' awaited such an event until ' || to_char(late.until at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC, and nobody after that' end
			from (select id from topic_event where state = 'kept' and expires_at <= now() order by expires_at limit $1 for update skip locked) as due
			join topic_event k using (id)
			left join lateral (select run_id, until from topic_wait w where w.topic = k.topic and w.key = k.key and k.data @> w.match
				and w.ended_at <= k.received_at order by w.ended_at desc limit 1) as late on true
			where e.id = due.id`, most)
		expired = int(tag.RowsAffected())
		return err
	})
	if err != nil {
		return 0, err
	}
	err = t.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `delete from topic_event where id in (select id from topic_event where ended_at < now() - $1::interval order by ended_at limit $2)`, remembered, most)
		return err
	})
	return expired, err
}

// Explain gives the events of a business key, an event's ID, or a run, the oldest first.
func (t *Topics) Explain(ctx context.Context, about string) ([]flow.Entry, error) {
	var list []flow.TopicEvent
	err := t.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `select `+shown+` from topic_event where key = $1 or event_id = $1 or run_id = $1 order by id desc limit $2`, store.Text(about), mostListed)
		if err == nil {
			list, err = collect(rows)
		}
		return err
	})
	slices.Reverse(list)
	entries := make([]flow.Entry, len(list))
	for i, e := range list {
		entries[i] = flow.Entry{At: e.ReceivedAt, Run: e.Run, What: "business event", Reason: string(e.State),
			Detail: map[string]any{"topic": e.Topic, "event": e.ID, "key": e.Key, "from": e.From, "why": e.Topic + " " + e.ID + " " + Words(e)}}
	}
	return entries, err
}

// Words say what became of an event.
func Words(e flow.TopicEvent) string {
	switch e.State {
	case flow.TopicTaken:
		return fmt.Sprintf("taken by the step %s of run %s", e.Task, e.Run)
	case flow.TopicExpired:
		return "expired: " + e.Why
	case flow.TopicKept:
	}
	return "kept for whoever awaits it, until " + e.ExpiresAt.Format(time.DateTime) + " UTC"
}
