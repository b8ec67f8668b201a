package fit_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/fault"
	"patchbay/internal/risk/fit"
)

// With one variable of two values the fit is known: the odds of each value.
func TestTheLogisticFitIsTheKnownOne(t *testing.T) {
	t.Parallel()
	var rows [][]float64
	var bad []bool
	add := func(x float64, good, defaults int) {
		for i := range good + defaults {
			rows, bad = append(rows, []float64{x}), append(bad, i < defaults)
		}
	}
	add(0, 90, 10)
	add(2, 60, 40)
	c, err := fit.Logistic(rows, bad)
	require.NoError(t, err)
	require.InDelta(t, math.Log(10.0/90), c[0], 1e-12)
	require.InDelta(t, (math.Log(40.0/60)-math.Log(10.0/90))/2, c[1], 1e-12)
}

func TestRowsThatHaveNoUniqueFitAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rows [][]float64
		bad  []bool
	}{
		"told apart":      {[][]float64{{1}, {2}, {3}, {4}}, []bool{false, false, true, true}},
		"the same twice":  {[][]float64{{1, 2}, {2, 4}, {3, 6}, {4, 8}}, []bool{false, true, false, true}},
		"no rows":         {nil, nil},
		"all of one kind": {[][]float64{{1}, {2}, {3}}, []bool{true, true, true}},
	} {
		_, err := fit.Logistic(c.rows, c.bad)
		var f *fault.Fault
		require.ErrorAs(t, err, &f, name)
		require.Equal(t, "risk.no-fit", f.Code)
	}
}

func TestClassesAreLargeInOrderAndComplete(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(100, 1500).Draw(r, "rows")
		slope := rapid.Float64Range(-2, 2).Draw(r, "slope")
		coarse := rapid.SampledFrom([]float64{1, 5, 100}).Draw(r, "values")
		noise := rapid.SliceOfN(rapid.Float64Range(0, 1), 2*n, 2*n).Draw(r, "noise")
		values, bad := make([]float64, n), make([]bool, n)
		defaults := 0
		for i := range n {
			x := noise[i]
			values[i] = math.Floor(x * coarse)
			if bad[i] = noise[n+i] < 0.3+0.1*slope*x; bad[i] {
				defaults++
			}
		}
		bins := fit.Coarse(values, bad, slope < 0)
		rows, of := 0, 0
		for i, b := range bins {
			rows += b.Good + b.Bad
			of += b.Bad
			if i == 0 {
				continue
			}
			require.Greater(r, b.From, bins[i-1].From)
			before, after := float64(bins[i-1].Bad)/float64(bins[i-1].Bad+bins[i-1].Good), float64(b.Bad)/float64(b.Bad+b.Good)
			require.Equal(r, slope < 0, after < before, "rates in one direction")
			require.GreaterOrEqual(r, float64(b.Good+b.Bad), 0.05*float64(n))
			require.GreaterOrEqual(r, b.Bad, 10)
		}
		require.Equal(r, n, rows)
		require.Equal(r, defaults, of)
		require.LessOrEqual(r, len(bins), 6)
		in := make([]int, len(bins)) // each row is in the class of its value, however many are equal
		for _, x := range values {
			at := 0
			for at+1 < len(bins) && x >= bins[at+1].From {
				at++
			}
			in[at]++
		}
		for i, b := range bins {
			require.Equal(r, in[i], b.Good+b.Bad)
		}
	})
}

func TestEvidenceIsThatOfTheTextbook(t *testing.T) {
	t.Parallel()
	woe, information := fit.Evidence([]fit.Bin{{Good: 60, Bad: 5}, {Good: 40, Bad: 15}})
	require.InDelta(t, math.Log(0.6/0.25), woe[0], 1e-15)
	require.InDelta(t, math.Log(0.4/0.75), woe[1], 1e-15)
	require.InDelta(t, 0.35*math.Log(2.4)-0.35*math.Log(0.4/0.75), information, 1e-15)
}

func TestDiscriminationIsWhatCountingPairsGives(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(10, 80).Draw(r, "rows")
		rows := make([]fit.Judged, n)
		for i := range rows {
			rows[i] = fit.Judged{Score: rapid.IntRange(0, 9).Draw(r, "score"), PD: 0.25, Bad: rapid.Bool().Draw(r, "bad")}
		}
		rows[0].Bad, rows[1].Bad = true, false
		wins, pairs, defaults := 0.0, 0.0, 0
		for _, b := range rows {
			if !b.Bad {
				continue
			}
			defaults++
			for _, g := range rows {
				switch {
				case g.Bad:
					continue
				case g.Score > b.Score:
					wins++
				case g.Score == b.Score:
					wins += 0.5
				}
				pairs++
			}
		}
		largest := 0.0
		for at := range 10 {
			below := map[bool]float64{}
			for _, row := range rows {
				if row.Score <= at {
					below[row.Bad]++
				}
			}
			largest = max(largest, below[true]/float64(defaults)-below[false]/float64(n-defaults))
		}
		v := fit.Judge(rows, fit.Held)
		require.InDelta(r, wins/pairs, v.AUC, 1e-12)
		require.InDelta(r, 2*wins/pairs-1, v.Gini, 1e-12)
		require.InDelta(r, largest, v.KS, 1e-12)
		require.InDelta(r, (float64(defaults)*0.75*0.75+float64(n-defaults)*0.25*0.25)/float64(n), v.Brier, 1e-12)
		require.Equal(r, defaults, v.Bad)
	})
}

// Of 100 rows in tenths of 10, with a probability of 0.3 for all and 4 defaults in each: ten times (4 - 3)² ÷ 2.1.
func TestCalibrationIsWhatTheTableSays(t *testing.T) {
	t.Parallel()
	var rows []fit.Judged
	for i := range 100 {
		rows = append(rows, fit.Judged{Score: i, PD: 0.3, Bad: i%10 < 4})
	}
	v := fit.Judge(rows, fit.Held)
	require.InDelta(t, 10/2.1, v.HosmerLemeshow, 1e-12)
	require.Len(t, v.Groups, 10)
	require.Equal(t, 4, v.Groups[3].Bad)
	require.InDelta(t, 3, v.Groups[3].Expected, 1e-12)
	require.InDelta(t, 0.906, v.P, 0.001, "χ² of ten degrees above 4.76")
	require.InDelta(t, 0.783, fit.Judge(rows, fit.Fitted).P, 0.001, "of eight")
}
