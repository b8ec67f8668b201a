package topic

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/claimcheck"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

type (
	// Plans gives the flows in force.
	Plans interface {
		List(ctx context.Context) ([]flow.Applied, error)
	}

	// Prepared is an event that may be kept.
	Prepared struct {
		topic, id, key, from string
		body                 []byte
		keep                 time.Duration
		documents            []string // that it tells of, by their checksums
	}

	// contract is what one flow says of a topic.
	contract struct {
		*flow.Topic
		by string
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
	// defaultKeep is how long an event waits that no flow accepts yet.
	defaultKeep = 30 * 24 * time.Hour
	// remembered is how long what became of an event is known after its end.
	remembered = 30 * 24 * time.Hour
	mostID     = 200
	mostData   = 48 << 10 // of its JSON: it becomes part of no history, and is no file
	mostKey    = 500
	mostListed = 500
)

// New gives the business events of a store.
func New(s *store.Store, plans Plans) *Topics { return &Topics{store: s, plans: plans} }

// Post keeps an event of a topic for whoever awaits it, now or later, and for the flows that
// it starts: what it returns without error is committed (promise 1). id is what the sender,
// from, knows it by. One whose ID is known with the same content is a duplicate and
// changes nothing. Faults: NotFound "event.not_found" where no flow accepts the topic, Invalid
// "event.invalid" with every field that is not as a flow that accepts it says, and
// Conflict "event.id_conflict" for an ID that stands for another content.
func (t *Topics) Post(ctx context.Context, topic, id string, data flow.Row, from string) (e flow.TopicEvent, err error) {
	accepted, others, err := t.accepted(ctx, topic)
	if err != nil {
		return e, err
	}
	if len(accepted) == 0 {
		text := "no flow accepts events of this name"
		if len(others) > 0 {
			text += "; accepted are " + strings.Join(others, ", ")
		}
		return e, fault.NotFoundf(flow.TopicUnknownCode, "%s", text)
	}
	p, err := prepare(accepted, id, data, from)
	if err != nil {
		return e, err
	}
	err = t.store.Tx(ctx, func(tx pgx.Tx) error {
		e, err = Put(ctx, tx, p)
		return err
	})
	if err != nil {
		return flow.TopicEvent{}, err
	}
	if !e.Duplicate && t.Wake != nil {
		t.Wake()
	}
	return e, nil
}

// Prepare makes an event of a topic as emitted says ready to be put: it fails as Post does, but
// for a topic that no flow accepts yet. A field that is null is one that is not there.
func (t *Topics) Prepare(ctx context.Context, emitted flow.Topic, id string, data flow.Row, from string) (*Prepared, error) {
	accepted, _, err := t.accepted(ctx, emitted.Name)
	if err != nil {
		return nil, err
	}
	data = maps.Clone(data)
	maps.DeleteFunc(data, func(_ string, v any) bool { return v == nil })
	return prepare(append([]contract{{Topic: &emitted, by: "which " + from + " emits"}}, accepted...), id, data, from)
}

// prepare keeps of an event what contracts name, and proves each of them.
func prepare(contracts []contract, id string, data flow.Row, from string) (*Prepared, error) {
	kept, keep := flow.Row{}, time.Duration(0)
	for _, c := range contracts {
		row, err := c.Validate(data)
		if err != nil {
			f := fault.Of(err)
			return nil, fault.New(f.Class, f.Code, f.Text+" ("+c.by+")", err).With(f.Fields...)
		}
		maps.Copy(kept, row)
		keep = max(keep, c.Keep)
	}
	key, known := contracts[0].KeyOf(kept)
	switch {
	case !known || len(key) > mostKey:
		return nil, fault.Invalidf(flow.TopicInvalidCode, "the business key of the event, %s, is empty or longer than %d bytes", strings.Join(contracts[0].Key, ", "), mostKey)
	case id == "" || len(id) > mostID || id != store.Text(id):
		return nil, fault.Invalidf(flow.TopicInvalidCode, "the event has no ID of 1 to %d bytes of text", mostID).
			With(fault.Field{Path: "id", Code: "field.required", Detail: "must tell the event from every other one of its topic", Fix: "give what the sender knows it by; the same ID again is the same event"})
	case !storable(kept):
		return nil, fault.Invalidf(flow.TopicInvalidCode, "the event has text with a NUL character or broken UTF-8, which cannot be kept")
	}
	body, err := json.Marshal(kept) // keys are sorted: the same content is the same text
	if err != nil {
		return nil, fault.New(fault.Bug, "event.encode", "an event cannot be encoded", err)
	}
	if len(body) > mostData {
		return nil, fault.Invalidf(flow.TopicInvalidCode, "the event has %d bytes, and at most %d are kept; send a reference to what is large", len(body), mostData)
	}
	return &Prepared{topic: contracts[0].Name, id: id, key: key, from: from, body: body, keep: cmp.Or(keep, defaultKeep), documents: documents(contracts, kept)}, nil
}

// documents are the checksums of the documents that contracts name in an event.
func documents(contracts []contract, kept flow.Row) []string {
	var fields []any
	for _, c := range contracts {
		for _, f := range c.Fields {
			if f.Type == flow.Document {
				fields = append(fields, kept[f.Name])
			}
		}
	}
	return flow.Claims(fields...)
}

// accepted are the contracts of a topic in the flows in force, and the names of all others.
func (t *Topics) accepted(ctx context.Context, name string) (all []contract, others []string, err error) {
	plans, err := t.plans.List(ctx)
	for _, p := range plans {
		for i := range p.Plan.Accepts {
			if a := &p.Plan.Accepts[i]; a.Name == name {
				all = append(all, contract{Topic: a, by: "which " + p.Plan.Flow + " accepts"})
			} else if !slices.Contains(others, a.Name) {
				others = append(others, a.Name)
			}
		}
	}
	slices.Sort(others)
	return all, others, err
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

// Put keeps an event in a transaction.
func Put(ctx context.Context, tx pgx.Tx, p *Prepared) (e flow.TopicEvent, err error) {
	if err := hold(ctx, tx, p.topic, p.key); err != nil {
		return e, err
	}
	sum := sha256.Sum256(p.body)
	tag, err := tx.Exec(ctx, `
		insert into topic_event (topic, event_id, key, data, sum, source, received_at, expires_at)
		select $1, $2, $3, $4::jsonb, $5, $6, at, at + $7::interval from (select clock_timestamp() as at) as now
		on conflict (topic, event_id) do nothing`, p.topic, p.id, p.key, string(p.body), sum[:], store.Text(p.from), p.keep)
	if err != nil {
		return e, err
	}
	var id int64
	var known []byte
	if err := tx.QueryRow(ctx, `select e.id, sum, `+shown+` from topic_event e where topic = $1 and event_id = $2`, p.topic, p.id).
		Scan(append([]any{&id, &known}, fields(&e)...)...); err != nil {
		return e, err
	}
	if !bytes.Equal(known, sum[:]) {
		return e, fault.New(fault.Conflict, flow.TopicClashCode, "an event of this topic had the ID and said something else; give each event an ID of its own", nil)
	}
	if e.Duplicate = tag.RowsAffected() == 0; e.Duplicate {
		return inUTC(e), nil
	}
	return inUTC(e), p.hold(ctx, tx, id)
}

// hold keeps the documents of an event as long as it is kept.
func (p *Prepared) hold(ctx context.Context, tx pgx.Tx, id int64) error {
	err := claimcheck.HoldAll(ctx, tx, claimcheck.Owner{Event: id}, p.documents...)
	if f := fault.Of(err); err != nil && f.Code == flow.DocumentUnknownCode {
		err = fault.Invalidf(flow.TopicInvalidCode, "the event tells of a document that is not kept: %s", f.Text)
	}
	return err
}

// Waiting gives those of events, by the IDs of their rows, whose documents somebody may still
// need: they are kept for who may come, or not told to everybody yet, or a person has to decide
// on them and may offer them again.
func (t *Topics) Waiting(ctx context.Context, ids []int64) (map[int64]bool, error) {
	waiting := map[int64]bool{}
	err := t.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `select e.id from topic_event e where e.id = any ($1) and (e.state = 'kept' or e.dispatched_at is null or `+undecided+`)`, ids)
		if err != nil {
			return err
		}
		var id int64
		_, err = pgx.ForEachRow(rows, []any{&id}, func() error { waiting[id] = true; return nil })
		return err
	})
	return waiting, err
}

