package expr_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/expr"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// typed is an environment as flowfile builds it for a table with a known schema.
func typed(t *testing.T) *expr.Env {
	t.Helper()
	spec := expr.Columns(map[string]flow.Type{"name": flow.String, "value": flow.Decimal})
	env, err := expr.New(
		expr.Var{Name: "params", Type: expr.Columns(map[string]flow.Type{"id": flow.String, "n": flow.Int})},
		expr.Var{Name: "row", Type: expr.Object(map[string]expr.Type{
			"ItemNumber": expr.Scalar(flow.String),
			"count":      expr.Scalar(flow.Int),
			"price":      expr.Scalar(flow.Decimal),
			"active":     expr.Scalar(flow.Bool),
			"changed":    expr.Scalar(flow.Timestamp),
			"any":        expr.Anything,
			"specs":      expr.List(spec),
		})},
	)
	require.NoError(t, err)
	return env
}

// untyped is an environment as a Mapper builds it.
func untyped(t *testing.T) *expr.Env {
	t.Helper()
	env, err := expr.New(expr.Var{Name: "params"}, expr.Var{Name: "row"})
	require.NoError(t, err)
	return env
}

func vars() map[string]any {
	return map[string]any{
		"params": map[string]any{"id": "A1", "n": int64(3)},
		"row": map[string]any{
			"ItemNumber": "AS54888", "count": json.Number("7"), "price": json.Number("12.50"), "active": true,
			"changed": "2026-01-31T10:00:00Z", "any": nil,
			"specs": []any{
				map[string]any{"name": "Weight", "value": json.Number("1.10")},
				map[string]any{"name": "Width", "value": json.Number("30")},
			},
		},
	}
}

func TestExpressionsGiveTheSameTypedAndUntyped(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]any{
		`row.ItemNumber`:                     "AS54888",
		`row.price`:                          json.Number("12.50"), // bare: unchanged, zeros and all
		`row.any`:                            nil,
		`params.n`:                           json.Number("3"),
		`row.ItemNumber + "-" + params.id`:   "AS54888-A1",
		`row.price * 2`:                      json.Number("25"),
		`2 * row.price`:                      json.Number("25"),
		`row.price + 0.1`:                    json.Number("12.6"),
		`1 + row.price - 0.50`:               json.Number("13"),
		`-row.price`:                         json.Number("-12.5"),
		`row.count + 1`:                      json.Number("8"),
		`9223372036854775807 + row.count`:    json.Number("9223372036854775814"),
		`0.1 + 0.2 == 0.3`:                   true,
		`1.0 == 1`:                           true,
		`0.5 + 0.5 == 1`:                     true,
		`1 == 0.5 + 0.5`:                     true,
		`row.price > 12`:                     true,
		`12 < row.price`:                     true,
		`row.price >= 12.5`:                  true,
		`row.price != 12.5`:                  false,
		`-1.5e3`:                             json.Number("-1500"),
		`123456789.123456789123456789 + 0.0`: json.Number("123456789.123456789123456789"),
		`string(row.price)`:                  "12.5",
		`string(row.count)`:                  "7",
		`int(row.price)`:                     json.Number("12"),
		`int("42")`:                          json.Number("42"),
		`decimal("1.20") + row.count`:        json.Number("8.2"),
		`fixed(row.price, 3)`:                "12.500",
		`round(row.price, 0)`:                json.Number("13"),
		`round(-2.5, 0)`:                     json.Number("-3"),
		`divide(row.price, 3, 2)`:            json.Number("4.17"),
		`divide(2, 3, 1)`:                    json.Number("0.7"),
		`row.any == null`:                    true,
		`row.price == 0 || row.count == 7.0`: true,
		`row.active ? row.price : 0`:         json.Number("12.5"),
		`(row.active ? 0 : row.price) == (row.active ? row.count - 7 : row.price)`: true,
		`row.ItemNumber == null`:                                    false,
		`has(row.any)`:                                              true,
		`row.active ? "yes" : "no"`:                                 "yes",
		`row.active ? row.ItemNumber : null`:                        "AS54888",
		`row.?any.orValue("x")`:                                     nil,
		`row.specs.map(s, s.name)`:                                  []any{"Weight", "Width"},
		`row.specs.filter(s, s.value > 2)`:                          []any{map[string]any{"name": "Width", "value": json.Number("30")}},
		`row.specs.exists(s, s.value == 1.1)`:                       true,
		`row.specs.exists_one(s, s.name == "Width")`:                true,
		`size(row.specs)`:                                           json.Number("2"),
		`row.specs[0].value`:                                        json.Number("1.1"),
		`row.ItemNumber.matches("^[A-Z]{2}[0-9]+$")`:                true,
		`row.ItemNumber.lowerAscii().replace("as", "x")`:            "x54888",
		`timestamp(row.changed) + duration("1h")`:                   "2026-01-31T11:00:00Z",
		`{"a": row.count, "b": [row.price]}`:                        map[string]any{"a": json.Number("7"), "b": []any{json.Number("12.5")}},
		`row.ItemNumber in ["AS54888", "B"]`:                        true,
		`row.specs.map(s, s.value)[1] + row.specs[0].value`:         json.Number("31.1"),
		`"x" + (row.count > 3 ? string(row.count) : "none")`:        "x7",
		`row.specs.map(s, s.name + " " + string(s.value))[0]`:       "Weight 1.1",
		`row.specs.all(s, s.name != "" && s.value >= decimal("1"))`: true,
	} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			for name, env := range map[string]*expr.Env{"typed": typed(t), "untyped": untyped(t)} {
				p, issues := env.Compile(source, expr.Anything)
				require.Empty(t, issues, name)
				got, err := p.Eval(vars())
				require.NoError(t, err, name)
				require.Equal(t, want, got, name)
			}
		})
	}
}

