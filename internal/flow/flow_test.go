package flow_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

func pointer(n int64) *int64 { return &n }

func plan() *flow.Plan {
	return &flow.Plan{
		Flow: "specs", Pattern: flow.Instant, Limits: flow.Limits{Timeout: 30 * time.Second},
		Params: []flow.Param{
			{Name: "id", Type: flow.String, Pattern: "^[A-Z]{2,4}$", Example: "AB"},
			{Name: "count", Type: flow.Int, Optional: true, Min: pointer(1), Max: pointer(9)},
			{Name: "price", Type: flow.Decimal, Optional: true},
			{Name: "urgent", Type: flow.Bool, Default: false},
			{Name: "day", Type: flow.Date, Optional: true},
			{Name: "at", Type: flow.Timestamp, Optional: true},
			{Name: "kind", Type: flow.String, Optional: true, Enum: []string{"a", "b"}},
			{Name: "free", Type: flow.Any, Optional: true},
		},
		Read:     &flow.Read{Connection: "plm", Table: "items"},
		Bindings: map[string]flow.Binding{"plm": {System: "oracle", Identity: "x"}, "crm": {System: "dataverse", Identity: "y"}},
	}
}

func TestValidParametersComeBackTypedAndComplete(t *testing.T) {
	t.Parallel()
	got, err := plan().Validate(map[string]any{
		"id": "AB", "count": json.Number("3"), "price": json.Number("1.10"), "day": "2026-01-31", "at": "2026-01-31T10:00:00Z", "kind": "b",
		"free": []any{json.Number("1")},
	})
	require.NoError(t, err)
	require.Equal(t, flow.Row{"id": "AB", "count": int64(3), "price": json.Number("1.10"), "urgent": false, "day": "2026-01-31",
		"at": "2026-01-31T10:00:00Z", "kind": "b", "free": []any{json.Number("1")}}, got)
	got, err = plan().Validate(map[string]any{"id": "AB"})
	require.NoError(t, err)
	require.Equal(t, flow.Row{"id": "AB", "urgent": false}, got, "absent stays absent, a default is filled in")
}

func TestEachWrongParameterIsNamedAndItsValueIsNot(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		params map[string]any
		path   string
		code   string
	}{
		{map[string]any{}, "params.id", "field.required"},
		{map[string]any{"id": nil}, "params.id", "field.type"},
		{map[string]any{"id": json.Number("7")}, "params.id", "field.type"},
		{map[string]any{"id": "secret-value"}, "params.id", "field.pattern"},
		{map[string]any{"id": "AB", "count": json.Number("1.5")}, "params.count", "field.range"},
		{map[string]any{"id": "AB", "count": json.Number("9223372036854775808")}, "params.count", "field.range"},
		{map[string]any{"id": "AB", "count": json.Number("10")}, "params.count", "field.range"},
		{map[string]any{"id": "AB", "count": "3"}, "params.count", "field.type"},
		{map[string]any{"id": "AB", "price": "1"}, "params.price", "field.type"},
		{map[string]any{"id": "AB", "urgent": "yes"}, "params.urgent", "field.type"},
		{map[string]any{"id": "AB", "day": "31.01.2026"}, "params.day", "field.type"},
		{map[string]any{"id": "AB", "at": "yesterday"}, "params.at", "field.type"},
		{map[string]any{"id": "AB", "kind": "c"}, "params.kind", "field.enum"},
		{map[string]any{"id": "AB", "ID": "AB"}, "params.ID", "field.unknown"},
		{map[string]any{"id": "AB", strings.Repeat("x", 500): 1}, "params." + strings.Repeat("x", 60) + "…", "field.unknown"},
	} {
		_, err := plan().Validate(c.params)
		f := fault.Of(err)
		require.Equal(t, fault.Invalid, f.Class, "%v", c.params)
		require.Len(t, f.Fields, 1, "%v", c.params)
		require.Equal(t, c.path, f.Fields[0].Path)
		require.Equal(t, c.code, f.Fields[0].Code)
		require.NotContains(t, err.Error(), "secret-value")
	}
	_, err := plan().Validate(map[string]any{"count": "x", "ID": 1})
	require.Len(t, fault.Of(err).Fields, 3, "all of them in one answer")
	require.Equal(t, "give a string that matches ^[A-Z]{2,4}$, such as AB", fault.Of(err).Fields[0].Fix)
	_, err = plan().Validate(map[string]any{"id": "AB", "ID": "AB"})
	require.Contains(t, fault.Of(err).Fields[0].Fix, `"id"`, "a name that is wrong only in case is one that was meant")
}

func TestTheDigestFollowsEveryFieldAndNothingElse(t *testing.T) {
	t.Parallel()
	first := plan().Digest()
	for range 50 {
		require.Equal(t, first, plan().Digest(), "maps have no order")
	}
	other := plan()
	other.Bindings["plm"] = flow.Binding{System: "oracle", Identity: "elsewhere"}
	require.NotEqual(t, plan().Digest(), other.Digest(), "another system is another plan (promise 6)")
	b, err := json.Marshal(plan())
	require.NoError(t, err)
	var kept flow.Plan
	require.NoError(t, json.Unmarshal(b, &kept))
	require.Equal(t, plan().Digest(), kept.Digest(), "a plan that was stored and read back is the same plan")
}

func TestASkeletonStaysSmall(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(plan().Skeleton())
	require.NoError(t, err)
	require.Less(t, len(b), 4<<10)
}
