package main

import (
	"fmt"
	"slices"
	"time"
)

// quantile returns the q-quantile of what was measured.
func quantile(took []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(took))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// spread prints the median over rounds of a quantile, and its extremes.
func spread(rounds [][]time.Duration, q float64) string {
	values := make([]float64, len(rounds))
	for i, took := range rounds {
		values[i] = float64(quantile(took, q)) / float64(time.Millisecond)
	}
	low, mid, high := minMedianMax(values)
	return fmt.Sprintf("%.1f ms (%.1f … %.1f)", mid, low, high)
}

// ratio prints the median over rounds of the ratio of two p50s, and its extremes.
func ratio(rounds, base [][]time.Duration) string {
	values := make([]float64, len(rounds))
	for i := range values {
		values[i] = float64(quantile(rounds[i], 0.5)) / float64(quantile(base[i], 0.5))
	}
	low, mid, high := minMedianMax(values)
	return fmt.Sprintf("%.2f (%.2f … %.2f)", mid, low, high)
}

func minMedianMax(values []float64) (low, mid, high float64) {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[0], sorted[len(sorted)/2], sorted[len(sorted)-1]
}
