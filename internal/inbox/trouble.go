package inbox

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

const (
	// causeOf names why an event is in trouble, the same for all of one cause.
	causeOf = `left(encode(sha256(convert_to(concat_ws(chr(31), e.flow, e.source, e.reason, e.clause, e.detail), 'UTF8')), 'hex'), 16)`
	// troubled chooses events that wait for a person: of a flow ($1), of causes ($2) or
	// by their numbers ($3), as far as these are given.
	troubled = `e.reason in ('rejected', 'dead') and e.dismissed_at is null and ($1 = '' or e.flow = $1)
		and (cardinality($2::text[]) = 0 or ` + causeOf + ` = any($2)) and (cardinality($3::bigint[]) = 0 or e.id = any($3))`
	// mostCauses bounds a list of troubles.
	mostCauses = 200
)

// Troubles gives the events that were rejected or are dead and that nobody has decided
// on, gathered by cause, the newest first.
func (x *Inbox) Troubles(ctx context.Context, choose flow.TroubleFilter) ([]flow.Trouble, error) {
	var list []flow.Trouble
	err := x.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			with t as (
				select `+causeOf+` as cause, flow, source, reason, clause, detail, count(*) as n, min(received_at) as first, max(received_at) as last,
				       max(id) as newest
				from event e where `+troubled+` group by 1, 2, 3, 4, 5, 6 order by last desc limit $4
			)
			select t.cause, t.flow, t.source, t.reason, t.clause, t.detail, t.n, t.first, t.last, e.id, e.key, e.record, e.change, e.received_at
			from t join event e on e.id = t.newest order by t.last desc, t.cause`, choose.Flow, nonNil(choose.Causes), nonNil(choose.Events), mostCauses)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (flow.Trouble, error) {
			var t flow.Trouble
			err := r.Scan(&t.Cause, &t.Flow, &t.Source, &t.Reason, &t.Clause, &t.Detail, &t.Count, &t.First, &t.Last,
				&t.Sample.Event, &t.Sample.Key, &t.Sample.Record, &t.Sample.Change, &t.Sample.At)
			t.First, t.Last, t.Sample.At = t.First.UTC(), t.Last.UTC(), t.Sample.At.UTC()
			t.Detail = flow.Fate{Reason: t.Reason, Source: t.Source, Clause: t.Clause, Detail: t.Detail}.Words()
			return t, err
		})
		return err
	})
	return list, err
}

// Dismiss puts events in trouble aside: they keep their reason, and wait for nobody.
// It gives how many; those that somebody else decided on meanwhile are left.
func (x *Inbox) Dismiss(ctx context.Context, by, why string, choose flow.TroubleFilter) (int, error) {
	if strings.TrimSpace(why) == "" {
		return 0, fault.Invalidf("params.invalid", "say why nothing more has to be done about the events")
	}
	n := 0
	err := x.store.Write(ctx, func(c *pgxpool.Conn) error {
		tag, err := c.Exec(ctx, `
			update event e set dismissed_at = now(), decided_by = $4, note = $5 where `+troubled,
			choose.Flow, nonNil(choose.Causes), nonNil(choose.Events), store.Text(by), store.Text(why))
		n = int(tag.RowsAffected())
		return err
	})
	return n, err
}

// nonNil is a list as PostgreSQL takes it: an empty one is no null.
func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
