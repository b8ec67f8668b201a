package expr_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/expr"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// gathered is an environment as that of a consolidation's map.
func gathered(t *testing.T) *expr.Env {
	t.Helper()
	timestamp := flow.Timestamp
	env, err := expr.New(
		expr.Var{Name: "key", Type: expr.Scalar(flow.String)},
		expr.Var{Name: "asof", Type: expr.Columns(map[string]flow.Type{"account": timestamp, "orders": timestamp, "notes": timestamp})},
		expr.Var{Name: "account", Type: expr.Columns(map[string]flow.Type{"name": flow.String, "limit": flow.Decimal})},
		expr.Var{Name: "orders", Type: expr.List(expr.Columns(map[string]flow.Type{
			"SalesOrder": flow.String, "Net": flow.Decimal, "Items": flow.Int, "Created": flow.Date, "Open": flow.Bool,
		}))},
		expr.Var{Name: "notes", Type: expr.List(expr.Columns(map[string]flow.Type{"text": flow.Any}))},
	)
	require.NoError(t, err)
	return env
}

func customer() map[string]any {
	order := func(id, net, items, created string, open bool) map[string]any {
		return map[string]any{"SalesOrder": id, "Net": json.Number(net), "Items": json.Number(items), "Created": created, "Open": open}
	}
	return map[string]any{
		"key":     "17100001",
		"account": map[string]any{"name": "Ada", "limit": json.Number("1000")},
		"orders": []any{
			order("0000000012", "10", "2", "2026-01-31", true), order("0000000003", "0.10", "1", "2026-02-01", false),
			order("0000000007", "2.5", "2", "2025-12-31", true),
		},
		"notes": []any{},
		"asof":  map[string]any{"account": "2026-02-02T01:30:00+02:00", "orders": "2026-02-02T10:00:00Z", "notes": "2026-02-02T10:00:00Z"},
	}
}

func TestFunctionsOnListsGiveTheSameTypedAndUntyped(t *testing.T) {
	t.Parallel()
	loose, err := expr.New(expr.Var{Name: "key"}, expr.Var{Name: "account"}, expr.Var{Name: "orders"}, expr.Var{Name: "notes"}, expr.Var{Name: "asof"})
	require.NoError(t, err)
	for source, want := range map[string]any{
		`sum(orders.map(o, o.Net))`:                                      json.Number("12.6"),
		`sum(orders.map(o, o.Items))`:                                    json.Number("5"),
		`sum(orders.filter(o, o.Open).map(o, o.Net * 2))`:                json.Number("25"),
		`sum([0.1, 0.2]) == 0.3`:                                         true,
		`sum([9223372036854775807, 1])`:                                  json.Number("9223372036854775808"),
		`sum([9223372036854775807, 1, -1])`:                              json.Number("9223372036854775807"),
		`sum([-9223372036854775808, -1])`:                                json.Number("-9223372036854775809"),
		`sum([9223372036854775807, 0.5, 9223372036854775807])`:           json.Number("18446744073709551614.5"),
		`sum([]) == 0`:                                                   true,
		`account.limit - sum(orders.map(o, o.Net))`:                      json.Number("987.4"),
		`min(orders.map(o, o.Net))`:                                      json.Number("0.1"),
		`max(orders.map(o, o.Net))`:                                      json.Number("10"),
		`max(orders.map(o, o.Created))`:                                  "2026-02-01",
		`min(notes.map(n, n.text))`:                                      nil,
		`max([timestamp(asof.account), timestamp(asof.orders)])`:         "2026-02-02T10:00:00Z",
		`orders.map(o, unpad(o.SalesOrder)).join(", ")`:                  "12, 3, 7",
		`notes.map(n, string(n.text)).join(", ")`:                        "",
		`orders.map(o, o.Items).distinct()`:                              []any{json.Number("2"), json.Number("1")},
		`[1, 1.0, 1.5, 1.50].distinct()`:                                 []any{json.Number("1"), json.Number("1.5")},
		`["1", "1", "01"].distinct()`:                                    []any{"1", "01"},
		`orders.map(o, o.Net).sort()`:                                    []any{json.Number("0.1"), json.Number("2.5"), json.Number("10")},
		`orders.sortBy(o, o.Net).map(o, unpad(o.SalesOrder))`:            []any{"3", "7", "12"},
		`orders.sortBy(o, o.Items).map(o, unpad(o.SalesOrder))`:          []any{"3", "12", "7"}, // equal keys stay as they were
		`orders.filter(o, o.Open).sortBy(o, o.Created).last().Net`:       json.Number("10"),
		`orders.sortBy(o, -o.Net).first().SalesOrder`:                    "0000000012",
		`orders.filter(o, o.Net > 100).last().?SalesOrder.orValue(null)`: nil,
		`size(orders)`:                                          json.Number("3"),
		`date(asof.account)`:                                    "2026-02-01", // in UTC
		`date(timestamp(asof.account))`:                         "2026-02-01",
		`days(max(orders.map(o, o.Created)), asof.orders)`:      json.Number("1"),
		`days(asof.orders, "2026-01-31")`:                       json.Number("-2"),
		`days("2024-02-28", timestamp("2024-03-01T23:59:59Z"))`: json.Number("2"),
		`orders.exists(o, days(o.Created, asof.orders) > 30)`:   true,
		`date("2026-01-31") < date(asof.orders)`:                true,
		`unpad("000")`:                                          "0",
		`unpad("")`:                                             "",
		`unpad("0A1")`:                                          "0A1",
		`pad("4712", 10)`:                                       "0000004712",
		`pad("A712", 10)`:                                       "A712",
		`pad("4712", 2)`:                                        "4712",
	} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			for name, env := range map[string]*expr.Env{"typed": gathered(t), "untyped": loose} {
				p, issues := env.Compile(source, expr.Anything)
				require.Empty(t, issues, name)
				got, err := p.Eval(customer())
				require.NoError(t, err, name)
				require.Equal(t, want, got, name)
			}
		})
	}
}

