package inbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/inbox"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
)

// bundle is an inbox on a database of its own, with one flow and a judge that a test
// can read: an update counts when status differs, and a case that is not facing is
// filtered.
type bundle struct {
	testing.TB
	store *store.Store
	inbox *inbox.Inbox
	plan  *flow.Plan
	n     int
	clock time.Time
}

func newBundle(t testing.TB, change ...func(*flow.Plan)) *bundle {
	t.Helper()
	b := &bundle{TB: t, store: storetest.New(t), clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), plan: &flow.Plan{
		Flow: "cases", Pattern: flow.Event, Summary: "Tell customers", Params: flow.EventParams(), Order: []string{"key"},
		Reaction: &flow.Reaction{On: []flow.Trigger{{Connection: "crm", Table: "incident", Change: []flow.ChangeType{flow.Created, flow.Updated, flow.Deleted},
			Select: []string{"status"}, Key: "row.id", Columns: []string{"id", "status", "facing", "mail", "n"}}}},
	}}
	for _, c := range change {
		c(b.plan)
	}
	b.inbox = inbox.New(b.store, b, b, inbox.Options{})
	return b
}

func (b *bundle) Current(_ context.Context, name string) (*flow.Plan, string, error) {
	if name != b.plan.Flow {
		return nil, "", fault.NotFoundf("flow.not_found", "no flow %s", name)
	}
	return b.plan, "digest", nil
}

func (b *bundle) Of(*flow.Plan) (inbox.Judge, error) { return judge{}, nil }

type judge struct{}

func (judge) Screen(e flow.Occurrence) (flow.Verdict, bool) {
	if e.After["facing"] == false {
		return flow.Verdict{Reason: flow.EventFiltered, Clause: "where"}, true
	}
	return flow.Verdict{}, false
}

func (judge) Judge(e flow.Occurrence, was, row flow.Row) flow.Verdict {
	key, _ := row["id"].(string)
	switch {
	case e.Table != "incident":
		return flow.Verdict{Reason: flow.EventRejected, Clause: "table", Detail: "no such table"}
	case row["facing"] == false:
		return flow.Verdict{Reason: flow.EventFiltered, Clause: "where", Key: key}
	case e.Change == flow.Updated && flow.SameColumn(was, row, "status"):
		return flow.Verdict{Reason: flow.EventUnchanged, Clause: "select", Key: key}
	case key == "":
		return flow.Verdict{Reason: flow.EventRejected, Clause: "key", Detail: "no key"}
	}
	return flow.Verdict{Key: key, Changed: []string{"status"}}
}

func (judge) ThrottleKey(row flow.Row) (string, error) { return fmt.Sprint(row["mail"]), nil }

func (judge) Recipient(_ string, row flow.Row) (string, error) { return fmt.Sprint(row["mail"]), nil }

// event is an update of a case to a status, with an ID of its own.
func (b *bundle) event(id string, status int, change ...func(*flow.Occurrence)) flow.Occurrence {
	b.n++
	b.clock = b.clock.Add(time.Second)
	e := flow.Occurrence{ID: "e" + strconv.Itoa(b.n), Connection: "crm", Table: "incident", Record: id, Change: flow.Updated, At: b.clock,
		After: flow.Row{"id": id, "status": json.Number(strconv.Itoa(status)), "secret": "never kept"}}
	for _, c := range change {
		c(&e)
	}
	return e
}

func (b *bundle) accept(events ...flow.Occurrence) flow.Receipt {
	b.Helper()
	r, err := b.inbox.Accept(b.Context(), b.plan.Flow, events)
	require.NoError(b, err)
	return r
}

// fates are the reasons of all events, in the order they came.
func (b *bundle) fates() []string {
	b.Helper()
	return column[string](b, `select fate from event_fate order by id`)
}

func (b *bundle) freeze() []inbox.Window {
	b.Helper()
	list, err := b.inbox.Freeze(b.Context(), b.plan.Flow, 1000)
	require.NoError(b, err)
	slices.SortFunc(list, func(a, c inbox.Window) int { return int(a.ID - c.ID) })
	return list
}

func column[T any](b *bundle, sql string, args ...any) []T {
	b.Helper()
	var out []T
	require.NoError(b, b.store.Tx(b.Context(), func(tx pgx.Tx) error {
		rows, err := tx.Query(b.Context(), sql, args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, pgx.RowTo[T])
		return err
	}))
	return out
}
