package topic_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/claimcheck"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// A flow that an event starts may have no room for longer than the event is kept: it is the
// event's all the same.
func TestAnEventHasNoEndBeforeEverybodyIsToldOfIt(t *testing.T) {
	t.Parallel()
	b := newBundle(t, shipped(time.Nanosecond))
	b.post("a", event("1", "arrived"))
	n, err := b.topics.Expire(t.Context())
	require.NoError(t, err)
	require.Zero(t, n, "nobody was told of it yet")
	due, err := b.topics.Due(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Len(t, due, 1)
	require.NoError(t, b.topics.Started(t.Context(), due[0].ID, flow.TopicStart{Flow: "pack", Run: "r1"}))
	require.Equal(t, 1, b.expire())
	list, err := b.topics.List(t.Context(), flow.TopicFilter{})
	require.NoError(t, err)
	require.Equal(t, []any{flow.TopicDelivered, "it started the run r1 of pack"}, []any{list[0].State, list[0].Why})
}

// nobody is what claims of runs are asked of: here there are none.
type nobody struct{}

func (nobody) Needing(context.Context, []string) (map[string]bool, error) { return nil, nil }

func TestTheDocumentsOfAnEventAreKeptAsLongAsItCanBeOfferedAgain(t *testing.T) {
	t.Parallel()
	b := newBundle(t, shipped(time.Nanosecond, flow.Param{Name: "file", Type: flow.Document, Optional: true}))
	checks := claimcheck.New(b.store)
	cleaner := claimcheck.Cleaner{Checks: checks, Runs: nobody{}, Events: b.topics}
	document := func(id string) flow.Claim {
		claim, err := checks.Keep(t.Context(), "r0", bytes.NewReader([]byte(id)))
		require.NoError(t, err)
		claim.Name = id + ".txt"
		b.post(id, flow.Row{"nr": id, "status": "arrived", "file": claim.Row()})
		return claim
	}
	claim := document("waits")
	document("aside")
	b.post("without", event("3", "arrived"))
	b.exec(`delete from claim where run_id is not null`) // the run that read them in has ended
	clean := func() int {
		n, err := cleaner.Clean(t.Context())
		require.NoError(t, err)
		return n
	}
	require.Equal(t, 3, b.expire())
	_, err := b.topics.Dismiss(t.Context(), "ann", "of a test", flow.TopicFilter{IDs: []string{"aside"}})
	require.NoError(t, err)
	require.Equal(t, 1, clean(), "of the event that was put aside alone")
	offered, err := b.topics.Redrive(t.Context(), "ann", flow.TopicFilter{IDs: []string{"waits"}})
	require.NoError(t, err)
	require.Len(t, offered, 1)
	require.Zero(t, clean())
	body, err := checks.Open(t.Context(), claim, 0)
	require.NoError(t, err)
	require.NoError(t, body.Close())

	// A claim that is gone nevertheless is named, and keeps no other event from being offered.
	require.Equal(t, 1, b.expire())
	b.exec(`delete from claim`)
	require.Equal(t, 1, clean())
	offered, err = b.topics.Redrive(t.Context(), "ann", flow.TopicFilter{Topic: "shipped.v1", Since: time.Now().Add(-time.Hour)})
	require.NoError(t, err)
	require.Len(t, offered, 1)
	require.Equal(t, "without", offered[0].ID)
	_, err = b.topics.Redrive(t.Context(), "ann", flow.TopicFilter{IDs: []string{"waits"}})
	require.Equal(t, flow.DocumentUnknownCode, fault.Of(err).Code)
	require.Contains(t, fault.Of(err).Text, "the event waits of shipped.v1")
	require.Contains(t, fault.Of(err).Text, claim.SHA256)
	list, err := b.topics.List(t.Context(), flow.TopicFilter{IDs: []string{"waits"}})
	require.NoError(t, err)
	require.Equal(t, []any{flow.TopicExpired, 1}, []any{list[0].State, list[0].Redriven}, "it is left as it is")
}

func (b *bundle) exec(sql string, args ...any) {
	b.Helper()
	require.NoError(b, b.store.Tx(b.Context(), func(tx pgx.Tx) error {
		_, err := tx.Exec(b.Context(), sql, args...)
		return err
	}))
}

// What ended 30 days ago is forgotten; but a reason that is not yet said may name a wait.
func TestWaitsAreForgottenThirtyDaysAfterTheirEnd(t *testing.T) {
	t.Parallel()
	b := newBundle(t, shipped(time.Hour))
	for i, run := range []string{"over", "cancelled", "young", "open", "named"} {
		b.take(wait(run, fmt.Sprint(i), "arrived", time.Hour))
	}
	b.exec(`update topic_wait set until = now() - interval '31 days'`)
	b.exec(`update topic_wait set ended_at = until where run_id in ('over', 'named')`)
	b.exec(`update topic_wait set ended_at = now() - interval '29 days' where run_id = 'young'`)
	b.exec(`update topic_wait set until = now() + interval '1 day' where run_id = 'open'`)
	b.post("late", event("4", "arrived"))
	waits := func() (runs []string) {
		require.NoError(t, b.store.Tx(t.Context(), func(tx pgx.Tx) error {
			rows, err := tx.Query(t.Context(), `select run_id from topic_wait order by run_id`)
			if err == nil {
				runs, err = pgx.CollectRows(rows, pgx.RowTo[string])
			}
			return err
		}))
		return runs
	}
	b.expire()
	require.Equal(t, []string{"named", "open", "young"}, waits())
	b.exec(`update topic_event set expires_at = now()`)
	require.Equal(t, 1, b.expire())
	list, err := b.topics.List(t.Context(), flow.TopicFilter{})
	require.NoError(t, err)
	require.Contains(t, list[0].Why, "the run named awaited such an event until")
	require.Equal(t, []string{"open", "young"}, waits())
}
