package stage_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/stage"
)

func TestWhatThereIsOfACustomerIsTheRowsOfItsKey(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.source("orders").OnMissing = flow.LastGood
	run := b.run()
	b.read(run, "customer", customers...)
	b.read(run, "orders", append(orders, []string{`"2"`, `"A"`, `21.50`, `"2026-01-02"`})...)
	b.join(run)
	got, err := b.stage.Customers(t.Context(), b.plan, run, []string{"B", "A", "nobody"})
	require.NoError(t, err)
	require.Len(t, got, 3)
	require.Equal(t, "A", got[1].Key)
	require.Equal(t, []flow.Row{
		{"no": "1", "customer": "A", "amount": "10.00", "day": "2026-01-01"},
		{"no": "2", "customer": "A", "amount": json.Number("21.50"), "day": "2026-01-02"},
	}, got[1].Sources["orders"].Rows, "one an identity, the later one counts")
	require.Equal(t, []flow.Row{{"no": "3", "customer": "B", "amount": nil, "day": nil}}, got[0].Sources["orders"].Rows)
	require.Equal(t, "Best", got[0].Sources["customer"].Rows[0]["name"])
	require.False(t, got[0].Sources["orders"].Stale)
	require.Empty(t, got[2].Sources["orders"].Rows)

	run = b.run()
	b.read(run, "customer", customers...)
	b.join(run)
	got, err = b.stage.Customers(t.Context(), b.plan, run, []string{"A"})
	require.NoError(t, err)
	old := got[0].Sources["orders"]
	require.True(t, old.Stale, "it was not read by this run")
	require.Len(t, old.Rows, 2)
	require.False(t, old.AsOf.IsZero())
	require.Equal(t, []stage.Belongings{{AsOf: old.AsOf, Stale: true, Rows: old.Rows}}, []stage.Belongings{old})
}
