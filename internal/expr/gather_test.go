package expr_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/expr"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

func gathering(exprs ...string) *flow.Plan {
	p := &flow.Plan{Flow: "f", Gather: &flow.Gather{Sources: []flow.Source{
		{Name: "customer", Select: []string{"id", "name", "limit", "more"}, Types: []flow.Type{flow.String, flow.String, flow.Decimal, flow.Any}, Key: "row.id", Identity: []string{"id"}, One: true},
		{Name: "orders", Select: []string{"no", "customer", "amount"}, Types: []flow.Type{flow.String, flow.String, flow.Decimal}, Key: "row.customer", Identity: []string{"no"}},
	}}}
	for i, e := range exprs {
		p.Map = append(p.Map, flow.Column{Name: fmt.Sprint("c", i), Expr: e})
	}
	return p
}

func cellsOf(texts ...string) [][]byte {
	out := make([][]byte, len(texts))
	for i, t := range texts {
		if t != "" {
			out[i] = []byte(t)
		}
	}
	return out
}

func TestExpressionsSeeRowsOfSheetsAsTheySeeMaps(t *testing.T) {
	t.Parallel()
	customer, orders := expr.NewShape([]string{"id", "name", "limit", "more"}), expr.NewShape([]string{"no", "customer", "amount"})
	c := customer.Record(cellsOf(`"A1"`, `"M\u00fcller \"&\" Co"`, `12.50`, ``))
	o1 := orders.Record(cellsOf(`"1"`, `"A1"`, `99999999999999999999.01`))
	o2 := orders.Record(cellsOf(`"2"`, `"A1"`, `null`))
	for e, want := range map[string]string{
		`customer.name`:                                `"Müller \"&\" Co"`,
		`customer.name + "!"`:                          `"Müller \"&\" Co!"`,
		`customer.limit * 2`:                           `25`,
		`customer.limit + 0.001`:                       `12.501`,
		`has(customer.more)`:                           `false`,
		`customer.?more.orValue("none")`:               `"none"`,
		`customer.?more`:                               ``, // absent
		`customer == null`:                             `false`,
		`orders.size()`:                                `2`,
		`orders[0].amount`:                             `99999999999999999999.01`,
		`orders.filter(o, o.amount != null)[0].amount`: `99999999999999999999.01`,
		`orders.exists(o, o.no == "2")`:                `true`,
		`orders.map(o, o.no)`:                          `["1","2"]`,
		`orders[1]`:                                    `{"amount":null,"customer":"A1","no":"2"}`,
		`key + "/" + asof.orders`:                      `"A1/2026-01-02T03:04:05Z"`,
	} {
		g, err := expr.Gather(gathering(e))
		require.NoError(t, err, e)
		scope := expr.NewScope(g.Scope...)
		scope.Set(0, "A1")
		scope.Set(1, map[string]any{"orders": "2026-01-02T03:04:05Z"})
		scope.Set(2, c)
		scope.Set(3, []*expr.Record{o1, o2})
		out, present, err := g.Columns[0].Prog.Append(nil, scope)
		require.NoError(t, err, e)
		require.Equal(t, want != "", present, e)
		require.Equal(t, want, string(out), e)
	}
}

func TestARowThatIsNotThereIsNull(t *testing.T) {
	t.Parallel()
	for e, want := range map[string]string{
		`customer == null ? "none" : customer.name`: `"none"`,
		`customer.?limit.orValue(0.0) + 1`:          `1`,
		`orders.size()`:                             `0`,
	} {
		g, err := expr.Gather(gathering(e))
		require.NoError(t, err, e)
		scope := expr.NewScope(g.Scope...)
		scope.Set(0, "A1")
		scope.Set(3, []*expr.Record{})
		out, _, err := g.Columns[0].Prog.Append(nil, scope)
		require.NoError(t, err, e)
		require.Equal(t, want, string(out), e)
	}
	g, err := expr.Gather(gathering(`customer.limit * 2`))
	require.NoError(t, err)
	_, _, err = g.Columns[0].Prog.Append(nil, expr.NewScope(g.Scope...))
	require.Equal(t, expr.CodeMissing, fault.Of(err).Code, "a value of no row is named, not invented")
}

