package app

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/inbox"
	"patchbay/internal/journal"
	"patchbay/internal/review"
	"patchbay/internal/run"
	"patchbay/internal/stage"
	"patchbay/internal/store/storetest"
	"patchbay/internal/topic"
)

func TestAKeyIsToldWhatConsolidationsMadeOfIt(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	reviews := review.New(s)
	require.NoError(t, reviews.Keep(t.Context(), "customer-360", "r", []review.Proposal{
		{Key: "C1", Plan: json.RawMessage(`{"key":"C1","action":"call","reason":"Order 4711 is late.","evidence":["orders/4711"],"source":"model","state":"proposed"}`), Row: flow.Row{"id": "C1"}},
		{Key: "C2", Plan: json.RawMessage(`{"key":"C2","source":"rules","state":"withheld","note":"withheld: call"}`), Row: flow.Row{"id": "C2"}},
	}))
	_, err := s.Pool().Exec(t.Context(), `
		insert into stage_reject (flow, source, run_id, key, identity, ident, code, reason, open) values
		('customer-360', 'orders', 'r', 'C1', '4711', 'x', 'stage.decimal', 'Amount is no decimal number', true),
		('customer-360', 'orders', 'r', 'C2', '4712', 'y', 'stage.decimal', 'Amount is no decimal number', true)`)
	require.NoError(t, err)
	told, err := explainer{journal.New(s), inbox.New(s, run.NewPlans(s), nil, inbox.Options{}), topic.New(s, run.NewPlans(s)), stage.New(s), reviews, borders{plans: run.NewPlans(s)}}.Explain(t.Context(), "C1")
	require.NoError(t, err)
	require.Len(t, told, 2)
	require.Equal(t, "plan", told[0].What)
	require.Equal(t, map[string]any{"by": "model", "action": "call", "because": "Order 4711 is late.", "evidence": "orders/4711"}, told[0].Detail)
	require.Equal(t, "row", told[1].What)
	require.Equal(t, map[string]any{"code": "stage.decimal", "why": "Amount is no decimal number", "source": "orders", "row": "4711"}, told[1].Detail)
}

func TestOfManyEffectsThoseOfTheKeyAreTold(t *testing.T) {
	t.Parallel()
	entry := func(labels ...any) flow.Entry {
		return flow.Entry{Run: "r", What: "effect", Detail: map[string]any{"labels": labels, "count": len(labels)}}
	}
	for name, c := range map[string]struct {
		entry flow.Entry
		about string
		want  []any
	}{
		"of several customers":           {entry("C1", "C2", "C3"), "C2", []any{"C2"}},
		"one that is not named":          {entry("C1", "C2"), "C9", []any{"C9"}},
		"rows of one product":            {entry("AS1, Weight", "AS1, Width"), "AS1", []any{"AS1, Weight", "AS1, Width"}},
		"a run is told with all of them": {entry("C1", "C2"), "r", []any{"C1", "C2"}},
	} {
		narrow(&c.entry, c.about)
		require.Equal(t, c.want, c.entry.Detail["labels"], name)
		require.Equal(t, len(c.want), c.entry.Detail["count"], name)
	}
}