func TestAbsentAndNullDiffer(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]*expr.Env{"untyped": untyped(t), "typed": typed(t)} {
		in := vars()
		row := in["row"].(map[string]any)
		delete(row, "ItemNumber")
		eval := func(source string) (any, error) {
			p, issues := env.Compile(source, expr.Anything)
			require.Empty(t, issues, name)
			return p.Eval(in)
		}
		got, err := eval(`row.?ItemNumber`)
		require.NoError(t, err, name)
		require.Equal(t, expr.Absent, got, name)

		got, err = eval(`row.?ItemNumber.orValue(null)`)
		require.NoError(t, err, name)
		require.Nil(t, got, name)

		got, err = eval(`has(row.ItemNumber)`)
		require.NoError(t, err, name)
		require.Equal(t, false, got, name)

		for _, source := range []string{`row.ItemNumber`, `row.ItemNumber + "x"`, `row.ItemNumber == null`} {
			_, err = eval(source)
			require.Equal(t, "cel.missing", fault.Of(err).Code, "%s %s", name, source)
			require.Contains(t, fault.Of(err).Text, "ItemNumber", "%s %s", name, source)
			require.True(t, fault.Is(err, fault.Rejected))
		}
	}
}

func TestMistakesAreNamedWithTheirPlaceAndTheFix(t *testing.T) {
	t.Parallel()
	env := typed(t)
	for source, want := range map[string]expr.Issue{
		`row.ItemNumer`:                     {Line: 1, Col: 5, Kind: expr.Column, Message: `row has no column "ItemNumer"`, Fix: `did you mean "ItemNumber"?`, Name: "ItemNumer", Of: "row"},
		`row.specs.map(s, s.nam)`:           {Line: 1, Col: 20, Kind: expr.Column, Message: `s has no column "nam"`, Name: "nam", Of: "s"},
		`"a" +` + "\n" + ` rwo.x`:           {Line: 2, Col: 2, Kind: expr.UnknownVar, Message: `there is no "rwo" here`, Fix: `did you mean "row"?`, Name: "rwo"},
		`ItemNumber`:                        {Line: 1, Col: 1, Kind: expr.UnknownVar, Message: `there is no "ItemNumber" here`, Fix: `did you mean row.ItemNumber?`, Name: "ItemNumber"},
		`AS54888`:                           {Line: 1, Col: 1, Kind: expr.UnknownVar, Message: `there is no "AS54888" here`, Fix: `known: params, row; text stands in quotes`, Name: "AS54888"},
		`row.ItemNumber + row.count`:        {Line: 1, Col: 16, Kind: expr.Mistyped, Message: `+ does not apply to (string, int)`},
		`row.price / 2`:                     {Line: 1, Col: 11, Kind: expr.Mistyped},
		`double(1)`:                         {Line: 1, Col: 7, Kind: expr.Mistyped, Message: "there is no double(), because numbers are exact", Fix: "use decimal(…)", Name: "double"},
		`fixd(row.price, 2)`:                {Line: 1, Col: 5, Kind: expr.UnknownVar, Message: `there is no "fixd" here`, Fix: "did you mean fixed(…)?", Name: "fixd"},
		`row.ItemNumber.matches(params.id)`: {Line: 1, Col: 24, Kind: expr.Regex, Message: "the pattern of matches() is not written out"},
		`"a".matches("[")`:                  {Line: 1, Col: 13, Kind: expr.Regex},
		`row.ItemNumber +`:                  {Line: 1, Col: 17, Kind: expr.Syntax},
		`row.specs.all(a, row.specs.all(b, row.specs.all(c, row.specs.all(d, a.name + b.name == c.name + d.name))))`: {Line: 1, Col: 1, Kind: expr.Costly},
		`b"x"`:                   {Line: 1, Col: 1, Kind: expr.Mistyped},
		`{"a": 1, row.count: 2}`: {Line: 1, Col: 10, Kind: expr.Mistyped, Message: "a key of an object is of type int, where text is due"},
	} {
		p, issues := env.Compile(source, expr.Anything)
		require.Nil(t, p, source)
		require.NotEmpty(t, issues, source)
		got := issues[0]
		if want.Message == "" {
			want.Message, want.Fix, want.Name = got.Message, got.Fix, got.Name
		}
		if want.Fix == "" {
			want.Fix = got.Fix
		}
		require.Equal(t, want, got, source)
	}
}

