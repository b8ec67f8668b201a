package fit

import (
	"slices"

	"patchbay/internal/risk/portable"
)

// Bin is a class of rows: how many were repaid and how many were not.
type Bin struct {
	From      float64 // the first value of it
	Good, Bad int
}

const (
	fine = 20 // classes that merging begins with
	// leastShare and leastOf are what a class has at least: a part of the rows, and defaults.
	leastShare = 0.05
	leastOf    = 10
	// different is the χ² of one degree that chance exceeds once in a hundred times: what neighbours have at least.
	different = 6.634896601021214
	most      = 6 // classes
)

// Coarse makes classes of a figure: fine ones of equal numbers of rows, of which the two
// neighbours that differ least are merged until each class is large enough, default rates fall (or
// rise) throughout and neighbours differ. falls says that a higher figure is a better one.
func Coarse(values []float64, bad []bool, falls bool) []Bin {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case values[a] < values[b]:
			return -1
		case values[a] > values[b]:
			return 1
		}
		return 0
	})
	var bins []Bin
	due := true
	for rank, i := range order {
		due = due || rank*fine/len(order) > (rank-1)*fine/len(order)
		if due && (rank == 0 || values[i] > values[order[rank-1]]) { // equal values are in one class
			bins, due = append(bins, Bin{From: values[i]}), false
		}
		bins[len(bins)-1].count(bad[i])
	}
	for len(bins) > 1 {
		at := worst(bins, len(values), falls)
		if at < 0 {
			break
		}
		bins[at].Good += bins[at+1].Good
		bins[at].Bad += bins[at+1].Bad
		bins = slices.Delete(bins, at+1, at+2)
	}
	return bins
}

func (b *Bin) count(bad bool) {
	if bad {
		b.Bad++
	} else {
		b.Good++
	}
}

func (b *Bin) rate() float64 { return float64(b.Bad) / float64(b.Bad+b.Good) }

// worst is the first of the two neighbours to merge next, or -1: what is too small goes first, then
// what is out of order, then what does not differ.
func worst(bins []Bin, rows int, falls bool) int {
	for _, breaks := range []func(a, b *Bin) bool{
		func(a, b *Bin) bool { return a.small(rows) || b.small(rows) },
		func(a, b *Bin) bool { return falls != (b.rate() < a.rate()) },
		func(a, b *Bin) bool { return len(bins) > most || square(a, b) < different },
	} {
		at, least := -1, 0.0
		for i := range len(bins) - 1 {
			if a, b := &bins[i], &bins[i+1]; breaks(a, b) {
				if x := square(a, b); at < 0 || x < least {
					at, least = i, x
				}
			}
		}
		if at >= 0 {
			return at
		}
	}
	return -1
}

func (b *Bin) small(rows int) bool {
	return float64(b.Good+b.Bad) < float64(leastShare*float64(rows)) || b.Bad < leastOf
}

// square is Pearson's χ² of two classes.
func square(a, b *Bin) float64 {
	n := float64(a.Good + a.Bad + b.Good + b.Bad)
	d := float64(float64(a.Good)*float64(b.Bad)) - float64(float64(a.Bad)*float64(b.Good))
	margins := float64(a.Good+b.Good) * float64(a.Bad+b.Bad) * float64(a.Good+a.Bad) * float64(b.Good+b.Bad)
	if margins == 0 {
		return 0
	}
	return float64(float64(n*d)*d) / margins
}

// Evidence is the weight of evidence of each class, ln(part of all good ÷ part of all bad), and the
// information value of all. A class needs both kinds of rows.
func Evidence(bins []Bin) (woe []float64, information float64) {
	good, bad := 0, 0
	for _, b := range bins {
		good += b.Good
		bad += b.Bad
	}
	for _, b := range bins {
		g, d := float64(b.Good)/float64(good), float64(b.Bad)/float64(bad)
		w := portable.Log(g / d)
		woe = append(woe, w)
		information += float64((g - d) * w)
	}
	return woe, information
}
