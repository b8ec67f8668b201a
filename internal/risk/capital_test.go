package risk_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/risk"
)

// The illustrative risk weights for unexpected loss of Basel Committee, June 2006, Annex 5, in per
// cent: PD; corporate with LGD 45, maturity 2.5 years and a turnover of 50 and of 5 million euros;
// residential mortgages with LGD 45 and 25; other retail with 45 and 85; qualifying revolving with 45 and 85.
const annex5 = `
0.03   14.44  11.30    4.15   2.30    4.45   8.41    0.98   1.85
0.05   19.65  15.39    6.23   3.46    6.63  12.52    1.51   2.86
0.10   29.65  23.30   10.69   5.94   11.16  21.08    2.71   5.12
0.25   49.47  39.01   21.30  11.83   21.15  39.96    5.76  10.88
0.40   62.72  49.49   29.94  16.64   28.42  53.69    8.41  15.88
0.50   69.61  54.91   35.08  19.49   32.36  61.13   10.04  18.97
0.75   82.78  65.14   46.46  25.81   40.10  75.74   13.80  26.06
1.00   92.32  72.40   56.40  31.33   45.77  86.46   17.22  32.53
1.30  100.95  78.77   67.00  37.22   50.80  95.95   21.02  39.70
1.50  105.59  82.11   73.45  40.80   53.37 100.81   23.40  44.19
2.00  114.86  88.55   87.94  48.85   57.99 109.53   28.92  54.63
2.50  122.16  93.43  100.64  55.91   60.90 115.03   33.98  64.18
3.00  128.44  97.58  111.99  62.22   62.79 118.61   38.66  73.03
4.00  139.58 105.04  131.63  73.13   65.01 122.80   47.16  89.08
5.00  149.86 112.27  148.22  82.35   66.42 125.45   54.75 103.41
6.00  159.61 119.48  162.52  90.29   67.73 127.94   61.61 116.37
10.00 193.09 146.51  204.41 113.56   75.54 142.69   83.89 158.47
15.00 221.54 171.91  235.72 130.96   88.60 167.36  103.89 196.23
20.00 238.23 188.42  253.12 140.62  100.28 189.41  117.99 222.86
`

// What is new in the framework from 2023 (CRE99), as far as it is at hand: PD; corporate with LGD
// 40 and both turnovers; qualifying revolving with 50. The other columns are those of 2006.
const cre99 = `
0.05   17.47  13.69     1.68
0.10   26.36  20.71     3.01
0.25   43.97  34.68     6.40
0.40   55.75  43.99     9.34
0.50   61.88  48.81    11.16
0.75   73.58  57.91    15.33
1.00   82.06  64.35    19.14
1.30   89.73  70.02    23.35
`

func corporate(lgd, turnover float64) risk.Exposure {
	return risk.Exposure{Class: risk.Corporate, LGD: lgd, Maturity: 2.5, Turnover: turnover}
}

func retail(class risk.Class, lgd float64) risk.Exposure {
	return risk.Exposure{Class: class, LGD: lgd}
}

// compare holds a table against what rules give, and counts what differs in the printed digits.
func compare(t *testing.T, table string, rules risk.Rules, columns ...risk.Exposure) (figures, off int) {
	t.Helper()
	for line := range strings.Lines(strings.TrimSpace(table)) {
		cells := strings.Fields(line)
		require.Len(t, cells, len(columns)+1)
		pd, err := strconv.ParseFloat(cells[0], 64)
		require.NoError(t, err)
		for i, e := range columns {
			e.PD = pd / 100
			r, err := risk.Capital(e, rules)
			require.NoError(t, err)
			figures++
			if fmt.Sprintf("%.2f", 100*r.Weight) == cells[i+1] {
				continue
			}
			off++
			printed, err := strconv.ParseFloat(cells[i+1], 64)
			require.NoError(t, err)
			require.InDelta(t, printed, 100*r.Weight, 0.007, "PD %s %%, %+v", cells[0], e)
		}
	}
	return figures, off
}

func TestTheCommitteesIllustrativeRiskWeightsComeOutToThePrintedDigits(t *testing.T) {
	t.Parallel()
	columns := []risk.Exposure{
		corporate(0.45, 50), corporate(0.45, 5), retail(risk.Mortgage, 0.45), retail(risk.Mortgage, 0.25),
		retail(risk.OtherRetail, 0.45), retail(risk.OtherRetail, 0.85), retail(risk.Revolving, 0.45), retail(risk.Revolving, 0.85),
	}
	figures, off := compare(t, annex5, risk.Illustrative(), columns...)
	require.Equal(t, 19*8, figures)
	require.Zero(t, off)

	// With the exact distribution these are the truth, and no further than 0.002 from where they would round as printed.
	exact := risk.Rules{Name: "exact", Scaling: 1}
	_, off = compare(t, annex5, exact, columns...)
	require.Equal(t, 12, off)

	figures, off = compare(t, cre99, exact, corporate(0.40, 50), corporate(0.40, 5), retail(risk.Revolving, 0.50))
	require.Equal(t, 8*3, figures)
	require.Zero(t, off)
}

func TestScalingAndFloorsAreThoseOfTheEdition(t *testing.T) {
	t.Parallel()
	e := risk.Exposure{Class: risk.Revolving, PD: 0.0001, LGD: 0.45, EAD: 1000}
	plain, err := risk.Capital(risk.Exposure{Class: risk.Revolving, PD: 0.0003, LGD: 0.45, EAD: 1000}, risk.Rules{Scaling: 1})
	require.NoError(t, err)
	two, err := risk.Capital(e, risk.Basel2())
	require.NoError(t, err)
	require.Equal(t, 0.0003, two.PD)
	require.Equal(t, plain.Weight, two.Weight, "the weight is without the factor")
	require.InEpsilon(t, 1.06*plain.RWA, two.RWA, 1e-15)
	require.InEpsilon(t, 1.06*1000*plain.K, two.Capital, 1e-14, "8 %% of 12.5 is one")
	three, err := risk.Capital(e, risk.Basel3())
	require.NoError(t, err)
	require.Equal(t, 0.001, three.PD)
	require.Equal(t, three.Weight*1000, three.RWA)
	require.InEpsilon(t, 0.45, three.ExpectedLoss, 1e-12)
}

func TestMaturityAndSizeStopWhereTheFrameworkStopsThem(t *testing.T) {
	t.Parallel()
	of := func(maturity, turnover float64) float64 {
		r, err := risk.Capital(risk.Exposure{Class: risk.Corporate, PD: 0.01, LGD: 0.45, EAD: 1, Maturity: maturity, Turnover: turnover}, risk.Basel2())
		require.NoError(t, err)
		return r.Weight
	}
	require.Less(t, of(1, 50), of(2.5, 50))
	require.Less(t, of(2.5, 50), of(5, 50))
	require.Equal(t, of(5, 50), of(30, 50))
	require.Equal(t, of(1, 50), of(0.2, 50))
	require.Less(t, of(2.5, 5), of(2.5, 25))
	require.Equal(t, of(2.5, 5), of(2.5, 1))
	require.Equal(t, of(2.5, 50), of(2.5, 900))
}
