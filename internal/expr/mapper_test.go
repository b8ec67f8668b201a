package expr_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/expr"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

func specs() *flow.Plan {
	return &flow.Plan{
		Flow: "specs", Pattern: flow.Instant,
		Params: []flow.Param{{Name: "id", Type: flow.String}, {Name: "n", Type: flow.Int, Optional: true}},
		Read:   &flow.Read{Where: []flow.Match{{Column: "ItemNumber", Expr: "params.id"}, {Column: "Org", Expr: `"V1"`}}},
		Each:   "row.specs",
		Map: []flow.Column{
			{Name: "number", Expr: "row.ItemNumber"}, {Name: "attribute", Expr: "item.name"},
			{Name: "value", Expr: "item.value"}, {Name: "unit", Expr: "item.?unit"},
		},
		Write:  &flow.Write{Key: []string{"number", "attribute"}},
		Limits: flow.Limits{Rows: 3},
	}
}

func mapper(t *testing.T, p *flow.Plan) *expr.Mapper {
	t.Helper()
	m, err := expr.NewMapper(p)
	require.NoError(t, err)
	return m
}

func TestWhereComparesWithTheParameters(t *testing.T) {
	t.Parallel()
	m := mapper(t, specs())
	got, err := m.Where(flow.Row{"id": "A1"})
	require.NoError(t, err)
	require.Equal(t, []expr.Match{{Column: "ItemNumber", Value: "A1"}, {Column: "Org", Value: "V1"}}, got)

	_, err = m.Where(flow.Row{})
	require.Equal(t, "cel.missing", fault.Of(err).Code, "a missing optional parameter must not read everything")
	_, err = m.Where(flow.Row{"id": nil})
	require.Equal(t, "cel.type", fault.Of(err).Code)
}

func TestEachItemBecomesOneTargetRow(t *testing.T) {
	t.Parallel()
	got, err := mapper(t, specs()).Map(flow.Row{"id": "A1"}, []flow.Row{{
		"ItemNumber": "A1",
		"specs": []any{
			map[string]any{"name": "Weight", "value": json.Number("1.10"), "unit": "kg"},
			map[string]any{"name": "Colour", "value": nil},
		},
	}, {"ItemNumber": "A2", "specs": []any{}}, {"ItemNumber": "A3", "specs": nil}})
	require.NoError(t, err)
	require.Equal(t, []flow.Row{
		{"number": "A1", "attribute": "Weight", "value": json.Number("1.10"), "unit": "kg"},
		{"number": "A1", "attribute": "Colour", "value": nil}, // null stays null, absent stays absent
	}, got)
}

func TestMappingNamesTheRowAndTheColumnThatFail(t *testing.T) {
	t.Parallel()
	m := mapper(t, specs())
	item := func(columns map[string]any) []flow.Row {
		return []flow.Row{{"ItemNumber": "A0", "specs": []any{}}, {"ItemNumber": "secret", "specs": []any{columns}}}
	}
	for _, c := range []struct {
		rows []flow.Row
		code string
		text string
	}{
		{item(map[string]any{"name": nil, "value": "x"}), "map.key_missing", "the key column attribute of row 1, item 0 is empty"},
		{item(map[string]any{"name": "x"}), "cel.missing", "mapping value of row 1, item 0: there is no item.value"},
		{[]flow.Row{{"ItemNumber": "A0"}}, "cel.missing", "there is no row.specs"},
		{[]flow.Row{{"ItemNumber": "A0", "specs": "secret"}}, "map.each", "each is no list in row 0"},
		{[]flow.Row{{"ItemNumber": "A0", "specs": []any{"secret"}}}, "cel.type", "mapping attribute of row 0, item 0: item holds no columns"},
	} {
		_, err := m.Map(flow.Row{"id": "A1"}, c.rows)
		require.Equal(t, c.code, fault.Of(err).Code)
		require.Equal(t, c.text, fault.Of(err).Text)
		require.True(t, fault.Is(err, fault.Rejected))
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestMoreRowsThanTheLimitFailTheRun(t *testing.T) {
	t.Parallel()
	var items []any
	for _, name := range []string{"a", "b", "c", "d"} {
		items = append(items, map[string]any{"name": name, "value": name})
	}
	m := mapper(t, specs())
	_, err := m.Map(flow.Row{"id": "A1"}, []flow.Row{{"ItemNumber": "A1", "specs": items[:3]}})
	require.NoError(t, err)
	_, err = m.Map(flow.Row{"id": "A1"}, []flow.Row{{"ItemNumber": "A1", "specs": items}})
	require.Equal(t, "limits.rows", fault.Of(err).Code)
}

func TestRowsPassAsTheyAreWithoutAMap(t *testing.T) {
	t.Parallel()
	rows := []flow.Row{{"a": json.Number("1.0")}, {"b": nil}}
	got, err := mapper(t, &flow.Plan{Flow: "f"}).Map(nil, rows)
	require.NoError(t, err)
	require.Equal(t, rows, got)
}

func TestAPlanThatDoesNotCompileIsABug(t *testing.T) {
	t.Parallel()
	p := specs()
	p.Each = "row.specs +"
	_, err := expr.NewMapper(p)
	require.True(t, fault.Is(err, fault.Bug))
}

func BenchmarkMapTwelveSpecifications(b *testing.B) {
	m, err := expr.NewMapper(specs())
	require.NoError(b, err)
	var items []any
	for range 3 {
		items = append(items, map[string]any{"name": "Weight", "value": "1.24", "unit": "kg"})
	}
	rows := []flow.Row{{"ItemNumber": "A1", "specs": items}}
	for b.Loop() {
		if _, err := m.Map(flow.Row{"id": "A1"}, rows); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewMapper(b *testing.B) {
	for b.Loop() {
		if _, err := expr.NewMapper(specs()); err != nil {
			b.Fatal(err)
		}
	}
}
