package activities

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"patchbay/internal/flow"
)

// Holds reports whether found has every value of want, and so of rows within rows: a
// system adds members of its own. An absent column equals null: a system that stores
// nothing gives either back.
func Holds(found, want flow.Row) bool {
	for column, w := range want {
		if !same(found[column], w) {
			return false
		}
	}
	return true
}

// same compares what was found with a JSON value that is wanted; numbers by value,
// exactly (1.50 is 15e-1).
func same(a, b any) bool {
	x, isA := normal(a)
	y, isB := normal(b)
	if isA && isB {
		return x == y
	}
	switch want := b.(type) {
	case map[string]any:
		found, is := a.(map[string]any)
		return is && Holds(found, want)
	case []any:
		found, is := a.([]any)
		if !is || len(found) != len(want) {
			return false
		}
		for i := range want {
			if !same(found[i], want[i]) {
				return false
			}
		}
		return true
	}
	p, errA := json.Marshal(a)
	q, errB := json.Marshal(b)
	return errA == nil && errB == nil && bytes.Equal(p, q)
}

// decimal is a number in its one shortest form: ±0.digits × 10^exp, digits
// without zeros at either end.
type decimal struct {
	negative bool
	digits   string
	exp      int
}

// normal gives the shortest form of a number without ever scaling it, so that a
// huge exponent costs nothing.
func normal(v any) (decimal, bool) {
	var s string
	switch n := v.(type) {
	case json.Number:
		s = n.String()
	case int64:
		s = strconv.FormatInt(n, 10)
	case int:
		s = strconv.Itoa(n)
	default:
		return decimal{}, false
	}
	s, negative := strings.CutPrefix(s, "-")
	mantissa, exponent, _ := strings.Cut(strings.ToLower(s), "e")
	exp := 0
	if exponent != "" {
		e, err := strconv.Atoi(exponent)
		if err != nil {
			return decimal{}, false
		}
		exp = e
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	exp += len(whole) - (len(whole+fraction) - len(digits))
	digits = strings.TrimRight(digits, "0")
	if digits == "" {
		return decimal{}, true
	}
	return decimal{negative: negative, digits: digits, exp: exp}, true
}
