package app

import (
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

func TestADrillIsRefusedWhereItWouldReachSomebody(t *testing.T) {
	t.Parallel()
	for identity, fine := range map[string]bool{
		"smtp sandbox": true, "dataverse sandbox/dataverse": true,
		"smtp smtps://mail.example.com": false, "rest https://x/ sandbox": false, "rest sandboxes.example.com": false, "": false,
	} {
		err := harmless(&flow.Plan{Flow: "f", Reaction: &flow.Reaction{}, Write: &flow.Write{Connection: "to"}, Bindings: map[string]flow.Binding{"to": {Identity: identity}}})
		require.Equal(t, fine, err == nil, identity)
		if !fine {
			require.Equal(t, "drill.target", fault.Of(err).Code)
		}
	}
	require.Equal(t, "flow.pattern", fault.Of(harmless(&flow.Plan{Flow: "f", Write: &flow.Write{}})).Code)
}

func TestACopyOfAnEventIsOfARecordOfItsOwn(t *testing.T) {
	t.Parallel()
	e := flow.Occurrence{ID: "1", Record: "c1", After: flow.Row{"id": "c1", "status": "open"}}
	one, other := copyOf(e, &flow.Plan{}, "a", 0), copyOf(e, &flow.Plan{}, "b", 0)
	require.NotEqual(t, one.ID, other.ID)
	require.Equal(t, flow.Row{"id": one.Record, "status": "open"}, one.After)
	require.NotEqual(t, one.Record, other.Record)
	require.Equal(t, flow.Row{"id": "c1", "status": "open"}, e.After, "what was recorded stays as it is")
	require.Equal(t, "c1", copyOf(e, &flow.Plan{Read: &flow.Read{}}, "a", 0).Record, "a record that is read has to be there")
}