func TestTheTypesOfListsAreKnown(t *testing.T) {
	t.Parallel()
	env := gathered(t)
	for source, want := range map[string]flow.Type{
		`sum(orders.map(o, o.Net))`: flow.Decimal, `sum(orders.map(o, o.Items))`: flow.Int, `max(orders.map(o, o.Created))`: flow.String,
		`orders.map(o, o.SalesOrder).join("")`: flow.String, `days(asof.orders, asof.account)`: flow.Int, `size(orders)`: flow.Int,
		`orders.sortBy(o, o.Net).last().Net`: flow.Decimal, `account != null ? account.name : null`: flow.String, `asof.orders`: flow.Timestamp,
		`key`: flow.String,
	} {
		p, issues := env.Compile(source, expr.Scalar(want))
		require.Empty(t, issues, source)
		require.NotEqual(t, "any", p.Type().String(), source)
	}
	for source, message := range map[string]string{
		`sum(orders.map(o, o.SalesOrder))`:   "sum() does not apply to (list(string))",
		`orders.map(o, o.Net).join(",")`:     "join() does not apply to list(decimal).(string)",
		`orders.sortBy(o, o).last()`:         "sortBy() does not apply to list(row).(list(row))",
		`max(orders)`:                        "max() does not apply to (list(row))",
		`sum(orders.map(o, o.Neto))`:         `o has no column "Neto"`,
		`orders.sortBy(o, o.Neto)`:           `o has no column "Neto"`,
		`unpad(orders[0].Net)`:               "unpad() does not apply to (decimal)",
		`asof.order`:                         `asof has no column "order"`,
		`orders.Net`:                         "type 'list(row)' does not support field selection",
		`receivables.map(r, r.Amount)`:       `there is no "receivables" here`,
		`orders.map(o, max(o.Net, 0)).sort`:  "",
		`orders.sortBy(o.Net, o)`:            "argument is not an identifier",
		`orders.sortBy(o, o.Net, 3).first()`: "",
	} {
		p, issues := env.Compile(source, expr.Anything)
		require.Nil(t, p, source)
		if message != "" {
			require.Contains(t, issues[0].Message, message, source)
		}
	}
}

func TestValuesThatAreNoneFailWithoutBeingShown(t *testing.T) {
	t.Parallel()
	env, err := expr.New(expr.Var{Name: "row"})
	require.NoError(t, err)
	row := map[string]any{
		"nulls": []any{json.Number("1"), nil}, "mixed": []any{json.Number("1"), "secret"}, "text": "secret", "rows": []any{map[string]any{}},
		"one": []any{[]any{}}, "float": []any{1.5}, "huge": []any{json.Number("1e999999999")}, "none": nil,
	}
	for source, code := range map[string]string{
		`sum(row.nulls)`: "cel.type", `sum(row.mixed)`: "cel.type", `sum(row.text)`: "cel.type", `max(row.nulls)`: "cel.type", `max(row.mixed)`: "cel.type",
		`row.nulls.sort()`: "cel.type", `row.one.sort()`: "cel.type", `row.rows.distinct()`: "cel.type", `row.mixed.join(",")`: "cel.type",
		`row.mixed.sortBy(x, x)`: "cel.type", `sum(row.float)`: "bug.cel", `sum(row.huge)`: "cel.value", `date(row.text)`: "cel.value", `date(row.none)`: "cel.type",
		`days(row.text, "2026-01-01")`: "cel.value", `days("2026-01-01", row.text)`: "cel.value", `date("2026-02-30")`: "cel.value",
		`unpad(row.none)`: "cel.type", `pad(row.text, 101)`: "cel.value", `pad("1", -1)`: "cel.value",
	} {
		p, issues := env.Compile(source, expr.Anything)
		require.Empty(t, issues, source)
		_, err := p.Eval(map[string]any{"row": row})
		require.Error(t, err, source)
		require.Equal(t, code, fault.Of(err).Code, source)
		require.NotContains(t, err.Error(), "secret", source)
	}
}