func TestTheResultMustFitThePlaceItGoesTo(t *testing.T) {
	t.Parallel()
	env := typed(t)
	for _, c := range []struct {
		source string
		want   expr.Type
		fix    string
	}{
		{`row.count`, expr.Scalar(flow.String), "wrap it in string(…)"},
		{`row.price`, expr.Scalar(flow.Int), "wrap it in int(…)"},
		{`row.ItemNumber`, expr.Scalar(flow.Decimal), "wrap it in decimal(…)"},
		{`row.ItemNumber`, expr.List(expr.Anything), ""},
		{`row`, expr.Scalar(flow.String), ""},
	} {
		_, issues := env.Compile(c.source, c.want)
		require.Len(t, issues, 1, c.source)
		require.Equal(t, expr.Mistyped, issues[0].Kind)
		require.Equal(t, c.fix, issues[0].Fix)
	}
	for source, want := range map[string]expr.Type{
		`row.count`: expr.Scalar(flow.Decimal), `row.any`: expr.Scalar(flow.Int), `row.specs`: expr.List(expr.Anything),
		`null`: expr.Scalar(flow.String), `row.changed`: expr.Scalar(flow.Timestamp), `row.?ItemNumber`: expr.Scalar(flow.String),
		`row.?ItemNumber.orValue(null)`: expr.Scalar(flow.String),
	} {
		_, issues := env.Compile(source, want)
		require.Empty(t, issues, source)
	}
}

func TestTheElementTypeOfAListIsKnown(t *testing.T) {
	t.Parallel()
	for _, source := range []string{`row.specs`, `row.specs.filter(s, s.value > 1)`} {
		p, issues := typed(t).Compile(source, expr.List(expr.Anything))
		require.Empty(t, issues)
		_, known := p.Type().Elem().Column("name")
		require.True(t, known, source)
		_, known = p.Type().Elem().Column("nam")
		require.False(t, known, source)
	}
}

func TestFailuresAtRunTimeHoldNoValues(t *testing.T) {
	t.Parallel()
	env := untyped(t)
	in := map[string]any{
		"params": map[string]any{"key": "secret-key"},
		"row": map[string]any{"text": "secret-text", "list": []any{}, "zero": json.Number("0"), "float": 1.5,
			"huge": json.Number("1e999999999"), "map": map[string]any{}},
	}
	for source, code := range map[string]string{
		`int(row.text)`:          "cel.value",
		`timestamp(row.text)`:    "cel.value",
		`decimal(row.text)`:      "cel.value",
		`row.list[0]`:            "cel.value",
		`row.text + 1`:           "cel.type",
		`row.text * 2`:           "cel.type",
		`string(row.list)`:       "cel.type",
		`row.text.x`:             "cel.type",
		`row.map[params.key]`:    "cel.missing",
		`row.map["gone"] + ""`:   "cel.missing",
		`divide(1, row.zero, 2)`: "cel.value",
		`1 % row.zero`:           "cel.value",
		`row.huge + 1`:           "cel.value",
		`row.float`:              "bug.float",
		`row.float + 1`:          "bug.cel",
		`{row.zero: 2}`:          "cel.type",
		`{row.map: 2}`:           "cel.type",
		`round(1.5, -1)`:         "cel.value",
	} {
		p, issues := env.Compile(source, expr.Anything)
		require.Empty(t, issues, source)
		_, err := p.Eval(in)
		require.Error(t, err, source)
		require.Equal(t, code, fault.Of(err).Code, source)
		require.NotContains(t, err.Error(), "secret", source)
	}
}

func TestAnEvaluationThatCostsTooMuchIsStopped(t *testing.T) {
	t.Parallel()
	p, issues := untyped(t).Compile(`row.list.all(a, row.list.all(b, a + b != "x"))`, expr.Anything)
	require.Empty(t, issues)
	list := make([]any, 2_000)
	for i := range list {
		list[i] = strings.Repeat("y", 10)
	}
	_, err := p.Eval(map[string]any{"row": map[string]any{"list": list}})
	require.Equal(t, "cel.budget", fault.Of(err).Code)
	require.True(t, fault.Is(err, fault.Invalid))
}

func TestProgramsMayBeSharedBetweenGoroutines(t *testing.T) {
	t.Parallel()
	p, issues := typed(t).Compile(`row.specs.map(s, s.name + " " + string(s.value * 2))[0]`, expr.Anything)
	require.Empty(t, issues)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				got, err := p.Eval(vars())
				require.NoError(t, err)
				require.Equal(t, "Weight 2.2", got)
			}
		})
	}
	wg.Wait()
}