func TestWhatAColumnDependsOnIsKnown(t *testing.T) {
	t.Parallel()
	g, err := expr.Gather(gathering(`key`, `customer.name`, `orders.size()`, `orders.size() > 1 ? customer.name : asof.orders`, `"x"`))
	require.NoError(t, err)
	require.Equal(t, []string{"key"}, g.Columns[0].Path)
	require.Equal(t, []string{"customer", "name"}, g.Columns[1].Path)
	require.Nil(t, g.Columns[2].Path)
	require.Equal(t, []string{"orders"}, g.Columns[2].Uses)
	require.Equal(t, []string{"customer", "orders"}, g.Columns[3].Uses)
	require.Empty(t, g.Columns[4].Uses)
	require.True(t, g.Timed())
}

func TestKeysOfRowsAreTexts(t *testing.T) {
	t.Parallel()
	s := flow.Source{Select: []string{"id", "n"}, Types: []flow.Type{flow.Any, flow.Any}}
	for _, c := range []struct{ key, id, want, code string }{
		{`row.id`, `"A1"`, "A1", ""},
		{`row.id`, `"a\u0062"`, "ab", ""},
		{`row.id`, `7.0`, "7", ""},
		{`row.id`, `42`, "42", ""},
		{`row.id`, ``, "", expr.CodeMissing},
		{`row.id`, `null`, "", expr.CodeType},
		{`row.id`, `""`, "", expr.CodeType},
		{`row.id`, `true`, "", expr.CodeType},
		{`row.id`, `"a\u0000"`, "", expr.CodeValue},
		{`row.id`, `"` + strings.Repeat("x", 600) + `"`, "", expr.CodeValue},
		{`"C-" + row.id`, `"1"`, "C-1", ""},
		{`string(row.id)`, `12`, "12", ""},
	} {
		s.Key = c.key
		k, err := expr.NewKeyer("f", s)
		require.NoError(t, err)
		got, err := k.Append(nil, cellsOf(c.id, `1`))
		if c.code == "" {
			require.NoError(t, err, c)
			require.Equal(t, c.want, string(got))
			continue
		}
		require.Error(t, err, c)
		require.Equal(t, c.code, fault.Of(err).Code, c)
	}
	s.Key = `row.id`
	k, err := expr.NewKeyer("f", s)
	require.NoError(t, err)
	require.True(t, k.Within([]string{"id"}))
	require.False(t, k.Within([]string{"n"}))
}

// Five columns of one key, as a consolidation of millions makes them.
func BenchmarkGathered(b *testing.B) {
	p := gathering(`customer.name + "/" + customer.id`, `customer.limit - customer.limit * 2`, `customer.limit > 1000.0 ? customer.limit : 0.0`,
		`customer.limit + 1`, `orders.size()`)
	g, err := expr.Gather(p)
	require.NoError(b, err)
	scope := expr.NewScope(g.Scope...)
	c := expr.NewShape([]string{"id", "name", "limit", "more"}).Record(cellsOf(`"A1"`, `"Customer number 1"`, `1250.75`, ``))
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		scope.Set(0, "A1")
		scope.Set(2, c)
		scope.Set(3, []*expr.Record{})
		out = out[:0]
		for _, column := range g.Columns {
			if out, _, err = column.Prog.Append(out, scope); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func TestShortNumbersAreWhatLongOnesAre(t *testing.T) {
	t.Parallel()
	env, err := expr.New(expr.Var{Name: "x"})
	require.NoError(t, err)
	text, issues := env.Compile(`string(x)`, expr.Anything)
	require.Empty(t, issues)
	for in, want := range map[string]string{
		"0.0": "0", "-0.0": "0", "-0.50": "-0.5", "12.500": "12.5", "100.00": "100", "0.000000000000000001": "0.000000000000000001",
		"99999999999999999.9": "99999999999999999.9", "9999999999999999999.9": "9999999999999999999.9", "-123456789012345.678": "-123456789012345.678", "1.5e2": "150",
	} {
		got, err := text.Eval(map[string]any{"x": json.Number(in)})
		require.NoError(t, err, in)
		require.Equal(t, want, got, in)
	}
}
