package main

import (
	"fmt"
	"slices"
	"time"
)

// quantile returns the q-quantile of what was measured; 0 of nothing.
func quantile(took []time.Duration, q float64) time.Duration {
	if len(took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(took))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// spread prints the median of one value per round, and its extremes.
func spread(values []float64, decimals int) string {
	low, mid, high := minMedianMax(values)
	return fmt.Sprintf("%.*f (%.*f … %.*f)", decimals, mid, decimals, low, decimals, high)
}

func median(values []float64) float64 {
	_, mid, _ := minMedianMax(values)
	return mid
}

func minMedianMax(values []float64) (low, mid, high float64) {
	if len(values) == 0 {
		return 0, 0, 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[0], sorted[len(sorted)/2], sorted[len(sorted)-1]
}

// each gives one value of every round.
func each(rounds []round, value func(round) float64) []float64 {
	values := make([]float64, len(rounds))
	for i, r := range rounds {
		values[i] = value(r)
	}
	return values
}

// ratios gives the quotient of the two contenders' values, round by round.
func ratios(a, b []round, value func(round) float64) []float64 {
	values := make([]float64, min(len(a), len(b)))
	for i := range values {
		if below := value(b[i]); below > 0 {
			values[i] = value(a[i]) / below
		}
	}
	return values
}
