package figures_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/risk/figures"
)

func TestEachWrongFigureIsNamedWithoutItsValue(t *testing.T) {
	t.Parallel()
	var c figures.Check
	require.True(t, c.Within("rate", 0.25, 0, 0.25))
	require.NoError(t, c.Err())
	require.False(t, c.Within("income", math.NaN(), 0, 1e12))
	require.False(t, c.Within("living", math.Inf(-1), 0, 1e12))
	require.False(t, c.Within("debts", -4711, 0, 1e12))
	require.False(t, c.Whole("months", 500, 1, 480))
	c.Add(figures.Contradiction, "term", "is shorter than the horizon", "lengthen one")
	var f *fault.Fault
	require.ErrorAs(t, c.Err(), &f)
	require.Equal(t, fault.Invalid, f.Class)
	require.Equal(t, figures.NotANumber, f.Code)
	codes := make([]string, len(f.Fields))
	for i, field := range f.Fields {
		codes[i] = field.Path + " " + field.Code
		require.NotContains(t, field.Detail+field.Fix, "4711")
		require.NotEmpty(t, field.Fix)
	}
	require.Equal(t, []string{"income risk.not-a-number", "living risk.not-a-number", "debts risk.range", "months risk.range", "term risk.contradiction"}, codes)
}

func TestAResultThatIsNoNumberIsABug(t *testing.T) {
	t.Parallel()
	require.NoError(t, figures.Finite("the price", 0, -1, math.MaxFloat64))
	var f *fault.Fault
	require.ErrorAs(t, figures.Finite("the price", 0, math.Inf(1)), &f)
	require.Equal(t, fault.Bug, f.Class)
	require.Equal(t, figures.Overflow, f.Code)
	require.Equal(t, "the price came out as no finite number", f.Text)
}
