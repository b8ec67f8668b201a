package run

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/journal"
	"patchbay/internal/ledger"
	"patchbay/internal/store/group"
	"patchbay/internal/topic"
)

// Pages of List.
const (
	defaultPage = 50
	largestPage = 500
)

// columns are what scan reads. A detached run is seen as it was when its owner left.
const columns = `run_id, flow, pattern, principal, params, digest, case when detached_at is null then state else 'cancelled' end,
	deadline_at, coalesce(batch_id, (select l.batch_id from work l where l.run_id = work.leader), ''), coalesce(workflow_id, ''),
	case when answered_at <= coalesce(detached_at, answered_at) then answer end,
	case when answered_at <= coalesce(detached_at, answered_at) then answered_at end,
	case when detached_at is null then problem end, progress, case when detached_at is null then coalesce(waiting, '') else '' end,
	accepted_at, coalesce(detached_at, closed_at), coalesce(leader, ''), round, coalesce(redrive_of, ''), case when state in ('accepted', 'running') then due_at end, detached_at is not null,
	closed_at is null and detached_at is null and exists (select from seal where cause = run_id),
	case when state in ('failed', 'cancelled') and detached_at is null
	     then (select coalesce(sum(cardinality(keys)), 0) from effect where cause = coalesce(work.leader, work.run_id) and state in ('attempt', 'in_doubt')) else 0 end, completeness `

// record is a row of work, as far as it is shown.
type record struct {
	flow.Run
	pattern, batchID, door            string // door: the workflow that brought it, by the second one
	params, answer, problem, progress []byte
	detached                          bool
}

func (r *record) scan(row pgx.Row) error {
	return row.Scan(&r.RunID, &r.Flow, &r.pattern, &r.Principal, &r.params, &r.Digest, &r.Status, &r.DeadlineAt, &r.batchID, &r.door,
		&r.answer, &r.AnsweredAt, &r.problem, &r.progress, &r.Waiting, &r.AcceptedAt, &r.ClosedAt, &r.Shared, &r.Redriven, &r.RedriveOf, &r.DueAt, &r.detached, &r.Cancelling, &r.InDoubt, &r.Completeness)
}

// show completes the outside view of a row. It needs no plan: a run stays
// visible when its plan cannot be read.
func (r *record) show() (flow.Run, error) {
	run := r.Run
	switch { // none carries a run that waits for its turn
	case r.door != "":
		run.WorkflowID = r.door
	case r.batchID != "":
		run.WorkflowID = workflowID(r.pattern, run.Flow, r.batchID)
	}
	run.AcceptedAt, run.DeadlineAt = run.AcceptedAt.UTC(), run.DeadlineAt.UTC()
	run.AnsweredAt, run.ClosedAt, run.DueAt = utc(run.AnsweredAt), utc(run.ClosedAt), utc(run.DueAt)
	if run.Effects == nil {
		run.Effects = []flow.Effect{}
	}
	broken := decode(r.params, &run.Params)
	if r.problem != nil {
		broken = errors.Join(broken, decode(r.problem, &run.Problem))
	}
	if broken != nil {
		return flow.Run{}, fault.New(fault.Bug, "run.decode", "a stored run cannot be read", broken)
	}
	var err error
	if run.Result, err = result(r.answer); err != nil {
		return flow.Run{}, err
	}
	if run.Progress, err = steps(r.progress); err == nil && r.detached {
		run.Progress = slices.DeleteFunc(run.Progress, func(s flow.Step) bool { return s.At.After(*run.ClosedAt) })
		run.Progress = append(run.Progress, flow.Step{Name: "closed", At: *run.ClosedAt, Note: noteLeft})
	}
	return run, err
}

// Reads of one transaction, and how many of these there are at a time.
const (
	mostReads     = 256
	readsInFlight = 2
)

// Get gives a run; NotFound "run.not_found" when there is none. One that shares the
// work of another has the effects of that one. Runs that are asked for at the same
// time are read together.
func (b *Book) Get(ctx context.Context, runID string) (flow.Run, error) {
	return b.reads.Do(ctx, runID)
}

