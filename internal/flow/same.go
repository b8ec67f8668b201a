package flow

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Same reports whether two JSON values are equal: numbers by what they are worth,
// exactly, whatever they are written like; text by its bytes.
func Same(a, b any) bool {
	switch a := a.(type) {
	case nil:
		return b == nil
	case string:
		s, ok := b.(string)
		return ok && a == s
	case bool:
		v, ok := b.(bool)
		return ok && a == v
	case json.Number:
		n, ok := b.(json.Number)
		return ok && (a == n || sameNumber(string(a), string(n)))
	case map[string]any:
		m, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, m, Same)
	case []any:
		l, ok := b.([]any)
		return ok && slices.EqualFunc(a, l, Same)
	case int64: // of parameters that have been validated
		v, ok := b.(int64)
		return ok && a == v
	}
	return false
}

// SameColumn reports whether a column is known to both records with equal values.
func SameColumn(was, row Row, name string) bool {
	before, known := was[name]
	after, there := row[name]
	return known && there && Same(before, after)
}

// sameNumber compares two JSON numbers without computing either: 1e999999999 is a
// number, and costs nothing here.
func sameNumber(a, b string) bool {
	x, okX := split(a)
	y, okY := split(b)
	return okX && okY && x == y
}

// NumberText gives a JSON number in a form that all equal ones have.
func NumberText(s string) string {
	d, ok := split(s)
	if !ok {
		return s
	}
	return fmt.Sprint(d.negative, " ", d.text, " ", d.exponent)
}

// digits are a number in its only form: 0.digits × 10^exponent, without zeros at
// either end. Zero has none.
type digits struct {
	negative bool
	text     string
	exponent int64
}

func split(s string) (digits, bool) {
	var d digits
	s, d.negative = strings.CutPrefix(s, "-")
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		e, err := strconv.ParseInt(s[i+1:], 10, 63)
		if err != nil {
			return d, false
		}
		s, d.exponent = s[:i], e
	}
	whole, fraction, _ := strings.Cut(s, ".")
	d.exponent += int64(len(whole))
	if d.text = whole; fraction != "" {
		d.text = whole + fraction
	}
	stripped := strings.TrimLeft(d.text, "0")
	d.exponent -= int64(len(d.text) - len(stripped))
	if d.text = strings.TrimRight(stripped, "0"); d.text == "" {
		return digits{}, true
	}
	return d, true
}
