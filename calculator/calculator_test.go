package calculator_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/calculator"
	"patchbay/internal/fault"
)

type (
	ask struct {
		Name   string             `json:"name"`
		Figure float64            `json:"figure"`
		Note   *string            `json:"note"`
		More   string             `json:"more,omitempty"`
		Parts  []part             `json:"parts"`
		By     map[string]float64 `json:"by"`
	}
	part struct {
		Share float64 `json:"share"`
	}
	reply struct {
		Figure float64 `json:"figure"`
		Seed   uint64  `json:"seed"`
		Text   string  `json:"text"`
	}
)

const whole = `{"name": "x", "figure": 2, "parts": [{"share": 0.5}], "by": {}}`

func of(version string, compute func(context.Context, ask, calculator.Run) (reply, error)) calculator.Calculator {
	return calculator.New("acme.test", version, compute)
}

func code(t *testing.T, err error) string {
	t.Helper()
	var f *fault.Fault
	require.ErrorAs(t, err, &f)
	return f.Code
}

func TestTheContractIsTheShapeAndNothingElse(t *testing.T) {
	t.Parallel()
	c := of("v1", func(context.Context, ask, calculator.Run) (reply, error) { return reply{}, nil })
	require.Equal(t, `acme.test v1
input.name string
input.figure float64
input.note? string
input.more? string
input.parts[].share float64
input.by{} float64
output.figure float64
output.seed uint64
output.text string
`, string(c.Contract()))
	require.Len(t, c.Contract().Digest(), 64)
	for name, build := range map[string]func(){
		"a name with spaces": func() {
			calculator.New("Acme test", "v1", func(context.Context, part, calculator.Run) (part, error) { return part{}, nil })
		},
		"a figure for a struct": func() {
			calculator.New("acme", "v1", func(context.Context, float64, calculator.Run) (part, error) { return part{}, nil })
		},
		"anything at all": func() {
			calculator.New("acme", "v1", func(context.Context, struct{ X any }, calculator.Run) (part, error) { return part{}, nil })
		},
	} {
		require.Panics(t, build, name)
	}
}

func TestACalculatorGetsWholeInputAndItsSeed(t *testing.T) {
	t.Parallel()
	c := of("v1", func(_ context.Context, a ask, run calculator.Run) (reply, error) {
		run.Progress(1, 1)
		return reply{Figure: a.Figure * a.Parts[0].Share, Seed: run.Seed, Text: "<" + a.Name + ">"}, nil
	})
	out, err := c.Compute(t.Context(), []byte(whole), calculator.Run{Seed: math.MaxUint64})
	require.NoError(t, err)
	require.JSONEq(t, `{"figure": 1, "seed": 18446744073709551615, "text": "<x>"}`, string(out))
	require.Contains(t, string(out), `18446744073709551615,"text":"<x>"`, "digit for digit, and without escapes")
	for input, want := range map[string]string{
		`{"figure": 2, "parts": [], "by": {}}`:                              "input.name",
		`{"name": "x", "figure": null, "parts": [], "by": {}}`:              "input.figure",
		`{"name": "x", "figure": 1, "parts": [{"share": 1}, {}], "by": {}}`: "input.parts[1].share",
	} {
		_, err := c.Compute(t.Context(), []byte(input), calculator.Run{})
		require.Equal(t, "calculator.missing", code(t, err))
		var f *fault.Fault
		require.ErrorAs(t, err, &f)
		require.Equal(t, want, f.Fields[0].Path)
	}
	for _, input := range []string{`{}x`, `[]`, `{"name": "x", "figure": "2", "parts": [], "by": {}}`, `{"name": "x", "figure": 2, "parts": [], "by": {}, "age": 3}`} {
		_, err := c.Compute(t.Context(), []byte(input), calculator.Run{})
		require.Error(t, err, input)
	}
}

