package risk

import (
	"math"

	"patchbay/internal/risk/portable"
)

// normal is a normal distribution and its inverse.
type normal struct {
	cumulative, quantile func(float64) float64
}

func (r Rules) normal() normal {
	if r.Spreadsheet {
		return normal{spreadsheet, spreadsheetInverse}
	}
	return normal{portable.Cumulative, portable.Quantile}
}

// spreadsheet is the normal distribution that spreadsheets had when Basel's tables were
// printed: Abramowitz and Stegun, "Handbook of mathematical functions" (1964), 26.2.17, which is
// up to 7.5e-8 off the truth.
func spreadsheet(x float64) float64 {
	t := 1 / (1 + float64(0.2316419*math.Abs(x)))
	sum := -1.821255978 + float64(1.330274429*t)
	sum = 1.781477937 + float64(t*sum)
	sum = -0.356563782 + float64(t*sum)
	sum = 0.319381530 + float64(t*sum)
	beyond := float64(float64(0.3989422804*portable.Exp(float64(float64(-0.5*x)*x))) * float64(t*sum))
	if x < 0 {
		return beyond
	}
	return 1 - beyond
}

// spreadsheetInverse is where spreadsheet reaches p, by bisection.
func spreadsheetInverse(p float64) float64 {
	low, high := -8.0, 8.0
	for range 60 {
		if mid := float64(0.5 * (low + high)); spreadsheet(mid) < p {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}