// ToldID is the ID of the n-th event, from 1 on, that a run which tells of its rows becomes.
func ToldID(runID string, n int) string { return fmt.Sprintf("%s/%d", runID, n) }

// toldShown bounds the events of a run that are shown with it.
const toldShown = 20

// Told gives the events that runs became, by run.
func Told(ctx context.Context, q querier, runIDs []string) (map[string][]flow.TopicEvent, error) {
	if len(runIDs) == 0 {
		return nil, nil
	}
	ids := make([]string, 0, toldShown*len(runIDs))
	for _, id := range runIDs {
		for n := range toldShown {
			ids = append(ids, ToldID(id, n+1))
		}
	}
	rows, err := q.Query(ctx, `select `+shown+` from topic_event e where event_id = any ($1) order by id`, ids)
	if err != nil {
		return nil, err
	}
	list, err := collect(rows)
	all := map[string][]flow.TopicEvent{}
	for _, e := range list {
		of, _, _ := strings.Cut(e.ID, "/")
		all[of] = append(all[of], e)
	}
	return all, err
}

// PutAll keeps events in a transaction, in an order in which no two transactions wait for
// each other.
func PutAll(ctx context.Context, tx pgx.Tx, all []*Prepared) error {
	slices.SortFunc(all, func(a, b *Prepared) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.key, b.key), cmp.Compare(a.id, b.id))
	})
	for _, p := range all {
		if _, err := Put(ctx, tx, p); err != nil {
			return err
		}
	}
	return nil
}

