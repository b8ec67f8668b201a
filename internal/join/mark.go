package join

import (
	"strconv"
	"strings"
	"time"
)

// Later is the later of a watermark and the cell of a row, as JSON text. A null and an
// absent cell say nothing. Timestamps compare by time, numbers by value, texts that are
// neither by their bytes.
func Later(mark string, cell []byte) string {
	if len(cell) == 0 || cell[0] == 'n' || string(cell) == mark {
		return mark
	}
	if mark == "" || Before(mark, string(cell)) {
		return string(cell)
	}
	return mark
}

// Before reports whether watermark a is before b.
func Before(a, b string) bool {
	if len(a) == len(b) && strings.HasSuffix(a, `Z"`) && strings.HasSuffix(b, `Z"`) {
		return a < b // the common case: one zone, one precision
	}
	if ta, ok := instant(a); ok {
		if tb, ok := instant(b); ok {
			return ta.Before(tb)
		}
	}
	na, nb := strings.TrimPrefix(a, "-"), strings.TrimPrefix(b, "-")
	if digits([]byte(na)) && digits([]byte(nb)) {
		switch negative := na != a; {
		case negative != (nb != b):
			return negative
		case len(na) != len(nb):
			return len(na) < len(nb) != negative
		case na != nb:
			return na < nb != negative
		}
		return false
	}
	return a < b
}

// Less is a watermark less an overlap. Only times have one.
func Less(mark string, overlap time.Duration) string {
	t, ok := instant(mark)
	switch {
	case !ok:
		return mark
	case len(mark) == len(`"2006-01-02"`): // a day has no part: what is lost by it is read again
		return `"` + t.Add(-overlap).Format(time.DateOnly) + `"`
	}
	return Instant(t.Add(-overlap))
}

// Earliest is the earlier of a watermark that is a time and a moment, in the form of
// the watermark. One that is no time stays as it is.
func Earliest(mark string, at time.Time) string {
	t, ok := instant(mark)
	if !ok || !at.Before(t) {
		return mark
	}
	if len(mark) == len(`"2006-01-02"`) {
		return `"` + at.UTC().Format(time.DateOnly) + `"`
	}
	return Instant(at)
}

// Instant is a time as a watermark.
func Instant(t time.Time) string { return `"` + t.UTC().Format(time.RFC3339Nano) + `"` }

// IsInstant reports whether a watermark is a time.
func IsInstant(mark string) bool { _, ok := instant(mark); return ok }

func instant(mark string) (time.Time, bool) {
	s, err := strconv.Unquote(mark)
	if err != nil {
		return time.Time{}, false
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