func TestWhatACalculatorDoesWrongHasAName(t *testing.T) {
	t.Parallel()
	known := fault.Invalidf("acme.range", "out of range")
	for want, compute := range map[string]func(context.Context, ask, calculator.Run) (reply, error){
		"calculator.panicked":   func(context.Context, ask, calculator.Run) (reply, error) { panic("a customer's income") },
		"calculator.not-finite": func(context.Context, ask, calculator.Run) (reply, error) { return reply{Figure: math.NaN()}, nil },
		"calculator.failed":     func(context.Context, ask, calculator.Run) (reply, error) { return reply{}, errors.New("income 3000") },
		"acme.range":            func(context.Context, ask, calculator.Run) (reply, error) { return reply{}, known },
	} {
		out, err := of("v1", compute).Compute(t.Context(), []byte(whole), calculator.Run{})
		require.Equal(t, want, code(t, err))
		require.NotContains(t, err.Error(), "income")
		require.Nil(t, out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	_, err := of("v1", func(context.Context, ask, calculator.Run) (reply, error) { cancel(); <-never; return reply{}, nil }).Compute(ctx, []byte(whole), calculator.Run{})
	require.Equal(t, "calculator.runaway", code(t, err))
	require.ErrorIs(t, err, context.Canceled)
	ended := false
	_, err = of("v1", func(ctx context.Context, _ ask, _ calculator.Run) (reply, error) { return reply{}, ctx.Err() }).
		Compute(ctx, []byte(whole), calculator.Run{Ended: func() { ended = true }})
	require.Equal(t, "calculator.overdue", code(t, err), "it has heard that its time is over")
	require.True(t, ended)
}

func TestAShadowIsComparedAndHasNoEffect(t *testing.T) {
	t.Parallel()
	live := of("v1", func(_ context.Context, a ask, run calculator.Run) (reply, error) {
		return reply{Figure: a.Figure, Seed: run.Seed}, nil
	})
	for name, c := range map[string]struct {
		shadow func(context.Context, ask, calculator.Run) (reply, error)
		want   calculator.Comparison
	}{
		"the same": {func(_ context.Context, a ask, run calculator.Run) (reply, error) {
			return reply{Figure: a.Figure, Seed: run.Seed}, nil
		}, calculator.Comparison{Equal: true}},
		"another": {
			func(_ context.Context, a ask, run calculator.Run) (reply, error) {
				return reply{Figure: a.Figure + 1, Seed: run.Seed, Text: "new"}, nil
			},
			calculator.Comparison{Differ: []string{"output.figure", "output.text"}},
		},
		"none": {func(context.Context, ask, calculator.Run) (reply, error) { panic("no") }, calculator.Comparison{Fault: "calculator.panicked"}},
	} {
		out, got, err := calculator.Shadow(t.Context(), live, of("v2", c.shadow), []byte(whole), calculator.Run{Seed: 3})
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
		require.JSONEq(t, `{"figure": 2, "seed": 3, "text": ""}`, string(out), name)
	}
}

func TestARegistryHasEachVersionOnce(t *testing.T) {
	t.Parallel()
	empty := func(version string) calculator.Calculator {
		return of(version, func(context.Context, ask, calculator.Run) (reply, error) { return reply{}, nil })
	}
	r, err := calculator.Register(empty("v1"), empty("v2"))
	require.NoError(t, err)
	c, err := r.Find("acme.test", "v2")
	require.NoError(t, err)
	require.Equal(t, "v2", c.Version())
	_, err = r.Find("acme.test", "v3")
	require.EqualError(t, err, "calculator.unknown: there is no calculator acme.test v3; there are [acme.test v1 acme.test v2]")
	_, err = calculator.Register(empty("v1"), empty("v1"))
	require.Equal(t, "calculator.twice", code(t, err))
}

func TestCanonicalJSONHasOneForm(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		` {"b": 1.0, "a": [ true,null ] } `: `{"a":[true,null],"b":1.0}`,
		`"\u003c\u00e9&\/"`:                 `"<é&/"`,
		`1e2`:                               `1e2`,
	} {
		out, err := calculator.Canonical([]byte(given))
		require.NoError(t, err)
		require.Equal(t, want, string(out))
		again, err := calculator.Canonical(out)
		require.NoError(t, err)
		require.Equal(t, out, again)
		require.True(t, json.Valid(out))
	}
	_, err := calculator.Canonical([]byte(`{"a":1,"a":2}`))
	require.Error(t, err)
}