// shown are the columns of an event e as it is shown, and fields what they are read into.
const shown = `e.topic, e.event_id, e.key, e.source, e.state, e.why, coalesce(e.run_id, ''), coalesce(e.task, ''), e.received_at, e.expires_at, e.ended_at,
	(select json_agg(json_strip_nulls(json_build_object('flow', r.flow, 'run', r.run_id,
		'problem', case when r.code is not null then json_build_object('code', r.code, 'detail', r.detail) end)) order by r.flow) from topic_run r where r.event = e.id),
	e.redriven, e.decided_at, coalesce(e.decided_by, ''), coalesce(e.note, '')`

func fields(e *flow.TopicEvent) []any {
	return []any{&e.Topic, &e.ID, &e.Key, &e.From, &e.State, &e.Why, &e.Run, &e.Task, &e.ReceivedAt, &e.ExpiresAt, &e.EndedAt, &e.Started,
		&e.Redriven, &e.DecidedAt, &e.DecidedBy, &e.Note}
}

func inUTC(e flow.TopicEvent) flow.TopicEvent {
	e.ReceivedAt, e.ExpiresAt = e.ReceivedAt.UTC(), e.ExpiresAt.UTC()
	if e.EndedAt != nil {
		at := e.EndedAt.UTC()
		e.EndedAt = &at
	}
	if e.DecidedAt != nil {
		at := e.DecidedAt.UTC()
		e.DecidedAt = &at
	}
	return e
}

func collect(rows pgx.Rows) ([]flow.TopicEvent, error) {
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (e flow.TopicEvent, err error) {
		err = row.Scan(fields(&e)...)
		return inUTC(e), err
	})
}

// choose is what a filter says of an event e, with the arguments that chosen gives.
const choose = `($1 = '' or e.topic = $1) and ($2 = '' or e.key = $2) and ($3 = '' or e.state = $3) and ($4::text[] is null or e.event_id = any ($4))
	and ($5::timestamptz is null or e.received_at >= $5) and ($6::timestamptz is null or e.received_at < $6) and (not $7 or ` + undecided + `)`

// undecided is true of an event e that a person has to decide on.
const undecided = `(e.decided_at is null and (e.state in ('expired', 'dead')
	or e.id in (select r.event from topic_run r where r.code is not null)))`

func chosen(f flow.TopicFilter) []any {
	at := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return &t
	}
	return []any{store.Text(f.Topic), store.Text(f.Key), string(f.State), f.IDs, at(f.Since), at(f.Until), f.Undecided}
}

