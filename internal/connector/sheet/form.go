package sheet

import (
	"bytes"
	"strconv"
	"time"

	"patchbay/internal/connector"
)

// Form is how the cells of a column are written.
type Form uint8

// The forms. A value that a form does not fit stays as it is.
const (
	AsIs      Form = iota // as the answer has it
	Number                // "52.65", as older protocols write what a double cannot hold, as 52.65
	Date                  // /Date(1471392000000)/ as "2016-08-17"
	Timestamp             // /Date(1472796947125+0000)/, or 2016-09-02T06:15:47.1250000Z, as "2016-09-02T06:15:47.125Z"
	Clock                 // PT12H30M00S as "12:30:00"
)

// chunk is the room for converted cells that is taken at once.
const chunk = 8 << 10

// shaped is a value in the form of its column.
func (w *walker) shaped(form Form, value connector.Cell) connector.Cell {
	if form == AsIs || value[0] != '"' {
		return value
	}
	if form == Number {
		if inner := value[1 : len(value)-1 : len(value)-1]; len(inner) > 0 && numberLength(inner) == len(inner) {
			return inner
		}
		return value
	}
	if cap(w.made)-len(w.made) < longest {
		w.made = make([]byte, 0, chunk)
	}
	start := len(w.made)
	out, ok := form.Append(append(w.made, '"'), value[1:len(value)-1])
	if !ok {
		return value
	}
	w.made = append(out, '"')
	return w.made[start:len(w.made):len(w.made)]
}

// longest is the length of the longest converted cell, quotes included.
const longest = len(`"2006-01-02T15:04:05.000000000Z"`)

// Append appends what a text of the older protocol means in the form, or reports
// that it does not fit. Slashes may be escaped as some systems do; those of numbers
// and of AsIs are not its business.
func (f Form) Append(to, text []byte) ([]byte, bool) {
	switch f {
	case Date, Timestamp:
		ms, ok := milliseconds(text)
		if !ok {
			return shorter(to, text, f)
		}
		at := time.UnixMilli(ms).UTC()
		if y := at.Year(); y < 0 || y > 9999 {
			return to, false
		}
		if f == Date {
			if ms%(24*60*60*1000) != 0 {
				return to, false
			}
			return appendDate(to, at), true
		}
		return appendTime(appendDate(to, at), at), true
	case Clock:
		return clock(to, text)
	}
	return to, false
}

// shorter is a timestamp of the newer protocol, which bears as many places as its
// column has, without zeros at the end of its fraction.
func shorter(to, text []byte, f Form) ([]byte, bool) {
	const point = len("2006-01-02T15:04:05")
	places := bytes.TrimSuffix(text, []byte("Z"))
	if f != Timestamp || len(places) == len(text) || len(places) <= point || len(text) > longest-2 || places[point] != '.' || !digits(places[point+1:]) {
		return to, false
	}
	places = bytes.TrimSuffix(bytes.TrimRight(places, "0"), []byte("."))
	return append(append(to, places...), 'Z'), true
}

// appendDate is 2006-01-02; a layout that is read anew for each cell would cost more
// than all else.
func appendDate(to []byte, at time.Time) []byte {
	y, m, d := at.Date()
	to = append(to, byte('0'+y/1000), byte('0'+y/100%10), byte('0'+y/10%10), byte('0'+y%10), '-')
	return two(append(two(to, int(m)), '-'), d)
}

// appendTime is T15:04:05.999Z, without zeros at the end of the fraction.
func appendTime(to []byte, at time.Time) []byte {
	h, m, s := at.Clock()
	to = two(append(two(append(two(append(to, 'T'), h), ':'), m), ':'), s)
	if ms := at.Nanosecond() / 1e6; ms > 0 {
		to = append(to, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
		to = bytes.TrimRight(to, "0")
	}
	return append(to, 'Z')
}

func two(to []byte, n int) []byte { return append(to, byte('0'+n/10), byte('0'+n%10)) }

// milliseconds reads /Date(…)/. An offset says in which zone the time was written;
// the instant is in UTC already.
func milliseconds(text []byte) (int64, bool) {
	text, escaped := bytes.CutPrefix(text, []byte(`\/Date(`))
	if !escaped {
		var ok bool
		if text, ok = bytes.CutPrefix(text, []byte(`/Date(`)); !ok {
			return 0, false
		}
	}
	text, ok := bytes.CutSuffix(text, []byte(`/`))
	if !ok {
		return 0, false
	}
	text = bytes.TrimSuffix(text, []byte(`\`))
	if text, ok = bytes.CutSuffix(text, []byte(`)`)); !ok || len(text) == 0 {
		return 0, false
	}
	if i := bytes.IndexAny(text[1:], "+-"); i >= 0 {
		offset := text[i+2:]
		if len(offset) != 4 || !digits(offset) {
			return 0, false
		}
		text = text[:i+1]
	}
	number := text
	if number[0] == '-' {
		number = number[1:]
	}
	if len(number) == 0 || len(number) > 15 || !digits(number) {
		return 0, false
	}
	ms, err := strconv.ParseInt(string(text), 10, 64)
	return ms, err == nil
}

// clock reads PT12H30M00S, a time of a day in which each part may be left out.
func clock(to, text []byte) ([]byte, bool) {
	rest, ok := bytes.CutPrefix(text, []byte("PT"))
	if !ok || len(rest) == 0 {
		return to, false
	}
	var parts [3]int
	for i, unit := range []byte("HMS") {
		at := bytes.IndexByte(rest, unit)
		if at < 0 {
			continue
		}
		n, err := strconv.Atoi(string(rest[:at]))
		if err != nil || !digits(rest[:at]) || at > 2 || n > []int{23, 59, 59}[i] {
			return to, false
		}
		parts[i], rest = n, rest[at+1:]
	}
	if len(rest) > 0 {
		return to, false
	}
	for i, n := range parts {
		if i > 0 {
			to = append(to, ':')
		}
		to = two(to, n)
	}
	return to, true
}

func digits(text []byte) bool {
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
