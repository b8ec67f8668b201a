package inbox

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/flow"
	"patchbay/internal/store"
)

// told bounds what one explain answers; the newest events win.
const told = 1000

// fates reads events with where they are and why.
const fates = `
	select e.id, e.flow, e.source, e.record, e.key, e.change, e.received_at, e.fate, e.clause, e.detail, e.changed, coalesce(e.window_id, 0),
	       coalesce(e.run_id, ''), e.fated_at, coalesce(e.window_outcome, ''), coalesce(w.events, 0), w.due_at, e.read_at is not null,
	       e.redriven, coalesce(e.decided_by, ''), coalesce(e.note, '')
	from event_fate e left join change_window w on w.id = e.window_id `

// windowed reads windows.
const windowed = `
	select id, flow, key, opened_at, due_at, frozen_at, entered_at, outcome, events, throttled, coalesce(digest_id, 0), coalesce(run_id, '')
	from change_window w `

// Explain gives the events of a business key, a record, a window ("window-12") or a
// run, the oldest first, each with the one reason for where it is and when that was
// decided, and an entry for each window that they are part of.
func (x *Inbox) Explain(ctx context.Context, about string) ([]flow.Entry, error) {
	events, args := `where e.key = $1 and e.key <> '' order by e.id desc limit $2`, []any{store.Text(about), told}
	windows := `where w.id in (select window_id from event where key = $1 and key <> '' and window_id is not null order by id desc limit $2) order by id`
	if id := flow.ParseWindow(about); id != 0 {
		events, args = `where e.window_id = $1 order by e.id desc limit $2`, []any{id, told}
		windows = `where w.id = $1 or w.digest_id = $1 order by id limit $2`
	}
	list := []flow.Entry{}
	err := x.store.Read(ctx, func(c *pgxpool.Conn) error {
		var batch pgx.Batch
		batch.Queue(fates+events, args...).Query(entries(&list, eventEntry))
		batch.Queue(windowed+windows, args...).Query(entries(&list, windowEntry))
		if len(args) > 0 && flow.ParseWindow(about) == 0 {
			batch.Queue(fates+`where e.window_id in (`+windowsOfRun+`) order by e.id desc limit $2`, args...).Query(entries(&list, eventEntry))
			batch.Queue(windowed+`where w.id in (`+windowsOfRun+`) order by id limit $2`, args...).Query(entries(&list, windowEntry))
			// What was never given a key is found by its record.
			batch.Queue(fates+`where e.key = '' and e.record = $1 and (e.reason in ('rejected', 'dead', 'shed') or e.read_at is not null)
				order by e.id desc limit $2`, args...).Query(entries(&list, eventEntry))
		}
		return c.SendBatch(ctx, &batch).Close()
	})
	slices.SortStableFunc(list, func(a, b flow.Entry) int { return a.At.Compare(b.At) })
	return list, err
}

const windowsOfRun = `select id from change_window where run_id = $1
	union all select d.id from change_window w join change_window d on d.digest_id = w.id where w.run_id = $1`

func entries(list *[]flow.Entry, one pgx.RowToFunc[flow.Entry]) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		more, err := pgx.CollectRows(rows, one)
		slices.Reverse(more)
		*list = append(*list, more...)
		return err
	}
}

func eventEntry(r pgx.CollectableRow) (flow.Entry, error) {
	e := flow.Entry{What: "event", Detail: map[string]any{}}
	var id int64
	var record, key, change, by, note string
	var f flow.Fate
	var decided *time.Time
	redriven := 0
	err := r.Scan(&id, &e.Flow, &f.Source, &record, &key, &change, &e.At, &f.Reason, &f.Clause, &f.Detail, &f.Changed, &f.Window, &f.Run, &decided,
		&f.Outcome, &f.Events, &f.Due, &f.Reading, &redriven, &by, &note)
	e.At, e.Run, e.Reason = e.At.UTC(), f.Run, string(f.Reason)
	e.Detail["event"], e.Detail["source"], e.Detail["change"], e.Detail["record"], e.Detail["why"] = id, f.Source, change, record, f.Words()
	if len(f.Changed) > 0 {
		e.Detail["changed"] = f.Changed
	}
	texts := map[string]string{"clause": f.Clause, "detail": f.Detail}
	switch {
	case note != "":
		texts["dismissed_by"], texts["note"] = by, note
	case redriven > 0:
		texts["redriven_by"] = by
	}
	for name, text := range texts {
		if text != "" {
			e.Detail[name] = text
		}
	}
	if f.Window != 0 {
		e.Detail["window"] = flow.WindowName(f.Window)
	}
	if decided != nil {
		e.Detail["decided_at"] = decided.UTC().Format(time.RFC3339Nano)
	}
	return e, err
}

func windowEntry(r pgx.CollectableRow) (flow.Entry, error) {
	e := flow.Entry{What: "window", Detail: map[string]any{}}
	var id, digest int64
	var key string
	var due time.Time
	var frozen, entered *time.Time
	var throttled bool
	events := 0
	err := r.Scan(&id, &e.Flow, &key, &e.At, &due, &frozen, &entered, &e.Reason, &events, &throttled, &digest, &e.Run)
	e.At = e.At.UTC()
	e.Detail["window"], e.Detail["key"], e.Detail["events"] = flow.WindowName(id), key, events
	if e.Reason == "" {
		e.Reason, e.Detail["due_at"] = "open", due.UTC().Format(time.RFC3339Nano)
	}
	if throttled {
		e.Detail["throttled"] = true
	}
	if frozen != nil {
		e.Detail["ended_at"] = frozen.UTC().Format(time.RFC3339Nano)
	}
	if digest != 0 {
		e.Detail["into"] = flow.WindowName(digest)
	}
	return e, err
}

// Forget deletes what is older than it has to be remembered, a part at a time; more
// says that there is more of it.
func (x *Inbox) Forget(ctx context.Context) (more bool, err error) {
	const most = 5000
	age := time.Duration(float64(kept) / x.options.Speed)
	for _, statement := range []string{
		`delete from event where id in (select id from event where received_at < now() - $1::interval and reason <> 'waiting' order by received_at limit $2)`,
		`delete from event where id in (select e.id from event e join change_window w on w.id = e.window_id
			where e.received_at < now() - $1::interval and w.entered_at is not null order by e.received_at limit $2)`,
		`delete from change_window where id in (select id from change_window w where entered_at < now() - $1::interval
			and not exists (select from event e where e.window_id = w.id) limit $2)`,
		`delete from funnel where (flow, at, stage) in (select flow, at, stage from funnel where at < now() - 3 * $1::interval limit $2)`,
		`delete from throttle where (flow, by) in (select flow, by from throttle where next_at < now() - $1::interval limit $2)`,
	} {
		err := x.store.Write(ctx, func(c *pgxpool.Conn) error {
			tag, err := c.Exec(ctx, statement, age, most)
			more = more || tag.RowsAffected() == most
			return err
		})
		if err != nil {
			return false, err
		}
	}
	return more, nil
}