func TestWhatListsCostIsCountedTypedAndUntyped(t *testing.T) {
	t.Parallel()
	loose, err := expr.New(expr.Var{Name: "orders"})
	require.NoError(t, err)
	many := func(n int) map[string]any {
		list := make([]any, n)
		for i := range list {
			list[i] = map[string]any{"SalesOrder": "1", "Net": json.Number(fmt.Sprint(n - i)), "Items": json.Number("1"), "Created": "2026-01-01", "Open": true}
		}
		return map[string]any{"orders": list}
	}
	for name, env := range map[string]*expr.Env{"typed": gathered(t), "untyped": loose} {
		p, issues := env.Compile(`orders.sortBy(o, o.Net).last().Net`, expr.Anything)
		require.Empty(t, issues, name)
		_, err = p.Eval(many(10_000))
		require.NoError(t, err, "ten thousand orders of one customer are sorted (%s)", name)
		_, err = p.Eval(many(60_000))
		require.Equal(t, "cel.budget", fault.Of(err).Code, name)

		p, issues = env.Compile(`orders.all(a, sum(orders.map(b, b.Net)) > 0)`, expr.Anything)
		require.Empty(t, issues, name)
		_, err = p.Eval(many(1_000))
		require.Equal(t, "cel.budget", fault.Of(err).Code, name)
	}
	_, issues := gathered(t).Compile(`orders.all(a, orders.all(b, sum(orders.sortBy(c, c.Net).map(c, c.Net)) > 0))`, expr.Anything)
	require.Len(t, issues, 1)
	require.Equal(t, expr.Costly, issues[0].Kind, "the estimate knows what a sort in a loop costs")
}

func TestASumIsExactWhateverTheOrder(t *testing.T) {
	t.Parallel()
	env, err := expr.New(expr.Var{Name: "list"})
	require.NoError(t, err)
	p, issues := env.Compile(`sum(list)`, expr.Anything)
	require.Empty(t, issues)
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,8})?`), 0, 20).Draw(t, "numbers")
		list, want := make([]any, len(texts)), new(big.Rat)
		for i, text := range texts {
			list[i] = json.Number(text)
			r, ok := new(big.Rat).SetString(text)
			require.True(t, ok)
			want.Add(want, r)
		}
		got, err := p.Eval(map[string]any{"list": list})
		require.NoError(t, err)
		r, ok := new(big.Rat).SetString(string(got.(json.Number)))
		require.True(t, ok)
		require.Zero(t, want.Cmp(r), "%s: %s", strings.Join(texts, " + "), got)
	})
}

func TestAPlainPathIsRecognised(t *testing.T) {
	t.Parallel()
	env := gathered(t)
	for source, want := range map[string][]string{
		`key`: {"key"}, `account.name`: {"account", "name"}, `account . name`: {"account", "name"}, `asof.orders`: {"asof", "orders"}, `orders`: {"orders"},
		`account.?name`: nil, `has(account.name)`: nil, `"key"`: nil, `orders[0].Net`: nil, `-account.limit`: nil, `(account.name)`: {"account", "name"},
	} {
		p, issues := env.Compile(source, expr.Anything)
		require.Empty(t, issues, source)
		got, ok := p.Path()
		require.Equal(t, want != nil, ok, source)
		if ok {
			require.Equal(t, want, got, source)
		}
	}
}

func TestAKeyIsOneTextForOneNumber(t *testing.T) {
	t.Parallel()
	for _, v := range []any{"4712", json.Number("4712"), json.Number("4712.0"), json.Number("4.712e3")} {
		got, err := expr.KeyText(v, "the key")
		require.NoError(t, err)
		require.Equal(t, "4712", got)
	}
	for _, v := range []any{nil, expr.Absent, "", true, []any{}, "a\x00", strings.Repeat("x", 513), json.Number("1e9999")} {
		_, err := expr.KeyText(v, "the key")
		require.True(t, fault.Is(err, fault.Rejected), "%v", v)
	}
}