// getAll reads runs.
func (b *Book) getAll(ctx context.Context, runIDs []string) ([]group.Reply[flow.Run], error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	var records map[string]*record
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		records = make(map[string]*record, len(runIDs))
		// The rows before their effects: a run that looks final has all of them.
		rows, err := c.Query(ctx, `select `+columns+`from work where run_id = any ($1)`, runIDs)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var r record
			if err := r.scan(rows); err != nil {
				return err
			}
			records[r.RunID] = &r
		}
		if err := rows.Err(); err != nil {
			return err
		}
		causes := make([]string, 0, len(records))
		for _, r := range records {
			causes = append(causes, cmp.Or(r.Shared, r.RunID))
		}
		effects, err := ledger.EffectsOf(ctx, c, causes...)
		for _, r := range records {
			r.Effects = effects[cmp.Or(r.Shared, r.RunID)]
		}
		if err != nil {
			return err
		}
		var services, events []string
		for _, r := range records {
			switch r.pattern {
			case string(flow.Service), string(flow.Hybrid):
				services = append(services, r.RunID)
			case string(flow.Event):
				events = append(events, r.RunID)
			}
		}
		told, err := topic.Told(ctx, c, events)
		if err != nil {
			return err
		}
		for id, list := range told {
			records[id].Told = list
		}
		if len(services) == 0 {
			return nil
		}
		tasks, err := views(ctx, c, services)
		for _, id := range services {
			records[id].Tasks = tasks[id]
			records[id].Effects = flow.WithUndone(records[id].Effects)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	replies := make([]group.Reply[flow.Run], len(runIDs))
	for i, id := range runIDs {
		if r, found := records[id]; found {
			if replies[i].Out, replies[i].Err = r.show(); replies[i].Err == nil {
				b.hindered(ctx, &replies[i].Out)
			}
		} else {
			replies[i].Err = notFound()
		}
	}
	return replies, nil
}

// List gives a page of runs, newest first, and the cursor of the next; "" when it
// is the last. It leaves out results and effects, but for the number of those in
// doubt: ask Get for them. A cursor that is none of ours is Invalid "runs.cursor".
func (b *Book) List(ctx context.Context, f flow.RunFilter) ([]flow.Run, string, error) {
	limit := f.Limit
	if limit <= 0 {
		limit = defaultPage
	}
	limit = min(limit, largestPage)
	var before *time.Time
	until := instant(f.Until)
	var beforeID string
	if f.Before != "" {
		at, id, err := parseCursor(f.Before)
		if err != nil {
			return nil, "", err
		}
		before, beforeID = &at, id
	}
	var records []record
	err := b.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select `+columns+`from work
			where `+within(f.Status)+` and ($1 = '' or flow = $1) and ($2 = '' or principal = $2)
			  and ($3::timestamptz is null or (accepted_at, run_id) < ($3, $4)) and ($5::timestamptz is null or accepted_at <= $5)
			  and ($7::timestamptz is null or accepted_at >= $7)`+keyed(f.Key)+`
			order by accepted_at desc, run_id desc limit $6`,
			f.Flow, f.Principal, before, beforeID, until, limit+1, instant(f.Since), strings.Join(journal.Keys(f.Key), ""))
		if err != nil {
			return err
		}
		records, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (record, error) {
			var r record
			err := r.scan(row)
			r.answer = nil
			return r, err
		})
		return err
	})
	if err != nil {
		return nil, "", err
	}
	next := ""
	if len(records) > limit {
		records = records[:limit]
		last := records[limit-1]
		next = cursor(last.AcceptedAt, last.RunID)
	}
	runs := make([]flow.Run, len(records))
	for i, r := range records {
		if runs[i], err = r.show(); err != nil {
			return nil, "", err
		}
		b.hindered(ctx, &runs[i])
	}
	return runs, next, nil
}

// keyed is the condition that a row has a business key: the journal knows where. It
// names the parameter $8 in any case.
func keyed(key string) string {
	if key == "" {
		return ` and $8 = ''`
	}
	return ` and run_id in (select run from journal where keys @> array[$8::text] or run = $8)`
}

// within is the condition that a row is seen in a state. The state is a literal, so
// that PostgreSQL finds the few open rows by their index, whatever has ended.
func within(status flow.Status) string {
	switch status {
	case "":
		return `true`
	case flow.Accepted, flow.Running, flow.Parked, flow.Completed, flow.Failed:
		return `state = '` + string(status) + `' and detached_at is null`
	case flow.Cancelled:
		return `(state = 'cancelled' or detached_at is not null)`
	}
	return `false`
}

// A cursor is the place of the last row of a page. Times of PostgreSQL have
// microseconds.
func cursor(at time.Time, runID string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(at.UTC().Format(time.RFC3339Nano) + " " + runID))
}

func parseCursor(s string) (time.Time, string, error) {
	text, err := base64.RawURLEncoding.DecodeString(s)
	at, id, ok := strings.Cut(string(text), " ")
	t, terr := time.Parse(time.RFC3339Nano, at)
	if err != nil || terr != nil || !ok || len(id) > 64 || strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r > '~' }) {
		return time.Time{}, "", fault.Invalidf("runs.cursor", "the cursor is not one that a list of runs gave")
	}
	return t, id, nil
}

func result(body []byte) (*flow.Result, error) {
	if body == nil {
		return nil, nil
	}
	var r flow.Result
	if err := decode(body, &r); err != nil {
		return nil, fault.New(fault.Bug, "run.decode", "a stored answer cannot be read", err)
	}
	return &r, nil
}

func steps(body []byte) ([]flow.Step, error) {
	var steps []flow.Step
	if err := decode(body, &steps); err != nil {
		return nil, fault.New(fault.Bug, "run.decode", "a stored progress cannot be read", err)
	}
	for i := range steps {
		steps[i].At = steps[i].At.UTC()
	}
	return steps, nil
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}
