package postgres

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// kept reports whether a value that is stored is the one that was given. A type may write
// it in another way; one that it would be a guess to compare counts as kept.
func kept(of column, given, stored any) bool {
	if given == nil || stored == nil {
		return given == nil && stored == nil
	}
	if of.kind == float { // shorter by nature
		return true
	}
	switch of.kind {
	case text:
		was, ok := given.(string)
		is, also := stored.(string)
		if !ok || !also {
			return true
		}
		if of.oid == typeBpchar {
			return strings.TrimRight(was, " ") == strings.TrimRight(is, " ")
		}
		if of.oid == typeUUID {
			return strings.EqualFold(strings.ReplaceAll(strings.Trim(was, "{}"), "-", ""), strings.ReplaceAll(is, "-", ""))
		}
		return !of.literal() || was == is
	case integer, decimal:
		return sameNumber(texted(given), texted(stored))
	case boolean:
		was, ok := given.(bool)
		is, also := stored.(bool)
		return !ok || !also || was == is
	case local, moment:
		return sameTime(given, stored)
	case object, list:
		return sameDocument(given, stored)
	default:
		return true
	}
}

const typeUUID = 2950

// literal says that a type keeps each text as it is.
func (of column) literal() bool {
	switch of.oid {
	case 25, typeVarchar, typeBpchar, 19, 18:
		return true
	}
	return false
}

func texted(v any) string {
	switch v := v.(type) {
	case json.Number:
		return v.String()
	case string:
		return v
	case int:
		return strconv.Itoa(v)
	case int64:
		return strconv.FormatInt(v, 10)
	}
	return ""
}

// sameNumber compares decimals by what they are. A text that is none counts as the same:
// the database took it.
func sameNumber(a, b string) bool {
	x, ok := normal(a)
	y, also := normal(b)
	return !ok || !also || x == y
}

// normal writes a decimal as sign, digits without zeros at their ends, and exponent.
func normal(number string) (string, bool) {
	sign := ""
	switch {
	case strings.HasPrefix(number, "-"):
		sign, number = "-", number[1:]
	case strings.HasPrefix(number, "+"):
		number = number[1:]
	}
	mantissa, exponent := number, 0
	if e := strings.IndexAny(number, "eE"); e >= 0 {
		n, ok := small([]byte(number[e+1:]))
		if !ok {
			return "", false
		}
		mantissa, exponent = number[:e], n
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := whole + fraction
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return "", false
	}
	exponent -= len(fraction)
	trimmed := strings.TrimRight(digits, "0")
	exponent += len(digits) - len(trimmed)
	if trimmed = strings.TrimLeft(trimmed, "0"); trimmed == "" {
		return "0", true
	}
	return sign + trimmed + "e" + strconv.Itoa(exponent), true
}

func sameTime(given, stored any) bool {
	was, ok := parseTime(given)
	is, also := parseTime(stored)
	return !ok || !also || was.Equal(is)
}

func parseTime(v any) (time.Time, bool) {
	s, ok := v.(string)
	if !ok {
		return time.Time{}, false
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		if at, err := time.Parse(layout, s); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}

// sameDocument compares documents, numbers by what they are. Texts that are dates in an
// array may be written in another way.
func sameDocument(given, stored any) bool {
	switch was := given.(type) {
	case map[string]any:
		is, ok := stored.(map[string]any)
		if !ok || len(is) != len(was) {
			return false
		}
		for name, v := range was {
			if other, there := is[name]; !there || !sameDocument(v, other) {
				return false
			}
		}
		return true
	case []any:
		is, ok := stored.([]any)
		if !ok || len(is) != len(was) {
			return false
		}
		for i := range was {
			if !sameDocument(was[i], is[i]) {
				return false
			}
		}
		return true
	case json.Number:
		is, ok := stored.(json.Number)
		return !ok || sameNumber(was.String(), is.String())
	case string:
		is, ok := stored.(string)
		return ok && (was == is || parsed(was) || bytes.HasPrefix([]byte(is), []byte(`\x`)))
	}
	return given == stored
}

func parsed(s string) bool {
	_, ok := parseTime(s)
	return ok
}
