package forecast

import (
	"math"
	"slices"
)

// certain is how many standard deviations a trend is away from none before people are
// told: one chance in four thousand, on one side. They are asked about after each run.
const certain = 3.5

// trend is a line through points that few outliers do not move.
type trend struct {
	slope, level float64 // y = level + slope × x
	least        float64 // what the slope is at least, as good as certainly
	spread       float64 // of the points about the line, as a standard deviation
}

// sen gives the Theil–Sen line of points, and the bounds of its slope by Kendall's
// statistic. It needs three points at least, of more than one x.
func sen(x, y []float64) (trend, bool) {
	n := len(x)
	slopes := make([]float64, 0, n*(n-1)/2)
	for i := range n {
		for j := i + 1; j < n; j++ {
			if dx := x[j] - x[i]; dx != 0 {
				slopes = append(slopes, (y[j]-y[i])/dx)
			}
		}
	}
	if n < 3 || len(slopes) == 0 {
		return trend{}, false
	}
	slices.Sort(slopes)
	t := trend{slope: middle(slopes)}
	// The slopes that are certain to be passed are those C/2 below the middle.
	c := certain * math.Sqrt(float64(n*(n-1)*(2*n+5))/18)
	below := int(math.Floor((float64(len(slopes)) - c) / 2))
	if below < 0 {
		t.least = math.Inf(-1)
	} else {
		t.least = slopes[below]
	}
	rest := make([]float64, n)
	for i := range n {
		rest[i] = y[i] - t.slope*x[i]
	}
	t.level = median(rest)
	for i := range n {
		rest[i] = math.Abs(rest[i] - t.level)
	}
	t.spread = 1.4826 * median(rest)
	return t, true
}

func (t trend) at(x float64) float64 { return t.level + t.slope*x }

func median(list []float64) float64 {
	sorted := slices.Clone(list)
	slices.Sort(sorted)
	return middle(sorted)
}

func middle(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
