package flow_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

func TestAPathLeadsFromEventsToWhatTheirRunDid(t *testing.T) {
	t.Parallel()
	entries := []flow.Entry{
		{What: "event", Reason: "merged", Detail: map[string]any{"window": "window-12"}},
		{What: "window", Reason: "run", Run: "r", Detail: map[string]any{"window": "window-12", "events": 5}},
		{What: "effect", Reason: "in_doubt", Run: "r", Detail: map[string]any{"target": "mail.message"}},
		{What: "effect", Reason: "confirmed", Run: "r", Detail: map[string]any{"target": "mail.message"}},
		{What: "closed", Reason: "delivered", Run: "r"},
		{What: "window", Reason: "unchanged", Detail: map[string]any{"window": "window-13", "events": 1.0}},
		{What: "window", Reason: "digest", Detail: map[string]any{"window": "window-14", "events": 2.0, "into": "window-12"}},
	}
	var got []string
	for _, p := range flow.PathsOf(entries) {
		got = append(got, p.String())
	}
	require.Equal(t, []string{"5 events → window-12 → run r → mail confirmed", "1 event → window-13 → unchanged", "2 events → window-14 → window-12"}, got)
}

func TestEveryReasonOfAnEventHasWords(t *testing.T) {
	t.Parallel()
	for _, f := range []flow.Fate{
		{Reason: flow.EventWaiting}, {Reason: flow.EventWaiting, Reading: true, Detail: "the system does not answer"}, {Reason: flow.EventWaiting, Outcome: "run"},
		{Reason: flow.EventDelivered}, {Reason: flow.EventUnchanged, Window: 3}, {Reason: flow.EventMerged, Events: 5}, {Reason: flow.EventEcho},
		{Reason: flow.EventStale}, {Reason: flow.EventShed}, {Reason: flow.EventRejected, Clause: "key"}, {Reason: flow.EventDead},
	} {
		require.NotEqual(t, string(f.Reason), f.Words())
		require.NotEmpty(t, f.Words())
	}
	for _, clause := range []string{"change", "select", "where", "transitions", "table"} {
		require.Contains(t, flow.Fate{Reason: flow.EventFiltered, Clause: clause, Source: "crm.case"}.Words(), "crm.case")
	}
	require.Equal(t, int64(12), flow.ParseWindow("window-12"))
	require.Zero(t, flow.ParseWindow("window-x"))
}
