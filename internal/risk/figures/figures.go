// Package figures owns what internal/risk says of bad figures: each that is wrong, where it
// is, and what to write instead, in one fault.
//
// The packages below internal/risk check what they are given and what they give by it; it
// imports fault only, and is pure.
//
// Invariants: a figure that is missing, not a number, out of its range or against another one
// is an error with a name of its own, never a result. No error holds the figure itself: it
// may be somebody's income.
package figures

import (
	"math"
	"strconv"

	"patchbay/internal/fault"
)

// What is wrong with a figure: the codes of faults and of their fields.
const (
	Missing       = "risk.missing"       // it was not given
	NotANumber    = "risk.not-a-number"  // NaN or infinite
	Range         = "risk.range"         // outside of what it may be
	Unknown       = "risk.unknown"       // none of the words it may be
	Contradiction = "risk.contradiction" // against another figure
	Overflow      = "risk.overflow"      // a result that is no number; its fault is of class bug
)

// Check collects what is wrong. The zero value is ready.
type Check struct{ fields []fault.Field }

// Within asks for low ≤ x ≤ high at a path such as "household.income", and whether it is so.
func (c *Check) Within(path string, x, low, high float64) bool {
	if low <= x && x <= high {
		return true
	}
	code, detail, span := Range, "is outside ", plain(low)+" to "+plain(high)
	if math.IsNaN(x) || math.IsInf(x, 0) {
		code, detail = NotANumber, "is not a finite number within "
	}
	c.Add(code, path, detail+span, "give a number from "+span)
	return false
}

// Whole asks for low ≤ n ≤ high.
func (c *Check) Whole(path string, n, low, high int) bool {
	return c.Within(path, float64(n), float64(low), float64(high))
}

// Add names one more thing that is wrong.
func (c *Check) Add(code, path, detail, fix string) {
	c.fields = append(c.fields, fault.Field{Path: path, Code: code, Detail: detail, Fix: fix})
}

// Err is nil when nothing is wrong, else an Invalid fault with the code of the first thing
// and a field for each.
func (c *Check) Err() error {
	if len(c.fields) == 0 {
		return nil
	}
	first := c.fields[0]
	return fault.Invalidf(first.Code, "%s %s", first.Path, first.Detail).With(c.fields...)
}

// Finite is nil when all results are numbers, else a fault of class bug: checked figures do
// not get there.
func Finite(what string, results ...float64) error {
	for _, x := range results {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return fault.New(fault.Bug, Overflow, what+" came out as no finite number", nil)
		}
	}
	return nil
}

func plain(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