// List gives events, the newest first unless the filter says otherwise.
func (t *Topics) List(ctx context.Context, f flow.TopicFilter) (list []flow.TopicEvent, err error) {
	limit := mostListed
	if f.Limit > 0 {
		limit = min(f.Limit, mostListed)
	}
	err = t.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select `+shown+` from topic_event e
			where `+choose+` order by case when $8 then id else -id end limit $9`, append(chosen(f), f.Oldest, limit)...)
		if err == nil {
			list, err = collect(rows)
		}
		return err
	})
	return list, err
}

// Expire ends the time of events that nobody came for, each with the reason, and forgets
// what ended long ago, a part at a time; it says how many expired. An event has no end before
// everybody was told of it: a flow that it starts may have had no room until then.
func (t *Topics) Expire(ctx context.Context) (expired int, err error) {
	const most = 1000
	err = t.store.Write(ctx, func(c *pgxpool.Conn) error {
		tag, err := c.Exec(ctx, `
			update topic_event e set ended_at = now(), state = case when runs.dead then 'dead' when runs.flows is not null then 'delivered' else 'expired' end, why = case
				when runs.flows is not null then 'it started ' || runs.flows
				when late.run_id is null then 'no run awaited it before ' || to_char(e.expires_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC'
				else 'the run ' || late.run_id || ' awaited such an event until ' || to_char(late.until at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC, and nobody after that' end
			from (select id from topic_event where state = 'kept' and dispatched_at is not null and expires_at <= now() order by expires_at limit $1 for update skip locked) as due
			join topic_event k using (id)
			left join lateral (select run_id, until from topic_wait w where w.topic = k.topic and w.key = k.key and k.data @> w.match
				and w.ended_at <= k.received_at order by w.ended_at desc limit 1) as late on true
			cross join lateral (select string_agg(case when code is null then 'the run ' || run_id || ' of ' || flow else 'none of ' || flow || ': ' || detail end, '; ' order by flow) as flows,
				bool_or(code is not null) as dead from topic_run r where r.event = due.id) as runs
			where e.id = due.id`, most)
		expired = int(tag.RowsAffected())
		return err
	})
	if err != nil {
		return 0, err
	}
	err = t.store.Write(ctx, func(c *pgxpool.Conn) error {
		if _, err := c.Exec(ctx, `delete from topic_event where id in (select id from topic_event where ended_at < now() - $1::interval order by ended_at limit $2)`, remembered, most); err != nil {
			return err
		}
		// A wait whose run was cancelled has no end of its own. The reason of an event that is kept may name it.
		_, err := c.Exec(ctx, `
			delete from topic_wait where (run_id, task) in (select run_id, task from topic_wait w where coalesce(ended_at, until) < now() - $1::interval
				and not exists (select from topic_event e where e.key = w.key and e.topic = w.topic and e.state = 'kept') order by coalesce(ended_at, until) limit $2)`, remembered, most)
		return err
	})
	return expired, err
}

// Explain gives the events of a business key, an event's ID, or a run, the oldest first.
func (t *Topics) Explain(ctx context.Context, about string) ([]flow.Entry, error) {
	var list []flow.TopicEvent
	err := t.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `select `+shown+` from topic_event e where key = $1 or event_id = $1 or run_id = $1
			or exists (select from topic_run r where r.event = e.id and r.run_id = $1) order by id desc limit $2`, store.Text(about), mostListed)
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
	again := ""
	switch {
	case e.DecidedAt != nil:
		again = "; put aside by " + e.DecidedBy + ": " + e.Note
	case e.Redriven > 0:
		again = "; offered again by " + e.DecidedBy
	}
	switch e.State {
	case flow.TopicTaken:
		return fmt.Sprintf("taken by the step %s of run %s%s", e.Task, e.Run, again)
	case flow.TopicExpired:
		return "expired: " + e.Why + again
	case flow.TopicDelivered, flow.TopicDead:
		return e.Why + again
	case flow.TopicKept:
	}
	var started strings.Builder
	for _, s := range e.Started {
		if s.Problem == nil {
			fmt.Fprintf(&started, "started the run %s of %s; ", s.Run, s.Flow)
		} else {
			fmt.Fprintf(&started, "could not start %s: %s; ", s.Flow, s.Problem.Detail)
		}
	}
	return started.String() + "kept for whoever awaits it, until " + e.ExpiresAt.Format(time.DateTime) + " UTC" + again
}
